//! Max and average pooling over `[H, W, C]`.

use crate::arch::{Int, IntKernels};
use crate::op::Activation;
use crate::op::table::Table;
use crate::quant::Requant;
use crate::shape::{Shape, Window};
use crate::tensor::{Requantizer, View, ViewMut};

/// Channels that are pooled at a time.
const CHANNELS: usize = 32;

/// A pool's shapes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Kernel, stride and padding.
    pub(crate) window: Window,
    /// Shape of the input.
    pub(crate) input: Shape,
    /// Shape of the output, with the input's channels.
    pub(crate) output: Shape,
}

impl Geometry {
    /// Folds the elements under each window, row by row, some neighbouring channels at a time, and calls
    /// `finish` with the first output element of the channels, what came of them, and the number of
    /// elements that each was made of.
    fn fold<T, A: Copy>(
        &self,
        input: &[T],
        init: A,
        combine: impl Fn(&mut [A], &[T]),
        mut finish: impl FnMut(usize, &[A], usize),
    ) {
        let width = usize::from(self.input.w);
        let depth = usize::from(self.input.c);
        let mut element = 0;
        for y in 0..usize::from(self.output.h) {
            let rows = self.window.rows(y, self.input.h);
            for x in 0..usize::from(self.output.w) {
                let columns = self.window.columns(x, self.input.w);
                for channel in (0..depth).step_by(CHANNELS) {
                    let mut block = [init; CHANNELS];
                    let block = &mut block[..CHANNELS.min(depth - channel)];
                    for row in rows.start..rows.start + rows.len {
                        for column in columns.start..columns.start + columns.len {
                            let first = (row * width + column) * depth + channel;
                            combine(block, &input[first..][..block.len()]);
                        }
                    }
                    finish(element, block, rows.len * columns.len);
                    element += block.len();
                }
            }
        }
    }
}

/// Applies `combine` to each two elements.
fn each<T: Copy, A: Copy>(combine: impl Fn(A, T) -> A) -> impl Fn(&mut [A], &[T]) {
    move |folded, elements| {
        for (folded, element) in folded.iter_mut().zip(elements) {
            *folded = combine(*folded, *element);
        }
    }
}

/// The largest element under each window; an element of padding never wins.
#[inline(never)]
pub(crate) fn max(
    geometry: &Geometry,
    input: View<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    match (input, &mut *output) {
        (View::I8(input, qi), ViewMut::I8(data, q, rounding)) => {
            geometry.fold(input, i8::MIN, Int::max_i8, |first, largest, _| {
                data[first..][..largest.len()].copy_from_slice(largest);
            });
            let requantizer = Requantizer::new(*q, *rounding, activation);
            let factor = Requant::from_real(qi.scale / q.scale);
            let zero = i32::from(qi.zero_point);
            let mut table = Table::new();
            table.fill(|all, to| {
                let steps = all.iter().map(|x| i32::from(*x) - zero);
                requantizer.rescale(steps, factor, to);
            });
            data.iter_mut().for_each(|x| *x = table.get(*x));
        }
        (View::I8(input, q), output) => {
            geometry.fold(input, i8::MIN, Int::max_i8, |first, largest, _| {
                let reals = largest.iter().map(|x| q.dequantize(*x));
                output.put_each(first, reals, activation);
            });
        }
        (View::F32(input), output) => {
            let larger = each(|a: f32, b: f32| if b > a { b } else { a });
            geometry.fold(input, f32::NEG_INFINITY, larger, |first, largest, _| {
                output.put(first, largest, activation);
            });
        }
    }
}

/// The mean under each window, over the elements inside or, with `count_padding`, over all taps.
#[inline(never)]
pub(crate) fn average(
    geometry: &Geometry,
    count_padding: bool,
    input: View<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    let count = |inside: usize| {
        if count_padding {
            geometry.window.taps()
        } else {
            inside
        }
    };
    if let (View::I8(input, qi), ViewMut::I8(data, q, rounding)) = (input, &mut *output) {
        let requantizer = Requantizer::new(*q, *rounding, activation);
        let mut factor = (0, Requant::from_real(1.0));
        geometry.fold(input, 0, Int::add_i8, |first, sums, inside| {
            let count = count(inside);
            if factor.0 != count {
                let real = qi.scale / (q.scale * count as f32);
                factor = (count, Requant::from_real(real));
            }
            let zero = inside as i32 * i32::from(qi.zero_point);
            let steps = sums.iter().map(|sum| sum - zero);
            requantizer.rescale(steps, factor.1, &mut data[first..]);
        });
        return;
    }
    let put = |first: usize, sums: &[f32], inside| {
        let count = count(inside) as f32;
        output.put_each(first, sums.iter().map(|sum| sum / count), activation);
    };
    match input {
        View::F32(input) => geometry.fold(input, -0.0, each(|a: f32, b: f32| a + b), put),
        View::I8(input, q) => geometry.fold(input, -0.0, each(|a, b| a + q.dequantize(b)), put),
    }
}

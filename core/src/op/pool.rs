//! Max and average pooling over `[H, W, C]`.

use crate::op::Activation;
use crate::quant::Requant;
use crate::shape::{Shape, Window};
use crate::tensor::{Int8Sink, View, ViewMut};

/// Channels that are pooled at a time.
const CHANNELS: usize = 32;

/// A pool's shapes.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Kernel, stride and padding.
    pub window: Window,
    /// Shape of the input.
    pub input: Shape,
    /// Shape of the output, with the input's channels.
    pub output: Shape,
}

impl Geometry {
    /// Folds the elements under each window, row by row, and calls `finish` with the first output
    /// element of some neighbouring channels, what came of them, and the number of elements that each
    /// was made of.
    fn fold<T: Copy, A: Copy>(
        &self,
        input: &[T],
        init: A,
        combine: impl Fn(A, T) -> A,
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
                            let elements = &input[first..][..block.len()];
                            for (folded, element) in block.iter_mut().zip(elements) {
                                *folded = combine(*folded, *element);
                            }
                        }
                    }
                    finish(element, block, rows.len * columns.len);
                    element += block.len();
                }
            }
        }
    }
}

/// The largest element under each window; an element of padding never wins.
#[inline(never)]
pub fn max(geometry: &Geometry, input: View<'_>, activation: Activation, output: &mut ViewMut<'_>) {
    if let (View::I8(input, qi), ViewMut::I8(data, q, rounding)) = (input, &mut *output) {
        let sink = Int8Sink::new(*q, *rounding, activation);
        let factor = Requant::from_real(qi.scale / q.scale);
        let larger = |a: i32, b: i8| a.max(b.into());
        geometry.fold(input, i8::MIN.into(), larger, |first, largest, _| {
            let steps = largest.iter().map(|x| x - i32::from(qi.zero_point));
            sink.rescale(steps, factor, &mut data[first..]);
        });
        return;
    }
    let put = |first: usize, largest: &[f32], _| {
        output.put(first, largest.iter().copied(), activation);
    };
    match input {
        View::F32(input) => geometry.fold(input, f32::NEG_INFINITY, f32::max, put),
        View::I8(input, q) => {
            let larger = |a: f32, b: i8| a.max(q.dequantize(b));
            geometry.fold(input, f32::NEG_INFINITY, larger, put);
        }
    }
}

/// The mean under each window, over the elements inside or, with `count_padding`, over all taps.
#[inline(never)]
pub fn average(
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
        let sink = Int8Sink::new(*q, *rounding, activation);
        let mut factor = (0, Requant::from_real(1.0));
        let sum = |a: i32, b: i8| a + i32::from(b);
        geometry.fold(input, 0, sum, |first, sums, inside| {
            let count = count(inside);
            if factor.0 != count {
                let real = qi.scale / (q.scale * count as f32);
                factor = (count, Requant::from_real(real));
            }
            let zero = inside as i32 * i32::from(qi.zero_point);
            let steps = sums.iter().map(|sum| sum - zero);
            sink.rescale(steps, factor.1, &mut data[first..]);
        });
        return;
    }
    let put = |first: usize, sums: &[f32], inside| {
        let count = count(inside) as f32;
        output.put(first, sums.iter().map(|sum| sum / count), activation);
    };
    match input {
        View::F32(input) => geometry.fold(input, -0.0, |a, b| a + b, put),
        View::I8(input, q) => geometry.fold(input, -0.0, |a, b| a + q.dequantize(b), put),
    }
}

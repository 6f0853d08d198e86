//! Max and average pooling over `[H, W, C]`.

use crate::arch::{Int, IntKernels};
use crate::op::Activation;
use crate::op::geometry::Geometry;
use crate::op::table::Table;
use crate::quant::Requant;
use crate::tensor::{Requantizer, View, ViewMut};

/// Channels that are pooled at a time.
const CHANNELS: usize = 32;

/// Folds the elements under each window, row by row, some neighbouring channels at a time, and calls `finish`
/// with the first output element of the channels, what came of them, and the number of elements that each
/// was made of.
fn fold<T, A: Copy>(
    geometry: &Geometry,
    input: &[T],
    init: A,
    combine: impl Fn(&mut [A], &[T]),
    finish: &mut dyn FnMut(usize, &mut [A], usize),
) {
    let width = usize::from(geometry.input.w);
    let depth = usize::from(geometry.input.c);
    geometry.for_each(move |pixel, rows, columns| {
        for channel in (0..depth).step_by(CHANNELS) {
            let mut block = [init; CHANNELS];
            let block = &mut block[..CHANNELS.min(depth - channel)];
            for row in rows.start..rows.start + rows.len {
                for column in columns.start..columns.start + columns.len {
                    let first = (row * width + column) * depth + channel;
                    combine(block, &input[first..][..block.len()]);
                }
            }
            finish(pixel * depth + channel, block, rows.len * columns.len);
        }
    });
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
    match input {
        View::I8(input, qi) => {
            let mut finish = |first: usize, largest: &mut [i8], _| match output {
                ViewMut::I8(data, ..) => data[first..][..largest.len()].copy_from_slice(largest),
                ViewMut::F32(_) => {
                    let reals = largest.iter().map(|x| qi.dequantize(*x));
                    output.put_each(first, reals, activation);
                }
            };
            fold(geometry, input, i8::MIN, Int::max_i8, &mut finish);
            if let ViewMut::I8(data, q, rounding) = output {
                let table = Table::requantized(qi, (*q, *rounding), activation);
                data.iter_mut().for_each(|x| *x = table.get(*x));
            }
        }
        View::F32(input) => {
            let larger = each(|a: f32, b: f32| if b > a { b } else { a });
            let mut finish = |first, largest: &mut [f32], _| output.put(first, largest, activation);
            fold(geometry, input, f32::NEG_INFINITY, larger, &mut finish);
        }
    }
}

/// The mean under each window, over the elements inside or, with `count_padding`, over all taps. Steps of INT8
/// are summed as the integers that they are, whatever the output.
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
    match input {
        View::I8(input, qi) => {
            let mut factor = (0, Requant::from_real(1.0));
            let requantizer = match output {
                ViewMut::I8(_, q, rounding) => Some(Requantizer::new(*q, *rounding, activation)),
                ViewMut::F32(_) => None,
            };
            let mut finish = |first: usize, sums: &mut [i32], inside| {
                let count = count(inside);
                let zero = inside as i32 * i32::from(qi.zero_point);
                let steps = sums.iter().map(|sum| sum - zero);
                match (&mut *output, &requantizer) {
                    (ViewMut::I8(data, q, _), Some(requantizer)) => {
                        if factor.0 != count {
                            let real = qi.scale / (q.scale * count as f32);
                            factor = (count, Requant::from_real(real));
                        }
                        requantizer.rescale(steps, factor.1, &mut data[first..]);
                    }
                    (output, _) => {
                        let scale = qi.scale / count as f32;
                        let reals = steps.map(|steps| steps as f32 * scale);
                        output.put_each(first, reals, activation);
                    }
                }
            };
            fold(geometry, input, 0, Int::add_i8, &mut finish);
        }
        View::F32(input) => {
            let sum = each(|a: f32, b: f32| a + b);
            let mut finish = |first, sums: &mut [f32], inside| {
                let count = count(inside) as f32;
                sums.iter_mut().for_each(|sum| *sum /= count);
                output.put(first, sums, activation);
            };
            fold(geometry, input, -0.0, sum, &mut finish);
        }
    }
}

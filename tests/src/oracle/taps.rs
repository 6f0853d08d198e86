//! Which input elements an output element is made of.

use bitbudget_core::op::{Op, Rearrangement};
use bitbudget_core::shape::{Shape, Window};

/// Calls `each(channel, taps)` for every output element in order; a tap is the index of an input
/// element, `None` for padding, and the index of its weight.
///
/// # Panics
/// When the operator has no weights.
pub fn weighted(
    op: &Op,
    input: Shape,
    output: Shape,
    mut each: impl FnMut(usize, &[(Option<usize>, usize)]),
) {
    let channels = usize::from(output.c);
    match *op {
        Op::Conv2d { window, groups } => {
            let depth = usize::from(input.c / groups);
            let per_group = channels / usize::from(groups);
            for [y, x] in positions(output) {
                for channel in 0..channels {
                    let first = channel / per_group * depth;
                    let mut weight = channel * window.taps() * depth;
                    let mut taps = Vec::new();
                    for pixel in under(window, input, y, x) {
                        for c in 0..depth {
                            let at = pixel.map(|p| p * usize::from(input.c) + first + c);
                            taps.push((at, weight));
                            weight += 1;
                        }
                    }
                    each(channel, &taps);
                }
            }
        }
        Op::Dense => {
            let len = input.len();
            for channel in 0..channels {
                let taps: Vec<_> = (0..len).map(|i| (Some(i), channel * len + i)).collect();
                each(channel, &taps);
            }
        }
        Op::Add
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::Reshape
        | Op::Softmax { .. }
        | Op::Unary(_)
        | Op::Mul
        | Op::Concat
        | Op::Rearrange(_) => {
            panic!("{} has no weights", op.name())
        }
    }
}

/// For every output element of a pool in order, the indices of the input elements under its window.
#[must_use]
pub fn pooled(window: Window, input: Shape, output: Shape) -> Vec<Vec<usize>> {
    let depth = usize::from(input.c);
    let elements = |[y, x]: [usize; 2]| {
        (0..depth).map(move |c| {
            let inside = under(window, input, y, x).into_iter().flatten();
            inside.map(|pixel| pixel * depth + c).collect()
        })
    };
    positions(output).flat_map(elements).collect()
}

/// For every element of a rearrangement's output, the input element that it is.
#[must_use]
pub fn rearranged(of: &Rearrangement, input: Shape, output: Shape) -> Vec<usize> {
    let [m, k] = of.counts.map(usize::from);
    let [a, b, c] = of.strides.map(usize::from);
    let row = usize::from(input.w) * usize::from(input.c);
    let element = |i: usize| {
        let in_row = usize::from(output.w) * usize::from(output.c);
        let (y, e) = (i / in_row, i % in_row);
        let repeats = usize::from(of.repeats);
        let from = usize::from(of.start) + y / repeats * usize::from(of.step);
        let first = usize::from(of.offset) + y % repeats * usize::from(of.phase);
        from * row + first + e / (m * k) * a + e / k % m * b + e % k * c
    };
    (0..output.len()).map(element).collect()
}

fn positions(output: Shape) -> impl Iterator<Item = [usize; 2]> {
    let [h, w] = [output.h, output.w].map(usize::from);
    (0..h).flat_map(move |y| (0..w).map(move |x| [y, x]))
}

/// The pixels under the window of output pixel `(y, x)`, row by row; `None` for padding.
fn under(window: Window, input: Shape, y: usize, x: usize) -> Vec<Option<usize>> {
    let [top, left, ..] = window.padding.map(i64::from);
    let at = |step: usize, stride: u16, tap: u16, before: i64| {
        step as i64 * i64::from(stride) + i64::from(tap) - before
    };
    let mut pixels = Vec::new();
    for ky in 0..window.kernel[0] {
        for kx in 0..window.kernel[1] {
            let row = at(y, window.stride[0], ky, top);
            let column = at(x, window.stride[1], kx, left);
            let (h, w) = (i64::from(input.h), i64::from(input.w));
            let inside = (0..h).contains(&row) && (0..w).contains(&column);
            pixels.push(inside.then_some((row * w + column) as usize));
        }
    }
    pixels
}

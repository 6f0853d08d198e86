//! Direct convolution, for processors with vectors.

use core::iter;
use core::ops::Range;

use crate::arch::pixels::Pixels;
use crate::arch::strips::{KernelRows, OutputGrid, Padding, Strip};
use crate::arch::{Float, FloatKernels, Int, IntKernels, portable};
use crate::op::Activation;
use crate::op::geometry::Geometry;
use crate::op::weights::{FloatRows, FloatWeights, IntOutput, IntWeights};
use crate::shape::Span;
use crate::tensor::ViewMut;

/// Convolves INT8 with integers in 32 bits; padding is the input's zero point. Returns whether it did: there
/// may be no direct convolution, no room for the layer, or more than one group.
#[inline(never)]
pub(crate) fn int(
    geometry: &Geometry,
    input: &[i8],
    zero_point: i8,
    weights: &IntWeights<'_>,
    output: &mut IntOutput<'_, '_>,
) -> bool {
    use crate::arch::strips::Strips as _;
    let Geometry {
        window,
        groups,
        input: from,
        output: to,
    } = *geometry;
    let [top, left, bottom, right] = window.padding.map(usize::from);
    let [kernel_height, kernel_width] = window.kernel.map(usize::from);
    let [step_y, step_x] = window.stride.map(usize::from);
    let depth = usize::from(from.c);
    let row = usize::from(from.w) * depth;
    let padding = Padding {
        row,
        top,
        left: left * depth,
        bottom,
        right: right * depth,
    };
    let pitch = padding.pitch();
    let shape = KernelRows {
        count: kernel_height,
        len: kernel_width * depth,
    };
    let mut strips = <Int as IntKernels>::Strips::new();
    let Some(strips) = &mut strips else {
        return false;
    };
    let room = strips.room(shape);
    if groups != 1 || room == 0 || padding.len(input.len()) > strips.capacity() {
        return false;
    }
    strips.copy_inputs(input, padding, zero_point);
    let channels = weights.bias.len();
    let [height, width] = [to.h, to.w].map(usize::from);
    for first in (0..channels).step_by(room) {
        let block = first..channels.min(first + room);
        strips.pack(&weights.rows, block.clone(), shape, weights.bias);
        let strip = |y: usize, x: Range<usize>| Strip {
            at: y * step_y * pitch + x.start * step_x * depth,
            pitch,
            step: step_x * depth,
            pixels: x.len(),
        };
        if let Some((requants, to)) = output.results(block.clone()) {
            let grid = OutputGrid {
                strip: strip(0, 0..width),
                rows: height,
                step: step_y * pitch,
            };
            strips.set_requants(&requants);
            strips.results(grid, to, channels);
            continue;
        }
        let pitch_of_sums = strips.pitch();
        for (y, x) in (0..height).flat_map(|y| chunks(&(0..width)).map(move |x| (y, x))) {
            let pixels = y * width + x.start..;
            let sums = strips.sums(strip(y, x)).chunks_exact(pitch_of_sums);
            for (pixel, sums) in pixels.zip(sums) {
                output.put(pixel, Pixels::One, first, &sums[..block.len()]);
            }
        }
    }
    true
}

/// Convolves FP32 with floats. Returns whether it did, as [`int`].
#[inline(never)]
pub(crate) fn float(
    geometry: &Geometry,
    input: &[f32],
    weights: &FloatWeights<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) -> bool {
    use crate::arch::strips::FloatStrips as _;
    let Geometry {
        window,
        groups,
        input: from,
        output: to,
    } = *geometry;
    let depth = usize::from(from.c);
    let row = usize::from(from.w) * depth;
    let shape = KernelRows {
        count: usize::from(window.kernel[0]),
        len: usize::from(window.kernel[1]) * depth,
    };
    let mut strips = <Float as FloatKernels>::Strips::new();
    let Some(strips) = &mut strips else {
        return false;
    };
    let room = strips.room(shape);
    if groups != 1 || room == 0 {
        return false;
    }
    let channels = weights.bias.len();
    let width = usize::from(to.w);
    for first in (0..channels).step_by(room) {
        let bias = &weights.bias[first..channels.min(first + room)];
        let first_weight = first * shape.count * shape.len;
        match &weights.rows {
            FloatRows::F32(rows) => strips.pack(bias, &rows[first_weight..], shape, |x| x),
            FloatRows::F16(rows) => strips.pack(bias, &rows[first_weight..], shape, portable::half),
        }
        let mut put = |y: Range<usize>, x: Range<usize>| {
            let rows = window.rows(y.start, from.h);
            let columns = window.columns(x.start, from.w);
            let [step_y, step_x] = window.stride.map(usize::from);
            let is_row = y.len() == 1;
            let strip = Strip {
                at: rows.start * row + columns.start * depth,
                pitch: row,
                step: if is_row { step_x * depth } else { step_y * row },
                pixels: y.len() * x.len(),
            };
            let taps = columns.tap * depth..(columns.tap + columns.len) * depth;
            let pitch_of_sums = strips.pitch();
            let sums = strips.sums(input, strip, rows.tap..rows.tap + rows.len, taps);
            let pixels = (y.start * width + x.start..).step_by(if is_row { 1 } else { width });
            for (pixel, sums) in pixels.zip(sums.chunks_exact(pitch_of_sums)) {
                output.put(pixel * channels + first, &sums[..bias.len()], activation);
            }
        };
        // rectangles of pixels with the same taps inside, along their longer sides
        for y in equal_spans(to.h, |y| window.rows(y, from.h)) {
            for x in equal_spans(to.w, |x| window.columns(x, from.w)) {
                if x.len() >= y.len() {
                    y.clone()
                        .for_each(|y| chunks(&x).for_each(|x| put(y..y + 1, x)));
                } else {
                    x.for_each(|x| chunks(&y).for_each(|y| put(y, x..x + 1)));
                }
            }
        }
    }
    true
}

/// Ranges of positions whose windows have the same taps inside.
fn equal_spans(len: u16, span: impl Fn(usize) -> Span) -> impl Iterator<Item = Range<usize>> {
    let len = usize::from(len);
    let taps = move |i| {
        let span = span(i);
        (span.tap, span.len)
    };
    let mut start = 0;
    iter::from_fn(move || {
        let same = |i: &usize| taps(*i) == taps(start);
        let range = start..start + (start..len).take_while(same).count();
        start = range.end;
        (!range.is_empty()).then_some(range)
    })
}

/// Chunks of a range that fit a strip.
fn chunks(range: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let end = range.end;
    let starts = range.clone().step_by(Strip::PIXELS);
    starts.map(move |start| start..end.min(start + Strip::PIXELS))
}

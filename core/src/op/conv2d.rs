//! 2-D convolution over `[H, W, C]`, grouped and depthwise included.

use crate::arch::pixels::Pixels;
use crate::op::geometry::Geometry;
use crate::op::memory::KernelMemory;
use crate::op::sums::{Sums, Taps};
use crate::op::weights::{FloatWeights, IntOutput, IntWeights, for_each_block};
use crate::op::{Activation, depthwise, direct};
use crate::tensor::ViewMut;

/// Convolves FP32 with floats.
#[inline(never)]
pub(crate) fn float(
    geometry: &Geometry,
    input: &[f32],
    weights: &FloatWeights<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    if geometry.is_depthwise() && geometry.window.taps() <= depthwise::MAX_TAPS {
        return depthwise::float(geometry, input, weights, activation, output);
    }
    if direct::float(geometry, input, weights, activation, output) {
        return;
    }
    let all = weights.bias.len();
    let len = weights.rows.len() / all;
    let channels = all / usize::from(geometry.groups);
    geometry.for_each(|pixel, rows, columns| {
        for (group, bias) in weights.bias.chunks_exact(channels).enumerate() {
            for_each_block(bias, |channel, sums| {
                let channel = group * channels + channel;
                geometry.for_each_run(group, rows, columns, |x, w, run| {
                    let first = channel * len + w;
                    weights.rows.dots(&input[x..][..run], first, len, sums);
                });
                output.put(pixel * all + channel, sums, activation);
            });
        }
    });
}

/// Convolves INT8 with integers in 32 bits; padding is the input's zero point.
#[inline(never)]
pub(crate) fn int(
    geometry: &Geometry,
    (input, zero_point): (&[i8], i8),
    weights: &IntWeights<'_>,
    output: &mut IntOutput<'_, '_>,
    memory: &mut KernelMemory<'_>,
) {
    let Geometry {
        window,
        groups,
        input: from,
        output: to,
    } = *geometry;
    let width = usize::from(to.w);
    let pixels = usize::from(to.h) * width;
    let groups = usize::from(groups);
    let depth = usize::from(from.c) / groups;
    let channels = usize::from(to.c) / groups;
    if geometry.is_depthwise() && window.taps() <= depthwise::MAX_TAPS {
        return depthwise::int(geometry, (input, zero_point), weights, output, memory);
    }
    if direct::int(geometry, input, zero_point, weights, output) {
        return;
    }
    let mut sums = Sums {
        weights,
        output,
        memory,
    };
    for group in 0..groups {
        let mut pixel = 0;
        while pixel < pixels {
            let count = Pixels::of(pixels - pixel);
            let of_group = group * channels..(group + 1) * channels;
            let len = window.taps() * depth;
            sums.run(pixel, count, of_group, len, |taps, i| {
                let [y, x] = [(pixel + i) / width, (pixel + i) % width];
                gather(geometry, [y, x], &input[group * depth..], zero_point, taps);
            });
            pixel += count.count();
        }
    }
}

/// Gives all taps of the output pixel `[y, x]` in one group, whose first input begins `input`.
fn gather(
    geometry: &Geometry,
    [y, x]: [usize; 2],
    input: &[i8],
    zero_point: i8,
    taps: &mut Taps<'_>,
) {
    let rows = geometry.window.rows(y, geometry.input.h);
    let columns = geometry.window.columns(x, geometry.input.w);
    let [height, width] = geometry.window.kernel.map(usize::from);
    let pitch = usize::from(geometry.input.c);
    let depth = pitch / usize::from(geometry.groups);
    if depth == pitch && [rows.len, columns.len] == [height, width] {
        let first = (rows.start * usize::from(geometry.input.w) + columns.start) * depth;
        let pitch = usize::from(geometry.input.w) * depth;
        taps.put_rows(&input[first..], height, width * depth, pitch);
        return;
    }
    let row = |y: usize| &input[(y * usize::from(geometry.input.w) + columns.start) * pitch..];
    taps.fill(rows.tap * width * depth, zero_point);
    for y in rows.start..rows.start + rows.len {
        let pixels = row(y);
        taps.fill(columns.tap * depth, zero_point);
        if depth == pitch {
            taps.put(&pixels[..columns.len * depth]);
        } else {
            (0..columns.len).for_each(|i| taps.put(&pixels[i * pitch..][..depth]));
        }
        taps.fill((width - columns.tap - columns.len) * depth, zero_point);
    }
    taps.fill((height - rows.tap - rows.len) * width * depth, zero_point);
}

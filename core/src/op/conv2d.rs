//! 2-D convolution over `[H, W, C]`, grouped and depthwise included.

use crate::arch::Pixels;
use crate::op::sums::{Sums, Taps};
use crate::op::weights::{FloatWeights, IntOutput, IntWeights, for_each_block};
use crate::op::{Activation, depthwise};
use crate::shape::{Shape, Span, Window};
use crate::tensor::ViewMut;

/// A convolution's shapes.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Kernel, stride and padding.
    pub window: Window,
    /// Divides both channel counts.
    pub groups: u16,
    /// Shape of the input.
    pub input: Shape,
    /// Shape of the output.
    pub output: Shape,
}

impl Geometry {
    /// Whether every channel has weights of its own.
    fn is_depthwise(&self) -> bool {
        self.groups == self.input.c && self.groups == self.output.c
    }

    /// Calls `each(pixel, rows, columns)` for every output pixel in order.
    pub(super) fn for_each(&self, mut each: impl FnMut(usize, Span, Span)) {
        let mut pixel = 0;
        for y in 0..usize::from(self.output.h) {
            let rows = self.window.rows(y, self.input.h);
            for x in 0..usize::from(self.output.w) {
                each(pixel, rows, self.window.columns(x, self.input.w));
                pixel += 1;
            }
        }
    }

    /// Calls `each(first input element, first weight, length)` for every contiguous run of taps of
    /// one output element in a group; the weight index counts from the channel's first weight.
    fn for_each_run(
        &self,
        group: usize,
        rows: Span,
        columns: Span,
        mut each: impl FnMut(usize, usize, usize),
    ) {
        let (width, depth) = (usize::from(self.input.w), usize::from(self.input.c));
        let group_depth = depth / usize::from(self.groups);
        let first = group * group_depth;
        let kernel_width = usize::from(self.window.kernel[1]);
        for row in 0..rows.len {
            let pixel = (rows.start + row) * width + columns.start;
            let tap = (rows.tap + row) * kernel_width + columns.tap;
            if group_depth == depth {
                each(pixel * depth, tap * depth, columns.len * depth);
            } else {
                for column in 0..columns.len {
                    let input = (pixel + column) * depth + first;
                    each(input, (tap + column) * group_depth, group_depth);
                }
            }
        }
    }

    /// Gives all taps of the output pixel `[y, x]` in one group, whose first input begins `input`.
    fn gather(&self, [y, x]: [usize; 2], input: &[i8], zero_point: i8, taps: &mut Taps<'_>) {
        let rows = self.window.rows(y, self.input.h);
        let columns = self.window.columns(x, self.input.w);
        let [height, width] = self.window.kernel.map(usize::from);
        let pitch = usize::from(self.input.c);
        let depth = pitch / usize::from(self.groups);
        if depth == pitch && [rows.len, columns.len] == [height, width] {
            let first = (rows.start * usize::from(self.input.w) + columns.start) * depth;
            let pitch = usize::from(self.input.w) * depth;
            taps.put_rows(&input[first..], height, width * depth, pitch);
            return;
        }
        let row = |y: usize| &input[(y * usize::from(self.input.w) + columns.start) * pitch..];
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
}

/// Convolves FP32 with floats.
#[inline(never)]
pub fn float(
    geometry: &Geometry,
    input: &[f32],
    weights: &FloatWeights<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    if geometry.is_depthwise() && geometry.window.taps() <= depthwise::MAX_TAPS {
        return depthwise::float(geometry, input, weights, activation, output);
    }
    #[cfg(wide)]
    if crate::op::strips::float(geometry, input, weights, activation, output) {
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
pub fn int(
    geometry: &Geometry,
    input: &[i8],
    zero_point: i8,
    weights: &IntWeights<'_>,
    output: &mut IntOutput<'_, '_>,
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
        return depthwise::int(geometry, input, zero_point, weights, output);
    }
    #[cfg(wide)]
    if crate::op::strips::int(geometry, input, zero_point, weights, output) {
        return;
    }
    let mut sums = Sums::new(weights, output);
    for group in 0..groups {
        let mut pixel = 0;
        while pixel < pixels {
            let count = Pixels::of(pixels - pixel);
            let of_group = group * channels..(group + 1) * channels;
            let len = window.taps() * depth;
            sums.run(pixel, count, of_group, len, |taps, i| {
                let [y, x] = [(pixel + i) / width, (pixel + i) % width];
                geometry.gather([y, x], &input[group * depth..], zero_point, taps);
            });
            pixel += count.count();
        }
    }
}

//! 2-D convolution over `[H, W, C]`, grouped and depthwise included.

use core::ops::Range;

use crate::arch::{self, Pairs};
use crate::op::Activation;
use crate::op::weights::{FloatWeights, IntOutput, IntWeights};
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
    /// Calls `each(element, channel, rows, columns)` for every output element in order.
    fn for_each(&self, mut each: impl FnMut(usize, usize, Span, Span)) {
        let channels = usize::from(self.output.c);
        let mut element = 0;
        for y in 0..usize::from(self.output.h) {
            let rows = self.window.rows(y, self.input.h);
            for x in 0..usize::from(self.output.w) {
                let columns = self.window.columns(x, self.input.w);
                for channel in 0..channels {
                    each(element, channel, rows, columns);
                    element += 1;
                }
            }
        }
    }

    /// Calls `each(first input element, first weight, length)` for every contiguous run of taps of
    /// one output element; the weight index counts from the channel's first weight.
    fn for_each_run(
        &self,
        channel: usize,
        rows: Span,
        columns: Span,
        mut each: impl FnMut(usize, usize, usize),
    ) {
        let (width, depth) = (usize::from(self.input.w), usize::from(self.input.c));
        let groups = usize::from(self.groups);
        let group_depth = depth / groups;
        let first = channel / (usize::from(self.output.c) / groups) * group_depth;
        let kernel_width = usize::from(self.window.kernel[1]);
        for row in 0..rows.len {
            let pixel = (rows.start + row) * width + columns.start;
            let tap = (rows.tap + row) * kernel_width + columns.tap;
            if groups == 1 {
                each(pixel * depth, tap * depth, columns.len * depth);
            } else {
                for column in 0..columns.len {
                    let input = (pixel + column) * depth + first;
                    each(input, (tap + column) * group_depth, group_depth);
                }
            }
        }
    }
}

/// Convolves FP32 with floats.
pub fn float(
    geometry: &Geometry,
    input: &[f32],
    weights: &FloatWeights<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    let len = weights.rows.len() / weights.bias.len();
    geometry.for_each(|element, channel, rows, columns| {
        let mut acc = weights.bias[channel];
        geometry.for_each_run(channel, rows, columns, |x, w, run| {
            acc += weights.rows.dot(&input[x..][..run], channel * len + w);
        });
        output.put_real(element, acc, activation);
    });
}

/// Convolves INT8 with integers in 32 bits; padding is the input's zero point.
pub fn int(
    geometry: &Geometry,
    input: &[i8],
    input_zero_point: i8,
    weights: &IntWeights<'_>,
    output: &mut IntOutput<'_, '_>,
) {
    let layer = IntLayer {
        geometry,
        input,
        zero_point: input_zero_point.into(),
        weights,
    };
    let Geometry {
        window,
        input: from,
        output: to,
        ..
    } = *geometry;
    let [height, width, channels] = [to.h, to.w, to.c].map(usize::from);
    // rows and columns of pixels that have all rows and columns of taps inside the input
    let rows = whole(height, |y| window.rows(y, from.h), window.kernel[0]);
    let columns = whole(width, |x| window.columns(x, from.w), window.kernel[1]);
    // those of them that go in pairs: neighbours in a row, and in the other columns neighbours in a column
    let in_pairs = |whole: &Range<usize>| whole.start..whole.end - whole.len() % 2;
    let (rows, columns) = (in_pairs(&rows), in_pairs(&columns));
    let others = || (0..width).filter(|x| !columns.contains(x));
    let mut paired = 0;
    if let Some(all) = weights.rows.int8().filter(|_| geometry.groups == 1) {
        paired = channels / 2 * 2;
        for channel in (0..paired).step_by(2) {
            if !columns.is_empty() {
                for y in 0..height {
                    layer.pairs(all, channel, y..y + 1, columns.clone(), output);
                }
            }
            if !rows.is_empty() {
                for x in others() {
                    layer.pairs(all, channel, rows.clone(), x..x + 1, output);
                }
            }
        }
    }
    for y in 0..height {
        for x in 0..width {
            let is_paired = columns.contains(&x) || rows.contains(&y);
            let first = if is_paired { paired } else { 0 };
            if first == channels {
                continue;
            }
            let (rows, columns) = (window.rows(y, from.h), window.columns(x, from.w));
            for channel in first..channels {
                let sum = layer.sum(channel, rows, columns);
                output.put((y * width + x) * channels + channel, channel, sum);
            }
        }
    }
}

/// The outputs of a row or column of `len` whose taps are all inside: those of `taps` taps.
fn whole(len: usize, span: impl Fn(usize) -> Span, taps: u16) -> Range<usize> {
    let is_whole = |at: &usize| span(*at).len == usize::from(taps);
    let start = (0..len).find(is_whole).unwrap_or(len);
    start..start + (start..len).take_while(is_whole).count()
}

/// A convolution of INT8 with integers.
struct IntLayer<'a> {
    geometry: &'a Geometry,
    input: &'a [i8],
    zero_point: i32,
    weights: &'a IntWeights<'a>,
}

impl IntLayer<'_> {
    /// One output element before requantization.
    fn sum(&self, channel: usize, rows: Span, columns: Span) -> i32 {
        let row = self.weights.rows.row(channel);
        let mut sum = self.weights.bias[channel] + self.padding(channel, rows, columns);
        let geometry = self.geometry;
        geometry.for_each_run(channel, rows, columns, |x, w, run| {
            sum += row.dot(&self.input[x..][..run], w);
        });
        sum
    }

    /// What taps outside the input add.
    fn padding(&self, channel: usize, rows: Span, columns: Span) -> i32 {
        let window = self.geometry.window;
        if rows.len * columns.len == window.taps() {
            return 0;
        }
        let [height, width] = window.kernel.map(usize::from);
        let depth = self.weights.rows.len / (height * width);
        let row = self.weights.rows.row(channel);
        let sum = |from: usize, taps: usize| row.sum(from * depth, taps * depth);
        let mut outside = 0;
        for y in 0..height {
            let tap = y * width;
            if (rows.tap..rows.tap + rows.len).contains(&y) {
                let end = columns.tap + columns.len;
                outside += sum(tap, columns.tap) + sum(tap + end, width - end);
            } else {
                outside += sum(tap, width);
            }
        }
        self.zero_point * outside
    }

    /// The pixels of a row or a column, pair by pair, in this channel and the next: `ys` or `xs` is one,
    /// the other one an even number of pixels with the same taps. All channels are in one group; `all`
    /// are the weights.
    fn pairs(
        &self,
        all: &[i8],
        channel: usize,
        ys: Range<usize>,
        xs: Range<usize>,
        output: &mut IntOutput<'_, '_>,
    ) {
        let Geometry {
            window,
            input: from,
            output: to,
            ..
        } = *self.geometry;
        let depth = usize::from(from.c);
        let pitch = usize::from(from.w) * depth;
        let [step_y, step_x] = window.stride.map(usize::from);
        // from a pixel to the next: in the input, and in the output
        let (apart, next) = if ys.len() == 1 {
            (step_x * depth, 1)
        } else {
            (step_y * pitch, usize::from(to.w))
        };
        let rows = window.rows(ys.start, from.h);
        let columns = window.columns(xs.start, from.w);
        let weight_pitch = usize::from(window.kernel[1]) * depth;
        let both = [channel, channel + 1];
        let weights = both.map(|channel| {
            let len = self.weights.rows.len;
            &all[channel * len..][rows.tap * weight_pitch + columns.tap * depth..len]
        });
        let start =
            both.map(|channel| self.weights.bias[channel] + self.padding(channel, rows, columns));
        let pairs = Pairs {
            input: self.input,
            at: rows.start * pitch + columns.start * depth,
            apart,
            weights,
            runs: rows.len,
            len: columns.len * depth,
            pitch,
            weight_pitch,
        };
        let mut pixel = ys.start * usize::from(to.w) + xs.start;
        let factors = output.factors(channel);
        arch::dots_i8(&pairs, ys.len() * xs.len() / 2, start, |sums| {
            let elements = [pixel, pixel + next].map(|pixel| pixel * usize::from(to.c) + channel);
            output.put_tile(elements, channel, factors, sums);
            pixel += 2 * next;
        });
    }
}

//! 2-D convolution over `[H, W, C]`, grouped and depthwise included.

use crate::op::Activation;
use crate::op::weights::{FloatWeights, IntWeights};
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
    mut store: impl FnMut(usize, usize, i32),
) {
    let zero_point = i32::from(input_zero_point);
    let taps = geometry.window.taps();
    geometry.for_each(|element, channel, rows, columns| {
        let row = weights.rows.row(channel);
        let mut acc = weights.bias[channel];
        let mut inside = 0;
        geometry.for_each_run(channel, rows, columns, |x, w, run| {
            acc += row.dot(&input[x..][..run], w);
            if rows.len * columns.len < taps {
                inside += row.sum(w, run);
            }
        });
        if rows.len * columns.len < taps {
            acc += zero_point * (row.sum(0, weights.rows.len) - inside);
        }
        store(element, channel, acc);
    });
}

//! 2-D convolution over `[H, W, C]`, grouped and depthwise included.

use crate::arch;
use crate::op::Activation;
use crate::quant::{QParams, Requant};
use crate::shape::{Shape, Span, Window};
use crate::tensor::{Int8Sink, ViewMut};

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

/// FP32 weights of one layer.
#[derive(Clone, Copy, Debug)]
pub struct Fp32Weights<'a> {
    /// `[O]`.
    pub bias: &'a [f32],
    /// `[O, KH, KW, I / groups]`.
    pub weight: &'a [f32],
}

/// INT8 weights of one layer, as they are resident.
#[derive(Clone, Copy, Debug)]
pub struct Int8Weights<'a> {
    /// `[O]`, in units of input scale · weight scale, with −zero_point · Σ weight folded in.
    pub bias: &'a [i32],
    /// `[O]`, [`Requant::multiplier`] of input scale · weight scale / output scale.
    pub multiplier: &'a [i32],
    /// `[O]`, [`Requant::shift`] of the same.
    pub shift: &'a [u8],
    /// `[O, KH, KW, I / groups]`, −127..=127.
    pub weight: &'a [i8],
}

impl Int8Weights<'_> {
    pub(crate) fn requant(&self, channel: usize) -> Requant {
        Requant {
            multiplier: self.multiplier[channel],
            shift: self.shift[channel],
        }
    }

    /// Calls `store(element, channel, accumulator)` through to `output`, whose tensor has the
    /// parameters `output_q` when it is INT8.
    pub(crate) fn store(
        &self,
        output_q: QParams,
        activation: Activation,
        output: &mut ViewMut<'_>,
        run: impl FnOnce(&mut dyn FnMut(usize, usize, i32)),
    ) {
        match output {
            ViewMut::F32(data) => run(&mut |element, channel, acc| {
                let step = self.requant(channel).to_real() * output_q.scale;
                data[element] = activation.apply(acc as f32 * step);
            }),
            ViewMut::I8(data, q, rounding) => {
                let sink = Int8Sink::new(*q, *rounding, activation);
                run(&mut |element, channel, acc| {
                    data[element] = sink.requantize(acc, self.requant(channel));
                });
            }
        }
    }
}

/// Convolves FP32 with FP32.
pub fn fp32(
    geometry: &Geometry,
    input: &[f32],
    weights: &Fp32Weights<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    let len = weights.weight.len() / weights.bias.len();
    geometry.for_each(|element, channel, rows, columns| {
        let weight = &weights.weight[channel * len..][..len];
        let mut acc = weights.bias[channel];
        geometry.for_each_run(channel, rows, columns, |x, w, run| {
            acc += arch::dot_f32(&input[x..][..run], &weight[w..][..run]);
        });
        output.put_real(element, acc, activation);
    });
}

/// Convolves INT8 with INT8 in 32-bit integers; padding is the input's zero point.
pub fn int8(
    geometry: &Geometry,
    input: &[i8],
    input_zero_point: i8,
    weights: &Int8Weights<'_>,
    mut store: impl FnMut(usize, usize, i32),
) {
    let len = weights.weight.len() / weights.bias.len();
    let zero_point = i32::from(input_zero_point);
    let taps = geometry.window.taps();
    geometry.for_each(|element, channel, rows, columns| {
        let weight = &weights.weight[channel * len..][..len];
        let mut acc = weights.bias[channel];
        let mut inside = 0;
        geometry.for_each_run(channel, rows, columns, |x, w, run| {
            acc += arch::dot_i8(&input[x..][..run], &weight[w..][..run]);
            if rows.len * columns.len < taps {
                inside += arch::sum_i8(&weight[w..][..run]);
            }
        });
        if rows.len * columns.len < taps {
            acc += zero_point * (arch::sum_i8(weight) - inside);
        }
        store(element, channel, acc);
    });
}

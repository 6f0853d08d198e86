//! Fully connected: every output is a weighted sum of all input elements.

use bytemuck::cast_slice;

use crate::arch::pixels::Pixels;
use crate::arch::{Int, IntKernels};
use crate::op::Activation;
use crate::op::memory::KernelMemory;
use crate::op::sums::Sums;
use crate::op::weights::{FloatWeights, IntOutput, IntWeights, for_each_block};
use crate::quant::Width;
use crate::tensor::ViewMut;

/// Multiplies FP32 with floats.
#[inline(never)]
pub(crate) fn float(
    input: &[f32],
    weights: &FloatWeights<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    let len = input.len();
    for_each_block(weights.bias, |channel, sums| {
        weights.rows.dots(input, channel * len, len, sums);
        output.put(channel, sums, activation);
    });
}

/// Multiplies INT8 with integers in 32 bits.
#[inline(never)]
pub(crate) fn int(
    input: &[i8],
    weights: &IntWeights<'_>,
    output: &mut IntOutput<'_, '_>,
    memory: &mut KernelMemory<'_>,
) {
    if weights.rows.width == Width::Int8 {
        let (rows, pitch) = (cast_slice(weights.rows.bytes), weights.rows.pitch);
        Int::dots_i8(input, rows, pitch, weights.bias, |channel, sums| {
            output.put(0, Pixels::One, channel, sums);
        });
        return;
    }
    let mut sums = Sums {
        weights,
        output,
        memory,
    };
    let channels = 0..weights.bias.len();
    sums.run(0, Pixels::One, channels, input.len(), |taps, _| {
        taps.put(input);
    });
}

//! Fully connected: every output is a weighted sum of all input elements.

use crate::arch;
use crate::op::Activation;
use crate::op::conv2d::{Fp32Weights, Int8Weights};
use crate::tensor::ViewMut;

/// Multiplies FP32 with FP32.
pub fn fp32(
    input: &[f32],
    weights: &Fp32Weights<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    let rows = weights.weight.chunks_exact(input.len());
    for (channel, row) in rows.enumerate() {
        let acc = weights.bias[channel] + arch::dot_f32(input, row);
        output.put_real(channel, acc, activation);
    }
}

/// Multiplies INT8 with INT8 in 32-bit integers.
pub fn int8(input: &[i8], weights: &Int8Weights<'_>, mut store: impl FnMut(usize, usize, i32)) {
    let rows = weights.weight.chunks_exact(input.len());
    for (channel, row) in rows.enumerate() {
        let acc = weights.bias[channel] + arch::dot_i8(input, row);
        store(channel, channel, acc);
    }
}

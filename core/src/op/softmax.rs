//! exp(x) / Σ exp(x) over the channels of each pixel, or its logarithm.

use crate::op::Activation;
use crate::tensor::{View, ViewMut};

/// The softmax over every `channels` elements of `input`, shifted by the largest so that nothing overflows.
#[inline(never)]
pub(crate) fn run(
    input: View<'_>,
    (channels, is_log): (usize, bool),
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    for first in (0..input.len()).step_by(channels) {
        let real = |i: usize| input.real(first + i);
        let largest = (0..channels).map(real).fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = (0..channels).map(|i| libm::expf(real(i) - largest)).sum();
        let shift = if is_log { libm::logf(sum) } else { 0.0 };
        output.put_indexed(first, channels, activation, &|i| {
            let shifted = real(i) - largest;
            match is_log {
                true => shifted - shift,
                false => libm::expf(shifted) / sum,
            }
        });
    }
}

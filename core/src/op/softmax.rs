//! exp(x) / Σ exp(x).

use crate::op::Activation;
use crate::tensor::{View, ViewMut};

/// The softmax over all elements of `input`, shifted by the largest so that nothing overflows.
#[inline(never)]
pub(crate) fn run(input: View<'_>, activation: Activation, output: &mut ViewMut<'_>) {
    let elements = 0..output.len();
    let reals = elements.clone().map(|i| input.real(i));
    let largest = reals.fold(f32::NEG_INFINITY, f32::max);
    let exp = |i: usize| libm::expf(input.real(i) - largest);
    let sum: f32 = elements.clone().map(exp).sum();
    output.put_each(0, elements.map(|i| exp(i) / sum), activation);
}

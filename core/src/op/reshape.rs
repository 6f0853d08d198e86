//! The same elements under another shape, in another form, or behind an activation.

use crate::op::Activation;
use crate::quant::Requant;
use crate::tensor::{Int8Sink, View, ViewMut};

/// Copies the elements in order, converting where the forms differ.
#[inline(never)]
pub fn run(input: View<'_>, activation: Activation, output: &mut ViewMut<'_>) {
    if let (View::I8(input, qi), ViewMut::I8(data, q, rounding)) = (input, &mut *output) {
        let sink = Int8Sink::new(*q, *rounding, activation);
        let factor = Requant::from_real(qi.scale / q.scale);
        let steps = input
            .iter()
            .map(|x| i32::from(*x) - i32::from(qi.zero_point));
        sink.rescale(steps, factor, data);
    } else {
        match input {
            View::F32(input) => output.put(0, input.iter().copied(), activation),
            View::I8(input, q) => {
                output.put(0, input.iter().map(|x| q.dequantize(*x)), activation);
            }
        }
    }
}

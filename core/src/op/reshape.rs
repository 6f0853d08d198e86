//! Reshape: copies the elements, in another form or behind an activation where asked for.

use crate::op::Activation;
use crate::op::table::Table;
use crate::quant::{QParams, Requant};
use crate::tensor::{Requantizer, View, ViewMut};

/// Copies the elements in order, converting where the forms differ.
#[inline(never)]
pub(crate) fn run(input: View<'_>, activation: Activation, output: &mut ViewMut<'_>) {
    match (input, &mut *output) {
        (View::I8(input, qi), ViewMut::I8(data, q, rounding)) => {
            let requantizer = Requantizer::new(*q, *rounding, activation);
            let factor = Requant::from_real(qi.scale / q.scale);
            let zero = i32::from(qi.zero_point);
            map(input, data, |input, data| {
                let steps = input.iter().map(|x| i32::from(*x) - zero);
                requantizer.rescale(steps, factor, data);
            });
        }
        (View::I8(input, q), ViewMut::F32(data)) => dequantize(input, q, activation, data),
        (View::F32(input), output) => output.put(0, input, activation),
    }
}

/// Not inlined: its memory is on the stack.
#[inline(never)]
fn dequantize(input: &[i8], q: QParams, activation: Activation, data: &mut [f32]) {
    map(input, data, |input, data| {
        let reals = input.iter().map(|x| q.dequantize(*x));
        ViewMut::F32(data).put_each(0, reals, activation);
    });
}

/// Writes what `each` makes of each element, by way of a table where there are many.
#[inline(always)]
fn map<T: Copy + Default>(input: &[i8], to: &mut [T], each: impl Fn(&[i8], &mut [T])) {
    if input.len() <= Table::<T>::LEN {
        return each(input, to);
    }
    let mut table = Table::new();
    table.fill(each);
    let all = to.iter_mut().zip(input);
    all.for_each(|(to, x)| *to = table.get(*x));
}

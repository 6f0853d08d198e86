//! Reshape: copies the elements, in another form or behind an activation where asked for.

use crate::op::Activation;
use crate::op::table::{Table, requantize};
use crate::quant::QParams;
use crate::tensor::{View, ViewMut, activate};

/// Copies the elements in order, converting where the forms differ.
#[inline(never)]
pub(crate) fn run(input: View<'_>, activation: Activation, output: &mut ViewMut<'_>) {
    match (input, &mut *output) {
        (View::I8(input, from), ViewMut::I8(data, to, rounding)) => {
            let to = (*to, *rounding);
            map(input, data, &|input, data| {
                requantize(input, from, to, activation, data);
            });
        }
        (View::I8(input, q), ViewMut::F32(data)) => dequantize(input, q, activation, data),
        (View::F32(input), output) => output.put(0, input, activation),
    }
}

/// As [`run`], in place of a tensor with the INT8 parameters `from`, whose elements are where the output's are to
/// be.
#[inline(never)]
pub(crate) fn run_in_place(from: QParams, activation: Activation, output: &mut ViewMut<'_>) {
    match output {
        ViewMut::I8(data, to, rounding) => {
            if from != *to || activation != Activation::None {
                let table = Table::requantized(from, (*to, *rounding), activation);
                data.iter_mut().for_each(|x| *x = table.get(*x));
            }
        }
        ViewMut::F32(data) => {
            if activation != Activation::None {
                let all = data.iter_mut().map(|x| {
                    let real = *x;
                    (x, real)
                });
                activate(all, activation);
            }
        }
    }
}

/// Not inlined: its memory is on the stack.
#[inline(never)]
fn dequantize(input: &[i8], q: QParams, activation: Activation, data: &mut [f32]) {
    map(input, data, &|input, data| {
        let reals = input.iter().map(|x| q.dequantize(*x));
        activate(data.iter_mut().zip(reals), activation);
    });
}

/// Writes what `each` makes of each element, by way of a table where there are many.
#[inline(always)]
fn map<T: Copy + Default>(input: &[i8], to: &mut [T], each: &dyn Fn(&[i8], &mut [T])) {
    if input.len() <= Table::<T>::LEN {
        return each(input, to);
    }
    let mut table = Table::new();
    table.fill(each);
    let all = to.iter_mut().zip(input);
    all.for_each(|(to, x)| *to = table.get(*x));
}

//! Product of two tensors, element by element; the second one may have one element for each channel.

use crate::op::Activation;
use crate::quant::{QParams, Requant, Rounding};
use crate::tensor::{Requantizer, View, ViewMut};

/// Multiplies `a` by `b`, which is repeated for every pixel where it is shorter. Where all three tensors are INT8 the
/// product of the steps is rounded once; otherwise it is taken over the real numbers that the elements stand for.
#[inline(never)]
pub(crate) fn run(a: View<'_>, b: View<'_>, activation: Activation, output: &mut ViewMut<'_>) {
    match (a, &mut *output) {
        (View::I8(a, qa), ViewMut::I8(data, ..)) => {
            data.copy_from_slice(a);
            run_in_place(qa, b, activation, output);
        }
        (a, output) => {
            let product = |i: usize| a.real(i) * b.real(i % b.len());
            output.put_indexed(0, output.len(), activation, &product);
        }
    }
}

/// As [`run`], in place of a tensor with the INT8 parameters `qa`, whose elements are where the output's are to be.
#[inline(never)]
pub(crate) fn run_in_place(
    qa: QParams,
    b: View<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    match (b, &mut *output) {
        (View::I8(b, qb), ViewMut::I8(data, q, rounding)) => {
            let (requantizer, factor, product) = products([qa, qb], (*q, *rounding), activation);
            for data in data.chunks_mut(b.len()) {
                let all = data.iter_mut().zip(b).map(|(to, b)| {
                    let product = product(*to, *b);
                    (to, product)
                });
                requantizer.rescale_each(all, factor);
            }
        }
        (b, output) => {
            output.replace_each(qa, activation, &|i, a| a * b.real(i % b.len()));
        }
    }
}

/// How two INT8 tensors are multiplied into a third one: its requantizer, the factor, and the product of two elements.
/// Inlined, so that none of it is read again for every element.
#[inline(always)]
fn products(
    of: [QParams; 2],
    (q, rounding): (QParams, Rounding),
    activation: Activation,
) -> (Requantizer, Requant, impl Fn(i8, i8) -> i32) {
    let requantizer = Requantizer::new(q, rounding, activation);
    let factor = Requant::from_real(of[0].scale * of[1].scale / q.scale);
    let [za, zb] = of.map(|q| i32::from(q.zero_point));
    let product = move |a: i8, b: i8| (i32::from(a) - za) * (i32::from(b) - zb);
    (requantizer, factor, product)
}

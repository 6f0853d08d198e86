//! Sum of two tensors, element by element.

use crate::op::Activation;
use crate::quant::{QParams, Requant, Rounding};
use crate::tensor::{Requantizer, View, ViewMut, activate};

/// Adds `a` and `b`. Where all three tensors are INT8 the products are added in 64 bits and
/// rounded once; otherwise it is taken over the real numbers that the elements stand for.
#[inline(never)]
pub(crate) fn run(a: View<'_>, b: View<'_>, activation: Activation, output: &mut ViewMut<'_>) {
    match (a, b, &mut *output) {
        (View::I8(a, qa), View::I8(b, qb), ViewMut::I8(data, q, rounding)) => {
            let (requantizer, shift, sum) = sums([qa, qb], (*q, *rounding), activation);
            let all = data.iter_mut().zip(a.iter().zip(b));
            let all = all.map(|(to, (a, b))| (to, sum(*a, *b)));
            requantizer.shift(all, shift);
            requantizer.narrow(data);
        }
        (View::F32(a), View::F32(b), ViewMut::F32(data)) => {
            let all = data.iter_mut().zip(a.iter().zip(b));
            activate(all.map(|(to, (a, b))| (to, a + b)), activation);
        }
        (a, b, output) => {
            let sums = (0..output.len()).map(|i| a.real(i) + b.real(i));
            output.put_each(0, sums, activation);
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
            let (requantizer, shift, sum) = sums([qa, qb], (*q, *rounding), activation);
            let all = data.iter_mut().zip(b).map(|(to, b)| {
                let sum = sum(*to, *b);
                (to, sum)
            });
            requantizer.shift(all, shift);
            requantizer.narrow(data);
        }
        (View::F32(b), ViewMut::F32(data)) => {
            let all = data.iter_mut().zip(b).map(|(to, b)| {
                let sum = *to + b;
                (to, sum)
            });
            activate(all, activation);
        }
        (b, output) => output.replace_each(qa, activation, &|i, a| a + b.real(i)),
    }
}

/// How two INT8 tensors are added into a third one: its requantizer, the shift, and the sum of two elements. Inlined,
/// so that none of it is read again for every element.
#[inline(always)]
fn sums(
    of: [QParams; 2],
    (q, rounding): (QParams, Rounding),
    activation: Activation,
) -> (Requantizer, u8, impl Fn(i8, i8) -> i64) {
    let requantizer = Requantizer::new(q, rounding, activation);
    let factors = Requant::pair(of[0].scale / q.scale, of[1].scale / q.scale);
    let [za, zb] = of.map(|q| i64::from(q.zero_point));
    let [ma, mb] = factors.map(|f| i64::from(requantizer.sign() * f.multiplier));
    let zero = -za * ma - zb * mb;
    let sum = move |a: i8, b: i8| zero + i64::from(a) * ma + i64::from(b) * mb;
    (requantizer, factors[0].shift, sum)
}

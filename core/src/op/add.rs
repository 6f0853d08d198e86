//! Sum of two tensors, element by element.

use crate::op::Activation;
use crate::quant::Requant;
use crate::tensor::{Requantizer, View, ViewMut, activate};

/// Adds `a` and `b`. Where all three tensors are INT8 the products are added in 64 bits and
/// rounded once; otherwise it is taken over the real numbers that the elements stand for.
#[inline(never)]
pub(crate) fn run(a: View<'_>, b: View<'_>, activation: Activation, output: &mut ViewMut<'_>) {
    match (a, b, &mut *output) {
        (View::I8(a, qa), View::I8(b, qb), ViewMut::I8(data, q, rounding)) => {
            let requantizer = Requantizer::new(*q, *rounding, activation);
            let factors = Requant::pair(qa.scale / q.scale, qb.scale / q.scale);
            let [za, zb] = [qa, qb].map(|q| i64::from(q.zero_point));
            let [ma, mb] = factors.map(|f| i64::from(requantizer.sign() * f.multiplier));
            let zero = -za * ma - zb * mb;
            let sum = |(a, b): (&i8, &i8)| zero + i64::from(*a) * ma + i64::from(*b) * mb;
            requantizer.shift(a.iter().zip(b).map(sum), factors[0].shift, data);
        }
        (View::F32(a), View::F32(b), ViewMut::F32(data)) => {
            activate(data, a.iter().zip(b).map(|(a, b)| a + b), activation);
        }
        (a, b, output) => {
            let sums = (0..output.len()).map(|i| a.real(i) + b.real(i));
            output.put_each(0, sums, activation);
        }
    }
}

//! Borrowed tensors as operators see them: typed slices and the way a result is stored.

use crate::level::Rounding;
use crate::op::Activation;
use crate::quant::{QParams, Requant, saturate_i8};

/// A tensor that an operator reads, in `[H, W, C]` order.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// Real numbers.
    F32(&'a [f32]),
    /// Affine INT8.
    I8(&'a [i8], QParams),
}

impl View<'_> {
    /// Element `i` as a real number.
    #[must_use]
    pub fn real(&self, i: usize) -> f32 {
        match self {
            Self::F32(data) => data[i],
            Self::I8(data, q) => q.dequantize(data[i]),
        }
    }
}

/// A tensor that an operator writes, in `[H, W, C]` order.
#[derive(Debug)]
pub enum ViewMut<'a> {
    /// Real numbers.
    F32(&'a mut [f32]),
    /// Affine INT8, rounded in the direction that the tensor's reader asked for.
    I8(&'a mut [i8], QParams, Rounding),
}

impl ViewMut<'_> {
    /// The number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::I8(data, ..) => data.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stores the activation of a real result as element `i`.
    pub fn put_real(&mut self, i: usize, x: f32, activation: Activation) {
        let x = activation.apply(x);
        match self {
            Self::F32(data) => data[i] = x,
            Self::I8(data, q, rounding) => data[i] = q.quantize(x, *rounding),
        }
    }
}

/// The way of an integer result into an INT8 tensor: rounding, zero point and activation bounds.
#[derive(Clone, Copy, Debug)]
pub struct Int8Sink {
    rounding: Rounding,
    zero_point: i32,
    low: i8,
    high: i8,
}

impl Int8Sink {
    /// The sink of a tensor with parameters `q`, behind `activation`.
    #[must_use]
    pub fn new(q: QParams, rounding: Rounding, activation: Activation) -> Self {
        let [low, high] = activation.range();
        Self {
            rounding,
            zero_point: i32::from(q.zero_point),
            low: q.quantize(low, rounding),
            high: q.quantize(high, rounding),
        }
    }

    /// `acc · factor` as an element of the tensor.
    #[must_use]
    pub fn requantize(&self, acc: i32, factor: Requant) -> i8 {
        self.finish(factor.apply(acc, self.rounding))
    }

    /// Whether [`Self::requantize_short`] does for these factors.
    #[must_use]
    pub fn is_short(&self, factors: [Requant; 2]) -> bool {
        self.rounding == Rounding::Nearest && factors.iter().all(|factor| factor.shift > 32)
    }

    /// [`Self::requantize`] to nearest with a factor below 1/2: the upper word of the product is enough.
    #[must_use]
    #[inline]
    pub fn requantize_short(&self, acc: i32, factor: Requant) -> i8 {
        let product = i64::from(acc) * i64::from(factor.multiplier);
        // |product| is at most 2^62, so that nothing overflows
        let upper = (product >> 32) as i32;
        let shift = u32::from(factor.shift) & 31;
        let steps = (upper + ((1 << shift) >> 1)) >> shift;
        (steps + self.zero_point).clamp(self.low.into(), self.high.into()) as i8
    }

    /// `v / 2^shift` as an element of the tensor, for sums of products with one shift.
    #[must_use]
    pub fn shift(&self, v: i64, shift: u8) -> i8 {
        self.finish(self.rounding.shift_right(v, shift))
    }

    fn finish(&self, steps: i64) -> i8 {
        saturate_i8(steps + i64::from(self.zero_point)).clamp(self.low, self.high)
    }
}

//! Borrowed tensors as operators see them: typed slices and the way a result is stored.

use crate::arch::requantize::{Clamp, saturating_shl, split_shift};
use crate::arch::{Float, FloatKernels, Int, IntKernels};
use crate::op::Activation;
use crate::quant::{QParams, Requant, Rounding};

/// A tensor that an operator reads, in `[H, W, C]` order.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// Real numbers.
    F32(&'a [f32]),
    /// Affine INT8.
    I8(&'a [i8], QParams),
}

impl View<'_> {
    /// The number of elements.
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::I8(data, _) => data.len(),
        }
    }

    /// Whether there is no element.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

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

    /// Its elements, if those there are of a tensor with the INT8 parameters `q`.
    const fn replaced(&self, q: QParams) -> View<'_> {
        match self {
            Self::F32(data) => View::F32(data),
            Self::I8(data, ..) => View::I8(data, q),
        }
    }

    /// Stores the activations of `count` real results, which `each` gives by number, as the elements from `i` on. Not
    /// made anew for every closure: a little slower than [`Self::put_each`], and short.
    #[inline(never)]
    pub(crate) fn put_indexed(
        &mut self,
        i: usize,
        count: usize,
        activation: Activation,
        each: &dyn Fn(usize) -> f32,
    ) {
        let mut block = [0.0; 32];
        for first in (0..count).step_by(block.len()) {
            let block = &mut block[..32.min(count - first)];
            for (at, real) in (first..).zip(block.iter_mut()) {
                *real = each(at);
            }
            self.put(i + first, block, activation);
        }
    }

    /// Replaces every element, as one of a tensor with the INT8 parameters `q`, by the activation of what `each` makes
    /// of it and its index, in reals.
    #[inline(never)]
    pub(crate) fn replace_each(
        &mut self,
        q: QParams,
        activation: Activation,
        each: &dyn Fn(usize, f32) -> f32,
    ) {
        let mut block = [0.0; 32];
        for i in (0..self.len()).step_by(block.len()) {
            let old = self.replaced(q);
            let block = &mut block[..32.min(old.len() - i)];
            for (at, real) in (i..).zip(block.iter_mut()) {
                *real = each(at, old.real(at));
            }
            self.put(i, block, activation);
        }
    }

    /// Stores the activations of real results as the elements from `i` on.
    ///
    /// # Panics
    /// When there are fewer elements.
    #[inline(never)]
    pub fn put(&mut self, i: usize, reals: &[f32], activation: Activation) {
        match self {
            Self::F32(data) => {
                let all = data[i..].iter_mut().zip(reals.iter().copied());
                activate(all, activation);
            }
            Self::I8(data, q, rounding) => {
                let bounds = activation.bounds(*q, *rounding);
                let to = &mut data[i..][..reals.len()];
                Float::quantize(reals, *q, *rounding, bounds, to);
            }
        }
    }

    /// As [`Self::put`], for results that come one after the other.
    ///
    /// # Panics
    /// As [`Self::put`].
    #[inline]
    pub(crate) fn put_each(
        &mut self,
        mut i: usize,
        mut reals: impl Iterator<Item = f32>,
        activation: Activation,
    ) {
        let mut block = [0.0; 32];
        loop {
            let mut len = 0;
            for (to, real) in block.iter_mut().zip(&mut reals) {
                *to = real;
                len += 1;
            }
            if len == 0 {
                return;
            }
            self.put(i, &block[..len], activation);
            i += len;
        }
    }
}

/// Writes the activation of each real number beside it.
#[inline]
pub(crate) fn activate<'t>(all: impl Iterator<Item = (&'t mut f32, f32)>, activation: Activation) {
    match activation {
        Activation::None | Activation::Relu => {
            // one comparison less: nothing is above the upper end
            let [low, _] = activation.range();
            all.for_each(|(to, x)| *to = if x > low { x } else { low });
        }
        Activation::Relu6 => all.for_each(|(to, x)| *to = activation.apply(x)),
    }
}

/// Requantizes integer results into an INT8 tensor: rounding, zero point and activation bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requantizer {
    /// Offset and clamp of the result or, if `up`, of its negation.
    pub(crate) clamp: Clamp,
    /// Whether results are rounded up: ⌈x⌉ is −⌊−x⌋, so they are negated before and complemented after.
    pub(crate) up: bool,
}

impl Requantizer {
    /// For a tensor with parameters `q`, behind `activation`.
    #[must_use]
    pub(crate) fn new(q: QParams, rounding: Rounding, activation: Activation) -> Self {
        let [low, high] = activation.bounds(q, rounding).map(i32::from);
        let zero = i32::from(q.zero_point);
        let (offset, low, high) = match rounding {
            Rounding::Nearest => (2 * zero + 1, low, high),
            Rounding::Floor => (2 * zero, low, high),
            Rounding::Ceil => (2 * !zero, !high, !low),
        };
        Self {
            clamp: Clamp { offset, low, high },
            up: rounding == Rounding::Ceil,
        }
    }

    /// Writes each `acc · factor` as the next element of the tensor.
    #[inline]
    pub(crate) fn rescale(&self, accs: impl Iterator<Item = i32>, factor: Requant, to: &mut [i8]) {
        self.rescale_each(to.iter_mut().zip(accs), factor);
    }

    /// Writes each `acc · factor` beside it.
    #[inline]
    pub(crate) fn rescale_each<'t>(
        &self,
        all: impl Iterator<Item = (&'t mut i8, i32)>,
        factor: Requant,
    ) {
        let (left, right) = split_shift(factor.shift);
        let (clamp, multiplier) = (self.clamp, factor.multiplier);
        let result = |acc| clamp.apply(saturating_shl(acc, left), multiplier, right) as i8;
        if self.up {
            all.for_each(|(to, acc)| *to = !result(-acc));
        } else {
            all.for_each(|(to, acc)| *to = result(acc));
        }
    }

    /// What factors are multiplied by, so that [`Self::shift`] gets the negations that it takes: ±1.
    #[must_use]
    pub(crate) const fn sign(&self) -> i32 {
        if self.up { -1 } else { 1 }
    }

    /// Writes each `v / 2^shift` beside it, for sums of two products of steps and multipliers, which are at most
    /// 2^40 in magnitude; they are given with [`Self::sign`]. [`Self::narrow`] comes after it.
    #[inline]
    pub(crate) fn shift<'t>(&self, all: impl Iterator<Item = (&'t mut i8, i64)>, shift: u8) {
        let offset = self.clamp.offset;
        if (12..=31).contains(&shift) {
            // what is left fits 32 bits, which are cut out of both words
            let offset = (i64::from(offset) << shift) >> 1;
            all.for_each(|(to, sum)| {
                let sum = sum + offset;
                let upper = ((sum >> 32) as u32) << (32 - shift);
                let steps = (upper | sum as u32 >> shift).cast_signed();
                *to = steps.clamp(i8::MIN.into(), i8::MAX.into()) as i8;
            });
        } else {
            let half = i64::from(offset & 1) << shift >> 1;
            all.for_each(|(to, sum)| {
                let steps = ((sum + half) >> shift) + i64::from(offset >> 1);
                *to = steps.clamp(i8::MIN.into(), i8::MAX.into()) as i8;
            });
        }
    }

    /// Makes elements of results that are only saturated: a bound that saturation keeps costs nothing.
    #[inline(never)]
    pub(crate) fn narrow(&self, results: &mut [i8]) {
        const LEN: usize = 32;
        let [low, high] = [self.clamp.low, self.clamp.high].map(|bound| bound as i8);
        if low > i8::MIN {
            for results in results.chunks_mut(LEN) {
                Int::max_i8(results, &[low; LEN][..results.len()]);
            }
        }
        if high < i8::MAX {
            results.iter_mut().for_each(|x| *x = high.min(*x));
        }
        if self.up {
            results.iter_mut().for_each(|x| *x = !*x);
        }
    }
}

//! Affine quantization: the map between real numbers and INT8, in floats and in integers.
//!
//! real = scale · (q − zero_point), with `scale` in real units per step. See Jacob et al. 2018,
//! "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
//! equation 1.

mod rounding;
mod width;

use half::f16;
use serde::{Deserialize, Serialize};

pub use rounding::Rounding;
pub use width::Width;

/// The real form of an affine INT8 map of one tensor: real = scale · (q − zero_point).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QParams {
    /// Real units per step; positive and finite.
    pub scale: f32,
    /// The integer that stands for the real number 0.
    pub zero_point: i8,
}

impl QParams {
    /// The map with 256 levels over `[low, high]`, widened to hold 0, which is exact.
    ///
    /// The range is moved by less than a step so that 0 falls on an integer. An empty range says
    /// nothing and gives the map over 0..=1.
    #[must_use]
    pub fn from_range(low: f32, high: f32) -> Self {
        let (low, high) = match (low.min(0.0), high.max(0.0)) {
            (0.0, 0.0) => (0.0, 1.0),
            range => range,
        };
        let scale = ((high - low) / 255.0).clamp(MIN_SCALE, MAX_SCALE);
        let zero_point = Rounding::Nearest.round(-128.0 - low / scale);
        Self {
            scale,
            zero_point: zero_point.clamp(-128.0, 127.0) as i8,
        }
    }

    /// Whether the scale is one that the arithmetic can take: positive, normal and not huge.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        is_usable_scale(self.scale)
    }

    /// The integer that stands for `real`, saturating at −128 and 127; what is not a number is 0.
    #[must_use]
    #[inline]
    pub fn quantize(&self, real: f32, rounding: Rounding) -> i8 {
        let steps = real / self.scale;
        // far enough from the ends of the range, so that a step more or less stays outside
        let whole = |steps: f32| (steps as i32).clamp(-512, 511);
        let floor = |steps: f32| {
            let whole = whole(steps);
            whole - i32::from(whole as f32 > steps)
        };
        let steps = match rounding {
            Rounding::Nearest => floor(steps + 0.5),
            Rounding::Floor => floor(steps),
            Rounding::Ceil => {
                let whole = whole(steps);
                whole + i32::from((whole as f32) < steps)
            }
        };
        (steps + i32::from(self.zero_point)).clamp(-128, 127) as i8
    }

    /// The real number that the integer for `real` stands for: [`quantize`](Self::quantize), then
    /// [`dequantize`](Self::dequantize).
    #[must_use]
    #[inline]
    pub fn fake_quantize(&self, real: f32, rounding: Rounding) -> f32 {
        self.scale * (self.saturated(real, rounding) - f32::from(self.zero_point))
    }

    /// The integer that stands for `real`, still a float.
    #[inline]
    fn saturated(&self, real: f32, rounding: Rounding) -> f32 {
        let steps = rounding.round(real / self.scale);
        let steps = if steps.is_nan() { 0.0 } else { steps };
        (steps + f32::from(self.zero_point)).clamp(-128.0, 127.0)
    }

    /// The real number that `q` stands for.
    #[must_use]
    #[inline]
    pub fn dequantize(&self, q: i8) -> f32 {
        self.scale * (i32::from(q) - i32::from(self.zero_point)) as f32
    }
}

/// The smallest scale: products of two scales stay normal numbers.
pub(crate) const MIN_SCALE: f32 = 1e-15;
/// The largest scale.
pub const MAX_SCALE: f32 = 1e15;

/// Whether the arithmetic can take a scale, of weights or of a tensor.
#[must_use]
pub fn is_usable_scale(scale: f32) -> bool {
    (MIN_SCALE..=MAX_SCALE).contains(&scale)
}

/// A symmetric weight of this width, rounded to nearest and saturating at ±[`Width::max`].
#[must_use]
pub fn quantize_weight(real: f32, scale: f32, width: Width) -> i8 {
    let max = f32::from(width.max());
    match width {
        Width::Int8 | Width::Int4 => {
            let steps = Rounding::Nearest.round(real / scale);
            steps.clamp(-max, max) as i8
        }
        // odd numbers: the one in whose pair of steps it lies
        Width::Int2 => {
            let pairs = Rounding::Floor.round(real / (2.0 * scale));
            (2.0 * pairs + 1.0).clamp(-max, max) as i8
        }
    }
}

/// A weight as IEEE 754 binary16, rounded to nearest even and saturating at its largest finite
/// magnitude.
#[must_use]
pub fn quantize_half(real: f32) -> f16 {
    let max = f16::MAX.to_f32();
    f16::from_f32(real.clamp(-max, max))
}

/// The largest magnitude of a quantized bias. With the zero point folded in, and the products of up to
/// 32,768 inputs added, the accumulator stays within 32 bits.
pub const MAX_BIAS: i32 = 1 << 30;

/// A bias as a multiple of `scale` (input scale · weight scale), saturating at ±[`MAX_BIAS`].
#[must_use]
pub fn quantize_bias(real: f32, scale: f32) -> i32 {
    let steps = Rounding::Nearest.round(real / scale) as i32;
    steps.clamp(-MAX_BIAS, MAX_BIAS)
}

/// The integer form of a positive factor: `multiplier / 2^shift`, exactly an `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requant {
    /// Non-negative.
    pub multiplier: i32,
    /// 0..=62.
    pub shift: u8,
}

impl Requant {
    /// The integer form of `factor`, which is positive and finite.
    ///
    /// Exact for factors in 2^-38 .. 2^31; larger ones saturate, smaller ones lose low bits.
    #[must_use]
    pub fn from_real(factor: f32) -> Self {
        let bits = factor.to_bits();
        let exponent = (bits >> 23 & 0xff) as i32;
        let mantissa = if exponent == 0 {
            0
        } else {
            (bits & 0x7f_ffff | 0x80_0000) << 7
        };
        // factor = mantissa · 2^(exponent − 127 − 30) with the mantissa's top bit at 2^30
        Self::normalized(mantissa as i32, 157 - exponent)
    }

    /// Both factors with one shift, so that their products can be added before the shift.
    #[must_use]
    pub fn pair(a: f32, b: f32) -> [Self; 2] {
        let (a, b) = (Self::from_real(a), Self::from_real(b));
        let shift = a.shift.min(b.shift);
        [a, b].map(|r| Self {
            multiplier: r.multiplier >> (r.shift - shift).min(31),
            shift,
        })
    }

    const fn normalized(multiplier: i32, shift: i32) -> Self {
        if shift < 0 {
            Self {
                multiplier: i32::MAX,
                shift: 0,
            }
        } else if shift > 62 {
            let lost = if shift - 62 > 31 { 31 } else { shift - 62 };
            Self {
                multiplier: multiplier >> lost,
                shift: 62,
            }
        } else {
            Self {
                multiplier,
                shift: shift as u8,
            }
        }
    }

    /// Whether this is the form that [`Self::from_real`] gives, which kernels rely on.
    #[must_use]
    pub(crate) const fn is_normalized(self) -> bool {
        self.multiplier >= 1 << 30 && self.shift <= 62 || self.multiplier >= 0 && self.shift == 62
    }

    /// The factor as a float.
    #[must_use]
    pub(crate) fn to_real(self) -> f32 {
        // 2^-shift is a normal f32 for every shift up to 62
        self.multiplier as f32 * f32::from_bits((127 - u32::from(self.shift)) << 23)
    }

    /// `acc · factor`, rounded once.
    #[must_use]
    pub const fn apply(self, acc: i32, rounding: Rounding) -> i64 {
        rounding.shift_right(acc as i64 * self.multiplier as i64, self.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn zero_is_exact_and_the_range_is_covered() {
        let mut rng = SmallRng::seed_from_u64(1);
        for _ in 0..10_000 {
            let a: f32 = rng.random_range(-9.0..9.0);
            let b: f32 = rng.random_range(-9.0..9.0);
            let q = QParams::from_range(a.min(b), a.max(b));
            assert!(q.is_usable());
            for rounding in Rounding::ALL {
                assert_eq!(q.dequantize(q.quantize(0.0, rounding)), 0.0);
                let x = rng.random_range(a.min(b).min(0.0)..=a.max(b).max(0.0));
                let e = q.dequantize(q.quantize(x, rounding)) - x;
                // the grid may stand up to half a step off the range's ends
                assert!(e.abs() <= 1.51 * q.scale, "{x} {e} {q:?}");
                assert_eq!(
                    q.fake_quantize(x, rounding),
                    q.dequantize(q.quantize(x, rounding))
                );
            }
        }
        for (low, high) in [(0.0, 0.0), (3.0, 4.0), (-4.0, -3.0), (0.0, f32::MAX)] {
            assert!(QParams::from_range(low, high).is_usable());
        }
    }

    #[test]
    fn rounding_directions_bracket_the_value() {
        let q = QParams {
            scale: 0.5,
            zero_point: -3,
        };
        assert_eq!(q.quantize(0.74, Rounding::Floor), -2);
        assert_eq!(q.quantize(0.74, Rounding::Nearest), -2);
        assert_eq!(q.quantize(0.75, Rounding::Nearest), -1);
        assert_eq!(q.quantize(0.51, Rounding::Ceil), -1);
        assert_eq!(q.quantize(1e30, Rounding::Nearest), 127);
        assert_eq!(q.quantize(-1e30, Rounding::Nearest), -128);
        assert_eq!(q.quantize(f32::NAN, Rounding::Nearest), -3);
    }

    #[test]
    fn requantization_is_the_exact_product_rounded_once() {
        let mut rng = SmallRng::seed_from_u64(2);
        for _ in 0..100_000 {
            let factor = rng.random_range(-36.0_f32..8.0).exp2();
            let r = Requant::from_real(factor);
            assert_eq!(r.to_real(), factor);
            let acc: i32 = rng.random();
            for rounding in Rounding::ALL {
                // an f64 holds neither product exactly, so compare in integers of 128 bits
                let v = i128::from(acc) * i128::from(r.multiplier);
                let one = 1_i128 << r.shift;
                let want = match rounding {
                    Rounding::Nearest => (v + one / 2).div_euclid(one),
                    Rounding::Floor => v.div_euclid(one),
                    Rounding::Ceil => -((-v).div_euclid(one)),
                };
                assert_eq!(i128::from(r.apply(acc, rounding)), want);
            }
        }
    }

    #[test]
    fn extreme_factors_saturate() {
        assert_eq!(Requant::from_real(f32::MAX).multiplier, i32::MAX);
        assert_eq!(
            Requant::from_real(1e-30).apply(i32::MAX, Rounding::Nearest),
            0
        );
        assert_eq!(Requant::from_real(1e-45).multiplier, 0);
        let [a, b] = Requant::pair(1.5, 1e-12);
        assert_eq!(a.shift, b.shift);
        assert_eq!(a.to_real(), 1.5);
    }

    #[test]
    fn weights_and_biases_saturate() {
        for width in Width::ALL {
            assert_eq!(quantize_weight(-9.0, 0.01, width), -width.max());
            assert_eq!(quantize_weight(9.0, 0.01, width), width.max());
        }
        assert_eq!(quantize_weight(0.015, 0.01, Width::Int8), 2);
        assert_eq!(quantize_weight(0.015, 0.01, Width::Int4), 2);
        let int2 =
            [-0.021, -0.019, 0.0, 0.019, 0.021].map(|w| quantize_weight(w, 0.01, Width::Int2));
        assert_eq!(int2, [-3, -1, 1, 1, 3]);
        assert_eq!(quantize_half(-1e9).to_f32(), -65504.0);
        assert_eq!(quantize_half(1.0 + 0.000_5).to_f32(), 1.0 + 1.0 / 1024.0);
        assert_eq!(quantize_bias(1e20, 1e-3), 1 << 30);
        assert_eq!(quantize_bias(-1.26, 0.5), -3);
    }
}

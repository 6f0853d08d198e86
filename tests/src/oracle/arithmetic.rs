//! The arithmetic of the contracts: rounding, the affine map, exact requantization, and what is
//! known about an FP32 result.

use bitbudget_core::op::{Activation, FP32_TOLERANCE};
use bitbudget_core::quant::{QParams, Rounding, Width};

/// A real number in FP32 whose error is at most `slack`; bit for bit `value` where that is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded {
    /// The number.
    pub value: f64,
    /// The largest distance that another order of summation may put in between.
    pub slack: f64,
}

impl Bounded {
    /// A number that every implementation must give.
    #[must_use]
    pub fn exact(value: f32) -> Self {
        let value = f64::from(value);
        Self { value, slack: 0.0 }
    }

    /// `f` of the number; `f` must not move two numbers apart.
    #[must_use]
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self {
            value: f(self.value),
            slack: self.slack,
        }
    }

    /// Whether `got` is right.
    #[must_use]
    pub fn admits(self, got: f32) -> bool {
        (f64::from(got) - self.value).abs() <= self.slack
    }
}

/// The sum of `terms`, which are single FP32 products or numbers.
///
/// It is exact in FP32, whatever the order, when all terms are multiples of one unit and their
/// magnitudes add up to at most 2^24 of it.
#[must_use]
pub fn sum(terms: &[Bounded]) -> Bounded {
    let value = terms.iter().map(|t| t.value).sum();
    let magnitude: f64 = terms.iter().map(|t| t.value.abs()).sum();
    let slack: f64 = terms.iter().map(|t| t.slack).sum();
    let unit = terms.iter().map(|t| lowest_bit(t.value)).min().unwrap_or(0);
    let exact = slack == 0.0 && magnitude <= f64::from(unit + 24).exp2();
    Bounded {
        value,
        slack: if exact {
            0.0
        } else {
            slack + f64::from(FP32_TOLERANCE) * magnitude
        },
    }
}

/// The exponent of the lowest bit that is set in `x`.
fn lowest_bit(x: f64) -> i32 {
    if x == 0.0 {
        return 512;
    }
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1075;
    exponent + (bits & ((1 << 52) - 1) | 1 << 52).trailing_zeros() as i32
}

/// `v` rounded by the one rule, in FP32.
#[must_use]
pub fn round(v: f32, rounding: Rounding) -> f32 {
    match rounding {
        Rounding::Nearest => (v + 0.5).floor(),
        Rounding::Floor => v.floor(),
        Rounding::Ceil => v.ceil(),
    }
}

/// The INT8 number of a real one.
#[must_use]
pub fn quantize(x: f32, q: QParams, rounding: Rounding) -> i8 {
    let steps = f64::from(round(x / q.scale, rounding)) + f64::from(q.zero_point);
    steps.clamp(-128.0, 127.0) as i8
}

/// The INT8 number of a real one that may be a little off; `None` where that matters.
#[must_use]
pub fn quantize_bounded(x: Bounded, q: QParams, rounding: Rounding) -> Option<i8> {
    // one FP32 step beyond the slack, for the conversion of its ends
    let slack = x.slack
        + if x.slack > 0.0 {
            x.value.abs() * 1e-7
        } else {
            0.0
        };
    let low = quantize((x.value - slack) as f32, q, rounding);
    let high = quantize((x.value + slack) as f32, q, rounding);
    (low == high).then_some(low)
}

/// The real number of an INT8 one.
#[must_use]
pub fn dequantize(x: i8, q: QParams) -> f32 {
    q.scale * (f32::from(x) - f32::from(q.zero_point))
}

/// A symmetric weight.
#[must_use]
pub fn quantize_weight(w: f32, scale: f32, width: Width) -> i64 {
    let within = |max: f32| round(w / scale, Rounding::Nearest).clamp(-max, max) as i64;
    match width {
        Width::Int8 => within(127.0),
        Width::Int4 => within(7.0),
        // the thresholds are -2, 0 and 2
        Width::Int2 => match w / scale {
            x if x < -2.0 => -3,
            x if x < 0.0 => -1,
            x if x < 2.0 => 1,
            _ => 3,
        },
    }
}

/// A weight with the 11 significant bits of binary16, fewer below 2^-14; halves go to even.
#[must_use]
pub fn half(w: f32) -> f64 {
    let w = f64::from(w);
    let exponent = if w == 0.0 {
        0.0
    } else {
        w.abs().log2().floor()
    };
    let quantum = (exponent.max(-14.0) - 10.0).exp2();
    ((w / quantum).round_ties_even() * quantum).clamp(-65504.0, 65504.0)
}

/// A bias in units of `step`, saturating at ±2^30.
#[must_use]
pub fn quantize_bias(b: f32, step: f32) -> i64 {
    let limit = f64::from(1 << 30);
    f64::from(round(b / step, Rounding::Nearest)).clamp(-limit, limit) as i64
}

/// The activation of a real number.
#[must_use]
pub fn activate(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
    }
}

/// Σ integer · factor, rounded once, as an INT8 number with parameters `q` behind `activation`.
///
/// Exact: every factor is a fraction with a power of two below.
#[must_use]
pub fn requantize(
    terms: &[(i64, f32)],
    q: QParams,
    rounding: Rounding,
    activation: Activation,
) -> i8 {
    /// Every factor is a multiple of 2^-BITS.
    const BITS: u32 = 70;
    let one = 1_i128 << BITS;
    let fraction = |factor: f32| {
        let scaled = f64::from(factor) * f64::from(BITS).exp2();
        assert_eq!(scaled, scaled.trunc(), "a factor below the exact range");
        scaled as i128
    };
    let exact: i128 = terms
        .iter()
        .map(|(n, f)| i128::from(*n) * fraction(*f))
        .sum();
    let steps = match rounding {
        Rounding::Nearest => (exact + one / 2).div_euclid(one),
        Rounding::Floor => exact.div_euclid(one),
        Rounding::Ceil => -((-exact).div_euclid(one)),
    };
    let stored = (steps + i128::from(q.zero_point)).clamp(-128, 127) as i8;
    let at = |x: f32| quantize(x, q, rounding);
    match activation {
        Activation::None => stored,
        Activation::Relu => stored.max(at(0.0)),
        Activation::Relu6 => stored.clamp(at(0.0), at(6.0)),
    }
}

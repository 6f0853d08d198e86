//! The one rounding rule, of floats and of integers.

use serde::{Deserialize, Serialize};

/// The direction in which a real number becomes an integer: the one rounding rule of the project.
///
/// One rule serves floats ([`Rounding::round`]) and integers ([`Rounding::shift_right`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Rounding {
    /// floor(v + ½): to nearest, halves towards +∞.
    #[default]
    Nearest,
    /// floor(v): towards −∞.
    Floor,
    /// ceil(v): towards +∞.
    Ceil,
}

impl Rounding {
    /// All directions, in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Nearest, Self::Floor, Self::Ceil];

    /// `v` rounded in this direction, still a float.
    #[must_use]
    #[inline]
    pub fn round(self, v: f32) -> f32 {
        match self {
            Self::Nearest => floor(v + 0.5),
            Self::Floor => floor(v),
            Self::Ceil => -floor(-v),
        }
    }

    /// `v / 2^shift` rounded in this direction; `shift` is 0..=62 and |v| at most 2^62.
    #[must_use]
    pub const fn shift_right(self, v: i64, shift: u8) -> i64 {
        let one = 1_i64 << shift;
        match self {
            Self::Nearest => (v + (one >> 1)) >> shift,
            Self::Floor => v >> shift,
            Self::Ceil => (v + (one - 1)) >> shift,
        }
    }
}

/// The largest whole number that is not larger than `v`, without a call or a branch.
#[inline]
fn floor(v: f32) -> f32 {
    /// From here on every number is whole.
    const WHOLE: f32 = (1 << 23) as f32;
    // the sum has no bits left for a fraction: it is rounded to even
    let near = ((v.abs() + WHOLE) - WHOLE).copysign(v);
    let below = if near > v { near - 1.0 } else { near };
    if v.abs() < WHOLE { below } else { v }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_integer_rule_is_the_float_rule() {
        for rounding in Rounding::ALL {
            for v in -4096_i64..=4096 {
                for shift in 0..=6 {
                    let real = v as f32 / (1 << shift) as f32;
                    assert_eq!(
                        rounding.shift_right(v, shift),
                        rounding.round(real) as i64,
                        "{rounding:?} {v} >> {shift}"
                    );
                }
            }
        }
    }

    #[test]
    fn floats_are_rounded_as_the_library_does() {
        let mut bits = 0_u32;
        for _ in 0..1_000_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let v = f32::from_bits(bits ^ bits >> 15);
            let same = |a: f32, b: f32| a == b || a.is_nan() && b.is_nan();
            assert!(same(Rounding::Floor.round(v), libm::floorf(v)), "{v}");
            assert!(same(Rounding::Ceil.round(v), libm::ceilf(v)), "{v}");
        }
    }
}

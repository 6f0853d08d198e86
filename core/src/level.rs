//! What the planner chooses for one layer.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// The direction in which a real number becomes an integer: the one rounding rule of the project.
///
/// The same rule serves floats ([`Rounding::round`]) and integers ([`Rounding::shift_right`]).
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
    pub fn round(self, v: f32) -> f32 {
        match self {
            Self::Nearest => libm::floorf(v + 0.5),
            Self::Floor => libm::floorf(v),
            Self::Ceil => libm::ceilf(v),
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

/// How one layer stores its weights and reads its input.
///
/// A rounding belongs to the layer's *input*; weights are always rounded to nearest, because a
/// common direction would shift every weight of a channel the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Level {
    /// 32-bit floats for weights, input and arithmetic.
    Fp32,
    /// INT8 weights (symmetric, one scale per output channel), INT8 input (affine, one scale and
    /// zero point per tensor, rounded in the given direction), 32-bit integer accumulators.
    Int8(Rounding),
}

impl Level {
    /// All levels, widest first.
    pub const ALL: [Self; 4] = [
        Self::Fp32,
        Self::Int8(Rounding::Nearest),
        Self::Int8(Rounding::Floor),
        Self::Int8(Rounding::Ceil),
    ];

    /// The level's name in commands and reports: `fp32`, `int8`, `int8-floor`, `int8-ceil`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Int8(Rounding::Nearest) => "int8",
            Self::Int8(Rounding::Floor) => "int8-floor",
            Self::Int8(Rounding::Ceil) => "int8-ceil",
        }
    }

    /// Whether a layer's weights are the same bytes at both levels: they differ in the rounding of
    /// the input alone.
    #[must_use]
    pub const fn stores_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Fp32, Self::Fp32) | (Self::Int8(_), Self::Int8(_)) => true,
            (Self::Fp32, Self::Int8(_)) | (Self::Int8(_), Self::Fp32) => false,
        }
    }

    /// The form in which a layer at this level reads its input.
    #[must_use]
    pub const fn input_form(self) -> Form {
        match self {
            Self::Fp32 => Form::F32,
            Self::Int8(rounding) => Form::I8(rounding),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error of [`Level::from_str`]: no level has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown level; the levels are")?;
        for (i, level) in Level::ALL.iter().enumerate() {
            write!(f, "{} {level}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownLevel {}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Self, UnknownLevel> {
        let level = Self::ALL.into_iter().find(|level| level.name() == name);
        level.ok_or(UnknownLevel)
    }
}

/// How a tensor lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Form {
    /// `f32`, 4 bytes an element.
    F32,
    /// `i8` with the tensor's own scale and zero point, rounded in the given direction.
    I8(Rounding),
}

impl Form {
    /// All forms, widest first.
    pub const ALL: [Self; 4] = [
        Self::F32,
        Self::I8(Rounding::Nearest),
        Self::I8(Rounding::Floor),
        Self::I8(Rounding::Ceil),
    ];

    /// Bytes that `len` elements take in this form, padded to a multiple of four.
    #[must_use]
    pub const fn bytes(self, len: u32) -> u32 {
        match self {
            Self::F32 => 4 * len,
            Self::I8(_) => len.next_multiple_of(4),
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::F32 => 1,
            Self::I8(Rounding::Nearest) => 2,
            Self::I8(Rounding::Floor) => 4,
            Self::I8(Rounding::Ceil) => 8,
        }
    }
}

/// A set of forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms(u8);

impl Forms {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Adds one form.
    pub const fn insert(&mut self, form: Form) {
        self.0 |= form.bit();
    }

    /// The union of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the form is in the set.
    #[must_use]
    pub const fn contains(self, form: Form) -> bool {
        self.0 & form.bit() != 0
    }

    /// The forms in the set, widest first.
    pub fn iter(self) -> impl Iterator<Item = Form> {
        Form::ALL
            .into_iter()
            .filter(move |form| self.contains(*form))
    }

    /// The first of [`Forms::iter`]: what an operator without weights reads.
    #[must_use]
    pub fn widest(self) -> Option<Form> {
        self.iter().next()
    }
}

impl From<Form> for Forms {
    fn from(form: Form) -> Self {
        Self(form.bit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
        }
        assert_eq!("int3".parse::<Level>(), Err(UnknownLevel));
        assert_eq!(
            UnknownLevel.to_string(),
            "unknown level; the levels are fp32, int8, int8-floor, int8-ceil"
        );
    }

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
    fn forms_are_a_set_in_order() {
        let mut forms = Forms::NONE;
        assert_eq!(forms.widest(), None);
        for form in Form::ALL.into_iter().rev() {
            forms.insert(form);
            assert_eq!(forms.widest(), Some(form));
        }
        assert!(forms.iter().eq(Form::ALL));
        assert_eq!(Form::F32.bytes(5), 20);
        assert_eq!(Form::I8(Rounding::Floor).bytes(5), 8);
    }
}

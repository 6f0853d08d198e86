//! Levels: how one layer stores its weights and reads its input. The planner chooses one per layer.

use core::fmt;
use core::str::FromStr;

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

/// How many bits a quantized weight has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Width {
    /// −127..=127, one in a byte.
    Int8,
    /// −7..=7, two in a byte.
    Int4,
    /// −3, −1, 1 or 3, four in a byte: the grid of four evenly spaced values that is symmetric, and so
    /// without a 0.
    Int2,
}

impl Width {
    /// All widths, widest first.
    pub const ALL: [Self; 3] = [Self::Int8, Self::Int4, Self::Int2];

    /// Bits of one weight.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Int8 => 8,
            Self::Int4 => 4,
            Self::Int2 => 2,
        }
    }

    /// The largest weight.
    #[must_use]
    pub const fn max(self) -> i8 {
        match self {
            Self::Int8 => 127,
            Self::Int4 => 7,
            Self::Int2 => 3,
        }
    }

    /// The distance of neighbouring weights.
    #[must_use]
    pub const fn step(self) -> u8 {
        match self {
            Self::Int8 | Self::Int4 => 1,
            Self::Int2 => 2,
        }
    }

    /// Bytes of `len` weights that begin at a byte of their own.
    #[must_use]
    pub const fn row_bytes(self, len: usize) -> usize {
        let per_byte = (8 / self.bits()) as usize;
        len.div_ceil(per_byte)
    }
}

/// How a layer's weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stored {
    /// `f32`.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// Integers with one scale per output channel.
    Int(Width),
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
    /// 16-bit floats for weights, 32-bit floats for input and arithmetic.
    Fp16,
    /// Integer weights of this width (symmetric, one scale per output channel), INT8 input (affine,
    /// one scale and zero point per tensor, rounded in the given direction), 32-bit integer
    /// accumulators.
    Int(Width, Rounding),
}

impl Level {
    /// All levels, widest first.
    pub const ALL: [Self; 11] = [
        Self::Fp32,
        Self::Fp16,
        Self::Int(Width::Int8, Rounding::Nearest),
        Self::Int(Width::Int8, Rounding::Floor),
        Self::Int(Width::Int8, Rounding::Ceil),
        Self::Int(Width::Int4, Rounding::Nearest),
        Self::Int(Width::Int4, Rounding::Floor),
        Self::Int(Width::Int4, Rounding::Ceil),
        Self::Int(Width::Int2, Rounding::Nearest),
        Self::Int(Width::Int2, Rounding::Floor),
        Self::Int(Width::Int2, Rounding::Ceil),
    ];

    /// The level's name in commands and reports: `fp32`, `fp16`, or the width, for a rounding other
    /// than to nearest with its name (`int8`, `int4-floor`, `int2-ceil`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int(Width::Int8, Rounding::Nearest) => "int8",
            Self::Int(Width::Int8, Rounding::Floor) => "int8-floor",
            Self::Int(Width::Int8, Rounding::Ceil) => "int8-ceil",
            Self::Int(Width::Int4, Rounding::Nearest) => "int4",
            Self::Int(Width::Int4, Rounding::Floor) => "int4-floor",
            Self::Int(Width::Int4, Rounding::Ceil) => "int4-ceil",
            Self::Int(Width::Int2, Rounding::Nearest) => "int2",
            Self::Int(Width::Int2, Rounding::Floor) => "int2-floor",
            Self::Int(Width::Int2, Rounding::Ceil) => "int2-ceil",
        }
    }

    /// How a layer's weights are stored at this level. Levels that store alike differ in the rounding
    /// of the input alone.
    #[must_use]
    pub const fn stored(self) -> Stored {
        match self {
            Self::Fp32 => Stored::F32,
            Self::Fp16 => Stored::F16,
            Self::Int(width, _) => Stored::Int(width),
        }
    }

    /// The width of the weights, where they are integers.
    #[must_use]
    pub const fn width(self) -> Option<Width> {
        match self {
            Self::Fp32 | Self::Fp16 => None,
            Self::Int(width, _) => Some(width),
        }
    }

    /// The form in which a layer at this level reads its input.
    #[must_use]
    pub const fn input_form(self) -> Form {
        match self {
            Self::Fp32 | Self::Fp16 => Form::F32,
            Self::Int(_, rounding) => Form::I8(rounding),
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

    /// The place in [`Form::ALL`].
    #[must_use]
    pub const fn index(self) -> u8 {
        match self {
            Self::F32 => 0,
            Self::I8(Rounding::Nearest) => 1,
            Self::I8(Rounding::Floor) => 2,
            Self::I8(Rounding::Ceil) => 3,
        }
    }

    const fn bit(self) -> u8 {
        1 << self.index()
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

    /// The forms of the set that are before `form` in [`Form::ALL`].
    #[must_use]
    pub const fn before(self, form: Form) -> Self {
        Self(self.0 & (form.bit() - 1))
    }

    /// The forms in the set, widest first.
    pub fn iter(self) -> impl Iterator<Item = Form> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let form = Form::ALL.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(*form)
        })
    }

    /// Bytes that a tensor of `len` elements takes in all forms of the set.
    #[must_use]
    pub fn bytes(self, len: u32) -> u32 {
        self.iter().map(|form| form.bytes(len)).sum()
    }

    /// The first of [`Forms::iter`]: what an operator without weights reads.
    #[must_use]
    pub fn widest(self) -> Option<Form> {
        self.iter().next()
    }

    /// The last of [`Forms::iter`].
    #[must_use]
    pub fn narrowest(self) -> Option<Form> {
        self.iter().last()
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
            "unknown level; the levels are fp32, fp16, int8, int8-floor, int8-ceil, int4, int4-floor, \
             int4-ceil, int2, int2-floor, int2-ceil"
        );
    }

    #[test]
    fn levels_that_store_alike_differ_in_their_rounding_alone() {
        for a in Level::ALL {
            for b in Level::ALL {
                let same = a.width() == b.width() && (a.width().is_some() || a == b);
                assert_eq!(a.stored() == b.stored(), same, "{a} {b}");
            }
        }
        assert_eq!(Width::ALL.map(|width| width.row_bytes(5)), [5, 3, 2]);
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

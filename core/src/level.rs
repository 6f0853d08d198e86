//! Levels: how one layer stores its weights and reads its input. The planner chooses one per layer.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::form::Form;
use crate::quant::{Rounding, Width};

/// How a layer's weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// `f32`.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// Integers with one scale per output channel.
    Int(Width),
}

impl WeightFormat {
    /// All formats, widest first.
    pub const ALL: [Self; 5] = [
        Self::F32,
        Self::F16,
        Self::Int(Width::Int8),
        Self::Int(Width::Int4),
        Self::Int(Width::Int2),
    ];

    /// The width of the weights, where they are integers.
    #[must_use]
    pub const fn width(self) -> Option<Width> {
        match self {
            Self::F32 | Self::F16 => None,
            Self::Int(width) => Some(width),
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
    pub const fn weight_format(self) -> WeightFormat {
        match self {
            Self::Fp32 => WeightFormat::F32,
            Self::Fp16 => WeightFormat::F16,
            Self::Int(width, _) => WeightFormat::Int(width),
        }
    }

    /// The width of the weights, where they are integers.
    #[must_use]
    pub const fn width(self) -> Option<Width> {
        self.weight_format().width()
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
                assert_eq!(a.weight_format() == b.weight_format(), same, "{a} {b}");
            }
        }
        assert_eq!(Width::ALL.map(|width| width.row_bytes(5)), [5, 3, 2]);
    }
}

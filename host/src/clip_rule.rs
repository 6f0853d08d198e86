//! Rules for clip ranges, as commands name them.

use bitbudget_core::clip::{Clip, Density};

use crate::name::named;

/// A rule for clip ranges by its name in commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClipRule {
    /// [`Clip::Mse`].
    #[default]
    Mse,
    /// [`Clip::MinMax`].
    MinMax,
    /// [`Clip::Percentile`].
    Percentile,
    /// [`Clip::Aciq`] with the density that fits.
    Aciq,
    /// [`Clip::Aciq`] with a normal density.
    AciqGauss,
    /// [`Clip::Aciq`] with a Laplace density.
    AciqLaplace,
}

impl ClipRule {
    /// All rules.
    pub const ALL: [Self; 6] = [
        Self::Mse,
        Self::MinMax,
        Self::Percentile,
        Self::Aciq,
        Self::AciqGauss,
        Self::AciqLaplace,
    ];

    /// The rule's name in commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mse => "mse",
            Self::MinMax => "minmax",
            Self::Percentile => "percentile",
            Self::Aciq => "aciq",
            Self::AciqGauss => "aciq-gauss",
            Self::AciqLaplace => "aciq-laplace",
        }
    }

    /// The rule, with this fraction of the values inside if it is [`ClipRule::Percentile`].
    #[must_use]
    pub const fn with(self, fraction: f64) -> Clip {
        match self {
            Self::Mse => Clip::Mse,
            Self::MinMax => Clip::MinMax,
            Self::Percentile => Clip::Percentile(fraction),
            Self::Aciq => Clip::Aciq(Density::Fitted),
            Self::AciqGauss => Clip::Aciq(Density::Gauss),
            Self::AciqLaplace => Clip::Aciq(Density::Laplace),
        }
    }
}

named!(ClipRule, "rule");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_named_as_their_records() {
        for rule in ClipRule::ALL {
            assert_eq!(rule.name().parse(), Ok(rule));
            let record = rule.with(0.999).to_string();
            assert_eq!(record.split(' ').next(), Some(rule.name()));
        }
        assert!("mean".parse::<ClipRule>().is_err());
    }
}

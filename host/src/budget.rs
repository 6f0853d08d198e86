//! Budgets as people write them.

use std::fmt;
use std::str::FromStr;

use bitbudget_core::place::Places;
use bitbudget_core::plan::Measure;

use crate::capacity::HostNetwork;

/// A budget as written: an amount of one measure.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetText {
    text: String,
    weights: bool,
    amount: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    Bytes(u64),
    Percent(f64),
}

/// Why a text is not a budget.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "`{text}` is not a budget; examples: 64KiB, 1.5MiB, 65536, 80%, weights=80%, weights=100KiB"
)]
pub struct BudgetSyntax {
    text: String,
}

const UNITS: [(&str, f64); 9] = [
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("B", 1.0),
    ("", 1.0),
];

/// A finite number that may have a unit of bytes: `64KiB`, `2e6`.
#[must_use]
pub fn amount(text: &str) -> Option<f64> {
    let text = text.trim();
    let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let value: f64 = text[..text.len() - unit.len()].trim().parse().ok()?;
    (value * factor).is_finite().then_some(value * factor)
}

impl FromStr for BudgetText {
    type Err = BudgetSyntax;

    fn from_str(text: &str) -> Result<Self, BudgetSyntax> {
        let wrong = || BudgetSyntax { text: text.into() };
        let trimmed = text.trim();
        let (weights, rest) = match trimmed.strip_prefix("weights=") {
            Some(rest) => (true, rest),
            None => (false, trimmed),
        };
        let plausible = |value: &f64| (0.0..1e18).contains(value);
        let amount = match rest.strip_suffix('%') {
            Some(percent) => percent.trim().parse().ok().map(Amount::Percent),
            None => amount(rest)
                .filter(plausible)
                .map(|bytes| Amount::Bytes(bytes as u64)),
        };
        let amount = amount.filter(|amount| match amount {
            Amount::Percent(percent) => plausible(percent),
            Amount::Bytes(_) => true,
        });
        let amount = amount.ok_or_else(wrong)?;
        Ok(Self {
            text: trimmed.into(),
            weights,
            amount,
        })
    }
}

impl fmt::Display for BudgetText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl BudgetText {
    /// What it limits.
    #[must_use]
    pub const fn measure(&self) -> Measure {
        match self.weights {
            true => Measure::Weights,
            false => Measure::Ram,
        }
    }

    /// The limit in bytes where the weights of a network may lie in these places.
    #[must_use]
    pub fn bytes(&self, network: &HostNetwork, places: Places) -> u64 {
        let (weights, arena) = (network.fp32_weight_bytes(), network.fp32_arena_bytes());
        match places {
            Places::Ram | Places::Best => self.resolve(weights, weights + arena),
            Places::Flash => self.resolve(weights, arena),
        }
    }

    /// The limit in bytes; a percentage is of the all-FP32 layout's bytes in the same measure:
    /// `weight_bytes` of weights, `total_bytes` of RAM.
    #[must_use]
    pub fn resolve(&self, weight_bytes: u64, total_bytes: u64) -> u64 {
        let whole = if self.weights {
            weight_bytes
        } else {
            total_bytes
        };
        match self.amount {
            Amount::Bytes(bytes) => bytes,
            Amount::Percent(percent) => (percent / 100.0 * whole as f64).floor() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_as_written() {
        let resolve = |text: &str| {
            let budget = text.parse::<BudgetText>();
            budget.map(|b| (b.measure(), b.resolve(1_000, 1_500)))
        };
        for (text, bytes) in [
            ("64KiB", 65_536),
            (" 1.5 MiB", 1_572_864),
            ("2kB", 2_000),
            ("777", 777),
            ("777B", 777),
            ("80%", 1_200),
        ] {
            assert_eq!(resolve(text), Ok((Measure::Ram, bytes)));
        }
        assert_eq!(resolve("weights=80%"), Ok((Measure::Weights, 800)));
        assert_eq!(resolve("weights=1KiB"), Ok((Measure::Weights, 1_024)));
        for wrong in [
            "", "x", "%", "KiB", "-5", "nan", "inf", "1e99", "64 KiBs", "weights=", "ram=3",
        ] {
            assert!(resolve(wrong).is_err(), "{wrong}");
        }
    }
}

//! Budgets as people write them.

use std::fmt;
use std::str::FromStr;

use bitbudget_core::plan::Budget;

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

impl FromStr for BudgetText {
    type Err = BudgetSyntax;

    fn from_str(text: &str) -> Result<Self, BudgetSyntax> {
        let wrong = || BudgetSyntax { text: text.into() };
        let trimmed = text.trim();
        let (weights, rest) = match trimmed.strip_prefix("weights=") {
            Some(rest) => (true, rest),
            None => (false, trimmed),
        };
        let number = |digits: &str| {
            let value: f64 = digits.trim().parse().map_err(|_| wrong())?;
            let plausible = value.is_finite() && (0.0..1e15).contains(&value);
            plausible.then_some(value).ok_or_else(wrong)
        };
        let amount = if let Some(percent) = rest.strip_suffix('%') {
            Amount::Percent(number(percent)?)
        } else {
            let unit = UNITS.iter().find(|(unit, _)| rest.ends_with(unit));
            let (unit, factor) = unit.ok_or_else(wrong)?;
            let bytes = number(&rest[..rest.len() - unit.len()])? * factor;
            Amount::Bytes(bytes as u64)
        };
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
    /// The budget in bytes; a percentage is of the all-FP32 layout's bytes in the same measure:
    /// `weight_bytes` resident, `arena_bytes` for activations.
    #[must_use]
    pub fn resolve(&self, weight_bytes: u64, arena_bytes: u64) -> Budget {
        let whole = if self.weights {
            weight_bytes
        } else {
            weight_bytes + arena_bytes
        };
        let bytes = match self.amount {
            Amount::Bytes(bytes) => bytes,
            Amount::Percent(percent) => (percent / 100.0 * whole as f64).floor() as u64,
        };
        if self.weights {
            Budget::Weights(bytes)
        } else {
            Budget::Total(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_as_written() {
        let resolve = |text: &str| text.parse::<BudgetText>().map(|b| b.resolve(1_000, 500));
        assert_eq!(resolve("64KiB"), Ok(Budget::Total(65_536)));
        assert_eq!(resolve(" 1.5 MiB"), Ok(Budget::Total(1_572_864)));
        assert_eq!(resolve("2kB"), Ok(Budget::Total(2_000)));
        assert_eq!(resolve("777"), Ok(Budget::Total(777)));
        assert_eq!(resolve("777B"), Ok(Budget::Total(777)));
        assert_eq!(resolve("80%"), Ok(Budget::Total(1_200)));
        assert_eq!(resolve("weights=80%"), Ok(Budget::Weights(800)));
        assert_eq!(resolve("weights=1KiB"), Ok(Budget::Weights(1_024)));
        for wrong in [
            "", "x", "%", "KiB", "-5", "nan", "inf", "1e99", "64 KiBs", "weights=", "ram=3",
        ] {
            assert!(resolve(wrong).is_err(), "{wrong}");
        }
    }
}

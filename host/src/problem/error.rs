//! Why a problem cannot be posed or has no answer.

use std::fmt;

use miette::Diagnostic;

use crate::decimal::amount;

/// A name or an amount that a problem cannot be limited or minimised by.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum MeasureError {
    /// No item has such a cost.
    #[error("there is no cost `{name}`; there are: {}", known.join(", "))]
    Unknown {
        /// The name as given.
        name: String,
        /// The names that there are, the price's included.
        known: Vec<String>,
    },
    /// A limit that is not a number, or below zero for what is never negative.
    #[error("{limit} is no limit for `{name}`")]
    Limit {
        /// The cost, or `price`.
        name: String,
        /// The limit as given.
        limit: f64,
    },
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum SolveError {
    /// More limits than can be kept at a time.
    #[error("{given} limits; there may be {most} at a time")]
    TooManyLimits {
        /// The limits given.
        given: usize,
        /// The most at a time.
        most: usize,
    },
    /// No layout is within the limits.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Infeasible(#[from] Infeasible),
}

/// No layout is within the limits, and what about each of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Infeasible {
    /// Every limit.
    pub shortages: Vec<Shortage>,
    /// Why that is not certain, if so.
    pub doubt: Option<Doubt>,
}

/// Why it is not certain that there is no layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The search was cut off.
    Interrupted,
    /// Costs are so far apart that they were not counted to the last digit.
    Coarse,
}

/// A limit that cannot be met.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortage {
    /// The limit's name.
    pub name: String,
    /// The limit.
    pub limit: f64,
    /// The least total of any layout.
    pub least: f64,
    /// The least total within the other limits; `None` where no layout meets those.
    pub least_with_others: Option<f64>,
    /// The layers that take most of it then: name, level, amount.
    pub largest: Vec<(String, String, f64)>,
}

impl Shortage {
    /// Whether the limit is too small whatever the others are.
    #[must_use]
    pub fn binds_alone(&self) -> bool {
        self.least > self.limit
    }

    fn parts(&self) -> String {
        let part = |(name, level, own): &(String, String, f64)| {
            format!("{name} at {level} {}", amount(*own))
        };
        let parts: Vec<String> = self.largest.iter().map(part).collect();
        format!("(most: {})", parts.join(", "))
    }
}

impl Infeasible {
    /// The limits that are too small whatever the others are; all where none is.
    fn culprits(&self) -> Vec<&Shortage> {
        let alone: Vec<&Shortage> = self.shortages.iter().filter(|s| s.binds_alone()).collect();
        if alone.is_empty() {
            self.shortages.iter().collect()
        } else {
            alone
        }
    }
}

impl fmt::Display for Infeasible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.doubt {
            None => {}
            Some(Doubt::Interrupted) => {
                return f.write_str("no layout was found before the node limit");
            }
            Some(Doubt::Coarse) => {
                return f
                    .write_str("no layout was found, but it is not certain that there is none");
            }
        }
        let culprits = self.culprits();
        let limit = |s: &&Shortage| format!("{} {}", s.name, amount(s.limit));
        let limits = culprits.iter().map(limit).collect::<Vec<_>>().join("; ");
        if culprits.iter().any(|s| s.binds_alone()) {
            write!(f, "no layout is within {limits}")
        } else {
            write!(f, "no layout is within all limits: {limits}")
        }
    }
}

impl std::error::Error for Infeasible {}

impl Diagnostic for Infeasible {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match self.doubt {
            None => {}
            Some(Doubt::Interrupted) => {
                return Some(Box::new("a higher --node-limit may find one"));
            }
            Some(Doubt::Coarse) => {
                return Some(Box::new(
                    "costs of one layer differ by more than 2^31 times what all differences can be divided by: give them in larger units",
                ));
            }
        }
        let help = |s: &&Shortage| match s.least_with_others {
            _ if s.binds_alone() => {
                format!("the least {} is {} {}", s.name, amount(s.least), s.parts())
            }
            Some(least) => format!(
                "with the other limits as they are, {} must be {} {}",
                s.name,
                amount(least),
                s.parts()
            ),
            None => format!("no {} is enough for the other limits", s.name),
        };
        let lines: Vec<String> = self.culprits().iter().map(help).collect();
        Some(Box::new(lines.join("; ")))
    }
}

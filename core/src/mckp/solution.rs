//! What the caller gets: a layout with its bound, or the reason why there is none.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

/// A layout, and how good it is known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution<const N: usize, const D: usize = 1> {
    /// The index of the chosen item for every group; groups and items as they were given.
    pub choice: Vec<u8, N>,
    /// The sums of the costs of the chosen items.
    pub cost: [u64; D],
    /// What the layout costs beyond them, against the first limit.
    pub surcharge: u32,
    /// The sum of the prices of the chosen items.
    pub price: i64,
    /// A proven lower bound of the optimal price; equal to `price` if that is optimal.
    pub bound: i64,
    /// The number of partial layouts that the search opened; with a surcharge, also of parts that it
    /// entered behind the first one.
    pub nodes: u64,
    /// Whether the layout is proven to be optimal.
    pub status: Status,
}

impl<const N: usize, const D: usize> Solution<N, D> {
    /// Returns `price - bound`: by how much, at most, the layout is worse than the optimum.
    #[must_use]
    pub const fn gap(&self) -> u64 {
        self.price.abs_diff(self.bound)
    }
}

/// The layout of smallest first cost, surcharge included, and how well that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Least<const N: usize> {
    /// The index of the chosen item for every group.
    pub choice: Vec<u8, N>,
    /// The layout's first cost with its surcharge.
    pub total: u64,
    /// No layout has less; equal to `total` if that is proven to be the smallest.
    pub bound: u64,
    /// The number of nodes that finding it took.
    pub nodes: u64,
}

/// Why the search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// The layout is proven to be optimal.
    Optimal,
    /// The node limit was reached before a proof; the layout may be optimal all the same.
    NodeLimit,
}

/// A problem that is too large for the type of the solver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ProblemError {
    /// There are more groups than fit.
    TooManyGroups {
        /// The number of groups that fit.
        limit: usize,
    },
    /// A group has more items than fit.
    TooManyItems {
        /// The index of the group.
        group: usize,
        /// The number of items that fit.
        limit: usize,
    },
}

impl fmt::Display for ProblemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyGroups { limit } => write!(f, "more than {limit} groups"),
            Self::TooManyItems { group, limit } => {
                write!(f, "more than {limit} items in group {group}")
            }
        }
    }
}

impl core::error::Error for ProblemError {}

/// There is no layout within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Infeasible<const D: usize = 1> {
    /// The limits that were asked for.
    pub limits: [u64; D],
    /// The smallest sums of costs, each by itself and without surcharge: no limit below them can be
    /// met, but limits above them need not be.
    pub smallest: [u64; D],
    /// Whether it is proven that there is no layout; else the node limit was reached before one was
    /// found.
    pub proven: bool,
}

impl<const D: usize> fmt::Display for Infeasible<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, values: &[u64; D]| {
            values.iter().enumerate().try_for_each(|(d, value)| {
                write!(f, "{}{value}", if d == 0 { "" } else { " and " })
            })
        };
        f.write_str(if self.proven {
            "no layout within "
        } else {
            "no layout found yet within "
        })?;
        list(f, &self.limits)?;
        f.write_str(": the smallest one costs ")?;
        list(f, &self.smallest)
    }
}

impl<const D: usize> core::error::Error for Infeasible<D> {}

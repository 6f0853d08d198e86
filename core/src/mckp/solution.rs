//! What the caller gets: a layout with its bound, or the reason why there is none.

use core::fmt;

use heapless::Vec;

/// A layout, and how good it is known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution<const N: usize> {
    /// The index of the chosen item for every group; groups and items as they were given.
    pub choice: Vec<u8, N>,
    /// The sum of the costs of the chosen items.
    pub cost: u64,
    /// The sum of the prices of the chosen items.
    pub price: i64,
    /// A proven lower bound of the optimal price; equal to `price` if that is optimal.
    pub bound: i64,
    /// The number of partial layouts that the search opened.
    pub nodes: u64,
    /// Whether the layout is proven to be optimal.
    pub status: Status,
}

impl<const N: usize> Solution<N> {
    /// Returns `price - bound`: by how much, at most, the layout is worse than the optimum.
    #[must_use]
    pub const fn gap(&self) -> u64 {
        self.price.abs_diff(self.bound)
    }
}

/// Why the search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// There is no layout within the capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Infeasible {
    /// The capacity that was asked for.
    pub capacity: u64,
    /// The smallest capacity for which there is a layout.
    pub smallest_capacity: u64,
}

impl fmt::Display for Infeasible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            capacity,
            smallest_capacity,
        } = self;
        write!(
            f,
            "no layout within {capacity}: the smallest one costs {smallest_capacity}"
        )
    }
}

impl core::error::Error for Infeasible {}

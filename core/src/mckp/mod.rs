//! Exact solver for the multiple-choice knapsack problem (MCKP), in fixed memory.
//!
//! Choose exactly one item of every group so that the sum of the prices is smallest and the sum of
//! the costs does not exceed the capacity (Sinha & Zoltners 1979, eq. 1–4; Kellerer, Pferschy &
//! Pisinger 2004, *Knapsack Problems*, ch. 11). Costs are non-negative, prices are signed.
//!
//! | file | what it does | depends on the capacity |
//! |---|---|---|
//! | `problem` | drops dominated items, finds the steps of the convex hulls | no |
//! | `relaxation` | linear relaxation, reduced prices, first incumbent | yes |
//! | `table` | lower bounds of what is still open, for several multipliers | yes |
//! | `search` | depth-first search with a deepening gap | yes |
//!
//! # Numbers
//!
//! Nothing is a float, so every platform makes the same choice. Costs and prices are held relative
//! to the smallest of their group: both are then non-negative, and with at most 2^16 groups a sum
//! of either stays below 2^48. Multipliers (prices per unit of cost) are rarely whole numbers, so the relaxation
//! works in units of 2^-shift of a price; the shift is chosen once, by the problem, so that all
//! prices together stay below 2^54 such units. A lower bound by Lagrangian relaxation holds for
//! *every* non-negative multiplier (Fisher 1981, eq. 2), hence for the rounded ones too: rounding
//! can make a bound weaker, never wrong.

mod problem;
mod relaxation;
mod search;
mod table;
#[cfg(test)]
mod tests;

use core::fmt;

use heapless::Vec;

use problem::Problem;
use relaxation::Relaxation;
use search::Search;

/// One choice of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// What the choice takes from the capacity.
    pub cost: u32,
    /// What the choice adds to the sum that is minimised; negative prices are improvements.
    pub price: i32,
}

/// A problem with at most `N` groups of at most `K` items, and the memory to solve it in.
///
/// `K` is at most 256 and `N` at most 65,535. Nothing is allocated and nothing recurses: the whole
/// state is this struct.
#[derive(Clone, Debug)]
pub struct Solver<const N: usize, const K: usize> {
    problem: Problem<N, K>,
    relaxation: Relaxation<N, K>,
    search: Search<N, K>,
}

impl<const N: usize, const K: usize> Solver<N, K> {
    /// The size of the solver in bytes.
    pub const STATE_BYTES: usize = size_of::<Self>();

    /// Returns the solver of these groups, with all the work done that does not depend on the
    /// capacity.
    ///
    /// A group without items is nothing to choose: it contributes zero, and its choice is reported
    /// as 0.
    ///
    /// # Errors
    ///
    /// [`ProblemError`] if there are more than `N` groups or more than `K` items in a group.
    pub fn new(
        groups: impl IntoIterator<Item = impl IntoIterator<Item = Item>>,
    ) -> Result<Self, ProblemError> {
        Ok(Self {
            problem: Problem::new(groups)?,
            relaxation: Relaxation::new(),
            search: Search::new(),
        })
    }

    /// Returns the layout of smallest price whose cost is at most `capacity`.
    ///
    /// The search visits at most `node_limit` partial layouts; `u64::MAX` lets it run until the
    /// optimum is proven. An interrupted search returns the best layout that it met and the bound
    /// that it proved: a greater limit never gives a worse layout or a worse bound.
    ///
    /// The answer depends on the arguments alone. Of equal items the cheaper one is
    /// chosen, then the one given first; between different layouts of equal price and equal
    /// optimality there is no preference beyond being always the same.
    ///
    /// # Errors
    ///
    /// [`Infeasible`] if even the smallest items cost more than `capacity`.
    pub fn solve(&mut self, capacity: u64, node_limit: u64) -> Result<Solution<N>, Infeasible> {
        let problem = &self.problem;
        let spare = capacity
            .checked_sub(problem.smallest_cost)
            .ok_or(Infeasible {
                capacity,
                smallest_capacity: problem.smallest_cost,
            })?;
        if spare >= problem.useful_spare.unsigned_abs() {
            let layout = problem.best_layout();
            return Ok(problem.solution(&layout, layout.price, 0));
        }
        // Below `useful_spare`, so it fits.
        let incumbent = self.relaxation.solve(problem, spare as i64);
        let (layout, bound, nodes) =
            self.search
                .run(problem, &self.relaxation, incumbent, node_limit);
        Ok(problem.solution(&layout, bound, nodes))
    }

    /// Returns the smallest capacity for which there is a layout.
    #[must_use]
    pub const fn smallest_cost(&self) -> u64 {
        self.problem.smallest_cost
    }

    /// Returns the cost of the layout that an unlimited capacity gives: more capacity than this
    /// changes nothing.
    #[must_use]
    pub const fn largest_useful_cost(&self) -> u64 {
        self.problem.smallest_cost + self.problem.useful_spare.unsigned_abs()
    }
}

/// A layout, and what is known about how good it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution<const N: usize> {
    /// The index of the chosen item for every group, both in the order in which they were given.
    pub choice: Vec<u8, N>,
    /// The sum of the costs of the chosen items.
    pub cost: u64,
    /// The sum of the prices of the chosen items.
    pub price: i64,
    /// A proven lower bound of the optimal price; equal to `price` if that is optimal.
    pub bound: i64,
    /// The number of partial layouts that the search opened.
    pub nodes: u64,
    /// Whether the optimum is proven.
    pub status: Status,
}

impl<const N: usize> Solution<N> {
    /// Returns `price - bound`: by how much the layout is worse than the optimum, at most.
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

/// A problem that is too large for the solver's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemError {
    /// There are more than `limit` groups.
    TooManyGroups {
        /// The number of groups that fit.
        limit: usize,
    },
    /// A group has more than `limit` items.
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

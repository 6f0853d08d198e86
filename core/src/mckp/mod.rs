//! Exact solver for the multiple-choice knapsack problem (MCKP), in fixed memory.
//!
//! Choose exactly one item j(i) of every group i so that
//!
//! Σ price(i, j(i)) is smallest, subject to Σ cost(i, j(i)) ≤ capacity
//!
//! (Sinha & Zoltners 1979; Kellerer, Pferschy & Pisinger 2004, *Knapsack Problems*, ch. 11, where
//! profits are maximised instead). Costs are not negative, prices are signed.
//!
//! | file | what it does | depends on the capacity |
//! |---|---|---|
//! | `problem` | drops dominated items, sorts the steps of the convex hulls | no |
//! | `relaxation` | linear relaxation, reduced prices, first incumbent | yes |
//! | `table` | lower bounds for the groups that are still open | yes |
//! | `exchange` | dominance between partial layouts | no |
//! | `search`, `frame` | depth-first search with a deepening gap | yes |
//! | `sort` | sorting | |
//! | `solution` | what the caller gets | |
//!
//! # Numbers
//!
//! Nothing is a float and no value is a `usize`, so every platform makes the same choice. Costs and
//! prices are held relative to the smallest of their group: both are non-negative, and a sum of
//! either over all groups stays below 2^48. Multipliers (price per cost) are rarely whole, so the
//! relaxation counts prices in *units* of 2^-shift; the shift is the largest for which all prices
//! together stay below 2^54 units. A Lagrangian bound holds for *every* non-negative multiplier
//! (Fisher 1981), hence for a rounded one too: rounding makes a bound weaker, never wrong.

mod exchange;
mod frame;
mod problem;
mod relaxation;
mod search;
mod solution;
mod sort;
mod table;
#[cfg(test)]
mod tests;

pub use solution::{Infeasible, ProblemError, Solution, Status};

use problem::Problem;
use relaxation::Relaxation;
use search::Search;

/// One choice of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// What the choice takes from the capacity.
    pub cost: u32,
    /// What the choice adds to the sum that is minimised; a negative price is an improvement.
    pub price: i32,
}

/// A problem of at most `N` groups with at most `K` items each, and the memory to solve it in.
///
/// `N` is at most 65,535 and `K` is 1 to 256. Nothing is allocated and nothing recurses: this
/// struct is the whole state.
#[derive(Clone, Debug)]
pub struct Solver<const N: usize, const K: usize> {
    problem: Problem<N, K>,
    relaxation: Relaxation<N, K>,
    search: Search<N, K>,
}

impl<const N: usize, const K: usize> Solver<N, K> {
    /// The size of a solver in bytes.
    pub const STATE_BYTES: usize = size_of::<Self>();

    /// Returns the solver of these groups, with all the work done that does not depend on the
    /// capacity.
    ///
    /// A group without items is nothing to choose: it contributes zero, and its choice is reported
    /// as 0.
    ///
    /// # Errors
    ///
    /// [`ProblemError`] if there are more than `N` groups, or more than `K` items in a group.
    pub fn new(
        groups: impl IntoIterator<Item = impl IntoIterator<Item = Item>>,
    ) -> Result<Self, ProblemError> {
        Ok(Self {
            problem: Problem::new(groups)?,
            relaxation: Relaxation::new(),
            search: Search::new(),
        })
    }

    /// Returns the layout of smallest price that costs at most `capacity`.
    ///
    /// The search opens at most `node_limit` partial layouts; with `u64::MAX` it ends with a proof.
    /// With 0 the answer is the incumbent that the search would begin with. A greater limit never
    /// gives a higher price or a lower bound.
    ///
    /// The answer depends on the groups and the arguments alone, not on earlier calls. No item is
    /// chosen if another one of its group is at least as good in both cost and price and better
    /// in one; of items that are equal in both, the one given first is chosen. Which one of several
    /// optimal layouts is returned is not specified beyond that.
    ///
    /// # Errors
    ///
    /// [`Infeasible`] if the cheapest items together cost more than `capacity`.
    pub fn solve(&mut self, capacity: u64, node_limit: u64) -> Result<Solution<N>, Infeasible> {
        let problem = &self.problem;
        let smallest_capacity = problem.smallest_cost;
        let spare = capacity.checked_sub(smallest_capacity).ok_or(Infeasible {
            capacity,
            smallest_capacity,
        })?;
        if spare >= problem.useful_spare.cast_unsigned() {
            let layout = problem.best_layout();
            return Ok(problem.solution(&layout, layout.price, 0));
        }
        let incumbent = self.relaxation.solve(problem, spare.cast_signed());
        let outcome = self
            .search
            .run(problem, &self.relaxation, incumbent, node_limit);
        Ok(problem.solution(&outcome.layout, outcome.bound, outcome.nodes))
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
        self.problem.smallest_cost + self.problem.useful_spare.cast_unsigned()
    }
}

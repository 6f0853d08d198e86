//! Exact solver for the multiple-choice knapsack problem (MCKP), in fixed memory.
//!
//! Choose exactly one item j(i) of every group i so that
//!
//! Σ price(i, j(i)) is smallest, subject to Σ cost_d(i, j(i)) ≤ limit_d for d = 0..D
//!
//! (Sinha & Zoltners 1979; Kellerer, Pferschy & Pisinger 2004, *Knapsack Problems*, ch. 11, where
//! profits are maximised instead). Costs are not negative, prices are signed. The first cost may have
//! a [`Surcharge`] that is no sum over the groups.
//!
//! | file | what it does | depends on the limits |
//! |---|---|---|
//! | `problem` | drops dominated items, sorts the steps of the convex hulls | no |
//! | `relaxation`, `multipliers` | relaxation, reduced prices, first incumbent | yes |
//! | `table` | lower bounds for the groups that are still open | yes |
//! | `grain` | how finely a limit can be used | yes |
//! | `exchange` | dominance between partial layouts | no |
//! | `search`, `frame` | depth-first search with a deepening gap | yes |
//! | `incumbent` | layouts that are good early | yes |
//! | `least` | the layout of smallest cost, surcharge included | |
//! | `surcharge` | what a caller says about costs that do not add up | |
//! | `solution` | what the caller gets | |
//!
//! # Numbers
//!
//! Nothing is a float and no value is a `usize`, so every platform makes the same choice. Costs and
//! prices are held relative to the smallest of their group: both are non-negative, and a sum of
//! either over all groups stays below 2^48. Multipliers (price per cost) are rarely whole, so the
//! relaxation counts prices in *units* of 2^-shift; the shift is the largest for which all prices
//! together stay below 2^54 units. A Lagrangian bound holds for *every* non-negative multiplier
//! (Fisher 1981), hence for a rounded one too: rounding makes a bound weaker, never wrong. Where
//! multipliers are made, in `relaxation` and `table`, they are kept so small that no product with a
//! cost leaves 64 bits.

mod exchange;
#[cfg(test)]
mod extremes;
mod frame;
mod grain;
mod incumbent;
mod least;
mod multipliers;
mod problem;
mod relaxation;
mod search;
mod solution;
mod surcharge;
mod table;
#[cfg(test)]
mod tests;

pub use solution::{Infeasible, Least, ProblemError, Solution, Status};
pub use surcharge::{OPEN, Surcharge};

use problem::Problem;
use relaxation::Relaxation;
use search::{Run, Search};

/// One choice of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<const D: usize = 1> {
    /// What the choice takes from each limit.
    pub cost: [u32; D],
    /// What the choice adds to the sum that is minimised; a negative price is an improvement.
    pub price: i32,
    /// What a [`Surcharge`] knows of the choice; less than [`OPEN`].
    pub class: u8,
}

impl<const D: usize> Default for Item<D> {
    fn default() -> Self {
        Self {
            cost: [0; D],
            price: 0,
            class: 0,
        }
    }
}

impl<const D: usize> Item<D> {
    /// Whether this item can stand for another one: it is of the same class, and neither a cost nor
    /// the price is higher.
    fn dominates(&self, other: &Self) -> bool {
        let cheap = self.cost.iter().zip(&other.cost).all(|(a, b)| a <= b);
        cheap && self.price <= other.price && self.class == other.class
    }
}

/// A problem of at most `N` groups with at most `K` items each and `D` limits, and the memory to
/// solve it in.
///
/// ```
/// use bitbudget_core::mckp::{Item, Solver};
///
/// let item = |bytes, price| Item { cost: [bytes], price, class: 0 };
/// // two layers: many bytes at no loss, or few at some
/// let layers = [[item(100, 0), item(25, 7)], [item(60, 0), item(15, 2)]];
/// let mut solver = Solver::<2, 2>::new(layers)?;
/// let solution = solver.solve([120], u64::MAX)?;
/// assert_eq!((solution.choice[0], solution.choice[1]), (0, 1));
/// assert_eq!((solution.cost, solution.price), ([115], 2));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// `N` is at most 65,535 and `K` is 1 to 256. Nothing is allocated and nothing recurses: this
/// struct is the whole state.
#[derive(Clone, Debug)]
pub struct Solver<const N: usize, const K: usize, const D: usize = 1> {
    problem: Problem<N, K, D>,
    relaxation: Relaxation<N, K, D>,
    search: Search<N, K, D>,
    limits: [u64; D],
}

impl<const N: usize, const K: usize, const D: usize> Solver<N, K, D> {
    /// The size of a solver in bytes: at most N · (33 K + 208) + 512 with one limit, and
    /// N · (4 K + 8) + 1024 more for every further one.
    pub const STATE_BYTES: usize = size_of::<Self>();

    /// Returns the solver of these groups, with all the work done that does not depend on the
    /// limits.
    ///
    /// A group without items is nothing to choose: it contributes zero, and its choice is reported
    /// as 0.
    ///
    /// # Errors
    ///
    /// [`ProblemError`] if there are more than `N` groups, or more than `K` items in a group.
    pub fn new(
        groups: impl IntoIterator<Item = impl IntoIterator<Item = Item<D>>>,
    ) -> Result<Self, ProblemError> {
        let mut solver = Self::empty();
        solver.set_groups(groups)?;
        Ok(solver)
    }

    /// Returns the solver of no groups: a place for [`Self::set_groups`].
    #[must_use]
    pub const fn empty() -> Self {
        const {
            let further = D.saturating_sub(1);
            let one_limit = N * (33 * K + 208) + 512;
            assert!(Self::STATE_BYTES <= one_limit + further * (N * (4 * K + 8) + 1024));
        }
        Self {
            problem: Problem::empty(),
            relaxation: Relaxation::new(),
            search: Search::new(),
            limits: [0; D],
        }
    }

    /// Makes this the solver of other groups, in place: a solver is large, and where memory is short
    /// it is better not moved.
    ///
    /// # Errors
    ///
    /// Those of [`Self::new`]; the groups before the one that does not fit are in place then.
    pub fn set_groups(
        &mut self,
        groups: impl IntoIterator<Item = impl IntoIterator<Item = Item<D>>>,
    ) -> Result<(), ProblemError> {
        self.search.reset();
        self.problem.set_groups(groups)
    }

    /// Returns the layout of smallest price whose costs are within the limits.
    ///
    /// The search opens at most `node_limit` partial layouts; with `u64::MAX` it ends with a proof.
    /// With 0 the answer is the incumbent that the search would begin with. A greater limit never
    /// gives a higher price or a lower bound.
    ///
    /// The answer depends on the groups and the arguments alone, not on earlier calls. No item is
    /// chosen if another one of its group and class is at least as good in all costs and the price and
    /// better in one; of items that are equal in all, the one given first is chosen. Which one of
    /// several optimal layouts is returned is not specified beyond that.
    ///
    /// # Errors
    ///
    /// [`Infeasible`] if no layout is within the limits, or, with several limits, if the node limit
    /// was reached before one was found.
    pub fn solve(
        &mut self,
        limits: [u64; D],
        node_limit: u64,
    ) -> Result<Solution<N, D>, Infeasible<D>> {
        self.start(limits, &());
        self.solve_for(node_limit, &())
    }

    /// Begins a search within these limits, to be carried out by [`Self::solve_for`].
    pub fn start(&mut self, limits: [u64; D], surcharge: &dyn Surcharge<N>) {
        self.limits = limits;
        // More than everything costs is no limit.
        let most = 1 << 49;
        let spare = core::array::from_fn(|d| {
            let spare = limits[d].checked_sub(self.problem.smallest_cost[d]);
            spare.map_or(-1, |spare| spare.min(most).cast_signed())
        });
        self.run(surcharge).start(spare);
    }

    /// Makes a layout known to the search that was begun: the answer is never worse. One that is not
    /// within the limits, or has a dominated item, is not taken.
    pub(crate) fn suggest(&mut self, choice: &[u8], surcharge: &dyn Surcharge<N>) {
        self.run(surcharge).suggest(choice);
    }

    /// Goes on with the search that was begun, for at most `nodes` further partial layouts, and
    /// returns what is known then; [`Status::Optimal`] says that the search has ended. Slices of any
    /// sizes give what [`Self::solve`] gives with their sum.
    ///
    /// `surcharge` is that of [`Self::start`].
    ///
    /// # Errors
    ///
    /// [`Infeasible`] if there is no layout, or none was found yet.
    pub fn solve_for(
        &mut self,
        nodes: u64,
        surcharge: &dyn Surcharge<N>,
    ) -> Result<Solution<N, D>, Infeasible<D>> {
        let node_limit = self.search.nodes().saturating_add(nodes);
        let mut run = self.run(surcharge);
        run.advance(node_limit);
        let bound = run.bound();
        let Some((layout, surcharge)) = run.search.incumbent() else {
            return Err(Infeasible {
                proven: run.search.is_done(),
                limits: self.limits,
                smallest: self.problem.smallest_cost,
            });
        };
        let problem = &*run.problem;
        let cost = problem.cost(&layout.items);
        Ok(Solution {
            choice: problem.indices(&layout.items),
            cost: core::array::from_fn(|d| problem.smallest_cost[d] + cost[d].cast_unsigned()),
            surcharge,
            price: problem.smallest_price + layout.price,
            bound: problem.smallest_price + bound,
            nodes: run.search.nodes(),
            status: if bound == layout.price {
                Status::Optimal
            } else {
                Status::NodeLimit
            },
        })
    }

    /// Whether the search that was begun has ended: the answer is optimal, or there is none.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.search.is_done()
    }

    fn run<'a>(&'a mut self, surcharge: &'a dyn Surcharge<N>) -> Run<'a, N, K, D> {
        Run {
            problem: &mut self.problem,
            relaxation: &mut self.relaxation,
            search: &mut self.search,
            surcharge,
        }
    }

    /// Returns the smallest sum of each cost that a layout has, without surcharge.
    #[must_use]
    pub const fn smallest_cost(&self) -> [u64; D] {
        self.problem.smallest_cost
    }

    /// Returns the costs of the layout that unlimited costs give: higher limits than these change
    /// nothing.
    #[must_use]
    pub fn largest_useful_cost(&self) -> [u64; D] {
        let cost = self.problem.cost(&self.problem.best_layout().items);
        core::array::from_fn(|d| self.problem.smallest_cost[d] + cost[d].cast_unsigned())
    }
}

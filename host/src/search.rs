//! Searches on a workstation: limited, watched and interruptible.

use bitbudget_core::network::Network;
use bitbudget_core::plan::{Budget, BudgetTooSmall, Plan, Planner};

/// The most nodes of a search unless its caller says otherwise.
pub const NODE_LIMIT: u64 = 200_000;

/// A search is watched after so many nodes.
const SLICE_NODES: u64 = 2_000;

/// Progress of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Nodes that it has visited.
    pub nodes: u64,
    /// By how much its best layout may be worse than the optimum, if it has one: in units of loss, or of
    /// the cost that is minimised.
    pub gap: Option<f64>,
}

/// Limit and watcher of a search.
#[derive(Clone, Copy)]
pub struct Effort<'a> {
    /// The most nodes of every search.
    pub node_limit: u64,
    /// Told how far a long search is; false ends it, with what it has found.
    pub watch: &'a (dyn Fn(Progress) -> bool + Sync),
}

impl Effort<'_> {
    /// A search to its end that nobody watches.
    pub const UNLIMITED: Self = Self::nodes(u64::MAX);

    /// A search of at most so many nodes that nobody watches.
    #[must_use]
    pub const fn nodes(node_limit: u64) -> Self {
        Self {
            node_limit,
            watch: &|_| true,
        }
    }

    /// Gives a search slices of so many nodes until it has ended, the node limit is reached or the watcher
    /// ends it. `spent` nodes count towards the limit, and so do those of the slices. The second says
    /// whether there is effort left for another search.
    pub(crate) fn spend<T>(
        &self,
        spent: &mut u64,
        mut slice: impl FnMut(u64) -> Slice<T>,
    ) -> (T, bool) {
        let before = *spent;
        loop {
            let nodes = SLICE_NODES.min(self.node_limit - *spent);
            let slice = slice(nodes);
            *spent = slice.nodes.map_or(*spent + nodes, |nodes| before + nodes);
            let has_nodes = *spent < self.node_limit;
            if slice.is_done || !has_nodes {
                return (slice.found, has_nodes);
            }
            let progress = Progress {
                nodes: *spent,
                gap: slice.gap,
            };
            if !(self.watch)(progress) {
                return (slice.found, false);
            }
        }
    }
}

/// State of a search after a slice.
pub(crate) struct Slice<T> {
    /// Its answer so far.
    pub(crate) found: T,
    /// Nodes that the search has visited in all, if its answer tells.
    pub(crate) nodes: Option<u64>,
    /// As in [`Progress`].
    pub(crate) gap: Option<f64>,
    /// Whether more nodes would change nothing.
    pub(crate) is_done: bool,
}

/// The plan of least price within `budget` that the effort finds.
///
/// # Errors
/// [`BudgetTooSmall`] with the smallest budget that is known to do.
pub fn plan<const N: usize, const K: usize>(
    network: &Network<N, K>,
    planner: &mut Planner<N, K>,
    budget: Budget,
    effort: &Effort<'_>,
) -> Result<Plan<N>, BudgetTooSmall> {
    planner.start(network, budget);
    let slice = |nodes| {
        let plan = planner.plan_for(network, nodes);
        let found = plan.as_ref().ok();
        Slice {
            nodes: found.map(|plan| plan.nodes),
            gap: found.map(|plan| network.prices.to_loss(plan.price - plan.bound)),
            is_done: planner.is_done(),
            found: plan,
        }
    };
    effort.spend(&mut 0, slice).0
}

/// The plan of fewest bytes whose price is at most `price`, and of those of least price: the question of
/// [`plan`] the other way round. `budget` says which bytes count, and how many are there at most;
/// `None` if not even with all of them the price is that low.
///
/// Bisection over budgets: as many searches as the answer has bits. The second says whether all of them
/// have ended: else there may be a smaller plan.
pub fn cheapest<const N: usize, const K: usize>(
    network: &Network<N, K>,
    planner: &mut Planner<N, K>,
    budget: Budget,
    price: i64,
    effort: &Effort<'_>,
) -> Option<(Plan<N>, bool)> {
    let mut proven = true;
    let mut within = |bytes: u64| {
        let plan = plan(network, planner, budget.with_bytes(bytes), effort);
        let bound = plan.as_ref().map_or(i64::MIN, |plan| plan.bound);
        let found = plan.ok().filter(|plan| plan.price <= price);
        proven &= found.is_some() || planner.is_done() || bound > price;
        found
    };
    let mut best = within(budget.bytes())?;
    let mut least = 0;
    while least < best.bytes(budget) {
        let middle = u64::midpoint(least, best.bytes(budget));
        match within(middle) {
            Some(plan) => best = plan,
            None => least = middle + 1,
        }
    }
    proven &= best.is_optimal();
    Some((best, proven))
}

/// The best plans for all budgets.
#[derive(Clone, Debug)]
pub struct Staircase<const N: usize> {
    /// From the smallest to the best, by rising bytes and strictly falling price: each is the best for all
    /// budgets from its own bytes up to those of the next.
    pub plans: Vec<Plan<N>>,
    /// Whether all of them are proven optimal, and that there is no other.
    pub proven: bool,
}

/// The best plans for `budget` and every smaller one of its kind that the effort finds.
pub fn staircase<const N: usize, const K: usize>(
    network: &Network<N, K>,
    planner: &mut Planner<N, K>,
    budget: Budget,
    effort: &Effort<'_>,
) -> Staircase<N> {
    let mut plans: Vec<Plan<N>> = Vec::new();
    let mut proven = true;
    let mut next = Some(budget);
    while let Some(budget) = next {
        let found = plan(network, planner, budget, effort);
        proven &= planner.is_done();
        let Ok(plan) = found else {
            break;
        };
        let less = plan.bytes(budget).checked_sub(1);
        next = less.map(|bytes| budget.with_bytes(bytes));
        // of equally good layouts the smaller one counts
        while plans.last().is_some_and(|last| last.price >= plan.price) {
            plans.pop();
        }
        plans.push(plan);
        // interrupted between the steps, too
        if !(effort.watch)(Progress {
            nodes: 0,
            gap: None,
        }) {
            proven = false;
            break;
        }
    }
    plans.reverse();
    Staircase { plans, proven }
}

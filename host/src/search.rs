//! Searches on a workstation: limited, watched and interruptible.

use bitbudget_core::network::Network;
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, LimitsTooSmall, Measure, Plan, Planner};

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

/// The best plan within `limits` that the effort finds.
///
/// # Errors
/// [`LimitsTooSmall`] with the least that is known to do.
///
/// # Panics
/// As [`Planner::start`].
pub fn plan<const N: usize, const L: usize, const K: usize, const D: usize>(
    network: &Network<N, L>,
    planner: &mut Planner<N, K, D>,
    limits: Limits,
    effort: &Effort<'_>,
) -> Result<Plan<N>, LimitsTooSmall> {
    planner.start(network, limits);
    finish(network, planner, effort)
}

/// The best plan that the search which `planner` has begun finds with the effort.
///
/// # Errors
/// [`LimitsTooSmall`] with the least that is known to do.
pub(crate) fn finish<const N: usize, const L: usize, const K: usize, const D: usize>(
    network: &Network<N, L>,
    planner: &mut Planner<N, K, D>,
    effort: &Effort<'_>,
) -> Result<Plan<N>, LimitsTooSmall> {
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

/// The plan that takes least of `measure` within `limits` with a price of at most `price`, and of those the
/// best: the question of [`plan`] the other way round. `None` if the price is not that low within the
/// limits.
///
/// Bisection over the measure: as many searches as the answer has bits. The second says whether all of them
/// have ended: else there may be a smaller plan.
///
/// # Panics
/// As [`Planner::start`].
pub fn cheapest<const N: usize, const L: usize, const K: usize, const D: usize>(
    network: &Network<N, L>,
    planner: &mut Planner<N, K, D>,
    (limits, measure): (Limits, Measure),
    price: i64,
    effort: &Effort<'_>,
) -> Option<(Plan<N>, bool)> {
    let mut proven = true;
    let mut within = |amount: u64| {
        let plan = plan(network, planner, limits.with(measure, amount), effort);
        let bound = plan.as_ref().map_or(i64::MIN, |plan| plan.bound);
        let found = plan.ok().filter(|plan| plan.price <= price);
        proven &= found.is_some() || planner.is_done() || bound > price;
        found
    };
    let mut best = within(limits.get(measure).unwrap_or(u64::MAX))?;
    let mut least = 0;
    while least < best.amount(measure) {
        let middle = u64::midpoint(least, best.amount(measure));
        match within(middle) {
            Some(plan) => best = plan,
            None => least = middle + 1,
        }
    }
    proven &= best.is_optimal();
    Some((best, proven))
}

/// The best plans for all limits on one measure.
#[derive(Clone, Debug)]
pub struct Staircase<const N: usize> {
    /// From the smallest to the best, by rising amount: each is as good as any for all limits from its own amount
    /// up to that of the next. The price falls from each to the next, or stays and the cycles fall. Where the amount
    /// is RAM, each has the smallest arena that its levels and places leave.
    pub plans: Vec<Plan<N>>,
    /// Whether all of them are proven optimal, and that there is no other.
    pub proven: bool,
}

/// The best plans within `limits` and every smaller limit on `measure` that the effort finds.
///
/// # Panics
/// As [`Planner::start`].
pub fn staircase<const N: usize, const L: usize, const K: usize, const D: usize>(
    network: &Network<N, L>,
    planner: &mut Planner<N, K, D>,
    of: (Limits, Measure),
    effort: &Effort<'_>,
) -> Staircase<N> {
    staircase_until(network, planner, of, effort, &mut |_, _| false)
}

/// As [`staircase`], from the best plan down until one is `enough`, which is told each plan and whether all so far are
/// proven.
///
/// # Panics
/// As [`Planner::start`].
pub fn staircase_until<const N: usize, const L: usize, const K: usize, const D: usize>(
    network: &Network<N, L>,
    planner: &mut Planner<N, K, D>,
    (limits, measure): (Limits, Measure),
    effort: &Effort<'_>,
    enough: &mut dyn FnMut(&Plan<N>, bool) -> bool,
) -> Staircase<N> {
    let mut plans: Vec<Plan<N>> = Vec::new();
    let mut proven = true;
    let mut next = Some(limits.get(measure).unwrap_or(u64::MAX));
    while let Some(amount) = next {
        let found = plan(network, planner, limits.with(measure, amount), effort);
        proven &= planner.is_done();
        let Ok(mut plan) = found else {
            break;
        };
        // where no place is free, RAM beyond the smallest arena buys nothing but fewer turns
        if measure == Measure::Ram && planner.places() != Places::Best {
            plan = planner.in_smallest_arena(network, plan);
        }
        next = plan.amount(measure).checked_sub(1);
        // of plans that are as good and as fast the smaller one counts
        let needless = |last: &Plan<N>| last.price >= plan.price && last.cycles >= plan.cycles;
        while plans.last().is_some_and(needless) {
            plans.pop();
        }
        plans.push(plan);
        if plans.last().is_some_and(|plan| enough(plan, proven)) {
            break;
        }
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

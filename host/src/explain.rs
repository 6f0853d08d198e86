//! Neighbouring optimal plans: the next steps up and down from a budget.

use bitbudget_core::level::Level;
use bitbudget_core::plan::Budget;

use crate::capacity::{HostNetwork, HostPlan, HostPlanner};
use crate::search::{self, Effort};

/// The neighbours of an optimal plan.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// The plan of least bytes with a lower price; `None` where there is no better one.
    pub better: Option<HostPlan>,
    /// The plan for one KiB more than the budget, if it has a lower price.
    pub next_kib: Option<HostPlan>,
    /// The best plan that takes less; `None` where no layout does.
    pub smaller: Option<HostPlan>,
}

/// The neighbours of the optimal `plan` for `budget`.
#[must_use]
pub fn neighbours(
    network: &HostNetwork,
    planner: &mut HostPlanner,
    budget: Budget,
    plan: &HostPlan,
    effort: &Effort<'_>,
) -> Neighbours {
    let more = budget.with_bytes(budget.bytes().saturating_add(1024));
    let next_kib = search::plan(network, planner, more, effort).ok();
    let all = budget.with_bytes(u64::MAX);
    let better = search::cheapest(network, planner, all, plan.price - 1, effort);
    let less = plan.bytes(budget).checked_sub(1);
    Neighbours {
        better: better.map(|(plan, _)| plan),
        next_kib: next_kib.filter(|next| next.price < plan.price),
        smaller: less.and_then(|bytes| {
            let budget = budget.with_bytes(bytes);
            search::plan(network, planner, budget, effort).ok()
        }),
    }
}

/// The layers that have other levels in `to` than in `from`: layer, level before, level after.
#[must_use]
pub fn changes(from: &HostPlan, to: &HostPlan) -> Vec<(usize, Level, Level)> {
    let pairs = from.levels.iter().zip(&to.levels).enumerate();
    let changed = pairs.filter_map(|(layer, (from, to))| Some((layer, (*from)?, (*to)?)));
    changed.filter(|(_, from, to)| from != to).collect()
}

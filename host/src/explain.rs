//! Neighbouring optimal plans: the next steps up and down from a budget.

use bitbudget_core::level::Level;
use bitbudget_core::place::Place;
use bitbudget_core::plan::{Limits, Measure};

use crate::capacity::{HostNetwork, HostPlan, HostPlanner};
use crate::search::{self, Effort};

/// The neighbours of an optimal plan.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// The smallest plan with a lower price; `None` where there is none.
    pub better: Option<HostPlan>,
    /// The plan for 1,024 more than the limit, if it has a lower price, or the same price and fewer cycles.
    pub next_kib: Option<HostPlan>,
    /// The best plan that takes less than these levels and places can; `None` where no layout does.
    pub smaller: Option<HostPlan>,
}

/// The neighbours of the optimal `plan` within `limits` when the limit on `measure` changes.
///
/// # Panics
/// As [`Planner::start`](bitbudget_core::plan::Planner::start).
#[must_use]
pub fn neighbours(
    network: &HostNetwork,
    planner: &mut HostPlanner,
    (limits, measure): (Limits, Measure),
    plan: &HostPlan,
    effort: &Effort<'_>,
) -> Neighbours {
    let limit = limits.get(measure).unwrap_or(u64::MAX);
    let more = limits.with(measure, limit.saturating_add(1024));
    let next_kib = search::plan(network, planner, more, effort).ok();
    let all = (limits.with(measure, u64::MAX), measure);
    let better = search::cheapest(network, planner, all, plan.price - 1, effort);
    let least = match measure {
        Measure::Ram => planner.in_smallest_arena(network, plan.clone()),
        Measure::Cycles | Measure::Weights => plan.clone(),
    };
    let less = least.amount(measure).checked_sub(1);
    Neighbours {
        better: better.map(|(plan, _)| plan),
        next_kib: next_kib.filter(|next| (next.price, next.cycles) < (plan.price, plan.cycles)),
        smaller: less.and_then(|amount| {
            let limits = limits.with(measure, amount);
            search::plan(network, planner, limits, effort).ok()
        }),
    }
}

/// A layer that has another level or place in one plan than in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The layer.
    pub layer: usize,
    /// Its level in either plan.
    pub levels: [Level; 2],
    /// The place of its weights in either plan.
    pub places: [Place; 2],
}

/// What changes from a plan to another one.
#[must_use]
pub fn changes(from: &HostPlan, to: &HostPlan) -> Vec<Change> {
    let pairs = from.levels.iter().zip(&to.levels).enumerate();
    let change = pairs.filter_map(|(layer, (before, after))| {
        Some(Change {
            layer,
            levels: [(*before)?, (*after)?],
            places: [from.places[layer], to.places[layer]],
        })
    });
    let is_other = |change: &Change| {
        change.levels[0] != change.levels[1] || change.places[0] != change.places[1]
    };
    change.filter(is_other).collect()
}

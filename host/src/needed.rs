//! The levels that an image needs to store: those that an optimal plan has at some budget.

use bitbudget_core::level::Level;
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Measure};

use crate::capacity::{self, HostNetwork, HostPlan};
use crate::search::{self, Effort};

/// How many levels of how many are kept, over all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Levels that are left.
    pub count: usize,
    /// Levels that there were.
    pub of: usize,
    /// Whether all of those plans were found and are proven optimal; else no level was taken away.
    pub proven: bool,
}

/// Takes every level away that no optimal plan has: within any limit on RAM, with the weights in RAM and in
/// flash, within any limit on the weights, and within any limit on cycles, if they are known. Plans within
/// one of these limits stay what they are; within several at once another level may be better.
pub fn keep_needed(network: &mut HostNetwork, effort: &Effort<'_>) -> Kept {
    let mut plans: Vec<HostPlan> = Vec::new();
    let mut proven = true;
    for (places, measure) in [
        (Places::Ram, Measure::Ram),
        (Places::Flash, Measure::Ram),
        (Places::Ram, Measure::Weights),
        (Places::Best, Measure::Cycles),
    ] {
        let mut planner = capacity::planner(places, network);
        let stairs = search::staircase(network, &mut planner, (Limits::NONE, measure), effort);
        proven &= stairs.proven;
        plans.extend(stairs.plans);
    }
    let needs = |layer: usize, level: Level| {
        let mut levels = plans.iter().map(|plan| plan.levels[layer]);
        levels.any(|chosen| chosen == Some(level))
    };
    let count = |network: &HostNetwork| network.prices.rows.iter().map(|row| row.len()).sum();
    let of = count(network);
    if proven {
        for (layer, row) in network.prices.rows.iter_mut().enumerate() {
            row.retain(|item| needs(layer, item.level));
        }
    }
    Kept {
        count: count(network),
        of,
        proven,
    }
}

//! The levels that an image needs to store: those that an optimal plan has at some budget.

use bitbudget_core::level::Level;
use bitbudget_core::plan::{Budget, Place};

use crate::capacity::{HostNetwork, HostPlan, HostPlanner};
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

/// Takes every level away that no optimal plan has: at any budget for all the RAM, with the weights in RAM
/// and in flash, and at any budget for the weights alone. Plans at all budgets stay what they are.
pub fn keep_needed(network: &mut HostNetwork, effort: &Effort<'_>) -> Kept {
    let mut plans: Vec<HostPlan> = Vec::new();
    let mut proven = true;
    for (place, budget) in [
        (Place::Ram, Budget::Total(u64::MAX)),
        (Place::Flash, Budget::Total(u64::MAX)),
        (Place::Ram, Budget::Weights(u64::MAX)),
    ] {
        let mut planner = Box::new(HostPlanner::with_weights_in(place, network));
        let stairs = search::staircase(network, &mut planner, budget, effort);
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

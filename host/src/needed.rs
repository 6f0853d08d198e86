//! The levels that an image needs to store: those that an optimal plan has at some budget.

use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Measure};

use crate::capacity::{self, HostNetwork, HostPlan};
use crate::search::{self, Effort};

/// A plan takes at most this part of the nodes.
const PART: u64 = 10;

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
///
/// All these plans together take at most the nodes of the effort, each of them a tenth: it is not they that count.
pub fn keep_needed(network: &mut HostNetwork, effort: &Effort<'_>) -> Kept {
    let rows = network.prices.rows.iter();
    let mut needed: Vec<Vec<bool>> = rows.map(|row| vec![false; row.len()]).collect();
    let each = Effort {
        node_limit: effort.node_limit.div_ceil(PART),
        ..*effort
    };
    let mut nodes = 0;
    let mut proven = true;
    for (places, measure) in [
        (Places::Ram, Measure::Ram),
        (Places::Flash, Measure::Ram),
        (Places::Ram, Measure::Weights),
        (Places::Best, Measure::Cycles),
    ] {
        let mut planner = capacity::planner(places, network);
        let of = (Limits::NONE, measure);
        // once one level cannot be told to be needless, none is taken away
        let mut is_over = |plan: &HostPlan, are_proven: bool| {
            nodes += plan.nodes;
            !are_proven || nodes > effort.node_limit
        };
        let stairs = search::staircase_until(network, &mut planner, of, &each, &mut is_over);
        proven &= stairs.proven && nodes <= effort.node_limit;
        for plan in &stairs.plans {
            let rows = network.prices.rows.iter().zip(&mut needed);
            for ((row, needed), level) in rows.zip(&plan.levels) {
                let chosen = row.iter().position(|item| Some(item.level) == *level);
                chosen.into_iter().for_each(|at| needed[at] = true);
            }
        }
        if !proven || needed.iter().flatten().all(|needed| *needed) {
            break;
        }
    }
    let count = |network: &HostNetwork| network.prices.rows.iter().map(|row| row.len()).sum();
    let of = count(network);
    if proven {
        for (row, needed) in network.prices.rows.iter_mut().zip(&needed) {
            let mut needed = needed.iter();
            row.retain(|_| needed.next() == Some(&true));
        }
    }
    Kept {
        count: count(network),
        of,
        proven,
    }
}

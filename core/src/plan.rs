//! Plans: the optimal level of every layer under a memory budget.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::arena::Placement;
use crate::level::Level;
use crate::mckp::{ProblemError, Solution, Solver, Status};
use crate::network::Network;

/// A limit on memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Budget {
    /// All the RAM that the engine takes: resident weights and activation arena.
    Total(u64),
    /// The resident weights alone.
    Weights(u64),
}

/// One level per layer, what it takes and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<const N: usize> {
    /// The level of every layer; `None` for layers without weights.
    pub levels: Vec<Option<Level>, N>,
    /// Bytes of resident weights.
    pub weight_bytes: u32,
    /// Bytes of the activation arena.
    pub arena_bytes: u32,
    /// Sum of the prices, in units of the price matrix.
    pub price: i64,
    /// Proven lower bound on the price of any layout within the budget.
    pub bound: i64,
    /// Nodes that the search visited.
    pub nodes: u64,
    /// Whether the price is proven optimal.
    pub status: Status,
}

impl<const N: usize> Plan<N> {
    /// All the RAM that the engine takes under this plan.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.weight_bytes as u64 + self.arena_bytes as u64
    }

    /// Whether the price is proven optimal.
    #[must_use]
    pub fn is_optimal(&self) -> bool {
        self.status == Status::Optimal
    }
}

/// No layout fits the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BudgetTooSmall {
    /// The budget.
    pub budget: Budget,
    /// The smallest budget of the same kind that some layout fits, in bytes.
    pub smallest_bytes: u64,
}

impl fmt::Display for BudgetTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, bytes) = match self.budget {
            Budget::Total(bytes) => ("RAM", bytes),
            Budget::Weights(bytes) => ("weights", bytes),
        };
        let smallest = self.smallest_bytes;
        write!(
            f,
            "no layout fits {bytes} bytes of {what}; the smallest takes {smallest} bytes"
        )
    }
}

impl core::error::Error for BudgetTooSmall {}

/// Answers budgets for one network; what does not depend on the budget is worked out once.
#[derive(Clone, Debug)]
pub struct Planner<const N: usize, const K: usize> {
    solver: Solver<N, K>,
    arena_bytes: u32,
}

impl<const N: usize, const K: usize> Planner<N, K> {
    /// The planner of a network that reserves `placement` for its activations.
    ///
    /// # Errors
    /// [`ProblemError`] when the price matrix exceeds the capacities.
    pub fn new(network: &Network<N, K>, placement: &Placement<N>) -> Result<Self, ProblemError> {
        Ok(Self {
            solver: Solver::new(network.prices.groups())?,
            arena_bytes: placement.bytes(),
        })
    }

    /// The plan of least price within `budget`, found by visiting at most `node_limit` nodes
    /// (`u64::MAX`: proven optimal).
    ///
    /// # Errors
    /// [`BudgetTooSmall`] with the smallest budget that would do.
    pub fn plan(
        &mut self,
        network: &Network<N, K>,
        budget: Budget,
        node_limit: u64,
    ) -> Result<Plan<N>, BudgetTooSmall> {
        let arena = u64::from(self.arena_bytes);
        let (bytes, reserved) = match budget {
            Budget::Total(bytes) => (bytes, arena),
            Budget::Weights(bytes) => (bytes, 0),
        };
        let too_small = BudgetTooSmall {
            budget,
            smallest_bytes: self.solver.smallest_cost() + reserved,
        };
        let capacity = bytes.checked_sub(reserved).ok_or(too_small)?;
        let solution = self.solver.solve(capacity, node_limit);
        let solution = solution.map_err(|_| too_small)?;
        Ok(self.describe(network, &solution))
    }

    fn describe(&self, network: &Network<N, K>, solution: &Solution<N>) -> Plan<N> {
        let chosen = network.prices.rows.iter().zip(&solution.choice);
        Plan {
            levels: chosen
                .map(|(row, item)| row.get(usize::from(*item)).map(|item| item.level))
                .collect(),
            weight_bytes: solution.cost as u32,
            arena_bytes: self.arena_bytes,
            price: solution.price,
            bound: solution.bound,
            nodes: solution.nodes,
            status: solution.status,
        }
    }
}

impl<const N: usize, const K: usize> Network<N, K> {
    /// Bytes of resident weights when every layer is FP32: what percentages of a budget refer to.
    #[must_use]
    pub fn fp32_weight_bytes(&self) -> u64 {
        let layers = 0..self.layers.len();
        let weighted = layers.filter(|i| self.layers[*i].op.has_weights());
        weighted
            .filter_map(|i| self.resident_bytes(i, Level::Fp32))
            .map(u64::from)
            .sum()
    }
}

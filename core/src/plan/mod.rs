//! Plans: the optimal level of every layer under a memory budget.

mod arena;
mod planner;

pub use planner::{Planner, SMALLEST_NODES};

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::arena::Lifetimes;
use crate::form::Form;
use crate::level::Level;
use crate::mckp::{Solution, Status, Surcharge};
use crate::network::Network;
use arena::Arena;

/// Where a plan's weights lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Place {
    /// They are copied to RAM.
    #[default]
    Ram,
    /// They are read where the image lies, which must be in memory; they take no RAM.
    Flash,
}

/// A limit on memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Budget {
    /// All the RAM that the engine takes: weights whose place is RAM, and the activation arena.
    Total(u64),
    /// The weights alone, wherever they lie.
    Weights(u64),
}

impl Budget {
    /// The limit.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Total(bytes) | Self::Weights(bytes) => bytes,
        }
    }

    /// Another limit on the same memory.
    #[must_use]
    pub const fn with_bytes(self, bytes: u64) -> Self {
        match self {
            Self::Total(_) => Self::Total(bytes),
            Self::Weights(_) => Self::Weights(bytes),
        }
    }
}

/// One level per layer, what it takes and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan<const N: usize> {
    /// The level of every layer; `None` for layers without weights.
    pub levels: Vec<Option<Level>, N>,
    /// Where the weights lie.
    pub place: Place,
    /// Bytes of the weights' blocks.
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
    /// The plan of a solution; under a budget for the weights alone it says nothing of the arena.
    fn solved<const K: usize>(
        network: &Network<N, K>,
        solution: &Solution<N>,
        arena: &Arena<'_, N, K>,
        budget: Budget,
        place: Place,
    ) -> Self {
        let rows = network.prices.rows.iter().enumerate();
        let levels: Vec<Option<Level>, N> = rows
            .map(|(layer, row)| {
                let choice = solution.choice[usize::from(arena.readers[layer].leader)];
                row.get(usize::from(choice)).map(|item| item.level)
            })
            .collect();
        Self {
            place,
            weight_bytes: weight_bytes(network, &levels),
            arena_bytes: match budget {
                Budget::Total(_) => solution.surcharge,
                Budget::Weights(_) => arena.of(&arena.classes(&levels)),
            },
            levels,
            price: solution.price,
            bound: solution.bound,
            nodes: solution.nodes,
            status: solution.status,
        }
    }

    /// The plan of levels that no planner chose, with the bytes that they take. Its bound is its price;
    /// levels outside the price matrix count no price.
    #[must_use]
    pub fn of_levels<const K: usize>(
        network: &Network<N, K>,
        levels: Vec<Option<Level>, N>,
        place: Place,
    ) -> Self {
        let forms = network.least_forms(|layer| {
            let level = levels.get(layer).copied().flatten();
            Some(level.unwrap_or(Level::Fp32).input_form())
        });
        let chosen = || {
            levels
                .iter()
                .enumerate()
                .filter_map(|(i, l)| Some((i, (*l)?)))
        };
        let price = chosen().map(|(layer, level)| {
            let item = network.prices.rows[layer]
                .iter()
                .find(|item| item.level == level);
            item.map_or(0, |item| i64::from(item.price))
        });
        let price = price.sum();
        Self {
            place,
            weight_bytes: weight_bytes(network, &levels),
            arena_bytes: Lifetimes::new(network).place(&forms).bytes(),
            levels,
            price,
            bound: price,
            nodes: 0,
            status: Status::NodeLimit,
        }
    }

    /// Bytes of RAM that the weights take.
    #[must_use]
    pub const fn ram_weight_bytes(&self) -> u32 {
        match self.place {
            Place::Ram => self.weight_bytes,
            Place::Flash => 0,
        }
    }

    /// All the RAM that the engine takes under this plan.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.ram_weight_bytes() as u64 + self.arena_bytes as u64
    }

    /// The bytes that count under a budget.
    #[must_use]
    pub const fn bytes(&self, budget: Budget) -> u64 {
        match budget {
            Budget::Total(_) => self.total_bytes(),
            Budget::Weights(_) => self.weight_bytes as u64,
        }
    }

    /// Whether the price is proven optimal.
    #[must_use]
    pub fn is_optimal(&self) -> bool {
        self.status == Status::Optimal
    }
}

/// Bytes of the blocks of these levels.
fn weight_bytes<const N: usize, const K: usize>(
    network: &Network<N, K>,
    levels: &[Option<Level>],
) -> u32 {
    let chosen = levels.iter().enumerate();
    let bytes = chosen.filter_map(|(layer, level)| network.block_bytes(layer, (*level)?));
    bytes.sum()
}

/// No layout fits the budget, or none is known to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BudgetTooSmall {
    /// The budget.
    pub budget: Budget,
    /// The smallest budget of the same kind that some layout is known to fit, in bytes.
    pub smallest_bytes: u64,
    /// Whether it is proven that no layout takes less.
    pub proven: bool,
}

impl fmt::Display for BudgetTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, bytes) = match self.budget {
            Budget::Total(bytes) => ("RAM", bytes),
            Budget::Weights(bytes) => ("weights", bytes),
        };
        let smallest = self.smallest_bytes;
        let (no_layout, known) = match self.proven {
            true => ("no layout", ""),
            false => ("no layout that is known", " known one"),
        };
        write!(
            f,
            "{no_layout} fits {bytes} bytes of {what}; the smallest{known} takes {smallest} bytes"
        )
    }
}

impl core::error::Error for BudgetTooSmall {}

impl<const N: usize, const K: usize> Network<N, K> {
    /// Bytes of weights when every layer is FP32: what percentages of the weights refer to.
    #[must_use]
    pub fn fp32_weight_bytes(&self) -> u64 {
        let layers = 0..self.layers.len();
        let weighted = layers.filter(|i| self.layers[*i].op.has_weights());
        weighted
            .filter_map(|i| self.block_bytes(i, Level::Fp32))
            .map(u64::from)
            .sum()
    }

    /// Bytes of the activation arena when every layer is FP32; with the weights, where RAM is their place,
    /// what percentages of all the RAM refer to.
    #[must_use]
    pub fn fp32_arena_bytes(&self) -> u64 {
        let forms = self.least_forms(|_| Some(Form::F32));
        Lifetimes::new(self).place(&forms).bytes().into()
    }
}

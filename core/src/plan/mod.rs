//! Plans: a level and a place for every layer, the best within limits.
//!
//! The plan for some limits is one of least price. Of its levels' places, where they are free
//! ([`Places::Best`](crate::place::Places::Best)), it has those of fewest cycles, and of these those that take least RAM. So RAM that
//! no better level can use buys time.
//!
//! What the arena takes at least is what decides which levels fit: that of the best [`Schedule`]. The plan's own
//! schedule has the fewest turns that the RAM allows; where blocks in RAM would need more of them,
//! [`TURN_CYCLES`] are set against the cycles that they save.

mod arena;
mod items;
mod limits;
mod placement;
mod planner;

pub use limits::{CapacityError, Limits, LimitsTooSmall, Measure};
pub use planner::{MOST_LIMITS, Planner, SMALLEST_NODES};

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::arena::Lifetimes;
use crate::cascade::Schedule;
use crate::form::Form;
use crate::level::Level;
use crate::mckp::Status;
use crate::network::Network;
use crate::place::Place;
use crate::price::PriceItem;

/// About what a turn costs beside the layer's own cycles: where schedules and places compete for RAM, they are
/// compared by it.
pub const TURN_CYCLES: u64 = 4_000;

/// A level and a place per layer, what they take and what they cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan<const N: usize> {
    /// The level of every layer; `None` for layers without weights.
    pub levels: Vec<Option<Level>, N>,
    /// Where the weights of every layer lie; for layers without weights, [`Place::Flash`].
    pub places: Vec<Place, N>,
    /// The tensors that exist only as bands of rows.
    pub schedule: Schedule<N>,
    /// Bytes of all blocks, wherever they lie.
    pub weight_bytes: u32,
    /// Bytes of those that lie in RAM.
    pub ram_weight_bytes: u32,
    /// Bytes of the activation arena.
    pub arena_bytes: u32,
    /// Cycles of an inference, as far as the image knows those of its layers; without those of [`Self::turns`].
    pub cycles: u64,
    /// Proven lower bound on the cycles of these levels at any places within the limits.
    pub cycles_bound: u64,
    /// The turns in which layers make tensors row by row; 0 where every tensor is whole.
    pub turns: u32,
    /// Sum of the prices, in units of the price matrix.
    pub price: i64,
    /// Proven lower bound on the price of any plan within the limits.
    pub bound: i64,
    /// Nodes that the search visited.
    pub nodes: u64,
    /// Whether the price is proven optimal.
    pub status: Status,
}

impl<const N: usize> Plan<N> {
    /// The plan of levels that no planner chose, all weights in one place and every tensor whole. Its bounds are its own price and
    /// cycles; levels outside the price matrix count no price and no cycles.
    #[must_use]
    pub fn of_levels<const K: usize>(
        network: &Network<N, K>,
        levels: Vec<Option<Level>, N>,
        place: Place,
    ) -> Self {
        let places = levels.iter().map(|level| match level {
            Some(_) => place,
            None => Place::Flash,
        });
        let places = places.collect();
        let forms = network.least_forms(|layer| {
            let level = levels.get(layer).copied().flatten();
            Some(level.unwrap_or(Level::Fp32).input_form())
        });
        let schedule = Schedule::WHOLE;
        let placement = Lifetimes::whole(network).place(&forms, &schedule);
        Self::of(network, levels, places, (schedule, placement.bytes()))
    }

    /// The plan of these levels and places, and of a schedule with the bytes of its arena. Its bounds are its own
    /// price and cycles.
    pub(crate) fn of<const K: usize>(
        network: &Network<N, K>,
        levels: Vec<Option<Level>, N>,
        places: Vec<Place, N>,
        (schedule, arena_bytes): (Schedule<N>, u32),
    ) -> Self {
        let mut plan = Self {
            levels,
            places,
            schedule,
            turns: 0,
            weight_bytes: 0,
            ram_weight_bytes: 0,
            arena_bytes,
            cycles: 0,
            cycles_bound: 0,
            price: 0,
            bound: 0,
            nodes: 0,
            status: Status::NodeLimit,
        };
        for (layer, (level, place)) in plan.levels.iter().zip(&plan.places).enumerate() {
            let Some(level) = *level else {
                continue;
            };
            let place = *place;
            let bytes = network.block_bytes(layer, level).unwrap_or(0);
            plan.weight_bytes += bytes;
            if place == Place::Ram {
                plan.ram_weight_bytes += bytes;
            }
            if let Some(item) = network.item_at(layer, Some(level)) {
                plan.price += i64::from(item.price);
                plan.cycles += u64::from(item.cycles.at(place));
            }
        }
        (plan.bound, plan.cycles_bound) = (plan.price, plan.cycles);
        plan
    }

    /// Cycles of an inference, with those of its turns.
    #[must_use]
    pub const fn effort(&self) -> u64 {
        self.cycles + self.turns as u64 * TURN_CYCLES
    }

    /// All the RAM that the engine takes under this plan.
    #[must_use]
    pub const fn ram_bytes(&self) -> u64 {
        self.ram_weight_bytes as u64 + self.arena_bytes as u64
    }

    /// Bytes of the blocks that lie in flash.
    #[must_use]
    pub const fn flash_weight_bytes(&self) -> u32 {
        self.weight_bytes - self.ram_weight_bytes
    }

    /// What it takes of a measure.
    #[must_use]
    pub const fn amount(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Ram => self.ram_bytes(),
            Measure::Cycles => self.cycles,
            Measure::Weights => self.weight_bytes as u64,
        }
    }

    /// Whether it is within limits.
    #[must_use]
    pub fn is_within(&self, limits: &Limits) -> bool {
        limits
            .iter()
            .all(|(measure, most)| self.amount(measure) <= most)
    }

    /// Whether the price is proven optimal.
    #[must_use]
    pub fn is_optimal(&self) -> bool {
        self.status == Status::Optimal
    }
}

impl<const N: usize, const K: usize> Network<N, K> {
    /// The layer's item at this level, if it has one.
    #[must_use]
    pub fn item_at(&self, layer: usize, level: Option<Level>) -> Option<&PriceItem> {
        let row = self.prices.rows.get(layer)?;
        row.iter().find(|item| Some(item.level) == level)
    }

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

    /// Bytes of the activation arena when every layer is FP32 and every tensor whole; with the weights, where RAM is their place,
    /// what percentages of all the RAM refer to.
    #[must_use]
    pub fn fp32_arena_bytes(&self) -> u64 {
        let forms = self.least_forms(|_| Some(Form::F32));
        let lifetimes = Lifetimes::whole(self);
        lifetimes.place(&forms, &Schedule::WHOLE).bytes().into()
    }
}

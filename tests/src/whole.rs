//! Every layout of a small model with every choice of places: what planners are compared with.

use bitbudget_core::level::Level;
use bitbudget_core::place::{Cycles, Places};
use bitbudget_core::plan::Limits;
use rand::Rng;
use rand::rngs::SmallRng;

use crate::model::Model;

/// Gives every item cycles, those in flash mostly the larger ones.
pub fn give_cycles(model: &mut Model, rng: &mut SmallRng) {
    for item in model.network.prices.rows.iter_mut().flatten() {
        let ram = rng.random_range(100..2_000);
        let more = rng.random_range(-20..=(item.bytes as i32).min(900));
        item.cycles = Cycles {
            flash: (ram + more) as u32,
            ram: ram as u32,
        };
    }
}

/// A layout with places, as all of them are gone through: what it takes and costs.
#[derive(Clone, Debug)]
pub struct Whole {
    /// By layer.
    pub levels: Vec<Option<Level>>,
    /// Bytes of RAM.
    pub ram: u64,
    /// Cycles of an inference.
    pub cycles: u64,
    /// Bytes of all blocks.
    pub weights: u64,
    /// Sum of the prices.
    pub price: i64,
}

impl Whole {
    /// Whether it is within limits.
    #[must_use]
    pub fn is_within(&self, limits: &Limits) -> bool {
        let within = |amount: u64, limit: Option<u64>| limit.is_none_or(|limit| amount <= limit);
        within(self.ram, limits.ram_bytes)
            && within(self.cycles, limits.cycles)
            && within(self.weights, limits.weight_bytes)
    }
}

/// Every layout with every choice of places that a rule leaves.
///
/// # Panics
/// When a layer has no such level.
#[must_use]
pub fn all(model: &Model, places: Places) -> Vec<Whole> {
    let mut all = Vec::new();
    for levels in model.layouts() {
        let weighted: Vec<usize> = (0..levels.len()).filter(|i| levels[*i].is_some()).collect();
        let arena = model.arena_bytes(&levels);
        let sets = match places {
            Places::Ram => [(1 << weighted.len()) - 1].to_vec(),
            Places::Flash => [0].to_vec(),
            Places::Best => (0..1_u32 << weighted.len()).collect(),
        };
        for set in sets {
            let (mut ram, mut cycles) = (arena, 0);
            for (bit, &layer) in weighted.iter().enumerate() {
                let mut row = model.network.prices.rows[layer].iter();
                let item = row.find(|item| Some(item.level) == levels[layer]);
                let item = item.expect("a level of this layer");
                if set >> bit & 1 == 1 {
                    ram += u64::from(item.bytes);
                    cycles += u64::from(item.cycles.ram);
                } else {
                    cycles += u64::from(item.cycles.flash);
                }
            }
            all.push(Whole {
                levels: levels.clone(),
                ram,
                cycles,
                weights: model.weight_bytes(&levels),
                price: model.price(&levels),
            });
        }
    }
    all
}

//! Every layout of a small model with every choice of places: what planners are compared with.

use bitbudget_core::arena::Lifetimes;
use bitbudget_core::cascade::Schedule;
use bitbudget_core::form::Forms;
use bitbudget_core::level::Level;
use bitbudget_core::network::{Network, PerTensor};
use bitbudget_core::place::{Cycles, Places};
use bitbudget_core::plan::{Limits, TURN_CYCLES};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::model::Model;

/// Schedules of a small network, all of them if they are no more than `most`: each tensor that may be a band is
/// one or is not.
#[must_use]
pub fn schedules<const N: usize, const K: usize>(
    network: &Network<N, K>,
    most: usize,
) -> Vec<Schedule<N>> {
    let lifetimes = Lifetimes::new(network);
    let mut schedules = vec![Vec::new()];
    for tensor in 0..network.layers.len() {
        let mut longer = Vec::new();
        for bands in &schedules {
            longer.push([&bands[..], &[tensor]].concat());
        }
        schedules.extend(longer);
        // those that no further band can make right
        schedules.retain(|bands: &Vec<usize>| {
            let ends = Schedule::<N>::of_bands(bands.iter().copied());
            let run_ended = |first_last: &[usize; 2]| first_last[1] <= tensor;
            let mut ended = ends.cascades().filter(run_ended);
            ended.all(|[first, last]| lifetimes.allows(&Schedule::<N>::of_bands(first..last)))
        });
        if schedules.len() > most {
            let step = schedules.len().div_ceil(most);
            schedules = schedules.into_iter().step_by(step).collect();
        }
    }
    let schedules = schedules.into_iter().map(Schedule::of_bands);
    schedules
        .filter(|schedule| lifetimes.allows(schedule))
        .collect()
}

/// Bytes of the arena and turns of schedules, of those that no other one beats in both.
#[must_use]
pub fn arenas<const N: usize>(
    lifetimes: &Lifetimes<N>,
    schedules: &[Schedule<N>],
    forms: &PerTensor<Forms, N>,
) -> Vec<(u64, u32)> {
    let of = |schedule: &Schedule<N>| {
        let bytes = lifetimes.place(forms, schedule).bytes();
        (bytes.into(), lifetimes.turns(schedule))
    };
    let mut arenas: Vec<(u64, u32)> = schedules.iter().map(of).collect();
    arenas.sort_unstable();
    let mut fewest = u32::MAX;
    arenas.retain(|(_, turns)| {
        let is_fewer = *turns < fewest;
        fewest = fewest.min(*turns);
        is_fewer
    });
    arenas
}

/// Whether the schedule that is found for every layout takes the least of all schedules. It is the one of least bytes
/// alive: the blocks of another one may fit closer, which planners do not look for.
#[must_use]
pub fn are_placed_closest(model: &Model) -> bool {
    let lifetimes = Lifetimes::new(&model.network);
    let schedules = schedules(&model.network, 1 << 10);
    let is_least = |levels: &Vec<Option<Level>>| {
        let forms = model.forms(levels);
        let bytes = |schedule| lifetimes.place(&forms, schedule).bytes();
        let least = schedules.iter().map(bytes).min();
        least.is_none_or(|least| lifetimes.smallest(&forms).1.bytes() <= least)
    };
    model.layouts().iter().all(is_least)
}

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

/// A layout with places and a schedule, as all of them are gone through: what it takes and costs.
#[derive(Clone, Debug)]
pub struct Whole {
    /// By layer.
    pub levels: Vec<Option<Level>>,
    /// Bytes of RAM.
    pub ram: u64,
    /// Cycles of an inference.
    pub cycles: u64,
    /// The turns of its cascades.
    pub turns: u32,
    /// Bytes of all blocks.
    pub weights: u64,
    /// Sum of the prices.
    pub price: i64,
}

impl Whole {
    /// Cycles with those of turns.
    #[must_use]
    pub fn effort(&self) -> u64 {
        self.cycles + u64::from(self.turns) * TURN_CYCLES
    }

    /// Whether it is within limits.
    #[must_use]
    pub fn is_within(&self, limits: &Limits) -> bool {
        let within = |amount: u64, limit: Option<u64>| limit.is_none_or(|limit| amount <= limit);
        within(self.ram, limits.ram_bytes)
            && within(self.cycles, limits.cycles)
            && within(self.weights, limits.weight_bytes)
    }
}

/// Every layout with every choice of places that a rule leaves, and every schedule worth while.
///
/// # Panics
/// When a layer has no such level.
#[must_use]
pub fn all(model: &Model, places: Places) -> Vec<Whole> {
    let mut all = Vec::new();
    let lifetimes = Lifetimes::new(&model.network);
    let schedules = schedules(&model.network, 1 << 10);
    for levels in model.layouts() {
        let weighted: Vec<usize> = (0..levels.len()).filter(|i| levels[*i].is_some()).collect();
        let arenas = arenas(&lifetimes, &schedules, &model.forms(&levels));
        let sets = match places {
            Places::Ram => [(1 << weighted.len()) - 1].to_vec(),
            Places::Flash => [0].to_vec(),
            Places::Best => (0..1_u32 << weighted.len()).collect(),
        };
        for set in sets {
            let (mut ram, mut cycles) = (0, 0);
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
            all.extend(arenas.iter().map(|(arena, turns)| Whole {
                levels: levels.clone(),
                ram: ram + arena,
                cycles,
                turns: *turns,
                weights: model.weight_bytes(&levels),
                price: model.price(&levels),
            }));
        }
    }
    all
}

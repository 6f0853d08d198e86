//! What the RAM that a plan leaves is used for: tensors that are whole, which saves turns, and blocks in RAM,
//! those that save most cycles.
//!
//! A schedule leaves so much room for blocks. Which ones to choose is a 0/1 knapsack problem, solved by depth-first branch and bound over the blocks by falling cycles saved
//! per byte (Horowitz & Sahni 1974, "Computing partitions with applications to the knapsack problem"):
//! most cycles saved first, then fewest bytes.

use heapless::Vec;

use super::{Limits, Plan, TURN_CYCLES};
use crate::arena::Lifetimes;
use crate::form::Forms;
use crate::network::{Network, PerTensor};
use crate::place::{Place, Places};
use crate::sort::sort_by;

/// After so many nodes the blocks found so far are taken.
const MOST_NODES: u32 = 2_000;

/// The blocks of a layer, and of those tied to it.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    /// The layer.
    layer: u16,
    /// Their bytes.
    bytes: u32,
    /// Cycles that they save in RAM; not 0.
    saved: u32,
}

/// What lies in RAM.
#[derive(Clone, Debug)]
struct Chosen<const N: usize> {
    /// The layers.
    layers: Vec<u16, N>,
    /// Their bytes.
    bytes: u64,
    /// The cycles that they save.
    saved: u64,
    /// No choice saves more cycles.
    most_saved: u64,
}

/// Sorts blocks as [`choose`] takes them.
fn sort<const N: usize>(blocks: &mut Vec<Blocks, N>) {
    let saved = |a: &Blocks, b: &Blocks| u64::from(a.saved) * u64::from(b.bytes);
    sort_by(blocks, |a, b| {
        (saved(b, a), a.layer) < (saved(a, b), b.layer)
    });
}

/// Chooses among blocks that are [sorted](sort) those that save most cycles in `room` bytes, and of those choices
/// one of fewest bytes, as far as [`MOST_NODES`] nodes tell.
#[inline(never)]
fn choose<const N: usize>(blocks: &Vec<Blocks, N>, room: u64) -> Chosen<N> {
    let mut search = Search::<N> {
        blocks,
        room,
        now: Taken::new(),
        best: Taken::new(),
    };
    let is_done = search.run();
    let most_saved = if is_done {
        search.best.saved
    } else {
        search.most_saved()
    };
    let taken = blocks.iter().zip(&search.best.is_taken);
    Chosen {
        layers: taken
            .filter_map(|(b, taken)| taken.then_some(b.layer))
            .collect(),
        bytes: search.best.bytes,
        saved: search.best.saved,
        most_saved,
    }
}

/// Blocks that are taken.
#[derive(Clone, Copy)]
struct Taken<const N: usize> {
    is_taken: [bool; N],
    bytes: u64,
    saved: u64,
}

impl<const N: usize> Taken<N> {
    const fn new() -> Self {
        Self {
            is_taken: [false; N],
            bytes: 0,
            saved: 0,
        }
    }
}

struct Search<'a, const N: usize> {
    blocks: &'a [Blocks],
    room: u64,
    now: Taken<N>,
    best: Taken<N>,
}

impl<const N: usize> Search<'_, N> {
    /// Searches; false if there were too many nodes.
    fn run(&mut self) -> bool {
        let (mut at, mut nodes) = (0, 0);
        loop {
            let is_open = at < self.blocks.len();
            if is_open && self.can_improve(at) {
                if nodes == MOST_NODES {
                    return false;
                }
                nodes += 1;
                let fits = self.now.bytes + u64::from(self.blocks[at].bytes) <= self.room;
                self.set(at, fits);
                at += 1;
                continue;
            }
            if !is_open {
                self.offer();
            }
            // the last block that was taken is left out
            while at > 0 && !self.now.is_taken[at - 1] {
                at -= 1;
            }
            if at == 0 {
                return true;
            }
            self.set(at - 1, false);
        }
    }

    fn set(&mut self, at: usize, is_taken: bool) {
        let block = self.blocks[at];
        if is_taken {
            self.now.bytes += u64::from(block.bytes);
            self.now.saved += u64::from(block.saved);
        } else if self.now.is_taken[at] {
            self.now.bytes -= u64::from(block.bytes);
            self.now.saved -= u64::from(block.saved);
        }
        self.now.is_taken[at] = is_taken;
    }

    fn offer(&mut self) {
        let (now, best) = (&self.now, &self.best);
        let saves_more = now.saved > best.saved;
        if saves_more || now.saved == best.saved && now.bytes < best.bytes {
            self.best = self.now;
        }
    }

    /// Whether the blocks from `at` on, or parts of them, can make a better choice.
    fn can_improve(&self, at: usize) -> bool {
        let best = &self.best;
        let more = self.least_bytes(at, best.saved + 1);
        let as_much = self.least_bytes(at, best.saved);
        more.is_some_and(|bytes| bytes <= self.room)
            || as_much.is_some_and(|bytes| bytes < best.bytes)
    }

    /// The fewest bytes of what is taken, and of parts of the blocks from `at` on, that save so much.
    fn least_bytes(&self, at: usize, target: u64) -> Option<u64> {
        let mut missing = target.saturating_sub(self.now.saved);
        let mut bytes = self.now.bytes;
        for block in &self.blocks[at..] {
            let saved = u64::from(block.saved);
            if missing <= saved {
                return Some(bytes + (missing * u64::from(block.bytes)).div_ceil(saved));
            }
            missing -= saved;
            bytes += u64::from(block.bytes);
        }
        (missing == 0).then_some(bytes)
    }

    /// The most that parts of blocks can save.
    fn most_saved(&self) -> u64 {
        let mut room = self.room;
        let mut saved = 0;
        for block in self.blocks {
            let bytes = u64::from(block.bytes);
            if bytes > room {
                return saved + u64::from(block.saved) * room / bytes;
            }
            room -= bytes;
            saved += u64::from(block.saved);
        }
        saved
    }
}

/// The most schedules with which blocks are chosen.
const MOST_SCHEDULES: u32 = 16;

/// A plan's levels, for which places and a schedule are to be found.
pub(super) struct Placing<'a, const N: usize, const L: usize> {
    pub(super) network: &'a Network<N, L>,
    pub(super) lifetimes: &'a Lifetimes<N>,
    /// The forms of tensors at the plan's levels.
    pub(super) forms: &'a PerTensor<Forms, N>,
    pub(super) limits: Limits,
}

impl<const N: usize, const L: usize> Placing<'_, N, L> {
    /// The plan of the same levels in the schedule of fewest turns and, where places are free, with those blocks
    /// in RAM that save most cycles: so that cycles and turns together cost least ([`Plan::effort`]).
    #[inline(never)]
    pub(super) fn best(&self, mut plan: Plan<N>, places: Places) -> Plan<N> {
        let is_free = places == Places::Best;
        let blocks = match is_free {
            true => self.blocks(&plan),
            false => Vec::new(),
        };
        let saved = blocks.iter().map(|block| u64::from(block.saved));
        let slowest = self.slowest(&plan, is_free);
        let fewest = slowest - saved.sum::<u64>();
        let fixed = if is_free { 0 } else { plan.ram_weight_bytes };
        let room = self.limits.ram_bytes.unwrap_or(u64::MAX);
        let room = room.saturating_sub(fixed.into());
        let is_slow = |cycles: u64| self.limits.cycles.is_some_and(|limit| cycles > limit);
        let mut most = room;
        let mut bound = u64::MAX;
        let mut least = (u64::MAX, u64::MAX);
        for tried in 0..=MOST_SCHEDULES {
            let most_bytes = most.min(u32::MAX.into()) as u32;
            let within = match tried {
                MOST_SCHEDULES => None,
                _ => self.lifetimes.within(self.forms, most_bytes),
            };
            let is_last = within.is_none();
            let (schedule, placement) =
                within.unwrap_or_else(|| self.lifetimes.smallest(self.forms));
            let (turns, bytes) = (self.lifetimes.turns(&schedule), placement.bytes());
            let of_turns = u64::from(turns) * TURN_CYCLES;
            if fewest + of_turns >= least.0 {
                break;
            }
            let chosen = choose(&blocks, room.saturating_sub(bytes.into()));
            let fastest = slowest - chosen.most_saved;
            if !is_slow(fastest) {
                bound = bound.min(fastest + of_turns);
            }
            let cycles = slowest - chosen.saved;
            let ram = u64::from(fixed) + chosen.bytes + u64::from(bytes);
            if (cycles + of_turns, ram) < least && !is_slow(cycles) {
                least = (cycles + of_turns, ram);
                if is_free {
                    self.set_places(&mut plan, &chosen);
                    plan.cycles = cycles;
                }
                (plan.schedule, plan.turns, plan.arena_bytes) = (schedule, turns, bytes);
            } else if is_last && least.0 == u64::MAX {
                // a search that was cut may have found less than the solver, whose places are the plan's
                (plan.schedule, plan.turns, plan.arena_bytes) = (schedule, turns, bytes);
            }
            let is_found = least.0 != u64::MAX;
            if is_last || blocks.is_empty() && is_found || bytes == 0 {
                break;
            }
            most = u64::from(bytes) - 1;
        }
        let of_turns = u64::from(plan.turns) * TURN_CYCLES;
        plan.cycles_bound = bound.saturating_sub(of_turns).min(plan.cycles);
        plan
    }

    /// Cycles with all blocks in flash if places are free, as they are otherwise.
    fn slowest(&self, plan: &Plan<N>, is_free: bool) -> u64 {
        if !is_free {
            return plan.cycles;
        }
        let items = plan.levels.iter().enumerate();
        let items = items.filter_map(|(layer, level)| self.network.item_at(layer, *level));
        items.map(|item| u64::from(item.cycles.flash)).sum()
    }

    /// The blocks that save cycles in RAM.
    fn blocks(&self, plan: &Plan<N>) -> Vec<Blocks, N> {
        let prices = &self.network.prices;
        let mut blocks = Vec::new();
        for (layer, level) in plan.levels.iter().enumerate() {
            let row = &prices.rows[layer];
            let at = row.iter().position(|item| Some(item.level) == *level);
            let (Some(at), true) = (at, prices.leader(layer) == layer) else {
                continue;
            };
            let tied = prices.tied_item(layer, at);
            let saved = tied.cycles.flash.saturating_sub(tied.cycles.ram);
            if saved > 0 {
                // there is room for all layers
                let _ = blocks.push(Blocks {
                    layer: layer as u16,
                    bytes: tied.bytes,
                    saved,
                });
            }
        }
        sort(&mut blocks);
        blocks
    }

    /// Takes the chosen blocks to RAM, and no others.
    fn set_places(&self, plan: &mut Plan<N>, chosen: &Chosen<N>) {
        let places = plan.levels.iter().enumerate().map(|(layer, level)| {
            let leader = self.network.prices.leader(layer) as u16;
            match level.is_some() && chosen.layers.contains(&leader) {
                true => Place::Ram,
                false => Place::Flash,
            }
        });
        plan.places = places.collect();
        plan.ram_weight_bytes = chosen.bytes as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(seed: u64, count: u16) -> Vec<Blocks, 14> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = |most: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u32 % most as u32 + 1
        };
        let block = |layer| Blocks {
            layer,
            bytes: next(12),
            saved: next(9),
        };
        (0..count).map(block).collect()
    }

    #[test]
    fn choices_equal_exhaustive_search() {
        for seed in 0..400 {
            let all = blocks(seed, seed as u16 % 15);
            let mut sorted = all.clone();
            sort(&mut sorted);
            for room in [0, 7, 20, 41, u64::MAX] {
                let mut best = (0, 0);
                for set in 0..1_u32 << all.len() {
                    let taken = |at: &usize| set >> at & 1 == 1;
                    let sum = |of: fn(&Blocks) -> u32| -> u64 {
                        let taken = (0..all.len()).filter(taken);
                        taken.map(|at| u64::from(of(&all[at]))).sum()
                    };
                    let (bytes, saved) = (sum(|b| b.bytes), sum(|b| b.saved));
                    let better = saved > best.0 || saved == best.0 && bytes < best.1;
                    if bytes <= room && better {
                        best = (saved, bytes);
                    }
                }
                let chosen = choose(&sorted, room);
                let taken = all.iter().filter(|b| chosen.layers.contains(&b.layer));
                let sums = taken.fold((0, 0), |(saved, bytes), b| {
                    (saved + u64::from(b.saved), bytes + u64::from(b.bytes))
                });
                assert_eq!((sums, chosen.most_saved), (best, best.0), "{seed} {room}");
                assert_eq!((chosen.saved, chosen.bytes), best);
            }
        }
    }

    #[test]
    fn equal_blocks_take_few_nodes_and_large_numbers_fit() {
        let block = |layer| Blocks {
            layer,
            bytes: u32::MAX / 64,
            saved: u32::MAX / 64,
        };
        let all: Vec<Blocks, 64> = (0..60).map(block).collect();
        let chosen = choose(&all, 30 * u64::from(u32::MAX / 64) + 5);
        assert_eq!(chosen.layers.len(), 30);
    }
}

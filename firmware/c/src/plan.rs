//! Limits and plans.

use core::ffi::c_char;

use bitbudget_core::place::{Place, Places as CorePlaces};
use bitbudget_core::plan::{Limits as CoreLimits, Plan as CorePlan};

use super::info::Shape;

/// What stands for no limit in bb_limits.
pub const BB_NO_LIMIT: u64 = u64::MAX;

/// Where the weights of a plan may lie.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// All of them are copied to the arena.
    Ram = 0,
    /// All of them are read where the image lies, which must be in memory; they take no RAM.
    Flash,
    /// Each where it is best: in the arena if that saves cycles and there is room.
    Best,
}

impl Places {
    pub(crate) const fn of(number: u32) -> Option<CorePlaces> {
        match number {
            0 => Some(CorePlaces::Ram),
            1 => Some(CorePlaces::Flash),
            2 => Some(CorePlaces::Best),
            _ => None,
        }
    }
}

/// The most that a plan may take.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the arena; BB_NO_LIMIT or anything above its size: all of it.
    pub ram_bytes: u64,
    /// Cycles of an inference, of those that the image knows; or BB_NO_LIMIT.
    pub cycles: u64,
    /// Steps of the search, a hard bound of its time; BB_NO_LIMIT: until the plan is proven optimal.
    pub node_limit: u64,
}

impl Limits {
    /// The limits, in an arena of so many bytes.
    pub(crate) fn within(self, arena_bytes: usize) -> CoreLimits {
        let limits = CoreLimits::ram(self.ram_bytes.min(arena_bytes as u64));
        CoreLimits {
            cycles: (self.cycles != BB_NO_LIMIT).then_some(self.cycles),
            ..limits
        }
    }
}

/// A plan: a level and a place for every layer; those of a layer by bb_layer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Bytes of the arena that it takes in all.
    pub ram_bytes: u32,
    /// Bytes of them that are weights; the rest are activations.
    pub ram_weight_bytes: u32,
    /// Bytes of weights that stay in flash.
    pub flash_weight_bytes: u32,
    /// Turns in which layers run row by row to save RAM; 0: all tensors are whole.
    pub turns: u32,
    /// Cycles of an inference, of those that the image knows; without those of the turns.
    pub cycles: u64,
    /// Steps that the search took.
    pub nodes: u64,
    /// Predicted change of the loss.
    pub loss: f32,
    /// No plan within the limits has a lower one than this.
    pub least_loss: f32,
    /// Whether it is proven to be the best.
    pub is_optimal: bool,
}

impl Plan {
    pub(crate) fn new<const N: usize>(plan: &CorePlan<N>, loss: impl Fn(i64) -> f64) -> Self {
        Self {
            ram_bytes: plan.ram_bytes() as u32,
            ram_weight_bytes: plan.ram_weight_bytes,
            flash_weight_bytes: plan.flash_weight_bytes(),
            turns: plan.turns,
            cycles: plan.cycles,
            nodes: plan.nodes,
            loss: loss(plan.price) as f32,
            least_loss: loss(plan.bound) as f32,
            is_optimal: plan.is_optimal(),
        }
    }
}

/// One layer, and what the plan has for it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    /// Its level, such as "int8"; empty for a layer without weights, and without a plan.
    pub level: [c_char; 16],
    /// Bytes of its weights at that level.
    pub weight_bytes: u32,
    /// Whether they are in the arena.
    pub is_in_ram: bool,
    /// Shape of its output.
    pub output: Shape,
}

impl Layer {
    pub(crate) fn new(level: &str, weight_bytes: u32, place: Option<Place>, output: Shape) -> Self {
        let mut layer = Self {
            level: [0; _],
            weight_bytes,
            is_in_ram: place == Some(Place::Ram) && weight_bytes > 0,
            output,
        };
        // the last one stays zero
        let room = layer.level.len() - 1;
        for (to, from) in layer.level[..room].iter_mut().zip(level.bytes()) {
            *to = from as c_char;
        }
        layer
    }
}

//! The activations in RAM over the run of the layers: what is alive in each step, whole or as a band of rows.

use bitbudget_core::arena::Lifetimes;
use bitbudget_core::form::Form;
use bitbudget_core::level::Level;

use crate::capacity::{HostNetwork, HostPlan};

/// The activation arena of a plan over the run of the layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of the arena.
    pub arena_bytes: u32,
    /// Where every tensor lies, in the order of their numbers.
    pub blocks: Vec<TensorBlock>,
    /// In the order in which they run.
    pub steps: Vec<Step>,
}

/// Where a tensor lies in the arena, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorBlock {
    /// The first byte.
    pub offset: u32,
    /// The tensor in all its forms; of a band, its rows, and the sums of a pool that sums them up.
    pub bytes: u32,
    /// The first and the last tensor that is made while it is there.
    pub made: [usize; 2],
    /// The rows that there is room for, of a band.
    pub band_rows: Option<u16>,
}

/// A step of an inference: one layer, or the layers of a cascade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The first and the last tensor that it makes; tensor 0 is the input, tensor `i + 1` the output of layer `i`.
    pub tensors: [usize; 2],
    /// Bytes of the whole tensors that are alive.
    pub whole_bytes: u32,
    /// Bytes of the bands.
    pub band_bytes: u32,
}

impl Step {
    /// Bytes of all that is alive.
    #[must_use]
    pub const fn bytes(&self) -> u32 {
        self.whole_bytes + self.band_bytes
    }
}

impl Memory {
    /// The memory of a plan of this network.
    #[must_use]
    pub fn of(network: &HostNetwork, plan: &HostPlan) -> Self {
        let forms = network.least_forms(|layer| {
            let level = plan.levels.get(layer).copied().flatten();
            Some(level.map_or(Form::F32, Level::input_form))
        });
        let (lifetimes, schedule) = (Lifetimes::new(network), &plan.schedule);
        let placement = lifetimes.place(&forms, schedule);
        let (offsets, bands) = (placement.offsets(), lifetimes.bands(schedule));
        let in_arena = lifetimes.blocks(&forms, schedule);
        let tensors = 0..network.tensor_count();
        let block = |tensor: usize| {
            let block = in_arena[tensor];
            // until another tensor is made in place of it
            let mut later = tensor + 1..tensors.end;
            let replaced = later.find(|other| in_arena[*other].of == block.of);
            TensorBlock {
                offset: offsets[tensor],
                bytes: block.bytes,
                made: [
                    if block.of == tensor {
                        block.first
                    } else {
                        tensor
                    },
                    replaced.map_or(block.last, |other| other - 1),
                ],
                band_rows: schedule.is_band(tensor).then(|| bands[tensor].rows),
            }
        };
        let blocks: Vec<TensorBlock> = tensors.clone().map(block).collect();
        let mut steps = Vec::new();
        let mut first = 0;
        while first < tensors.end {
            let last = schedule.end_of(first);
            let alive = |is_band: bool| {
                let here = |block: &&TensorBlock| {
                    let [from, to] = block.made;
                    from <= last && first <= to && block.band_rows.is_some() == is_band
                };
                blocks.iter().filter(here).map(|block| block.bytes).sum()
            };
            steps.push(Step {
                tensors: [first, last],
                whole_bytes: alive(false),
                band_bytes: alive(true),
            });
            first = last + 1;
        }
        Self {
            arena_bytes: placement.bytes(),
            blocks,
            steps,
        }
    }
}

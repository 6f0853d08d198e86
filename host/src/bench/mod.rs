//! Counts what layers take on a board: instructions on an emulated one, cycles on hardware.
//!
//! A layer's count is everything that makes its output tensor of its input tensors, in the engine, as
//! the firmware runs it. What makes the input tensor of a sample is a count of its own. The emulator
//! counts exactly: the same program gives the same numbers every time.

mod baseline;
mod cases;
mod cmsis_nn;
mod error;
mod image;
mod measure;
mod synthetic;
mod table;

use std::io::{Read, Write};

use bitbudget_core::engine::{EngineError, Input};
use bitbudget_core::level::Level;
use bitbudget_core::place::{Place, Places};
use bitbudget_core::plan::Limits;
use bitbudget_core::protocol::{Info, Refusal, checksum};

use crate::capacity::{HostImage, HostNetwork};
use crate::device::{Client, DeviceError, Planned, Sample, Unit};
use crate::layout::rank;
use crate::random::Random;

pub use baseline::{Baseline, BaselineError, Change, GROWTH};
pub use cmsis_nn::instructions as cmsis_nn;
pub use error::BenchError;
pub use measure::{Measured, Unmeasured};
pub use table::{KEYWORDS, MIXED, NETWORK};

/// One count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The layer.
    pub name: String,
    /// The level of its weights; without weights, of the layers that read what it reads.
    pub level: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Elements that it reads, of one input where there are two; 0 where that says nothing.
    pub elements: u64,
    /// Executed instructions; cycles on hardware.
    pub instructions: u64,
    /// RAM beside weights and activations: the stack that it wrote below the engine's caller. `None`
    /// where it was not measured.
    pub scratch_bytes: Option<u32>,
}

impl Row {
    /// Instructions for each multiply-accumulate; `None` without any.
    #[must_use]
    pub fn per_mac(&self) -> Option<f64> {
        (self.macs > 0).then(|| self.instructions as f64 / self.macs as f64)
    }

    /// Instructions for each element, for a layer without multiply-accumulates.
    #[must_use]
    pub fn per_element(&self) -> Option<f64> {
        let counts = self.macs == 0 && self.elements > 0;
        counts.then(|| self.instructions as f64 / self.elements as f64)
    }
}

/// A level at which an image was not counted: the board has too little RAM for all layers at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The level.
    pub level: Level,
    /// Bytes that the plan takes.
    pub needed_bytes: u64,
    /// Bytes that the board has.
    pub arena_bytes: usize,
}

/// A layout that takes more RAM than the board has.
#[derive(Clone, Copy, Debug)]
struct NoRoom {
    needed_bytes: u64,
    arena_bytes: usize,
}

impl NoRoom {
    const fn at(self, level: Level) -> Skipped {
        Skipped {
            level,
            needed_bytes: self.needed_bytes,
            arena_bytes: self.arena_bytes,
        }
    }
}

/// The cost of one step of an inference: the sample becoming the input tensor, or one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Executed instructions; cycles on hardware.
    pub instructions: u64,
    /// The stack that it wrote below the engine's caller.
    pub scratch_bytes: u32,
}

/// A board that counts.
#[derive(Debug)]
pub struct Bench<P> {
    client: Client<P>,
    info: Info<'static>,
    board: String,
    unit: Unit,
}

impl<P: Read + Write> Bench<P> {
    /// Begins a session with the firmware at the other end of a pipe, whose counts are in `unit`.
    ///
    /// # Errors
    /// [`BenchError::Device`].
    pub fn begin(pipe: P, unit: Unit) -> Result<Self, BenchError> {
        let mut client = Client::new(pipe);
        let (info, board) = client.begin()?;
        Ok(Self {
            client,
            info,
            board,
            unit,
        })
    }

    /// The board's name.
    #[must_use]
    pub fn board(&self) -> &str {
        &self.board
    }

    /// Has the board use an image, and tells whether it is the one linked into its program; `progress` is told
    /// the bytes sent so far.
    fn load(
        &mut self,
        image: &HostImage<'_>,
        bytes: &[u8],
        progress: &dyn Fn(usize),
    ) -> Result<bool, BenchError> {
        self.check_capacity(image.network())?;
        let same = (bytes.len() as u32, checksum(bytes));
        let linked = self.info.image.filter(|image| image.linked);
        if linked.is_some_and(|image| (image.bytes, image.checksum) == same) {
            self.client.load_linked()?;
            return Ok(true);
        }
        let limit_bytes = self.info.image_limit_bytes;
        if bytes.len() as u64 > limit_bytes.into() {
            return Err(BenchError::ImageTooLarge {
                bytes: bytes.len(),
                limit_bytes,
                board: self.board.clone(),
            });
        }
        self.client.load(bytes, progress)?;
        Ok(false)
    }

    fn check_capacity(&self, network: &HostNetwork) -> Result<(), BenchError> {
        let layers = network.layers.len();
        let levels = network.prices.rows.iter().map(|row| row.len()).max();
        let levels = levels.unwrap_or(0);
        let (layer_limit, level_limit) = (self.info.layers, self.info.levels);
        let (bytes, limit_bytes) = (network.input.len(), self.info.input_limit_bytes);
        let board = || self.board.clone();
        if layers > layer_limit.into() || levels > level_limit.into() {
            return Err(BenchError::Capacity {
                layers,
                levels,
                layer_limit,
                level_limit,
                board: board(),
            });
        }
        if bytes as u64 > limit_bytes.into() {
            return Err(BenchError::SampleTooLarge {
                bytes,
                limit_bytes,
                board: board(),
            });
        }
        Ok(())
    }

    /// Makes the layers of the network in use have these items of their rows. The inner error says that
    /// the board has too little RAM for that.
    fn choose(
        &mut self,
        place: Place,
        items: &[u8],
    ) -> Result<Result<Planned, NoRoom>, BenchError> {
        match self.client.choose(place, items) {
            Ok(plan) => Ok(Ok(plan)),
            Err(DeviceError::Refused(Refusal::Engine(EngineError::ArenaTooSmall {
                needed_bytes,
                arena_bytes,
            }))) => Ok(Err(NoRoom {
                needed_bytes,
                arena_bytes,
            })),
            Err(error) => Err(error.into()),
        }
    }

    fn replan(&mut self, limits: Limits) -> Result<Planned, BenchError> {
        Ok(self.client.replan(limits, Places::Ram, u64::MAX)?)
    }

    /// The cost of each step of an inference of a random sample: first the sample, then each layer.
    fn steps(&mut self, network: &HostNetwork) -> Result<Vec<Step>, BenchError> {
        self.steps_of(network, &random_sample(network))
    }

    /// The cost of each step of an inference of this sample.
    fn steps_of(
        &mut self,
        network: &HostNetwork,
        sample: &Sample,
    ) -> Result<Vec<Step>, BenchError> {
        let layers = network.layers.len();
        let costs = self.client.infer_measured(sample, layers)?;
        let steps = costs.into_iter().map(|cost| Step {
            instructions: self.count(cost.ticks),
            scratch_bytes: cost.stack_bytes,
        });
        Ok(steps.collect())
    }

    fn count(&self, ticks: u64) -> u64 {
        self.unit.count(ticks, &self.info)
    }
}

/// Bytes at random, the same every time.
fn random_sample(network: &HostNetwork) -> Sample {
    let bytes = Random::new(2).bytes(network.input.len());
    Sample::from(Input::U8(&bytes))
}

/// The items with which every layer is at a level, or at the one nearest to it that the layer offers.
fn items_near(network: &HostNetwork, level: Level) -> Vec<u8> {
    let rows = network.prices.rows.iter();
    let items = rows.map(|row| {
        let items = row.iter().enumerate();
        let nearest = items.min_by_key(|(_, item)| rank(item.level).abs_diff(rank(level)));
        nearest.map_or(0, |(at, _)| at as u8)
    });
    items.collect()
}

/// The row of the layer that makes a tensor.
fn layer_row(
    network: &HostNetwork,
    tensor: usize,
    name: &str,
    level: Level,
    steps: &[Step],
) -> Row {
    let layer = tensor - 1;
    Row {
        name: name.to_owned(),
        level: level.name().to_owned(),
        macs: macs(network, layer),
        elements: network.input_shape(layer).len() as u64,
        instructions: steps[tensor].instructions,
        scratch_bytes: Some(steps[tensor].scratch_bytes),
    }
}

fn macs(network: &HostNetwork, layer: usize) -> u64 {
    let input = network.input_shape(layer);
    let layer = &network.layers[layer];
    layer.op.macs(input, layer.output)
}

/// A row of a whole network: all its layers together.
fn whole_row(name: &str, network: &HostNetwork, level: Level, steps: &[Step]) -> Row {
    let layers = || steps.iter().skip(1);
    let macs = (0..network.layers.len()).map(|layer| macs(network, layer));
    Row {
        macs: macs.sum(),
        scratch_bytes: layers().map(|step| step.scratch_bytes).max(),
        ..bare_row(
            name,
            level.name(),
            layers()
                .map(|step| step.instructions)
                .fold(0, u64::saturating_add),
        )
    }
}

/// The row of a sample becoming the input tensor.
fn sample_row(network: &HostNetwork, level: Level, steps: &[Step]) -> Row {
    Row {
        elements: network.input.len() as u64,
        scratch_bytes: Some(steps[0].scratch_bytes),
        ..bare_row(
            &format!("sample {}", network.input),
            level.name(),
            steps[0].instructions,
        )
    }
}

fn bare_row(name: &str, level: &str, instructions: u64) -> Row {
    Row {
        name: name.to_owned(),
        level: level.to_owned(),
        macs: 0,
        elements: 0,
        instructions,
        scratch_bytes: None,
    }
}

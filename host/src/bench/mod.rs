//! Counts the instructions that layers take on an emulated board.
//!
//! A layer's count is everything that makes its output tensor of its input tensors, in the engine, as
//! the firmware runs it. What makes the input tensor of a sample is a count of its own. The emulator
//! counts exactly: the same program gives the same numbers every time.

mod cases;
mod draft;
mod kept;
mod peer;

use std::io::{Read, Write};

use bitbudget_core::engine::Input;
use bitbudget_core::level::{Form, Level, Width};
use bitbudget_core::plan::Budget;
use bitbudget_core::protocol::{Info, Refusal};
use bitbudget_core::shape::Shape;

use crate::device::{Client, DeviceError, Planned, Sample, Unit};
use crate::pack::{self, HostImage, PackError};
use crate::profile::HostNetwork;
use crate::random::Random;

pub use kept::{Change, GROWTH, Kept, KeptError};
pub use peer::cmsis_nn;

/// The name of the row of a whole network.
pub const NETWORK: &str = "network";
/// The level of a row in which all levels take part.
pub const MIXED: &str = "mixed";

/// Why nothing was counted.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum BenchError {
    /// The device did not do what it was asked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Device(#[from] DeviceError),
    /// The image that is to be sent could not be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Pack(#[from] PackError),
    /// The image is larger than the board's room for one.
    #[error("the image has {bytes} bytes, {board} has room for {limit_bytes}")]
    #[diagnostic(help(
        "what is counted depends on the layers' shapes: a model of fewer of them fits"
    ))]
    ImageTooLarge {
        /// Its bytes.
        bytes: usize,
        /// The room.
        limit_bytes: u32,
        /// The board.
        board: String,
    },
    /// A sample is larger than the board's room for one.
    #[error("a sample has {bytes} bytes, {board} has room for {limit_bytes}")]
    #[diagnostic(help("a model with a smaller input fits"))]
    SampleTooLarge {
        /// Its bytes.
        bytes: usize,
        /// The room.
        limit_bytes: u32,
        /// The board.
        board: String,
    },
    /// The network has more layers, or a layer more levels, than the board has room for.
    #[error(
        "the image has {layers} layers of up to {levels} levels, {board} has room for {layer_limit} of {level_limit}"
    )]
    #[diagnostic(help(
        "`bitbudget pack --forbid LEVEL` leaves levels out of an image; LAYERS and LEVELS in firmware/src/board are the board's room"
    ))]
    Capacity {
        /// Layers of the network.
        layers: usize,
        /// Levels of the layer with most.
        levels: usize,
        /// The most layers.
        layer_limit: u16,
        /// The most levels.
        level_limit: u16,
        /// The board.
        board: String,
    },
}

/// One count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The layer.
    pub name: String,
    /// The level of its weights; without weights, of the layers that its tensors are for.
    pub level: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Elements that it reads, of one input where there are two; 0 where that says nothing.
    pub elements: u64,
    /// Executed instructions.
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

/// A level at which an image was not counted, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The level.
    pub level: Level,
    /// Bytes that the plan takes.
    pub needed_bytes: u64,
    /// Bytes that the board has.
    pub arena_bytes: u32,
}

/// What one step of an inference took: the sample becoming the input tensor, or one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Executed instructions.
    pub instructions: u64,
    /// The stack that it wrote below the engine's caller.
    pub scratch_bytes: u32,
}

/// An emulated board that counts.
#[derive(Debug)]
pub struct Bench<P> {
    client: Client<P>,
    info: Info<'static>,
    board: String,
}

impl<P: Read + Write> Bench<P> {
    /// Begins a session with the firmware at the other end of a pipe.
    ///
    /// # Errors
    /// [`BenchError::Device`].
    pub fn begin(pipe: P) -> Result<Self, BenchError> {
        let mut client = Client::new(pipe);
        let (info, board) = client.begin()?;
        Ok(Self {
            client,
            info,
            board,
        })
    }

    /// The board's name.
    #[must_use]
    pub fn board(&self) -> &str {
        &self.board
    }

    /// Has the board use an image.
    ///
    /// # Errors
    /// [`BenchError::Device`], [`BenchError::ImageTooLarge`].
    pub fn load(&mut self, image: &[u8]) -> Result<(), BenchError> {
        let (bytes, limit_bytes) = (image.len(), self.info.image_limit_bytes);
        if bytes as u64 > limit_bytes.into() {
            let board = self.board.clone();
            return Err(BenchError::ImageTooLarge {
                bytes,
                limit_bytes,
                board,
            });
        }
        self.client.load(image, &|_| {})?;
        Ok(())
    }

    /// Has the board plan for a budget.
    ///
    /// # Errors
    /// [`BenchError::Device`].
    pub fn replan(&mut self, budget: Budget) -> Result<Planned, BenchError> {
        Ok(self.client.replan(budget, u64::MAX)?)
    }

    /// What each step of an inference takes: first the sample, then each of `layers` layers.
    ///
    /// # Errors
    /// [`BenchError::Device`], [`BenchError::SampleTooLarge`].
    pub fn steps(&mut self, sample: &[u8], layers: usize) -> Result<Vec<Step>, BenchError> {
        let (bytes, limit_bytes) = (sample.len(), self.info.input_limit_bytes);
        if bytes as u64 > limit_bytes.into() {
            let board = self.board.clone();
            return Err(BenchError::SampleTooLarge {
                bytes,
                limit_bytes,
                board,
            });
        }
        let sample = Sample::from(Input::U8(sample));
        let costs = self.client.infer_measured(&sample, layers)?;
        let steps = costs.into_iter().map(|cost| Step {
            instructions: self.count(cost.ticks),
            scratch_bytes: cost.stack_bytes,
        });
        Ok(steps.collect())
    }

    fn count(&self, ticks: u64) -> u64 {
        Unit::Instructions.count(ticks, &self.info)
    }

    /// The table: layers of many shapes and a whole network, with seeded random weights; `progress` is
    /// told how many of how many networks are done.
    ///
    /// # Errors
    /// [`BenchError`].
    pub fn table(&mut self, progress: &dyn Fn(usize, usize)) -> Result<Vec<Row>, BenchError> {
        let layers = cases::CASES.iter();
        let layers = layers.flat_map(|case| case.levels.iter().map(move |level| (case, *level)));
        let layers: Vec<_> = layers.collect();
        let total = layers.len() + cases::LEVELS.len() + 1;
        let mut rows = Vec::new();
        for (done, (case, level)) in layers.into_iter().enumerate() {
            progress(done, total);
            let (draft, counted) = case.draft(level);
            let image = draft.image()?;
            let image = HostImage::parse(&image).map_err(PackError::from)?;
            let network = image.network();
            let counts = self.uniform(&image, level)?;
            if let Ok((_, steps)) = counts {
                rows.push(layer_row(network, counted, case.name, level.name(), &steps));
            }
        }
        let first = total - cases::LEVELS.len() - 1;
        for (done, level) in cases::LEVELS.into_iter().enumerate() {
            progress(first + done, total);
            let image = cases::network(&[level]).image()?;
            let image = HostImage::parse(&image).map_err(PackError::from)?;
            if let Ok((plan, steps)) = self.uniform(&image, level)? {
                rows.extend(self.network_rows(image.network(), level, &plan, &steps));
            }
        }
        progress(total - 1, total);
        rows.extend(self.plans()?);
        Ok(rows)
    }

    /// A plan of the network with all levels to choose from, in half the memory of the one before.
    fn plans(&mut self) -> Result<[Row; 2], BenchError> {
        self.load(&cases::network(&cases::LEVELS).image()?)?;
        let before = self.replan(Budget::Total(u64::MAX))?;
        let plan = self.replan(Budget::Total(before.total_bytes() / 2))?;
        let row = |name: &str, ticks| Row {
            name: format!("{name} {NETWORK}"),
            level: MIXED.to_owned(),
            macs: 0,
            elements: 0,
            instructions: self.count(ticks),
            scratch_bytes: None,
        };
        Ok([
            row("solve", plan.solve_ticks),
            row("re-encode", plan.encode_ticks),
        ])
    }

    /// An image's layers at each of their levels, and the whole of it at each level that all of them
    /// offer; `progress` is told how many of how many levels are done.
    ///
    /// # Errors
    /// [`BenchError`].
    pub fn image(
        &mut self,
        image: &HostImage<'_>,
        progress: &dyn Fn(usize, usize),
    ) -> Result<(Vec<Row>, Vec<Skipped>), BenchError> {
        let network = image.network();
        let items = |level: Level| {
            let items = network.prices.rows.iter().flatten();
            items.filter(move |item| item.level == level).count()
        };
        let weighted = network.prices.rows.iter().filter(|row| !row.is_empty());
        let weighted = weighted.count();
        let levels: Vec<Level> = Level::ALL.into_iter().filter(|l| items(*l) > 0).collect();
        let (mut rows, mut whole, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for (done, level) in levels.iter().enumerate() {
            progress(done, levels.len());
            match self.uniform(image, *level)? {
                Ok((plan, steps)) => {
                    for layer in 0..network.layers.len() {
                        let own = level_of(network, &plan, layer);
                        let known =
                            |row: &Row| row.name == image.name(layer) && row.level == own.name();
                        if rows.iter().any(|(_, row)| known(row)) {
                            continue;
                        }
                        let row =
                            layer_row(network, layer + 1, image.name(layer), own.name(), &steps);
                        rows.push((layer, row));
                    }
                    if items(*level) == weighted {
                        whole.extend(self.network_rows(network, *level, &plan, &steps));
                    }
                }
                Err(too_large) => skipped.push(too_large),
            }
        }
        // by layer, the levels of each in order
        rows.sort_by_key(|(layer, _)| *layer);
        let rows = rows.into_iter().map(|(_, row)| row).chain(whole);
        Ok((rows.collect(), skipped))
    }

    /// An image with all layers at a level, wherever they offer it: the plan, and what the steps of an
    /// inference take. The inner error says that the board has too little RAM for it.
    fn uniform(
        &mut self,
        image: &HostImage<'_>,
        level: Level,
    ) -> Result<Result<(Planned, Vec<Step>), Skipped>, BenchError> {
        let network = image.network();
        self.check_capacity(network)?;
        self.load(&pack::preferring(image, level)?)?;
        let plan = match self.replan(Budget::Total(u64::MAX)) {
            Err(BenchError::Device(DeviceError::Refused(Refusal::ArenaTooSmall {
                needed_bytes,
                arena_bytes,
            }))) => {
                return Ok(Err(Skipped {
                    level,
                    needed_bytes,
                    arena_bytes,
                }));
            }
            outcome => outcome?,
        };
        let sample = Random::new(2).bytes(network.input.len());
        let steps = self.steps(&sample, network.layers.len())?;
        Ok(Ok((plan, steps)))
    }

    fn check_capacity(&self, network: &HostNetwork) -> Result<(), BenchError> {
        let layers = network.layers.len();
        let levels = network.prices.rows.iter().map(|row| row.len()).max();
        let levels = levels.unwrap_or(0);
        let (layer_limit, level_limit) = (self.info.layers, self.info.levels);
        if layers <= layer_limit.into() && levels <= level_limit.into() {
            return Ok(());
        }
        Err(BenchError::Capacity {
            layers,
            levels,
            layer_limit,
            level_limit,
            board: self.board.clone(),
        })
    }

    /// The rows of a whole network: its layers together, its sample, and its weights' encoding.
    fn network_rows(
        &self,
        network: &HostNetwork,
        level: Level,
        plan: &Planned,
        steps: &[Step],
    ) -> Vec<Row> {
        let layers = || steps.iter().skip(1);
        let macs = (0..network.layers.len()).map(|layer| macs(network, layer));
        let row = |name: String, instructions, scratch_bytes| Row {
            name,
            level: level.name().to_owned(),
            macs: 0,
            elements: 0,
            instructions,
            scratch_bytes,
        };
        let whole = Row {
            macs: macs.sum(),
            ..row(
                NETWORK.to_owned(),
                layers().map(|step| step.instructions).sum(),
                layers().map(|step| step.scratch_bytes).max(),
            )
        };
        let sample = steps.first().map(|step| Row {
            elements: network.input.len() as u64,
            ..row(
                format!("sample {}", network.input),
                step.instructions,
                Some(step.scratch_bytes),
            )
        });
        let encode = row(
            format!("encode {NETWORK}"),
            self.count(plan.encode_ticks),
            None,
        );
        [whole, encode].into_iter().chain(sample).collect()
    }
}

/// The row of the layer that makes a tensor.
fn layer_row(network: &HostNetwork, tensor: usize, name: &str, level: &str, steps: &[Step]) -> Row {
    let layer = tensor - 1;
    let Step {
        instructions,
        scratch_bytes,
    } = steps[tensor];
    Row {
        name: name.to_owned(),
        level: level.to_owned(),
        macs: macs(network, layer),
        elements: network.input_shape(layer).len() as u64,
        instructions,
        scratch_bytes: Some(scratch_bytes),
    }
}

fn macs(network: &HostNetwork, layer: usize) -> u64 {
    let input: Shape = network.input_shape(layer);
    let layer = &network.layers[layer];
    layer.op.macs(input, layer.output)
}

/// The level of a layer under a plan; of a layer without weights, the one that reads what it reads.
fn level_of(network: &HostNetwork, plan: &Planned, layer: usize) -> Level {
    if let Some(level) = plan.levels.get(layer).copied().flatten() {
        return level;
    }
    let levels: Vec<Level> = plan
        .levels
        .iter()
        .map(|l| l.unwrap_or(Level::Fp32))
        .collect();
    let op = &network.layers[layer].op;
    let input = usize::from(network.layers[layer].inputs[0]);
    let form = op.input_need(Level::Fp32);
    let form = form.or_else(|| network.forms(&levels)[input].widest());
    match form.unwrap_or(Form::F32) {
        Form::F32 => Level::Fp32,
        Form::I8(rounding) => Level::Int(Width::Int8, rounding),
    }
}

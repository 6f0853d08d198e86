//! Runs a network at the levels that a budget allows.

use core::fmt;
use core::ops::Range;

use bytemuck::cast_slice;
use embedded_storage::nor_flash::ReadNorFlash;
use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::arch::im2col::Im2col;
use crate::arena::{Band, Lifetimes, Placement};
use crate::block::BLOCK_ALIGN;
use crate::cascade::{Progress, Schedule};
use crate::form::{Form, Forms};
use crate::image::Image;
use crate::input::{Source, Writer};
use crate::level::Level;
use crate::network::PerTensor;
use crate::op::memory::KernelMemory;
use crate::place::Place;
use crate::plan::{Limits, LimitsTooSmall, Plan, Planner};
use crate::step::{Blocks, Memory, Steps, shift};
use crate::storage::Mapped;
use crate::tensor::View;

pub use crate::input::Input;

/// The alignment in bytes that the lent arena must have.
pub const ARENA_ALIGN: usize = 8;

/// Why the engine could not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EngineError {
    /// The arena does not start at a multiple of [`ARENA_ALIGN`].
    Misaligned,
    /// No plan is within the limits; the plan of before is still resident.
    Limits(LimitsTooSmall),
    /// The arena is smaller than the plan; the layout of before is still resident.
    ArenaTooSmall {
        /// Bytes that the plan takes.
        needed_bytes: u64,
        /// Bytes of the arena.
        arena_bytes: usize,
    },
    /// A layer has no such level in the price matrix.
    NoSuchLevel {
        /// The layer.
        layer: usize,
        /// The level asked for; `None` where a layer with weights was given none.
        level: Option<Level>,
    },
    /// Layers cannot run row by row as the plan's schedule says; the plan of before is still resident.
    Schedule,
    /// The weights cannot be read in place: the image is not in memory, or not at a multiple of
    /// [`BLOCK_ALIGN`].
    NotMapped,
    /// The storage failed while a layer was read; nothing is resident until a replan succeeds.
    Storage {
        /// The layer.
        layer: usize,
    },
    /// Nothing is resident: there was no successful replan.
    NoPlan,
    /// The sample has another number of elements than the network's input.
    InputLen {
        /// Elements of the network's input.
        expected: usize,
        /// Elements given.
        found: usize,
    },
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misaligned => write!(f, "the arena is not aligned to {ARENA_ALIGN} bytes"),
            Self::Limits(error) => write!(f, "{error}"),
            Self::ArenaTooSmall {
                needed_bytes,
                arena_bytes,
            } => write!(
                f,
                "the plan takes {needed_bytes} bytes, the arena has {arena_bytes}"
            ),
            Self::NoSuchLevel { layer, level } => match level {
                Some(level) => write!(f, "layer {layer} has no level {level}"),
                None => write!(f, "layer {layer} was given no level"),
            },
            Self::Schedule => {
                f.write_str("layers cannot run row by row as the plan's schedule says")
            }
            Self::NotMapped => write!(
                f,
                "weights cannot be read in place: the image is not in memory at a multiple of {BLOCK_ALIGN} bytes"
            ),
            Self::Storage { layer } => write!(f, "the storage failed while layer {layer} was read"),
            Self::NoPlan => f.write_str("no layout is resident; a successful replan comes first"),
            Self::InputLen { expected, found } => {
                write!(
                    f,
                    "an input of {found} elements, the network takes {expected}"
                )
            }
        }
    }
}

impl core::error::Error for EngineError {}

impl From<LimitsTooSmall> for EngineError {
    fn from(error: LimitsTooSmall) -> Self {
        Self::Limits(error)
    }
}

/// A network in an arena that the caller lends: blocks whose place is RAM first, then activations.
///
/// ```
/// use bitbudget_core::{Engine, EngineError, Image, Input, Limits, Planner};
///
/// /// Runs a frame in little memory, and a second one when there is more.
/// fn run(image: &Image<9, 5>, arena: &mut [u8], frames: [&[u8]; 2]) -> Result<f32, EngineError> {
///     let mut planner = Planner::<9, 5>::new(image.network());
///     let mut engine = Engine::new(image, arena)?;
///     engine.replan(&mut planner, Limits::ram(24 << 10))?;
///     let first = engine.infer(Input::U8(frames[0]))?[0];
///     engine.replan(&mut planner, Limits::ram(64 << 10))?;
///     Ok(first - engine.infer(Input::U8(frames[1]))?[0])
/// }
/// ```
///
/// Call [`replan`](Self::replan) whenever the limits change, [`infer`](Self::infer) as often as wanted in
/// between. What the plan leaves of the arena is the caller's: [`spare`](Self::spare).
#[derive(Debug)]
pub struct Engine<'a, const N: usize, const K: usize, S = Mapped<'a>> {
    image: &'a Image<'a, N, K>,
    storage: S,
    /// Where the blocks section begins in the storage.
    blocks_at: u32,
    arena: &'a mut [u8],
    lifetimes: Lifetimes<N>,
    placement: Placement<N>,
    bands: PerTensor<Band, N>,
    plan: Option<Plan<N>>,
    layout: Layout<N>,
}

/// The consequences of a plan: where each layer's block lies, and how each tensor is stored.
#[derive(Clone, Debug)]
struct Layout<const N: usize> {
    levels: Vec<Level, N>,
    places: Vec<Place, N>,
    /// In the arena or in the blocks section.
    starts: Vec<u32, N>,
    /// Bytes of all blocks.
    weight_bytes: u32,
    /// Bytes of those in RAM.
    ram_bytes: u32,
    forms: PerTensor<Forms, N>,
}

impl<const N: usize> Layout<N> {
    /// No layout: nothing is resident.
    const fn empty() -> Self {
        Self {
            levels: Vec::new(),
            places: Vec::new(),
            starts: Vec::new(),
            weight_bytes: 0,
            ram_bytes: 0,
            forms: PerTensor::empty(Forms::NONE),
        }
    }

    /// The layout of a plan: in RAM blocks lie in the order of their layers, without gaps.
    fn new<const K: usize>(image: &Image<'_, N, K>, plan: &Plan<N>) -> Result<Self, EngineError> {
        let network = image.network();
        let mut layout = Self::empty();
        for (layer, row) in network.prices.rows.iter().enumerate() {
            let level = plan.levels.get(layer).copied().flatten();
            let item = network.item_at(layer, level);
            let block = item.and_then(|item| {
                let block = image.block_range(layer, item.level.weight_format())?;
                Some((item.level, block))
            });
            let (level, block, place) = match block {
                Some((level, block)) => {
                    let place = plan.places.get(layer).copied();
                    (level, block, place.unwrap_or(Place::Ram))
                }
                None if row.is_empty() => (Level::Fp32, 0..0, Place::Flash),
                None => return Err(EngineError::NoSuchLevel { layer, level }),
            };
            // rows are as many as layers, at most N
            let _ = layout.levels.push(level);
            let _ = layout.places.push(place);
            let _ = layout.starts.push(match place {
                Place::Ram => layout.ram_bytes,
                Place::Flash => block.start as u32,
            });
            layout.weight_bytes += block.len() as u32;
            if place == Place::Ram {
                layout.ram_bytes += block.len() as u32;
            }
        }
        layout.forms = network.forms(&layout.levels);
        Ok(layout)
    }

    /// The bytes in the arena of the block of a layer whose place is RAM; none of another one.
    fn ram_range(&self, layer: usize) -> Range<usize> {
        let start = match self.places[layer] {
            Place::Ram => self.starts[layer],
            Place::Flash => return 0..0,
        };
        let mut later = self.places.iter().zip(&self.starts).skip(layer + 1);
        let next = later.find(|(place, _)| **place == Place::Ram);
        let end = next.map_or(self.ram_bytes, |(_, start)| *start);
        start as usize..end as usize
    }

    /// The steps that run the layers of an image in this layout.
    fn steps<'s, const K: usize>(
        &'s self,
        image: &'s Image<'_, N, K>,
        placement: &'s Placement<N>,
        bands: &'s PerTensor<Band, N>,
    ) -> Steps<'s> {
        let network = image.network();
        Steps {
            input: (network.input, network.input_q),
            layers: &network.layers,
            levels: &self.levels,
            forms: self.forms.as_view(),
            blocks: Blocks {
                places: &self.places,
                starts: &self.starts,
                mapped: image.blocks(),
                ram_bytes: self.ram_bytes,
            },
            tables: image.tables(),
            activations: placement.offsets(),
            bands: bands.as_view(),
        }
    }
}

impl<'a, const N: usize, const K: usize> Engine<'a, N, K> {
    /// An engine for an `image` in memory, with nothing resident yet.
    ///
    /// # Errors
    /// [`EngineError::Misaligned`].
    pub fn new(image: &'a Image<'a, N, K>, arena: &'a mut [u8]) -> Result<Self, EngineError> {
        Self::over(image, Mapped(image.blocks()), 0, arena)
    }
}

impl<'a, const N: usize, const K: usize, S: ReadNorFlash> Engine<'a, N, K, S> {
    /// An engine for an `image` that [`Image::open`] found in `storage`, with nothing resident yet.
    ///
    /// # Errors
    /// [`EngineError::Misaligned`].
    pub fn with_storage(
        image: &'a Image<'a, N, K>,
        storage: S,
        arena: &'a mut [u8],
    ) -> Result<Self, EngineError> {
        Self::over(image, storage, image.blocks_at(), arena)
    }

    fn over(
        image: &'a Image<'a, N, K>,
        storage: S,
        blocks_at: u32,
        arena: &'a mut [u8],
    ) -> Result<Self, EngineError> {
        if !arena.as_ptr().addr().is_multiple_of(ARENA_ALIGN) {
            return Err(EngineError::Misaligned);
        }
        let mut engine = Self {
            image,
            storage,
            blocks_at,
            arena,
            lifetimes: const { Lifetimes::empty() },
            placement: const { Placement::empty() },
            bands: const { PerTensor::empty(Band::NONE) },
            plan: None,
            layout: const { Layout::empty() },
        };
        // where they are to be: a copy of them would be large
        engine.lifetimes.set_network(image.network());
        Ok(engine)
    }

    /// Whether weights can be read where the image lies: it is in memory, at a multiple of [`BLOCK_ALIGN`].
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        let blocks = self.image.blocks();
        !blocks.is_empty() && blocks.as_ptr().addr().is_multiple_of(BLOCK_ALIGN)
    }

    /// The plan that is resident.
    #[must_use]
    pub const fn plan(&self) -> Option<&Plan<N>> {
        self.plan.as_ref()
    }

    /// The part of the arena that the resident plan does not take, until the next replan.
    pub fn spare(&mut self) -> &mut [u8] {
        let taken = self.plan.as_ref().map_or(0, Plan::ram_bytes);
        &mut self.arena[taken as usize..]
    }

    /// Plans for `limits`, to proven optimality, and makes the plan resident. `planner` is that of the image's
    /// network.
    ///
    /// Only blocks that are not in RAM yet are copied there; the arena is never used beyond the larger of
    /// the old and the new plan.
    ///
    /// # Errors
    /// [`EngineError::Limits`], and those of [`Self::load`].
    ///
    /// # Panics
    /// As [`Planner::start`].
    pub fn replan<const I: usize, const D: usize>(
        &mut self,
        planner: &mut Planner<N, I, D>,
        limits: Limits,
    ) -> Result<&Plan<N>, EngineError> {
        self.replan_within(planner, limits, u64::MAX)
    }

    /// As [`Self::replan`], visiting at most `node_limit` nodes: a hard bound of its time. The plan says how far
    /// from the optimum it may be ([`Plan::bound`]).
    ///
    /// # Errors
    /// Those of [`Self::replan`].
    ///
    /// # Panics
    /// As [`Planner::start`].
    pub fn replan_within<const I: usize, const D: usize>(
        &mut self,
        planner: &mut Planner<N, I, D>,
        limits: Limits,
        node_limit: u64,
    ) -> Result<&Plan<N>, EngineError> {
        let plan = planner.plan(self.image.network(), limits, node_limit)?;
        self.load(plan)
    }

    /// Makes a plan resident that was made elsewhere: by a [`Planner`], looked up among an image's
    /// [`stored_plans`](Image::stored_plans), or of levels chosen by hand ([`Plan::of_levels`]).
    ///
    /// # Errors
    /// [`EngineError::NoSuchLevel`], [`EngineError::NotMapped`], [`EngineError::Schedule`] or
    /// [`EngineError::ArenaTooSmall`], with the plan of before resident; [`EngineError::Storage`] with nothing resident: the next plan's blocks are
    /// all read anew.
    pub fn load(&mut self, plan: Plan<N>) -> Result<&Plan<N>, EngineError> {
        let next = Layout::new(self.image, &plan)?;
        let layers = self.image.network().layers.iter().zip(&next.places);
        let mut reads_flash = layers.map(|(l, place)| l.op.has_weights() && *place == Place::Flash);
        if reads_flash.any(|reads| reads) && !self.is_mapped() {
            return Err(EngineError::NotMapped);
        }
        if !self.lifetimes.allows(&plan.schedule) {
            return Err(EngineError::Schedule);
        }
        let placement = self.lifetimes.place(&next.forms, &plan.schedule);
        let needed_bytes = u64::from(next.ram_bytes) + u64::from(placement.bytes());
        let arena_bytes = self.arena.len();
        if needed_bytes > arena_bytes as u64 {
            return Err(EngineError::ArenaTooSmall {
                needed_bytes,
                arena_bytes,
            });
        }
        self.relocate(next)?;
        self.placement = placement;
        self.bands = self.lifetimes.bands(&plan.schedule);
        Ok(self.plan.insert(Plan {
            weight_bytes: self.layout.weight_bytes,
            ram_weight_bytes: self.layout.ram_bytes,
            arena_bytes: self.placement.bytes(),
            ..plan
        }))
    }

    /// Moves the blocks that stay in RAM and copies the others.
    fn relocate(&mut self, next: Layout<N>) -> Result<(), EngineError> {
        let old = core::mem::replace(&mut self.layout, next);
        let resident = self.plan.take().is_some();
        let count = self.layout.levels.len();
        let format = |layout: &Layout<N>, layer: usize| layout.levels[layer].weight_format();
        let is_in_ram = |layout: &Layout<N>, layer: usize| layout.places[layer] == Place::Ram;
        let stays = |next: &Layout<N>, layer: usize| {
            resident
                && is_in_ram(&old, layer)
                && is_in_ram(next, layer)
                && format(&old, layer) == format(next, layer)
        };
        // to the left and close together: no block moves right, none is overwritten
        let mut packed: Vec<usize, N> = Vec::new();
        let mut end = 0;
        for layer in 0..count {
            let _ = packed.push(end);
            if stays(&self.layout, layer) {
                let block = old.ram_range(layer);
                end += block.len();
                shift(self.arena, block, packed[layer]);
            }
        }
        // to their places from the last on: no block moves left
        for layer in (0..count).rev() {
            if stays(&self.layout, layer) {
                let to = self.layout.ram_range(layer);
                let from = packed[layer]..packed[layer] + to.len();
                shift(self.arena, from, to.start);
            }
        }
        for layer in 0..count {
            if !is_in_ram(&self.layout, layer) || stays(&self.layout, layer) {
                continue;
            }
            let format = format(&self.layout, layer);
            let Some(stored) = self.image.block_range(layer, format) else {
                continue;
            };
            let at = self.blocks_at + stored.start as u32;
            let block = &mut self.arena[self.layout.ram_range(layer)];
            let read = self.storage.read(at, block);
            read.map_err(|_| EngineError::Storage { layer })?;
        }
        Ok(())
    }

    /// The network's output for one sample, `[H, W, C]` as FP32.
    ///
    /// # Errors
    /// [`EngineError::NoPlan`], [`EngineError::InputLen`].
    pub fn infer(&mut self, input: Input<'_>) -> Result<&[f32], EngineError> {
        self.infer_watched(input, |_, step| step())
    }

    /// As [`Self::infer`], for a sample that comes row by row from a camera or a sensor: `fill` is given the number
    /// of a row, and writes its raw pixels, `[W, C]`. It is asked for the rows in order, for each one once. A row
    /// is written where the tensor lies: no other memory is taken for the sample.
    ///
    /// Where the plan has the input as a band of rows, `fill` is asked for a row when the layers that read it come
    /// to need it, and not for rows at the end that no layer reads.
    ///
    /// # Errors
    /// [`EngineError::NoPlan`].
    pub fn infer_rows(
        &mut self,
        mut fill: impl FnMut(u16, &mut [u8]),
    ) -> Result<&[f32], EngineError> {
        self.run(Source::Rows(&mut fill), &mut |_, step| step())
    }

    /// As [`Self::infer`], step by step, for measuring: `watch` is given the number of the tensor that a step
    /// makes, and the step, which it must call once.
    ///
    /// Step 0 makes the input tensor of the sample; step `i + 1` runs layer `i`, all that makes its
    /// output of its inputs. In a cascade every turn is a step: there are several for one tensor.
    ///
    /// # Errors
    /// [`EngineError::NoPlan`], [`EngineError::InputLen`].
    pub fn infer_watched(
        &mut self,
        input: Input<'_>,
        mut watch: impl FnMut(usize, &mut dyn FnMut()),
    ) -> Result<&[f32], EngineError> {
        let (expected, found) = (self.image.network().input.len(), input.len());
        if self.plan.is_some() && expected != found {
            return Err(EngineError::InputLen { expected, found });
        }
        self.run(Source::Sample(input), &mut watch)
    }

    /// Runs the network on a sample of the input's size.
    fn run(
        &mut self,
        source: Source<'_>,
        watch: &mut dyn FnMut(usize, &mut dyn FnMut()),
    ) -> Result<&[f32], EngineError> {
        let network = self.image.network();
        let Some(plan) = &self.plan else {
            return Err(EngineError::NoPlan);
        };
        let mut writer = Writer::new(
            source,
            &network.preprocess,
            (network.input, network.input_q),
            self.layout.forms[0].widest(),
            plan.schedule.is_band(0),
        );
        let schedule = &plan.schedule;
        let steps = self.layout.steps(self.image, &self.placement, &self.bands);
        run_steps(&steps, schedule, &mut writer, self.arena, watch);
        let output = steps.span(network.layers.len(), Form::F32);
        Ok(cast_slice(&self.arena[output.range()]))
    }

    /// The elements of a tensor after an inference, as real numbers and in the form that operators
    /// without weights read; for looking inside. `None` when nothing is resident, there is no
    /// such tensor, or only a band of it; meaningful only while no later tensor has overwritten it.
    pub fn tensor(&self, tensor: usize) -> Option<View<'_>> {
        let plan = self.plan.as_ref()?;
        let network = self.image.network();
        if tensor >= network.tensor_count() || plan.schedule.is_band(tensor) {
            return None;
        }
        let form = self.layout.forms[tensor].widest()?;
        let steps = self.layout.steps(self.image, &self.placement, &self.bands);
        let span = steps.span(tensor, form);
        Some(span.view(&self.arena[span.range()]))
    }
}

/// Runs all steps. Not inlined: what kernels work in lies on the stack beside what the writer took to be made.
#[inline(never)]
fn run_steps<const N: usize>(
    steps: &Steps<'_>,
    schedule: &Schedule<N>,
    writer: &mut Writer<'_, '_>,
    arena: &mut [u8],
    watch: &mut dyn FnMut(usize, &mut dyn FnMut()),
) {
    let kernels = KernelMemory {
        im2col: &mut Im2col::new(),
        sums: &mut [0; _],
        fours: &mut [[0; 4]; _],
    };
    let memory = &mut Memory { arena, kernels };
    let last = steps.layers.len();
    let mut tensor = 0;
    while tensor <= last {
        let end = schedule.end_of(tensor);
        if end > tensor {
            let mut progress = PerTensor::<Progress, N>::new(Progress::default(), last);
            let progress = &mut progress.as_view_mut();
            steps.run_cascade([tensor, end], progress, memory, writer, watch);
        } else if let Some(layer) = tensor.checked_sub(1) {
            watch(tensor, &mut || steps.run(layer, memory));
        } else {
            watch(0, &mut || {
                writer.put_all(&steps.input_spans(None), memory.arena);
            });
        }
        tensor = end + 1;
    }
}

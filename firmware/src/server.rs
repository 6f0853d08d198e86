//! Answers requests: loads images, plans, infers.

use bitbudget_core::engine::{Engine, EngineError, Input};
use bitbudget_core::image::{Image, ImageError};
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Plan, Planner};
use bitbudget_core::protocol::{
    CHUNK_BYTES, Cost, Element, Failure, ImageInfo, Info, Planned, Refusal, Request, Response,
    Stats, checksum,
};
use bitbudget_core::tensor::View;
use embedded_io::{Read, Write};

use super::board::{self, Clock, ITEMS, LAYERS, LEVELS};
use super::link::Link;
use super::log::{info, warn};
use super::memory::{self, Stack};
use super::upload::{Upload, append};

/// The memory that the server is lent.
pub(crate) struct Memory<'m> {
    /// The image that is part of the program; empty for none.
    pub(crate) linked: &'m [u8],
    /// Room for a loaded image.
    pub(crate) image: &'m mut [u8],
    /// Room for weights and activations.
    pub(crate) arena: &'m mut [u8],
    /// Room for a sample.
    pub(crate) input: &'m mut [u8],
}

/// Fill byte of the arena before an engine writes to it.
const PAINT: u8 = 0xA5;

/// The server and its means.
pub(crate) struct Server<'b, P> {
    link: Link<'b, P>,
    clock: Clock,
    empty_ticks: u64,
    stack: Stack,
    sample_bytes: usize,
    /// Costs of the last measured inference, by tensor.
    costs: [Cost; LAYERS + 1],
    cost_count: usize,
}

/// The next state, after an image was used or waited for.
enum Next {
    /// Wait for an image; one may be on its way.
    Wait(Option<Upload>),
    /// Use the linked one; the request's number.
    Linked(u16),
    /// Use the loaded one of so many bytes; the request's number.
    Loaded(u16, usize),
}

impl<'b, P: Read + Write> Server<'b, P> {
    pub(crate) fn new(link: Link<'b, P>, mut clock: Clock) -> Self {
        let ((), empty_ticks) = clock.measure(|| ());
        Self {
            link,
            clock,
            empty_ticks,
            stack: Stack::new(),
            sample_bytes: 0,
            costs: [Cost::default(); LAYERS + 1],
            cost_count: 0,
        }
    }

    /// Serves for ever, the linked image first; after a failure, which is told to whoever waits for an
    /// answer, no image: the linked one may be to blame.
    pub(crate) fn serve(mut self, memory: Memory<'_>, failure: Option<Failure>) -> ! {
        let Memory {
            linked,
            image,
            arena,
            input,
        } = memory;
        let mut next = match failure {
            Some(failure) => {
                self.link.answer(0, Err(Refusal::Restarted(failure)));
                Next::Wait(None)
            }
            None => self.use_image(linked, true, None, arena, input),
        };
        loop {
            next = match next {
                Next::Wait(upload) => self.wait(upload, image),
                Next::Linked(request) => self.use_image(linked, true, Some(request), arena, input),
                Next::Loaded(request, len) => {
                    self.use_image(&image[..len], false, Some(request), arena, input)
                }
            };
        }
    }

    /// Uses an image until a request ends that; tells the outcome to the request that asked for it.
    fn use_image(
        &mut self,
        bytes: &[u8],
        linked: bool,
        request: Option<u16>,
        arena: &mut [u8],
        input: &mut [u8],
    ) -> Next {
        bytemuck::cast_slice_mut(arena).fill(u32::from_ne_bytes([PAINT; 4]));
        // used where it is, for it is large
        let mut image = const { Image::empty() };
        let outcome = match parse(&mut image, bytes) {
            Ok(()) => {
                let info = image_info(&image, linked, bytes);
                self.use_engine(&image, info, request, arena, input)
            }
            Err(error) => Err(error.into()),
        };
        outcome.unwrap_or_else(|refusal| {
            warn!("the image is refused");
            if let Some(request) = request {
                self.link.answer(request, Err(refusal));
            }
            Next::Wait(None)
        })
    }

    /// Uses a network until a request ends that. Not inlined, so that its memory is not needed while
    /// an image is parsed.
    #[inline(never)]
    fn use_engine(
        &mut self,
        image: &Image<'_, LAYERS, LEVELS>,
        info: ImageInfo,
        request: Option<u16>,
        arena: &mut [u8],
        input: &mut [u8],
    ) -> Result<Next, Refusal> {
        let mut engine = Engine::new(image, arena);
        let engine = engine.as_mut().map_err(|error| *error)?;
        // used where it is, for it is large
        let mut planner = const { Planner::empty() };
        planner.set_network(image.network(), Places::Ram);
        planner.find_smallest(image.network());
        info!("image of {=u32} bytes", info.bytes);
        if let Some(request) = request {
            self.link.answer(request, Ok(Response::Loaded(info)));
        }
        Ok(self.run(image, engine, &mut planner, info, input))
    }

    /// Answers requests with a network in place.
    #[inline(never)]
    fn run(
        &mut self,
        image: &Image<'_, LAYERS, LEVELS>,
        engine: &mut Engine<'_, LAYERS, LEVELS>,
        planner: &mut Planner<LAYERS, ITEMS>,
        info: ImageInfo,
        input: &mut [u8],
    ) -> Next {
        (self.sample_bytes, self.cost_count) = (0, 0);
        loop {
            let (number, request) = self.link.receive();
            let outcome = match request {
                Request::Info => Ok(Response::Info(self.info(Some(info)))),
                Request::LoadBegin { len, checksum } => match Upload::begin(len, checksum) {
                    Ok(upload) => {
                        let response = Response::Received { bytes: 0 };
                        self.link.answer(number, Ok(response));
                        return Next::Wait(Some(upload));
                    }
                    Err(refusal) => Err(refusal),
                },
                Request::LoadChunk { .. } | Request::LoadEnd => Err(Refusal::NotLoading),
                Request::LoadLinked => return Next::Linked(number),
                Request::Input { offset, bytes } => {
                    let received = append(input, &mut self.sample_bytes, offset, bytes);
                    received.map(|bytes| Response::Received { bytes })
                }
                Request::Replan {
                    limits,
                    places,
                    node_limit,
                } => {
                    planner.set_places(places);
                    let planned = self.replan(engine, (image, planner), limits, node_limit);
                    planned.map(Response::Planned)
                }
                Request::Infer { element } => {
                    let sample = &input[..self.sample_bytes];
                    self.infer(engine, sample, element).map_err(Refusal::from)
                }
                Request::Output { offset } => Ok(Response::Output {
                    bytes: output(engine, info.layer_count, offset),
                }),
                Request::Stats => Ok(Response::Stats(self.stats(arena_used_bytes(engine)))),
                Request::InferMeasured { element } => {
                    let sample = &input[..self.sample_bytes];
                    let inferred = self.infer_measured(engine, sample, element);
                    inferred.map_err(Refusal::from)
                }
                Request::Choose { place, items } => {
                    let network = image.network();
                    let plan = Plan::of_levels(network, network.levels_at(items), place);
                    let planned = self.make_resident(engine, plan, 0);
                    planned.map(Response::Planned).map_err(Refusal::from)
                }
                Request::Cost { tensor } => {
                    let cost = self.costs[..self.cost_count].get(usize::from(tensor));
                    let cost = cost.map(|cost| Response::Cost(*cost));
                    cost.ok_or(Refusal::NotMeasured)
                }
            };
            self.link.answer(number, outcome);
        }
    }

    /// Answers requests without a network in place, while an image arrives or before one does.
    fn wait(&mut self, mut upload: Option<Upload>, image: &mut [u8]) -> Next {
        loop {
            let (number, request) = self.link.receive();
            let outcome = match request {
                Request::Info => Ok(Response::Info(self.info(None))),
                Request::LoadBegin { len, checksum } => Upload::begin(len, checksum).map(|new| {
                    upload = Some(new);
                    Response::Received { bytes: 0 }
                }),
                Request::LoadChunk { offset, bytes } => match &mut upload {
                    Some(upload) => upload.take(image, offset, bytes),
                    None => Err(Refusal::NotLoading),
                },
                Request::LoadEnd => match upload.as_ref().map(|upload| upload.check(image)) {
                    Some(Ok(len)) => return Next::Loaded(number, len),
                    Some(Err(refusal)) => Err(refusal),
                    None => Err(Refusal::NotLoading),
                },
                Request::LoadLinked => return Next::Linked(number),
                Request::Stats => Ok(Response::Stats(self.stats(0))),
                Request::Replan { .. }
                | Request::Input { .. }
                | Request::Infer { .. }
                | Request::Output { .. }
                | Request::InferMeasured { .. }
                | Request::Choose { .. }
                | Request::Cost { .. } => Err(Refusal::NoImage),
            };
            self.link.answer(number, outcome);
        }
    }

    /// Not inlined, so that plans are not in memory while the network runs.
    #[inline(never)]
    fn replan(
        &mut self,
        engine: &mut Engine<'_, LAYERS, LEVELS>,
        (image, planner): (&Image<'_, LAYERS, LEVELS>, &mut Planner<LAYERS, ITEMS>),
        limits: Limits,
        node_limit: u64,
    ) -> Result<Planned<LAYERS>, Refusal> {
        planner.check(image.network(), &limits)?;
        let plan = || planner.plan(image.network(), limits, node_limit);
        let (plan, solve_ticks) = self.clock.measure(plan);
        let plan = plan.map_err(EngineError::from)?;
        info!("plan of {=u64} bytes", plan.ram_bytes());
        Ok(self.make_resident(engine, plan, solve_ticks)?)
    }

    #[inline(never)]
    fn make_resident(
        &mut self,
        engine: &mut Engine<'_, LAYERS, LEVELS>,
        plan: Plan<LAYERS>,
        solve_ticks: u64,
    ) -> Result<Planned<LAYERS>, EngineError> {
        let (outcome, copy_ticks) = self.clock.measure(|| engine.load(plan));
        Ok(Planned {
            plan: outcome?.clone(),
            solve_ticks,
            copy_ticks,
        })
    }

    fn infer(
        &mut self,
        engine: &mut Engine<'_, LAYERS, LEVELS>,
        sample: &[u8],
        element: Element,
    ) -> Result<Response<'static, LAYERS>, EngineError> {
        let input = input_of(sample, element);
        let (output, ticks) = self.clock.measure(|| {
            let output = engine.infer_watched(input, |_, step| {
                board::feed();
                step();
            });
            output.map(<[f32]>::len)
        });
        let output_len = output? as u32;
        Ok(Response::Inferred { output_len, ticks })
    }

    fn infer_measured(
        &mut self,
        engine: &mut Engine<'_, LAYERS, LEVELS>,
        sample: &[u8],
        element: Element,
    ) -> Result<Response<'static, LAYERS>, EngineError> {
        let Self {
            clock,
            stack,
            costs,
            cost_count,
            ..
        } = self;
        *cost_count = 0;
        let mut total = 0;
        let output = engine.infer_watched(input_of(sample, element), |tensor, step| {
            board::feed();
            let (((), ticks), stack_bytes) = stack.measure(|| clock.measure(&mut *step));
            // there is room for the input and every layer
            while *cost_count <= tensor {
                costs[*cost_count] = Cost::default();
                *cost_count += 1;
            }
            let cost = &mut costs[tensor];
            cost.ticks += ticks;
            cost.stack_bytes = cost.stack_bytes.max(stack_bytes);
            total += ticks;
        })?;
        Ok(Response::Inferred {
            output_len: output.len() as u32,
            ticks: total,
        })
    }

    fn info(&self, image: Option<ImageInfo>) -> Info<'static> {
        Info {
            board: board::NAME,
            layers: LAYERS as u16,
            levels: LEVELS as u16,
            image_limit_bytes: board::IMAGE_BYTES as u32,
            input_limit_bytes: board::INPUT_BYTES as u32,
            arena_bytes: board::ARENA_BYTES as u32,
            ticks_hz: board::TICKS_HZ,
            empty_ticks: self.empty_ticks,
            image,
        }
    }

    fn stats(&self, arena_used_bytes: u32) -> Stats {
        Stats {
            arena_used_bytes,
            accepted_count: self.link.accepted_count,
            rejected_count: self.link.rejected_count,
            ..memory::stats(&self.stack)
        }
    }
}

/// A sample as the engine takes it.
fn input_of(sample: &[u8], element: Element) -> Input<'_> {
    match element {
        Element::U8 => Input::U8(sample),
        Element::F32 => {
            let whole = sample.len() - sample.len() % size_of::<f32>();
            Input::F32(bytemuck::cast_slice(&sample[..whole]))
        }
    }
}

/// Makes `image` that of these bytes. Not inlined, so that the memory that checking takes is not kept.
#[inline(never)]
fn parse<'b>(image: &mut Image<'b, LAYERS, LEVELS>, bytes: &'b [u8]) -> Result<(), ImageError> {
    image.set_bytes(bytes)
}

fn image_info(image: &Image<'_, LAYERS, LEVELS>, linked: bool, bytes: &[u8]) -> ImageInfo {
    let network = image.network();
    ImageInfo {
        linked,
        bytes: bytes.len() as u32,
        checksum: checksum(bytes),
        layer_count: network.layers.len() as u16,
        input_len: network.input.len() as u32,
        output_len: network.output_shape().len() as u32,
    }
}

/// Part of the network's output as bytes.
fn output<'e>(engine: &'e Engine<'_, LAYERS, LEVELS>, layers: u16, offset: u32) -> &'e [u8] {
    match engine.tensor(usize::from(layers)) {
        Some(View::F32(output)) => {
            let rest = output.get(offset as usize..).unwrap_or(&[]);
            let len = rest.len().min(CHUNK_BYTES / size_of::<f32>());
            bytemuck::cast_slice(&rest[..len])
        }
        Some(View::I8(..)) | None => &[],
    }
}

/// Bytes of the arena that have been written: the plan, and what earlier plans took beyond it.
fn arena_used_bytes(engine: &mut Engine<'_, LAYERS, LEVELS>) -> u32 {
    let spare = engine.spare();
    let untouched = spare.iter().rev().take_while(|byte| **byte == PAINT);
    let untouched = untouched.count();
    (board::ARENA_BYTES - untouched) as u32
}

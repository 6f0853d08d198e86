//! One image on a device at several budgets, beside the same on the host.

use std::io::{Read, Write};

use bitbudget_core::engine::{EngineError, Input};
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, LimitsTooSmall};
use bitbudget_core::protocol::{Info, Refusal, Stats, checksum};

use super::client::{Client, DeviceError, Sample};
use super::emulator::Emulator;
use crate::capacity::{HostEngine, HostImage, HostPlan};
use crate::evaluate::ArenaMemory;

/// The unit of a device's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Instructions, in the emulator.
    Instructions,
    /// Cycles of the clock, on hardware.
    Cycles,
}

impl Unit {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Cycles => "cycles",
        }
    }

    /// A measured number of ticks in this unit, less the overhead of measuring.
    #[must_use]
    pub fn count(self, ticks: u64, info: &Info<'_>) -> u64 {
        let count = |ticks| match self {
            Self::Instructions => Emulator::instructions(ticks, info.ticks_hz),
            Self::Cycles => ticks,
        };
        count(ticks).saturating_sub(count(info.empty_ticks))
    }
}

/// A device with an image, and the same image on the host.
#[derive(Debug)]
pub struct Session<'i, P> {
    client: Client<P>,
    info: Info<'static>,
    board: String,
    unit: Unit,
    image: &'i HostImage<'i>,
}

/// The outcome for some limits.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// They were planned for, and the plan run.
    Run(Box<Row>),
    /// No layout is within them.
    TooSmall {
        /// What would do.
        refused: LimitsTooSmall,
        /// Whether the host says the same.
        matches: bool,
    },
    /// The device has less RAM than the plan takes.
    DeviceTooSmall {
        /// Bytes that the plan takes.
        needed_bytes: u64,
        /// Bytes that the device has.
        arena_bytes: u64,
    },
}

/// One budget on the device, beside the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The device's plan.
    pub plan: HostPlan,
    /// Ticks of solving.
    pub solve: u64,
    /// Ticks of moving and copying weights.
    pub copy: u64,
    /// Ticks of the first inference; `None` without samples.
    pub infer: Option<u64>,
    /// Whether the host makes the same plan: levels, bytes, price, bound and nodes.
    pub plan_matches: bool,
    /// Whether the host's outputs are the same bits, for every sample.
    pub outputs_match: bool,
}

impl Answer {
    /// Whether the host came to the same.
    #[must_use]
    pub const fn matches(&self) -> bool {
        match self {
            Self::Run(row) => row.plan_matches && row.outputs_match,
            Self::TooSmall { matches, .. } => *matches,
            Self::DeviceTooSmall { .. } => true,
        }
    }
}

impl<'i, P: Read + Write> Session<'i, P> {
    /// Begins a session and has the device use the image, whose bytes are `bytes`: they are sent
    /// unless the device has it linked in; `progress` is told the bytes sent so far.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn begin(
        pipe: P,
        unit: Unit,
        image: &'i HostImage<'i>,
        bytes: &[u8],
        progress: &dyn Fn(usize),
    ) -> Result<Self, DeviceError> {
        let mut client = Client::new(pipe);
        let (info, board) = client.begin()?;
        let same = (bytes.len() as u32, checksum(bytes));
        let linked = info.image.filter(|image| image.linked);
        if linked.is_some_and(|image| (image.bytes, image.checksum) == same) {
            client.load_linked()?;
        } else {
            client.load(bytes, progress)?;
        }
        Ok(Self {
            client,
            info,
            board,
            unit,
            image,
        })
    }

    /// The device's capacities.
    #[must_use]
    pub const fn info(&self) -> &Info<'static> {
        &self.info
    }

    /// The board's name.
    #[must_use]
    pub fn board(&self) -> &str {
        &self.board
    }

    /// The unit of the rows' counts.
    #[must_use]
    pub const fn unit(&self) -> Unit {
        self.unit
    }

    /// The memory that the device has used, and its counts of frames.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn stats(&mut self) -> Result<Stats, DeviceError> {
        self.client.stats()
    }

    /// Plans for limits, with the weights in these places, visiting at most `node_limit` nodes, and runs the
    /// samples, on the device and on the host, whose plan for it is `host`.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn run(
        &mut self,
        limits: Limits,
        places: Places,
        node_limit: u64,
        host: &Result<HostPlan, LimitsTooSmall>,
        samples: &[Input<'_>],
    ) -> Result<Answer, DeviceError> {
        let planned = match self.client.replan(limits, places, node_limit) {
            Ok(planned) => planned,
            Err(DeviceError::Refused(Refusal::Engine(EngineError::Limits(refused)))) => {
                return Ok(Answer::TooSmall {
                    matches: *host == Err(refused),
                    refused,
                });
            }
            Err(DeviceError::Refused(Refusal::Engine(EngineError::ArenaTooSmall {
                needed_bytes,
                arena_bytes,
            }))) => {
                return Ok(Answer::DeviceTooSmall {
                    needed_bytes,
                    arena_bytes: arena_bytes as u64,
                });
            }
            Err(error) => return Err(error),
        };
        let ours = host.as_ref().ok();
        let mut row = Row {
            solve: self.unit.count(planned.solve_ticks, &self.info),
            copy: self.unit.count(planned.copy_ticks, &self.info),
            infer: None,
            plan_matches: ours == Some(&planned.plan),
            outputs_match: ours.is_some(),
            plan: planned.plan,
        };
        if let Some(host) = ours {
            self.run_samples(host, samples, &mut row)?;
        }
        Ok(Answer::Run(Box::new(row)))
    }

    fn run_samples(
        &mut self,
        host: &HostPlan,
        samples: &[Input<'_>],
        row: &mut Row,
    ) -> Result<(), DeviceError> {
        let mut memory = ArenaMemory::new(host.ram_bytes() as usize);
        let refused = |error: EngineError| DeviceError::Refused(error.into());
        let mut engine = HostEngine::new(self.image, memory.lend()).map_err(refused)?;
        engine.load(host.clone()).map_err(refused)?;
        for input in samples {
            let (output, ticks) = self.client.infer(&Sample::from(*input))?;
            let expected = engine.infer(*input).map_err(refused)?;
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            row.outputs_match &= bits(&output) == bits(expected);
            row.infer.get_or_insert(self.unit.count(ticks, &self.info));
        }
        Ok(())
    }
}

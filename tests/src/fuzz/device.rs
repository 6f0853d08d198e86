//! A device's answers to the host: whatever they are, a session comes to an end.
//!
//! An input is a script of answers, each a byte for its kind, two for its length and as many bytes. When
//! they are used up, the connection breaks.

use std::io::{self, Read, Write};
use std::sync::LazyLock;

use bitbudget::capacity::{HostImage, HostPlan, HostPlanner, MAX_LAYERS};
use bitbudget::device::{Answer, DeviceError, Session, Unit};
use bitbudget_core::engine::{EngineError, Input};
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, LimitsTooSmall};
use bitbudget_core::protocol::frame::{MAX_FRAME, MAX_MESSAGE, Receiver, encode};
use bitbudget_core::protocol::{
    CHUNK_BYTES, ImageInfo, Info, Planned, Refusal, Request, Response, Stats,
};
use rand::Rng;
use rand::rngs::SmallRng;

use super::frame::Raw;
use crate::generate;

const NODE_LIMIT: u64 = 1000;
const BUDGETS: [Limits; 2] = [Limits::ram(u64::MAX), Limits::ram(0)];

type Reply<'a> = Response<'a, MAX_LAYERS>;
type HostPlans = [Result<HostPlan, LimitsTooSmall>; BUDGETS.len()];

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| generate::small().emit());
static IMAGE: LazyLock<HostImage<'static>> =
    LazyLock::new(|| HostImage::parse(&BYTES).expect("an image"));
static PLANS: LazyLock<HostPlans> = LazyLock::new(|| {
    let network = IMAGE.network();
    let mut planner = Box::new(HostPlanner::new(network));
    BUDGETS.map(|budget| planner.plan(network, budget, NODE_LIMIT))
});

/// A device that answers by a script.
#[derive(Debug)]
struct Device<'s> {
    script: &'s [u8],
    heard: Receiver,
    /// The last request.
    asked: String,
    answer: Vec<u8>,
    /// The bytes of the answer that were read.
    read_len: usize,
}

impl Device<'_> {
    fn answer(&mut self, sequence: u16) {
        let request = self.heard.message::<Request<'_>>().expect("a request");
        let asked = format!("{request:?}");
        // the host asks for the next thing, or it would ask for ever
        assert!(asked != self.asked || request == Request::Info, "{asked}");
        self.asked = asked;
        let Some((kind, bytes)) = next_step(&mut self.script) else {
            return;
        };
        let mut buffer = [0; MAX_FRAME];
        let message = Raw(&bytes[..bytes.len().min(MAX_MESSAGE)]);
        let answer = match kind % 4 {
            0 | 1 => encode(sequence, &message, &mut buffer).expect("it fits"),
            2 => encode(0, &message, &mut buffer).expect("it fits"),
            _ => bytes,
        };
        self.answer = answer.to_vec();
        self.read_len = 0;
    }
}

impl Write for Device<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            if let Some(Ok(sequence)) = self.heard.push(*byte) {
                self.answer(sequence);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Device<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read_len = (&self.answer[self.read_len..]).read(buffer)?;
        self.read_len += read_len;
        Ok(read_len)
    }
}

/// The next step of a script, and what is left of it.
fn next_step<'s>(script: &mut &'s [u8]) -> Option<(u8, &'s [u8])> {
    let [kind, low, high, rest @ ..] = *script else {
        return None;
    };
    let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (bytes, after) = rest.split_at(len);
    *script = after;
    Some((*kind, bytes))
}

pub(super) fn run(script: &[u8]) -> bool {
    let device = Device {
        script,
        heard: Receiver::new(),
        asked: String::new(),
        answer: Vec::new(),
        read_len: 0,
    };
    let begun = Session::begin(device, Unit::Instructions, &IMAGE, &BYTES, &|_| {});
    let is_begun = begun.is_ok();
    if let Err(error) = begun.and_then(compare) {
        assert!(!error.to_string().is_empty());
    }
    is_begun
}

/// All that the host does with a device that it compares itself with.
fn compare(mut session: Session<'_, Device<'_>>) -> Result<(), DeviceError> {
    let input = vec![7; IMAGE.network().input.len()];
    for (budget, host) in BUDGETS.into_iter().zip(PLANS.iter()) {
        let answer = session.run(
            budget,
            Places::Ram,
            NODE_LIMIT,
            host,
            &[Input::U8(&input); 2],
        )?;
        if let Answer::Run(row) = &answer {
            let is_like_host = host.as_ref() == Ok(&row.plan);
            assert_eq!(row.plan_matches, is_like_host, "{row:?}");
            assert!(row.plan.ram_bytes() >= u64::from(row.plan.arena_bytes));
        }
    }
    session.stats()?;
    Ok(())
}

/// Replaces some answers of a script by others that a device could give, at its worst; in place of an
/// empty script, those of a device that does as it is asked.
pub(super) fn mutate(script: &mut Vec<u8>, rng: &mut SmallRng) {
    let mut rest = script.as_slice();
    let steps = std::iter::from_fn(|| next_step(&mut rest));
    let mut steps: Vec<(u8, Vec<u8>)> = steps.map(|(kind, of)| (kind, of.to_vec())).collect();
    if steps.is_empty() {
        steps = honest();
    } else {
        for _ in 0..rng.random_range(1..3) {
            let at = rng.random_range(0..steps.len());
            steps[at] = step(&worst(rng));
        }
    }
    script.clear();
    for (kind, bytes) in steps {
        script.push(kind);
        script.extend((bytes.len() as u16).to_le_bytes());
        script.extend(bytes);
    }
}

fn step(reply: &Reply<'_>) -> (u8, Vec<u8>) {
    (0, postcard::to_allocvec(reply).expect("it is made of data"))
}

/// The answers of a device that does as it is asked, but for the numbers of its outputs.
fn honest() -> Vec<(u8, Vec<u8>)> {
    let image = ImageInfo {
        linked: false,
        bytes: BYTES.len() as u32,
        checksum: 0,
        layer_count: 4,
        input_len: 12,
        output_len: 3,
    };
    let received = Reply::Received { bytes: 0 };
    let mut steps = vec![step(&info(1 << 16, 1000)), step(&received)];
    steps.extend(BYTES.chunks(CHUNK_BYTES).map(|_| step(&received)));
    steps.push(step(&Reply::Loaded(image)));
    for plan in PLANS.iter() {
        match plan {
            Err(error) => {
                let error = EngineError::Limits(*error);
                steps.push(step(&Reply::Refused(Refusal::Engine(error))));
            }
            Ok(plan) => {
                steps.push(step(&Reply::Planned(Planned {
                    plan: plan.clone(),
                    solve_ticks: 1,
                    copy_ticks: 2,
                })));
                for _ in 0..2 {
                    steps.push(step(&received));
                    steps.push(step(&Reply::Inferred {
                        output_len: 3,
                        ticks: 4,
                    }));
                    steps.push(step(&Reply::Output { bytes: &[0; 12] }));
                }
            }
        }
    }
    steps.push(step(&Reply::Stats(stats(8))));
    steps
}

fn info(bytes: u32, ticks_hz: u32) -> Reply<'static> {
    Reply::Info(Info {
        board: "b",
        layers: 64,
        levels: 8,
        image_limit_bytes: bytes,
        input_limit_bytes: bytes,
        arena_bytes: bytes,
        ticks_hz,
        empty_ticks: 0,
        image: None,
    })
}

const fn stats(bytes: u32) -> Stats {
    Stats {
        arena_used_bytes: bytes,
        static_bytes: bytes,
        stack_used_bytes: bytes,
        stack_bytes: bytes,
        accepted_count: bytes,
        rejected_count: bytes,
    }
}

/// An answer with extreme numbers.
fn worst(rng: &mut SmallRng) -> Reply<'static> {
    const OUTPUT: [u8; 1024] = [0xff; 1024];
    const LENGTHS: [usize; 6] = [0, 1, 3, 4, 12, 1024];
    let number = [0, 1, u32::MAX][rng.random_range(0..3)];
    let ticks = u64::from(number) << rng.random_range(0..33);
    match rng.random_range(0..7) {
        0 => info(number, number),
        1 => Reply::Received { bytes: number },
        2 => Reply::Inferred {
            output_len: number,
            ticks,
        },
        3 => Reply::Output {
            bytes: &OUTPUT[..LENGTHS[rng.random_range(0..LENGTHS.len())]],
        },
        4 => Reply::Stats(stats(number)),
        5 => Reply::Refused(Refusal::Engine(EngineError::ArenaTooSmall {
            needed_bytes: ticks,
            arena_bytes: number as usize,
        })),
        _ => {
            let plan = PLANS[0].clone().expect("nothing is too small");
            let mut planned = Planned {
                plan,
                solve_ticks: ticks,
                copy_ticks: u64::MAX,
            };
            planned.plan.weight_bytes = number;
            planned.plan.arena_bytes = number;
            planned.plan.levels.truncate(rng.random_range(0..5));
            Reply::Planned(planned)
        }
    }
}

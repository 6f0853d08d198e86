//! The firmware's end of the protocol in QEMU: it survives anything.
//!
//! Without QEMU or the target these tests say so and pass; `./setup.sh` installs both.

use std::fs;
use std::io::Write;

use bitbudget::capacity::HostImage;
use bitbudget::device::{self, Client, DeviceError, Emulator, Sample};
use bitbudget::evaluate::sample;
use bitbudget_core::engine::EngineError;
use bitbudget_core::image::ImageError;
use bitbudget_core::level::Level;
use bitbudget_core::place::{Place, Places};
use bitbudget_core::plan::Limits;
use bitbudget_core::protocol::frame::{FrameError, MAX_FRAME, encode};
use bitbudget_core::protocol::{CHUNK_BYTES, Element, Refusal, Request, Response, checksum};
use bitbudget_tests::builder::Style;
use bitbudget_tests::emulated::{
    DIGIT_LEN, client, digits, digits_image, range, root, without_ticks,
};
use bitbudget_tests::generate;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

#[test]
fn an_image_that_comes_over_the_wire_is_used_and_a_broken_one_refused() {
    let Some(mut client) = client() else {
        return;
    };
    let (mut bytes, data) = (digits_image(), digits());
    let input = Sample::from(sample(&data, 0, DIGIT_LEN));
    let budget = Limits::ram(u64::MAX);
    client.info().expect("an answer");
    client
        .replan(budget, Places::Ram, u64::MAX)
        .expect("a plan");
    let linked = client.infer(&input).expect("an output").0;
    let info = client.load(&bytes, &|_| {}).expect("an image");
    assert!(!info.linked);
    assert!(matches!(
        client.infer(&input),
        Err(DeviceError::Refused(Refusal::Engine(EngineError::NoPlan)))
    ));
    client
        .replan(budget, Places::Ram, u64::MAX)
        .expect("a plan");
    assert_eq!(client.infer(&input).expect("an output").0, linked);
    // a bias that is no number, or one that no accumulator has room for, under a checksum that is right
    let at = HostImage::parse(&bytes).expect("an image").blocks_at() as usize;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let crc = checksum(&bytes).to_le_bytes();
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&crc);
    let refused = client.load(&bytes, &|_| {}).expect_err("an unusable bias");
    let expected = HostImage::parse(&bytes).expect_err("an unusable bias");
    assert!(matches!(
        expected,
        ImageError::Block {
            layer: 0,
            offset: 0
        }
    ));
    assert!(matches!(refused, DeviceError::Refused(Refusal::Image(error)) if error == expected));
    assert!(matches!(
        client.replan(budget, Places::Ram, u64::MAX),
        Err(DeviceError::Refused(Refusal::NoImage))
    ));
    client.load_linked().expect("still there");
    client
        .replan(budget, Places::Ram, u64::MAX)
        .expect("a plan");
    assert_eq!(client.infer(&input).expect("an output").0, linked);
}

#[test]
fn an_image_beyond_the_capacities_is_refused_with_the_limit() {
    let Some(mut client) = client() else {
        return;
    };
    let (info, _) = client.info().expect("an answer");
    let capacities = [info.layers, info.levels].map(usize::from);
    assert_eq!(capacities, [device::LAYERS, device::LEVELS]);
    let bytes = generate::model_at(1, Style::Real, 2, &Level::ALL).emit();
    let image = HostImage::parse(&bytes).expect("an image");
    let expected = device::check_capacity(image.network()).expect_err("11 levels");
    assert!(matches!(
        expected,
        ImageError::Levels {
            found: 11,
            limit: 8,
            ..
        }
    ));
    let refused = client.load(&bytes, &|_| {}).expect_err("11 levels");
    assert!(matches!(refused, DeviceError::Refused(Refusal::Image(error)) if error == expected));
}

/// Asks until the answers to what was sent before are all there.
fn in_step(client: &mut Client<Emulator>) {
    for _ in 0..10_000 {
        match client.info() {
            Ok(_) => return,
            Err(DeviceError::Refused(Refusal::Frame(_))) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("only refusals");
}

#[test]
fn garbage_is_refused_and_the_device_goes_on() {
    let Some(mut client) = client() else {
        return;
    };
    let mut rng = SmallRng::seed_from_u64(23);
    in_step(&mut client);
    client
        .replan(Limits::ram(u64::MAX), Places::Ram, u64::MAX)
        .expect("a plan");
    for round in 0..60 {
        let mut garbage = vec![0; rng.random_range(1..3 * MAX_FRAME)];
        rng.fill_bytes(&mut garbage);
        match round % 3 {
            // over-long
            0 => garbage.iter_mut().for_each(|byte| *byte = (*byte).max(1)),
            // several frames of noise
            1 => {}
            // a request cut off or damaged
            _ => {
                let mut buffer = [0; MAX_FRAME];
                let bytes = &garbage[..garbage.len().min(CHUNK_BYTES)];
                let request = Request::LoadChunk { offset: 0, bytes };
                let frame = encode(7, &request, &mut buffer).expect("it fits");
                let keep = rng.random_range(1..frame.len());
                frame[rng.random_range(0..keep)] ^= 1 << rng.random_range(0..8);
                garbage = frame[..keep].to_vec();
            }
        }
        garbage.push(0);
        client.pipe().write_all(&garbage).expect("the pipe is open");
        in_step(&mut client);
    }
    let stats = client.stats().expect("statistics");
    assert!(stats.rejected_count >= 60, "{stats:?}");
    // the plan is still resident
    let input = Sample::from(sample(&digits(), 0, DIGIT_LEN));
    client.infer(&input).expect("an output");
}

/// Requests and answers as they are logged.
struct Script {
    client: Client<Emulator>,
    log: String,
}

impl Script {
    fn note(&mut self, asked: &str, answer: &str) {
        self.log += &format!("> {asked}\n< {answer}\n");
    }

    fn say(&mut self, number: u16, request: &Request<'_>) {
        let asked = match request {
            Request::LoadChunk { offset, bytes } => {
                format!("LoadChunk {{ offset: {offset}, {} bytes }}", bytes.len())
            }
            Request::Input { offset, bytes } => {
                format!("Input {{ offset: {offset}, {} bytes }}", bytes.len())
            }
            Request::Info
            | Request::LoadBegin { .. }
            | Request::LoadEnd
            | Request::LoadLinked
            | Request::Replan { .. }
            | Request::Infer { .. }
            | Request::Output { .. }
            | Request::Stats
            | Request::InferMeasured { .. }
            | Request::Cost { .. }
            | Request::Choose { .. } => format!("{request:?}"),
        };
        let answer = self.client.call_numbered(number, request, |response| {
            Some(match &response {
                Response::Planned(planned) => format!("{:?}", without_ticks(planned.clone())),
                Response::Inferred { output_len, .. } => format!("Inferred {{ {output_len} }}"),
                Response::Info(info) => {
                    format!("Info {{ board: {}, image: {:?} }}", info.board, info.image)
                }
                Response::Stats(stats) => format!(
                    "Stats {{ accepted_count: {}, rejected_count: {} }}",
                    stats.accepted_count, stats.rejected_count
                ),
                Response::Cost(cost) => {
                    assert!(cost.ticks > 0 && cost.stack_bytes > 0, "{cost:?}");
                    "Cost".to_owned()
                }
                Response::Received { .. }
                | Response::Loaded(_)
                | Response::Output { .. }
                | Response::Refused(_) => format!("{response:?}"),
            })
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(DeviceError::Refused(refusal)) => format!("refused: {refusal} ({refusal:?})"),
            Err(error) => panic!("{asked}: {error:?}"),
        };
        self.note(&format!("{number} {asked}"), &answer);
    }

    fn send(&mut self, what: &str, bytes: &[u8]) {
        let pipe = self.client.pipe();
        pipe.write_all(bytes).expect("the pipe is open");
        let refusal = self.client.refusal().expect("a refusal");
        self.note(what, &format!("refused: {refusal} ({refusal:?})"));
    }
}

#[test]
fn a_scripted_session_is_answered_word_for_word() {
    let Some(client) = client() else {
        return;
    };
    let mut script = Script {
        client,
        log: String::new(),
    };
    let bytes = digits_image();
    let image = HostImage::parse(&bytes).expect("an image");
    let (smallest, largest) = range(&image);
    let node_limit = u64::MAX;
    let pixels: Vec<u8> = (0..64).map(|i| i % 17).collect();
    let replan = |bytes| Request::Replan {
        places: Places::Ram,
        limits: Limits::ram(bytes),
        node_limit,
    };
    let element = Element::U8;
    let input = |offset: u32, bytes| Request::Input { offset, bytes };
    script.say(3, &Request::Stats);
    script.say(9, &Request::Info);
    script.say(10, &Request::Infer { element });
    script.say(11, &replan(smallest - 1));
    script.say(12, &replan(largest));
    script.say(13, &Request::Infer { element });
    script.say(14, &input(0, &pixels[..40]));
    script.say(15, &input(30, &pixels[30..]));
    script.say(16, &input(40, &pixels[40..]));
    script.say(17, &Request::Infer { element });
    script.say(18, &Request::Output { offset: 8 });
    script.say(19, &Request::Output { offset: 10 });
    script.say(19, &Request::Stats);
    script.say(21, &Request::Stats);
    script.say(20, &replan(smallest));
    script.say(21, &Request::LoadEnd);
    let mut buffer = [0; MAX_FRAME];
    let frame = encode(22, &Request::Info, &mut buffer).expect("it fits");
    script.send("a frame without its first bytes", &frame[4..]);
    script.send("a frame with another bit", &{
        let mut other = frame.to_vec();
        other[2] ^= 64;
        other
    });
    let long = [vec![1; 2 * MAX_FRAME], vec![0]].concat();
    script.send("a frame that does not end", &long);
    let unknown = encode(22, &250_u8, &mut buffer).expect("it fits");
    script.send("an unknown request", unknown);
    let (len, checksum) = (2 * CHUNK_BYTES as u32, 12_345);
    let chunk = |offset: usize| Request::LoadChunk {
        offset: offset as u32,
        bytes: &bytes[offset..offset + CHUNK_BYTES],
    };
    script.say(
        22,
        &Request::LoadBegin {
            len: u32::MAX,
            checksum,
        },
    );
    script.say(23, &chunk(0));
    script.say(24, &Request::LoadBegin { len, checksum });
    script.say(25, &replan(largest));
    script.say(26, &chunk(CHUNK_BYTES));
    script.say(27, &chunk(0));
    script.say(28, &Request::LoadEnd);
    script.say(29, &chunk(CHUNK_BYTES));
    script.say(30, &chunk(2 * CHUNK_BYTES));
    script.say(31, &Request::LoadEnd);
    script.say(32, &Request::Stats);
    script.say(33, &Request::LoadLinked);
    script.say(34, &replan(smallest));
    script.say(35, &Request::Info);
    script.say(36, &Request::Stats);
    script.say(37, &Request::Cost { tensor: 0 });
    script.say(
        38,
        &Request::Choose {
            place: Place::Ram,
            items: &[0; 8],
        },
    );
    script.say(
        39,
        &Request::Choose {
            place: Place::Ram,
            items: &[9; 9],
        },
    );
    script.say(
        40,
        &Request::Choose {
            place: Place::Ram,
            items: &[0; 9],
        },
    );
    script.say(41, &Request::InferMeasured { element });
    script.say(42, &input(0, &pixels));
    script.say(43, &Request::InferMeasured { element });
    script.say(44, &Request::Output { offset: 8 });
    script.say(45, &Request::Cost { tensor: 0 });
    script.say(46, &Request::Cost { tensor: 9 });
    script.say(47, &Request::Cost { tensor: 10 });
    script.say(48, &Request::LoadLinked);
    script.say(49, &Request::Cost { tensor: 0 });
    compare(&script.log, "tests/tests/device_protocol.log");
}

/// Compares with a file of the source; `BITBUDGET_UPDATE=1` writes the file instead.
fn compare(found: &str, file: &str) {
    let path = root().join(file);
    if std::env::var_os("BITBUDGET_UPDATE").is_some() {
        fs::write(&path, found).expect("the source can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let lines = expected.lines().zip(found.lines());
    for (i, (expected, found)) in lines.enumerate() {
        assert_eq!(expected, found, "{file}, line {}", i + 1);
    }
    assert_eq!(
        expected.len(),
        found.len(),
        "{file} (BITBUDGET_UPDATE=1 writes it anew)"
    );
}

#[test]
fn a_frame_of_another_version_is_refused() {
    let Some(mut client) = client() else {
        return;
    };
    // version 1, number 1, and nothing else; neither has a zero byte but for the number's high one
    let raw = [1, 1, 0];
    let crc = crc_of(&raw).to_le_bytes();
    assert!(!crc.contains(&0));
    let mut frame = vec![3, raw[0], raw[1], 5];
    frame.extend(crc);
    frame.push(0);
    client.pipe().write_all(&frame).expect("the pipe is open");
    let refusal = client.refusal().expect("a refusal");
    assert_eq!(refusal, Refusal::Frame(FrameError::Version(1)));
    client.info().expect("an answer");
}

/// CRC-32, ISO-HDLC.
fn crc_of(bytes: &[u8]) -> u32 {
    checksum(&[bytes, &[0; 4]].concat())
}

//! Whole sessions with the firmware's server: every frame is answered once.
//!
//! An input is a script of steps, each a byte for its kind, two for its length and as many bytes.

use std::cell::RefCell;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::LazyLock;

use bitbudget_core::place::Places;
use bitbudget_core::plan::Limits;
use bitbudget_core::protocol::frame::{MAX_FRAME, MAX_MESSAGE, Receiver, encode};
use bitbudget_core::protocol::{CHUNK_BYTES, Element, Request, Response, checksum};
use embedded_io::{ErrorType, Read, Write};

use super::frame::Raw;
use super::image::mend;
use crate::firmware::{self, LAYERS};
use crate::generate;

/// The most nodes that a request may ask for.
const MOST_NODES: u64 = 1000;

/// The bytes to send, frame by frame.
#[derive(Default)]
struct Script {
    bytes: Vec<u8>,
    number: u16,
}

impl Script {
    fn request(&mut self, request: &Request<'_>) {
        let mut bounded = *request;
        if let Request::Replan { node_limit, .. } = &mut bounded {
            *node_limit = MOST_NODES.min(*node_limit);
        }
        self.frame(&bounded);
    }

    fn frame(&mut self, message: &impl serde::Serialize) {
        self.number = self.number % u16::MAX + 1;
        let mut buffer = [0; MAX_FRAME];
        let frame = encode(self.number, message, &mut buffer).expect("it fits");
        self.bytes.extend_from_slice(frame);
    }

    /// An image in chunks, a plan and an inference.
    fn load(&mut self, image: &[u8]) {
        let mut image = image.to_vec();
        mend(&mut image);
        self.request(&Request::LoadBegin {
            len: image.len() as u32,
            checksum: checksum(&image),
        });
        for (i, bytes) in image.chunks(CHUNK_BYTES).enumerate() {
            let offset = (i * CHUNK_BYTES) as u32;
            self.request(&Request::LoadChunk { offset, bytes });
        }
        self.request(&Request::LoadEnd);
        self.request(&Request::Replan {
            places: Places::Ram,
            limits: Limits::ram(u64::MAX),
            node_limit: MOST_NODES,
        });
        let element = Element::U8;
        self.request(&Request::InferMeasured { element });
    }

    fn step(&mut self, kind: u8, bytes: &[u8]) {
        match kind % 4 {
            0 => match postcard::take_from_bytes(bytes) {
                Ok((request, [])) => self.request(&request),
                Ok(_) | Err(_) => self.frame(&Raw(&bytes[..bytes.len().min(MAX_MESSAGE)])),
            },
            1 => self.load(bytes),
            2 => self.bytes.extend_from_slice(bytes),
            _ => self.request(&Request::Info),
        }
    }
}

/// The host's end: sends a script, and keeps what comes back.
struct Pipe {
    sent: std::vec::IntoIter<u8>,
    received: Rc<RefCell<Vec<u8>>>,
}

/// The script has ended.
struct End;

impl ErrorType for Pipe {
    type Error = Infallible;
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        match (self.sent.next(), buffer.first_mut()) {
            (Some(byte), Some(place)) => *place = byte,
            // the server serves for ever
            (None, _) => resume_unwind(Box::new(End)),
            (Some(_), None) => {}
        }
        Ok(1)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.received.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A session by the script that the bytes are.
pub(super) fn run(mut bytes: &[u8]) -> bool {
    static LINKED: LazyLock<Vec<u8>> = LazyLock::new(|| generate::small().emit());
    let mut script = Script::default();
    script.request(&Request::Info);
    while let [kind, low, high, rest @ ..] = bytes {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (step, after) = rest.split_at(len);
        script.step(*kind, step);
        bytes = after;
    }
    // whatever came before, the server is in step after the end of a frame
    script.bytes.push(0);
    script.request(&Request::Info);
    let mut expected = Receiver::new();
    let frames = script.bytes.iter().filter(|b| expected.push(**b).is_some());
    let frame_count = frames.count();
    let received = Rc::new(RefCell::new(Vec::new()));
    let pipe = Pipe {
        sent: script.bytes.into_iter(),
        received: Rc::clone(&received),
    };
    let served = catch_unwind(AssertUnwindSafe(|| firmware::serve(pipe, &LINKED)));
    if let Err(panic) = served
        && !panic.is::<End>()
    {
        resume_unwind(panic);
    }
    check(&received.borrow(), frame_count)
}

/// Checks that there is one response to every frame, and the last one is to `Info`; whether the server
/// did what another frame asked for.
fn check(received: &[u8], frame_count: usize) -> bool {
    let mut receiver = Receiver::new();
    let (mut response_count, mut done_count) = (0, 0);
    let mut is_info = false;
    for byte in received {
        if let Some(frame) = receiver.push(*byte) {
            frame.expect("a whole frame");
            let response = receiver.message::<Response<'_, LAYERS>>();
            let response = response.expect("a response");
            is_info = matches!(response, Response::Info(_));
            response_count += 1;
            done_count += usize::from(!matches!(response, Response::Refused(_)));
        }
    }
    assert_eq!(response_count, frame_count);
    assert!(is_info);
    done_count > 2
}

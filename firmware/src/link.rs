//! Requests in, responses out, over the board's serial port.

use bitbudget_core::protocol::frame::{MAX_FRAME, Receiver, encode};
use bitbudget_core::protocol::{Refusal, Request, Response};
use embedded_io::{Read, Write};

use super::board::LAYERS;
use super::log::warn;

/// The memory of a link.
pub(crate) struct Buffers {
    receiver: Receiver,
    sent: [u8; MAX_FRAME],
}

impl Buffers {
    pub(crate) const fn new() -> Self {
        Self {
            receiver: Receiver::new(),
            sent: [0; MAX_FRAME],
        }
    }
}

/// The device's end of the pipe.
pub(crate) struct Link<'b, P> {
    pipe: P,
    buffers: &'b mut Buffers,
    /// The sequence number that is due; 0 before the first session.
    due: u16,
    pub(crate) accepted_count: u32,
    pub(crate) rejected_count: u32,
}

impl<'b, P: Read + Write> Link<'b, P> {
    pub(crate) fn new(pipe: P, buffers: &'b mut Buffers) -> Self {
        Self {
            pipe,
            buffers,
            due: 0,
            accepted_count: 0,
            rejected_count: 0,
        }
    }

    /// Waits for the next request in sequence, and refuses everything else meanwhile.
    pub(crate) fn receive(&mut self) -> (u16, Request<'_>) {
        let sequence = loop {
            match self.next() {
                Ok(sequence) => break sequence,
                Err((sequence, refusal)) => {
                    self.rejected_count += 1;
                    warn!("refused request {=u16}", sequence);
                    self.answer(sequence, Err(refusal));
                }
            }
        };
        self.accepted_count += 1;
        self.due = if sequence == u16::MAX {
            1
        } else {
            sequence + 1
        };
        // it was understood in `next`
        let request = self.buffers.receiver.message();
        (sequence, request.unwrap_or(Request::Info))
    }

    /// The sequence number of the next frame, or what is wrong with it.
    fn next(&mut self) -> Result<u16, (u16, Refusal)> {
        let sequence = loop {
            let mut byte = [0];
            if matches!(self.pipe.read(&mut byte), Ok(1))
                && let Some(frame) = self.buffers.receiver.push(byte[0])
            {
                break frame.map_err(|error| (0, error.into()))?;
            }
        };
        match self.buffers.receiver.message() {
            Err(error) => Err((sequence, Refusal::Frame(error))),
            Ok(Request::Info) if sequence != 0 => Ok(sequence),
            Ok(_) if sequence != 0 && sequence == self.due => Ok(sequence),
            Ok(_) => {
                let (expected, found) = (self.due, sequence);
                Err((sequence, Refusal::Sequence { expected, found }))
            }
        }
    }

    /// Answers the request of this number.
    pub(crate) fn answer(&mut self, sequence: u16, outcome: Result<Response<'_, LAYERS>, Refusal>) {
        let response = outcome.unwrap_or_else(Response::Refused);
        // no response is longer than a frame, and a broken pipe has no one to tell
        if let Some(frame) = encode(sequence, &response, &mut self.buffers.sent) {
            let _ = self.pipe.write_all(frame);
            let _ = self.pipe.flush();
        }
    }
}

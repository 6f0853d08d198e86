//! The host's end of the protocol.

use std::io::{self, ErrorKind, Read, Write};

use bitbudget_core::engine::Input;
use bitbudget_core::place::{Place, Places};
use bitbudget_core::plan::Limits;
use bitbudget_core::protocol::frame::{FrameError, MAX_FRAME, Receiver, encode};
use bitbudget_core::protocol::{
    self, CHUNK_BYTES, Cost, Element, ImageInfo, Info, Refusal, Request, Response, Stats, checksum,
};

use crate::capacity::MAX_LAYERS;

/// A plan as the device reports it.
pub type Planned = protocol::Planned<MAX_LAYERS>;

/// Why a device did not do what it was asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum DeviceError {
    /// The pipe broke.
    #[error("the connection to the device broke")]
    Pipe(#[from] io::Error),
    /// The pipe's time limit passed without an answer.
    #[error("the device does not answer")]
    #[diagnostic(help(
        "is it bitbudget's firmware that runs there, and of the same version? Is the port the right one?"
    ))]
    Silent,
    /// The device refused.
    #[error("the device refused: {0}")]
    Refused(Refusal),
    /// The bytes that came back are no answer.
    #[error("the device's answer cannot be read: {0}")]
    Garbled(FrameError),
    /// The answer belongs to another request.
    #[error("the device answered something else")]
    OtherAnswer,
}

/// One sample as it travels.
#[derive(Clone, Debug)]
pub struct Sample {
    element: Element,
    bytes: Vec<u8>,
}

impl From<Input<'_>> for Sample {
    fn from(input: Input<'_>) -> Self {
        let (element, bytes) = match input {
            Input::U8(raw) => (Element::U8, raw.to_vec()),
            Input::I8(raw) => {
                let reals = raw.iter().map(|x| f32::from(*x));
                (Element::F32, reals.flat_map(f32::to_le_bytes).collect())
            }
            Input::F32(raw) => {
                let bytes = raw.iter().flat_map(|x| x.to_le_bytes());
                (Element::F32, bytes.collect())
            }
        };
        Self { element, bytes }
    }
}

/// A device at the other end of a byte pipe, whose reads give up after a time of the pipe's own.
#[derive(Debug)]
pub struct Client<P> {
    pipe: P,
    receiver: Receiver,
    sequence: u16,
}

type Reply<'a> = Response<'a, MAX_LAYERS>;

impl<P: Read + Write> Client<P> {
    /// The client of this pipe; nothing is sent yet.
    pub const fn new(pipe: P) -> Self {
        Self {
            pipe,
            receiver: Receiver::new(),
            sequence: 0,
        }
    }

    /// The pipe, to send bytes that are no requests.
    pub const fn pipe(&mut self) -> &mut P {
        &mut self.pipe
    }

    /// Sends one request and gives what `accept` makes of its answer.
    ///
    /// # Errors
    /// [`DeviceError`]; [`DeviceError::OtherAnswer`] when `accept` gives nothing.
    pub fn call<T>(
        &mut self,
        request: &Request<'_>,
        accept: impl FnOnce(Reply<'_>) -> Option<T>,
    ) -> Result<T, DeviceError> {
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        self.call_numbered(self.sequence, request, accept)
    }

    /// As [`call`](Self::call), with a sequence number of the caller's, from which it then goes on.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn call_numbered<T>(
        &mut self,
        sequence: u16,
        request: &Request<'_>,
        accept: impl FnOnce(Reply<'_>) -> Option<T>,
    ) -> Result<T, DeviceError> {
        self.sequence = sequence;
        let mut buffer = [0; MAX_FRAME];
        let frame = encode(sequence, request, &mut buffer);
        let frame = frame.ok_or(DeviceError::Garbled(FrameError::TooLong))?;
        self.pipe.write_all(frame)?;
        self.pipe.flush()?;
        // what answers an earlier request is late, and no longer of interest
        while ![0, sequence].contains(&self.receive()?) {}
        let response = self.receiver.message().map_err(DeviceError::Garbled)?;
        if let Response::Refused(refusal) = response {
            return Err(DeviceError::Refused(refusal));
        }
        accept(response).ok_or(DeviceError::OtherAnswer)
    }

    /// The sequence number of the next frame, whose message the receiver then has.
    fn receive(&mut self) -> Result<u16, DeviceError> {
        loop {
            let mut byte = [0];
            match self.pipe.read(&mut byte) {
                Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if is_timeout(&error) => return Err(DeviceError::Silent),
                Err(error) => return Err(error.into()),
            }
            if let Some(frame) = self.receiver.push(byte[0]) {
                return frame.map_err(DeviceError::Garbled);
            }
        }
    }

    /// Waits for the answer to bytes that were no request, and gives the refusal in it.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn refusal(&mut self) -> Result<Refusal, DeviceError> {
        self.receive()?;
        match self.receiver.message::<Reply<'_>>() {
            Ok(Response::Refused(refusal)) => Ok(refusal),
            Ok(_) => Err(DeviceError::OtherAnswer),
            Err(error) => Err(DeviceError::Garbled(error)),
        }
    }

    /// Begins a session: the device, and the board's name.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn info(&mut self) -> Result<(Info<'static>, String), DeviceError> {
        self.call(&Request::Info, |response| {
            let Response::Info(info) = response else {
                return None;
            };
            let board = info.board.to_owned();
            Some((Info { board: "", ..info }, board))
        })
    }

    /// As [`info`](Self::info), whatever an earlier session left unfinished.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn begin(&mut self) -> Result<(Info<'static>, String), DeviceError> {
        self.pipe.write_all(&[0])?;
        match self.info() {
            Err(DeviceError::Refused(Refusal::Frame(_))) => self.info(),
            outcome => outcome,
        }
    }

    /// Sends an image and has the device use it; `progress` is told the bytes sent so far.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn load(
        &mut self,
        image: &[u8],
        progress: &dyn Fn(usize),
    ) -> Result<ImageInfo, DeviceError> {
        let begin = Request::LoadBegin {
            len: image.len() as u32,
            checksum: checksum(image),
        };
        self.call(&begin, received)?;
        self.send_chunks(image, progress, |offset, bytes| Request::LoadChunk {
            offset,
            bytes,
        })?;
        self.call(&Request::LoadEnd, loaded)
    }

    /// Has the device use the image that is linked into its program.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn load_linked(&mut self) -> Result<ImageInfo, DeviceError> {
        self.call(&Request::LoadLinked, loaded)
    }

    /// Has the device plan for limits, with the weights in these places, and make the plan resident.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn replan(
        &mut self,
        limits: Limits,
        places: Places,
        node_limit: u64,
    ) -> Result<Planned, DeviceError> {
        let request = Request::Replan {
            limits,
            places,
            node_limit,
        };
        self.call(&request, planned)
    }

    /// Has the device make a plan of these levels resident: for each layer the place in its row of
    /// prices.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn choose(&mut self, place: Place, items: &[u8]) -> Result<Planned, DeviceError> {
        self.call(&Request::Choose { place, items }, planned)
    }

    /// The network's output for one sample, and the ticks that it took.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn infer(&mut self, sample: &Sample) -> Result<(Vec<f32>, u64), DeviceError> {
        self.send_sample(sample)?;
        let element = sample.element;
        let (len, ticks) = self.call(&Request::Infer { element }, |response| {
            let Response::Inferred { output_len, ticks } = response else {
                return None;
            };
            Some((output_len as usize, ticks))
        })?;
        // as long as the device says only when it has sent so much
        let mut output: Vec<f32> = Vec::new();
        while output.len() < len {
            let offset = output.len() as u32;
            let part = self.call(&Request::Output { offset }, floats)?;
            output.extend(part);
        }
        Ok((output, ticks))
    }

    /// The cost of each step of an inference, by the tensor that it made: the input, and then the output
    /// of each of `layers` layers.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn infer_measured(
        &mut self,
        sample: &Sample,
        layers: usize,
    ) -> Result<Vec<Cost>, DeviceError> {
        self.send_sample(sample)?;
        let element = sample.element;
        self.call(&Request::InferMeasured { element }, |response| {
            matches!(response, Response::Inferred { .. }).then_some(())
        })?;
        let tensors = 0..=layers as u16;
        let costs = tensors.map(|tensor| {
            self.call(&Request::Cost { tensor }, |response| {
                let Response::Cost(cost) = response else {
                    return None;
                };
                Some(cost)
            })
        });
        costs.collect()
    }

    /// The memory that the device has used, and its counts of frames.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn stats(&mut self) -> Result<Stats, DeviceError> {
        self.call(&Request::Stats, |response| {
            let Response::Stats(stats) = response else {
                return None;
            };
            Some(stats)
        })
    }

    fn send_sample(&mut self, sample: &Sample) -> Result<(), DeviceError> {
        self.send_chunks(&sample.bytes, &|_| {}, |offset, bytes| Request::Input {
            offset,
            bytes,
        })
    }

    fn send_chunks<'b>(
        &mut self,
        bytes: &'b [u8],
        progress: &dyn Fn(usize),
        request: impl Fn(u32, &'b [u8]) -> Request<'b>,
    ) -> Result<(), DeviceError> {
        let mut offset = 0;
        for chunk in bytes.chunks(CHUNK_BYTES) {
            self.call(&request(offset as u32, chunk), received)?;
            offset += chunk.len();
            progress(offset);
        }
        Ok(())
    }
}

/// Whether the pipe's time limit passed.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "`call` gives the response away"
)]
fn received(response: Reply<'_>) -> Option<u32> {
    let Response::Received { bytes } = response else {
        return None;
    };
    Some(bytes)
}

fn planned(response: Reply<'_>) -> Option<Planned> {
    let Response::Planned(planned) = response else {
        return None;
    };
    Some(planned)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "`call` gives the response away"
)]
fn loaded(response: Reply<'_>) -> Option<ImageInfo> {
    let Response::Loaded(info) = response else {
        return None;
    };
    Some(info)
}

/// Part of an output: whole numbers, at least one.
#[expect(
    clippy::needless_pass_by_value,
    reason = "`call` gives the response away"
)]
fn floats(response: Reply<'_>) -> Option<Vec<f32>> {
    let Response::Output { bytes } = response else {
        return None;
    };
    let (words, rest) = bytes.as_chunks();
    let numbers = words.iter().map(|word| f32::from_le_bytes(*word));
    (!words.is_empty() && rest.is_empty()).then(|| numbers.collect())
}

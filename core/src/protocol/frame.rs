//! Frames: how one message becomes bytes on a wire.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of the protocol, [`VERSION`] |
//! | 2 | sequence number, little-endian |
//! | up to [`MAX_MESSAGE`] | the message, postcard |
//! | 4 | CRC-32 (ISO-HDLC) of all before, little-endian |
//!
//! All of it is encoded by COBS (Cheshire and Baker 1999, "Consistent Overhead Byte Stuffing") and
//! ended by a zero byte, so a receiver is in step again after at most one frame. Empty frames mean
//! nothing. Everything but the message has this form in every version.

use core::fmt;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use super::CHUNK_BYTES;
use crate::crc::CRC32;

/// The version of the messages.
pub const VERSION: u8 = 3;
/// The most bytes of a message: a chunk, or a plan of 256 layers.
pub const MAX_MESSAGE: usize = CHUNK_BYTES + 392;
/// The most bytes of a frame, with the zero that ends it.
pub const MAX_FRAME: usize = RAW_BYTES + RAW_BYTES / 254 + 2;

const RAW_BYTES: usize = HEADER_BYTES + MAX_MESSAGE + CRC_BYTES;
const HEADER_BYTES: usize = 3;
const CRC_BYTES: usize = 4;

/// Why bytes are not a frame, or a frame not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FrameError {
    /// There are more than [`MAX_FRAME`] bytes.
    TooLong,
    /// The bytes are not encoded by COBS, or too few.
    Malformed,
    /// The checksum is wrong.
    Crc,
    /// Another version of the protocol.
    Version(u8),
    /// The frame is whole, but its message is not one of this version.
    Message,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a frame of more than {MAX_FRAME} bytes"),
            Self::Malformed => f.write_str("a malformed frame"),
            Self::Crc => f.write_str("a frame with a wrong checksum"),
            Self::Version(found) => write!(
                f,
                "a frame of protocol version {found}, this program speaks version {VERSION}"
            ),
            Self::Message => f.write_str("a frame without a known message"),
        }
    }
}

impl core::error::Error for FrameError {}

/// The frame of a message, in `buffer`; `None` when the message is longer than [`MAX_MESSAGE`].
pub fn encode<'b, T: Serialize>(
    sequence: u16,
    message: &T,
    buffer: &'b mut [u8; MAX_FRAME],
) -> Option<&'b mut [u8]> {
    encode_version(VERSION, sequence, message, buffer)
}

fn encode_version<'b, T: Serialize>(
    version: u8,
    sequence: u16,
    message: &T,
    buffer: &'b mut [u8; MAX_FRAME],
) -> Option<&'b mut [u8]> {
    let mut raw = [0; RAW_BYTES];
    let (body, _) = raw.split_last_chunk_mut::<CRC_BYTES>()?;
    let [low, high] = sequence.to_le_bytes();
    body[..HEADER_BYTES].copy_from_slice(&[version, low, high]);
    let place = Place {
        bytes: body,
        len: HEADER_BYTES,
    };
    let len = postcard::serialize_with_flavor(message, place).ok()?;
    let crc = CRC32.checksum(&raw[..len]).to_le_bytes();
    raw.get_mut(len..len + CRC_BYTES)?.copy_from_slice(&crc);
    let end = cobs::try_encode(&raw[..len + CRC_BYTES], buffer).ok()?;
    *buffer.get_mut(end)? = 0;
    buffer.get_mut(..=end)
}

/// Bytes that a message is written to; the first `len` are taken.
struct Place<'b> {
    bytes: &'b mut [u8],
    len: usize,
}

impl Flavor for Place<'_> {
    type Output = usize;

    /// Not inlined: a message is written in hundreds of places.
    #[inline(never)]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        let place = self.bytes.get_mut(self.len);
        *place.ok_or(postcard::Error::SerializeBufferFull)? = byte;
        self.len += 1;
        Ok(())
    }

    #[inline(never)]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        bytes.iter().try_for_each(|byte| self.try_push(*byte))
    }

    fn finalize(self) -> postcard::Result<usize> {
        Ok(self.len)
    }
}

/// Collects bytes until they are a frame.
#[derive(Debug)]
pub struct Receiver {
    buffer: [u8; MAX_FRAME],
    /// Bytes since the last zero; more than fit are counted, not kept.
    len: usize,
    message_len: usize,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver {
    /// A receiver of nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            buffer: [0; MAX_FRAME],
            len: 0,
            message_len: 0,
        }
    }

    /// Takes the next byte; the sequence number when it ends a good frame, whose
    /// [`message`](Self::message) is then there until the next byte comes.
    pub fn push(&mut self, byte: u8) -> Option<Result<u16, FrameError>> {
        self.message_len = 0;
        if byte != 0 {
            if let Some(place) = self.buffer.get_mut(self.len) {
                *place = byte;
            }
            self.len = self.len.saturating_add(1);
            return None;
        }
        let len = core::mem::take(&mut self.len);
        (len > 0).then(|| self.finish(len))
    }

    fn finish(&mut self, len: usize) -> Result<u16, FrameError> {
        let encoded = self.buffer.get_mut(..len).ok_or(FrameError::TooLong)?;
        let len = cobs::decode_in_place(encoded).map_err(|_| FrameError::Malformed)?;
        let frame = self.buffer.get(..len).ok_or(FrameError::Malformed)?;
        let (body, crc) = frame.split_last_chunk().ok_or(FrameError::Malformed)?;
        let ([version, low, high], message) =
            body.split_first_chunk().ok_or(FrameError::Malformed)?;
        if CRC32.checksum(body) != u32::from_le_bytes(*crc) {
            return Err(FrameError::Crc);
        }
        if *version != VERSION {
            return Err(FrameError::Version(*version));
        }
        if message.len() > MAX_MESSAGE {
            return Err(FrameError::TooLong);
        }
        self.message_len = message.len();
        Ok(u16::from_le_bytes([*low, *high]))
    }

    /// The message of the frame that the last byte ended.
    ///
    /// # Errors
    /// [`FrameError::Message`] when it is not a `T` and nothing else.
    pub fn message<'b, T: Deserialize<'b>>(&'b self) -> Result<T, FrameError> {
        let bytes = &self.buffer[HEADER_BYTES..][..self.message_len];
        match postcard::take_from_bytes(bytes) {
            Ok((message, [])) => Ok(message),
            Ok(_) | Err(_) => Err(FrameError::Message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cascade::Schedule;
    use crate::level::Level;
    use crate::mckp::Status;
    use crate::place::Place;
    use crate::plan::Plan;
    use crate::protocol::{Planned, Request, Response};
    use crate::quant::{Rounding, Width};
    use rand::rngs::SmallRng;
    use rand::{Rng, RngCore, SeedableRng};

    type Reply<'a> = Response<'a, 256>;

    fn frame_of<T: Serialize>(sequence: u16, message: &T) -> Vec<u8> {
        let mut buffer = [0; MAX_FRAME];
        encode(sequence, message, &mut buffer)
            .expect("fits")
            .to_vec()
    }

    /// The sequence numbers and errors that a receiver finds in the bytes.
    fn feed(receiver: &mut Receiver, bytes: &[u8]) -> Vec<Result<u16, FrameError>> {
        bytes.iter().filter_map(|b| receiver.push(*b)).collect()
    }

    fn longest_chunk(bytes: &[u8; CHUNK_BYTES]) -> Request<'_> {
        let offset = u32::MAX;
        Request::LoadChunk { offset, bytes }
    }

    #[test]
    fn what_is_sent_arrives() {
        let mut receiver = Receiver::new();
        for fill in [0, 1, 0xFF] {
            let bytes = [fill; CHUNK_BYTES];
            let request = longest_chunk(&bytes);
            let frame = frame_of(65_535, &request);
            assert_eq!(frame.iter().filter(|b| **b == 0).count(), 1);
            assert_eq!(feed(&mut receiver, &frame), [Ok(65_535)]);
            assert_eq!(receiver.message(), Ok(request));
        }
        let level = Some(Level::Int(Width::Int8, Rounding::Ceil));
        let plan = Planned::<256> {
            plan: Plan {
                levels: core::iter::repeat_n(level, 256).collect(),
                places: core::iter::repeat_n(Place::Flash, 256).collect(),
                schedule: Schedule::of_bands(0..256),
                turns: u32::MAX,
                weight_bytes: u32::MAX,
                ram_weight_bytes: u32::MAX,
                arena_bytes: u32::MAX,
                cycles: u64::MAX,
                cycles_bound: u64::MAX,
                price: i64::MIN,
                bound: i64::MIN,
                nodes: u64::MAX,
                status: Status::Optimal,
            },
            solve_ticks: u64::MAX,
            copy_ticks: u64::MAX,
        };
        let reply = Reply::Planned(plan);
        assert_eq!(feed(&mut receiver, &frame_of(7, &reply)), [Ok(7)]);
        assert_eq!(receiver.message(), Ok(reply));
    }

    #[test]
    fn faults_are_named() {
        let mut receiver = Receiver::new();
        let frame = frame_of(1, &Request::Info);
        let mut buffer = [0; MAX_FRAME];
        let other = encode_version(9, 1, &Request::Info, &mut buffer).expect("fits");
        assert_eq!(feed(&mut receiver, other), [Err(FrameError::Version(9))]);
        let long = [&[1; MAX_FRAME + 1][..], &[0]].concat();
        assert_eq!(feed(&mut receiver, &long), [Err(FrameError::TooLong)]);
        assert_eq!(
            feed(&mut receiver, &[9, 1, 0]),
            [Err(FrameError::Malformed)]
        );
        assert_eq!(
            feed(&mut receiver, &[3, 1, 1, 0]),
            [Err(FrameError::Malformed)]
        );
        assert_eq!(feed(&mut receiver, &[0, 0, 0]), []);
        let mut damaged = frame.clone();
        damaged[2] ^= 2;
        assert_eq!(feed(&mut receiver, &damaged), [Err(FrameError::Crc)]);
        assert_eq!(receiver.message::<Request<'_>>(), Err(FrameError::Message));
        assert_eq!(feed(&mut receiver, &frame_of(2, &200_u8)), [Ok(2)]);
        assert_eq!(receiver.message::<Request<'_>>(), Err(FrameError::Message));
        assert_eq!(feed(&mut receiver, &frame_of(3, &(0_u8, 0_u8))), [Ok(3)]);
        assert_eq!(receiver.message::<Request<'_>>(), Err(FrameError::Message));
        assert_eq!(feed(&mut receiver, &frame), [Ok(1)]);
        assert_eq!(receiver.message(), Ok(Request::Info));
    }

    #[test]
    fn a_message_that_does_not_fit_is_not_sent() {
        let mut buffer = [0; MAX_FRAME];
        let bytes = [1; MAX_FRAME];
        assert!(encode(1, &bytes.as_slice(), &mut buffer).is_none());
    }

    #[test]
    fn after_any_garbage_the_next_frame_is_understood() {
        let mut rng = SmallRng::seed_from_u64(11);
        let mut receiver = Receiver::new();
        for round in 0..5_000 {
            let mut garbage = std::vec![0; rng.random_range(0..2 * MAX_FRAME)];
            rng.fill_bytes(&mut garbage);
            match round % 3 {
                // no zero but at the end
                0 => garbage.iter_mut().for_each(|b| *b = (*b).max(1)),
                // a good frame with some bytes changed
                1 => {
                    garbage = frame_of(5, &longest_chunk(&[round as u8; CHUNK_BYTES]));
                    for _ in 0..rng.random_range(1..4) {
                        let at = rng.random_range(0..garbage.len());
                        garbage[at] = rng.random();
                    }
                }
                // a good frame cut off
                _ => {
                    garbage = frame_of(5, &longest_chunk(&[round as u8; CHUNK_BYTES]));
                    garbage.truncate(rng.random_range(0..garbage.len()));
                }
            }
            for byte in garbage {
                let _ = receiver.push(byte);
                let _ = receiver.message::<Request<'_>>();
                let _ = receiver.message::<Reply<'_>>();
            }
            let _ = receiver.push(0);
            assert_eq!(feed(&mut receiver, &frame_of(8, &Request::Stats)), [Ok(8)]);
            assert_eq!(receiver.message(), Ok(Request::Stats));
        }
    }
}

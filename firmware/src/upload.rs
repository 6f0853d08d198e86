//! Images and samples received in chunks.

use bitbudget_core::protocol::{Refusal, Response, checksum};

use super::board::{self, LAYERS};

/// An image on its way, of which `received` bytes have arrived.
pub(crate) struct Upload {
    len: u32,
    checksum: u32,
    received: usize,
}

impl Upload {
    /// The upload of an image that was announced, none of it here yet.
    pub(crate) fn begin(len: u32, checksum: u32) -> Result<Self, Refusal> {
        let limit_bytes = board::IMAGE_BYTES as u32;
        if len > limit_bytes {
            let bytes = len;
            return Err(Refusal::TooLarge { bytes, limit_bytes });
        }
        Ok(Self {
            len,
            checksum,
            received: 0,
        })
    }

    /// Takes the next chunk.
    pub(crate) fn take(
        &mut self,
        image: &mut [u8],
        offset: u32,
        bytes: &[u8],
    ) -> Result<Response<'static, LAYERS>, Refusal> {
        let place = &mut image[..self.len as usize];
        let bytes = append(place, &mut self.received, offset, bytes)?;
        Ok(Response::Received { bytes })
    }

    /// The length of an image that has arrived whole.
    pub(crate) fn check(&self, image: &[u8]) -> Result<usize, Refusal> {
        let (expected, found) = (self.len, self.received as u32);
        if expected != found {
            return Err(Refusal::Incomplete { expected, found });
        }
        let len = self.len as usize;
        let (expected, found) = (self.checksum, checksum(&image[..len]));
        if expected != found {
            return Err(Refusal::Checksum { expected, found });
        }
        Ok(len)
    }
}

/// Puts a chunk behind the `received` bytes, or at the beginning; gives the number of bytes that are
/// then there.
pub(crate) fn append(
    place: &mut [u8],
    received: &mut usize,
    offset: u32,
    bytes: &[u8],
) -> Result<u32, Refusal> {
    let (expected, found) = (*received as u32, offset);
    if ![0, expected].contains(&found) {
        return Err(Refusal::Offset { expected, found });
    }
    let limit_bytes = place.len() as u32;
    let start = offset as usize;
    let end = start + bytes.len();
    let Some(target) = place.get_mut(start..end) else {
        let bytes = end as u32;
        return Err(Refusal::TooLarge { bytes, limit_bytes });
    };
    target.copy_from_slice(bytes);
    *received = end;
    Ok(end as u32)
}

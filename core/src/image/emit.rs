//! Writes images.

use core::fmt;

use super::header::{CRC_BYTES, HEADER_BYTES, MAGIC, VERSION};
use crate::crc::CRC32;
use crate::network::Network;
use crate::op::{Op, unary};
use crate::plan::Plan;
use crate::stored;

/// Why an image could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// The buffer is too small.
    BufferFull,
    /// There is not one name for each layer.
    Names,
    /// A section exceeds 4 GiB.
    TooLarge,
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BufferFull => "the buffer is too small for the image",
            Self::Names => "not one name for each layer",
            Self::TooLarge => "a section exceeds 4 GiB",
        })
    }
}

impl core::error::Error for EmitError {}

/// Writes an image into `buffer` and returns its length; `blocks` is the blocks section, `plans` are
/// those that a device may look up, by rising bytes in all ([`StoredPlans`](crate::stored::StoredPlans)), or none.
///
/// The content is not checked: [`Image::parse`](super::Image::parse) does that.
///
/// # Errors
/// [`EmitError`]; the buffer's content is then unspecified.
pub fn emit<'n, const N: usize, const K: usize>(
    network: &Network<N, K>,
    names: impl IntoIterator<Item = &'n str>,
    plans: &[Plan<N>],
    blocks: &[u8],
    buffer: &mut [u8],
) -> Result<usize, EmitError> {
    let full = |_| EmitError::BufferFull;
    let body = buffer
        .get_mut(HEADER_BYTES..)
        .ok_or(EmitError::BufferFull)?;
    let mut end = postcard::to_slice(network, body).map_err(full)?.len();
    if network.prices.has_cycles() {
        for item in network.prices.rows.iter().flatten() {
            let written = postcard::to_slice(&item.cycles, &mut body[end..]);
            end += written.map_err(full)?.len();
        }
    }
    let network_len = end;
    let mut count = 0;
    for name in names {
        end += postcard::to_slice(name, &mut body[end..])
            .map_err(full)?
            .len();
        count += 1;
    }
    if count != network.layers.len() {
        return Err(EmitError::Names);
    }
    let names_end = end;
    for layer in &network.layers {
        let Op::Unary(function) = layer.op else {
            continue;
        };
        let from = network.qparams(layer.inputs.first().map_or(0, |t| usize::from(*t)));
        let table = unary::table(function, layer.activation, from, layer.output_q);
        let section = body.get_mut(end..end + table.len());
        section
            .ok_or(EmitError::BufferFull)?
            .copy_from_slice(&table);
        end += table.len();
    }
    if !plans.is_empty() {
        let len = stored::write(network, plans, &mut body[end..]);
        end += len.ok_or(EmitError::BufferFull)?;
    }
    let padded = end.next_multiple_of(4);
    let padding = body.get_mut(end..padded).ok_or(EmitError::BufferFull)?;
    padding.fill(0);
    let section = body.get_mut(padded..padded + blocks.len());
    section
        .ok_or(EmitError::BufferFull)?
        .copy_from_slice(blocks);
    let header = [
        VERSION as usize,
        network_len,
        names_end - network_len,
        padded - names_end,
        blocks.len(),
    ];
    buffer[..8].copy_from_slice(&MAGIC);
    for (i, word) in header.into_iter().enumerate() {
        let word = u32::try_from(word).map_err(|_| EmitError::TooLarge)?;
        buffer[8 + 4 * i..][..4].copy_from_slice(&word.to_le_bytes());
    }
    let end = HEADER_BYTES + padded + blocks.len();
    let crc = CRC32.checksum(&buffer[..end]).to_le_bytes();
    let tail = buffer.get_mut(end..end + CRC_BYTES);
    tail.ok_or(EmitError::BufferFull)?.copy_from_slice(&crc);
    Ok(end + CRC_BYTES)
}

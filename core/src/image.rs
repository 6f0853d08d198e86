//! The image: the one file that travels from host to device.
//!
//! All integers are little-endian. An image is, without holes:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | the magic `bitbudgt` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | n: length of the network section |
//! | 16 | 4 | m: length of the names section, padded to a multiple of four with the section before |
//! | 20 | 4 | w: length of the weights section |
//! | 24 | n | the [`Network`], postcard |
//! | 24 + n | m | the layers' names, one postcard string each, then zeros |
//! | 24 + n + m | w | for every layer with weights: `f32` weights `[O, …]`, bias `[O]`, INT8 scales `[O]` |
//! | 24 + n + m + w | 4 | CRC-32 (ISO-HDLC) of everything before |
//!
//! n + m is a multiple of four, so that weights are aligned wherever the image is.
//! [`Image::parse`] checks all of it; nothing that is read from a parsed image can panic.

use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc};
use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::network::{Network, NetworkError};
use crate::resident::{Master, f32_at};

/// The first eight bytes of every image.
pub const MAGIC: [u8; 8] = *b"bitbudgt";
/// The version of the format that this crate reads and writes.
pub const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
const CRC_BYTES: usize = 4;
const CRC32: Crc<u32, crc::Table<1>> = Crc::<u32, crc::Table<1>>::new(&CRC_32_ISO_HDLC);

/// A checked, borrowed view of an image's bytes, for networks of at most `N` layers and `K` levels.
#[derive(Clone, Debug)]
pub struct Image<'a, const N: usize, const K: usize> {
    network: Network<N, K>,
    names: &'a [u8],
    weights: &'a [u8],
    offsets: Vec<u32, N>,
}

/// Why bytes are not a usable image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ImageError {
    /// The bytes do not begin with [`MAGIC`].
    Magic,
    /// Another version of the format.
    Version(u32),
    /// The header promises another length.
    Length {
        /// Bytes that the header promises; `None` where they overflow.
        expected: Option<usize>,
        /// Bytes given.
        found: usize,
    },
    /// The checksum is wrong: the bytes were damaged.
    Crc {
        /// Checksum of the bytes.
        expected: u32,
        /// Checksum that the image carries.
        found: u32,
    },
    /// The network section is not a network, or exceeds the capacities of `N` layers, `K` levels.
    Network,
    /// The network section is a network that cannot run.
    Check(NetworkError),
    /// The names section has not one name for each layer, or does not end in zeros up to a multiple
    /// of four.
    Names,
    /// The weights section has another length than the network needs.
    WeightBytes {
        /// Bytes that the network needs.
        expected: u64,
        /// Bytes of the section.
        found: usize,
    },
    /// A weight or bias is not finite, or a scale is not usable.
    Weight {
        /// The layer.
        layer: usize,
        /// The index among the layer's weights, biases and scales.
        index: usize,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a bitbudget image"),
            Self::Version(found) => {
                write!(
                    f,
                    "image version {found}, this program reads version {VERSION}"
                )
            }
            Self::Length {
                expected: Some(expected),
                found,
            } => {
                write!(f, "image of {found} bytes, its header promises {expected}")
            }
            Self::Length {
                expected: None,
                found,
            } => {
                write!(
                    f,
                    "image of {found} bytes, its header promises more than fits memory"
                )
            }
            Self::Crc { expected, found } => write!(
                f,
                "damaged image: checksum {found:#010x}, its bytes give {expected:#010x}"
            ),
            Self::Network => f.write_str("the network section is malformed or has too many layers"),
            Self::Check(error) => write!(f, "{error}"),
            Self::Names => f.write_str("the names section is malformed"),
            Self::WeightBytes { expected, found } => {
                write!(f, "{found} bytes of weights, the network needs {expected}")
            }
            Self::Weight { layer, index } => {
                write!(
                    f,
                    "layer {layer}: its weight, bias or scale {index} is unusable"
                )
            }
        }
    }
}

impl core::error::Error for ImageError {}

impl From<NetworkError> for ImageError {
    fn from(error: NetworkError) -> Self {
        Self::Check(error)
    }
}

impl<'a, const N: usize, const K: usize> Image<'a, N, K> {
    /// The image that `bytes` hold, all of it checked.
    ///
    /// # Errors
    /// The first fault found.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let found = bytes.len();
        if !bytes.starts_with(&MAGIC) {
            return Err(ImageError::Magic);
        }
        let short = ImageError::Length {
            expected: Some(HEADER_BYTES + CRC_BYTES),
            found,
        };
        let word = |at: usize| {
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
            word.map(u32::from_le_bytes).ok_or(short)
        };
        let version = word(8)?;
        if version != VERSION {
            return Err(ImageError::Version(version));
        }
        let lengths = [word(12)?, word(16)?, word(20)?];
        let sum = lengths.iter().map(|n| u64::from(*n)).sum::<u64>();
        let expected = usize::try_from(sum + (HEADER_BYTES + CRC_BYTES) as u64).ok();
        if expected != Some(found) {
            return Err(ImageError::Length { expected, found });
        }
        let (bytes, carried) = bytes.split_at(found - CRC_BYTES);
        let (expected, found) = (CRC32.checksum(bytes), word_of(carried));
        if expected != found {
            return Err(ImageError::Crc { expected, found });
        }
        let (network, rest) = bytes[HEADER_BYTES..].split_at(lengths[0] as usize);
        let (names, weights) = rest.split_at(lengths[1] as usize);
        Self::from_sections(network, names, weights)
    }

    fn from_sections(
        network: &[u8],
        names: &'a [u8],
        weights: &'a [u8],
    ) -> Result<Self, ImageError> {
        let aligned = (network.len() + names.len()).is_multiple_of(4);
        let network: Network<N, K> = match postcard::take_from_bytes(network) {
            Ok((network, [])) => network,
            Ok(_) | Err(_) => return Err(ImageError::Network),
        };
        network.check()?;
        check_names(names, network.layers.len())?;
        if !aligned {
            return Err(ImageError::Names);
        }
        let mut offsets = Vec::new();
        let mut expected = 0_u64;
        for layer in 0..network.layers.len() {
            // in range: compared with the section's length below
            let full = offsets.push(expected as u32);
            full.map_err(|_| ImageError::Network)?;
            expected += master_bytes(&network, layer);
        }
        let found = weights.len();
        if expected != found as u64 {
            return Err(ImageError::WeightBytes { expected, found });
        }
        let image = Self {
            network,
            names,
            weights,
            offsets,
        };
        image.check_weights()?;
        Ok(image)
    }

    fn check_weights(&self) -> Result<(), ImageError> {
        for layer in 0..self.network.layers.len() {
            let Some(master) = self.master(layer) else {
                continue;
            };
            let (weights, scales) = (master.weight.len() / 4, master.scale.len() / 4);
            let real = (0..weights).map(|i| f32_at(master.weight, i));
            let real = real.chain((0..scales).map(|i| f32_at(master.bias, i)));
            let unusable = real.enumerate().find(|(_, x)| !x.is_finite());
            let scale = |i: &usize| {
                let usable = crate::quant::MIN_SCALE..=crate::quant::MAX_SCALE;
                !usable.contains(&f32_at(master.scale, *i))
            };
            let at = unusable.map(|(i, _)| i);
            let at = at.or_else(|| Some(weights + scales + (0..scales).find(scale)?));
            if let Some(index) = at {
                return Err(ImageError::Weight { layer, index });
            }
        }
        Ok(())
    }

    /// The network with its calibrated parameters and prices.
    #[must_use]
    pub const fn network(&self) -> &Network<N, K> {
        &self.network
    }

    /// The weights section.
    #[must_use]
    pub const fn weights(&self) -> &'a [u8] {
        self.weights
    }

    /// The name of a layer; empty where there is no such layer.
    #[must_use]
    pub fn name(&self, layer: usize) -> &'a str {
        let mut rest = self.names;
        for _ in 0..layer {
            match postcard::take_from_bytes::<&str>(rest) {
                Ok((_, after)) => rest = after,
                Err(_) => return "",
            }
        }
        postcard::from_bytes(rest).unwrap_or_default()
    }

    /// The FP32 master of a layer's weights; `None` for layers without weights.
    #[must_use]
    pub fn master(&self, layer: usize) -> Option<Master<'a>> {
        let bytes = usize::try_from(master_bytes(&self.network, layer)).ok()?;
        let block = self
            .weights
            .get(self.offsets[layer] as usize..)?
            .get(..bytes)?;
        let channels = 4 * usize::from(self.network.layers[layer].output.c);
        let (rest, scale) = block.split_at_checked(bytes.checked_sub(channels)?)?;
        let (weight, bias) = rest.split_at_checked(rest.len().checked_sub(channels)?)?;
        Some(Master {
            weight,
            bias,
            scale,
        })
    }
}

fn word_of(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

/// The bytes of a layer in the weights section.
fn master_bytes<const N: usize, const K: usize>(network: &Network<N, K>, layer: usize) -> u64 {
    match network.weight_count(layer) {
        0 => 0,
        weights => 4 * (weights as u64 + 2 * u64::from(network.layers[layer].output.c)),
    }
}

fn check_names(mut names: &[u8], layers: usize) -> Result<(), ImageError> {
    for _ in 0..layers {
        let name = postcard::take_from_bytes::<&str>(names);
        names = name.map_err(|_| ImageError::Names)?.1;
    }
    if names.len() < 4 && names.iter().all(|b| *b == 0) {
        Ok(())
    } else {
        Err(ImageError::Names)
    }
}

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

/// Writes an image into `buffer` and returns its length; `weights` is the weights section.
///
/// What is written is not checked: [`Image::parse`] does that.
///
/// # Errors
/// [`EmitError`]; the buffer's content is then unspecified.
pub fn emit<'n, const N: usize, const K: usize>(
    network: &Network<N, K>,
    names: impl IntoIterator<Item = &'n str>,
    weights: &[u8],
    buffer: &mut [u8],
) -> Result<usize, EmitError> {
    let full = |_| EmitError::BufferFull;
    let body = buffer
        .get_mut(HEADER_BYTES..)
        .ok_or(EmitError::BufferFull)?;
    let network_len = postcard::to_slice(network, body).map_err(full)?.len();
    let mut end = network_len;
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
    let padded = end.next_multiple_of(4);
    let padding = body.get_mut(end..padded).ok_or(EmitError::BufferFull)?;
    padding.fill(0);
    let section = body.get_mut(padded..padded + weights.len());
    section
        .ok_or(EmitError::BufferFull)?
        .copy_from_slice(weights);
    let header = [
        VERSION as usize,
        network_len,
        padded - network_len,
        weights.len(),
    ];
    buffer[..8].copy_from_slice(&MAGIC);
    for (i, word) in header.into_iter().enumerate() {
        let word = u32::try_from(word).map_err(|_| EmitError::TooLarge)?;
        buffer[8 + 4 * i..][..4].copy_from_slice(&word.to_le_bytes());
    }
    let end = HEADER_BYTES + padded + weights.len();
    let crc = CRC32.checksum(&buffer[..end]).to_le_bytes();
    let tail = buffer.get_mut(end..end + CRC_BYTES);
    tail.ok_or(EmitError::BufferFull)?.copy_from_slice(&crc);
    Ok(end + CRC_BYTES)
}

//! The image: the one file that travels from host to device.
//!
//! All integers are little-endian. An image is, without holes:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | the magic `bitbudgt` |
//! | 8 | 4 | version, 4 |
//! | 12 | 4 | n: length of the network section |
//! | 16 | 4 | m: length of the names section |
//! | 20 | 4 | p: length of the plans section, padded to a multiple of four with the sections before |
//! | 24 | 4 | b: length of the blocks section |
//! | 28 | n | the [`Network`], postcard, and the cycles of its layers, or none, see below |
//! | 28 + n | m | the layers' names, one postcard string each |
//! | 28 + n + m | p | optimal plans, or none ([`crate::stored`]), then zeros |
//! | 28 + n + m + p | b | the [blocks](crate::block), layer by layer, see below |
//! | 28 + n + m + p + b | 4 | CRC-32 (ISO-HDLC) of everything before |
//!
//! A layer with weights has one block for every [`WeightFormat`] among its levels, widest first: its weights
//! as the kernels read them. What is not there is not on offer: the network's levels are those of the
//! blocks.
//!
//! Behind the network stand the [cycles](PriceItem::cycles) of all items in the order of the price matrix, those
//! in flash and those in RAM as postcard `u32`s, if the image was packed for a board.
//!
//! n + m + p is a multiple of four, so that every block is aligned where the image is.
//! [`Image::parse`] checks all of it; nothing that is read from a parsed image can panic.
//!
//! # Versions
//!
//! A program reads images of one version, its own ([`VERSION`]), and names any other that it refuses: blocks
//! are what its kernels read. Every change of a section, of a type in the network section or of a block's
//! layout raises the version; devices in the field get an image that was packed by the release that they
//! run.
//!
//! # Work
//!
//! The work that an image can cause is bounded by its size. To parse it reads every byte at most twice
//! (once for the checksum), and takes at most in the order of n² (n + k) steps for n layers of k levels and
//! n for every stored plan. Planning opens at most as many nodes as its caller allows, of at most in the
//! order of n² k steps each; an inference is the products of its layers.

use core::fmt;
use core::ops::Range;

use embedded_storage::nor_flash::ReadNorFlash;
use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::block::Unchecked;
use crate::crc::CRC32;
use crate::level::WeightFormat;
use crate::network::{Layer, Network, NetworkError, Preprocess};
use crate::place::Cycles;
use crate::plan::Plan;
use crate::price::PriceItem;
use crate::quant::QParams;
use crate::shape::Shape;
use crate::storage::{Mapped, OutOfBounds, stream};
use crate::stored::{self, StoredPlans};

/// The first eight bytes of every image.
pub const MAGIC: [u8; 8] = *b"bitbudgt";
/// The version of the format that this crate reads and writes.
pub const VERSION: u32 = 4;
const HEADER_BYTES: usize = 28;
const CRC_BYTES: usize = 4;

/// A checked, borrowed view of an image's bytes, for networks of at most `N` layers and `K` levels.
#[derive(Clone, Debug)]
pub struct Image<'a, const N: usize, const K: usize> {
    network: Network<N, K>,
    names: &'a [u8],
    plans: &'a [u8],
    /// Empty when the image was opened in a storage.
    blocks: &'a [u8],
    blocks_at: u32,
    /// By layer: where its blocks begin in the section.
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
    /// The network section is not a network.
    Network,
    /// The network has more layers than there is room for.
    Layers {
        /// Its layers.
        found: u32,
        /// The most that there may be.
        limit: u32,
    },
    /// A layer has more levels than there is room for.
    Levels {
        /// The layer.
        layer: u32,
        /// Its levels.
        found: u32,
        /// The most that there may be.
        limit: u32,
    },
    /// The network section is a network that cannot run.
    Check(NetworkError),
    /// The names section has not one name for each layer.
    Names,
    /// The plans section is not made of plans of the network by rising bytes, or does not end in zeros
    /// up to a multiple of four.
    Plans,
    /// The blocks section has another length than the network needs.
    BlockBytes {
        /// Bytes that the network needs.
        expected: u64,
        /// Bytes of the section.
        found: usize,
    },
    /// The buffer for the network, names and plans sections is too small.
    MetaBytes {
        /// Bytes of these sections.
        expected: usize,
        /// Bytes of the buffer.
        found: usize,
    },
    /// The storage could not be read.
    Storage,
    /// A block holds what no kernel can run: a real number that is not finite, a bias that the accumulator
    /// has no room for, a factor that is not normalized, a weight out of range, or padding that is not zero.
    Block {
        /// The layer.
        layer: usize,
        /// Where the word lies, in bytes from the beginning of the layer's blocks.
        offset: u32,
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
            Self::Network => f.write_str("the network section is malformed"),
            Self::Layers { found, limit } => {
                write!(
                    f,
                    "a network of {found} layers where there is room for {limit}"
                )
            }
            Self::Levels {
                layer,
                found,
                limit,
            } => write!(
                f,
                "layer {layer} has {found} levels where there is room for {limit}"
            ),
            Self::Check(error) => write!(f, "{error}"),
            Self::Names => f.write_str("the names section is malformed"),
            Self::Plans => f.write_str("the plans section is malformed"),
            Self::MetaBytes { expected, found } => write!(
                f,
                "a buffer of {found} bytes for network, names and plans, which take {expected}"
            ),
            Self::Storage => f.write_str("the storage could not be read"),
            Self::BlockBytes { expected, found } => {
                write!(f, "{found} bytes of blocks, the network needs {expected}")
            }
            Self::Block { layer, offset } => {
                write!(
                    f,
                    "layer {layer}: what its blocks hold at byte {offset} is no weight, bias or factor"
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
        let header = Header::read(bytes, bytes.len())?;
        let (body, carried) = bytes.split_at(bytes.len() - CRC_BYTES);
        check_crc(CRC32.checksum(body), carried)?;
        let (meta, blocks) = body[HEADER_BYTES..].split_at(header.meta_bytes());
        let mut image = Self::from_sections(&header, meta)?;
        image.blocks = blocks;
        image.check_blocks(&mut Mapped(body), |OutOfBounds| ImageError::Storage)?;
        Ok(image)
    }

    /// The image at the beginning of `storage`, all of it checked; its blocks stay where they are.
    ///
    /// `meta` receives the network, names and plans sections and stays borrowed by the image.
    ///
    /// # Errors
    /// The first fault found; [`ImageError::MetaBytes`] tells how large `meta` must be.
    pub fn open<S: ReadNorFlash>(storage: &mut S, meta: &'a mut [u8]) -> Result<Self, ImageError> {
        let failed = |_| ImageError::Storage;
        let mut header = [0; HEADER_BYTES];
        storage.read(0, &mut header).map_err(failed)?;
        let header = Header::find(&header, storage.capacity())?;
        let (expected, found) = (header.meta_bytes(), meta.len());
        let meta = meta.get_mut(..expected);
        let meta = meta.ok_or(ImageError::MetaBytes { expected, found })?;
        let end = (HEADER_BYTES + expected) as u32 + header.blocks;
        let mut digest = CRC32.digest();
        stream(storage, 0, end, |bytes| digest.update(bytes)).map_err(failed)?;
        let mut carried = [0; CRC_BYTES];
        storage.read(end, &mut carried).map_err(failed)?;
        check_crc(digest.finalize(), &carried)?;
        storage.read(HEADER_BYTES as u32, meta).map_err(failed)?;
        let image = Self::from_sections(&header, meta)?;
        image.check_blocks(storage, failed)?;
        Ok(image)
    }

    /// The image of these sections, its blocks not checked yet.
    fn from_sections(header: &Header, meta: &'a [u8]) -> Result<Self, ImageError> {
        let (network, rest) = meta.split_at(header.network as usize);
        let (names, plans) = rest.split_at(header.names as usize);
        let network: Network<N, K> = match postcard::take_from_bytes(network) {
            Ok((network, [])) => network,
            Ok((mut network, cycles)) => {
                take_cycles(&mut network, cycles).ok_or(ImageError::Network)?;
                network
            }
            Err(_) => return Err(excess::<N, K>(network).unwrap_or(ImageError::Network)),
        };
        network.check()?;
        check_names(names, network.layers.len())?;
        let stored = StoredPlans::parse(&network, plans).map_err(|()| ImageError::Plans)?;
        let sound = match stored {
            Some(stored) => stored.is_sound(),
            None => plans.iter().all(|byte| *byte == 0) && plans.len() < 4,
        };
        if !meta.len().is_multiple_of(4) || !sound {
            return Err(ImageError::Plans);
        }
        let mut offsets = Vec::new();
        let mut expected = 0_u64;
        for layer in 0..network.layers.len() {
            // in range: compared with the section's length below
            let full = offsets.push(expected as u32);
            full.map_err(|_| ImageError::Network)?;
            let blocks = network.weight_formats(layer).map(|format| {
                // an item's bytes were checked to be these
                network.format_bytes(layer, format).map_or(0, u64::from)
            });
            expected += blocks.sum::<u64>();
        }
        let found = header.blocks as usize;
        if expected != u64::from(header.blocks) {
            return Err(ImageError::BlockBytes { expected, found });
        }
        Ok(Self {
            network,
            names,
            plans,
            blocks: &[],
            blocks_at: (HEADER_BYTES + meta.len()) as u32,
            offsets,
        })
    }

    fn check_blocks<S: ReadNorFlash>(
        &self,
        storage: &mut S,
        failed: impl Fn(S::Error) -> ImageError,
    ) -> Result<(), ImageError> {
        for (layer, of) in self.network.layers.iter().enumerate() {
            let mut offset = 0;
            for format in self.network.weight_formats(layer) {
                let block = Unchecked {
                    at: self.blocks_at + self.offsets[layer] + offset,
                    channels: of.output.c.into(),
                    weights: self.network.weight_count(layer),
                };
                let unsound = block.unsound_word(format, storage).map_err(&failed)?;
                if let Some(at) = unsound {
                    let offset = offset + at;
                    return Err(ImageError::Block { layer, offset });
                }
                offset += self.network.format_bytes(layer, format).unwrap_or(0);
            }
        }
        Ok(())
    }

    /// The network with its calibrated parameters and prices.
    #[must_use]
    pub const fn network(&self) -> &Network<N, K> {
        &self.network
    }

    /// The optimal plans for every budget, if the image carries them.
    #[must_use]
    pub fn stored_plans(&self) -> Option<StoredPlans<'_, N, K>> {
        StoredPlans::parse(&self.network, self.plans).ok()?
    }

    /// Where the blocks section begins in the image.
    #[must_use]
    pub const fn blocks_at(&self) -> u32 {
        self.blocks_at
    }

    /// The blocks section; empty when the image was opened in a storage.
    #[must_use]
    pub const fn blocks(&self) -> &'a [u8] {
        self.blocks
    }

    /// Where a layer's block of this format lies in the blocks section; `None` where there is none.
    #[must_use]
    pub fn block_range(&self, layer: usize, format: WeightFormat) -> Option<Range<usize>> {
        let mut start = *self.offsets.get(layer)? as usize;
        for stored in self.network.weight_formats(layer) {
            let bytes = self.network.format_bytes(layer, stored)? as usize;
            if stored == format {
                return Some(start..start + bytes);
            }
            start += bytes;
        }
        None
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
}

/// Gives the items of a network the cycles that stand behind it; `None` where they are not those.
fn take_cycles<const N: usize, const K: usize>(
    network: &mut Network<N, K>,
    mut rest: &[u8],
) -> Option<()> {
    for item in network.prices.rows.iter_mut().flatten() {
        (item.cycles, rest) = postcard::take_from_bytes(rest).ok()?;
    }
    rest.is_empty().then_some(())
}

/// The lengths of the sections.
struct Header {
    network: u32,
    names: u32,
    plans: u32,
    blocks: u32,
}

impl Header {
    /// The header at the beginning of an image of exactly `len` bytes.
    fn read(bytes: &[u8], len: usize) -> Result<Self, ImageError> {
        let header = Self::find(bytes, len)?;
        match header.image_bytes() {
            Some(expected) if expected == len => Ok(header),
            expected => Err(ImageError::Length {
                expected,
                found: len,
            }),
        }
    }

    /// The header at the beginning of at least one image's bytes, `len` of them.
    fn find(bytes: &[u8], len: usize) -> Result<Self, ImageError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(ImageError::Magic);
        }
        let short = ImageError::Length {
            expected: Some(HEADER_BYTES + CRC_BYTES),
            found: len,
        };
        let word = |at: usize| {
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
            word.map(u32::from_le_bytes).ok_or(short)
        };
        let version = word(8)?;
        if version != VERSION {
            return Err(ImageError::Version(version));
        }
        let header = Self {
            network: word(12)?,
            names: word(16)?,
            plans: word(20)?,
            blocks: word(24)?,
        };
        match header.image_bytes() {
            Some(expected) if expected <= len => Ok(header),
            expected => Err(ImageError::Length {
                expected,
                found: len,
            }),
        }
    }

    /// The length of the whole image; `None` where 32 bits cannot address it.
    fn image_bytes(&self) -> Option<usize> {
        let sections = [self.network, self.names, self.plans, self.blocks].map(u64::from);
        let sum = sections.iter().sum::<u64>() + (HEADER_BYTES + CRC_BYTES) as u64;
        u32::try_from(sum).ok().map(|sum| sum as usize)
    }

    /// The length of the network, names and plans sections.
    const fn meta_bytes(&self) -> usize {
        self.network as usize + self.names as usize + self.plans as usize
    }
}

fn check_crc(expected: u32, carried: &[u8]) -> Result<(), ImageError> {
    let found = carried.try_into().map_or(0, u32::from_le_bytes);
    if expected == found {
        Ok(())
    } else {
        Err(ImageError::Crc { expected, found })
    }
}

/// The capacity of `N` layers or `K` levels that a network section exceeds, if one is.
fn excess<const N: usize, const K: usize>(section: &[u8]) -> Option<ImageError> {
    fn next<'a, T: Deserialize<'a>>(rest: &mut &'a [u8]) -> Option<T> {
        let (value, after) = postcard::take_from_bytes(rest).ok()?;
        *rest = after;
        Some(value)
    }
    let rest = &mut { section };
    let _: (Shape, QParams, Preprocess) = next(rest)?;
    let found = next(rest)?;
    if found > N as u32 {
        let limit = N as u32;
        return Some(ImageError::Layers { found, limit });
    }
    for _ in 0..found {
        let _: Layer = next(rest)?;
    }
    let (_, rows): (f64, u32) = next(rest)?;
    for layer in 0..rows {
        let found = next(rest)?;
        if found > K as u32 {
            let limit = K as u32;
            return Some(ImageError::Levels {
                layer,
                found,
                limit,
            });
        }
        for _ in 0..found {
            let _: PriceItem = next(rest)?;
        }
    }
    None
}

fn check_names(mut names: &[u8], layers: usize) -> Result<(), ImageError> {
    for _ in 0..layers {
        let name = postcard::take_from_bytes::<&str>(names);
        names = name.map_err(|_| ImageError::Names)?.1;
    }
    if names.is_empty() {
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

/// Writes an image into `buffer` and returns its length; `blocks` is the blocks section, `plans` are
/// those that a device may look up, by rising bytes in all ([`StoredPlans`]), or none.
///
/// The content is not checked: [`Image::parse`] does that.
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
    let cycles = || network.prices.rows.iter().flatten().map(|item| item.cycles);
    if cycles().any(|cycles| cycles != Cycles::default()) {
        for cycles in cycles() {
            let written = postcard::to_slice(&cycles, &mut body[end..]);
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

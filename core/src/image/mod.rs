//! The image: the one file that travels from host to device.
//!
//! All integers are little-endian. An image is, without holes:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | the magic `bitbudgt` |
//! | 8 | 4 | version, 6 |
//! | 12 | 4 | n: length of the network section |
//! | 16 | 4 | m: length of the names section |
//! | 20 | 4 | p: length of the tables and plans, padded to a multiple of four with the sections before |
//! | 24 | 4 | b: length of the blocks section |
//! | 28 | n | the [`Network`], postcard, and the cycles of its layers, or none, see below |
//! | 28 + n | m | the layers' names, one postcard string each |
//! | 28 + n + m | p | the [tables](crate::op::unary) of the layers that apply a function, layer by layer, then optimal plans, or none ([`crate::stored`]), then zeros |
//! | 28 + n + m + p | b | the [blocks](crate::block), layer by layer, see below |
//! | 28 + n + m + p + b | 4 | CRC-32 (ISO-HDLC) of everything before |
//!
//! A layer with weights has one block for every [`WeightFormat`] among its levels, widest first: its weights
//! as the kernels read them. What is not there is not on offer: the network's levels are those of the
//! blocks.
//!
//! Behind the network stand the [cycles](crate::price::PriceItem::cycles) of all items in the order of the price matrix, those
//! in flash and those in RAM as postcard `u32`s, if the image was packed for a board or measured on one.
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

mod emit;
mod error;
mod header;
mod read;
mod summary;

use core::ops::Range;

use embedded_storage::nor_flash::ReadNorFlash;
use heapless::Vec;

use self::header::Header;
use crate::block::Unchecked;
use crate::crc::CRC32;
use crate::level::WeightFormat;
use crate::network::{Network, tables_bytes};
use crate::op::unary;
use crate::storage::{Mapped, OutOfBounds, stream};
use crate::stored::StoredPlans;

pub use self::emit::{EmitError, emit};
pub use self::error::ImageError;
pub use self::header::{CRC_BYTES, HEADER_BYTES, MAGIC, VERSION};
pub use self::summary::Summary;

/// A checked, borrowed view of an image's bytes, for networks of at most `N` layers and `K` levels.
///
/// ```
/// use bitbudget_core::{Image, ImageError};
///
/// fn layers(bytes: &[u8]) -> Result<usize, ImageError> {
///     Ok(Image::<32, 5>::parse(bytes)?.network().layers.len())
/// }
/// assert_eq!(layers(b"a photo"), Err(ImageError::Magic));
/// ```
#[derive(Clone, Debug)]
pub struct Image<'a, const N: usize, const K: usize> {
    network: Network<N, K>,
    /// None in an empty image, as the sections below.
    names: Option<&'a [u8]>,
    tables: Option<&'a [u8]>,
    plans: Option<&'a [u8]>,
    /// None when the image was opened in a storage, too.
    blocks: Option<&'a [u8]>,
    blocks_at: u32,
    /// By layer: where its blocks begin in the section.
    offsets: Vec<u32, N>,
}

impl<'a, const N: usize, const K: usize> Image<'a, N, K> {
    /// The image that `bytes` hold, all of it checked.
    ///
    /// # Errors
    /// The first fault found.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let mut image = Self::empty();
        image.set_bytes(bytes)?;
        Ok(image)
    }

    /// The image at the beginning of `storage`, all of it checked; its blocks stay where they are.
    ///
    /// `meta` receives all that is before the blocks and stays borrowed by the image.
    ///
    /// # Errors
    /// The first fault found; [`ImageError::MetaBytes`] tells how large `meta` must be.
    pub fn open<S: ReadNorFlash>(storage: &mut S, meta: &'a mut [u8]) -> Result<Self, ImageError> {
        let mut image = Self::empty();
        image.set_storage(storage, meta)?;
        Ok(image)
    }

    /// The image of a network without layers: a place for [`Self::set_bytes`]. All zeros, so that a program
    /// holds no copy of it.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            network: Network::empty(),
            names: None,
            tables: None,
            plans: None,
            blocks: None,
            blocks_at: 0,
            offsets: Vec::new(),
        }
    }

    /// Makes this the image that `bytes` hold, as [`Self::parse`] does, in place: an image is large, and
    /// where memory is short it is better not moved.
    ///
    /// # Errors
    /// The first fault found; the image is then empty.
    pub fn set_bytes(&mut self, bytes: &'a [u8]) -> Result<(), ImageError> {
        let outcome = self.read_bytes(bytes);
        self.emptied_on_error(outcome)
    }

    /// Makes this the image at the beginning of `storage`, as [`Self::open`] does, in place.
    ///
    /// # Errors
    /// The first fault found; the image is then empty.
    pub fn set_storage<S: ReadNorFlash>(
        &mut self,
        storage: &mut S,
        meta: &'a mut [u8],
    ) -> Result<(), ImageError> {
        let outcome = self.read_storage(storage, meta);
        self.emptied_on_error(outcome)
    }

    /// Leaves an empty image where one could not be read.
    fn emptied_on_error(&mut self, outcome: Result<(), ImageError>) -> Result<(), ImageError> {
        if outcome.is_err() {
            *self = const { Self::empty() };
        }
        outcome
    }

    fn read_bytes(&mut self, bytes: &'a [u8]) -> Result<(), ImageError> {
        let header = Header::read(bytes, bytes.len())?;
        let (body, carried) = bytes.split_at(bytes.len() - CRC_BYTES);
        check_crc(CRC32.checksum(body), carried)?;
        let (meta, blocks) = body[HEADER_BYTES..].split_at(header.meta_bytes());
        self.read_sections(&header, meta)?;
        self.blocks = Some(blocks);
        self.check_blocks(&mut Mapped(body), |OutOfBounds| ImageError::Storage)
    }

    fn read_storage<S: ReadNorFlash>(
        &mut self,
        storage: &mut S,
        meta: &'a mut [u8],
    ) -> Result<(), ImageError> {
        let failed = |_| ImageError::Storage;
        let mut header = [0; HEADER_BYTES];
        storage.read(0, &mut header).map_err(failed)?;
        let header = Header::find(&header, storage.capacity())?;
        let (expected, found) = (header.meta_bytes(), meta.len());
        let meta = meta.get_mut(..expected);
        let meta = meta.ok_or(ImageError::MetaBytes { expected, found })?;
        let end = (HEADER_BYTES + expected) as u32 + header.blocks;
        let mut digest = CRC32.digest();
        stream(storage, 0, end, &mut |bytes| digest.update(bytes)).map_err(failed)?;
        let mut carried = [0; CRC_BYTES];
        storage.read(end, &mut carried).map_err(failed)?;
        check_crc(digest.finalize(), &carried)?;
        storage.read(HEADER_BYTES as u32, meta).map_err(failed)?;
        self.read_sections(&header, meta)?;
        self.blocks = None;
        self.check_blocks(storage, failed)
    }

    /// Reads these sections; the blocks are not checked yet.
    fn read_sections(&mut self, header: &Header, meta: &'a [u8]) -> Result<(), ImageError> {
        let (network, rest) = meta.split_at(header.network as usize);
        let (names, plans) = rest.split_at(header.names as usize);
        self.network.read(network)?;
        let network = &self.network;
        network.check()?;
        check_names(names, network.layers.len())?;
        let tables = plans.split_at_checked(tables_bytes(&network.layers));
        let (tables, plans) = tables.ok_or(ImageError::Tables)?;
        if !unary::are_sound(tables) {
            return Err(ImageError::Tables);
        }
        let stored = StoredPlans::parse(network, plans).map_err(|()| ImageError::Plans)?;
        let sound = match stored {
            Some(stored) => stored.is_sound(),
            None => plans.iter().all(|byte| *byte == 0) && plans.len() < 4,
        };
        if !meta.len().is_multiple_of(4) || !sound {
            return Err(ImageError::Plans);
        }
        self.offsets.clear();
        let mut expected = 0_u64;
        for layer in 0..network.layers.len() {
            // in range: compared with the section's length below
            let full = self.offsets.push(expected as u32);
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
        (self.names, self.tables, self.plans) = (Some(names), Some(tables), Some(plans));
        self.blocks_at = (HEADER_BYTES + meta.len()) as u32;
        Ok(())
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
        StoredPlans::parse(&self.network, self.plans?).ok()?
    }

    /// The [tables](crate::op::unary) of the layers that apply a function, in their order.
    #[must_use]
    pub fn tables(&self) -> &'a [u8] {
        self.tables.unwrap_or_default()
    }

    /// Where the blocks section begins in the image.
    #[must_use]
    pub const fn blocks_at(&self) -> u32 {
        self.blocks_at
    }

    /// The blocks section; empty when the image was opened in a storage.
    #[must_use]
    pub const fn blocks(&self) -> &'a [u8] {
        match self.blocks {
            Some(blocks) => blocks,
            None => &[],
        }
    }

    /// Where a layer's block of this format lies in the blocks section; `None` where there is none.
    #[must_use]
    pub fn block_range(&self, layer: usize, format: WeightFormat) -> Option<Range<usize>> {
        let mut start = *self.offsets.get(layer)? as usize;
        let row = self.network.prices.rows.get(layer)?;
        for stored in WeightFormat::ALL {
            let mut items = row.iter();
            // whose bytes were checked to be the block's
            let Some(item) = items.find(|item| item.level.weight_format() == stored) else {
                continue;
            };
            let bytes = item.bytes as usize;
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
        let mut rest = self.names.unwrap_or_default();
        for _ in 0..layer {
            match postcard::take_from_bytes::<&str>(rest) {
                Ok((_, after)) => rest = after,
                Err(_) => return "",
            }
        }
        postcard::from_bytes(rest).unwrap_or_default()
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

//! What an image needs, before any memory is lent to it.

use super::read::Reader;
use super::{HEADER_BYTES, Header, ImageError};
use crate::network::{Layer, Preprocess, tables_bytes};
use crate::place::Cycles;
use crate::price::PriceItem;
use crate::quant::QParams;
use crate::shape::Shape;

/// What an image says of itself. It takes no memory to read, whatever the capacities of an
/// [`Image`](super::Image) are, and is not checked: for that is [`Image::parse`](super::Image::parse).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the whole image.
    pub image_bytes: u32,
    /// Bytes of all that is before the blocks: what [`Image::open`](super::Image::open) asks for.
    pub meta_bytes: u32,
    /// Layers of the network: the least `N`.
    pub layers: u32,
    /// The most levels of a layer: the least `K`.
    pub levels: u32,
    /// Shape of the input.
    pub input: Shape,
    /// Shape of the output.
    pub output: Shape,
    /// Whether it knows the cycles of its layers, so that plans can keep to a limit of them.
    pub has_cycles: bool,
    /// Whether it carries plans.
    pub has_plans: bool,
}

impl Summary {
    /// The summary of the image at the beginning of `bytes`. They need not reach beyond its network section.
    ///
    /// # Errors
    /// [`ImageError::Magic`], [`ImageError::Version`], [`ImageError::Length`] or [`ImageError::Network`].
    pub fn of(bytes: &[u8]) -> Result<Self, ImageError> {
        let mut header = Header::find(bytes, u32::MAX as usize);
        if let Err(ImageError::Length { found, .. }) = &mut header {
            *found = bytes.len();
        }
        let header = header?;
        let end = HEADER_BYTES.saturating_add(header.network as usize);
        let section = bytes.get(HEADER_BYTES..end).ok_or(ImageError::Length {
            expected: Some(end),
            found: bytes.len(),
        })?;
        let mut reader = Reader(section);
        let input: Shape = reader.next()?;
        let (_, _): (QParams, Preprocess) = (reader.next()?, reader.next()?);
        let layers: u32 = reader.next()?;
        let (mut output, mut tables) = (input, 0);
        for _ in 0..layers {
            let layer: Layer = reader.next()?;
            output = layer.output;
            tables += tables_bytes(&[layer]) as u32;
        }
        let _unit: f64 = reader.next()?;
        let rows: u32 = reader.next()?;
        let mut levels = 0;
        for _ in 0..rows {
            let items: u32 = reader.next()?;
            levels = levels.max(items);
            for _ in 0..items {
                let _: PriceItem = reader.next()?;
            }
        }
        let ties: u32 = reader.next()?;
        for _ in 0..ties {
            let _: [u16; 2] = reader.next()?;
        }
        let mut has_cycles = false;
        while !reader.0.is_empty() {
            let cycles: Cycles = reader.next()?;
            has_cycles |= cycles != Cycles::default();
        }
        Ok(Self {
            image_bytes: header.image_bytes().ok_or(ImageError::Network)? as u32,
            meta_bytes: header.meta_bytes() as u32,
            layers,
            levels,
            input,
            output,
            has_cycles,
            // up to three bytes pad the section
            has_plans: header.plans.saturating_sub(tables) >= 4,
        })
    }
}

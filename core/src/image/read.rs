//! Reads the network section in place.

use heapless::Vec;
use serde::Deserialize;

use super::ImageError;
use crate::network::Network;

/// What is left of a section.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn next<T: Deserialize<'a>>(&mut self) -> Result<T, ImageError> {
        let (value, rest) = postcard::take_from_bytes(self.0).map_err(|_| ImageError::Network)?;
        self.0 = rest;
        Ok(value)
    }
}

impl<const N: usize, const K: usize> Network<N, K> {
    /// Reads the network that a section holds, which postcard wrote, and the cycles behind it, if there are any.
    ///
    /// # Errors
    /// [`ImageError::Layers`], [`ImageError::Levels`] or [`ImageError::Network`]; the network is then anything.
    pub(super) fn read(&mut self, section: &[u8]) -> Result<(), ImageError> {
        let mut reader = Reader(section);
        self.input = reader.next()?;
        self.input_q = reader.next()?;
        self.preprocess = reader.next()?;
        self.layers.clear();
        let (found, limit): (u32, _) = (reader.next()?, N as u32);
        if found > limit {
            return Err(ImageError::Layers { found, limit });
        }
        for _ in 0..found {
            // there is room
            let _ = self.layers.push(reader.next()?);
        }
        self.read_prices(&mut reader)?;
        if reader.0.is_empty() {
            return Ok(());
        }
        for item in self.prices.rows.iter_mut().flatten() {
            item.cycles = reader.next()?;
        }
        if reader.0.is_empty() {
            Ok(())
        } else {
            Err(ImageError::Network)
        }
    }

    fn read_prices(&mut self, reader: &mut Reader<'_>) -> Result<(), ImageError> {
        let prices = &mut self.prices;
        prices.rows.clear();
        prices.ties.clear();
        prices.unit = reader.next()?;
        let rows: u32 = reader.next()?;
        for layer in 0..rows {
            let full = prices.rows.push(Vec::new());
            full.map_err(|_| ImageError::Network)?;
            let (found, limit): (u32, _) = (reader.next()?, K as u32);
            if found > limit {
                return Err(ImageError::Levels {
                    layer,
                    found,
                    limit,
                });
            }
            for _ in 0..found {
                // there is room
                let _ = prices.rows[layer as usize].push(reader.next()?);
            }
        }
        let ties: u32 = reader.next()?;
        for _ in 0..ties {
            let full = prices.ties.push(reader.next()?);
            full.map_err(|_| ImageError::Network)?;
        }
        Ok(())
    }
}

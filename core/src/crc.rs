//! The checksum of images and frames.

use crc::{CRC_32_ISO_HDLC, Crc};

/// CRC-32 (ISO-HDLC), with one table for the whole program.
pub(crate) static CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

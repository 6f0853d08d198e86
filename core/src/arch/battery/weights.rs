//! Random weights and taps, and sums of their products one by one.

use std::ops::Range;
use std::vec::Vec;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::arch::im2col::Rows;
use crate::quant::Width;

/// A row of weights for each channel, packed as the engine packs them, with bytes of something else
/// between the rows.
pub(crate) struct Weights {
    pub(crate) width: Width,
    pub(crate) rows: Vec<Vec<i8>>,
    bytes: Vec<u8>,
    pitch: usize,
}

impl Weights {
    pub(crate) fn new(rng: &mut SmallRng, rows: Vec<Vec<i8>>, width: Width) -> Self {
        let len = rows.first().map_or(0, Vec::len);
        let gap = rng.random_range(0..6) * rng.random_range(0..2);
        let pitch = width.row_bytes(len) + gap;
        let mut bytes = Vec::new();
        for row in &rows {
            let packed = match width {
                Width::Int8 => row.iter().map(|w| w.cast_unsigned()).collect(),
                Width::Int4 => packed(row, 2, |w| w.cast_unsigned() & 0xf),
                Width::Int2 => packed(row, 4, |w| (w >> 1).cast_unsigned() & 0x3),
            };
            bytes.extend(packed);
            bytes.resize(bytes.len() + gap, rng.random());
        }
        bytes.truncate(bytes.len() - gap.min(bytes.len()));
        Self {
            width,
            rows,
            bytes,
            pitch,
        }
    }

    pub(crate) fn random(rng: &mut SmallRng, channels: usize, len: usize, width: Width) -> Self {
        let mut row = || (0..len).map(|_| weight(rng, width)).collect();
        let rows = (0..channels).map(|_| row()).collect();
        Self::new(rng, rows, width)
    }

    /// The rows from weight `from` on.
    pub(crate) fn rows_from(&self, from: usize) -> Rows<'_> {
        Rows {
            width: self.width,
            bytes: &self.bytes[self.width.row_bytes(from)..],
            pitch: self.pitch,
        }
    }
}

fn packed(row: &[i8], per_byte: usize, code: impl Fn(i8) -> u8) -> Vec<u8> {
    let byte = |weights: &[i8]| {
        let lanes = weights.iter().enumerate();
        lanes.fold(0, |byte, (lane, w)| {
            byte | code(*w) << (8 / per_byte * lane)
        })
    };
    row.chunks(per_byte).map(byte).collect()
}

fn weight(rng: &mut SmallRng, width: Width) -> i8 {
    let max = width.max();
    match width {
        Width::Int8 | Width::Int4 => rng.random_range(-max..=max),
        Width::Int2 => [-3, -1, 1, 3][rng.random_range(0..4)],
    }
}

pub(crate) fn taps(rng: &mut SmallRng, len: usize) -> Vec<i8> {
    (0..len).map(|_| rng.random()).collect()
}

/// Adds the products of taps and rows to the sums.
pub(crate) fn naive(taps: &[Vec<i8>], rows: &[Vec<i8>], within: &Range<usize>, sums: &mut [i32]) {
    for (row, sums) in rows.iter().zip(sums.chunks_mut(taps.len())) {
        for (taps, sum) in taps.iter().zip(sums) {
            for i in within.clone() {
                *sum += i32::from(taps[i]) * i32::from(row[i]);
            }
        }
    }
}

/// Random taps, or the same one or either of the ends everywhere.
pub(crate) fn values(rng: &mut SmallRng, len: usize) -> Vec<i8> {
    match rng.random_range(0..4) {
        0 => std::vec![[-128, 127][rng.random_range(0..2)]; len],
        1 => (0..len)
            .map(|_| if rng.random() { -128 } else { 127 })
            .collect(),
        _ => taps(rng, len),
    }
}

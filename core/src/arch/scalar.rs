//! The reference loops in plain Rust.

use super::pixels::Pixels;
use crate::level::{Rounding, Width};
use crate::quant::QParams;

/// Σ a·b in 32 bits, over the shorter length.
///
/// The caller bounds the length by [`Op::MAX_REDUCTION`](crate::op::Op::MAX_REDUCTION), so that the
/// sum cannot overflow.
#[must_use]
pub fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let product = |(a, b): (&i8, &i8)| i32::from(*a) * i32::from(*b);
    a.iter().zip(b).map(product).sum()
}

/// The inputs under the windows of one pixel or four, in rows of taps (im2col).
#[derive(Clone, Debug)]
pub struct Patches {
    taps: [i8; Self::TAPS],
    pixels: Pixels,
}

impl Default for Patches {
    fn default() -> Self {
        Self::new()
    }
}

impl Patches {
    const TAPS: usize = Pixels::MOST * 288;

    /// Room for patches.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            taps: [0; Self::TAPS],
            pixels: Pixels::Four,
        }
    }

    /// The most taps of each of `pixels`; a multiple of 16.
    #[must_use]
    pub const fn capacity(pixels: Pixels) -> usize {
        Self::TAPS / pixels.count()
    }

    /// Makes ready for the patches of `pixels`.
    pub fn begin(&mut self, pixels: Pixels) {
        self.pixels = pixels;
    }

    /// Writes inputs as the taps from `at` on of a pixel.
    ///
    /// # Panics
    /// Past the capacity.
    pub fn put(&mut self, pixel: usize, at: usize, from: &[i8]) {
        self.row(pixel)[at..][..from.len()].copy_from_slice(from);
    }

    /// Writes `rows` runs of `run` inputs, which begin `pitch` inputs apart, as the first taps of a pixel.
    ///
    /// # Panics
    /// Past the capacity, or when the inputs end early.
    pub fn put_rows(&mut self, pixel: usize, from: &[i8], rows: usize, run: usize, pitch: usize) {
        for row in 0..rows {
            self.put(pixel, row * run, &from[row.saturating_mul(pitch)..][..run]);
        }
    }

    /// Writes `value` as `len` taps from `at` on of a pixel.
    ///
    /// # Panics
    /// Past the capacity.
    pub fn fill(&mut self, pixel: usize, at: usize, len: usize, value: i8) {
        self.row(pixel)[at..][..len].fill(value);
    }

    fn row(&mut self, pixel: usize) -> &mut [i8] {
        let capacity = Self::capacity(self.pixels);
        &mut self.taps[pixel * capacity..][..capacity]
    }

    /// Ends the patches, whose taps 0..`len` were all written, for weights of this width.
    ///
    /// # Panics
    /// Past the capacity.
    pub fn seal(&mut self, len: usize, _: Width) {
        assert!(len <= Self::capacity(self.pixels), "room for the taps");
    }

    /// Adds to `sums`, one for each pixel of each row of weights, the products of taps 0..`len` and
    /// weights; the patches were sealed for this length and width.
    ///
    /// # Panics
    /// When a row of weights ends early.
    pub fn dots(&self, len: usize, rows: &Rows<'_>, sums: &mut [i32]) {
        let taps = self.taps.chunks_exact(Self::capacity(self.pixels));
        for (channel, sums) in sums.chunks_exact_mut(self.pixels.count()).enumerate() {
            let row = rows.row(channel, len);
            for (sum, taps) in sums.iter_mut().zip(taps.clone()) {
                *sum += dot(&taps[..len], row, rows.width);
            }
        }
    }
}

/// Rows of integer weights, one for each output channel.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// How they are packed.
    pub width: Width,
    /// From the first row's first weight to the last row's last.
    pub bytes: &'a [u8],
    /// From the beginning of a row to the next.
    pub pitch: usize,
}

impl<'a> Rows<'a> {
    /// The first `len` weights of a row.
    ///
    /// # Panics
    /// When they are not there.
    #[must_use]
    pub fn row(&self, channel: usize, len: usize) -> &'a [u8] {
        &self.bytes[channel.saturating_mul(self.pitch)..][..self.width.row_bytes(len)]
    }
}

/// Weight `i` of a packed row.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn weight(row: &[u8], i: usize, width: Width) -> i8 {
    match width {
        Width::Int8 => row[i].cast_signed(),
        Width::Int4 => int4(row[i / 2], i % 2) as i8,
        Width::Int2 => int2(row[i / 4], i % 4) as i8,
    }
}

/// Σ a·b in 32 bits with the weights of a packed row.
fn dot(a: &[i8], row: &[u8], width: Width) -> i32 {
    match width {
        Width::Int8 => dot_i8(a, bytemuck::cast_slice(row)),
        Width::Int4 => dot_packed::<2>(a, row, int4),
        Width::Int2 => dot_packed::<4>(a, row, int2),
    }
}

/// Weight `lane` of a byte that packs two.
fn int4(byte: u8, lane: usize) -> i32 {
    i32::from((byte << (4 - 4 * lane)).cast_signed() >> 4)
}

/// Weight `lane` of a byte that packs four.
fn int2(byte: u8, lane: usize) -> i32 {
    2 * i32::from((byte << (6 - 2 * lane)).cast_signed() >> 6) + 1
}

fn dot_packed<const PER_BYTE: usize>(
    a: &[i8],
    row: &[u8],
    weight: impl Fn(u8, usize) -> i32,
) -> i32 {
    let products = a.chunks(PER_BYTE).zip(row).map(|(a, byte)| {
        let lanes = a.iter().enumerate();
        lanes
            .map(|(lane, a)| i32::from(*a) * weight(*byte, lane))
            .sum::<i32>()
    });
    products.sum()
}

/// Gives the sums of a bias and the products of `input` and of a row of weights, for each bias in order: each
/// of some sums, the first of which is that of the given row. Rows begin `pitch` weights apart.
///
/// # Panics
/// When a row of weights ends early.
pub fn dots_i8(
    input: &[i8],
    weights: &[i8],
    pitch: usize,
    bias: &[i32],
    mut each: impl FnMut(usize, &[i32]),
) {
    let row = |row: usize| &weights[row.saturating_mul(pitch)..][..input.len()];
    let (fours, rest) = bias.as_chunks::<4>();
    for (four, bias) in fours.iter().enumerate() {
        let first = 4 * four;
        let [a, b, c, d] = [first, first + 1, first + 2, first + 3].map(row);
        let mut sums = *bias;
        for (i, x) in input.iter().enumerate() {
            for (sum, row) in sums.iter_mut().zip([a, b, c, d]) {
                *sum += i32::from(*x) * i32::from(row[i]);
            }
        }
        each(first, &sums);
    }
    for (i, bias) in rest.iter().enumerate() {
        let first = 4 * fours.len() + i;
        each(first, &[bias + dot_i8(input, row(first))]);
    }
}

/// Adds to each of `sums` the products of `input` and of a row of weights, rows beginning `pitch` weights
/// apart: each in eight interleaved partial sums.
///
/// # Panics
/// When a row of weights ends early.
pub fn dots_f32(input: &[f32], weights: &[f32], pitch: usize, sums: &mut [f32]) {
    dots_lanes(input, weights, pitch, sums, |weight| weight);
}

/// As [`dots_f32`] with finite binary16 weights.
///
/// # Panics
/// When a row of weights ends early.
pub fn dots_f16(input: &[f32], weights: &[u16], pitch: usize, sums: &mut [f32]) {
    dots_lanes(input, weights, pitch, sums, half);
}

/// The real number of a finite binary16: its exponent and mantissa read as those of an `f32` are
/// 2^112 times too small, which a multiplication makes up for without rounding.
#[must_use]
pub fn half(bits: u16) -> f32 {
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * SCALE;
    f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
}

fn dots_lanes<T: Copy>(
    input: &[f32],
    weights: &[T],
    pitch: usize,
    sums: &mut [f32],
    real: impl Fn(T) -> f32,
) {
    const LANES: usize = 8;
    let (a, a_rest) = input.as_chunks::<LANES>();
    for (channel, sum) in sums.iter_mut().enumerate() {
        let row = &weights[channel.saturating_mul(pitch)..][..input.len()];
        let (b, b_rest) = row.as_chunks::<LANES>();
        let mut lanes = [0.0_f32; LANES];
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                lanes[lane] += a[lane] * real(b[lane]);
            }
        }
        let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * real(*b)).sum();
        *sum += lanes.iter().sum::<f32>() + rest;
    }
}

/// Writes the sums of each four neighbouring channels: their biases and the products of their taps and
/// weights, of which each channel has its own. Tap `t` of the first channel is the input at `offsets[t]`;
/// weights come by fours of channels, then by tap.
///
/// # Panics
/// When the input, the weights or the biases end early.
pub fn depthwise(
    input: &[i8],
    offsets: &[u32],
    weights: &[[i16; 4]],
    bias: &[[i32; 4]],
    sums: &mut [[i32; 4]],
) {
    sums.copy_from_slice(&bias[..sums.len()]);
    for (four, sums) in sums.iter_mut().enumerate() {
        let weights = &weights[four * offsets.len()..][..offsets.len()];
        for (offset, weights) in offsets.iter().zip(weights) {
            let taps = &input[*offset as usize + 4 * four..][..4];
            for channel in 0..4 {
                sums[channel] += i32::from(taps[channel]) * i32::from(weights[channel]);
            }
        }
    }
}

/// Adds to the sums of each eight neighbouring channels the products of their taps, of which there are
/// `count`, `step` inputs apart, and weights, of which each channel has its own: eights of them by tap, those
/// of the next channels `pitch` eights further.
///
/// # Panics
/// When the input or the weights end early.
pub fn depthwise_f32(
    input: &[f32],
    (step, count): (usize, usize),
    weights: &[[f32; 8]],
    pitch: usize,
    sums: &mut [[f32; 8]],
) {
    for (eight, sums) in sums.iter_mut().enumerate() {
        let weights = &weights[eight.saturating_mul(pitch)..][..count];
        for (tap, weights) in weights.iter().enumerate() {
            let taps = &input[tap.saturating_mul(step)..][8 * eight..][..8];
            for channel in 0..8 {
                sums[channel] += taps[channel] * weights[channel];
            }
        }
    }
}

/// Writes [`QParams::quantize`] of each real number, but at least `low` and at most `high`.
pub fn quantize(
    reals: &[f32],
    q: QParams,
    rounding: Rounding,
    [low, high]: [i8; 2],
    to: &mut [i8],
) {
    let all = to.iter_mut().zip(reals);
    let quantized = |real: &f32, rounding| q.quantize(*real, rounding).max(low).min(high);
    match rounding {
        Rounding::Nearest => all.for_each(|(to, x)| *to = quantized(x, Rounding::Nearest)),
        Rounding::Floor => all.for_each(|(to, x)| *to = quantized(x, Rounding::Floor)),
        Rounding::Ceil => all.for_each(|(to, x)| *to = quantized(x, Rounding::Ceil)),
    }
}

/// Adds each element to its sum.
pub fn add_i8(sums: &mut [i32], elements: &[i8]) {
    for (sum, element) in sums.iter_mut().zip(elements) {
        *sum += i32::from(*element);
    }
}

/// Writes the larger of each two elements.
pub fn max_i8(to: &mut [i8], from: &[i8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = (*to).max(*from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_half_is_read_exactly() {
        for bits in 0..=u16::MAX {
            let want = ::half::f16::from_bits(bits);
            if want.is_finite() {
                assert_eq!(half(bits).to_bits(), want.to_f32().to_bits(), "{bits:#06x}");
            }
        }
    }
}

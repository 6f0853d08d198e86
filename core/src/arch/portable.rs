//! The reference: every kernel in safe Rust, compiled for every target.

use super::im2col::{Im2col, Rows};
use super::pixels::Pixels;
use crate::quant::{QParams, Rounding, Width};

/// Any processor.
pub(crate) struct Portable;

/// Σ a·b in 32 bits, over the shorter length.
///
/// The caller bounds the length by [`Op::MAX_REDUCTION`](crate::op::Op::MAX_REDUCTION), so that the
/// sum cannot overflow.
fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let product = |(a, b): (&i8, &i8)| i32::from(*a) * i32::from(*b);
    a.iter().zip(b).map(product).sum()
}

/// Taps of one pixel as they are, or each tap of four pixels as two words of two each: the first of the two, and
/// 2^16 times the second.
#[derive(Clone, Debug)]
pub(crate) struct PortableIm2col {
    taps: [[i32; 2]; Self::FOURS],
    pixels: Pixels,
}

impl PortableIm2col {
    const FOURS: usize = 288;

    /// The taps of one pixel.
    fn single(&mut self) -> &mut [i8] {
        bytemuck::cast_slice_mut(self.taps.as_flattened_mut())
    }

    /// The taps of four pixels; `None` of a single one.
    #[cfg(arm_v6m)]
    pub(crate) fn fours(&self) -> Option<&[[i32; 2]]> {
        (self.pixels == Pixels::Four).then_some(&self.taps)
    }

    /// As [`fours`](Self::fours).
    #[cfg(arm_v6m)]
    pub(crate) fn fours_mut(&mut self) -> Option<&mut [[i32; 2]]> {
        (self.pixels == Pixels::Four).then_some(&mut self.taps)
    }
}

impl Im2col for PortableIm2col {
    fn new() -> Self {
        Self {
            taps: [[0; _]; _],
            pixels: Pixels::Four,
        }
    }

    fn capacity(pixels: Pixels) -> usize {
        match pixels {
            Pixels::One => size_of::<[[i32; 2]; Self::FOURS]>(),
            Pixels::Four => Self::FOURS,
        }
    }

    fn begin(&mut self, pixels: Pixels) {
        self.pixels = pixels;
    }

    fn put(&mut self, pixel: usize, at: usize, from: &[i8]) {
        match self.pixels {
            Pixels::One => self.single()[at..][..from.len()].copy_from_slice(from),
            Pixels::Four => {
                let taps = self.taps[at..][..from.len()].iter_mut();
                taps.zip(from)
                    .for_each(|(taps, tap)| put(taps, pixel, *tap));
            }
        }
    }

    fn fill(&mut self, pixel: usize, at: usize, len: usize, value: i8) {
        match self.pixels {
            Pixels::One => self.single()[at..][..len].fill(value),
            Pixels::Four => {
                let taps = self.taps[at..][..len].iter_mut();
                taps.for_each(|taps| put(taps, pixel, value));
            }
        }
    }

    fn seal(&mut self, len: usize, _: Width) {
        assert!(len <= Self::capacity(self.pixels), "room for the taps");
    }

    fn dots(&self, len: usize, rows: &Rows<'_>, sums: &mut [i32]) {
        match self.pixels {
            Pixels::One => {
                let taps = bytemuck::cast_slice(self.taps.as_flattened());
                for (channel, sum) in sums.iter_mut().enumerate() {
                    *sum += dot(&taps[..len], rows.row(channel, len), rows.width);
                }
            }
            Pixels::Four => {
                let taps = &self.taps[..len];
                let mut unpacked = [0; Self::FOURS];
                for (channel, sums) in sums.as_chunks_mut().0.iter_mut().enumerate() {
                    let row = rows.row(channel, len);
                    match rows.width {
                        Width::Int8 => {
                            dots_of_four::<RUN_INT8>(taps, bytemuck::cast_slice(row), sums);
                        }
                        Width::Int4 => {
                            let weights = unpack::<2>(row, int4, &mut unpacked[..len]);
                            dots_of_four::<RUN_PACKED>(taps, weights, sums);
                        }
                        Width::Int2 => {
                            let weights = unpack::<4>(row, int2, &mut unpacked[..len]);
                            dots_of_four::<RUN_PACKED>(taps, weights, sums);
                        }
                    }
                }
            }
        }
    }
}

/// Writes a tap of one of four pixels, after those of the pixels before it.
fn put(taps: &mut [i32; 2], pixel: usize, tap: i8) {
    let pair = &mut taps[pixel / 2];
    if pixel.is_multiple_of(2) {
        *pair = i32::from(tap);
    } else {
        *pair += i32::from(tap) << 16;
    }
}

/// `RUN` products of any tap and weight are together between -`HALF` and 2^16 - `HALF`: with this much added, they are
/// half a word without a sign.
pub(crate) const HALF: i32 = 2 * 127 * 128;
/// Products of INT8 weights that may share a lower half, those of INT4 weights and those of INT2 weights.
pub(crate) const RUN_INT8: usize = 2;
pub(crate) const RUN_PACKED: usize = 32;

/// Adds to the sums of four pixels the products of their taps and the same weights; one multiplication is for two
/// pixels.
fn dots_of_four<const RUN: usize>(taps: &[[i32; 2]], weights: &[i8], sums: &mut [i32; 4]) {
    let (taps, last_taps) = taps.as_chunks::<RUN>();
    let (weights, last_weights) = weights.as_chunks::<RUN>();
    // values of their own, for registers
    let added = (taps.len() as i32 + 1) * HALF;
    let [mut a, mut b, mut c, mut d] = sums.map(|sum| sum.wrapping_sub(added));
    let mut add = |[ab, cd]: [u32; 2]| {
        a = a.wrapping_add_unsigned(ab & 0xffff);
        b = b.wrapping_add_unsigned(ab >> 16);
        c = c.wrapping_add_unsigned(cd & 0xffff);
        d = d.wrapping_add_unsigned(cd >> 16);
    };
    for (taps, weights) in taps.iter().zip(weights) {
        add(run(taps, weights));
    }
    add(run(last_taps, last_weights));
    *sums = [a, b, c, d];
}

/// The sums of a run of products for two pixels each, with [`HALF`] in either half.
#[inline(always)]
fn run(taps: &[[i32; 2]], weights: &[i8]) -> [u32; 2] {
    let mut sums = [HALF << 16 | HALF; 2];
    let mut add = |taps: &[i32; 2], weight: i8| {
        for (sum, taps) in sums.iter_mut().zip(taps) {
            *sum = sum.wrapping_add(taps.wrapping_mul(i32::from(weight)));
        }
    };
    let (taps, last_taps) = taps.as_chunks::<4>();
    let (weights, last_weights) = weights.as_chunks::<4>();
    for (taps, weights) in taps.iter().zip(weights) {
        for (taps, weight) in taps.iter().zip(weights) {
            add(taps, *weight);
        }
    }
    for (taps, weight) in last_taps.iter().zip(last_weights) {
        add(taps, *weight);
    }
    sums.map(i32::cast_unsigned)
}

/// The weights of a packed row.
fn unpack<'t, const PER_BYTE: usize>(
    row: &[u8],
    weight: impl Fn(u8, usize) -> i32,
    to: &'t mut [i8],
) -> &'t [i8] {
    let (whole, last) = to.as_chunks_mut::<PER_BYTE>();
    for (to, byte) in whole.iter_mut().zip(row) {
        for (lane, to) in to.iter_mut().enumerate() {
            *to = weight(*byte, lane) as i8;
        }
    }
    for (lane, to) in last.iter_mut().enumerate() {
        *to = weight(row[whole.len()], lane) as i8;
    }
    to
}

/// Weight `i` of a packed row.
///
/// # Panics
/// When it is not there.
#[must_use]
pub(crate) fn weight(row: &[u8], i: usize, width: Width) -> i8 {
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

/// Calls `each(first row, sums)` for blocks of rows in order, with a sum for each row: its bias and the products
/// of `input` and the row's weights. Rows begin `pitch` weights apart.
///
/// # Panics
/// When a row of weights ends early.
pub(crate) fn dots_i8(
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

/// Adds to each of `sums` the products of `input` and its row of weights, in eight interleaved partial sums.
/// Rows begin `pitch` weights apart.
///
/// # Panics
/// When a row of weights ends early.
pub(crate) fn dots_f32(input: &[f32], weights: &[f32], pitch: usize, sums: &mut [f32]) {
    dots_lanes(input, weights, pitch, sums, |weight| weight);
}

/// As [`dots_f32`] with finite binary16 weights.
///
/// # Panics
/// When a row of weights ends early.
pub(crate) fn dots_f16(input: &[f32], weights: &[u16], pitch: usize, sums: &mut [f32]) {
    dots_lanes(input, weights, pitch, sums, half);
}

/// The real number of a finite binary16: its exponent and mantissa read as those of an `f32` are
/// 2^112 times too small, which a multiplication makes up for without rounding.
#[must_use]
pub(crate) fn half(bits: u16) -> f32 {
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

/// Depthwise convolution of one pixel: writes the sums of fours of neighbouring channels, each its bias and
/// the products of its own taps and weights. Tap `t` of the first channel is the input at `offsets[t]`;
/// weights are `[channels / 4, taps, 4]`.
///
/// # Panics
/// When the input, the weights or the biases end early.
pub(crate) fn depthwise(
    input: &[i8],
    offsets: &[u32],
    weights: &[[i16; 4]],
    bias: &[[i32; 4]],
    sums: &mut [[i32; 4]],
) {
    sums.copy_from_slice(&bias[..sums.len()]);
    for (four, sums) in sums.iter_mut().enumerate() {
        let weights = &weights[four * offsets.len()..][..offsets.len()];
        // a value of its own, for registers
        let mut own = *sums;
        for (offset, weights) in offsets.iter().zip(weights) {
            let taps = &input[*offset as usize + 4 * four..][..4];
            for channel in 0..4 {
                own[channel] += i32::from(taps[channel]) * i32::from(weights[channel]);
            }
        }
        *sums = own;
    }
}

/// Depthwise convolution of one pixel by one kernel row: adds to the sums of eights of neighbouring channels
/// the products of `count` taps, `step` inputs apart, and each channel's own weights. Weights are eights of
/// channels by tap, those of the next eight channels `pitch` taps further.
///
/// # Panics
/// When the input or the weights end early.
pub(crate) fn depthwise_f32(
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
pub(crate) fn quantize(
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
pub(crate) fn add_i8(sums: &mut [i32], elements: &[i8]) {
    for (sum, element) in sums.iter_mut().zip(elements) {
        *sum += i32::from(*element);
    }
}

/// Writes the larger of each two elements.
pub(crate) fn max_i8(to: &mut [i8], from: &[i8]) {
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

//! Loops for Armv7-M without the DSP extension (Cortex-M3) and Armv8-M main line without it: one
//! product and sum in an instruction.
//!
//! Inputs are widened to 32 bits once and meet every row of weights.

#![expect(unsafe_code, reason = "several registers loaded at once")]

use core::arch::global_asm;

use super::im2col::{Im2col, Rows};
use super::kernels::IntKernels;
use super::pixels::Pixels;
use super::strips::NoStrips;
use crate::quant::Width;

/// The multiply-accumulate instruction.
pub(crate) struct Mla;

impl IntKernels for Mla {
    type Im2col = MlaIm2col;
    type Strips = NoStrips;
}

/// Taps of 32 bits; a tap of a pixel lies next to the same tap of the next pixel.
#[derive(Clone, Debug)]
pub(crate) struct MlaIm2col {
    taps: [i32; Self::TAPS],
    pixels: Pixels,
}

impl MlaIm2col {
    const TAPS: usize = Pixels::MOST * 144;

    /// Taps `at`..`at + len` of all pixels.
    fn taps_of(&mut self, at: usize, len: usize) -> &mut [i32] {
        let pixels = self.pixels.count();
        let first = at.saturating_mul(pixels);
        &mut self.taps[first..][..len.saturating_mul(pixels)]
    }
}

impl Im2col for MlaIm2col {
    fn new() -> Self {
        Self {
            taps: [0; Self::TAPS],
            pixels: Pixels::Four,
        }
    }

    fn capacity(pixels: Pixels) -> usize {
        Self::TAPS / pixels.count()
    }

    fn begin(&mut self, pixels: Pixels) {
        self.pixels = pixels;
    }

    fn put(&mut self, pixel: usize, at: usize, from: &[i8]) {
        let pixels = self.pixels;
        let taps = self.taps_of(at, from.len());
        match pixels {
            Pixels::One => widen::<1>(from, taps, pixel),
            Pixels::Four => widen::<{ Pixels::MOST }>(from, taps, pixel),
        }
    }

    fn fill(&mut self, pixel: usize, at: usize, len: usize, value: i8) {
        let pixels = self.pixels.count();
        let taps = self.taps_of(at, len).iter_mut();
        let taps = taps.skip(pixel).step_by(pixels);
        taps.for_each(|tap| *tap = value.into());
    }

    fn seal(&mut self, len: usize, width: Width) {
        assert!(len <= Self::capacity(self.pixels), "room for the taps");
        // to a whole byte of weights
        let padded = len.next_multiple_of(8 / width.bits() as usize);
        self.taps_of(len, padded - len).fill(0);
    }

    fn dots(&self, len: usize, rows: &Rows<'_>, sums: &mut [i32]) {
        let bytes = rows.width.row_bytes(len);
        let channels = sums.len() / self.pixels.count();
        let Some(last) = channels.checked_sub(1) else {
            return;
        };
        assert!(len <= Self::capacity(self.pixels), "room for the taps");
        assert!(rows.pitch >= bytes, "rows do not overlap");
        let _: &[u8] = rows.row(last, len);
        let mut args = DotsArgs {
            taps: self.taps.as_ptr(),
            weights: rows.bytes.as_ptr(),
            sums: sums.as_mut_ptr(),
            channels,
            quads: bytes / 4,
            bytes: bytes % 4,
            gap: rows.pitch - bytes,
        };
        let run = match (rows.width, self.pixels == Pixels::One) {
            (Width::Int8, false) => bitbudget_mla4_int8,
            (Width::Int4, false) => bitbudget_mla4_int4,
            (Width::Int2, false) => bitbudget_mla4_int2,
            (Width::Int8, true) => bitbudget_mla1_int8,
            (Width::Int4, true) => bitbudget_mla1_int4,
            (Width::Int2, true) => bitbudget_mla1_int2,
        };
        // SAFETY: the loop reads the rows: the last was found to be there, and so are those before it, as rows
        // do not overlap. It reads the words of as many taps, rounded up to a byte of weights, which the
        // capacity, a multiple of every byte's taps, has. It updates a sum for each pixel of each row:
        // `channels` are the whole rows of `sums`, and `pixels` is one or four by its type
        unsafe { run(&raw mut args) };
    }
}

/// Writes each tap as the `pixel`-th of `P` words.
fn widen<const P: usize>(from: &[i8], to: &mut [i32], pixel: usize) {
    let mut to = to.as_chunks_mut::<P>().0;
    let (fours, rest) = from.as_chunks::<4>();
    for four in fours {
        let (first, others) = to.split_at_mut(4);
        (0..4).for_each(|i| first[i][pixel] = four[i].into());
        to = others;
    }
    for (to, tap) in to.iter_mut().zip(rest) {
        to[pixel] = i32::from(*tap);
    }
}

/// Arguments of the loops, which know their offsets.
#[repr(C)]
struct DotsArgs {
    taps: *const i32,
    weights: *const u8,
    sums: *mut i32,
    /// At least 1.
    channels: usize,
    /// A row: fours of bytes, bytes.
    quads: usize,
    bytes: usize,
    /// From the end of a row to the beginning of the next.
    gap: usize,
}

unsafe extern "C" {
    fn bitbudget_mla4_int8(args: *mut DotsArgs);
    fn bitbudget_mla4_int4(args: *mut DotsArgs);
    fn bitbudget_mla4_int2(args: *mut DotsArgs);
    fn bitbudget_mla1_int8(args: *mut DotsArgs);
    fn bitbudget_mla1_int4(args: *mut DotsArgs);
    fn bitbudget_mla1_int2(args: *mut DotsArgs);
}

global_asm!(include_str!("arm_mla.s"), options(raw));

#[cfg(test)]
battery!(int, Mla);

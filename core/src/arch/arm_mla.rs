//! Loops for Armv7-M without the DSP extension (Cortex-M3) and Armv8-M main line without it: one
//! product and sum in an instruction.
//!
//! Inputs are widened to 32 bits once and meet every row of weights.

#![expect(unsafe_code, reason = "several registers loaded at once")]

use core::arch::global_asm;

use super::scalar::Rows;
use crate::level::Width;

/// As [`scalar::Patches`](super::scalar::Patches); a tap of a pixel lies next to the same of the next.
#[derive(Clone, Debug)]
pub struct Patches {
    taps: [i32; Self::TAPS],
    pixels: usize,
}

impl Default for Patches {
    fn default() -> Self {
        Self::new()
    }
}

impl Patches {
    /// Pixels that share a pass over the weights.
    pub const PIXELS: usize = 4;
    const TAPS: usize = Self::PIXELS * 144;

    /// Room for patches.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            taps: [0; Self::TAPS],
            pixels: Self::PIXELS,
        }
    }

    /// As [`scalar::Patches::capacity`](super::scalar::Patches::capacity).
    #[must_use]
    pub const fn capacity(pixels: usize) -> usize {
        Self::TAPS / pixels
    }

    /// As [`scalar::Patches::begin`](super::scalar::Patches::begin).
    pub fn begin(&mut self, pixels: usize) {
        self.pixels = pixels;
    }

    /// As [`scalar::Patches::put`](super::scalar::Patches::put).
    ///
    /// # Panics
    /// Past the capacity.
    pub fn put(&mut self, pixel: usize, at: usize, from: &[i8]) {
        let taps = &mut self.taps[at * self.pixels..(at + from.len()) * self.pixels];
        if self.pixels == 1 {
            widen::<1>(from, taps, 0);
        } else {
            widen::<{ Self::PIXELS }>(from, taps, pixel);
        }
    }

    /// As [`scalar::Patches::put_rows`](super::scalar::Patches::put_rows).
    ///
    /// # Panics
    /// Past the capacity, or when the inputs end early.
    pub fn put_rows(&mut self, pixel: usize, from: &[i8], rows: usize, run: usize, pitch: usize) {
        for row in 0..rows {
            self.put(pixel, row * run, &from[row * pitch..][..run]);
        }
    }

    /// As [`scalar::Patches::fill`](super::scalar::Patches::fill).
    ///
    /// # Panics
    /// Past the capacity.
    pub fn fill(&mut self, pixel: usize, at: usize, len: usize, value: i8) {
        let taps = &mut self.taps[at * self.pixels..(at + len) * self.pixels];
        let taps = taps.iter_mut().skip(pixel).step_by(self.pixels);
        taps.for_each(|tap| *tap = value.into());
    }

    /// As [`scalar::Patches::seal`](super::scalar::Patches::seal).
    ///
    /// # Panics
    /// Past the capacity.
    pub fn seal(&mut self, len: usize, width: Width) {
        // to a whole byte of weights
        let padded = len.next_multiple_of(8 / width.bits() as usize);
        self.taps[len * self.pixels..padded * self.pixels].fill(0);
    }

    /// As [`scalar::Patches::dots`](super::scalar::Patches::dots).
    ///
    /// # Panics
    /// When a row of weights ends early.
    pub fn dots(&self, len: usize, rows: &Rows<'_>, sums: &mut [i32]) {
        let bytes = rows.width.row_bytes(len);
        let channels = sums.len() / self.pixels;
        let Some(last) = channels.checked_sub(1) else {
            return;
        };
        assert!(len <= Self::capacity(self.pixels), "room for the taps");
        assert!(rows.pitch >= bytes, "rows do not overlap");
        let _: &[u8] = rows.row(last, len);
        let mut job = Job {
            patches: self.taps.as_ptr(),
            weights: rows.bytes.as_ptr(),
            sums: sums.as_mut_ptr(),
            channels,
            quads: bytes / 4,
            bytes: bytes % 4,
            gap: rows.pitch - bytes,
        };
        let run = match (rows.width, self.pixels == 1) {
            (Width::Int8, false) => bitbudget_mla4_int8,
            (Width::Int4, false) => bitbudget_mla4_int4,
            (Width::Int2, false) => bitbudget_mla4_int2,
            (Width::Int8, true) => bitbudget_mla1_int8,
            (Width::Int4, true) => bitbudget_mla1_int4,
            (Width::Int2, true) => bitbudget_mla1_int2,
        };
        // SAFETY: it reads the rows, which were found to be there, and as many patches, which have room
        // for them, and updates the sums, one for each pixel of each row
        unsafe { run(&raw mut job) };
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

/// What the loops work on, at the offsets that they know.
#[repr(C)]
struct Job {
    patches: *const i32,
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
    fn bitbudget_mla4_int8(job: *mut Job);
    fn bitbudget_mla4_int4(job: *mut Job);
    fn bitbudget_mla4_int2(job: *mut Job);
    fn bitbudget_mla1_int8(job: *mut Job);
    fn bitbudget_mla1_int4(job: *mut Job);
    fn bitbudget_mla1_int2(job: *mut Job);
}

global_asm!(include_str!("arm_mla.s"), options(raw));

//! Loops for Armv6-M (Cortex-M0+), and Armv8-M base line: what the compiler makes of the portable ones does not
//! fit in eight registers.

#![expect(unsafe_code, reason = "several registers loaded at once")]

use core::arch::global_asm;

use super::im2col::{Im2col, Rows};
use super::kernels::IntKernels;
use super::pixels::Pixels;
use super::portable::{HALF, PortableIm2col, RUN_INT8, RUN_PACKED};
use super::strips::NoStrips;
use crate::quant::Width;

/// Sixteen-bit instructions.
pub(crate) struct V6m;

impl IntKernels for V6m {
    type Im2col = V6mIm2col;
    type Strips = NoStrips;
}

/// The portable buffer.
#[derive(Clone, Debug)]
pub(crate) struct V6mIm2col(PortableIm2col);

impl Im2col for V6mIm2col {
    fn new() -> Self {
        Self(PortableIm2col::new())
    }

    fn capacity(pixels: Pixels) -> usize {
        PortableIm2col::capacity(pixels)
    }

    fn begin(&mut self, pixels: Pixels) {
        self.0.begin(pixels);
    }

    fn put(&mut self, pixel: usize, at: usize, from: &[i8]) {
        self.0.put(pixel, at, from);
    }

    fn fill(&mut self, pixel: usize, at: usize, len: usize, value: i8) {
        self.0.fill(pixel, at, len, value);
    }

    fn seal(&mut self, len: usize, width: Width) {
        self.0.seal(len, width);
        if let Some(taps) = self.0.fours_mut() {
            // to a whole byte of weights
            let padded = len.next_multiple_of(8 / width.bits() as usize);
            taps[len..padded].fill([0; _]);
        }
    }

    fn dots(&self, len: usize, rows: &Rows<'_>, sums: &mut [i32]) {
        let Some(taps) = self.0.fours() else {
            return self.0.dots(len, rows, sums);
        };
        let bytes = rows.width.row_bytes(len);
        let channels = sums.len() / Pixels::MOST;
        let Some(last) = channels.checked_sub(1) else {
            return;
        };
        assert!(0 < len && len <= taps.len(), "room for the taps");
        assert!(rows.pitch >= bytes, "rows do not overlap");
        let _: &[u8] = rows.row(last, len);
        let (run, runs) = match rows.width {
            // the last weights, fewer than four, have a run each
            Width::Int8 => (
                bitbudget_v6m_int8 as Loop,
                len / 4 * (4 / RUN_INT8) + len % 4,
            ),
            Width::Int4 => (bitbudget_v6m_int4 as Loop, bytes.div_ceil(RUN_PACKED / 2)),
            Width::Int2 => (bitbudget_v6m_int2 as Loop, bytes.div_ceil(RUN_PACKED / 4)),
        };
        let mut args = DotsArgs {
            taps: taps.as_ptr(),
            weights: rows.bytes.as_ptr(),
            sums: sums.as_mut_ptr(),
            channels,
            bytes,
            added: runs as i32 * HALF,
            gap: rows.pitch - bytes,
        };
        // SAFETY: the loop reads the rows: the last was found to be there, and so are those before it, as rows
        // do not overlap. It reads the words of as many taps, rounded up to a byte of weights, which the
        // capacity, a multiple of every byte's taps, has. It updates four sums of each row: `channels` are the
        // whole fours of `sums`
        unsafe { run(&raw mut args) };
    }
}

/// Arguments of the loops, which know their offsets.
#[repr(C)]
struct DotsArgs {
    taps: *const [i32; 2],
    weights: *const u8,
    sums: *mut i32,
    /// At least 1.
    channels: usize,
    /// Bytes of a row, at least 1.
    bytes: usize,
    /// The [`HALF`] of every run.
    added: i32,
    /// From the end of a row to the beginning of the next.
    gap: usize,
}

type Loop = unsafe extern "C" fn(*mut DotsArgs);

unsafe extern "C" {
    fn bitbudget_v6m_int8(args: *mut DotsArgs);
    fn bitbudget_v6m_int4(args: *mut DotsArgs);
    fn bitbudget_v6m_int2(args: *mut DotsArgs);
}

global_asm!(include_str!("arm_v6m.s"), options(raw));

#[cfg(test)]
battery!(int, V6m);

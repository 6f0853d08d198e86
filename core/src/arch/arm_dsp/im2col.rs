//! The im2col buffer in words of two taps.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::global_asm;

use super::instructions::{add_halves, even, odd, word};
use crate::arch::im2col::{Im2col, Rows};
use crate::arch::pixels::Pixels;
use crate::quant::Width;

/// Taps of 16 bits in words of two; next to a word lies the word of the same taps of the next pixel.
#[derive(Clone, Debug)]
pub(crate) struct DspIm2col {
    words: [u32; Self::WORDS],
    /// 32 times the sum of a pixel's taps, which is what the halves are worth that INT2 has no bit for.
    sums: [i32; Pixels::MOST],
    pixels: Pixels,
}

impl DspIm2col {
    const WORDS: usize = Pixels::MOST * 144;

    /// Checks that taps are within the capacity.
    fn check(&self, at: usize, len: usize) {
        let end = at.saturating_add(len);
        assert!(end <= Self::capacity(self.pixels), "room for the taps");
    }

    fn put_singles(&mut self, pixel: usize, at: usize, from: impl Iterator<Item = i8>) {
        let halves: &mut [i16] = bytemuck::cast_slice_mut(&mut self.words);
        for (tap, value) in (at..).zip(from) {
            let word = (tap / 4 * 2 + tap % 2) * self.pixels.count() + pixel;
            halves[2 * word + tap / 2 % 2] = value.into();
        }
    }

    /// `at` is a multiple of 4.
    fn put_fours(&mut self, pixel: usize, at: usize, from: &[[i8; 4]]) {
        if from.is_empty() {
            return;
        }
        let words = &mut self.words[at / 2 * self.pixels.count() + pixel..];
        match self.pixels {
            Pixels::One => widen::<1>(from, words),
            Pixels::Four => widen::<{ Pixels::MOST }>(from, words),
        }
    }

    /// Adds to `sums`, of at least one row, the products with `first` and, each `gap` bytes behind the
    /// row before, the further rows.
    ///
    /// # Safety
    /// `first` has at least four bytes, weights for no more taps than the capacity, rounded up to words, and
    /// each further row of the sums can be read.
    unsafe fn run(&self, width: Width, first: &[u8], gap: usize, sums: &mut [i32]) {
        let (words, tail) = (first.len() / 4, first.len() % 4);
        let mut args = DotsArgs {
            taps: self.words.as_ptr(),
            weights: first.as_ptr(),
            sums: sums.as_mut_ptr(),
            channels: sums.len() / self.pixels.count(),
            quads: words / 4,
            words: words % 4,
            tail,
            tail_shift: 8 * (4 - tail),
            gap,
            start: self.sums.as_ptr(),
        };
        let run = match (width, self.pixels == Pixels::One) {
            (Width::Int8, false) => bitbudget_dots4_int8,
            (Width::Int4, false) => bitbudget_dots4_int4,
            (Width::Int2, false) => bitbudget_dots4_int2,
            (Width::Int8, true) => bitbudget_dots1_int8,
            (Width::Int4, true) => bitbudget_dots1_int4,
            (Width::Int2, true) => bitbudget_dots1_int2,
        };
        // SAFETY: the loop reads the rows, which are there by this function's contract, and the words of as
        // many taps, which the capacity, a multiple of every word's taps, has. It updates a sum for each
        // pixel of each row: `channels` are the whole rows of `sums`, and `pixels` is one or four by its type
        unsafe { run(&raw mut args) };
    }
}

impl Im2col for DspIm2col {
    #[inline(always)]
    fn new() -> Self {
        Self {
            words: [0; Self::WORDS],
            sums: [0; Pixels::MOST],
            pixels: Pixels::Four,
        }
    }

    fn capacity(pixels: Pixels) -> usize {
        2 * Self::WORDS / pixels.count()
    }

    fn begin(&mut self, pixels: Pixels) {
        self.pixels = pixels;
    }

    fn put(&mut self, pixel: usize, at: usize, from: &[i8]) {
        self.check(at, from.len());
        let (fours, tail) = from.as_chunks::<4>();
        if at.is_multiple_of(4) && tail.is_empty() {
            self.put_fours(pixel, at, fours);
            return;
        }
        let head = (at.next_multiple_of(4) - at).min(from.len());
        let (head, rest) = from.split_at(head);
        let (fours, tail) = rest.as_chunks::<4>();
        self.put_singles(pixel, at, head.iter().copied());
        self.put_fours(pixel, at + head.len(), fours);
        let done = head.len() + 4 * fours.len();
        self.put_singles(pixel, at + done, tail.iter().copied());
    }

    fn put_rows(&mut self, pixel: usize, from: &[i8], rows: usize, run: usize, pitch: usize) {
        let Some(last) = rows.checked_sub(1) else {
            return;
        };
        if run < 4 {
            // such a run is not read by words where it lies
            for row in 0..rows {
                self.put(pixel, row * run, &from[row.saturating_mul(pitch)..][..run]);
            }
            return;
        }
        let end = last.saturating_mul(pitch).saturating_add(run);
        assert!(end <= from.len() && run <= pitch, "the inputs end");
        let taps = rows.saturating_mul(run);
        assert!(taps <= Self::capacity(self.pixels), "room for the taps");
        assert!(pixel < self.pixels.count(), "a pixel of the taps");
        let mut args = WidenArgs {
            from: from.as_ptr(),
            to: &raw mut self.words[pixel],
            rows,
            words: run / 4,
            tail: run % 4,
            gap: pitch - run,
        };
        let run = match (self.pixels == Pixels::One, run.is_multiple_of(4)) {
            (false, true) => bitbudget_widen4,
            (false, false) => bitbudget_widen4_odd,
            (true, true) => bitbudget_widen1,
            (true, false) => bitbudget_widen1_odd,
        };
        // SAFETY: the loop reads `rows` runs, the last of which was asserted to end within the inputs, in
        // numbers that saturate. It writes their taps, rounded up to four, from the pixel's first word on:
        // there is room, as they were asserted to be no more than the capacity, which is a multiple of four
        unsafe { run(&raw mut args) };
    }

    fn fill(&mut self, pixel: usize, at: usize, len: usize, value: i8) {
        self.check(at, len);
        if at.is_multiple_of(4) && len.is_multiple_of(4) {
            let both = u32::from(i16::from(value).cast_unsigned()) * 0x1_0001;
            let words = self.words[at / 2 * self.pixels.count() + pixel..].iter_mut();
            let words = words.step_by(self.pixels.count()).take(len / 2);
            words.for_each(|word| *word = both);
        } else {
            self.put_singles(pixel, at, core::iter::repeat_n(value, len));
        }
    }

    fn seal(&mut self, len: usize, width: Width) {
        assert!(len <= Self::capacity(self.pixels), "room for the taps");
        let padded = len.next_multiple_of(taps_per_word(width));
        if padded != len && width == Width::Int2 {
            // which has no weight of 0 to meet what was there before
            (0..self.pixels.count()).for_each(|pixel| self.fill(pixel, len, padded - len, 0));
        }
        let used = &mut self.words[..padded / 2 * self.pixels.count()];
        match (width, self.pixels == Pixels::One) {
            (Width::Int8, _) => {}
            (Width::Int4, true) => pair::<1>(used, 2),
            (Width::Int4, false) => pair::<{ Pixels::MOST }>(used, 2),
            (Width::Int2, true) => {
                self.sums[..1].copy_from_slice(&sums::<1>(used));
                pair::<1>(used, 4);
            }
            (Width::Int2, false) => {
                self.sums = sums(used);
                pair::<{ Pixels::MOST }>(used, 4);
            }
        }
    }

    fn dots(&self, len: usize, rows: &Rows<'_>, sums: &mut [i32]) {
        let bytes = rows.width.row_bytes(len);
        let channels = sums.len() / self.pixels.count();
        let Some(last) = channels.checked_sub(1) else {
            return;
        };
        if bytes < size_of::<u32>() {
            // such a row is not read by words where it lies
            for (channel, sums) in sums.chunks_exact_mut(self.pixels.count()).enumerate() {
                let mut word = [0; size_of::<u32>()];
                word[..bytes].copy_from_slice(rows.row(channel, len));
                // SAFETY: there is one row, of four bytes
                unsafe { self.run(rows.width, &word, 0, sums) };
            }
            return;
        }
        assert!(len <= Self::capacity(self.pixels), "room for the taps");
        assert!(rows.pitch >= bytes, "rows do not overlap");
        let _: &[u8] = rows.row(last, len);
        let (first, gap) = (&rows.bytes[..bytes], rows.pitch - bytes);
        // SAFETY: a row has at least four bytes and no more than the capacity has taps, and the last row was
        // found to be there, so that those before it are as well: rows do not overlap
        unsafe { self.run(rows.width, first, gap, sums) };
    }
}

const fn taps_per_word(width: Width) -> usize {
    32 / width.bits() as usize
}

/// 32 times the sum of the taps of each of `P` pixels.
fn sums<const P: usize>(words: &[u32]) -> [i32; P] {
    let mut sums = [0; P];
    for words in words.as_chunks::<P>().0 {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = add_halves(*word, *sum);
        }
    }
    sums.map(|sum| 32 * sum)
}

/// Pairs the taps of each word of a block of words of `P` pixels with those `apart` words on: lower
/// halves, then upper halves.
fn pair<const P: usize>(words: &mut [u32], apart: usize) {
    for block in words.chunks_exact_mut(2 * apart * P) {
        let (a, b) = block.split_at_mut(apart * P);
        let (a, b) = (a.as_chunks_mut::<P>().0, b.as_chunks_mut::<P>().0);
        for (a, b) in a.iter_mut().zip(b) {
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (*a & 0xffff | *b << 16, *a >> 16 | *b & 0xffff_0000);
            }
        }
    }
}

/// Writes each four of taps as two words, `P` words apart.
#[inline]
fn widen<const P: usize>(from: &[[i8; 4]], to: &mut [u32]) {
    let put = |to: &mut [u32], four| {
        to[0] = even(word(four));
        to[P] = odd(word(four));
    };
    let Some(last) = from.len().checked_sub(1) else {
        return;
    };
    let to = &mut to[..2 * P * last + P + 1];
    let (quads, rest) = from.as_chunks::<4>();
    let mut at = 0;
    for quad in quads {
        let to = &mut to[at..][..7 * P + 1];
        (0..4).for_each(|i| put(&mut to[2 * P * i..], &quad[i]));
        at += 8 * P;
    }
    for four in rest {
        put(&mut to[at..], four);
        at += 2 * P;
    }
}

/// Arguments of the loops that widen rows, which know their offsets.
#[repr(C)]
struct WidenArgs {
    from: *const i8,
    to: *mut u32,
    /// At least 1.
    rows: usize,
    /// A row: words, at least 1, and bytes.
    words: usize,
    tail: usize,
    /// From the end of a row to the beginning of the next.
    gap: usize,
}

/// Arguments of the loops over rows of weights, which know their offsets.
#[repr(C)]
struct DotsArgs {
    taps: *const u32,
    weights: *const u8,
    sums: *mut i32,
    /// At least 1.
    channels: usize,
    /// A row: fours of words, words, the bytes of a partial word and the bits that it lacks.
    quads: usize,
    words: usize,
    tail: usize,
    tail_shift: usize,
    /// From the end of a row to the beginning of the next.
    gap: usize,
    start: *const i32,
}

unsafe extern "C" {
    fn bitbudget_widen4(args: *mut WidenArgs);
    fn bitbudget_widen1(args: *mut WidenArgs);
    fn bitbudget_widen4_odd(args: *mut WidenArgs);
    fn bitbudget_widen1_odd(args: *mut WidenArgs);
    fn bitbudget_dots4_int8(args: *mut DotsArgs);
    fn bitbudget_dots4_int4(args: *mut DotsArgs);
    fn bitbudget_dots4_int2(args: *mut DotsArgs);
    fn bitbudget_dots1_int8(args: *mut DotsArgs);
    fn bitbudget_dots1_int4(args: *mut DotsArgs);
    fn bitbudget_dots1_int2(args: *mut DotsArgs);
}

global_asm!(cpu!(), include_str!("im2col.s"), options(raw));
global_asm!(cpu!(), include_str!("widen.s"), options(raw));

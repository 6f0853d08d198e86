//! Loops for the DSP extension of Armv7E-M (Cortex-M4, M7) and Armv8-M (M33 and up): two 16-bit products
//! and their sum in one instruction.
//!
//! Inputs are widened to 16 bits once and meet every row of weights. Two of them share a word, as the
//! bytes of weights do once they are extended: of four INT8 weights the even and the odd ones, of INT4
//! those of the same half of a byte, four taps apart, of INT2 eight taps apart.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::{asm, global_asm};
use core::mem::MaybeUninit;
use core::slice::from_raw_parts;

use super::Factors;
use super::scalar::Rows;
use crate::level::Width;

/// Bytes 0 and 2 of a word, each extended to 16 bits with its sign.
#[inline(always)]
fn even(word: u32) -> u32 {
    let halves: u32;
    // SAFETY: SXTB16 reads and writes registers only
    unsafe {
        asm!("sxtb16 {}, {}", lateout(reg) halves, in(reg) word,
            options(pure, nomem, nostack, preserves_flags));
    }
    halves
}

/// Bytes 1 and 3 of a word, each extended to 16 bits with its sign.
#[inline(always)]
fn odd(word: u32) -> u32 {
    let halves: u32;
    // SAFETY: SXTB16 reads and writes registers only
    unsafe {
        asm!("sxtb16 {}, {}, ror #8", lateout(reg) halves, in(reg) word,
            options(pure, nomem, nostack, preserves_flags));
    }
    halves
}

/// `sum` and both halves of a word.
#[inline(always)]
fn add_halves(word: u32, sum: i32) -> i32 {
    let result: i32;
    // SAFETY: SMLAD reads and writes registers only, and a flag that nobody reads
    unsafe {
        asm!("smlad {}, {}, {}, {}", lateout(reg) result, in(reg) word, in(reg) 0x1_0001, in(reg) sum,
            options(pure, nomem, nostack, preserves_flags));
    }
    result
}

/// The larger of each two bytes.
#[inline(always)]
fn larger(a: u32, b: u32) -> u32 {
    let result: u32;
    // SAFETY: SSUB8 and SEL read and write registers and flags only
    unsafe {
        asm!("ssub8 {0}, {1}, {2}", "sel {0}, {1}, {2}", out(reg) result, in(reg) a, in(reg) b,
            options(pure, nomem, nostack));
    }
    result
}

/// As [`scalar::max_i8`](super::scalar::max_i8), four elements at a time.
pub fn max_i8(to: &mut [i8], from: &[i8]) {
    let (to, to_rest) = to.as_chunks_mut::<4>();
    let (from, from_rest) = from.as_chunks::<4>();
    let word = |four: &[i8; 4]| u32::from_le_bytes(four.map(i8::cast_unsigned));
    for (to, from) in to.iter_mut().zip(from) {
        let larger = larger(word(to), word(from));
        *to = larger.to_le_bytes().map(u8::cast_signed);
    }
    super::scalar::max_i8(to_rest, from_rest);
}

/// As [`scalar::Patches`](super::scalar::Patches); a word holds two taps of a pixel, next to it lies the
/// same of the next pixel.
#[derive(Clone, Debug)]
pub struct Patches {
    words: [u32; Self::WORDS],
    /// 32 times the sum of a pixel's taps, which is what the halves are worth that INT2 has no bit for.
    sums: [i32; Self::PIXELS],
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
    const WORDS: usize = Self::PIXELS * 144;

    /// Room for patches.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            words: [0; Self::WORDS],
            sums: [0; Self::PIXELS],
            pixels: Self::PIXELS,
        }
    }

    /// As [`scalar::Patches::capacity`](super::scalar::Patches::capacity).
    #[must_use]
    pub const fn capacity(pixels: usize) -> usize {
        2 * Self::WORDS / pixels
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

    /// As [`scalar::Patches::put_rows`](super::scalar::Patches::put_rows).
    ///
    /// # Panics
    /// Past the capacity, or when the inputs end early.
    pub fn put_rows(&mut self, pixel: usize, from: &[i8], rows: usize, run: usize, pitch: usize) {
        let Some(last) = rows.checked_sub(1) else {
            return;
        };
        if run < 4 {
            // such a run is not read by words where it lies
            (0..rows).for_each(|row| self.put(pixel, row * run, &from[row * pitch..][..run]));
            return;
        }
        let end = last.saturating_mul(pitch).saturating_add(run);
        assert!(end <= from.len() && run <= pitch, "the inputs end");
        let taps = rows.saturating_mul(run);
        assert!(taps <= Self::capacity(self.pixels), "room for the taps");
        assert!(pixel < self.pixels, "a pixel of the patches");
        let mut job = Widen {
            from: from.as_ptr(),
            to: &raw mut self.words[pixel],
            rows,
            words: run / 4,
            tail: run % 4,
            gap: pitch - run,
        };
        let run = match (self.pixels == 1, run.is_multiple_of(4)) {
            (false, true) => bitbudget_widen4,
            (false, false) => bitbudget_widen4_odd,
            (true, true) => bitbudget_widen1,
            (true, false) => bitbudget_widen1_odd,
        };
        // SAFETY: it reads the runs, which were found to be there, and writes their taps, rounded up to
        // four, for which there is room, as the capacity is a multiple of four
        unsafe { run(&raw mut job) };
    }

    /// As [`scalar::Patches::fill`](super::scalar::Patches::fill).
    ///
    /// # Panics
    /// Past the capacity.
    pub fn fill(&mut self, pixel: usize, at: usize, len: usize, value: i8) {
        if at.is_multiple_of(4) && len.is_multiple_of(4) {
            let both = u32::from(i16::from(value).cast_unsigned()) * 0x1_0001;
            let words = self.words[at / 2 * self.pixels + pixel..].iter_mut();
            let words = words.step_by(self.pixels).take(len / 2);
            words.for_each(|word| *word = both);
        } else {
            self.put_singles(pixel, at, core::iter::repeat_n(value, len));
        }
    }

    fn put_singles(&mut self, pixel: usize, at: usize, from: impl Iterator<Item = i8>) {
        let halves: &mut [i16] = bytemuck::cast_slice_mut(&mut self.words);
        for (tap, value) in (at..).zip(from) {
            let word = (tap / 4 * 2 + tap % 2) * self.pixels + pixel;
            halves[2 * word + tap / 2 % 2] = value.into();
        }
    }

    /// `at` is a multiple of 4.
    fn put_fours(&mut self, pixel: usize, at: usize, from: &[[i8; 4]]) {
        if from.is_empty() {
            return;
        }
        let words = &mut self.words[at / 2 * self.pixels + pixel..];
        if self.pixels == 1 {
            widen::<1>(from, words);
        } else {
            widen::<{ Self::PIXELS }>(from, words);
        }
    }

    /// As [`scalar::Patches::seal`](super::scalar::Patches::seal).
    ///
    /// # Panics
    /// Past the capacity.
    pub fn seal(&mut self, len: usize, width: Width) {
        let padded = len.next_multiple_of(taps_per_word(width));
        if padded != len && width == Width::Int2 {
            // which has no weight of 0 to meet what was there before
            (0..self.pixels).for_each(|pixel| self.fill(pixel, len, padded - len, 0));
        }
        let used = &mut self.words[..padded / 2 * self.pixels];
        match (width, self.pixels == 1) {
            (Width::Int8, _) => {}
            (Width::Int4, true) => pair::<1>(used, 2),
            (Width::Int4, false) => pair::<{ Self::PIXELS }>(used, 2),
            (Width::Int2, true) => {
                self.sums[..1].copy_from_slice(&sums::<1>(used));
                pair::<1>(used, 4);
            }
            (Width::Int2, false) => {
                self.sums = sums(used);
                pair::<{ Self::PIXELS }>(used, 4);
            }
        }
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
        if bytes < size_of::<u32>() {
            // such a row is not read by words where it lies
            for (channel, sums) in sums.chunks_exact_mut(self.pixels).enumerate() {
                let mut word = [0; size_of::<u32>()];
                word[..bytes].copy_from_slice(rows.row(channel, len));
                self.run(rows.width, &word, 0, sums);
            }
            return;
        }
        assert!(len <= Self::capacity(self.pixels), "room for the taps");
        assert!(rows.pitch >= bytes, "rows do not overlap");
        let _: &[u8] = rows.row(last, len);
        self.run(rows.width, &rows.bytes[..bytes], rows.pitch - bytes, sums);
    }

    /// Adds to `sums`, which is not empty, the products with `first` and, each `gap` bytes behind the
    /// row before, the further rows. `first` has at least four bytes.
    fn run(&self, width: Width, first: &[u8], gap: usize, sums: &mut [i32]) {
        let (words, tail) = (first.len() / 4, first.len() % 4);
        let mut job = Job {
            patches: self.words.as_ptr(),
            weights: first.as_ptr(),
            sums: sums.as_mut_ptr(),
            channels: sums.len() / self.pixels,
            quads: words / 4,
            words: words % 4,
            tail,
            tail_shift: 8 * (4 - tail),
            gap,
            start: self.sums.as_ptr(),
        };
        let run = match (width, self.pixels == 1) {
            (Width::Int8, false) => bitbudget_dots4_int8,
            (Width::Int4, false) => bitbudget_dots4_int4,
            (Width::Int2, false) => bitbudget_dots4_int2,
            (Width::Int8, true) => bitbudget_dots1_int8,
            (Width::Int4, true) => bitbudget_dots1_int4,
            (Width::Int2, true) => bitbudget_dots1_int2,
        };
        // SAFETY: it reads the rows, which were found to be there, and as many patches, which have room
        // for them, and writes the sums, one for each pixel of each row
        unsafe { run(&raw mut job) };
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
    // one load: these processors read words at any address
    let word = |four: &[i8; 4]| u32::from_le_bytes(four.map(i8::cast_unsigned));
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

/// As [`scalar::dots_i8`](super::scalar::dots_i8), five rows at a time.
///
/// # Panics
/// When a row of weights ends early.
#[inline]
pub fn dots_i8(
    input: &[i8],
    weights: &[i8],
    pitch: usize,
    bias: &[i32],
    mut each: impl FnMut(usize, &[i32]),
) {
    /// Rows whose sums are held at a time.
    const ROWS: usize = 40;
    let len = input.len();
    let Some(last) = bias.len().checked_sub(1) else {
        return;
    };
    let end = last.saturating_mul(pitch).saturating_add(len);
    assert!(end <= weights.len(), "the weights end");
    if len < 4 {
        // such a row is not read by words where it lies
        return super::scalar::dots_i8(input, weights, pitch, bias, each);
    }
    let mut sums = [const { MaybeUninit::<i32>::uninit() }; ROWS];
    let words = len / 4;
    let mut job = Dots {
        input: input.as_ptr(),
        weights: weights.as_ptr(),
        pitch,
        pitch3: 3 * pitch,
        bias: bias.as_ptr(),
        sums: sums.as_mut_ptr().cast(),
        tiles: 0,
        quads: words / 4,
        words: words % 4,
        overlap: len.wrapping_neg() % 4,
    };
    for first in (0..bias.len()).step_by(ROWS) {
        let rows = ROWS.min(bias.len() - first);
        job.sums = sums.as_mut_ptr().cast();
        job.tiles = rows / 5;
        if job.tiles > 0 {
            // SAFETY: it reads the inputs, as many weights of each row and the biases, which were found to
            // be there, and writes the sums, for which there is room
            unsafe { bitbudget_dots_i8_5(&raw mut job) };
        }
        job.tiles = rows % 5;
        if job.tiles > 0 {
            // SAFETY: as above, for the rows that the call before left
            unsafe { bitbudget_dots_i8_1(&raw mut job) };
        }
        // SAFETY: these sums were written
        each(first, unsafe { from_raw_parts(sums.as_ptr().cast(), rows) });
    }
}

/// As [`scalar::depthwise`](super::scalar::depthwise).
///
/// # Panics
/// When the input or the weights end early.
pub fn depthwise(
    input: &[i8],
    offsets: &[u32],
    weights: &[[i16; 4]],
    bias: &[[i32; 4]],
    sums: &mut [[i32; 4]],
) {
    let taps = offsets.len();
    let bias = &bias[..sums.len()];
    if taps == 0 || sums.is_empty() {
        sums.copy_from_slice(bias);
        return;
    }
    let last = offsets.iter().fold(0, |last, offset| last.max(*offset));
    assert!(weights.len() >= sums.len() * taps, "the weights end");
    let end = (last as usize).saturating_add(4 * sums.len());
    assert!(end <= input.len(), "the inputs end");
    let mut job = Depthwise {
        input: input.as_ptr(),
        offsets: offsets.as_ptr(),
        weights: weights.as_ptr(),
        sums: sums.as_mut_ptr(),
        fours: sums.len(),
        taps,
        bias: bias.as_ptr(),
    };
    // SAFETY: it reads offsets, inputs and weights that were found to be there, and writes the sums
    unsafe { bitbudget_depthwise(&raw mut job) };
}

/// As [`requantize`](fn@super::requantize::requantize).
///
/// # Panics
/// When there are fewer sums, factors or results.
pub fn requantize(sums: &[i32], factors: &Factors<'_>, pixels: usize, to: &mut [i8], pitch: usize) {
    let channels = factors.multiplier.len();
    if !matches!(pixels, 1 | 4) || channels == 0 {
        return super::requantize::requantize(sums, factors, pixels, to, pitch);
    }
    assert!(factors.shift.len() >= channels, "the factors end");
    assert!(sums.len() >= channels * pixels, "the sums end");
    let end = pitch.saturating_mul(pixels - 1).saturating_add(channels);
    assert!(to.len() >= end && pitch >= channels, "room for the results");
    let mut job = Requantize {
        sums: sums.as_ptr(),
        multiplier: factors.multiplier.as_ptr(),
        shift: factors.shift.as_ptr(),
        to: to.as_mut_ptr(),
        pitch,
        pitch3: 3 * pitch,
        channels,
        offset: factors.bounds.offset,
        low: factors.bounds.low,
        high: factors.bounds.high,
    };
    let run = match (pixels, factors.bounds.is_whole()) {
        (1, true) => bitbudget_requantize1,
        (1, false) => bitbudget_requantize1_bounds,
        (_, true) => bitbudget_requantize4,
        (_, false) => bitbudget_requantize4_bounds,
    };
    // SAFETY: it reads sums and factors and writes results that were found to be there
    unsafe { run(&raw mut job) };
}

/// What the loops that requantize work on, at the offsets that they know.
#[repr(C)]
struct Requantize {
    sums: *const i32,
    multiplier: *const i32,
    shift: *const u8,
    to: *mut i8,
    /// Once and three times.
    pitch: usize,
    pitch3: usize,
    /// At least 1.
    channels: usize,
    offset: i32,
    low: i32,
    high: i32,
}

/// What the loops over inputs where they lie work on, at the offsets that they know.
#[repr(C)]
struct Dots {
    input: *const i8,
    /// Of the next tile, as are the biases and the sums.
    weights: *const i8,
    /// Once and three times.
    pitch: usize,
    pitch3: usize,
    bias: *const i32,
    sums: *mut i32,
    /// Rows, or fives of rows; at least 1.
    tiles: usize,
    /// A row: fours of words, words, and the bytes that the last word shares with the word before.
    quads: usize,
    words: usize,
    overlap: usize,
}

/// What the loops that widen rows work on, at the offsets that they know.
#[repr(C)]
struct Widen {
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

/// What the loop over channels of their own works on, at the offsets that it knows.
#[repr(C)]
struct Depthwise {
    input: *const i8,
    offsets: *const u32,
    weights: *const [i16; 4],
    sums: *mut [i32; 4],
    /// At least 1, as are the taps.
    fours: usize,
    taps: usize,
    bias: *const [i32; 4],
}

/// What the loops work on, at the offsets that they know.
#[repr(C)]
struct Job {
    patches: *const u32,
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
    fn bitbudget_widen4(job: *mut Widen);
    fn bitbudget_widen1(job: *mut Widen);
    fn bitbudget_widen4_odd(job: *mut Widen);
    fn bitbudget_widen1_odd(job: *mut Widen);
    fn bitbudget_depthwise(job: *mut Depthwise);
    fn bitbudget_dots_i8_5(job: *mut Dots);
    fn bitbudget_dots_i8_1(job: *mut Dots);
    fn bitbudget_requantize1(job: *mut Requantize);
    fn bitbudget_requantize1_bounds(job: *mut Requantize);
    fn bitbudget_requantize4(job: *mut Requantize);
    fn bitbudget_requantize4_bounds(job: *mut Requantize);
    fn bitbudget_dots4_int8(job: *mut Job);
    fn bitbudget_dots4_int4(job: *mut Job);
    fn bitbudget_dots4_int2(job: *mut Job);
    fn bitbudget_dots1_int8(job: *mut Job);
    fn bitbudget_dots1_int4(job: *mut Job);
    fn bitbudget_dots1_int2(job: *mut Job);
}

// r0: patches; r1: weights; r2 to r5: sums; r6 to r9: taps; r10: a word of weights; lr: a counter;
// [sp]: the same where lr is needed; [sp, 8]: the job.
global_asm!(
    "
    .syntax unified

    // the next word of taps of each pixel with the pairs of weights in \\w
    .macro bb_step4 w
        ldm     r0!, {{r6-r9}}
        smlad   r2, r6, \\w, r2
        smlad   r3, r7, \\w, r3
        smlad   r4, r8, \\w, r4
        smlad   r5, r9, \\w, r5
    .endm

    .macro bb_word4_int8
        sxtb16  r11, r10
        bb_step4 r11
        sxtb16  r11, r10, ror #8
        bb_step4 r11
    .endm

    .macro bb_word1_int8
        ldm     r0!, {{r6, r7}}
        sxtb16  r11, r10
        sxtb16  r12, r10, ror #8
        smlad   r2, r6, r11, r2
        smlad   r2, r7, r12, r2
    .endm

    // sixteen times each weight
    .macro bb_halves_int4
        lsl     r12, r10, #4
        and     r10, r10, #0xf0f0f0f0
        and     r12, r12, #0xf0f0f0f0
    .endm

    .macro bb_word4_int4
        bb_halves_int4
        sxtb16  r11, r12
        bb_step4 r11
        sxtb16  r11, r10
        bb_step4 r11
        sxtb16  r11, r12, ror #8
        bb_step4 r11
        sxtb16  r11, r10, ror #8
        bb_step4 r11
    .endm

    .macro bb_word1_int4
        bb_halves_int4
        ldm     r0!, {{r6-r9}}
        sxtb16  r11, r12
        smlad   r2, r6, r11, r2
        sxtb16  r11, r10
        smlad   r2, r7, r11, r2
        sxtb16  r11, r12, ror #8
        smlad   r2, r8, r11, r2
        sxtb16  r11, r10, ror #8
        smlad   r2, r9, r11, r2
    .endm

    // 64 times the bits of two of the four weights of each byte, without the half that each lacks
    .macro bb_quarters_int2 a, b
        lsl     r12, r10, #\\a
        and     r12, r12, #0xc0c0c0c0
        .if \\b
            lsl     lr, r10, #\\b
            and     lr, lr, #0xc0c0c0c0
        .else
            and     lr, r10, #0xc0c0c0c0
        .endif
    .endm

    .macro bb_half4_int2 a, b
        bb_quarters_int2 \\a, \\b
        sxtb16  r11, r12
        bb_step4 r11
        sxtb16  r11, lr
        bb_step4 r11
        sxtb16  r11, r12, ror #8
        bb_step4 r11
        sxtb16  r11, lr, ror #8
        bb_step4 r11
    .endm

    .macro bb_word4_int2
        bb_half4_int2 6, 4
        bb_half4_int2 2, 0
    .endm

    .macro bb_half1_int2 a, b
        bb_quarters_int2 \\a, \\b
        ldm     r0!, {{r6-r9}}
        sxtb16  r11, r12
        smlad   r2, r6, r11, r2
        sxtb16  r11, lr
        smlad   r2, r7, r11, r2
        sxtb16  r11, r12, ror #8
        smlad   r2, r8, r11, r2
        sxtb16  r11, lr, ror #8
        smlad   r2, r9, r11, r2
    .endm

    .macro bb_word1_int2
        bb_half1_int2 6, 4
        bb_half1_int2 2, 0
    .endm

    .macro bb_next word
        ldr     r10, [r1], #4
        \\word
    .endm

    // the sums at [\\from] of one or four pixels
    .macro bb_load pixels, from
        .if \\pixels == 4
            ldm     \\from, {{r2-r5}}
        .else
            ldr     r2, [\\from]
        .endif
    .endm

    // weights were 2^\\shift times too large; [sp]: a counter, [sp, 4] and on: the job
    .macro bb_dots name, word, pixels, shift
    .section .text.\\name,\"ax\",%progbits
    .p2align 2
    .global \\name
    .type \\name, %function
    .thumb_func
\\name:
    push    {{r4-r11, lr}}
    ldm     r0!, {{r1-r6}}
    ldm     r0, {{r7-r10}}
    push    {{r1-r10}}
    sub     sp, #4
    mov     r1, r2
1:
    ldr     r0, [sp, #4]
    .if \\shift == 0
        ldr     r11, [sp, #12]
        bb_load \\pixels, r11
    .elseif \\shift == 5
        ldr     r11, [sp, #40]
        bb_load \\pixels, r11
    .else
        mov     r2, #0
        .if \\pixels == 4
            mov     r3, #0
            mov     r4, #0
            mov     r5, #0
        .endif
    .endif
    ldr     lr, [sp, #20]
    cmp     lr, #0
    beq     3f
2:
    .if \\shift == 5
        str     lr, [sp]
    .endif
    bb_next \\word
    bb_next \\word
    bb_next \\word
    bb_next \\word
    .if \\shift == 5
        ldr     lr, [sp]
    .endif
    subs    lr, lr, #1
    bne     2b
3:
    ldrd    lr, r10, [sp, #24]
    orrs    r11, lr, r10
    beq     6f
    cmp     lr, #0
    beq     5f
4:
    .if \\shift == 5
        str     lr, [sp]
    .endif
    bb_next \\word
    .if \\shift == 5
        ldr     lr, [sp]
    .endif
    subs    lr, lr, #1
    bne     4b
5:
    ldrd    r10, r11, [sp, #28]
    cmp     r10, #0
    beq     6f
    add     r1, r10
    ldr     r10, [r1, #-4]
    lsr     r10, r10, r11
    \\word
6:
    ldr     r11, [sp, #12]
    .if \\pixels == 4
        .if \\shift
            ldm     r11, {{r6-r9}}
            add     r2, r6, r2, asr #\\shift
            add     r3, r7, r3, asr #\\shift
            add     r4, r8, r4, asr #\\shift
            add     r5, r9, r5, asr #\\shift
        .endif
        stm     r11!, {{r2-r5}}
    .else
        .if \\shift
            ldr     r6, [r11]
            add     r2, r6, r2, asr #\\shift
        .endif
        str     r2, [r11], #4
    .endif
    ldr     r10, [sp, #36]
    add     r1, r10
    ldr     r10, [sp, #16]
    subs    r10, r10, #1
    strd    r11, r10, [sp, #12]
    bne     1b
    add     sp, #44
    pop     {{r4-r11, pc}}
    .size \\name, . - \\name
    .endm

    bb_dots bitbudget_dots4_int8, bb_word4_int8, 4, 0
    bb_dots bitbudget_dots4_int4, bb_word4_int4, 4, 4
    bb_dots bitbudget_dots4_int2, bb_word4_int2, 4, 5
    bb_dots bitbudget_dots1_int8, bb_word1_int8, 1, 0
    bb_dots bitbudget_dots1_int4, bb_word1_int4, 1, 4
    bb_dots bitbudget_dots1_int2, bb_word1_int2, 1, 5

    // r0: inputs; r1: patches; r2: rows; r3: words; r4: bytes; r5: the gap
    .macro bb_widen_begin name
    .section .text.\\name,\"ax\",%progbits
    .p2align 2
    .global \\name
    .type \\name, %function
    .thumb_func
\\name:
    push    {{r4-r11, lr}}
    mov     lr, r0
    ldm     lr, {{r0-r5}}
    .endm

    // the four taps in \\four
    .macro bb_store four, pitch
        sxtb16  r6, \\four
        sxtb16  r7, \\four, ror #8
        str     r6, [r1], #\\pitch
        str     r7, [r1], #\\pitch
    .endm

    .macro bb_widen_word pitch
        ldr     r8, [r0], #4
        bb_store r8, \\pitch
    .endm

    .macro bb_widen name, pitch
    bb_widen_begin \\name
1:
    lsrs    r12, r3, #2
    beq     3f
2:
    bb_widen_word \\pitch
    bb_widen_word \\pitch
    bb_widen_word \\pitch
    bb_widen_word \\pitch
    subs    r12, r12, #1
    bne     2b
3:
    ands    r12, r3, #3
    beq     5f
4:
    bb_widen_word \\pitch
    subs    r12, r12, #1
    bne     4b
5:
    add     r0, r5
    subs    r2, r2, #1
    bne     1b
    pop     {{r4-r11, pc}}
    .size \\name, . - \\name
    .endm

    // rows that end within a word: r9: its bytes so far, r10: how many bits they have, r11: how many not
    .macro bb_widen_odd name, pitch
    bb_widen_begin \\name
    mov     r9, #0
    mov     r10, #0
    mov     r11, #32
1:
    mov     r12, r3
2:
    ldr     r8, [r0], #4
    lsl     r6, r8, r10
    orr     r9, r9, r6
    bb_store r9, \\pitch
    lsr     r9, r8, r11
    subs    r12, r12, #1
    bne     2b
    // the bytes left are the upper ones of the word before their end
    add     r0, r4
    ldr     r8, [r0, #-4]
    rsb     r12, r4, #4
    lsl     r12, r12, #3
    lsr     r8, r8, r12
    lsl     r6, r8, r10
    orr     r9, r9, r6
    add     r10, r10, r4, lsl #3
    cmp     r10, #32
    blt     3f
    bb_store r9, \\pitch
    lsr     r9, r8, r11
    sub     r10, r10, #32
3:
    rsb     r11, r10, #32
    add     r0, r5
    subs    r2, r2, #1
    bne     1b
    cmp     r10, #0
    beq     4f
    bb_store r9, \\pitch
4:
    pop     {{r4-r11, pc}}
    .size \\name, . - \\name
    .endm

    bb_widen bitbudget_widen4, 16
    bb_widen bitbudget_widen1, 4
    bb_widen_odd bitbudget_widen4_odd, 16
    bb_widen_odd bitbudget_widen1_odd, 4

    // r0: input; r1: offsets; r2: weights; r3: sums; r4 to r7: sums of four channels
    .macro bb_tap
        ldr     r8, [r1], #4
        ldrd    r10, r11, [r2], #8
        ldr     r8, [r0, r8]
        sxtb16  r9, r8
        sxtb16  r8, r8, ror #8
        smlabb  r4, r9, r10, r4
        smlabt  r5, r8, r10, r5
        smlatb  r6, r9, r11, r6
        smlatt  r7, r8, r11, r7
    .endm

    .section .text.bitbudget_depthwise,\"ax\",%progbits
    .p2align 2
    .global bitbudget_depthwise
    .type bitbudget_depthwise, %function
    .thumb_func
bitbudget_depthwise:
    push    {{r4-r11, lr}}
    mov     lr, r0
    ldm     lr, {{r0-r3}}
1:
    ldr     r1, [lr, #4]
    ldrd    r12, r8, [lr, #20]
    ldm     r8!, {{r4-r7}}
    str     r8, [lr, #24]
    lsrs    r12, r12, #2
    beq     3f
2:
    bb_tap
    bb_tap
    bb_tap
    bb_tap
    subs    r12, r12, #1
    bne     2b
3:
    ldr     r12, [lr, #20]
    ands    r12, r12, #3
    beq     5f
4:
    bb_tap
    subs    r12, r12, #1
    bne     4b
5:
    stm     r3!, {{r4-r7}}
    add     r0, #4
    ldr     r12, [lr, #16]
    subs    r12, r12, #1
    str     r12, [lr, #16]
    bne     1b
    pop     {{r4-r11, pc}}
    .size bitbudget_depthwise, . - bitbudget_depthwise

    // the sum in \\sum and the products of four taps and the weights in r11
    .macro bb_row sum
        sxtb16  r12, r11
        smlad   \\sum, r12, r9, \\sum
        sxtb16  r12, r11, ror #8
        smlad   \\sum, r12, r10, \\sum
    .endm

    // four taps, in r9 yet, with those of each row; r0: input; r1: weights; r2, r3: a pitch and three;
    // r4 to r8: sums
    .macro bb_taps rows
        sxtb16  r10, r9, ror #8
        sxtb16  r9, r9
        .if \\rows == 5
            ldr     r11, [r1, r2]
            bb_row  r5
            ldr     r11, [r1, r2, lsl #1]
            bb_row  r6
            ldr     r11, [r1, r3]
            bb_row  r7
            ldr     r11, [r1, r2, lsl #2]
            bb_row  r8
        .endif
        ldr     r11, [r1], #4
        bb_row  r4
    .endm

    .macro bb_next_taps rows
        ldr     r9, [r0], #4
        bb_taps \\rows
    .endm

    .macro bb_dots_i8 name, rows
    .section .text.\\name,\"ax\",%progbits
    .p2align 2
    .global \\name
    .type \\name, %function
    .thumb_func
\\name:
    push    {{r0, r4-r11, lr}}
1:
    ldr     lr, [sp]
    ldm     lr, {{r0-r3, r12}}
    .if \\rows == 5
        ldm     r12!, {{r4-r8}}
    .else
        ldr     r4, [r12], #4
    .endif
    str     r12, [lr, #16]
    ldr     lr, [lr, #28]
    cmp     lr, #0
    beq     3f
2:
    bb_next_taps \\rows
    bb_next_taps \\rows
    bb_next_taps \\rows
    bb_next_taps \\rows
    subs    lr, lr, #1
    bne     2b
3:
    ldr     lr, [sp]
    ldr     lr, [lr, #32]
    cmp     lr, #0
    beq     5f
4:
    bb_next_taps \\rows
    subs    lr, lr, #1
    bne     4b
5:
    ldr     lr, [sp]
    ldr     r12, [lr, #36]
    cmp     r12, #0
    beq     6f
    // the word that ends with the row, without the taps that were there before
    sub     r0, r0, r12
    sub     r1, r1, r12
    lsl     r12, r12, #3
    ldr     r9, [r0]
    lsr     r9, r9, r12
    lsl     r9, r9, r12
    bb_taps \\rows
6:
    ldrd    r12, r0, [lr, #20]
    ldr     r1, [lr, #4]
    .if \\rows == 5
        stm     r12!, {{r4-r8}}
        add     r1, r1, r2, lsl #2
    .else
        str     r4, [r12], #4
    .endif
    add     r1, r1, r2
    subs    r0, r0, #1
    str     r1, [lr, #4]
    strd    r12, r0, [lr, #20]
    bne     1b
    pop     {{r0, r4-r11, pc}}
    .size \\name, . - \\name
    .endm

    bb_dots_i8 bitbudget_dots_i8_5, 5
    bb_dots_i8 bitbudget_dots_i8_1, 1

    // the factor of the next channel in r12 and lr
    .macro bb_factor
        ldr     r12, [r1], #4
        ldrb    lr, [r2], #1
        sub     lr, lr, #33
    .endm

    // the sum in \\sum by the factor; half a step is yet to be cut off
    .macro bb_scale sum
        smmul   \\sum, \\sum, r12
        asr     \\sum, \\sum, lr
        add     \\sum, \\sum, r7
    .endm

    // \\sum between the bounds in r12 and lr, or those of the type
    .macro bb_bound sum, bounds
        .if \\bounds
            asr     \\sum, \\sum, #1
            cmp     \\sum, r12
            it      lt
            movlt   \\sum, r12
            cmp     \\sum, lr
            it      gt
            movgt   \\sum, lr
        .else
            ssat    \\sum, #8, \\sum, asr #1
        .endif
    .endm

    .macro bb_load_bounds bounds
        .if \\bounds
            ldr     lr, [sp]
            ldrd    r12, lr, [lr, #32]
        .endif
    .endm

    // the sum in \\sum becomes the next result
    .macro bb_result sum, bounds
        bb_factor
        bb_scale \\sum
        bb_load_bounds \\bounds
        bb_bound \\sum, \\bounds
        strb    \\sum, [r3], #1
    .endm

    // r0: sums; r1, r2: multipliers, shifts; r3: results; r4, r5: a pitch and three; r6: channels;
    // r7: the offset; [sp]: the job
    .macro bb_requantize_begin name
    .section .text.\\name,\"ax\",%progbits
    .p2align 2
    .global \\name
    .type \\name, %function
    .thumb_func
\\name:
    push    {{r0, r4-r11, lr}}
    ldm     r0, {{r0-r7}}
    .endm

    .macro bb_requantize1 name, bounds
    bb_requantize_begin \\name
    lsrs    r5, r6, #2
    beq     2f
1:
    ldm     r0!, {{r8-r11}}
    bb_result r8, \\bounds
    bb_result r9, \\bounds
    bb_result r10, \\bounds
    bb_result r11, \\bounds
    subs    r5, r5, #1
    bne     1b
2:
    ands    r6, r6, #3
    beq     4f
3:
    ldr     r8, [r0], #4
    bb_result r8, \\bounds
    subs    r6, r6, #1
    bne     3b
4:
    pop     {{r0, r4-r11, pc}}
    .size \\name, . - \\name
    .endm

    .macro bb_requantize4 name, bounds
    bb_requantize_begin \\name
1:
    ldm     r0!, {{r8-r11}}
    bb_factor
    bb_scale r8
    bb_scale r9
    bb_scale r10
    bb_scale r11
    bb_load_bounds \\bounds
    bb_bound r8, \\bounds
    bb_bound r9, \\bounds
    bb_bound r10, \\bounds
    bb_bound r11, \\bounds
    strb    r9, [r3, r4]
    strb    r10, [r3, r4, lsl #1]
    strb    r11, [r3, r5]
    strb    r8, [r3], #1
    subs    r6, r6, #1
    bne     1b
    pop     {{r0, r4-r11, pc}}
    .size \\name, . - \\name
    .endm

    bb_requantize1 bitbudget_requantize1, 0
    bb_requantize1 bitbudget_requantize1_bounds, 1
    bb_requantize4 bitbudget_requantize4, 0
    bb_requantize4 bitbudget_requantize4_bounds, 1
    .text
"
);

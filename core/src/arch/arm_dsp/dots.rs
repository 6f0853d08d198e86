//! Dot products of inputs and weights where they lie.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::global_asm;
use core::mem::MaybeUninit;
use core::slice::from_raw_parts;

use crate::arch::portable;

/// As [`portable::dots_i8`], five rows at a time.
///
/// # Panics
/// When a row of weights ends early.
#[inline]
pub(super) fn dots_i8(
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
        return portable::dots_i8(input, weights, pitch, bias, each);
    }
    let mut sums = [const { MaybeUninit::<i32>::uninit() }; ROWS];
    let words = len / 4;
    let mut args = DotsArgs {
        input: input.as_ptr(),
        weights: weights.as_ptr(),
        pitch,
        pitch3: pitch.wrapping_mul(3),
        bias: bias.as_ptr(),
        sums: sums.as_mut_ptr().cast(),
        tiles: 0,
        quads: words / 4,
        words: words % 4,
        overlap: len.wrapping_neg() % 4,
    };
    for first in (0..bias.len()).step_by(ROWS) {
        let rows = ROWS.min(bias.len() - first);
        args.sums = sums.as_mut_ptr().cast();
        args.tiles = rows / 5;
        if args.tiles > 0 {
            // SAFETY: the loop reads the inputs and, of the next `5 * tiles` rows, as many weights and the
            // bias: the last of all rows was asserted to end within the weights, in numbers that saturate.
            // It writes `5 * tiles` sums, no more than the room's `ROWS`. Inputs of fewer than four bytes,
            // which it could not read by words, were handled before
            unsafe { bitbudget_dots_i8_5(&raw mut args) };
        }
        args.tiles = rows % 5;
        if args.tiles > 0 {
            // SAFETY: the loop goes on behind the fives of rows, where that loop left the pointers: it reads and
            // writes the rows that are left, which the same assertions cover
            unsafe { bitbudget_dots_i8_1(&raw mut args) };
        }
        // SAFETY: the two loops have written one sum for each of the `rows` rows
        each(first, unsafe { from_raw_parts(sums.as_ptr().cast(), rows) });
    }
}

/// Arguments of the loops, which know their offsets.
#[repr(C)]
struct DotsArgs {
    input: *const i8,
    /// Weights, biases and sums begin at the next tile's.
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

unsafe extern "C" {
    fn bitbudget_dots_i8_5(args: *mut DotsArgs);
    fn bitbudget_dots_i8_1(args: *mut DotsArgs);
}

global_asm!(cpu!(), include_str!("dots.s"), options(raw));

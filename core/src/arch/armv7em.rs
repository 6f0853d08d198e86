//! Loops for the DSP extension of Armv7E-M (Cortex-M4, M7): two 16-bit products and their sum in one
//! instruction.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::{asm, global_asm};

use super::scalar;

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

/// `sum` and the products of the upper and of the lower halves. The flag that it sets on overflow is
/// read by nobody, and sums do not overflow.
#[inline(always)]
fn multiply_add(a: u32, b: u32, sum: i32) -> i32 {
    let result: i32;
    // SAFETY: SMLAD reads and writes registers only
    unsafe {
        asm!("smlad {}, {}, {}, {}", lateout(reg) result, in(reg) a, in(reg) b, in(reg) sum,
            options(pure, nomem, nostack, preserves_flags));
    }
    result
}

/// As [`scalar::dot_i8`].
#[must_use]
pub fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    // one load: Armv7E-M reads words at any address
    let word = |four: &[i8; 4]| u32::from_le_bytes(four.map(i8::cast_unsigned));
    let len = a.len().min(b.len());
    let (a, a_rest) = a[..len].as_chunks::<4>();
    let (b, b_rest) = b[..len].as_chunks::<4>();
    let mut sum = scalar::dot_i8(a_rest, b_rest);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (word(a), word(b));
        sum = multiply_add(even(a), even(b), sum);
        sum = multiply_add(odd(a), odd(b), sum);
    }
    sum
}

/// What [`bitbudget_tile_i8`] works on, at the offsets that it knows.
#[repr(C)]
struct Tile {
    inputs: [*const i8; 2],
    weights: [*const i8; 2],
    /// From the end of an input's run to the beginning of its next; that of weights is the last field.
    skip: usize,
    /// At least 1.
    rows: usize,
    fours: usize,
    singles: usize,
    sums: [[i32; 2]; 2],
    weight_skip: usize,
}

/// As [`scalar::dots_i8`].
///
/// # Panics
/// When a slice ends before the last run.
#[inline]
pub fn dots_i8(
    pairs: &scalar::Pairs<'_>,
    count: usize,
    start: [i32; 2],
    mut each: impl FnMut([[i32; 2]; 2]),
) {
    let scalar::Pairs {
        input,
        apart,
        len,
        pitch,
        weight_pitch,
        ..
    } = *pairs;
    let (Some(last), Some(last_run)) = (
        count.saturating_mul(2).checked_sub(1),
        pairs.runs.checked_sub(1),
    ) else {
        (0..count).for_each(|_| each([start; 2]));
        return;
    };
    assert!(len <= pitch.min(weight_pitch), "runs do not overlap");
    // saturating: what does not fit a word is not inside a slice either
    let end = |from: usize, pitch: usize| {
        let last_run = last_run.saturating_mul(pitch).saturating_add(len);
        from.saturating_add(last_run)
    };
    let last_sum = pairs.at.saturating_add(last.saturating_mul(apart));
    assert!(end(last_sum, pitch) <= input.len(), "the inputs end");
    let weights = pairs
        .weights
        .map(|row| row[..end(0, weight_pitch)].as_ptr());
    let mut tile = Tile {
        inputs: [input.as_ptr(); 2],
        weights,
        skip: pitch - len,
        rows: pairs.runs,
        fours: len / 4,
        singles: len % 4,
        sums: [start; 2],
        weight_skip: weight_pitch - len,
    };
    let mut at = pairs.at;
    for _ in 0..count {
        let base = input.as_ptr();
        tile.inputs = [base.wrapping_add(at), base.wrapping_add(at + apart)];
        tile.sums = [start; 2];
        // SAFETY: it reads what was found to be inside the slices, and writes the sums
        unsafe { bitbudget_tile_i8(&raw mut tile) };
        each(tile.sums);
        at += 2 * apart;
    }
}

unsafe extern "C" {
    /// For every run: inputs and weights in fours, then one by one; inputs skip to the next run.
    fn bitbudget_tile_i8(tile: *mut Tile);
}

// r0, r1: inputs; r2, r3: weights; r4 to r7: sums; the rest is scratch.
// [sp]: a counter; [sp, 4]: runs left; [sp, 8]: the tile.
global_asm!(
    "
    .macro bitbudget_four
        ldr     r8, [r2], #4
        ldr     r9, [r3], #4
        ldr     r10, [r0], #4
        sxtb16  r11, r8
        sxtb16  r12, r9
        sxtb16  lr, r10
        smlad   r4, lr, r11, r4
        smlad   r5, lr, r12, r5
        sxtb16  r8, r8, ror #8
        sxtb16  r9, r9, ror #8
        sxtb16  r10, r10, ror #8
        smlad   r4, r10, r8, r4
        smlad   r5, r10, r9, r5
        ldr     r10, [r1], #4
        sxtb16  lr, r10
        sxtb16  r10, r10, ror #8
        smlad   r6, lr, r11, r6
        smlad   r7, lr, r12, r7
        smlad   r6, r10, r8, r6
        smlad   r7, r10, r9, r7
    .endm

    .section .text.bitbudget_tile_i8,\"ax\",%progbits
    .syntax unified
    .p2align 2
    .global bitbudget_tile_i8
    .type bitbudget_tile_i8, %function
    .thumb_func
bitbudget_tile_i8:
    push    {{r0, r4-r11, lr}}
    sub     sp, #8
    ldr     r1, [r0, #20]
    str     r1, [sp, #4]
    ldrd    r4, r5, [r0, #32]
    ldrd    r6, r7, [r0, #40]
    ldrd    r2, r3, [r0, #8]
    ldrd    r0, r1, [r0]
1:
    ldr     r12, [sp, #8]
    ldr     r12, [r12, #24]
    lsrs    r12, r12, #2
    beq     3f
2:
    str     r12, [sp]
    bitbudget_four
    bitbudget_four
    bitbudget_four
    bitbudget_four
    ldr     r12, [sp]
    subs    r12, r12, #1
    bne     2b
3:
    ldr     r12, [sp, #8]
    ldr     r12, [r12, #24]
    ands    r12, r12, #3
    beq     5f
4:
    str     r12, [sp]
    bitbudget_four
    ldr     r12, [sp]
    subs    r12, r12, #1
    bne     4b
5:
    ldr     r12, [sp, #8]
    ldr     r12, [r12, #28]
    cmp     r12, #0
    beq     7f
6:
    ldrsb   r8, [r2], #1
    ldrsb   r9, [r3], #1
    ldrsb   r10, [r0], #1
    ldrsb   r11, [r1], #1
    smlabb  r4, r10, r8, r4
    smlabb  r5, r10, r9, r5
    smlabb  r6, r11, r8, r6
    smlabb  r7, r11, r9, r7
    subs    r12, r12, #1
    bne     6b
7:
    ldr     r12, [sp, #8]
    ldr     r8, [r12, #16]
    ldr     r9, [r12, #48]
    add     r0, r8
    add     r1, r8
    add     r2, r9
    add     r3, r9
    ldr     r12, [sp, #4]
    subs    r12, r12, #1
    str     r12, [sp, #4]
    bne     1b
    ldr     r12, [sp, #8]
    strd    r4, r5, [r12, #32]
    strd    r6, r7, [r12, #40]
    add     sp, #8
    pop     {{r0, r4-r11, pc}}
    .size bitbudget_tile_i8, . - bitbudget_tile_i8
    .text
"
);

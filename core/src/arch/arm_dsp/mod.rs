//! Loops for the DSP extension of Armv7E-M (Cortex-M4, M7) and Armv8-M (M33 and up): two 16-bit products
//! and their sum in one instruction.
//!
//! Inputs are widened to 16 bits once and meet every row of weights. Two of them share a word, as the
//! bytes of weights do once they are extended: of four INT8 weights the even and the odd ones, of INT4
//! those of the same half of a byte, four taps apart, of INT2 eight taps apart.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::asm;

/// The processor that assembly is for where the target's name does not imply DSP instructions: LLVM reads
/// it once without the options that the program is built with.
#[cfg(armv8m_dsp)]
macro_rules! cpu {
    () => {
        ".cpu cortex-m33\n"
    };
}
#[cfg(not(armv8m_dsp))]
macro_rules! cpu {
    () => {
        ""
    };
}
use cpu;

mod depthwise;
mod dots;
mod patches;
mod requantize;

pub use depthwise::depthwise;
pub use dots::dots_i8;
pub use patches::Patches;
pub use requantize::requantize;

/// Four bytes in one load: these processors read words at any address.
#[inline(always)]
fn word(four: &[i8; 4]) -> u32 {
    u32::from_le_bytes(four.map(i8::cast_unsigned))
}

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

/// As [`scalar::add_i8`](super::scalar::add_i8), of four elements in one word.
pub fn add_i8(sums: &mut [i32], elements: &[i8]) {
    let (sums, rest) = sums.as_chunks_mut::<4>();
    let (fours, elements) = elements.as_chunks::<4>();
    for (sums, four) in sums.iter_mut().zip(fours) {
        let word = word(four);
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum += i32::from((word >> (8 * i)) as i8);
        }
    }
    super::scalar::add_i8(rest, elements);
}

/// As [`scalar::max_i8`](super::scalar::max_i8), four elements at a time.
pub fn max_i8(to: &mut [i8], from: &[i8]) {
    let (to, to_rest) = to.as_chunks_mut::<4>();
    let (from, from_rest) = from.as_chunks::<4>();
    for (to, from) in to.iter_mut().zip(from) {
        let larger = larger(word(to), word(from));
        *to = larger.to_le_bytes().map(u8::cast_signed);
    }
    super::scalar::max_i8(to_rest, from_rest);
}

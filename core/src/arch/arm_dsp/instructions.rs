//! Instructions that Rust has no name for.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::asm;

/// Four bytes in one load: these processors read words at any address.
#[inline(always)]
pub(super) fn word(four: &[i8; 4]) -> u32 {
    u32::from_le_bytes(four.map(i8::cast_unsigned))
}

/// Bytes 0 and 2 of a word, each extended to 16 bits with its sign.
#[inline(always)]
pub(super) fn even(word: u32) -> u32 {
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
pub(super) fn odd(word: u32) -> u32 {
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
pub(super) fn add_halves(word: u32, sum: i32) -> i32 {
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
pub(super) fn larger(a: u32, b: u32) -> u32 {
    let result: u32;
    // SAFETY: SSUB8 and SEL read and write registers and flags only
    unsafe {
        asm!("ssub8 {0}, {1}, {2}", "sel {0}, {1}, {2}", out(reg) result, in(reg) a, in(reg) b,
            options(pure, nomem, nostack));
    }
    result
}

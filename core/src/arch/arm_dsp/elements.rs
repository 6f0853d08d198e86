//! Elements by the word.

use super::instructions::{larger, word};
use crate::arch::portable;

/// As [`portable::add_i8`], of four elements in one word.
pub(super) fn add_i8(sums: &mut [i32], elements: &[i8]) {
    let (sums, rest) = sums.as_chunks_mut::<4>();
    let (fours, elements) = elements.as_chunks::<4>();
    for (sums, four) in sums.iter_mut().zip(fours) {
        let word = word(four);
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum += i32::from((word >> (8 * i)) as i8);
        }
    }
    portable::add_i8(rest, elements);
}

/// As [`portable::max_i8`], four elements at a time.
pub(super) fn max_i8(to: &mut [i8], from: &[i8]) {
    let (to, to_rest) = to.as_chunks_mut::<4>();
    let (from, from_rest) = from.as_chunks::<4>();
    for (to, from) in to.iter_mut().zip(from) {
        let larger = larger(word(to), word(from));
        *to = larger.to_le_bytes().map(u8::cast_signed);
    }
    portable::max_i8(to_rest, from_rest);
}

//! Packed weights as bytes.

use crate::level::Width;

/// Writes the first weights of a packed row.
///
/// # Panics
/// When the row ends early.
pub(super) fn unpack(row: &[u8], width: Width, to: &mut [i8]) {
    match width {
        Width::Int8 => to.copy_from_slice(bytemuck::cast_slice(&row[..to.len()])),
        Width::Int4 => each::<2>(row, to, |byte, lane| {
            (byte << (4 - 4 * lane)).cast_signed() >> 4
        }),
        Width::Int2 => each::<4>(row, to, |byte, lane| {
            2 * ((byte << (6 - 2 * lane)).cast_signed() >> 6) + 1
        }),
    }
}

#[inline]
fn each<const PER_BYTE: usize>(row: &[u8], to: &mut [i8], weight: impl Fn(u8, usize) -> i8) {
    let row = &row[..to.len().div_ceil(PER_BYTE)];
    let (whole, rest) = to.as_chunks_mut::<PER_BYTE>();
    for (to, byte) in whole.iter_mut().zip(row) {
        (0..PER_BYTE).for_each(|lane| to[lane] = weight(*byte, lane));
    }
    for (lane, to) in rest.iter_mut().enumerate() {
        *to = weight(row[row.len() - 1], lane);
    }
}

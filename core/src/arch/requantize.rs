//! Requantization: accumulators on their way to INT8. What the instruction sets share, and the portable loop.

use super::pixels::Pixels;

/// Multipliers, shifts and clamp that requantize the accumulators of some channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requants<'a> {
    /// A multiplier for each channel.
    pub(crate) multiplier: &'a [i32],
    /// By how many bits each product is shifted to the right, 33 to 62.
    pub(crate) shift: &'a [u8],
    /// Offset and clamp of all channels.
    pub(crate) clamp: Clamp,
}

/// Offset and clamp of requantized accumulators.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clamp {
    /// `2 * zero_point + r`, r = 1 to round to nearest, 0 to round down. Added to
    /// `(acc * multiplier) >> (shift - 1)`; halving the sum then rounds and adds the zero point at once.
    pub(crate) offset: i32,
    /// The least result, of those that fit 8 bits.
    pub(crate) low: i32,
    /// The largest result, of those that fit 8 bits.
    pub(crate) high: i32,
}

impl Clamp {
    /// Whether the results are bounded by their type alone.
    #[must_use]
    pub(crate) const fn is_whole(&self) -> bool {
        self.low == i8::MIN as i32 && self.high == i8::MAX as i32
    }

    /// Requantizes one accumulator; `shift` as [`mulh_round`] takes it.
    #[inline(always)]
    #[must_use]
    pub(crate) fn apply(self, acc: i32, multiplier: i32, shift: u32) -> i32 {
        let steps = mulh_round(acc, multiplier, shift, self.offset);
        steps.max(self.low).min(self.high)
    }
}

/// `(mulh(acc, multiplier) >> shift) + offset, halved`: requantizes one accumulator without a clamp. `shift`
/// is the requantization's less 33, `offset` is [`Clamp::offset`].
#[inline(always)]
pub(crate) fn mulh_round(acc: i32, multiplier: i32, shift: u32, offset: i32) -> i32 {
    let upper = (i64::from(acc) * i64::from(multiplier)) >> 32;
    ((upper as i32 >> (shift & 31)) + offset) >> 1
}

/// Splits a shift of 62 at most: by how many bits an accumulator is [shifted to the left](saturating_shl)
/// first, and the shift that [`mulh_round`] takes, so that multipliers of 1/2 and more do as well.
#[inline(always)]
#[must_use]
pub(crate) const fn split_shift(shift: u8) -> (u32, u32) {
    if shift > 32 {
        (0, shift as u32 - 33)
    } else {
        // shifted by more, everything but 0 is beyond INT8 anyway
        let left = 33 - shift as u32;
        (if left < 21 { left } else { 21 }, 0)
    }
}

/// An accumulator times 2^`left`, saturating.
#[inline(always)]
#[must_use]
pub(crate) fn saturating_shl(acc: i32, left: u32) -> i32 {
    let limit = i32::MAX >> left;
    acc.max(!limit).min(limit) << left
}

/// Writes the requantized sums of `pixels` as INT8: sums by channel, then by pixel; results by pixel, `pitch`
/// apart, then by channel.
///
/// # Panics
/// When there are fewer sums, multipliers, shifts or results.
pub(crate) fn requantize(
    sums: &[i32],
    requants: &Requants<'_>,
    pixels: Pixels,
    to: &mut [i8],
    pitch: usize,
) {
    if requants.clamp.is_whole() {
        clamped(sums, requants, pixels, to, pitch, |x| x.clamp(-128, 127));
    } else {
        let Clamp { low, high, .. } = requants.clamp;
        clamped(sums, requants, pixels, to, pitch, |x| x.max(low).min(high));
    }
}

#[inline(always)]
fn clamped(
    sums: &[i32],
    requants: &Requants<'_>,
    pixels: Pixels,
    to: &mut [i8],
    pitch: usize,
    clamp: impl Fn(i32) -> i32,
) {
    let channels = requants.multiplier.len();
    let offset = requants.clamp.offset;
    let element = |sum: i32, (multiplier, shift): (&i32, &u8)| {
        clamp(mulh_round(sum, *multiplier, u32::from(shift - 33), offset)) as i8
    };
    let (multiplier, shift) = (requants.multiplier, &requants.shift[..channels]);
    let mut to = to.chunks_mut(pitch);
    let mut next = || &mut to.next().unwrap_or(&mut [])[..channels];
    if pixels == Pixels::Four {
        let [a, b, c, d] = [next(), next(), next(), next()];
        let sums = &sums.as_chunks::<4>().0[..channels];
        for i in 0..channels {
            let (sums, requant) = (sums[i], (&multiplier[i], &shift[i]));
            a[i] = element(sums[0], requant);
            b[i] = element(sums[1], requant);
            c[i] = element(sums[2], requant);
            d[i] = element(sums[3], requant);
        }
        return;
    }
    let requants = multiplier.iter().zip(shift);
    for ((to, requant), sum) in next().iter_mut().zip(requants).zip(sums) {
        *to = element(*sum, requant);
    }
}

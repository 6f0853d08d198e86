//! Sums on their way to INT8: what the instruction sets share, and the reference in plain Rust.

use super::pixels::Pixels;

/// What the sums of each channel are multiplied with, and what becomes of the products.
#[derive(Clone, Copy, Debug)]
pub struct Factors<'a> {
    /// A multiplier for each channel.
    pub multiplier: &'a [i32],
    /// By how many bits each product is shifted to the right, 33 to 62.
    pub shift: &'a [u8],
    /// What becomes of all products.
    pub bounds: Bounds,
}

/// How products become INT8.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Twice what is added afterwards, and 1 to round to nearest; without it is rounded down. It is added to
    /// the upper word of a product, shifted by 33 less than the product is to be, before it is halved.
    pub offset: i32,
    /// The least result, of those that fit 8 bits.
    pub low: i32,
    /// The largest result, of those that fit 8 bits.
    pub high: i32,
}

impl Bounds {
    /// Whether the results are bounded by their type alone.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.low == i8::MIN as i32 && self.high == i8::MAX as i32
    }

    /// What becomes of a sum.
    #[inline(always)]
    #[must_use]
    pub fn result(self, sum: i32, multiplier: i32, shift: u32) -> i32 {
        let steps = halved(sum, multiplier, shift, self.offset);
        steps.max(self.low).min(self.high)
    }
}

/// A sum times its factor, rounded, with the zero point: of [`Bounds::offset`] and the upper word of the
/// product, shifted by 33 less than the product is to be.
#[inline(always)]
pub fn halved(sum: i32, multiplier: i32, shift: u32, offset: i32) -> i32 {
    let upper = (i64::from(sum) * i64::from(multiplier)) >> 32;
    ((upper as i32 >> (shift & 31)) + offset) >> 1
}

/// For a factor's shift of 62 at most: by how many bits a sum is [`raised`], and what [`halved`] takes as the
/// shift, so that factors of 1/2 and more do as well.
#[inline(always)]
#[must_use]
pub const fn split(shift: u8) -> (u32, u32) {
    if shift > 32 {
        (0, shift as u32 - 33)
    } else {
        // where it would be raised by more, everything but 0 is beyond INT8 anyway
        let left = 33 - shift as u32;
        (if left < 21 { left } else { 21 }, 0)
    }
}

/// A sum times 2^`left`, where that is too large an end of its type.
#[inline(always)]
#[must_use]
pub fn raised(sum: i32, left: u32) -> i32 {
    let limit = i32::MAX >> left;
    sum.max(!limit).min(limit) << left
}

/// Writes the sums of one pixel or four times their factors, rounded, as INT8: sums by channel, then by
/// pixel; results by pixel, `pitch` apart, then by channel.
///
/// # Panics
/// When there are fewer sums, factors or results.
pub fn requantize(
    sums: &[i32],
    factors: &Factors<'_>,
    pixels: Pixels,
    to: &mut [i8],
    pitch: usize,
) {
    if factors.bounds.is_whole() {
        clamped(sums, factors, pixels, to, pitch, |x| x.clamp(-128, 127));
    } else {
        let Bounds { low, high, .. } = factors.bounds;
        clamped(sums, factors, pixels, to, pitch, |x| x.max(low).min(high));
    }
}

#[inline(always)]
fn clamped(
    sums: &[i32],
    factors: &Factors<'_>,
    pixels: Pixels,
    to: &mut [i8],
    pitch: usize,
    clamp: impl Fn(i32) -> i32,
) {
    let channels = factors.multiplier.len();
    let offset = factors.bounds.offset;
    let element = |sum: i32, (multiplier, shift): (&i32, &u8)| {
        clamp(halved(sum, *multiplier, u32::from(shift - 33), offset)) as i8
    };
    let (multiplier, shift) = (factors.multiplier, &factors.shift[..channels]);
    let mut to = to.chunks_mut(pitch);
    let mut next = || &mut to.next().unwrap_or(&mut [])[..channels];
    if pixels == Pixels::Four {
        let [a, b, c, d] = [next(), next(), next(), next()];
        let sums = &sums.as_chunks::<4>().0[..channels];
        for i in 0..channels {
            let (sums, factor) = (sums[i], (&multiplier[i], &shift[i]));
            a[i] = element(sums[0], factor);
            b[i] = element(sums[1], factor);
            c[i] = element(sums[2], factor);
            d[i] = element(sums[3], factor);
        }
        return;
    }
    let factors = multiplier.iter().zip(shift);
    for ((to, factor), sum) in next().iter_mut().zip(factors).zip(sums) {
        *to = element(*sum, factor);
    }
}

//! Sums of channels on their way to INT8.

use super::{Isa, Path, Task};

/// What the sums of each channel are multiplied with, and what becomes of the products.
#[derive(Clone, Copy, Debug)]
pub struct Factors<'a> {
    /// A multiplier for each channel.
    pub multiplier: &'a [i32],
    /// By how many bits each product is shifted to the right, 33 to 62.
    pub shift: &'a [u8],
    /// What is added afterwards.
    pub zero_point: i32,
    /// The least result.
    pub low: i32,
    /// The largest result.
    pub high: i32,
}

/// Writes sums of channels times their factors, rounded to nearest, as INT8.
pub fn requantize(sums: &[i32], factors: &Factors<'_>, to: &mut [i8]) {
    Path::best().run(Requantize { sums, factors, to });
}

struct Requantize<'a> {
    sums: &'a [i32],
    factors: &'a Factors<'a>,
    to: &'a mut [i8],
}

impl Task for Requantize<'_> {
    type Output = ();

    // the compiler makes vectors of it
    #[inline(always)]
    #[expect(unsafe_code, reason = "a task")]
    unsafe fn run<I: Isa>(self) {
        let Factors {
            multiplier,
            shift,
            zero_point,
            low,
            high,
        } = *self.factors;
        let len = self.to.len();
        let (sums, multiplier, shift) = (&self.sums[..len], &multiplier[..len], &shift[..len]);
        for (i, to) in self.to.iter_mut().enumerate() {
            let upper = ((i64::from(sums[i]) * i64::from(multiplier[i])) >> 32) as i32;
            let twice = upper >> ((u32::from(shift[i]).wrapping_sub(33)) & 31);
            let steps = (twice + 1 + 2 * zero_point) >> 1;
            *to = steps.max(low).min(high) as i8;
        }
    }
}

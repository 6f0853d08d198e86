//! Sums of channels on their way to INT8.

use core::array::from_fn;
use core::ops::Range;

use super::{Isa, Path, Task};
use crate::arch::Factors;

/// Channels that are taken together.
const LANES: usize = 16;

impl Factors<'_> {
    /// Writes the sums of pixels times their factors, rounded to nearest, as INT8: those of each pixel
    /// begin `sums_pitch` behind those of the pixel before and go to the beginning of the next `pitch` of
    /// `to`.
    ///
    /// # Panics
    /// When there are fewer sums, factors or results.
    pub fn requantize_pixels(&self, sums: &[i32], sums_pitch: usize, to: &mut [i8], pitch: usize) {
        self.requantize_on(Path::best(), (sums, sums_pitch), (to, pitch));
    }

    fn requantize_on(&self, path: Path, sums: (&[i32], usize), to: (&mut [i8], usize)) {
        let factors = self;
        path.run(Requantize { sums, factors, to });
    }
}

struct Requantize<'a> {
    sums: (&'a [i32], usize),
    factors: &'a Factors<'a>,
    to: (&'a mut [i8], usize),
}

impl Task for Requantize<'_> {
    type Output = ();

    // the compiler makes vectors of it
    #[inline(always)]
    #[expect(unsafe_code, reason = "a task")]
    unsafe fn run<I: Isa>(self) {
        let (to, pitch) = self.to;
        let (sums, sums_pitch) = self.sums;
        let factors = *self.factors;
        let len = factors.multiplier.len();
        for first in (0..len).step_by(LANES) {
            let channels = first..len.min(first + LANES);
            let block = Block::new(&factors, channels.clone());
            let pixels = to[first..].chunks_mut(pitch);
            let pixels = pixels.zip(sums[first..].chunks(sums_pitch));
            if channels.len() == LANES {
                for (to, sums) in pixels {
                    if let (Some(to), Some(sums)) = (to.first_chunk_mut(), sums.first_chunk()) {
                        *to = block.requantize(sums);
                    }
                }
            } else {
                for (to, sums) in pixels {
                    let mut padded = [0; LANES];
                    padded[..channels.len()].copy_from_slice(&sums[..channels.len()]);
                    let results = block.requantize(&padded);
                    to[..channels.len()].copy_from_slice(&results[..channels.len()]);
                }
            }
        }
    }
}

/// What becomes of the sums of a block of channels.
#[derive(Clone, Copy)]
struct Block {
    multiplier: [i32; LANES],
    shift: [u32; LANES],
    /// Twice the zero point, and 1 to round.
    offset: i32,
    low: i32,
    high: i32,
}

impl Block {
    #[inline(always)]
    fn new(factors: &Factors<'_>, channels: Range<usize>) -> Self {
        let mut block = Self {
            multiplier: [0; _],
            shift: [0; _],
            offset: factors.offset(),
            low: factors.low,
            high: factors.high,
        };
        block.multiplier[..channels.len()].copy_from_slice(&factors.multiplier[channels.clone()]);
        for (to, shift) in block.shift.iter_mut().zip(&factors.shift[channels]) {
            *to = u32::from(*shift).wrapping_sub(33) & 31;
        }
        block
    }

    #[inline(always)]
    fn requantize(&self, sums: &[i32; LANES]) -> [i8; LANES] {
        // upper words of the products, of channels in pairs, as vectors multiply
        let [sums, multipliers]: [[i64; LANES / 2]; 2] =
            [*sums, self.multiplier].map(bytemuck::cast);
        let upper: [i64; LANES / 2] = from_fn(|pair| {
            let (sum, multiplier) = (sums[pair], multipliers[pair]);
            let even = (sum << 32 >> 32) * (multiplier << 32 >> 32);
            let odd = (sum >> 32) * (multiplier >> 32);
            (even >> 32) & 0xffff_ffff | odd & !0xffff_ffff
        });
        let upper: [i32; LANES] = bytemuck::cast(upper);
        from_fn(|i| {
            let steps = ((upper[i] >> self.shift[i]) + self.offset) >> 1;
            steps.max(self.low).min(self.high) as i8
        })
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::level::Rounding;
    use crate::quant::Requant;

    #[test]
    fn results_are_products_rounded_once() {
        for (name, path) in Path::all() {
            let Some(path) = path else {
                println!("{name}: not on this processor, not tested");
                continue;
            };
            let rng = &mut SmallRng::seed_from_u64(47);
            for channels in 1..=70_usize {
                let [pixels, gap, more] = [1..9, 0..5, 0..5].map(|range| rng.random_range(range));
                let (sums_pitch, pitch) = (channels.next_multiple_of(LANES) + gap, channels + more);
                let mut sums = Vec::new();
                for _ in 0..pixels * sums_pitch {
                    let sum: i32 = rng.random();
                    sums.push(
                        [sum >> rng.random_range(0..32), i32::MIN, i32::MAX]
                            [sum.unsigned_abs() as usize % 17 / 8],
                    );
                }
                let multiplier: Vec<i32> = (0..channels)
                    .map(|_| rng.random_range(1 << 30..=i32::MAX))
                    .collect();
                let shift: Vec<u8> = (0..channels).map(|_| rng.random_range(33..=62)).collect();
                let low = rng.random_range(-128..0);
                let factors = Factors {
                    multiplier: &multiplier,
                    shift: &shift,
                    zero_point: rng.random_range(-128..128),
                    low,
                    high: rng.random_range(low..128),
                };
                let mut to = vec![77; pixels * pitch];
                factors.requantize_on(path, (&sums, sums_pitch), (&mut to, pitch));
                for (pixel, to) in to.chunks(pitch).enumerate() {
                    for (channel, to) in to.iter().enumerate() {
                        if channel >= channels {
                            assert_eq!(*to, 77, "{name}: beside the channels");
                            continue;
                        }
                        let sum = sums[pixel * sums_pitch + channel];
                        let (multiplier, shift) = (multiplier[channel], shift[channel]);
                        let factor = Requant { multiplier, shift };
                        let want =
                            factor.apply(sum, Rounding::Nearest) + i64::from(factors.zero_point);
                        let want = want.clamp(low.into(), factors.high.into());
                        assert_eq!(i64::from(*to), want, "{name} {sum} {factor:?}");
                    }
                }
            }
        }
    }
}

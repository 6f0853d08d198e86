//! Sums of strips on their way to INT8: those of a tile while they are in registers.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

use super::strips::{LANES, Strips};
use super::tile::Sink;
use super::{Isa, end};
use crate::arch::Factors;
use crate::arch::requantize::Bounds;

/// A number for each channel.
pub(super) type Channels = [i32; Strips::CHANNELS];

/// What becomes of the sums of some channels, as vectors read it.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Scales {
    pub(super) multiplier: Channels,
    /// By how many bits the upper words of the products are shifted.
    pub(super) shift: Channels,
    pub(super) bounds: Bounds,
}

impl Scales {
    /// Those of no channels.
    pub(super) const fn new() -> Self {
        Self {
            multiplier: [0; _],
            shift: [0; _],
            bounds: Bounds {
                offset: 0,
                low: 0,
                high: 0,
            },
        }
    }

    /// Takes those of some channels.
    pub(super) fn set(&mut self, factors: &Factors<'_>) {
        self.multiplier[..factors.multiplier.len()].copy_from_slice(factors.multiplier);
        for (to, shift) in self.shift.iter_mut().zip(factors.shift) {
            *to = i32::from(*shift).wrapping_sub(33) & 31;
        }
        self.bounds = factors.bounds;
    }
}

/// Where sums go as INT8.
pub(super) struct Int8<'a> {
    pub(super) scales: &'a Scales,
    pub(super) channels: usize,
    pub(super) to: &'a mut [i8],
    /// From the results of a pixel to those of the next.
    pub(super) pitch: usize,
}

// SAFETY: the last pixel's results end within the slice; what says so saturates, and no slice is so long.
// Only results of channels are written, of which there are no more than multipliers and shifts
unsafe impl Sink for Int8<'_> {
    fn has_room<I: Isa>(&self, pixels: usize, channels: usize) -> bool {
        let end = end(channels, [(pixels.saturating_sub(1), self.pitch)]);
        end <= self.to.len() && channels == self.channels && channels <= Strips::CHANNELS
    }

    #[inline(always)]
    unsafe fn put<I: Isa, const PIXELS: usize, const VECTORS: usize>(
        &mut self,
        pixel: usize,
        vector: usize,
        sums: [[I::Vector; VECTORS]; PIXELS],
    ) {
        let first = vector * I::LANES;
        // SAFETY: the channels are no more than there are scales, a multiple of all numbers of lanes; of
        // each pixel there is room for them
        unsafe {
            let vectors: [_; VECTORS] = core::array::from_fn(|v| {
                let at = first + v * I::LANES;
                [&self.scales.multiplier, &self.scales.shift].map(|of| I::load(of.as_ptr().add(at)))
            });
            for (p, sums) in sums.into_iter().enumerate() {
                let to = self.to.as_mut_ptr().add((pixel + p) * self.pitch);
                for (v, (sum, [multiplier, shift])) in sums.into_iter().zip(vectors).enumerate() {
                    let at = first + v * I::LANES;
                    let results = I::requantize(sum, multiplier, shift, self.scales.bounds);
                    if self.channels - at >= I::LANES {
                        I::store_results(to.add(at), results);
                    } else {
                        let mut all = [0; LANES];
                        I::store_results(all.as_mut_ptr(), results);
                        let some = &all[..self.channels - at];
                        core::ptr::copy_nonoverlapping(some.as_ptr(), to.add(at), some.len());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::arch::Rows;
    use crate::arch::wide::{Frame, Grid, Path, Segments, Strip};
    use crate::level::{Rounding, Width};
    use crate::quant::Requant;

    #[test]
    fn results_are_products_rounded_once() {
        for (name, path) in Path::all() {
            let Some(path) = path else {
                println!("{name}: not on this processor, not tested");
                continue;
            };
            let rng = &mut SmallRng::seed_from_u64(47);
            for i in 0..40 * Strips::CHANNELS {
                let channels = 1 + i % Strips::CHANNELS;
                let pixels = rng.random_range(1..=Strip::PIXELS);
                let pitch = channels + rng.random_range(0..5);
                // the sums are biases, all products are zero
                let sums: Vec<i32> = (0..channels)
                    .map(|_| match rng.random_range(0..16) {
                        0 => i32::MIN,
                        1 => i32::MAX,
                        _ => rng.random::<i32>() >> rng.random_range(0..32),
                    })
                    .collect();
                let multiplier: Vec<i32> = (0..channels)
                    .map(|_| rng.random_range(1 << 30..=i32::MAX))
                    .collect();
                let shift: Vec<u8> = (0..channels).map(|_| rng.random_range(33..=62)).collect();
                let low = rng.random_range(-128..0);
                let zero_point = rng.random_range(-128..128);
                let rounding = [Rounding::Nearest, Rounding::Floor][rng.random_range(0..2)];
                let factors = Factors {
                    multiplier: &multiplier,
                    shift: &shift,
                    bounds: Bounds {
                        offset: 2 * zero_point + i32::from(rounding == Rounding::Nearest),
                        low,
                        high: rng.random_range(low..128),
                    },
                };
                let mut strips = Strips::on(path);
                let rows = Rows {
                    width: Width::Int8,
                    bytes: &[0; Strips::CHANNELS],
                    pitch: 1,
                };
                strips.weigh(&rows, 0..channels, Segments { count: 1, len: 1 }, &sums);
                strips.scale(&factors);
                let frame = Frame {
                    row: pixels,
                    ..Frame::default()
                };
                strips.put(&[77; Strip::PIXELS][..pixels], frame, 0);
                let strip = Strip {
                    at: 0,
                    pitch: 0,
                    step: 1,
                    pixels,
                };
                let rows = rng.random_range(1..4);
                let mut to = vec![77; rows * pixels * pitch];
                let grid = Grid {
                    strip,
                    rows,
                    step: 0,
                };
                strips.results(grid, &mut to, pitch);
                for to in to.chunks(pitch) {
                    for (channel, to) in to.iter().enumerate() {
                        if channel >= channels {
                            assert_eq!(*to, 77, "{name}: beside the channels");
                            continue;
                        }
                        let sum = sums[channel];
                        let (multiplier, shift) = (multiplier[channel], shift[channel]);
                        let factor = Requant { multiplier, shift };
                        let want = factor.apply(sum, rounding) + i64::from(zero_point);
                        let want = want.clamp(low.into(), factors.bounds.high.into());
                        assert_eq!(i64::from(*to), want, "{name} {sum} {factor:?}");
                    }
                }
            }
        }
    }
}

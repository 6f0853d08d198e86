//! The integer kernels against sums and results one by one.

use std::vec;
use std::vec::Vec;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::weights::{naive, values};
use crate::arch::kernels::IntKernels;
use crate::arch::pixels::Pixels;
use crate::arch::requantize::{Clamp, Requants};
use crate::quant::{Requant, Rounding};

/// A number that is often one of the least and the largest.
fn number(rng: &mut SmallRng) -> i32 {
    match rng.random_range(0..16) {
        0 => i32::MIN,
        1 => i32::MAX,
        _ => rng.random::<i32>() >> rng.random_range(0..32),
    }
}

/// The sums that [`IntKernels::dots_i8`] gives, which come in order.
fn collected<K: IntKernels>(input: &[i8], weights: &[i8], pitch: usize, bias: &[i32]) -> Vec<i32> {
    let mut all = Vec::new();
    K::dots_i8(input, weights, pitch, bias, |first, sums| {
        assert_eq!(first, all.len());
        all.extend(sums);
    });
    all
}

pub(crate) fn dots_i8<K: IntKernels>() {
    let mut rng = SmallRng::seed_from_u64(36);
    for len in (1..=40).chain([63, 64, 1000, 5000]) {
        for rows in (0..=11).chain([39, 40, 41, 83]) {
            let input = values(&mut rng, len);
            let weights: Vec<_> = (0..rows).map(|_| values(&mut rng, len)).collect();
            let bias: Vec<i32> = (0..rows).map(|_| rng.random_range(-999..999)).collect();
            let pitch = len + rng.random_range(0..6);
            let mut rows_with_gaps: Vec<i8> = Vec::new();
            for (row, weights) in weights.iter().enumerate() {
                rows_with_gaps.resize(row * pitch, rng.random());
                rows_with_gaps.extend(weights);
            }
            let mut want = bias.clone();
            naive(
                core::slice::from_ref(&input),
                &weights,
                &(0..len),
                &mut want,
            );
            assert_eq!(
                collected::<K>(&input, &rows_with_gaps, pitch, &bias),
                want,
                "{len} {rows}"
            );
        }
    }
}

pub(crate) fn depthwise<K: IntKernels>() {
    let mut rng = SmallRng::seed_from_u64(37);
    for taps in 0..=26 {
        for fours in 0..=5 {
            let offsets: Vec<u32> = (0..taps).map(|_| rng.random_range(0..100)).collect();
            let last = offsets.iter().max().map_or(0, |last| *last as usize);
            // the inputs end with the last tap
            let input = values(&mut rng, last + 4 * fours);
            let weights: Vec<[i16; 4]> = (0..fours * taps)
                .map(|_| [(); 4].map(|()| values(&mut rng, 1)[0].into()))
                .collect();
            let bias: Vec<[i32; 4]> = (0..fours)
                .map(|_| [(); 4].map(|()| rng.random_range(-999..999)))
                .collect();
            let mut want = bias.clone();
            for (four, want) in want.iter_mut().enumerate() {
                for (tap, offset) in offsets.iter().enumerate() {
                    for (channel, sum) in want.iter_mut().enumerate() {
                        let input = input[*offset as usize + 4 * four + channel];
                        *sum += i32::from(input) * i32::from(weights[four * taps + tap][channel]);
                    }
                }
            }
            let mut sums = vec![[77; 4]; fours];
            K::depthwise(&input, &offsets, &weights, &bias, &mut sums);
            assert_eq!(sums, want, "{taps} {fours}");
        }
    }
}

pub(crate) fn requantize<K: IntKernels>() {
    let mut rng = SmallRng::seed_from_u64(38);
    for zero_point in -128..=127 {
        for i in 0..6 {
            let pixels = [1, 4][i % 2];
            let channels = rng.random_range(1..20);
            // the last two are halves of a step
            let multiplier = || match rng.random_range(0..4) {
                0 => i32::MAX,
                1 => 1 << 30,
                _ => rng.random_range(1 << 30..=i32::MAX),
            };
            let multiplier: Vec<i32> = core::iter::repeat_with(multiplier).take(channels).collect();
            let shift: Vec<u8> = (0..channels).map(|_| rng.random_range(33..=62)).collect();
            let sums = (0..channels * pixels).map(|i| {
                let half = 1_i64 << (shift[i / pixels] - 31);
                match rng.random_range(0..4) {
                    // where the multiplier is the least, half a step from a whole number of them
                    0 => ((2 * rng.random_range(-40..40) + 1) * half) as i32,
                    _ => number(&mut rng),
                }
            });
            let sums: Vec<i32> = sums.collect();
            let rounding = [Rounding::Nearest, Rounding::Floor][rng.random_range(0..2)];
            let whole: bool = rng.random();
            let low = if whole {
                -128
            } else {
                rng.random_range(-128..127)
            };
            let high = if whole {
                127
            } else {
                rng.random_range(low..=127)
            };
            let requants = Requants {
                multiplier: &multiplier,
                shift: &shift,
                clamp: Clamp {
                    offset: 2 * zero_point + i32::from(rounding == Rounding::Nearest),
                    low,
                    high,
                },
            };
            let pitch = channels + rng.random_range(1..5);
            let mut want = vec![77; pixels * pitch];
            for (i, sum) in sums.iter().enumerate() {
                let (channel, pixel) = (i / pixels, i % pixels);
                let (multiplier, shift) = (multiplier[channel], shift[channel]);
                let factor = Requant { multiplier, shift };
                let steps = factor.apply(*sum, rounding) + i64::from(zero_point);
                want[pixel * pitch + channel] = steps.clamp(low.into(), high.into()) as i8;
            }
            let mut to = vec![77; pixels * pitch];
            K::requantize(&sums, &requants, Pixels::of(pixels), &mut to, pitch);
            assert_eq!(to, want, "{pixels} {requants:?} {sums:?}");
        }
    }
}

pub(crate) fn add_i8<K: IntKernels>() {
    let mut rng = SmallRng::seed_from_u64(43);
    for len in 0..50 {
        let sums: Vec<i32> = (0..len).map(|_| rng.random_range(-9999..9999)).collect();
        let elements = values(&mut rng, len);
        let both = sums.iter().zip(&elements);
        let want: Vec<i32> = both.map(|(sum, x)| sum + i32::from(*x)).collect();
        let mut sums = sums.clone();
        K::add_i8(&mut sums, &elements);
        assert_eq!(sums, want);
    }
}

pub(crate) fn max_i8<K: IntKernels>() {
    let mut rng = SmallRng::seed_from_u64(42);
    for len in 0..50 {
        let (a, b) = (values(&mut rng, len), values(&mut rng, len));
        let want: Vec<i8> = a.iter().zip(&b).map(|(a, b)| *a.max(b)).collect();
        let mut to = a.clone();
        K::max_i8(&mut to, &b);
        assert_eq!(to, want);
    }
}

//! The loops beside the sums of patches.

use std::vec;
use std::vec::Vec;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{naive, taps};
#[cfg(arm_dsp)]
use crate::arch::arm_dsp;
#[cfg(arm_fpu)]
use crate::arch::arm_fpu;
use crate::arch::requantize::{Bounds, requantize as in_rust};
#[cfg(all(wide, target_arch = "x86_64"))]
use crate::arch::x86_64;
use crate::arch::{FP32_TOLERANCE, Factors, Pixels, half, scalar};
use crate::level::Rounding;
use crate::quant::{QParams, Requant};

/// A number that is often one of the least and the largest.
fn number(rng: &mut SmallRng) -> i32 {
    match rng.random_range(0..16) {
        0 => i32::MIN,
        1 => i32::MAX,
        _ => rng.random::<i32>() >> rng.random_range(0..32),
    }
}

/// Random taps, or the same one or either of the ends everywhere.
fn values(rng: &mut SmallRng, len: usize) -> Vec<i8> {
    match rng.random_range(0..4) {
        0 => vec![[-128, 127][rng.random_range(0..2)]; len],
        1 => (0..len)
            .map(|_| if rng.random() { -128 } else { 127 })
            .collect(),
        _ => taps(rng, len),
    }
}

#[test]
fn inputs_where_they_lie() {
    type Dots = fn(&[i8], &[i8], usize, &[i32]) -> Vec<i32>;
    macro_rules! collected {
        ($dots:path) => {
            |input, weights, pitch, bias| {
                let mut all = Vec::new();
                $dots(input, weights, pitch, bias, |first, sums| {
                    assert_eq!(first, all.len());
                    all.extend(sums);
                });
                all
            }
        };
    }
    let ways: &[Dots] = &[
        collected!(scalar::dots_i8),
        #[cfg(arm_dsp)]
        collected!(arm_dsp::dots_i8),
    ];
    let mut rng = SmallRng::seed_from_u64(36);
    for len in (1..=40).chain([63, 64, 1000]) {
        for rows in (0..=11).chain([39, 40, 41, 83]) {
            let input = values(&mut rng, len);
            let weights: Vec<_> = (0..rows).map(|_| values(&mut rng, len)).collect();
            let bias: Vec<i32> = (0..rows).map(|_| rng.random_range(-999..999)).collect();
            let pitch = len + rng.random_range(0..6);
            let mut lain: Vec<i8> = Vec::new();
            for (row, weights) in weights.iter().enumerate() {
                lain.resize(row * pitch, rng.random());
                lain.extend(weights);
            }
            let mut want = bias.clone();
            naive(
                core::slice::from_ref(&input),
                &weights,
                &(0..len),
                &mut want,
            );
            for dots in ways {
                assert_eq!(dots(&input, &lain, pitch, &bias), want, "{len} {rows}");
            }
        }
    }
}

#[test]
fn channels_of_their_own() {
    type Depthwise = fn(&[i8], &[u32], &[[i16; 4]], &[[i32; 4]], &mut [[i32; 4]]);
    let ways: &[Depthwise] = &[
        scalar::depthwise,
        #[cfg(arm_dsp)]
        arm_dsp::depthwise,
    ];
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
            for depthwise in ways {
                let mut sums = vec![[77; 4]; fours];
                depthwise(&input, &offsets, &weights, &bias, &mut sums);
                assert_eq!(sums, want, "{taps} {fours}");
            }
        }
    }
}

#[test]
fn sums_to_results() {
    type Requantize = fn(&[i32], &Factors<'_>, Pixels, &mut [i8], usize);
    let ways: &[Requantize] = &[
        in_rust,
        #[cfg(arm_dsp)]
        arm_dsp::requantize,
    ];
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
            let factors = Factors {
                multiplier: &multiplier,
                shift: &shift,
                bounds: Bounds {
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
            for requantize in ways {
                let mut to = vec![77; pixels * pitch];
                requantize(&sums, &factors, Pixels::of(pixels), &mut to, pitch);
                assert_eq!(to, want, "{pixels} {factors:?} {sums:?}");
            }
        }
    }
}

/// A loop over floats: inputs, rows of weights, a pitch, sums.
type Dots<T> = fn(&[f32], &[T], usize, &mut [f32]);

/// Compares sums of floats with those in 64 bits; `real` is what a weight stands for.
fn float_dots<T: Copy>(ways: &[Dots<T>], weight: fn(&mut SmallRng) -> T, real: fn(T) -> f32) {
    let mut rng = SmallRng::seed_from_u64(39);
    for len in (0..=40).chain([63, 64, 1000]) {
        for rows in 0..=9 {
            let input: Vec<f32> = (0..len).map(|_| rng.random_range(-2.0..2.0)).collect();
            let pitch = len + rng.random_range(0..4);
            // rows need not begin at a word
            let skip = rng.random_range(0..2);
            let weights: Vec<T> = (0..skip + rows * pitch).map(|_| weight(&mut rng)).collect();
            let weights = &weights[skip..];
            let bias: Vec<f32> = (0..rows).map(|_| rng.random_range(-1.0..1.0)).collect();
            for dots in ways {
                let mut sums = bias.clone();
                dots(&input, weights, pitch, &mut sums);
                for (row, (sum, bias)) in sums.iter().zip(&bias).enumerate() {
                    let (mut want, mut size) = (f64::from(*bias), f64::from(bias.abs()));
                    for (x, w) in input.iter().zip(&weights[row * pitch..]) {
                        let product = f64::from(*x) * f64::from(real(*w));
                        want += product;
                        size += product.abs();
                    }
                    let error = (f64::from(*sum) - want).abs();
                    assert!(
                        error <= f64::from(FP32_TOLERANCE) * size,
                        "{len} {rows}: {sum} {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn floats() {
    float_dots(
        &[
            scalar::dots_f32,
            #[cfg(arm_fpu)]
            arm_fpu::dots_f32,
            #[cfg(all(wide, target_arch = "x86_64"))]
            x86_64::dots_f32,
        ],
        |rng| rng.random_range(-1.0..1.0),
        |weight| weight,
    );
}

#[test]
fn halves() {
    float_dots(
        &[
            scalar::dots_f16,
            #[cfg(arm_fpu)]
            arm_fpu::dots_f16,
        ],
        // below 2 in magnitude, subnormal ones among them
        |rng| {
            let magnitude = rng.random_range(0..0x4000) >> rng.random_range(0..15);
            magnitude | rng.random_range(0..2) << 15
        },
        half,
    );
}

#[test]
fn floats_of_channels_of_their_own() {
    type Depthwise = fn(&[f32], (usize, usize), &[[f32; 8]], usize, &mut [[f32; 8]]);
    let ways: &[Depthwise] = &[
        scalar::depthwise_f32,
        #[cfg(arm_fpu)]
        arm_fpu::depthwise_f32,
    ];
    let mut rng = SmallRng::seed_from_u64(40);
    for count in 0..=9 {
        for eights in 0..=4 {
            let mut real = || rng.random_range(-2.0..2.0_f32);
            let step = 8 * eights + 3;
            // the inputs and the weights end with the last ones
            let len: usize = count.max(1) * step - 3;
            let input: Vec<f32> = (0..len).map(|_| real()).collect();
            let pitch = count + 2;
            let len = (eights * pitch).saturating_sub(2);
            let weights: Vec<[f32; 8]> = (0..len).map(|_| [(); 8].map(|()| real())).collect();
            let bias: Vec<[f32; 8]> = (0..eights).map(|_| [(); 8].map(|()| real())).collect();
            let mut want = bias.clone();
            for (i, sum) in want.as_flattened_mut().iter_mut().enumerate() {
                // in this order, rounded after each product and each sum
                for tap in 0..count {
                    *sum += input[tap * step + i] * weights[i / 8 * pitch + tap][i % 8];
                }
            }
            for depthwise in ways {
                let mut sums = bias.clone();
                depthwise(&input, (step, count), &weights, pitch, &mut sums);
                assert_eq!(sums, want, "{count} {eights}");
            }
        }
    }
}

#[test]
fn real_numbers_to_steps() {
    type Quantize = fn(&[f32], QParams, Rounding, [i8; 2], &mut [i8]);
    let ways: &[Quantize] = &[
        scalar::quantize,
        #[cfg(arm_fpu)]
        arm_fpu::quantize,
    ];
    let mut rng = SmallRng::seed_from_u64(41);
    for zero_point in -128..=127 {
        for rounding in Rounding::ALL {
            let scale = rng.random_range(0.001..3.0_f32);
            let q = QParams { scale, zero_point };
            let real = |_| match rng.random_range(0..8) {
                0 => [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-40]
                    [rng.random_range(0..5)],
                1 => rng.random_range(-1e30..1e30),
                // on a whole number of steps or between two, and next to that
                2 => (scale * rng.random_range(-300..300) as f32 / 2.0).next_up(),
                3 => (scale * rng.random_range(-300..300) as f32 / 2.0).next_down(),
                4 => scale * rng.random_range(-300..300) as f32 / 2.0,
                _ => scale * rng.random_range(-300.0..300.0),
            };
            let len = zero_point.unsigned_abs().into();
            let reals: Vec<f32> = (0..len).map(real).collect();
            let low = [i8::MIN, zero_point][rng.random_range(0..2)];
            let high = [i8::MAX, rng.random_range(low..=i8::MAX)][rng.random_range(0..2)];
            let want = reals.iter().map(|real| {
                let steps = *real / scale;
                let steps = match rounding {
                    Rounding::Nearest => (steps + 0.5).floor(),
                    Rounding::Floor => steps.floor(),
                    Rounding::Ceil => steps.ceil(),
                };
                // what is not a number becomes 0
                let steps = (steps as i64).clamp(-1000, 1000) + i64::from(zero_point);
                steps.clamp(low.into(), high.into()) as i8
            });
            let want: Vec<i8> = want.collect();
            for quantize in ways {
                let mut to = vec![77; len + 1];
                quantize(&reals, q, rounding, [low, high], &mut to);
                assert_eq!(to[..len], want, "{q:?} {rounding:?} {reals:?}");
                assert_eq!(to[len], 77);
            }
        }
    }
}

#[test]
fn sums_of_elements() {
    type Add = fn(&mut [i32], &[i8]);
    let ways: &[Add] = &[
        scalar::add_i8,
        #[cfg(arm_dsp)]
        arm_dsp::add_i8,
    ];
    let mut rng = SmallRng::seed_from_u64(43);
    for len in 0..50 {
        let sums: Vec<i32> = (0..len).map(|_| rng.random_range(-9999..9999)).collect();
        let elements = values(&mut rng, len);
        let both = sums.iter().zip(&elements);
        let want: Vec<i32> = both.map(|(sum, x)| sum + i32::from(*x)).collect();
        for add in ways {
            let mut sums = sums.clone();
            add(&mut sums, &elements);
            assert_eq!(sums, want);
        }
    }
}

#[test]
fn larger_elements() {
    type Max = fn(&mut [i8], &[i8]);
    let ways: &[Max] = &[
        scalar::max_i8,
        #[cfg(arm_dsp)]
        arm_dsp::max_i8,
    ];
    let mut rng = SmallRng::seed_from_u64(42);
    for len in 0..50 {
        let (a, b) = (values(&mut rng, len), values(&mut rng, len));
        let want: Vec<i8> = a.iter().zip(&b).map(|(a, b)| *a.max(b)).collect();
        for max in ways {
            let mut to = a.clone();
            max(&mut to, &b);
            assert_eq!(to, want);
        }
    }
}

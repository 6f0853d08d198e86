//! The kernels over FP32 against sums in 64 bits and results one by one.

use std::vec;
use std::vec::Vec;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::arch::kernels::{FP32_TOLERANCE, FloatKernels};
use crate::quant::{QParams, Rounding};

/// A loop over floats: inputs, rows of weights, a pitch, sums.
type Dots<T> = fn(&[f32], &[T], usize, &mut [f32]);

/// Compares sums of floats with those in 64 bits; `real` is what a weight stands for.
fn dots<T: Copy>(dots: Dots<T>, weight: fn(&mut SmallRng) -> T, real: fn(T) -> f32) {
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

pub(crate) fn dots_f32<K: FloatKernels>() {
    dots(
        K::dots_f32,
        |rng| rng.random_range(-1.0..1.0),
        |weight| weight,
    );
}

pub(crate) fn dots_f16<K: FloatKernels>() {
    dots(
        K::dots_f16,
        // below 2 in magnitude, subnormal ones among them
        |rng| {
            let magnitude = rng.random_range(0..0x4000) >> rng.random_range(0..15);
            magnitude | rng.random_range(0..2) << 15
        },
        |bits| half::f16::from_bits(bits).to_f32(),
    );
}

pub(crate) fn depthwise_f32<K: FloatKernels>() {
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
            let mut sums = bias.clone();
            K::depthwise_f32(&input, (step, count), &weights, pitch, &mut sums);
            assert_eq!(sums, want, "{count} {eights}");
        }
    }
}

pub(crate) fn quantize<K: FloatKernels>() {
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
            let mut to = vec![77; len + 1];
            K::quantize(&reals, q, rounding, [low, high], &mut to);
            assert_eq!(to[..len], want, "{q:?} {rounding:?} {reals:?}");
            assert_eq!(to[len], 77);
        }
    }
}

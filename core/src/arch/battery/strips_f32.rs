//! Direct convolution of FP32 against the reference, bit for bit.

use std::ops::Range;
use std::vec::Vec;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::guards::{huge, refused};
use super::strips::{huge_shapes, huge_strips};
use crate::arch::kernels::FloatKernels;
use crate::arch::portable;
use crate::arch::strips::{FloatStrips, KernelRows, Strip};

fn bits(reals: &[f32]) -> Vec<u32> {
    reals.iter().map(|real| real.to_bits()).collect()
}

fn some(rng: &mut SmallRng, range: Range<usize>) -> Range<usize> {
    let start = rng.random_range(range.clone());
    start..rng.random_range(start + 1..=range.end)
}

fn reals(rng: &mut SmallRng, len: usize) -> Vec<f32> {
    let real = |rng: &mut SmallRng| {
        let sign = [-1.0, 0.0, 1.0][rng.random_range(0..3)];
        rng.random_range(0.0..9.0) * sign
    };
    (0..len).map(|_| real(rng)).collect()
}

pub(crate) fn strips_f32<K: FloatKernels>() {
    K::Strips::on_each(|mut strips| {
        let rng = &mut SmallRng::seed_from_u64(43);
        for i in 0..400 {
            let shape = KernelRows {
                count: rng.random_range(1..5),
                len: 1 + (i * 7) % 70,
            };
            let channels = 1 + i % strips.room(shape);
            let taps = shape.count * shape.len;
            let bias = reals(rng, channels);
            let weights = reals(rng, channels * taps);
            let half = |weight: &f32| half::f16::from_f32(*weight).to_bits();
            let halves: Vec<u16> = weights.iter().map(half).collect();
            let inputs = reals(rng, 4000);
            let [kernel_rows, of_each] = [shape.count, shape.len].map(|len| some(rng, 0..len));
            let strip = Strip {
                at: rng.random_range(0..9),
                pitch: rng.random_range(0..200),
                step: rng.random_range(0..40),
                pixels: 1 + i % Strip::PIXELS,
            };
            let is_half = i % 2 == 1;
            if is_half {
                strips.pack(&bias, &halves, shape, portable::half);
            } else {
                strips.pack(&bias, &weights, shape, |x| x);
            }
            let pitch = strips.pitch();
            let sums = strips.sums(&inputs, strip, kernel_rows.clone(), of_each.clone());
            assert_eq!(sums.len(), strip.pixels * pitch);
            for (pixel, sums) in sums.chunks(pitch).enumerate() {
                let mut want = bias.clone();
                for (i, row) in kernel_rows.clone().enumerate() {
                    let at = strip.at + pixel * strip.step + i * strip.pitch;
                    let inputs = &inputs[at..][..of_each.len()];
                    let first = row * shape.len + of_each.start;
                    if is_half {
                        portable::dots_f16(inputs, &halves[first..], taps, &mut want);
                    } else {
                        portable::dots_f32(inputs, &weights[first..], taps, &mut want);
                    }
                }
                assert_eq!(bits(&sums[..channels]), bits(&want), "{shape:?} {strip:?}");
            }
        }
    });
}

pub(crate) fn strips_f32_refuse_huge_steps<K: FloatKernels>() {
    K::Strips::on_each(|mut strips| {
        let shape = KernelRows { count: 2, len: 5 };
        let (bias, rows, inputs) = ([0.0; 20], [0.5; 200], [1.0; 100]);
        strips.pack(&bias, &rows, shape, |x| x);
        for at in [0, 1] {
            let strip = Strip {
                at,
                pitch: at,
                step: at,
                pixels: 3,
            };
            strips.sums(&inputs, strip, 0..2, 0..5);
            for huge in huge() {
                for strip in huge_strips(strip, huge) {
                    refused(|| strips.sums(&inputs, strip, 0..2, 0..5).len());
                }
                for (kernel_rows, taps) in [
                    (0..huge, 0..5),
                    (huge..huge, 0..5),
                    (huge..2, 0..5),
                    (0..2, 0..huge),
                    (0..2, huge..huge),
                    (0..2, huge..5),
                ] {
                    refused(|| strips.sums(&inputs, strip, kernel_rows, taps).len());
                }
            }
        }
        for huge in huge() {
            for shape in huge_shapes(huge) {
                assert_eq!(strips.room(shape), 0);
                refused(|| strips.pack(&bias[..1], &rows, shape, |x| x));
            }
        }
    });
}

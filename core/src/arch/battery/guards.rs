//! Steps, pitches and lengths whose products do not fit: each is refused in a guard's own words, not where
//! arithmetic overflows, which only builds for tests would notice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::String;
use std::vec;

use crate::arch::im2col::{Im2col, Rows};
use crate::arch::kernels::{FloatKernels, IntKernels};
use crate::arch::pixels::Pixels;
use crate::arch::requantize::{Clamp, Requants};
use crate::quant::Width;

/// Numbers near the largest, and those whose products with a small one are just too large.
pub(crate) fn huge() -> impl Iterator<Item = usize> {
    let near = (0..=16).map(|less| usize::MAX - less);
    let just = [2, 3, 4, 5, 7, 8, 12, 16, 32, 64, 256].into_iter();
    near.chain(just.flat_map(|parts| [usize::MAX / parts, usize::MAX / parts + 1]))
}

/// Calls what must panic.
pub(crate) fn refused<T>(call: impl FnOnce() -> T) {
    let outcome = catch_unwind(AssertUnwindSafe(|| drop(call())));
    let said = outcome.expect_err("this is refused");
    let text = said.downcast_ref::<&str>().copied();
    let text = text.or_else(|| said.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or_default();
    assert!(!text.contains("overflow"), "{text}");
}

pub(crate) fn im2col_refuses_huge_lengths<K: IntKernels>() {
    K::Im2col::on_each(im2col);
}

fn im2col<B: Im2col>(mut buffer: B) {
    let bytes = [0_u8; 64];
    let taps = [0_i8; 64];
    for pixels in [Pixels::One, Pixels::Four] {
        buffer.begin(pixels);
        for huge in huge() {
            refused(|| buffer.put(0, huge, &taps));
            refused(|| buffer.put(0, huge, &taps[..5]));
            refused(|| buffer.fill(0, huge, 5, 1));
            refused(|| buffer.fill(0, 0, huge, 1));
            refused(|| buffer.fill(0, 3, huge, 1));
            for run in [3, 5, 8] {
                refused(|| buffer.put_rows(0, &taps, 2, run, huge));
                refused(|| buffer.put_rows(0, &taps, huge, run, run));
            }
            for width in Width::ALL {
                let rows = |pitch| Rows {
                    width,
                    bytes: &bytes,
                    pitch,
                };
                let mut sums = vec![0; 5 * pixels.count()];
                refused(|| buffer.seal(huge, width));
                refused(|| buffer.dots(huge, &rows(8), &mut sums));
                for len in [2, 9, 40] {
                    refused(|| buffer.dots(len, &rows(huge), &mut sums));
                }
            }
        }
    }
}

pub(crate) fn dots_i8_refuses_huge_pitches<K: IntKernels>() {
    let (bytes, bias) = ([0_i8; 64], [0; 7]);
    for huge in huge() {
        refused(|| K::dots_i8(&bytes[..8], &bytes, huge, &bias, |_, _| {}));
        refused(|| K::dots_i8(&bytes[..3], &bytes, huge, &bias, |_, _| {}));
    }
}

pub(crate) fn depthwise_refuses_huge_offsets<K: IntKernels>() {
    let (weights, bias) = ([[0; 4]; 6], [[0; 4]; 2]);
    for offset in [57, u32::MAX, u32::MAX - 3, u32::MAX - 7] {
        let offsets = [0, offset, 0];
        refused(|| K::depthwise(&[0; 64], &offsets, &weights, &bias, &mut [[0; 4]; 2]));
    }
    refused(|| K::depthwise(&[0; 64], &[0; 4], &weights, &bias, &mut [[0; 4]; 2]));
    refused(|| K::depthwise(&[0; 64], &[0; 1], &weights, &bias, &mut [[0; 4]; 3]));
}

pub(crate) fn requantize_refuses_huge_pitches<K: IntKernels>() {
    let (multiplier, shift) = ([1 << 30; 5], [40; 5]);
    for low in [-128, 0] {
        let requants = Requants {
            multiplier: &multiplier,
            shift: &shift,
            clamp: Clamp {
                offset: 0,
                low,
                high: 127,
            },
        };
        for huge in huge() {
            refused(|| K::requantize(&[0; 20], &requants, Pixels::Four, &mut [0; 20], huge));
        }
        refused(|| K::requantize(&[0; 19], &requants, Pixels::Four, &mut [0; 20], 5));
        refused(|| K::requantize(&[0; 5], &requants, Pixels::One, &mut [0; 4], 5));
    }
}

pub(crate) fn dots_of_floats_refuse_huge_pitches<K: FloatKernels>() {
    for huge in huge() {
        refused(|| K::dots_f32(&[0.0; 9], &[0.0; 64], huge, &mut [0.0; 7]));
        refused(|| K::dots_f16(&[0.0; 9], &[0; 64], huge, &mut [0.0; 7]));
    }
}

pub(crate) fn depthwise_f32_refuses_huge_steps<K: FloatKernels>() {
    let (input, weights) = ([0.0; 64], [[0.0; 8]; 12]);
    for huge in huge() {
        let mut sums = [[0.0; 8]; 3];
        refused(|| K::depthwise_f32(&input, (huge, 3), &weights, 4, &mut sums));
        refused(|| K::depthwise_f32(&input, (1, huge), &weights, 4, &mut sums));
        refused(|| K::depthwise_f32(&input, (1, 3), &weights, huge, &mut sums));
    }
}

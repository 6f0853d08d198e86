//! Steps, pitches and lengths whose products do not fit: each is refused in a guard's own words, not where
//! arithmetic overflows, which only builds for tests would notice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::String;
use std::{vec, vec::Vec};

use super::{Subject, for_each_subject};
#[cfg(arm_dsp)]
use crate::arch::arm_dsp;
#[cfg(arm_fpu)]
use crate::arch::arm_fpu;
use crate::arch::requantize::{Bounds, requantize as in_rust};
#[cfg(all(wide, target_arch = "x86_64"))]
use crate::arch::x86_64;
use crate::arch::{Factors, Pixels, Rows, scalar};
use crate::level::Width;

/// Numbers near the largest, and those whose products with a small one are just too large.
pub(in crate::arch) fn huge() -> impl Iterator<Item = usize> {
    let near = (0..=16).map(|less| usize::MAX - less);
    let just = [2, 3, 4, 5, 7, 8, 12, 16, 32, 64, 256].into_iter();
    near.chain(just.flat_map(|parts| [usize::MAX / parts, usize::MAX / parts + 1]))
}

/// Calls what must panic.
pub(in crate::arch) fn refused<T>(call: impl FnOnce() -> T) {
    let outcome = catch_unwind(AssertUnwindSafe(|| drop(call())));
    let said = outcome.expect_err("this is refused");
    let text = said.downcast_ref::<&str>().copied();
    let text = text.or_else(|| said.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or_default();
    assert!(!text.contains("overflow"), "{text}");
}

#[test]
fn patches_of_huge_lengths_are_refused() {
    for_each_subject!(huge_patches);
}

fn huge_patches<S: Subject>(mut patches: S) {
    let bytes = [0_u8; 64];
    let taps = [0_i8; 64];
    for pixels in [Pixels::One, Pixels::Four] {
        patches.begin(pixels);
        for huge in huge() {
            refused(|| patches.put(0, huge, &taps));
            refused(|| patches.put(0, huge, &taps[..5]));
            refused(|| patches.fill(0, huge, 5, 1));
            refused(|| patches.fill(0, 0, huge, 1));
            refused(|| patches.fill(0, 3, huge, 1));
            for run in [3, 5, 8] {
                refused(|| patches.put_rows(0, &taps, 2, run, huge));
                refused(|| patches.put_rows(0, &taps, huge, run, run));
            }
            for width in Width::ALL {
                let rows = |pitch| Rows {
                    width,
                    bytes: &bytes,
                    pitch,
                };
                let mut sums = vec![0; 5 * pixels.count()];
                refused(|| patches.seal(huge, width));
                refused(|| patches.dots(huge, &rows(8), &mut sums));
                for len in [2, 9, 40] {
                    refused(|| patches.dots(len, &rows(huge), &mut sums));
                }
            }
        }
    }
}

#[test]
fn loops_over_huge_pitches_are_refused() {
    type Dots<T> = fn(&[f32], &[T], usize, &mut [f32]);
    let floats: &[Dots<f32>] = &[
        scalar::dots_f32,
        #[cfg(arm_fpu)]
        arm_fpu::dots_f32,
        #[cfg(all(wide, target_arch = "x86_64"))]
        x86_64::dots_f32,
    ];
    let halves: &[Dots<u16>] = &[
        scalar::dots_f16,
        #[cfg(arm_fpu)]
        arm_fpu::dots_f16,
    ];
    let bytes = [0_i8; 64];
    let bias = [0; 7];
    for huge in huge() {
        refused(|| scalar::dots_i8(&bytes[..8], &bytes, huge, &bias, |_, _| {}));
        #[cfg(arm_dsp)]
        refused(|| arm_dsp::dots_i8(&bytes[..8], &bytes, huge, &bias, |_, _| {}));
        for dots in floats {
            refused(|| dots(&[0.0; 9], &[0.0; 64], huge, &mut [0.0; 7]));
        }
        for dots in halves {
            refused(|| dots(&[0.0; 9], &[0; 64], huge, &mut [0.0; 7]));
        }
    }
}

#[test]
fn depthwise_loops_over_huge_steps_are_refused() {
    type Depthwise = fn(&[i8], &[u32], &[[i16; 4]], &[[i32; 4]], &mut [[i32; 4]]);
    let ways: &[Depthwise] = &[
        scalar::depthwise,
        #[cfg(arm_dsp)]
        arm_dsp::depthwise,
    ];
    for depthwise in ways {
        let (weights, bias) = ([[0; 4]; 6], [[0; 4]; 2]);
        for offset in [57, u32::MAX, u32::MAX - 3, u32::MAX - 7] {
            let offsets = [0, offset, 0];
            refused(|| depthwise(&[0; 64], &offsets, &weights, &bias, &mut [[0; 4]; 2]));
        }
        refused(|| depthwise(&[0; 64], &[0; 4], &weights, &bias, &mut [[0; 4]; 2]));
        refused(|| depthwise(&[0; 64], &[0; 1], &weights, &bias, &mut [[0; 4]; 3]));
    }
    type OfFloats = fn(&[f32], (usize, usize), &[[f32; 8]], usize, &mut [[f32; 8]]);
    let ways: &[OfFloats] = &[
        scalar::depthwise_f32,
        #[cfg(arm_fpu)]
        arm_fpu::depthwise_f32,
    ];
    let weights = [[0.0; 8]; 12];
    for depthwise in ways {
        for huge in huge() {
            let mut sums = [[0.0; 8]; 3];
            refused(|| depthwise(&[0.0; 64], (huge, 3), &weights, 4, &mut sums));
            refused(|| depthwise(&[0.0; 64], (1, huge), &weights, 4, &mut sums));
            refused(|| depthwise(&[0.0; 64], (1, 3), &weights, huge, &mut sums));
        }
    }
}

#[test]
fn results_a_huge_pitch_apart_are_refused() {
    type Requantize = fn(&[i32], &Factors<'_>, Pixels, &mut [i8], usize);
    let ways: &[Requantize] = &[
        in_rust,
        #[cfg(arm_dsp)]
        arm_dsp::requantize,
    ];
    let multiplier = vec![1 << 30; 5];
    let shift: Vec<u8> = vec![40; 5];
    for requantize in ways {
        for low in [-128, 0] {
            let bounds = Bounds {
                offset: 0,
                low,
                high: 127,
            };
            let factors = Factors {
                multiplier: &multiplier,
                shift: &shift,
                bounds,
            };
            for huge in huge() {
                refused(|| requantize(&[0; 20], &factors, Pixels::Four, &mut [0; 20], huge));
            }
            refused(|| requantize(&[0; 19], &factors, Pixels::Four, &mut [0; 20], 5));
            refused(|| requantize(&[0; 4], &factors, Pixels::One, &mut [0; 4], 5));
        }
    }
}

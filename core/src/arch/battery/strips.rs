//! Direct convolution of INT8 against sums of products one by one.

use std::vec;
use std::vec::Vec;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::guards::{huge, refused};
use super::weights::{Weights, naive, taps};
use crate::arch::im2col::Rows;
use crate::arch::kernels::IntKernels;
use crate::arch::requantize::{Clamp, Requants};
use crate::arch::strips::{KernelRows, OutputGrid, Padding, Strip, Strips};
use crate::quant::{Requant, Rounding, Width};

/// Calls a test for each instruction set.
fn on_each<K: IntKernels>(mut test: impl FnMut(&mut SmallRng, K::Strips)) {
    K::Strips::on_each(|strips| test(&mut SmallRng::seed_from_u64(41), strips));
}

/// No padding around one row.
fn no_padding(row: usize) -> Padding {
    Padding {
        row,
        ..Padding::default()
    }
}

/// Compares the sums of a strip, with random padding around the inputs.
fn compare(
    rng: &mut SmallRng,
    strips: &mut impl Strips,
    shape: KernelRows,
    strip: Strip,
    weights: &Weights,
) {
    let channels = weights.rows.len();
    assert!(channels <= strips.room(shape));
    let bias: Vec<i32> = (0..channels).map(|_| rng.random_range(-999..999)).collect();
    let Strip {
        at,
        pitch,
        step,
        pixels,
    } = strip;
    let len = at + (pixels - 1) * step + (shape.count - 1) * pitch + shape.len;
    let mut any = |most| rng.random_range(0..most);
    let mut padding = Padding {
        row: 1 + any(60),
        top: any(3),
        left: any(20),
        bottom: any(3),
        right: any(20),
    };
    let mut rows = len / padding.pitch() + 1;
    if len * 2 > strips.capacity() {
        rows = 1;
        padding = no_padding(len);
    }
    let from = taps(rng, rows * padding.row);
    strips.pack(&weights.rows_from(0), 0..channels, shape, &bias);
    // what was there before
    strips.copy_inputs(&[99; 999], no_padding(999), 99);
    strips.copy_inputs(&from, padding, -5);
    let edge = vec![-5; padding.pitch()];
    let mut inputs = edge.repeat(padding.top);
    for row in from.chunks(padding.row) {
        inputs.extend(&edge[..padding.left]);
        inputs.extend(row);
        inputs.extend(&edge[..padding.right]);
    }
    inputs.extend(edge.repeat(padding.bottom));
    assert_eq!(inputs.len(), padding.len(from.len()));
    let pitch_of_sums = strips.pitch();
    let sums = strips.sums(strip);
    for (pixel, sums) in sums.chunks(pitch_of_sums).enumerate() {
        let row = |i| &inputs[at + pixel * step + i * pitch..][..shape.len];
        let taps: Vec<i8> = (0..shape.count).flat_map(row).copied().collect();
        let mut want = bias.clone();
        naive(
            &[taps],
            &weights.rows,
            &(0..shape.count * shape.len),
            &mut want,
        );
        assert_eq!(
            sums[..channels],
            want,
            "{shape:?} {strip:?} {:?}",
            weights.width
        );
    }
}

pub(crate) fn strips_of_every_length<K: IntKernels>() {
    on_each::<K>(|rng, mut strips| {
        for width in Width::ALL {
            for i in 1..=64 {
                let shape = KernelRows {
                    count: rng.random_range(1..5),
                    len: 1 + (i * 7) % 70,
                };
                let strip = Strip {
                    at: rng.random_range(0..9),
                    pitch: rng.random_range(0..200),
                    step: rng.random_range(0..40),
                    pixels: rng.random_range(1..=Strip::PIXELS),
                };
                let channels = i.min(strips.room(shape));
                let weights = Weights::random(rng, channels, shape.count * shape.len, width);
                compare(rng, &mut strips, shape, strip, &weights);
            }
        }
    });
}

pub(crate) fn strips_of_every_number_of_pixels<K: IntKernels>() {
    on_each::<K>(|rng, mut strips| {
        for pixels in 1..=Strip::PIXELS {
            for channels in [1, 16, 33] {
                let shape = KernelRows { count: 3, len: 27 };
                let strip = Strip {
                    at: 0,
                    pitch: 1000,
                    step: 18,
                    pixels,
                };
                let weights = Weights::random(rng, channels, 81, Width::Int8);
                compare(rng, &mut strips, shape, strip, &weights);
            }
        }
    });
}

pub(crate) fn strips_that_fill_the_room<K: IntKernels>() {
    on_each::<K>(|rng, mut strips| {
        let shape = |count, len| KernelRows { count, len };
        let most = (1..).take_while(|len| strips.room(shape(1, *len)) > 0);
        let most = most.last().expect("room for one tap");
        assert_eq!(strips.room(shape(0, 1)), 0);
        assert_eq!(strips.room(shape(1, 0)), 0);
        for shape in [shape(1, most), shape(most / 64, 61)] {
            let room = strips.room(shape);
            let taps = shape.count * shape.len;
            let rows = [vec![127; taps], vec![-127; taps]];
            let rows = (0..room).map(|i| rows[i % 2].clone()).collect();
            let weights = Weights::new(rng, rows, Width::Int8);
            let strip = Strip {
                at: 0,
                pitch: shape.len,
                step: strips.capacity() - taps,
                pixels: 2,
            };
            compare(rng, &mut strips, shape, strip, &weights);
            let bias = vec![0; room + 1];
            let rows = weights.rows_from(0);
            refused(|| strips.pack(&rows, 0..room + 1, shape, &bias));
        }
    });
}

pub(crate) fn strips_of_a_grid<K: IntKernels>() {
    on_each::<K>(|rng, mut strips| {
        for pixels in 1..=Strip::PIXELS {
            let channels = 1 + (pixels * 7) % 64;
            let shape = KernelRows { count: 2, len: 5 };
            let weights = Weights::random(rng, channels, 10, Width::Int8);
            let bias = vec![0; channels];
            strips.pack(&weights.rows_from(0), 0..channels, shape, &bias);
            let grid = OutputGrid {
                strip: Strip {
                    at: 3,
                    pitch: 100,
                    step: 6,
                    pixels,
                },
                rows: rng.random_range(1..6),
                step: 70,
            };
            strips.copy_inputs(&taps(rng, 1000), no_padding(1000), 0);
            // times 2^-5
            strips.set_requants(&Requants {
                multiplier: &vec![1 << 30; channels],
                shift: &vec![35; channels],
                clamp: Clamp {
                    offset: 19,
                    low: -128,
                    high: 127,
                },
            });
            let mut results = vec![0; grid.rows * pixels * channels];
            strips.results(grid, &mut results, channels);
            for (row, results) in results.chunks(pixels * channels).enumerate() {
                let strip = Strip {
                    at: grid.strip.at + row * grid.step,
                    ..grid.strip
                };
                let pitch = strips.pitch();
                let sums = strips.sums(strip).chunks(pitch);
                for (sums, results) in sums.zip(results.chunks(channels)) {
                    let want = sums.iter().map(|sum| ((sum + 16) >> 5) + 9);
                    let want = want.take(channels).map(|x| x.clamp(-128, 127) as i8);
                    assert_eq!(results, want.collect::<Vec<_>>());
                }
            }
        }
    });
}

pub(crate) fn strips_requantize<K: IntKernels>() {
    on_each::<K>(|rng, mut strips| {
        for i in 0..40 * 64 {
            let channels = 1 + i % 64;
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
            let high = rng.random_range(low..128);
            let zero_point = rng.random_range(-128..128);
            let rounding = [Rounding::Nearest, Rounding::Floor][rng.random_range(0..2)];
            let rows = Rows {
                width: Width::Int8,
                bytes: &[0; 64],
                pitch: 1,
            };
            strips.pack(&rows, 0..channels, KernelRows { count: 1, len: 1 }, &sums);
            strips.set_requants(&Requants {
                multiplier: &multiplier,
                shift: &shift,
                clamp: Clamp {
                    offset: 2 * zero_point + i32::from(rounding == Rounding::Nearest),
                    low,
                    high,
                },
            });
            strips.copy_inputs(&[77; Strip::PIXELS][..pixels], no_padding(pixels), 0);
            let grid = OutputGrid {
                strip: Strip {
                    at: 0,
                    pitch: 0,
                    step: 1,
                    pixels,
                },
                rows: rng.random_range(1..4),
                step: 0,
            };
            let mut to = vec![77; grid.rows * pixels * pitch];
            strips.results(grid, &mut to, pitch);
            for to in to.chunks(pitch) {
                for (channel, to) in to.iter().enumerate() {
                    if channel >= channels {
                        assert_eq!(*to, 77, "next to the channels");
                        continue;
                    }
                    let (multiplier, shift) = (multiplier[channel], shift[channel]);
                    let factor = Requant { multiplier, shift };
                    let want = factor.apply(sums[channel], rounding) + i64::from(zero_point);
                    let want = want.clamp(low.into(), high.into());
                    assert_eq!(i64::from(*to), want, "{} {factor:?}", sums[channel]);
                }
            }
        }
    });
}

pub(crate) fn strips_refuse_huge_steps<K: IntKernels>() {
    on_each::<K>(|rng, mut strips| {
        let channels = 20;
        let shape = KernelRows { count: 2, len: 5 };
        let weights = Weights::random(rng, channels, 10, Width::Int8);
        let rows = weights.rows_from(0);
        let bias = vec![0; channels];
        let requants = Requants {
            multiplier: &vec![1 << 30; channels],
            shift: &vec![35; channels],
            clamp: Clamp {
                offset: 0,
                low: -128,
                high: 127,
            },
        };
        strips.pack(&rows, 0..channels, shape, &bias);
        strips.set_requants(&requants);
        strips.copy_inputs(&[1; 200], no_padding(200), 0);
        let mut results = vec![0; 1000];
        // strips whose pixels all read the same inputs are short at any length
        for at in [0, 1] {
            let strip = Strip {
                at,
                pitch: at,
                step: at,
                pixels: 3,
            };
            let grid = OutputGrid {
                strip,
                rows: 2,
                step: at,
            };
            strips.sums(strip);
            strips.results(grid, &mut results, channels);
            for huge in huge() {
                for strip in huge_strips(strip, huge) {
                    refused(|| strips.sums(strip).len());
                    let grid = OutputGrid { strip, ..grid };
                    refused(|| strips.results(grid, &mut results, channels));
                }
                let rows = OutputGrid { rows: huge, ..grid };
                let step = OutputGrid { step: huge, ..grid };
                for grid in [rows, step] {
                    refused(|| strips.results(grid, &mut results, channels));
                }
                refused(|| strips.results(grid, &mut results, huge));
            }
        }
        let more = Requants {
            multiplier: &[0; 65],
            ..requants
        };
        refused(|| strips.set_requants(&more));
        for huge in huge() {
            for shape in huge_shapes(huge) {
                assert_eq!(strips.room(shape), 0);
                refused(|| strips.pack(&rows, 0..1, shape, &bias));
            }
            for width in Width::ALL {
                let pitch = huge;
                let rows = Rows {
                    width,
                    pitch,
                    ..rows
                };
                for first in 0..2 {
                    refused(|| strips.pack(&rows, first..channels, shape, &bias));
                }
            }
            let row = no_padding(10);
            let paddings = [
                Padding { top: huge, ..row },
                Padding { left: huge, ..row },
                Padding {
                    bottom: huge,
                    ..row
                },
                Padding { right: huge, ..row },
                Padding {
                    top: huge,
                    left: huge,
                    bottom: huge,
                    right: huge,
                    ..row
                },
            ];
            for padding in paddings {
                refused(|| strips.copy_inputs(&[1; 20], padding, 0));
            }
        }
    });
}

/// A strip with each of its numbers huge.
pub(super) fn huge_strips(strip: Strip, huge: usize) -> [Strip; 4] {
    let mut all = [strip; 4];
    all[0].at = huge;
    all[1].pitch = huge;
    all[2].step = huge;
    all[3].pixels = huge;
    all
}

/// Shapes with a huge number of taps.
pub(super) fn huge_shapes(huge: usize) -> [KernelRows; 3] {
    [(huge, 5), (2, huge), (huge, huge)].map(|(count, len)| KernelRows { count, len })
}

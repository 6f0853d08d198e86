//! The im2col buffer against sums of products one by one.

use std::vec;
use std::vec::Vec;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::weights::{Weights, naive, taps};
use crate::arch::im2col::Im2col;
use crate::arch::kernels::IntKernels;
use crate::arch::pixels::Pixels;
use crate::quant::Width;

/// Compares the sums of these taps, which `write` writes, added to random ones.
fn compare<B: Im2col>(
    rng: &mut SmallRng,
    buffer: &mut B,
    taps: &[Vec<i8>],
    weights: &Weights,
    mut write: impl FnMut(&mut SmallRng, &mut B, usize, &[i8]),
) {
    let len = taps[0].len();
    let count = weights.rows.len() * taps.len();
    let mut sums: Vec<i32> = (0..count).map(|_| rng.random_range(-999..999)).collect();
    let mut want = sums.clone();
    naive(taps, &weights.rows, &(0..len), &mut want);
    buffer.begin(Pixels::of(taps.len()));
    for (pixel, taps) in taps.iter().enumerate() {
        write(rng, buffer, pixel, taps);
    }
    buffer.seal(len, weights.width);
    buffer.dots(len, &weights.rows_from(0), &mut sums);
    assert_eq!(sums, want, "{len} {:?}", weights.width);
}

fn put<B: Im2col>(_: &mut SmallRng, buffer: &mut B, pixel: usize, taps: &[i8]) {
    buffer.put(pixel, 0, taps);
}

pub(crate) fn im2col_of_every_length<K: IntKernels>() {
    K::Im2col::on_each(lengths);
}

fn lengths<B: Im2col>(mut buffer: B) {
    let mut rng = SmallRng::seed_from_u64(31);
    for pixels in [Pixels::One, Pixels::Four] {
        let capacity = B::capacity(pixels);
        for len in (1..=70).chain(capacity - 33..=capacity) {
            for width in Width::ALL {
                let channels = rng.random_range(0..6);
                let weights = Weights::random(&mut rng, channels, len, width);
                let taps: Vec<_> = (0..pixels.count()).map(|_| taps(&mut rng, len)).collect();
                compare(&mut rng, &mut buffer, &taps, &weights, put);
            }
        }
    }
}

pub(crate) fn im2col_of_extremes<K: IntKernels>() {
    K::Im2col::on_each(ends);
}

fn ends<B: Im2col>(mut buffer: B) {
    let mut rng = SmallRng::seed_from_u64(32);
    for pixels in [Pixels::One, Pixels::Four] {
        for len in [16, 61, B::capacity(pixels)] {
            for width in Width::ALL {
                let max = width.max();
                let alternating = (0..len).map(|i| if i % 2 == 0 { max } else { -max });
                let mut rows = vec![vec![max; len], vec![-max; len], alternating.collect()];
                if width != Width::Int2 {
                    // no quantizer gives it
                    rows.push(vec![-max - 1; len]);
                }
                let weights = Weights::new(&mut rng, rows, width);
                for tap in [-128, -1, 0, 127] {
                    let taps = vec![vec![tap; len]; pixels.count()];
                    compare(&mut rng, &mut buffer, &taps, &weights, put);
                }
                let mut end = || if rng.random() { -128 } else { 127 };
                let taps: Vec<Vec<i8>> = (0..pixels.count())
                    .map(|_| (0..len).map(|_| end()).collect())
                    .collect();
                compare(&mut rng, &mut buffer, &taps, &weights, put);
            }
        }
    }
}

pub(crate) fn im2col_in_any_pieces<K: IntKernels>() {
    K::Im2col::on_each(pieces);
}

fn pieces<B: Im2col>(mut buffer: B) {
    let mut rng = SmallRng::seed_from_u64(33);
    for pixels in [Pixels::One, Pixels::Four] {
        for begin in 0..=20 {
            for end in begin..=41 {
                let width = Width::ALL[rng.random_range(0..3)];
                let len = rng.random_range(end.max(1)..=42);
                let value = rng.random();
                let weights = Weights::random(&mut rng, 3, len, width);
                let mut taps: Vec<_> = (0..pixels.count()).map(|_| taps(&mut rng, len)).collect();
                taps.iter_mut()
                    .for_each(|taps| taps[begin..end].fill(value));
                compare(
                    &mut rng,
                    &mut buffer,
                    &taps,
                    &weights,
                    |rng, buffer, pixel, taps| {
                        let mut cuts = [rng.random_range(0..=begin), rng.random_range(end..=len)];
                        let mut pieces = [0..cuts[0], cuts[0]..begin, end..cuts[1], cuts[1]..len];
                        cuts.sort_unstable();
                        // in any order
                        let turn = rng.random_range(0..pieces.len());
                        pieces.rotate_left(turn);
                        pieces.iter().for_each(|piece| {
                            buffer.put(pixel, piece.start, &taps[piece.clone()]);
                        });
                        buffer.fill(pixel, begin, end - begin, value);
                    },
                );
            }
        }
    }
}

pub(crate) fn im2col_of_rows<K: IntKernels>() {
    K::Im2col::on_each(rows);
}

fn rows<B: Im2col>(mut buffer: B) {
    let mut rng = SmallRng::seed_from_u64(35);
    for pixels in [Pixels::One, Pixels::Four] {
        for count in 1..=4 {
            for run in 1..=21 {
                let width = Width::ALL[rng.random_range(0..3)];
                let weights = Weights::random(&mut rng, 2, count * run, width);
                let taps: Vec<_> = (0..pixels.count())
                    .map(|_| taps(&mut rng, count * run))
                    .collect();
                let write = |rng: &mut SmallRng, buffer: &mut B, pixel, taps: &[i8]| {
                    let pitch = run + rng.random_range(0..6);
                    // the inputs end with the last run
                    let mut inputs: Vec<i8> = Vec::new();
                    for run in taps.chunks(run) {
                        inputs.resize(inputs.len().next_multiple_of(pitch), rng.random());
                        inputs.extend(run);
                    }
                    buffer.put_rows(pixel, &inputs, count, run, pitch);
                };
                compare(&mut rng, &mut buffer, &taps, &weights, write);
            }
        }
    }
}

pub(crate) fn im2col_in_blocks<K: IntKernels>() {
    K::Im2col::on_each(blocks);
}

fn blocks<B: Im2col>(mut buffer: B) {
    let mut rng = SmallRng::seed_from_u64(34);
    for pixels in [Pixels::One, Pixels::Four] {
        let capacity = B::capacity(pixels);
        for extra in [1, 2, 3, 5, 63, 64, capacity / 2 + 1, capacity + 7] {
            let len = capacity + extra;
            for width in Width::ALL {
                let weights = Weights::random(&mut rng, 3, len, width);
                let taps: Vec<_> = (0..pixels.count()).map(|_| taps(&mut rng, len)).collect();
                let mut sums = vec![7; 3 * pixels.count()];
                let mut want = sums.clone();
                naive(&taps, &weights.rows, &(0..len), &mut want);
                for from in (0..len).step_by(capacity) {
                    let to = len.min(from + capacity);
                    buffer.begin(pixels);
                    for (pixel, taps) in taps.iter().enumerate() {
                        buffer.put(pixel, 0, &taps[from..to]);
                    }
                    buffer.seal(to - from, width);
                    buffer.dots(to - from, &weights.rows_from(from), &mut sums);
                }
                assert_eq!(sums, want, "{len} {width:?}");
            }
        }
    }
}

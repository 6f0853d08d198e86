//! The tests that every instruction set passes: against a dumb computation, weight by weight. Here the sums
//! of patches, in [`loops`] all others.

pub(in crate::arch) mod guards;
mod loops;

use std::ops::Range;
use std::vec::Vec;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Pixels, Rows};
use crate::level::Width;

/// Patches of an instruction set.
pub(in crate::arch) trait Subject {
    fn capacity(pixels: Pixels) -> usize;
    fn begin(&mut self, pixels: Pixels);
    fn put(&mut self, pixel: usize, at: usize, from: &[i8]);
    fn put_rows(&mut self, pixel: usize, from: &[i8], rows: usize, run: usize, pitch: usize);
    fn fill(&mut self, pixel: usize, at: usize, len: usize, value: i8);
    fn seal(&mut self, len: usize, width: Width);
    fn dots(&self, len: usize, rows: &Rows<'_>, sums: &mut [i32]);
}

/// Makes a type of patches a [`Subject`].
macro_rules! subject {
    ($patches:ty) => {
        impl Subject for $patches {
            fn capacity(pixels: Pixels) -> usize {
                <$patches>::capacity(pixels)
            }
            fn begin(&mut self, pixels: Pixels) {
                <$patches>::begin(self, pixels);
            }
            fn put(&mut self, pixel: usize, at: usize, from: &[i8]) {
                <$patches>::put(self, pixel, at, from);
            }
            fn put_rows(
                &mut self,
                pixel: usize,
                from: &[i8],
                rows: usize,
                run: usize,
                pitch: usize,
            ) {
                <$patches>::put_rows(self, pixel, from, rows, run, pitch);
            }
            fn fill(&mut self, pixel: usize, at: usize, len: usize, value: i8) {
                <$patches>::fill(self, pixel, at, len, value);
            }
            fn seal(&mut self, len: usize, width: Width) {
                <$patches>::seal(self, len, width);
            }
            fn dots(&self, len: usize, rows: &Rows<'_>, sums: &mut [i32]) {
                <$patches>::dots(self, len, rows, sums);
            }
        }
    };
}

subject!(super::scalar::Patches);
#[cfg(arm_dsp)]
subject!(super::arm_dsp::Patches);
#[cfg(any(arm_dsp, arm_mla))]
subject!(super::arm_mla::Patches);
#[cfg(wide)]
subject!(super::wide::Patches);

/// Calls `with` for every way that this build has to the sums, with fresh patches; says which it has not.
macro_rules! for_each_subject {
    ($with:ident) => {{
        $with(crate::arch::scalar::Patches::new());
        #[cfg(arm_dsp)]
        $with(crate::arch::arm_dsp::Patches::new());
        #[cfg(any(arm_dsp, arm_mla))]
        $with(crate::arch::arm_mla::Patches::new());
        #[cfg(wide)]
        for (name, path) in crate::arch::wide::Path::all() {
            match path {
                Some(path) => $with(crate::arch::wide::Patches::on(path)),
                None => println!("{name}: not on this processor, not tested"),
            }
        }
    }};
}

use for_each_subject;

/// A row of weights for each channel, packed as the engine packs them, with bytes of something else
/// between the rows.
pub(in crate::arch) struct Weights {
    pub(in crate::arch) width: Width,
    pub(in crate::arch) rows: Vec<Vec<i8>>,
    bytes: Vec<u8>,
    pitch: usize,
}

impl Weights {
    pub(in crate::arch) fn new(rng: &mut SmallRng, rows: Vec<Vec<i8>>, width: Width) -> Self {
        let len = rows.first().map_or(0, Vec::len);
        let gap = rng.random_range(0..6) * rng.random_range(0..2);
        let pitch = width.row_bytes(len) + gap;
        let mut bytes = Vec::new();
        for row in &rows {
            let packed = match width {
                Width::Int8 => row.iter().map(|w| w.cast_unsigned()).collect(),
                Width::Int4 => pack(row, 2, |w| w.cast_unsigned() & 0xf),
                Width::Int2 => pack(row, 4, |w| (w >> 1).cast_unsigned() & 0x3),
            };
            bytes.extend(packed);
            bytes.resize(bytes.len() + gap, rng.random());
        }
        bytes.truncate(bytes.len() - gap.min(bytes.len()));
        Self {
            width,
            rows,
            bytes,
            pitch,
        }
    }

    pub(in crate::arch) fn random(
        rng: &mut SmallRng,
        channels: usize,
        len: usize,
        width: Width,
    ) -> Self {
        let mut row = || (0..len).map(|_| weight(rng, width)).collect();
        let rows = (0..channels).map(|_| row()).collect();
        Self::new(rng, rows, width)
    }

    /// The rows from weight `from` on.
    pub(in crate::arch) fn rows_from(&self, from: usize) -> Rows<'_> {
        Rows {
            width: self.width,
            bytes: &self.bytes[self.width.row_bytes(from)..],
            pitch: self.pitch,
        }
    }
}

fn pack(row: &[i8], per_byte: usize, code: impl Fn(i8) -> u8) -> Vec<u8> {
    let byte = |weights: &[i8]| {
        let lanes = weights.iter().enumerate();
        lanes.fold(0, |byte, (lane, w)| {
            byte | code(*w) << (8 / per_byte * lane)
        })
    };
    row.chunks(per_byte).map(byte).collect()
}

fn weight(rng: &mut SmallRng, width: Width) -> i8 {
    let max = width.max();
    match width {
        Width::Int8 | Width::Int4 => rng.random_range(-max..=max),
        Width::Int2 => [-3, -1, 1, 3][rng.random_range(0..4)],
    }
}

pub(in crate::arch) fn taps(rng: &mut SmallRng, len: usize) -> Vec<i8> {
    (0..len).map(|_| rng.random()).collect()
}

/// Adds the products of taps and rows to the sums.
pub(in crate::arch) fn naive(
    taps: &[Vec<i8>],
    rows: &[Vec<i8>],
    within: &Range<usize>,
    sums: &mut [i32],
) {
    for (row, sums) in rows.iter().zip(sums.chunks_mut(taps.len())) {
        for (taps, sum) in taps.iter().zip(sums) {
            for i in within.clone() {
                *sum += i32::from(taps[i]) * i32::from(row[i]);
            }
        }
    }
}

/// Compares the sums of these taps, which `write` writes, added to random ones.
fn compare<S: Subject>(
    rng: &mut SmallRng,
    subject: &mut S,
    taps: &[Vec<i8>],
    weights: &Weights,
    mut write: impl FnMut(&mut SmallRng, &mut S, usize, &[i8]),
) {
    let len = taps[0].len();
    let count = weights.rows.len() * taps.len();
    let mut sums: Vec<i32> = (0..count).map(|_| rng.random_range(-999..999)).collect();
    let mut want = sums.clone();
    naive(taps, &weights.rows, &(0..len), &mut want);
    subject.begin(Pixels::of(taps.len()));
    for (pixel, taps) in taps.iter().enumerate() {
        write(rng, subject, pixel, taps);
    }
    subject.seal(len, weights.width);
    subject.dots(len, &weights.rows_from(0), &mut sums);
    assert_eq!(sums, want, "{len} {:?}", weights.width);
}

fn put<S: Subject>(_: &mut SmallRng, subject: &mut S, pixel: usize, taps: &[i8]) {
    subject.put(pixel, 0, taps);
}

#[test]
fn every_length() {
    for_each_subject!(lengths);
}

fn lengths<S: Subject>(mut subject: S) {
    let mut rng = SmallRng::seed_from_u64(31);
    for pixels in [Pixels::One, Pixels::Four] {
        let capacity = S::capacity(pixels);
        for len in (1..=70).chain(capacity - 33..=capacity) {
            for width in Width::ALL {
                let channels = rng.random_range(0..6);
                let weights = Weights::random(&mut rng, channels, len, width);
                let taps: Vec<_> = (0..pixels.count()).map(|_| taps(&mut rng, len)).collect();
                compare(&mut rng, &mut subject, &taps, &weights, put);
            }
        }
    }
}

#[test]
fn extremes() {
    for_each_subject!(ends);
}

fn ends<S: Subject>(mut subject: S) {
    let mut rng = SmallRng::seed_from_u64(32);
    for pixels in [Pixels::One, Pixels::Four] {
        for len in [16, 61, S::capacity(pixels)] {
            for width in Width::ALL {
                let max = width.max();
                let alternating = (0..len).map(|i| if i % 2 == 0 { max } else { -max });
                let rows = [vec![max; len], vec![-max; len], alternating.collect()];
                let weights = Weights::new(&mut rng, rows.to_vec(), width);
                for tap in [-128, -1, 0, 127] {
                    let taps = vec![vec![tap; len]; pixels.count()];
                    compare(&mut rng, &mut subject, &taps, &weights, put);
                }
                let mut end = || if rng.random() { -128 } else { 127 };
                let taps: Vec<Vec<i8>> = (0..pixels.count())
                    .map(|_| (0..len).map(|_| end()).collect())
                    .collect();
                compare(&mut rng, &mut subject, &taps, &weights, put);
            }
        }
    }
}

#[test]
fn taps_written_in_any_pieces() {
    for_each_subject!(pieces);
}

fn pieces<S: Subject>(mut subject: S) {
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
                    &mut subject,
                    &taps,
                    &weights,
                    |rng, subject, pixel, taps| {
                        let mut cuts = [rng.random_range(0..=begin), rng.random_range(end..=len)];
                        let mut pieces = [0..cuts[0], cuts[0]..begin, end..cuts[1], cuts[1]..len];
                        cuts.sort_unstable();
                        // in any order
                        let turn = rng.random_range(0..pieces.len());
                        pieces.rotate_left(turn);
                        pieces.iter().for_each(|piece| {
                            subject.put(pixel, piece.start, &taps[piece.clone()]);
                        });
                        subject.fill(pixel, begin, end - begin, value);
                    },
                );
            }
        }
    }
}

#[test]
fn taps_of_rows() {
    for_each_subject!(rows);
}

fn rows<S: Subject>(mut subject: S) {
    let mut rng = SmallRng::seed_from_u64(35);
    for pixels in [Pixels::One, Pixels::Four] {
        for count in 1..=4 {
            for run in 1..=21 {
                let width = Width::ALL[rng.random_range(0..3)];
                let weights = Weights::random(&mut rng, 2, count * run, width);
                let taps: Vec<_> = (0..pixels.count())
                    .map(|_| taps(&mut rng, count * run))
                    .collect();
                let write = |rng: &mut SmallRng, subject: &mut S, pixel, taps: &[i8]| {
                    let pitch = run + rng.random_range(0..6);
                    // the inputs end with the last run
                    let mut inputs: Vec<i8> = Vec::new();
                    for run in taps.chunks(run) {
                        inputs.resize(inputs.len().next_multiple_of(pitch), rng.random());
                        inputs.extend(run);
                    }
                    subject.put_rows(pixel, &inputs, count, run, pitch);
                };
                compare(&mut rng, &mut subject, &taps, &weights, write);
            }
        }
    }
}

#[test]
fn blocks_of_a_row_add_up() {
    for_each_subject!(blocks);
}

fn blocks<S: Subject>(mut subject: S) {
    let mut rng = SmallRng::seed_from_u64(34);
    for pixels in [Pixels::One, Pixels::Four] {
        let capacity = S::capacity(pixels);
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
                    subject.begin(pixels);
                    for (pixel, taps) in taps.iter().enumerate() {
                        subject.put(pixel, 0, &taps[from..to]);
                    }
                    subject.seal(to - from, width);
                    subject.dots(to - from, &weights.rows_from(from), &mut sums);
                }
                assert_eq!(sums, want, "{len} {width:?}");
            }
        }
    }
}

//! Strips of inputs against weights of many channels: a vector's lanes are channels, and the pixels of a
//! strip share each load of weights. The inputs are read where they lie, as often as they are needed.

use core::ops::Range;

use super::requantize::{Int8, Scales};
use super::tile::{Plain, Sink, Sums};
use super::weigh::Weigh;
use super::{Buffer, Isa, Path, Task};
use crate::arch::Factors;
use crate::arch::scalar::Rows;

/// Bytes of inputs, which take one or two each.
const INPUT_BYTES: usize = 64 << 10;
/// Bytes of weights, which take one or two each.
pub(super) const WEIGHT_BYTES: usize = 64 << 10;
/// The most lanes of a vector.
pub(super) const LANES: usize = 16;
/// The most taps of a word.
pub(super) const TAPS: usize = 4;

/// Inputs side by side and rearranged weights. Each sum is over some segments: contiguous taps, each
/// segment's inputs a pitch behind those of the segment before.
#[derive(Clone, Debug)]
pub struct Strips {
    path: Path,
    inputs: Buffer<INPUT_BYTES>,
    weights: Buffer<WEIGHT_BYTES>,
    bias: Lanes,
    scales: Scales,
    shape: Segments,
    channels: usize,
}

/// Room for the sums of a strip.
pub type StripSums = Buffer<{ Strips::CHANNELS * Strip::PIXELS * size_of::<i32>() }>;

/// Sums of channels.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Lanes([i32; Strips::CHANNELS]);

/// What each sum is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// How many segments.
    pub count: usize,
    /// Taps of each.
    pub len: usize,
}

impl Segments {
    /// Words of a segment.
    pub(super) const fn words(self, taps: usize) -> usize {
        self.len.div_ceil(taps)
    }
}

/// What lies around rows of inputs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    /// Inputs of a row.
    pub row: usize,
    /// Rows above.
    pub top: usize,
    /// Inputs to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Inputs to the right.
    pub right: usize,
}

impl Frame {
    /// From a row to the next.
    #[must_use]
    pub const fn pitch(self) -> usize {
        self.left
            .saturating_add(self.row)
            .saturating_add(self.right)
    }

    /// So many inputs, frame included.
    #[must_use]
    pub const fn len(self, inputs: usize) -> usize {
        match inputs.checked_div(self.row) {
            Some(rows) => {
                let rows = self.top.saturating_add(rows).saturating_add(self.bottom);
                rows.saturating_mul(self.pitch())
            }
            None => 0,
        }
    }
}

/// Rows of pixels, each as many as a strip's.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// The first row.
    pub strip: Strip,
    /// How many rows.
    pub rows: usize,
    /// From the inputs of a row to the next row's.
    pub step: usize,
}

/// Pixels and where their inputs lie.
#[derive(Clone, Copy, Debug)]
pub struct Strip {
    /// The first pixel's first input.
    pub at: usize,
    /// From the inputs of a segment to the next segment's.
    pub pitch: usize,
    /// From the inputs of a pixel to the next pixel's.
    pub step: usize,
    /// How many pixels.
    pub pixels: usize,
}

impl Strip {
    /// The most pixels.
    pub const PIXELS: usize = 32;
}

impl Default for Strips {
    fn default() -> Self {
        Self::new()
    }
}

impl Strips {
    /// The most channels.
    pub const CHANNELS: usize = 64;

    /// Room for inputs and weights.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Path::best())
    }

    /// The same, to go this way.
    #[must_use]
    pub const fn on(path: Path) -> Self {
        Self {
            path,
            inputs: Buffer::new(),
            weights: Buffer::new(),
            bias: Lanes([0; _]),
            scales: Scales::new(),
            shape: Segments { count: 0, len: 0 },
            channels: 0,
        }
    }

    /// The most inputs.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        INPUT_BYTES / self.path.input_bytes() - TAPS
    }

    /// For how many channels the weights have room, at most [`Self::CHANNELS`].
    #[must_use]
    pub fn room(&self, shape: Segments) -> usize {
        let word = size_of::<u32>() / self.path.input_bytes();
        let words = shape.count.saturating_mul(shape.words(word));
        let lane = words.saturating_mul(size_of::<u32>());
        if lane == 0 {
            return 0;
        }
        (WEIGHT_BYTES / lane / LANES * LANES).min(Self::CHANNELS)
    }

    /// Takes the weights and biases of some channels, [`room`](Self::room) at most: a row's first weights
    /// are those of the first segment, and so on.
    ///
    /// # Panics
    /// When there is no room, or a row ends early.
    pub fn weigh(
        &mut self,
        rows: &Rows<'_>,
        channels: Range<usize>,
        shape: Segments,
        bias: &[i32],
    ) {
        assert!(channels.len() <= self.room(shape), "room for the weights");
        self.shape = shape;
        self.channels = channels.len();
        self.bias.0[..channels.len()].copy_from_slice(&bias[channels.clone()]);
        self.bias.0[channels.len()..].fill(0);
        self.path.run(Weigh {
            rows,
            channels,
            shape,
            weights: &mut self.weights,
            bias: &mut self.bias.0,
        });
    }

    /// Takes inputs in a frame of `value`, of which there must be whole rows.
    ///
    /// # Panics
    /// When there are more, frame included, than the capacity.
    pub fn put(&mut self, from: &[i8], frame: Frame, value: i8) {
        let inputs = &mut self.inputs;
        self.path.run(Put {
            inputs,
            from,
            frame,
            value,
        });
    }

    /// From the sums of a pixel to those of the next.
    #[must_use]
    pub const fn pitch(&self) -> usize {
        self.channels.next_multiple_of(LANES)
    }

    /// The sums of a strip, biases included: pixel by pixel, [`pitch`](Self::pitch) apart.
    ///
    /// # Panics
    /// When there are more pixels than [`Strip::PIXELS`], or the inputs end early.
    pub fn sums<'s>(&self, strip: Strip, to: &'s mut StripSums) -> &'s [i32] {
        let pitch = self.pitch();
        let len = strip.pixels.saturating_mul(pitch * size_of::<i32>());
        let to = bytemuck::cast_slice_mut(to.grow(len));
        let grid = Grid {
            strip,
            rows: 1,
            step: 0,
        };
        self.run(grid, Plain { to, pitch });
        to
    }

    /// Takes what the results of the channels are made with.
    ///
    /// # Panics
    /// When there are more factors than the most channels.
    pub fn scale(&mut self, factors: &Factors<'_>) {
        self.scales.set(factors);
    }

    /// Writes the sums of all pixels, biases included, times their factors, as INT8: row by row, pixel by
    /// pixel, `pitch` apart.
    ///
    /// # Panics
    /// When there are fewer results, or the inputs end early.
    pub fn results(&self, grid: Grid, to: &mut [i8], pitch: usize) {
        let sink = Int8 {
            scales: &self.scales,
            channels: self.channels,
            to,
            pitch,
        };
        self.run(grid, sink);
    }

    fn run(&self, grid: Grid, sink: impl Sink) {
        self.path.run(Sums {
            inputs: self.inputs.bytes(),
            weights: self.weights.bytes(),
            bias: &self.bias.0,
            shape: self.shape,
            channels: self.channels,
            grid,
            sink,
        });
    }
}

/// Puts taps as inputs.
struct Put<'a> {
    inputs: &'a mut Buffer<INPUT_BYTES>,
    from: &'a [i8],
    frame: Frame,
    value: i8,
}

impl Task for Put<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "a task")]
    unsafe fn run<I: Isa>(self) {
        let frame = self.frame;
        let pitch = frame.pitch();
        // the last word ends behind the inputs
        let len = frame.len(self.from.len()).saturating_add(TAPS);
        let inputs = self.inputs.reset(len, I::input(self.value));
        let rows = inputs.chunks_mut(pitch.max(1)).skip(frame.top);
        for (to, from) in rows.zip(self.from.chunks(frame.row.max(1))) {
            let to = to[frame.left..].iter_mut();
            to.zip(from).for_each(|(to, tap)| *to = I::input(*tap));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::arch::battery::guards::{huge, refused};
    use crate::arch::battery::{Weights, naive, taps};
    use crate::arch::requantize::Bounds;
    use crate::level::Width;

    /// No frame around one row.
    fn frame_of(row: usize) -> Frame {
        Frame {
            row,
            ..Frame::default()
        }
    }

    /// A strip and what it is compared with.
    fn compare(rng: &mut SmallRng, path: Path, shape: Segments, strip: Strip, weights: &Weights) {
        let mut strips = Strips::on(path);
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
        let mut frame = Frame {
            row: 1 + any(60),
            top: any(3),
            left: any(20),
            bottom: any(3),
            right: any(20),
        };
        let mut rows = len / frame.pitch() + 1;
        if len * 2 > strips.capacity() {
            rows = 1;
            frame = frame_of(len);
        }
        let from = taps(rng, rows * frame.row);
        strips.weigh(&weights.rows_from(0), 0..channels, shape, &bias);
        // what was there before
        strips.put(&[99; 999], frame_of(999), 99);
        strips.put(&from, frame, -5);
        let edge = vec![-5; frame.pitch()];
        let mut inputs = edge.repeat(frame.top);
        for row in from.chunks(frame.row) {
            inputs.extend(&edge[..frame.left]);
            inputs.extend(row);
            inputs.extend(&edge[..frame.right]);
        }
        inputs.extend(edge.repeat(frame.bottom));
        assert_eq!(inputs.len(), frame.len(from.len()));
        let pitch_of_sums = strips.pitch();
        let mut room = StripSums::new();
        let sums = strips.sums(strip, &mut room);
        for (pixel, sums) in sums.chunks(pitch_of_sums).enumerate() {
            let segment = |i| &inputs[at + pixel * step + i * pitch..][..shape.len];
            let taps: Vec<i8> = (0..shape.count).flat_map(segment).copied().collect();
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

    fn on_every_path(test: impl Fn(&mut SmallRng, Path)) {
        for (name, path) in Path::all() {
            match path {
                Some(path) => test(&mut SmallRng::seed_from_u64(41), path),
                None => println!("{name}: not on this processor, not tested"),
            }
        }
    }

    #[test]
    fn every_length_and_number_of_channels() {
        on_every_path(|rng, path| {
            for width in Width::ALL {
                for i in 1..=Strips::CHANNELS {
                    let shape = Segments {
                        count: rng.random_range(1..5),
                        len: 1 + (i * 7) % 70,
                    };
                    let strip = Strip {
                        at: rng.random_range(0..9),
                        pitch: rng.random_range(0..200),
                        step: rng.random_range(0..40),
                        pixels: rng.random_range(1..=Strip::PIXELS),
                    };
                    let weights = Weights::random(rng, i, shape.count * shape.len, width);
                    compare(rng, path, shape, strip, &weights);
                }
            }
        });
    }

    #[test]
    fn every_number_of_pixels() {
        on_every_path(|rng, path| {
            for pixels in 1..=Strip::PIXELS {
                for channels in [1, 16, 33] {
                    let shape = Segments { count: 3, len: 27 };
                    let strip = Strip {
                        at: 0,
                        pitch: 1000,
                        step: 18,
                        pixels,
                    };
                    let weights = Weights::random(rng, channels, 81, Width::Int8);
                    compare(rng, path, shape, strip, &weights);
                }
            }
        });
    }

    #[test]
    fn a_grid_is_strips_below_each_other() {
        on_every_path(|rng, path| {
            for pixels in 1..=Strip::PIXELS {
                let channels = 1 + (pixels * 7) % Strips::CHANNELS;
                let shape = Segments { count: 2, len: 5 };
                let weights = Weights::random(rng, channels, 10, Width::Int8);
                let mut strips = Strips::on(path);
                let bias = vec![0; channels];
                strips.weigh(&weights.rows_from(0), 0..channels, shape, &bias);
                let grid = Grid {
                    strip: Strip {
                        at: 3,
                        pitch: 100,
                        step: 6,
                        pixels,
                    },
                    rows: rng.random_range(1..6),
                    step: 70,
                };
                strips.put(&taps(rng, 1000), frame_of(1000), 0);
                // times 2^-5
                strips.scale(&Factors {
                    multiplier: &vec![1 << 30; channels],
                    shift: &vec![35; channels],
                    bounds: Bounds {
                        offset: 19,
                        low: -128,
                        high: 127,
                    },
                });
                let mut results = vec![0; grid.rows * pixels * channels];
                strips.results(grid, &mut results, channels);
                let rows = results.chunks(pixels * channels).enumerate();
                for (row, results) in rows {
                    let strip = Strip {
                        at: grid.strip.at + row * grid.step,
                        ..grid.strip
                    };
                    let (mut room, apart) = (StripSums::new(), strips.pitch());
                    let sums = strips.sums(strip, &mut room).chunks(apart);
                    for (sums, results) in sums.zip(results.chunks(channels)) {
                        let want = sums.iter().map(|sum| ((sum + 16) >> 5) + 9);
                        let want: Vec<i32> = want.take(channels).collect();
                        let all = results.iter().map(|x| i32::from(*x));
                        assert_eq!(
                            all.collect::<Vec<_>>(),
                            want.iter()
                                .map(|x| *x.clamp(&-128, &127))
                                .collect::<Vec<_>>()
                        );
                    }
                }
            }
        });
    }

    #[test]
    fn as_much_as_there_is_room_for() {
        on_every_path(|rng, path| {
            let most = WEIGHT_BYTES / LANES / path.input_bytes();
            for (shape, room) in [
                (
                    Segments {
                        count: 1,
                        len: most,
                    },
                    LANES,
                ),
                (
                    Segments {
                        count: most / 64,
                        len: 61,
                    },
                    LANES,
                ),
                (
                    Segments {
                        count: 1,
                        len: most + 1,
                    },
                    0,
                ),
                (Segments { count: 0, len: 1 }, 0),
            ] {
                let strips = Strips::on(path);
                assert_eq!(strips.room(shape), room);
                if room == 0 {
                    continue;
                }
                let taps = shape.count * shape.len;
                let rows = [vec![127; taps], vec![-127; taps]];
                let rows = (0..room).map(|i| rows[i % 2].clone()).collect();
                let weights = Weights::new(rng, rows, Width::Int8);
                let step = strips.capacity() - taps;
                let pitch = shape.len;
                let strip = Strip {
                    at: 0,
                    pitch,
                    step,
                    pixels: 2,
                };
                compare(rng, path, shape, strip, &weights);
            }
        });
    }

    #[test]
    fn huge_steps_and_lengths_are_refused() {
        on_every_path(|rng, path| {
            let channels = 20;
            let shape = Segments { count: 2, len: 5 };
            let weights = Weights::random(rng, channels, 10, Width::Int8);
            let rows = weights.rows_from(0);
            let bias = vec![0; channels];
            let mut strips = Strips::on(path);
            let multiplier = vec![1 << 30; channels];
            let factors = Factors {
                multiplier: &multiplier,
                shift: &vec![35; channels],
                bounds: Bounds {
                    offset: 0,
                    low: -128,
                    high: 127,
                },
            };
            strips.weigh(&rows, 0..channels, shape, &bias);
            strips.scale(&factors);
            strips.put(&[1; 200], frame_of(200), 0);
            let mut room = StripSums::new();
            let mut results = vec![0; 1000];
            for at in [0, 1] {
                // where it lies makes a strip of any size short
                let strip = Strip {
                    at,
                    pitch: at,
                    step: at,
                    pixels: 3,
                };
                let grid = Grid {
                    strip,
                    rows: 2,
                    step: at,
                };
                strips.sums(strip, &mut room);
                strips.results(grid, &mut results, channels);
                for huge in huge() {
                    let strips_of = [
                        Strip { at: huge, ..strip },
                        Strip {
                            pitch: huge,
                            ..strip
                        },
                        Strip {
                            step: huge,
                            ..strip
                        },
                        Strip {
                            pixels: huge,
                            ..strip
                        },
                    ];
                    for strip in strips_of {
                        refused(|| strips.sums(strip, &mut room).len());
                        let grid = Grid { strip, ..grid };
                        refused(|| strips.results(grid, &mut results, channels));
                    }
                    for grid in [Grid { rows: huge, ..grid }, Grid { step: huge, ..grid }] {
                        refused(|| strips.results(grid, &mut results, channels));
                    }
                    refused(|| strips.results(grid, &mut results, huge));
                }
            }
            let more = Factors {
                multiplier: &[0; Strips::CHANNELS + 1],
                ..factors
            };
            refused(|| strips.scale(&more));
            for huge in huge() {
                let shapes = [
                    Segments {
                        count: huge,
                        len: 5,
                    },
                    Segments {
                        count: 2,
                        len: huge,
                    },
                    Segments {
                        count: huge,
                        len: huge,
                    },
                ];
                for shape in shapes {
                    assert_eq!(strips.room(shape), 0);
                    refused(|| strips.weigh(&rows, 0..1, shape, &bias));
                }
                for width in Width::ALL {
                    let rows = Rows {
                        width,
                        pitch: huge,
                        ..rows
                    };
                    for first in 0..2 {
                        refused(|| strips.weigh(&rows, first..channels, shape, &bias));
                    }
                }
                let frames = [
                    Frame {
                        top: huge,
                        ..frame_of(10)
                    },
                    Frame {
                        left: huge,
                        ..frame_of(10)
                    },
                    Frame {
                        bottom: huge,
                        ..frame_of(10)
                    },
                    Frame {
                        right: huge,
                        ..frame_of(10)
                    },
                    Frame {
                        top: huge,
                        left: huge,
                        bottom: huge,
                        right: huge,
                        row: 10,
                    },
                ];
                for frame in frames {
                    refused(|| strips.put(&[1; 20], frame, 0));
                }
            }
        });
    }
}

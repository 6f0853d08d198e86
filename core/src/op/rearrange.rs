//! Rearrangement: the elements of every row in another order, some of them left out or repeated.

use serde::{Deserialize, Serialize};

use crate::op::{Activation, reshape};
use crate::quant::QParams;
use crate::shape::Shape;
use crate::tensor::{View, ViewMut};

/// Which elements a rearrangement takes, and in which order: those of a row of the output come from one row of the
/// input, at regular distances. Slices, the depth-to-space of sub-pixel convolutions (Shi et al. 2016), the repetition
/// of pixels and the shuffling of channels (Zhang et al. 2018) are such.
///
/// Element `[i, j, k]`, row-major, of row `y` of the output, of which there are as many `j` and `k` as the counts say and
/// as many `i` as the row has room for, is element `offset + y % repeats · phase + Σ index · stride` of row
/// `start + y / repeats · step` of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rearrangement {
    /// The first row that is taken.
    pub start: u16,
    /// From a row that is taken to the next one.
    pub step: u8,
    /// Rows of the output that are made of one row of the input, at least 1.
    pub repeats: u8,
    /// Elements from what one of these begins with to what the next one does.
    pub phase: u16,
    /// The element that a row begins with.
    pub offset: u16,
    /// The numbers of `j` and of `k`.
    pub counts: [u16; 2],
    /// Elements of the input from one `i`, `j` and `k` to the next.
    pub strides: [u16; 3],
}

impl Rearrangement {
    /// Every row of one element.
    const ROWS: Self = Self {
        start: 0,
        step: 1,
        repeats: 1,
        phase: 0,
        offset: 0,
        counts: [1; 2],
        strides: [0; 3],
    };

    /// Every `steps`-th row, column and channel from `starts` on, as many as the output has; `None` where a number is
    /// too large.
    #[must_use]
    pub fn slice(input: Shape, starts: [u16; 3], steps: [u16; 3], output: Shape) -> Option<Self> {
        let is_whole = steps[1..] == [1, 1] && output.c == input.c;
        let (counts, across) = match is_whole {
            true => ([1, output.w.checked_mul(output.c)?], 0),
            false => ([1, output.c], steps[1].checked_mul(input.c)?),
        };
        Some(Self {
            start: starts[0],
            step: steps[0].try_into().ok()?,
            offset: starts[1].checked_mul(input.c)?.checked_add(starts[2])?,
            counts,
            strides: [across, 0, steps[2]],
            ..Self::ROWS
        })
    }

    /// Every pixel `[height, width]` times.
    #[must_use]
    pub const fn repeat(input: Shape, [height, width]: [u8; 2]) -> Self {
        Self {
            repeats: height,
            counts: [width as u16, input.c],
            strides: [input.c, 0, 1],
            ..Self::ROWS
        }
    }

    /// Blocks `[height, width]` of the channels of one pixel: element `[y, x, k]` of a block is channel
    /// `(y · width + x) · (C / block) + k`, or, `by_channel`, channel `k · block + y · width + x`, for a block of so many
    /// pixels. `None` where the channels are no such blocks.
    #[must_use]
    pub fn depth_to_space(
        input: Shape,
        [height, width]: [u8; 2],
        by_channel: bool,
    ) -> Option<Self> {
        let block = u16::from(height) * u16::from(width);
        let width = u16::from(width);
        let channels = input.c.checked_div(block)?;
        let (phase, counts, strides) = match by_channel {
            true => (width, [width, channels], [input.c, 1, block]),
            false => {
                let run = width * channels;
                (run, [1, run], [input.c, 0, 1])
            }
        };
        input.c.is_multiple_of(block).then_some(Self {
            repeats: height,
            phase,
            counts,
            strides,
            ..Self::ROWS
        })
    }

    /// The channels of so many groups in turn, one of each; `None` where they do not divide the channels.
    #[must_use]
    pub fn shuffle(input: Shape, groups: u16) -> Option<Self> {
        let channels = input.c.checked_div(groups)?;
        input.c.is_multiple_of(groups).then_some(Self {
            counts: [channels, groups],
            strides: [input.c, 1, channels],
            ..Self::ROWS
        })
    }

    /// For every element of an output in order, the number of the input's element that it is, of shapes that
    /// [`Op::check`](crate::op::Op::check) finds to go together.
    pub fn elements(&self, input: Shape, output: Shape) -> impl Iterator<Item = u32> + use<> {
        let of = *self;
        let [m, run] = of.counts.map(u32::from);
        let strides = of.strides.map(u32::from);
        let pitch = u32::from(input.w) * u32::from(input.c);
        let row = u32::from(output.w) * u32::from(output.c);
        (0..output.h).flat_map(move |y| {
            let phase = u32::from(y % u16::from(of.repeats)) * u32::from(of.phase);
            let first = u32::from(of.row(y)) * pitch + u32::from(of.offset) + phase;
            (0..row).map(move |i| {
                let indices = [i / (m * run), i / run % m, i % run];
                let steps = indices.iter().zip(strides);
                first + steps.map(|(index, stride)| index * stride).sum::<u32>()
            })
        })
    }

    /// The row of the input that row `y` of the output is made of.
    pub(crate) const fn row(&self, y: u16) -> u16 {
        self.start + y / self.repeats as u16 * self.step as u16
    }

    /// Whether all elements that it takes of an input are there, and are those of an output.
    pub(crate) fn fits(&self, input: Shape, output: Shape) -> bool {
        if output.is_unusable() {
            return false;
        }
        let row = |shape: Shape| u64::from(shape.w) * u64::from(shape.c);
        let [m, run] = self.counts.map(u64::from);
        if m * run == 0 || !row(output).is_multiple_of(m * run) || self.repeats == 0 {
            return false;
        }
        let counts = [row(output) / (m * run), m, run];
        let last = |count: u64, stride: u16| (count - 1) * u64::from(stride);
        let within: u64 = counts
            .into_iter()
            .zip(self.strides)
            .map(|(n, stride)| last(n, stride))
            .sum();
        let repeats = u16::from(self.repeats);
        let phases = last(repeats.min(output.h).into(), self.phase);
        let first = u64::from(self.offset) + phases;
        let steps = u64::from((output.h - 1) / repeats) * u64::from(self.step);
        first <= u64::from(u16::MAX)
            && first + within < row(input)
            && u64::from(self.start) + steps < u64::from(input.h)
    }

    /// The rearrangement of rows that begins with row `first` of the output, of rows of the input that begin with row
    /// `read`; `is_one`: of one row alone.
    pub(crate) const fn of_rows(mut self, first: u16, read: u16, is_one: bool) -> Self {
        self.offset += first % self.repeats as u16 * self.phase;
        self.start = self.row(first) - read;
        if is_one {
            self.repeats = 1;
        }
        self
    }

    /// Calls `each` for the elements of all rows that follow one another: with the first element's number in the output
    /// and in the input; the further ones are as far apart as the last stride says.
    fn for_each_run(&self, input: Shape, output: Shape, each: &mut dyn FnMut(usize, usize)) {
        let [m, run] = self.counts.map(usize::from);
        let n = usize::from(output.w) * usize::from(output.c) / (m * run);
        let [across, along, _] = self.strides.map(usize::from);
        let pitch = usize::from(input.w) * usize::from(input.c);
        let mut to = 0;
        for y in 0..output.h {
            let phase = usize::from(y % u16::from(self.repeats)) * usize::from(self.phase);
            let row = usize::from(self.row(y)) * pitch + usize::from(self.offset) + phase;
            for i in 0..n {
                for j in 0..m {
                    each(to, row + i * across + j * along);
                    to += run;
                }
            }
        }
    }
}

/// Takes the elements of all rows of the output from rows of the input, of these shapes.
#[inline(never)]
pub(crate) fn run(
    of: &Rearrangement,
    (from, to): (Shape, Shape),
    input: View<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    let run = usize::from(of.counts[1]);
    let stride = usize::from(of.strides[2]);
    let before = match (input, &mut *output) {
        (View::I8(input, q), ViewMut::I8(data, ..)) => {
            of.for_each_run(from, to, &mut |to, from| {
                take(&input[from..], stride, &mut data[to..to + run]);
            });
            q
        }
        (View::F32(input), ViewMut::F32(data)) => {
            of.for_each_run(from, to, &mut |to, from| {
                take(&input[from..], stride, &mut data[to..to + run]);
            });
            // no part of FP32
            QParams {
                scale: 1.0,
                zero_point: 0,
            }
        }
        (input, output) => {
            of.for_each_run(from, to, &mut |to, from| {
                let real = |i: usize| input.real(from + i * stride);
                output.put_indexed(to, run, activation, &real);
            });
            return;
        }
    };
    reshape::run_in_place(before, activation, output);
}

/// Takes elements that are `stride` apart.
fn take<T: Copy>(from: &[T], stride: usize, to: &mut [T]) {
    if stride == 1 {
        to.copy_from_slice(&from[..to.len()]);
    } else {
        for (i, to) in to.iter_mut().enumerate() {
            *to = from[i * stride];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A depth-to-space of blocks of two, channels last in each block.
    const DEPTH_TO_SPACE: Rearrangement = Rearrangement {
        start: 0,
        step: 1,
        repeats: 2,
        phase: 2,
        offset: 0,
        counts: [1, 2],
        strides: [4, 0, 1],
    };

    #[test]
    fn a_block_of_channels_becomes_a_block_of_pixels() {
        let (input, output) = (Shape::new(2, 3, 4), Shape::new(4, 6, 1));
        assert!(DEPTH_TO_SPACE.fits(input, output));
        let elements: [f32; 24] = core::array::from_fn(|i| i as f32);
        let mut found = [0.0; 24];
        let view = &mut ViewMut::F32(&mut found);
        run(
            &DEPTH_TO_SPACE,
            (input, output),
            View::F32(&elements),
            Activation::None,
            view,
        );
        // pixel [y, x] is channel y % 2 · 2 + x % 2 of pixel [y / 2, x / 2]
        let expected = core::array::from_fn(|i| {
            let [y, x] = [i / 6, i % 6];
            ((y / 2 * 3 + x / 2) * 4 + y % 2 * 2 + x % 2) as f32
        });
        assert_eq!(found, expected);
        for y in 0..4 {
            let read = DEPTH_TO_SPACE.row(y);
            let one = DEPTH_TO_SPACE.of_rows(y, read, true);
            let mut row = [0.0; 6];
            let view = &mut ViewMut::F32(&mut row);
            let from = View::F32(&elements[usize::from(read) * 12..][..12]);
            let shapes = (Shape::new(1, 3, 4), Shape::new(1, 6, 1));
            run(&one, shapes, from, Activation::None, view);
            assert_eq!(row, expected[usize::from(y) * 6..][..6]);
        }
    }

    #[test]
    fn what_is_not_there_is_not_taken() {
        let (input, output) = (Shape::new(2, 3, 4), Shape::new(4, 6, 1));
        let with = |change: fn(&mut Rearrangement)| {
            let mut it = DEPTH_TO_SPACE;
            change(&mut it);
            it.fits(input, output)
        };
        assert!(with(|_| {}));
        for output in [
            Shape::new(0, 6, 1),
            Shape::new(4, 0, 1),
            Shape::new(4, 6, 0),
        ] {
            assert!(!DEPTH_TO_SPACE.fits(input, output));
        }
        assert!(!with(|it| it.start = 1));
        assert!(!with(|it| it.step = 2));
        assert!(!with(|it| it.repeats = 1));
        assert!(!with(|it| it.repeats = 0));
        assert!(!with(|it| it.phase = 3));
        assert!(!with(|it| it.offset = 1));
        assert!(!with(|it| it.counts = [1, 4]));
        assert!(!with(|it| it.counts = [0, 2]));
        assert!(!with(|it| it.strides[0] = 5));
        assert!(with(|it| it.strides[1] = u16::MAX));
        assert!(!with(|it| *it = Rearrangement {
            counts: [6, 1],
            strides: [0, u16::MAX, 0],
            ..*it
        }));
    }
}

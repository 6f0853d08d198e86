//! Max and average pooling over `[H, W, C]`.

use bytemuck::{cast_slice, cast_slice_mut};

use crate::arch::{Int, IntKernels};
use crate::op::Activation;
use crate::op::geometry::Geometry;
use crate::op::table::Table;
use crate::quant::{QParams, Requant};
use crate::tensor::{Requantizer, View, ViewMut};

/// Channels that are pooled at a time.
const CHANNELS: usize = 32;

/// Folds the elements under each window, row by row, some neighbouring channels at a time, and calls `finish`
/// with the first output element of the channels, what came of them, and the number of elements that each
/// was made of.
fn fold<T, A: Copy>(
    geometry: &Geometry,
    input: &[T],
    init: A,
    combine: impl Fn(&mut [A], &[T]),
    finish: &mut dyn FnMut(usize, &mut [A], usize),
) {
    let width = usize::from(geometry.input.w);
    let depth = usize::from(geometry.input.c);
    geometry.for_each(move |pixel, rows, columns| {
        for channel in (0..depth).step_by(CHANNELS) {
            let mut block = [init; CHANNELS];
            let block = &mut block[..CHANNELS.min(depth - channel)];
            for row in rows.start..rows.start + rows.len {
                for column in columns.start..columns.start + columns.len {
                    let first = (row * width + column) * depth + channel;
                    combine(block, &input[first..][..block.len()]);
                }
            }
            finish(pixel * depth + channel, block, rows.len * columns.len);
        }
    });
}

/// Applies `combine` to each two elements.
fn each<T: Copy, A: Copy>(combine: impl Fn(A, T) -> A) -> impl Fn(&mut [A], &[T]) {
    move |folded, elements| {
        for (folded, element) in folded.iter_mut().zip(elements) {
            *folded = combine(*folded, *element);
        }
    }
}

/// The largest element under each window; an element of padding never wins.
#[inline(never)]
pub(crate) fn max(
    geometry: &Geometry,
    input: View<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    match input {
        View::I8(input, qi) => {
            let mut finish = |first: usize, largest: &mut [i8], _| match output {
                ViewMut::I8(data, ..) => data[first..][..largest.len()].copy_from_slice(largest),
                ViewMut::F32(_) => {
                    let reals = largest.iter().map(|x| qi.dequantize(*x));
                    output.put_each(first, reals, activation);
                }
            };
            fold(geometry, input, i8::MIN, Int::max_i8, &mut finish);
            if let ViewMut::I8(data, q, rounding) = output {
                let table = Table::requantized(qi, (*q, *rounding), activation);
                data.iter_mut().for_each(|x| *x = table.get(*x));
            }
        }
        View::F32(input) => {
            let larger = each(|a: f32, b: f32| if b > a { b } else { a });
            let mut finish = |first, largest: &mut [f32], _| output.put(first, largest, activation);
            fold(geometry, input, f32::NEG_INFINITY, larger, &mut finish);
        }
    }
}

/// The mean under each window, over the elements inside or, with `count_padding`, over all taps. Steps of INT8
/// are summed as the integers that they are, whatever the output.
#[inline(never)]
pub(crate) fn average(
    geometry: &Geometry,
    count_padding: bool,
    input: View<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    let means = Means::new(geometry, count_padding, activation);
    match input {
        View::I8(input, q) => {
            let mut means = means.of_steps(q, output);
            let mut finish = |first: usize, sums: &mut [i32], inside| {
                means.put(first, sums, inside, output);
            };
            fold(geometry, input, 0, Int::add_i8, &mut finish);
        }
        View::F32(input) => {
            let sum = each(|a: f32, b: f32| a + b);
            let mut finish = |first, sums: &mut [f32], inside| {
                means.put(first, sums, inside, output);
            };
            fold(geometry, input, NO_FLOATS, sum, &mut finish);
        }
    }
}

/// The sum of no floats.
const NO_FLOATS: f32 = -0.0;

/// Adds the elements of one row under the windows to sums, four bytes for each channel of each window: integers
/// of INT8, or floats. They begin anew with the first row.
#[inline(never)]
pub(crate) fn add_row(geometry: &Geometry, is_first: bool, row: View<'_>, sums: &mut [u8]) {
    match row {
        View::I8(row, _) => add(
            geometry,
            is_first,
            0,
            row,
            cast_slice_mut(sums),
            Int::add_i8,
        ),
        View::F32(row) => {
            let add_each = each(|a: f32, b: f32| a + b);
            let sums = cast_slice_mut(sums);
            add(geometry, is_first, NO_FLOATS, row, sums, add_each);
        }
    }
}

fn add<T, A: Copy>(
    geometry: &Geometry,
    is_first: bool,
    init: A,
    row: &[T],
    sums: &mut [A],
    combine: impl Fn(&mut [A], &[T]),
) {
    let depth = usize::from(geometry.input.c);
    if is_first {
        sums.fill(init);
    }
    for (x, sums) in sums.chunks_exact_mut(depth).enumerate() {
        let columns = geometry.window.columns(x, geometry.input.w);
        for column in columns.start..columns.start + columns.len {
            combine(sums, &row[column * depth..][..depth]);
        }
    }
}

/// The way of sums into means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means {
    /// What sums are divided by, if not by the number of elements inside.
    taps: Option<usize>,
    activation: Activation,
}

/// The way of sums of INT8 into means.
struct StepMeans {
    means: Means,
    q: QParams,
    /// Into INT8.
    requantizer: Option<Requantizer>,
    /// The factor for sums of so many elements.
    factor: (usize, Requant),
}

impl Means {
    pub(crate) fn new(geometry: &Geometry, count_padding: bool, activation: Activation) -> Self {
        Self {
            taps: count_padding.then(|| geometry.window.taps()),
            activation,
        }
    }

    /// Stores the means of the first row of windows, whose sums [`add_row`] made: of INT8 with the parameters
    /// `q`, or of floats.
    #[inline(never)]
    pub(crate) fn put_row(
        &self,
        geometry: &Geometry,
        q: Option<QParams>,
        sums: &[u8],
        output: &mut ViewMut<'_>,
    ) {
        let depth = usize::from(geometry.input.c);
        let rows = geometry.window.rows(0, geometry.input.h);
        let inside = |x: usize| rows.len * geometry.window.columns(x, geometry.input.w).len;
        match q {
            Some(q) => {
                let mut means = self.of_steps(q, output);
                for (x, sums) in cast_slice(sums).chunks_exact(depth).enumerate() {
                    means.put(x * depth, sums, inside(x), output);
                }
            }
            None => {
                let mut block = [0.0; CHANNELS];
                for (x, sums) in cast_slice(sums).chunks_exact(depth).enumerate() {
                    for (i, sums) in sums.chunks(CHANNELS).enumerate() {
                        let block = &mut block[..sums.len()];
                        block.copy_from_slice(sums);
                        self.put(x * depth + i * CHANNELS, block, inside(x), output);
                    }
                }
            }
        }
    }

    /// Stores the means of sums of so many elements inside, from an element of the output on.
    fn put(&self, first: usize, sums: &mut [f32], inside: usize, output: &mut ViewMut<'_>) {
        let count = self.taps.unwrap_or(inside) as f32;
        sums.iter_mut().for_each(|sum| *sum /= count);
        output.put(first, sums, self.activation);
    }

    fn of_steps(self, q: QParams, output: &ViewMut<'_>) -> StepMeans {
        StepMeans {
            means: self,
            q,
            requantizer: match output {
                ViewMut::I8(_, q, rounding) => {
                    Some(Requantizer::new(*q, *rounding, self.activation))
                }
                ViewMut::F32(_) => None,
            },
            factor: (0, Requant::from_real(1.0)),
        }
    }
}

impl StepMeans {
    /// As [`Means::put`].
    fn put(&mut self, first: usize, sums: &[i32], inside: usize, output: &mut ViewMut<'_>) {
        let count = self.means.taps.unwrap_or(inside);
        let zero = inside as i32 * i32::from(self.q.zero_point);
        let steps = sums.iter().map(|sum| sum - zero);
        match (output, &self.requantizer) {
            (ViewMut::I8(data, q, _), Some(requantizer)) => {
                if self.factor.0 != count {
                    let real = self.q.scale / (q.scale * count as f32);
                    self.factor = (count, Requant::from_real(real));
                }
                requantizer.rescale(steps, self.factor.1, &mut data[first..]);
            }
            (output, _) => {
                let scale = self.q.scale / count as f32;
                let reals = steps.map(|steps| steps as f32 * scale);
                output.put_each(first, reals, self.means.activation);
            }
        }
    }
}

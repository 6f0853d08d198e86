//! The sample that a network runs on, and how it becomes the input tensor.

use crate::form::Form;
use crate::network::Preprocess;
use crate::op::Activation;
use crate::op::table::Table;
use crate::quant::{QParams, Rounding};
use crate::shape::Shape;
use crate::span::Span;
use crate::tensor::ViewMut;

/// One sample in `[H, W, C]` order.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Raw pixels; the image's preprocessing makes them real.
    U8(&'a [u8]),
    /// Raw values that are signed, such as features of a sound; the same preprocessing applies.
    I8(&'a [i8]),
    /// Raw values that are no bytes; the same preprocessing applies.
    F32(&'a [f32]),
}

impl Input<'_> {
    /// Some of its values.
    fn part(self, start: usize, len: usize) -> Self {
        match self {
            Self::U8(raw) => Self::U8(&raw[start..][..len]),
            Self::I8(raw) => Self::I8(&raw[start..][..len]),
            Self::F32(raw) => Self::F32(&raw[start..][..len]),
        }
    }

    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::U8(raw) => raw.len(),
            Self::I8(raw) => raw.len(),
            Self::F32(raw) => raw.len(),
        }
    }

    fn raw(&self, i: usize) -> f32 {
        match self {
            Self::U8(raw) => raw[i].into(),
            Self::I8(raw) => raw[i].into(),
            Self::F32(raw) => raw[i],
        }
    }
}

/// Where a sample comes from.
pub(crate) enum Source<'s> {
    /// All of it is in memory.
    Sample(Input<'s>),
    /// Row by row, as they are asked for: writes the raw pixels of a row.
    Rows(&'s mut dyn FnMut(u16, &mut [u8])),
}

/// Makes the input tensor of a sample.
pub(crate) struct Writer<'s, 'p> {
    source: Source<'s>,
    preprocess: &'p Preprocess,
    shape: Shape,
    /// Where rows of pixels are looked up.
    tables: Option<Tables>,
}

/// Pixels are converted in place by way of so many bytes at a time, which hold whole pixels of 1 to 4 channels.
const CHUNK: usize = 240;

impl<'s, 'p> Writer<'s, 'p> {
    /// The writer of an input tensor of this shape and map, stored in this form among others, row by row or all
    /// at once.
    pub(crate) fn new(
        source: Source<'s>,
        preprocess: &'p Preprocess,
        (shape, q): (Shape, QParams),
        form: Option<Form>,
        by_rows: bool,
    ) -> Self {
        let is_looked_up = match source {
            Source::Sample(Input::U8(_)) => by_rows,
            Source::Sample(Input::I8(_) | Input::F32(_)) => false,
            Source::Rows(_) => true,
        };
        // of that many pixels, tables are made sooner than each of them
        let is_worth = usize::from(shape.c) <= TABLES && shape.len() > usize::from(shape.c) * LEN;
        let form = form.filter(|_| is_looked_up && is_worth);
        Self {
            source,
            preprocess,
            shape,
            tables: form.and_then(|form| tables(preprocess, shape.c, q, form)),
        }
    }

    /// Writes the whole tensor in all its forms.
    pub(crate) fn put_all(&mut self, spans: &[Span], arena: &mut [u8]) {
        let row_len = self.row_len();
        match &self.source {
            Source::Sample(input) => {
                for span in spans {
                    let mut output = span.view_mut(&mut arena[span.range()]);
                    put_sample(*input, self.preprocess, (self.shape.c, 0), &mut output);
                }
            }
            Source::Rows(_) => {
                for row in 0..self.shape.h {
                    let rows = spans
                        .iter()
                        .map(|span| span.part(usize::from(row) * row_len, row_len));
                    // there is room for every form
                    let rows: heapless::Vec<Span, { Form::ALL.len() }> = rows.collect();
                    self.put_row(row, &rows, arena);
                }
            }
        }
    }

    /// Writes a row in all its forms.
    pub(crate) fn put_row(&mut self, row: u16, spans: &[Span], arena: &mut [u8]) {
        let row_len = self.row_len();
        let (preprocess, channels) = (self.preprocess, self.shape.c);
        let tables = self.tables.as_ref();
        let put = |input: Input<'_>, first: usize, output: &mut ViewMut<'_>| {
            if !look_up_row(input, tables, channels, output) {
                put_sample(input, preprocess, (channels, first), output);
            }
        };
        match &mut self.source {
            Source::Sample(input) => {
                for span in spans {
                    let output = &mut arena[span.range()];
                    let input = input.part(usize::from(row) * row_len, row_len);
                    put(input, 0, &mut span.view_mut(output));
                }
            }
            Source::Rows(fill) => {
                let Some((widest, others)) = spans.split_first() else {
                    return;
                };
                // the raw row lies at the end of its widest form, the other forms lie behind it
                let end = widest.range().end;
                let (before, behind) = arena.split_at_mut(end);
                let raw = end - row_len;
                fill(row, &mut before[raw..]);
                for span in others {
                    let range = span.range();
                    let output = &mut behind[range.start - end..range.end - end];
                    put(Input::U8(&before[raw..]), 0, &mut span.view_mut(output));
                }
                // from the first element on: none is wider than the room before those that are still raw
                let mut chunk = [0; CHUNK];
                for first in (0..row_len).step_by(CHUNK) {
                    let chunk = &mut chunk[..CHUNK.min(row_len - first)];
                    chunk.copy_from_slice(&before[raw + first..][..chunk.len()]);
                    let span = widest.part(first, chunk.len());
                    let output = &mut before[span.range()];
                    put(Input::U8(chunk), first, &mut span.view_mut(output));
                }
            }
        }
    }

    fn row_len(&self) -> usize {
        usize::from(self.shape.w) * usize::from(self.shape.c)
    }
}

/// Writes the part of a sample that begins with its element `first` as one of a tensor of so many channels. Generic
/// code is built as its user wishes, this as the kernels are.
#[inline(never)]
fn put_sample(
    input: Input<'_>,
    preprocess: &Preprocess,
    (channels, first): (u16, usize),
    output: &mut ViewMut<'_>,
) {
    let channels = usize::from(channels);
    match (input, output) {
        (Input::U8(raw), ViewMut::I8(to, q, rounding)) if raw.len() > channels * LEN => {
            look_up(raw, preprocess, channels, to, |reals, results| {
                ViewMut::I8(results, *q, *rounding).put(0, reals, Activation::None);
            });
        }
        (Input::U8(raw), ViewMut::F32(to)) if raw.len() > channels * LEN => {
            look_up(raw, preprocess, channels, to, |reals, results| {
                results.copy_from_slice(reals);
            });
        }
        (input, output) => {
            let real = |i: usize| preprocess.real(input.raw(i), (first + i) % channels);
            output.put_each(0, (0..input.len()).map(real), Activation::None);
        }
    }
}

/// The most channels for which rows of pixels are looked up.
const TABLES: usize = 4;

/// What a raw pixel becomes in INT8, by channel.
struct Tables {
    of_channels: [Table<i8>; TABLES],
    rounding: Rounding,
}

/// The tables of some channels for an input in a form; `None` for floats.
#[inline(never)]
fn tables(preprocess: &Preprocess, channels: u16, q: QParams, form: Form) -> Option<Tables> {
    let Form::I8(rounding) = form else {
        return None;
    };
    let mut of_channels = [Table::new(); TABLES];
    for (channel, table) in of_channels.iter_mut().enumerate().take(channels.into()) {
        let reals = preprocess.reals_of_bytes(channel);
        table.fill(|_, results| {
            ViewMut::I8(results, q, rounding).put(0, &reals, Activation::None);
        });
    }
    Some(Tables {
        of_channels,
        rounding,
    })
}

/// Looks a row of pixels up, if there are tables for this output.
#[inline(never)]
fn look_up_row(
    row: Input<'_>,
    tables: Option<&Tables>,
    channels: u16,
    output: &mut ViewMut<'_>,
) -> bool {
    let (Input::U8(raw), ViewMut::I8(to, _, rounding), Some(tables)) = (row, output, tables) else {
        return false;
    };
    if *rounding != tables.rounding {
        return false;
    }
    let channels = usize::from(channels);
    let pixels = to
        .chunks_exact_mut(channels)
        .zip(raw.chunks_exact(channels));
    for (to, raw) in pixels {
        let all = to.iter_mut().zip(raw).zip(&tables.of_channels);
        all.for_each(|((to, raw), table)| *to = table.get(raw.cast_signed()));
    }
    true
}

/// Writes, channel by channel, what each raw pixel becomes: of all values, `convert` makes a table of their
/// reals. Not inlined: its memory is on the stack.
#[inline(never)]
fn look_up<T: Copy + Default>(
    raw: &[u8],
    preprocess: &Preprocess,
    channels: usize,
    to: &mut [T],
    convert: impl Fn(&[f32], &mut [T]),
) {
    let mut table = Table::new();
    for channel in 0..channels {
        let reals = preprocess.reals_of_bytes(channel);
        table.fill(|_, results| convert(&reals, results));
        let pixels = to
            .chunks_exact_mut(channels)
            .zip(raw.chunks_exact(channels));
        pixels.for_each(|(to, raw)| to[channel] = table.get(raw[channel].cast_signed()));
    }
}

/// Results of a table.
const LEN: usize = Table::<i8>::LEN;

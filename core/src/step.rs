//! The steps of an inference: which operator runs, and where its weights, inputs and output lie.

use core::ops::Range;

use heapless::Vec;

use crate::arena::Band;
use crate::block;
use crate::cascade::{Cascade, Graph, Progress};
use crate::form::{Form, Forms};
use crate::input::Writer;
use crate::level::{Level, WeightFormat};
use crate::network::{Layer, PerTensorView, PerTensorViewMut, tables_bytes};
use crate::op::geometry::Geometry;
use crate::op::memory::KernelMemory;
use crate::op::pool::Means;
use crate::op::rows::rows_of;
use crate::op::weights::{FloatWeights, IntOutput, IntWeights};
use crate::op::{Op, add, concat, conv2d, dense, mul, pool, rearrange, reshape, softmax, unary};
use crate::place::Place;
use crate::quant::QParams;
use crate::shape::Shape;
use crate::span::Span;
use crate::storage::copy;
use crate::tensor::{View, ViewMut};

/// Where the layers' blocks of weights lie.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    /// Where each layer's lies.
    pub places: &'a [Place],
    /// The first byte of each layer's, in the arena or in `mapped`.
    pub starts: &'a [u32],
    /// The blocks section in flash.
    pub mapped: &'a [u8],
    /// Bytes at the beginning of the arena that blocks take.
    pub ram_bytes: u32,
}

/// The steps of an inference: a network's layers at their levels, and where in an arena all of it lies.
/// It knows no capacities, so that it is compiled here, as the kernels are, and not where it is used.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    /// Shape and INT8 map of the network's input.
    pub input: (Shape, QParams),
    /// The layers.
    pub layers: &'a [Layer],
    /// The level of each.
    pub levels: &'a [Level],
    /// The forms in which each tensor is stored.
    pub forms: PerTensorView<'a, Forms>,
    /// The weights.
    pub blocks: Blocks<'a>,
    /// The [tables](crate::op::unary) of the layers that apply a function, in their order.
    pub tables: &'a [u8],
    /// The offset of each tensor behind the blocks in the arena.
    pub activations: PerTensorView<'a, u32>,
    /// The tensors of which only some rows lie there.
    pub bands: PerTensorView<'a, Band>,
}

/// Moves bytes: at a time so many that they do not overlap with where they go, for which a program needs no
/// second way to copy.
pub(crate) fn shift(bytes: &mut [u8], from: Range<usize>, to: usize) {
    let (from, len) = (from.start, from.len());
    let distance = from.abs_diff(to);
    if distance == 0 {
        return;
    }
    let mut moved = 0;
    while moved < len {
        let count = distance.min(len - moved);
        // to the left from the beginning on, to the right from the end on
        let at = if to < from {
            moved
        } else {
            len - moved - count
        };
        let (source, target) = (from + at, to + at);
        let (left, right) = bytes.split_at_mut(source.max(target));
        if target < source {
            copy(&right[..count], &mut left[target..][..count]);
        } else {
            copy(&left[source..][..count], &mut right[..count]);
        }
        moved += count;
    }
}

/// The arena around what is written. Inputs are alive in the same step, and weights lie before all activations: so
/// what is read lies before it or after it.
struct Around<'m> {
    before: &'m [u8],
    after: &'m [u8],
    /// Where `after` begins.
    end: usize,
}

impl<'m> Around<'m> {
    /// What is to be written, and what is around it.
    fn split(arena: &'m mut [u8], written: Range<usize>) -> (&'m mut [u8], Self) {
        let (before, rest) = arena.split_at_mut(written.start);
        let (output, after) = rest.split_at_mut(written.len());
        let end = written.end;
        (output, Self { before, after, end })
    }

    fn get(&self, bytes: Range<usize>) -> &'m [u8] {
        match bytes.start.checked_sub(self.end) {
            None => &self.before[bytes],
            Some(start) => &self.after[start..bytes.end - self.end],
        }
    }

    fn view(&self, source: &Span) -> View<'m> {
        source.view(self.get(source.range()))
    }
}

/// What steps work in.
pub(crate) struct Memory<'m> {
    pub(crate) arena: &'m mut [u8],
    pub(crate) kernels: KernelMemory<'m>,
}

/// One turn of a layer: which rows it reads and which ones it makes.
struct Turn<'t> {
    /// Of each input.
    reads: Range<u16>,
    makes: Range<u16>,
    /// The first row that lies in the arena of a tensor.
    first: &'t dyn Fn(usize) -> u16,
    /// Whether these are all rows, of whole tensors.
    is_whole: bool,
}

impl Steps<'_> {
    /// Where a whole tensor lies in one of its forms.
    ///
    /// # Panics
    /// When there is no such tensor.
    #[must_use]
    pub fn span(&self, tensor: usize, form: Form) -> Span {
        let rows = 0..self.shape(tensor).h;
        self.rows_span(tensor, form, (&rows, 0))
    }

    /// Where the network's input, or some rows of it, lies in each of its forms, widest first.
    pub(crate) fn input_spans(
        &self,
        rows: Option<(&Range<u16>, u16)>,
    ) -> Vec<Span, { Form::ALL.len() }> {
        let whole = 0..self.input.0.h;
        let rows = rows.unwrap_or((&whole, 0));
        let forms = self.forms[0].iter();
        forms.map(|form| self.rows_span(0, form, rows)).collect()
    }

    const fn graph(&self) -> Graph<'_> {
        Graph {
            input: self.input.0,
            layers: self.layers,
        }
    }

    fn shape(&self, tensor: usize) -> Shape {
        self.graph().shape(tensor)
    }

    /// Rows of a tensor that lie in the arena.
    fn room(&self, tensor: usize) -> u16 {
        match self.bands[tensor].rows {
            0 => self.shape(tensor).h,
            rows => rows,
        }
    }

    /// Where some rows of a tensor, or all that it has, lie in one of its forms, if `first` is the first one that lies
    /// in the arena.
    #[inline(never)]
    fn rows_span(&self, tensor: usize, form: Form, (rows, first): (&Range<u16>, u16)) -> Span {
        let (shape, q) = match tensor.checked_sub(1) {
            None => self.input,
            Some(layer) => (self.layers[layer].output, self.layers[layer].output_q),
        };
        let rows = rows_of(shape, rows);
        let row = usize::from(shape.w) * usize::from(shape.c);
        let room = usize::from(self.room(tensor)) * row;
        let before = (self.blocks.ram_bytes + self.activations[tensor]) as usize
            + self.forms[tensor].before(form).bytes(room as u32) as usize;
        let skipped = usize::from(rows.start - first) * row;
        Span {
            start: before + skipped * form.element_bytes() as usize,
            len: rows.len() * row,
            form,
            q,
        }
    }

    /// Runs one layer into every form of its output, from whole tensors to a whole one.
    ///
    /// # Panics
    /// When there is no such layer, or the arena is too small.
    pub(crate) fn run(&self, layer: usize, memory: &mut Memory<'_>) {
        let turn = Turn {
            reads: 0..self.shape(self.layers[layer].inputs[0].into()).h,
            makes: 0..self.layers[layer].output.h,
            first: &|_| 0,
            is_whole: true,
        };
        for form in self.forms[layer + 1].iter() {
            self.run_into(layer, form, &turn, memory);
        }
    }

    /// Runs a cascade: makes the tensors from the first to the last one, of which all but the last are bands.
    /// `writer` writes the rows of the network's input; `watch` is given the tensor of each turn, and the turn.
    ///
    /// # Panics
    /// When there are no such tensors, or the arena is too small.
    pub(crate) fn run_cascade(
        &self,
        tensors: [usize; 2],
        progress: &mut PerTensorViewMut<'_, Progress>,
        memory: &mut Memory<'_>,
        writer: &mut Writer<'_, '_>,
        watch: &mut dyn FnMut(usize, &mut dyn FnMut()),
    ) {
        let [first, last] = tensors;
        for tensor in first..=last {
            progress[tensor] = Progress::default();
        }
        let sums = |tensor: usize| self.bands[tensor].sums;
        let mut cascade = Cascade::new(self.graph(), tensors, &sums);
        while let Some(tensor) = cascade.next(progress) {
            let taken = progress[tensor].turns;
            let turns = tensor.checked_sub(1).map(|layer| cascade.turns(layer));
            let makes = match &turns {
                None => taken..taken + 1,
                Some(turns) => turns.made(taken)..turns.made(taken + 1),
            };
            if makes.end - progress[tensor].first > self.room(tensor) {
                let oldest = cascade.oldest_needed(tensor, progress);
                let held = progress[tensor].first;
                self.drop_rows(tensor, held..makes.start, oldest, memory.arena);
                progress[tensor].first = oldest;
            }
            let first = |tensor: usize| match self.bands[tensor].rows {
                0 => 0,
                _ => progress[tensor].first,
            };
            match turns {
                None => watch(tensor, &mut || {
                    let spans = self.input_spans(Some((&makes, first(0))));
                    writer.put_row(taken, &spans, memory.arena);
                }),
                Some(turns) => {
                    let layer = tensor - 1;
                    let turn = Turn {
                        reads: turns.reads(taken),
                        makes,
                        first: &first,
                        is_whole: false,
                    };
                    watch(tensor, &mut || {
                        if turns.sums {
                            self.sum_up(layer, taken, &turn, memory.arena);
                        } else {
                            for form in self.forms[tensor].iter() {
                                self.run_into(layer, form, &turn, memory);
                            }
                        }
                    });
                }
            }
            cascade.take(progress);
        }
    }

    /// Drops the rows of a band before `oldest`: moves the others to its beginning.
    #[inline(never)]
    fn drop_rows(&self, tensor: usize, held: Range<u16>, oldest: u16, arena: &mut [u8]) {
        let kept = oldest..held.end;
        for form in self.forms[tensor].iter() {
            let from = self.rows_span(tensor, form, (&kept, held.start));
            let to = self.rows_span(tensor, form, (&kept, oldest));
            shift(arena, from.range(), to.start);
        }
    }

    #[inline(never)]
    fn run_into(&self, layer: usize, form: Form, turn: &Turn<'_>, memory: &mut Memory<'_>) {
        let level = self.levels[layer];
        let target = layer + 1;
        let rows = (&turn.makes, (turn.first)(target));
        let target = self.rows_span(target, form, rows);
        let (output, around) = Around::split(memory.arena, target.range());
        let of = &self.layers[layer];
        // the output may be made in place of an input; what else is read lies before it or behind it
        let mut replaced = None;
        let mut views = [View::F32(&[]); 2];
        for (view, tensor) in views.iter_mut().zip(&of.inputs) {
            let tensor = usize::from(*tensor);
            let rows = (&turn.reads, (turn.first)(tensor));
            let form = of.op.reads(level, self.forms[tensor]);
            let source = self.rows_span(tensor, form, rows);
            match source.start == target.start {
                true => replaced = Some(source.q),
                false => *view = around.view(&source),
            }
        }
        let blocks = match self.blocks.places[layer] {
            Place::Ram => around.before,
            Place::Flash => self.blocks.mapped,
        };
        let input = self.shape(of.inputs[0].into());
        let step = Step {
            layer: of,
            op: match turn.is_whole {
                true => of.op,
                false => of.op.of_rows(&turn.makes, &turn.reads, input),
            },
            input: input.with_rows(&turn.reads),
            output: of.output.with_rows(&turn.makes),
            level,
            block: &blocks[self.blocks.starts[layer] as usize..],
            table: self.table(layer),
        };
        let output = &mut target.view_mut(output);
        match replaced {
            Some(q) => step.run_in_place(q, views, output),
            None => step.run(views, output, &mut memory.kernels),
        }
    }

    /// Begins with the table of a layer that applies a function.
    fn table(&self, layer: usize) -> &[u8] {
        let Op::Unary(_) = self.layers[layer].op else {
            return &[];
        };
        &self.tables[tables_bytes(&self.layers[..layer])..]
    }

    /// Adds a row to the sums of a pool, and writes their means in its last turn.
    #[inline(never)]
    fn sum_up(&self, layer: usize, taken: u16, turn: &Turn<'_>, arena: &mut [u8]) {
        let of = &self.layers[layer];
        let source = usize::from(of.inputs[0]);
        let input = self.shape(source);
        let Op::AvgPool {
            window,
            count_padding,
        } = of.op
        else {
            return;
        };
        let geometry = Geometry::whole(window, input, of.output);
        let form = of.op.reads(self.levels[layer], self.forms[source]);
        let row = self.rows_span(source, form, (&turn.reads, (turn.first)(source)));
        // behind the rows in all their forms
        let room = usize::from(self.room(source)) * usize::from(input.w) * usize::from(input.c);
        let start = self.blocks.ram_bytes
            + self.activations[source]
            + self.forms[source].bytes(room as u32);
        let start = start as usize;
        let end = start + 4 * usize::from(of.output.w) * usize::from(of.output.c);
        let (before, sums) = arena.split_at_mut(start);
        let sums = &mut sums[..end - start];
        let row = row.view(&before[row.range()]);
        let steps = match row {
            View::F32(_) => None,
            View::I8(_, q) => Some(q),
        };
        pool::add_row(&geometry, taken == 0, row, sums);
        if turn.makes.is_empty() {
            return;
        }
        for form in self.forms[layer + 1].iter() {
            let rows = (&turn.makes, (turn.first)(layer + 1));
            let target = self.rows_span(layer + 1, form, rows);
            let (output, around) = Around::split(arena, target.range());
            let (sums, output) = (around.get(start..end), &mut target.view_mut(output));
            let means = Means::new(&geometry, count_padding, of.activation);
            means.put_row(&geometry, steps, sums, output);
        }
    }
}

/// One layer about to run, all of it or some rows.
struct Step<'a> {
    layer: &'a Layer,
    /// With the padding that is left beside the rows.
    op: Op,
    /// The shape of the rows of each input.
    input: Shape,
    /// The shape of the rows that are made.
    output: Shape,
    level: Level,
    /// Begins with its own.
    block: &'a [u8],
    /// Begins with its own, if it applies a function.
    table: &'a [u8],
}

impl Step<'_> {
    fn run(&self, [a, b]: [View<'_>; 2], target: &mut ViewMut<'_>, memory: &mut KernelMemory) {
        let activation = self.layer.activation;
        let (input, output) = (self.input, self.output);
        match self.op {
            Op::Conv2d { window, groups } => {
                let geometry = Geometry {
                    window,
                    groups,
                    input,
                    output,
                };
                self.weighted(
                    a,
                    target,
                    |x, w, target| conv2d::float(&geometry, x, w, activation, target),
                    |x, w, output| conv2d::int(&geometry, x, w, output, memory),
                );
            }
            Op::Dense => self.weighted(
                a,
                target,
                |x, w, target| dense::float(x, w, activation, target),
                |(x, _), w, output| dense::int(x, w, output, memory),
            ),
            Op::Add
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::Reshape
            | Op::Softmax { .. }
            | Op::Unary(_)
            | Op::Mul
            | Op::Concat
            | Op::Rearrange(_) => self.run_plain([a, b], target),
        }
    }

    /// Runs a layer without weights.
    #[inline(never)]
    fn run_plain(&self, [a, b]: [View<'_>; 2], target: &mut ViewMut<'_>) {
        let activation = self.layer.activation;
        let (input, output) = (self.input, self.output);
        match self.op {
            Op::Conv2d { .. } | Op::Dense => {}
            Op::Add => add::run(a, b, activation, target),
            Op::MaxPool { window } => pool::max(
                &Geometry::whole(window, input, output),
                a,
                activation,
                target,
            ),
            Op::AvgPool {
                window,
                count_padding,
            } => {
                let geometry = Geometry::whole(window, input, output);
                pool::average(&geometry, count_padding, a, activation, target);
            }
            Op::Reshape => reshape::run(a, activation, target),
            Op::Softmax { log } => softmax::run(a, (input.c.into(), log), activation, target),
            Op::Unary(function) => unary::run(function, a, activation, self.table, target),
            Op::Mul => mul::run(a, b, activation, target),
            Op::Concat => {
                let channels = [input.c, output.c - input.c].map(usize::from);
                concat::run([a, b], channels, activation, target);
            }
            Op::Rearrange(of) => rearrange::run(&of, (input, output), a, activation, target),
        }
    }

    /// Runs a layer that goes element by element where the elements of one input lie, which is of the INT8
    /// parameters `q`; there is no view of it.
    #[inline(never)]
    fn run_in_place(&self, q: QParams, [a, b]: [View<'_>; 2], target: &mut ViewMut<'_>) {
        let activation = self.layer.activation;
        let other = if a.is_empty() { b } else { a };
        match self.op {
            Op::Add => add::run_in_place(q, other, activation, target),
            Op::Mul => mul::run_in_place(q, other, activation, target),
            Op::Unary(function) => {
                unary::run_in_place(function, activation, self.table, target);
            }
            Op::Reshape => reshape::run_in_place(q, activation, target),
            Op::Conv2d { .. }
            | Op::Dense
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::Softmax { .. }
            | Op::Concat
            | Op::Rearrange(_) => {}
        }
    }

    fn weighted(
        &self,
        input: View<'_>,
        target: &mut ViewMut<'_>,
        float: impl FnOnce(&[f32], &FloatWeights<'_>, &mut ViewMut<'_>),
        int: impl FnOnce((&[i8], i8), &IntWeights<'_>, &mut IntOutput<'_, '_>),
    ) {
        let layer = self.layer;
        let channels = usize::from(layer.output.c);
        let count = layer.op.weight_count(self.input, layer.output);
        match (input, self.level.weight_format()) {
            (View::F32(x), stored @ (WeightFormat::F32 | WeightFormat::F16)) => {
                let half = stored == WeightFormat::F16;
                let weights = block::float(self.block, channels, count, half);
                float(x, &weights, target);
            }
            (View::I8(x, q), WeightFormat::Int(width)) => {
                let weights = block::int(self.block, channels, count, width);
                let (q_out, activation) = (layer.output_q, layer.activation);
                let mut output = IntOutput::new(&weights, q_out, activation, target);
                int((x, q.zero_point), &weights, &mut output);
            }
            // the input was asked for in the level's own form
            (View::F32(_), WeightFormat::Int(_))
            | (View::I8(..), WeightFormat::F32 | WeightFormat::F16) => {}
        }
    }
}

//! The steps of an inference: which operator runs, and where its weights, inputs and output lie.

use core::ops::Range;

use bytemuck::{cast_slice, cast_slice_mut};

use crate::block;
use crate::form::{Form, Forms};
use crate::level::{Level, WeightFormat};
use crate::network::{Layer, PerTensorView};
use crate::op::geometry::Geometry;
use crate::op::weights::{FloatWeights, IntOutput, IntWeights};
use crate::op::{Op, add, conv2d, dense, pool, reshape, softmax};
use crate::place::Place;
use crate::quant::QParams;
use crate::shape::Shape;
use crate::tensor::{View, ViewMut};

/// Where a tensor lies in the arena in one of its forms.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The first byte, a multiple of four.
    pub start: usize,
    /// Elements.
    pub len: usize,
    /// How they are stored.
    pub form: Form,
    /// The tensor's INT8 map.
    pub q: QParams,
}

impl Span {
    /// Its bytes, padding included.
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        self.start..self.start + self.form.bytes(self.len as u32) as usize
    }

    /// The tensor in these bytes.
    ///
    /// # Panics
    /// When they are not as many as its range, or not aligned to its elements.
    #[must_use]
    pub fn view<'b>(&self, bytes: &'b [u8]) -> View<'b> {
        match self.form {
            Form::F32 => View::F32(cast_slice(bytes)),
            Form::I8(_) => View::I8(cast_slice(&bytes[..self.len]), self.q),
        }
    }

    /// As [`Self::view`], to be written.
    ///
    /// # Panics
    /// As [`Self::view`].
    #[must_use]
    pub fn view_mut<'b>(&self, bytes: &'b mut [u8]) -> ViewMut<'b> {
        match self.form {
            Form::F32 => ViewMut::F32(cast_slice_mut(bytes)),
            Form::I8(rounding) => {
                ViewMut::I8(cast_slice_mut(&mut bytes[..self.len]), self.q, rounding)
            }
        }
    }
}

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
    /// The offset of each tensor behind the blocks in the arena.
    pub activations: PerTensorView<'a, u32>,
}

impl Steps<'_> {
    /// Where a tensor lies in one of its forms.
    ///
    /// # Panics
    /// When there is no such tensor.
    #[must_use]
    #[inline(never)]
    pub fn span(&self, tensor: usize, form: Form) -> Span {
        self.shape_and_span(tensor, |_| form).1
    }

    /// A tensor's shape, and where it lies in one of its forms.
    #[inline(always)]
    fn shape_and_span(&self, tensor: usize, form: impl Fn(Forms) -> Form) -> (Shape, Span) {
        let ((shape, q), forms, offset) = match tensor.checked_sub(1) {
            None => (self.input, self.forms.input, self.activations.input),
            Some(layer) => {
                let Layer {
                    output, output_q, ..
                } = self.layers[layer];
                let offset = self.activations.layers[layer];
                ((output, output_q), self.forms.layers[layer], offset)
            }
        };
        let (form, len) = (form(forms), shape.len());
        let before = forms.before(form).bytes(len as u32);
        let span = Span {
            start: (self.blocks.ram_bytes + offset + before) as usize,
            len,
            form,
            q,
        };
        (shape, span)
    }

    /// Runs one layer into every form of its output.
    ///
    /// # Panics
    /// When there is no such layer, or the arena is too small.
    pub fn run(&self, layer: usize, arena: &mut [u8]) {
        for form in self.forms.layers[layer].iter() {
            self.run_into(layer, form, arena);
        }
    }

    #[inline(never)]
    fn run_into(&self, layer: usize, form: Form, arena: &mut [u8]) {
        let level = self.levels[layer];
        let target = self.shape_and_span(layer + 1, |_| form).1;
        // alive at the same step, so inputs never overlap the output; weights lie before both
        let written = target.range();
        let (before, rest) = arena.split_at_mut(written.start);
        let (output, after) = rest.split_at_mut(written.len());
        let (before, after): (&[u8], &[u8]) = (before, after);
        let Layer { op, inputs, .. } = &self.layers[layer];
        let mut views = [View::F32(&[]); 2];
        let mut input = Shape::vector(0);
        for (view, tensor) in views.iter_mut().zip(inputs) {
            let form = |forms: Forms| op.input_need(level).or(forms.widest()).unwrap_or(Form::F32);
            let (shape, source) = self.shape_and_span((*tensor).into(), form);
            let Range { start, end } = source.range();
            *view = source.view(if start < written.start {
                &before[start..end]
            } else {
                &after[start - written.end..end - written.end]
            });
            input = shape;
        }
        let blocks = match self.blocks.places[layer] {
            Place::Ram => before,
            Place::Flash => self.blocks.mapped,
        };
        let step = Step {
            layer: &self.layers[layer],
            input,
            level,
            block: &blocks[self.blocks.starts[layer] as usize..],
        };
        step.run(views, &mut target.view_mut(output));
    }
}

/// One layer about to run.
struct Step<'a> {
    layer: &'a Layer,
    /// The shape of each input.
    input: Shape,
    level: Level,
    /// Begins with its own.
    block: &'a [u8],
}

impl Step<'_> {
    fn run(&self, [a, b]: [View<'_>; 2], target: &mut ViewMut<'_>) {
        let Layer {
            op,
            activation,
            output,
            ..
        } = *self.layer;
        let input = self.input;
        match op {
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
                    |x, zero_point, w, output| conv2d::int(&geometry, x, zero_point, w, output),
                );
            }
            Op::Dense => self.weighted(
                a,
                target,
                |x, w, target| dense::float(x, w, activation, target),
                |x, _, w, output| dense::int(x, w, output),
            ),
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
            Op::Softmax => softmax::run(a, activation, target),
        }
    }

    fn weighted(
        &self,
        input: View<'_>,
        target: &mut ViewMut<'_>,
        float: impl FnOnce(&[f32], &FloatWeights<'_>, &mut ViewMut<'_>),
        int: impl FnOnce(&[i8], i8, &IntWeights<'_>, &mut IntOutput<'_, '_>),
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
                int(x, q.zero_point, &weights, &mut output);
            }
            // the input was asked for in the level's own form
            (View::F32(_), WeightFormat::Int(_))
            | (View::I8(..), WeightFormat::F32 | WeightFormat::F16) => {}
        }
    }
}

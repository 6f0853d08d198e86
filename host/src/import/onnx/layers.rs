//! The layers made so far.

use bitbudget_core::op::{Activation, Op};
use bitbudget_core::shape::Shape;

use super::error::{Fault, OnnxError, unsupported};
use super::value::{View, dims_text};
use crate::capacity::MAX_LAYERS;
use crate::graph::GraphLayer;

/// Bytes of weights that any graph may have, however small its file.
const MIN_WEIGHT_BYTES: usize = 64 << 20;
/// Bytes of weights that a graph may have for each byte of its file: initializers of half precision become
/// twice as long, and a few layers may share one.
const WEIGHT_BYTES_PER_BYTE: usize = 8;

/// The layers of a growing graph, and who still wants to read their tensors.
pub(super) struct Layers {
    input: Shape,
    list: Vec<GraphLayer>,
    /// Bytes of all weights, and the most that they may be.
    weight_bytes: [usize; 2],
    /// For each tensor, the reads that are still to come.
    pending: Vec<usize>,
}

impl Layers {
    /// No layers yet, over an input of that shape, from a file of `file_bytes`.
    pub(super) fn new(input: Shape, file_bytes: usize) -> Self {
        let most = file_bytes.saturating_mul(WEIGHT_BYTES_PER_BYTE);
        Self {
            input,
            list: Vec::new(),
            weight_bytes: [0, most.max(MIN_WEIGHT_BYTES)],
            pending: vec![0],
        }
    }

    /// Notes that nodes to come read tensor `t` that often.
    pub(super) fn expect_reads(&mut self, t: usize, count: usize) {
        self.pending[t] += count;
    }

    /// Notes that the node at hand reads tensor `t`.
    pub(super) fn read(&mut self, t: usize) {
        self.pending[t] = self.pending[t].saturating_sub(1);
    }

    /// The shape of tensor `t` of the graph.
    pub(super) fn shape(&self, t: usize) -> Shape {
        match t.checked_sub(1) {
            None => self.input,
            Some(layer) => self.list[layer].output,
        }
    }

    /// Checks that there is room for one more layer, with so many weights.
    pub(super) fn reserve(&self, weights: usize) -> Result<(), OnnxError> {
        if self.list.len() == MAX_LAYERS {
            let limit = MAX_LAYERS;
            return Err(OnnxError::TooManyLayers { limit });
        }
        let [bytes, limit] = self.weight_bytes;
        let bytes = bytes.saturating_add(weights.saturating_mul(size_of::<f32>()));
        if bytes > limit {
            let layers = self.list.len() + 1;
            return Err(OnnxError::TooManyWeights {
                layers,
                bytes,
                limit,
            });
        }
        Ok(())
    }

    /// Adds a layer; gives its tensor.
    pub(super) fn push(&mut self, layer: GraphLayer) -> Result<usize, Fault> {
        let weights = layer.weights.as_ref().map_or(0, |own| own.weight.len());
        self.reserve(weights)?;
        let inputs: Vec<Shape> = layer.inputs.iter().map(|t| self.shape(*t)).collect();
        if layer.output.is_unusable() {
            return unsupported(format!("its output of {} is too large", layer.output));
        }
        if let Err(error) = layer.op.check(&inputs, layer.output) {
            return unsupported(error.to_string());
        }
        self.weight_bytes[0] += weights * size_of::<f32>();
        self.list.push(layer);
        self.pending.push(0);
        Ok(self.list.len())
    }

    /// Adds a layer without weights; gives its tensor.
    pub(super) fn push_plain(
        &mut self,
        op: Op,
        inputs: Vec<usize>,
        output: Shape,
    ) -> Result<usize, Fault> {
        self.push(GraphLayer {
            name: String::new(),
            op,
            inputs,
            activation: Activation::None,
            output,
            weights: None,
        })
    }

    /// The layer that gives tensor `t`, where the node at hand alone reads that tensor.
    pub(super) fn sole_producer(&mut self, t: usize) -> Option<&mut GraphLayer> {
        let producer = t.checked_sub(1)?;
        let reads = |layer: &GraphLayer| layer.inputs.contains(&t);
        if self.pending[t] > 0 || self.list[t..].iter().any(reads) {
            return None;
        }
        self.list.get_mut(producer)
    }

    /// The layer that gives tensor `t`.
    pub(super) fn producer(&self, t: usize) -> Option<&GraphLayer> {
        self.list.get(t.checked_sub(1)?)
    }

    /// The tensor that a layer without weights and activation gives of these inputs.
    pub(super) fn find_plain(&self, op: Op, inputs: &[usize]) -> Option<usize> {
        let is_same = |layer: &GraphLayer| {
            layer.op == op && layer.inputs == inputs && layer.activation == Activation::None
        };
        Some(self.list.iter().position(is_same)? + 1)
    }

    /// The tensor of the graph that has the view's elements under the view's own shape.
    ///
    /// `[C, H, W]` becomes H x W x C, `[C, L]` becomes L x 1 x C and `[F]` becomes 1 x 1 x F.
    pub(super) fn materialize(&mut self, view: &View) -> Result<usize, Fault> {
        let current = self.shape(view.tensor);
        let mut dims = view.dims.clone();
        while dims.len() > 3 && dims.last() == Some(&1) {
            dims.pop();
        }
        let [c, h, w] = match dims[..] {
            [] => [1, 1, 1],
            [f] => [f, 1, 1],
            [c, l] => [c, l, 1],
            [c, h, w] => [c, h, w],
            _ => {
                let dims = dims_text(&view.dims);
                return unsupported(format!("{dims} has more dimensions than an image"));
            }
        };
        let shape = Shape::new(dimension(h)?, dimension(w)?, dimension(c)?);
        if shape == current {
            return Ok(view.tensor);
        }
        let is_line = |shape: Shape| shape.c == 1 || shape.h == 1 && shape.w == 1;
        if shape.c != current.c && !(is_line(shape) && is_line(current)) {
            let dims = dims_text(&view.dims);
            return unsupported(format!(
                "it reads a {current} tensor that was reshaped to {dims}: its elements would \
                 change their order; only Gemm, MatMul, Relu and Softmax can read such a tensor"
            ));
        }
        self.push_plain(Op::Reshape, vec![view.tensor], shape)
    }

    /// The elements of tensor `t`, in their order, as a vector.
    pub(super) fn flat(&mut self, t: usize) -> Result<usize, Fault> {
        let len = self.shape(t).len();
        self.reshaped(t, Shape::vector(dimension(len)?))
    }

    /// The elements of tensor `t`, in their order, as a tensor of that shape.
    pub(super) fn reshaped(&mut self, t: usize, shape: Shape) -> Result<usize, Fault> {
        match self.shape(t) == shape {
            true => Ok(t),
            false => self.push_plain(Op::Reshape, vec![t], shape),
        }
    }

    /// The layers that tensor `output` needs; it becomes the last one's.
    pub(super) fn finish(self, output: usize) -> Vec<GraphLayer> {
        needed(self.list, output)
    }
}

/// A dimension of a tensor of the graph.
pub(super) fn dimension(size: usize) -> Result<u16, Fault> {
    match u16::try_from(size) {
        Ok(0) => unsupported("a dimension is 0"),
        Ok(size) => Ok(size),
        Err(_) => unsupported(format!("a dimension of {size} is more than {}", u16::MAX)),
    }
}

/// Checks that `values` are neither infinite nor NaN.
pub(super) fn check_finite(node: &str, tensor: &str, values: &[f32]) -> Result<(), OnnxError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(OnnxError::NotFinite {
            node: node.to_owned(),
            tensor: tensor.to_owned(),
            index,
            value: values[index],
        }),
    }
}

/// The layers that tensor `output` needs; it becomes the last one's.
fn needed(layers: Vec<GraphLayer>, output: usize) -> Vec<GraphLayer> {
    let mut is_needed = vec![false; layers.len() + 1];
    is_needed[output] = true;
    for (i, layer) in layers.iter().enumerate().rev() {
        if is_needed[i + 1] {
            layer.inputs.iter().for_each(|t| is_needed[*t] = true);
        }
    }
    let mut index = vec![0; layers.len() + 1];
    let mut kept: Vec<GraphLayer> = Vec::new();
    for (i, mut layer) in layers.into_iter().enumerate() {
        if is_needed[i + 1] {
            layer.inputs.iter_mut().for_each(|t| *t = index[*t]);
            kept.push(layer);
            index[i + 1] = kept.len();
        }
    }
    kept
}

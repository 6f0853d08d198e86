//! The float model: what an importer gives, and what the calibration runs.

mod depthwise;
mod float;
pub(crate) mod ops;

use bitbudget_core::level::Level;
use bitbudget_core::network::{Layer, Preprocess};
use bitbudget_core::op::{Activation, Op};
use bitbudget_core::place::Cycles;
use bitbudget_core::price::{PriceItem, PriceMatrix};
use bitbudget_core::quant::QParams;
use bitbudget_core::shape::Shape;

pub(crate) use float::Operands;
pub use float::{FloatModel, Parameters};

use serde::{Deserialize, Serialize};

use crate::capacity::HostNetwork;
use crate::file::fingerprint;

/// A trained network in the operators of the core, with FP32 weights.
///
/// Tensor 0 is the input; layer `i` gives tensor `i + 1` and reads tensors before it. The last
/// layer's tensor is the output: where the model has several, their elements as one vector. Tensors are `[H, W, C]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Shape of one input sample.
    pub input: Shape,
    /// In an order in which they can run.
    pub layers: Vec<GraphLayer>,
    /// The model's outputs, in their order; none where nothing tells their names.
    pub outputs: Vec<Output>,
}

/// One of a model's outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name in the model.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
}

/// One operator of a [`Graph`].
#[derive(Clone, Debug, PartialEq)]
pub struct GraphLayer {
    /// The name that reports show; unique in the graph.
    pub name: String,
    /// The operator.
    pub op: Op,
    /// The tensors that it reads.
    pub inputs: Vec<usize>,
    /// The activation behind it.
    pub activation: Activation,
    /// Shape of its output.
    pub output: Shape,
    /// Present where the operator has weights.
    pub weights: Option<Weights>,
}

/// The trained parameters of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// `[O, KH, KW, I / groups]` of a convolution, `[O, H·W·C]` of a dense layer.
    pub weight: Vec<f32>,
    /// `[O]`.
    pub bias: Vec<f32>,
}

impl Graph {
    /// The shape of tensor `t`.
    ///
    /// # Panics
    /// When there is no such tensor.
    #[must_use]
    pub fn shape(&self, t: usize) -> Shape {
        match t.checked_sub(1) {
            None => self.input,
            Some(layer) => self.layers[layer].output,
        }
    }

    /// The network of these layers, not checked yet: every layer with weights at each of these levels, at no price,
    /// and the quantizer of each tensor. The host has room for so many layers and levels.
    pub(crate) fn network(
        &self,
        levels: &[Level],
        qparams: impl Fn(usize) -> QParams,
    ) -> Box<HostNetwork> {
        let mut network = Box::new(HostNetwork {
            input: self.input,
            input_q: qparams(0),
            preprocess: Preprocess::default(),
            layers: heapless::Vec::new(),
            prices: PriceMatrix {
                unit: 1.0,
                rows: heapless::Vec::new(),
                ties: heapless::Vec::new(),
            },
        });
        for (i, layer) in self.layers.iter().enumerate() {
            // there is room
            let _ = network.layers.push(Layer {
                op: layer.op,
                inputs: layer.inputs.iter().map(|t| *t as u16).collect(),
                activation: layer.activation,
                output: layer.output,
                output_q: qparams(i + 1),
            });
            let levels = levels.iter().filter(|_| layer.weights.is_some());
            let items = levels.map(|level| PriceItem {
                level: *level,
                bytes: network.block_bytes(i, *level).unwrap_or(u32::MAX),
                price: 0,
                cycles: Cycles::default(),
            });
            let row = items.collect();
            let _ = network.prices.rows.push(row);
        }
        network
    }
}

/// The fingerprint of a graph: structure and weights, whatever file it came from.
#[must_use]
pub fn graph_fingerprint(graph: &Graph) -> u64 {
    let bytes = |reals: &[f32]| reals.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut parts: Vec<Vec<u8>> = vec![format!("{:?}", graph.input).into_bytes()];
    for layer in &graph.layers {
        let head = (
            &layer.name,
            &layer.op,
            &layer.inputs,
            layer.activation,
            layer.output,
        );
        parts.push(format!("{head:?}").into_bytes());
        if let Some(weights) = &layer.weights {
            parts.push(bytes(&weights.weight));
            parts.push(bytes(&weights.bias));
        }
    }
    fingerprint(parts.iter().map(Vec::as_slice))
}

//! What a network's outputs are numbers of.

use bitbudget_core::op::{Function, Op};
use bitbudget_core::shape::Shape;

use crate::capacity::HostNetwork;
use crate::graph::Graph;

/// The end of a network: its outputs, and what they can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// Shape of the network's input.
    pub input: Shape,
    /// Shape of the outputs, of whose every pixel the channels are classes.
    pub outputs: Shape,
    /// The operator that gives them.
    pub last: Op,
}

impl Head {
    /// That of a network with at least one layer.
    #[must_use]
    pub fn of(network: &HostNetwork) -> Self {
        let layer = |i: usize| {
            let layer = &network.layers[i];
            (layer.op, layer.output, layer.inputs[0].into())
        };
        Self::new(network.input, network.layers.len(), &layer)
    }

    /// That of a graph with at least one layer.
    #[must_use]
    pub fn of_graph(graph: &Graph) -> Self {
        let layer = |i: usize| {
            let layer = &graph.layers[i];
            (layer.op, layer.output, layer.inputs[0])
        };
        Self::new(graph.input, graph.layers.len(), &layer)
    }

    /// `layer` gives the operator, the output and the first input of each.
    fn new(input: Shape, layers: usize, layer: &dyn Fn(usize) -> (Op, Shape, usize)) -> Self {
        let mut tensor = layers;
        let (mut last, mut outputs) = (Op::Reshape, input);
        // the same elements before they were reshaped
        while let (Op::Reshape, Some(i)) = (last, tensor.checked_sub(1)) {
            (last, outputs, tensor) = layer(i);
        }
        Self {
            input,
            outputs,
            last,
        }
    }

    /// Whether the outputs are probabilities.
    #[must_use]
    pub const fn is_probability(&self) -> bool {
        matches!(
            self.last,
            Op::Softmax { log: false }
                | Op::Unary(Function::Sigmoid | Function::HardSigmoid { .. })
        )
    }

    /// Whether every output says yes or no by itself: it is the only one of its pixel, or a sigmoid's.
    #[must_use]
    pub const fn is_of_each(&self) -> bool {
        self.outputs.c == 1 || self.is_probability() && matches!(self.last, Op::Unary(_))
    }

    /// Whether the outputs are no classes: several outputs that were joined, or the input once more.
    #[must_use]
    pub const fn is_of_reals(&self) -> bool {
        matches!(self.last, Op::Concat) || self.outputs.len() == self.input.len()
    }

    /// The number of classes that a label can name.
    #[must_use]
    pub const fn classes(&self) -> usize {
        match self.outputs.c {
            1 => 2,
            classes => classes as usize,
        }
    }
}

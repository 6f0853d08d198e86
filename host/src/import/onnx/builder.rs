//! The graph while it grows: the values of the model's tensors, and the layers made so far.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use bitbudget_core::op::Op;
use bitbudget_core::shape::Shape;
use rten_onnx::onnx::{GraphProto, TensorProto};

use super::error::{Fault, OnnxError, UnsupportedNode, unsupported};
use super::layers::{Layers, check_finite, dimension};
use super::live::Live;
use super::name;
use super::node::Node;
use super::tensor::{Data, Tensor};
use super::value::{Fill, Order, Value, View, dims_text};
use crate::graph::{Graph, Output};

/// The model's input.
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    pub(super) shape: Shape,
    /// Without the batch.
    pub(super) dims: Vec<usize>,
    /// The order of these.
    pub(super) order: Order,
    /// The batch size, where it is fixed.
    pub(super) batch: Option<i64>,
    /// Length of the file.
    pub(super) file_bytes: usize,
}

/// Converts one node: gives the value of its first output.
///
/// Attributes and constants are looked at before computed inputs, so that all that is unsupported
/// is found, also behind another unsupported node.
pub(super) type Convert = for<'a> fn(&mut Builder<'a>, &Node<'a>) -> Result<Value, Fault>;

/// The growing graph.
pub(super) struct Builder<'a> {
    initializers: HashMap<&'a str, &'a TensorProto>,
    /// Tensors that any node gives, to tell a missing one from one that comes too late.
    given: HashSet<&'a str>,
    values: HashMap<&'a str, Value>,
    /// What the node at hand gives beside its first output.
    further: Vec<Value>,
    reads: &'a HashMap<&'a str, usize>,
    /// The layers made so far.
    pub(super) layers: Layers,
    /// The batch size, where it is fixed.
    pub(super) batch: Option<i64>,
    /// The version of ONNX's operators.
    pub(super) opset: i64,
}

impl<'a> Builder<'a> {
    /// A graph of no layers yet.
    pub(super) fn new(
        graph: &'a GraphProto,
        nodes: &'a Live<'a>,
        input: Input<'a>,
        opset: i64,
    ) -> Result<Self, OnnxError> {
        let mut initializers = HashMap::new();
        let duplicate = |tensor: &str| OnnxError::DuplicateTensor {
            tensor: tensor.to_owned(),
        };
        for tensor in &graph.initializer {
            let name = tensor.name.as_deref().unwrap_or_default();
            if initializers.insert(name, tensor).is_some() {
                return Err(duplicate(name));
            }
        }
        let mut given = HashSet::from([input.name]);
        for node in nodes.live.iter().chain(&nodes.dead) {
            for name in node.outputs().iter().filter(|name| !name.is_empty()) {
                if !given.insert(name) || initializers.contains_key(name.as_str()) {
                    return Err(duplicate(name));
                }
            }
        }
        let mut builder = Self {
            initializers,
            given,
            values: HashMap::new(),
            further: Vec::new(),
            reads: &nodes.reads,
            layers: Layers::new(input.shape, input.file_bytes),
            batch: input.batch,
            opset,
        };
        let view = View::new(0, input.dims).in_order(input.order, input.shape);
        builder.bind(input.name, Value::Activation(view));
        Ok(builder)
    }

    /// Converts one node; adds it to `unsupported` where that cannot be done.
    pub(super) fn run(
        &mut self,
        node: &'a Node<'a>,
        convert: Convert,
        unsupported: &mut Vec<UnsupportedNode>,
    ) -> Result<(), OnnxError> {
        if node.op != "Shape" {
            for input in node.inputs() {
                if let Some(Value::Activation(view)) = self.values.get(input.as_str()) {
                    self.layers.read(view.tensor);
                }
            }
        }
        let result = convert(self, node);
        let value = reported(&node.label, &node.op, result, unsupported)?;
        let further = std::mem::take(&mut self.further);
        for (i, output) in node.outputs().iter().enumerate() {
            let given = match i.checked_sub(1) {
                None => value.clone(),
                Some(i) => further.get(i).cloned(),
            };
            // of a node that is not supported, no output is
            if given.is_none() && value.is_some() && self.is_read(node, i) {
                unsupported.push(UnsupportedNode {
                    node: node.label.clone(),
                    op: node.op.clone(),
                    reason: format!("its output {i} is used"),
                });
            }
            self.bind(output, given.unwrap_or(Value::Missing));
        }
        Ok(())
    }

    /// Whether anything reads output `index` of a node.
    pub(super) fn is_read(&self, node: &Node<'a>, index: usize) -> bool {
        let output = node.outputs().get(index).filter(|name| !name.is_empty());
        output.is_some_and(|name| self.reads.contains_key(name.as_str()))
    }

    /// What the node at hand gives beside its first output.
    pub(super) fn give_further(&mut self, values: Vec<Value>) {
        self.further = values;
    }

    fn bind(&mut self, name: &'a str, value: Value) {
        if let Value::Activation(view) = &value {
            let reads = self.reads.get(name).copied().unwrap_or(0);
            self.layers.expect_reads(view.tensor, reads);
        }
        self.values.insert(name, value);
    }

    /// The value of input `index`, which must be there.
    pub(super) fn value(&mut self, node: &Node<'a>, index: usize) -> Result<Value, Fault> {
        let name = node.expect_input(index)?;
        self.named(&node.label, name)
    }

    fn named(&mut self, reader: &str, name: &'a str) -> Result<Value, Fault> {
        let value = match self.values.get(name) {
            Some(value) => value.clone(),
            None => match self.initializers.get(name) {
                Some(proto) => {
                    let tensor = Tensor::decode(reader, name, proto)?;
                    let value = Value::Const(Rc::new(tensor));
                    self.values.insert(name, value.clone());
                    value
                }
                None => return Err(self.not_given(reader, name).into()),
            },
        };
        match value {
            Value::Missing => Err(Fault::Upstream),
            Value::Const(_) | Value::Activation(_) => Ok(value),
        }
    }

    fn not_given(&self, reader: &str, name: &str) -> OnnxError {
        let (node, tensor) = (reader.to_owned(), name.to_owned());
        if self.given.contains(name) {
            OnnxError::NotSorted { node, tensor }
        } else {
            OnnxError::MissingTensor { node, tensor }
        }
    }

    /// Input `index` as a tensor of the graph, without padding, in any order.
    pub(super) fn view_in_any_order(
        &mut self,
        node: &Node<'a>,
        index: usize,
    ) -> Result<View, Fault> {
        match self.value(node, index)? {
            Value::Activation(view) if view.order == Order::ChannelsLast => Ok(view),
            Value::Activation(_) | Value::Const(_) | Value::Missing => self.view(node, index),
        }
    }

    /// Input `index` as a tensor of the graph, channels first and without padding.
    pub(super) fn view(&mut self, node: &Node<'a>, index: usize) -> Result<View, Fault> {
        self.padded_view(node, index, None)
    }

    /// Input `index` as a tensor of the graph, channels first, without padding or padded with `fill`.
    pub(super) fn padded_view(
        &mut self,
        node: &Node<'a>,
        index: usize,
        fill: Option<Fill>,
    ) -> Result<View, Fault> {
        match self.value(node, index)? {
            Value::Activation(view) if view.order == Order::ChannelsLast => unsupported(format!(
                "it reads {} with the channels last, which only Transpose, Reshape, ReduceMean, \
                 ReduceMax, Add, Sub, Mul, Div, Concat, Gemm, MatMul and activations can",
                dims_text(&view.dims)
            )),
            Value::Activation(view) if view.pad == [0; 4] || fill == Some(view.fill) => Ok(view),
            Value::Activation(view) => unsupported(match view.fill {
                Fill::Zero => {
                    "it reads a tensor padded with 0: only Conv and AveragePool can take that"
                }
                Fill::Lowest => "it reads a tensor padded with -inf: only MaxPool can take that",
            }),
            Value::Const(_) => unsupported(format!("its input {index} is a constant")),
            Value::Missing => Err(Fault::Upstream),
        }
    }

    /// Input `index` as a constant, which must be there.
    pub(super) fn constant(&mut self, node: &Node<'a>, index: usize) -> Result<Rc<Tensor>, Fault> {
        match self.value(node, index)? {
            Value::Const(tensor) => Ok(tensor),
            Value::Activation(_) => unsupported(format!("its input {index} is not a constant")),
            Value::Missing => Err(Fault::Upstream),
        }
    }

    /// Input `index` as one constant number, finite or not, which must be there.
    pub(super) fn number(&mut self, node: &Node<'a>, index: usize) -> Result<f32, Fault> {
        let tensor = self.constant(node, index)?;
        match &tensor.data {
            Data::Float(values) if values.len() == 1 => Ok(values[0]),
            Data::Float(_) | Data::Int(_) => Err(Fault::Broken(OnnxError::WeightShape {
                node: node.label.clone(),
                tensor: node.expect_input(index)?.to_owned(),
                expected: "one floating point number".to_owned(),
                found: tensor.dims.clone(),
            })),
        }
    }

    /// Input `index` as finite constant numbers, which must be there: dimensions and values.
    pub(super) fn weights(
        &mut self,
        node: &Node<'a>,
        index: usize,
    ) -> Result<(Vec<usize>, Rc<[f32]>), Fault> {
        let tensor = self.constant(node, index)?;
        let name = node.expect_input(index)?;
        let Data::Float(values) = &tensor.data else {
            return Err(Fault::Broken(OnnxError::TensorType {
                node: node.label.clone(),
                tensor: name.to_owned(),
                expected: "floating point",
                found: tensor.type_name().to_owned(),
            }));
        };
        check_finite(&node.label, name, values)?;
        if values.is_empty() {
            return Err(Fault::Broken(OnnxError::WeightShape {
                node: node.label.clone(),
                tensor: name.to_owned(),
                expected: "at least one element".to_owned(),
                found: tensor.dims.clone(),
            }));
        }
        Ok((tensor.dims.clone(), Rc::clone(values)))
    }

    /// The finished graph; `None` where unsupported nodes stand before the outputs. Several outputs become one
    /// vector, one behind the other.
    pub(super) fn finish(
        mut self,
        names: &[&'a str],
        unsupported: &mut Vec<UnsupportedNode>,
    ) -> Result<Option<Graph>, OnnxError> {
        let mut tensors = Vec::new();
        for name in names {
            let label = format!("the output `{name}`");
            let result = self.output(&label, name);
            tensors.extend(reported(&label, "output", result, unsupported)?);
        }
        if tensors.len() < names.len() {
            return Ok(None);
        }
        let of_tensor = |(name, tensor): (&&str, &usize)| Output {
            name: name::clean(name),
            shape: self.layers.shape(*tensor),
        };
        let outputs = names.iter().zip(&tensors).map(of_tensor).collect();
        let label = "the outputs together";
        let result = self.joined(&tensors);
        let Some(tensor) = reported(label, "output", result, unsupported)? else {
            return Ok(None);
        };
        if tensor == 0 {
            let output = names.concat();
            return Err(OnnxError::NoLayers { output });
        }
        let input = self.layers.shape(0);
        let mut layers = self.layers.finish(tensor);
        name::complete(&mut layers);
        Ok(Some(Graph {
            input,
            layers,
            outputs,
        }))
    }

    /// One tensor as it is; of several the elements, as one vector.
    fn joined(&mut self, tensors: &[usize]) -> Result<usize, Fault> {
        if let [tensor] = tensors {
            return Ok(*tensor);
        }
        let mut joined: Option<usize> = None;
        for tensor in tensors {
            let part = self.layers.flat(*tensor)?;
            joined = Some(match joined {
                None => part,
                Some(before) => {
                    let parts = [before, part];
                    let len = parts.map(|t| self.layers.shape(t).len()).iter().sum();
                    let vector = Shape::vector(dimension(len)?);
                    self.layers.push_plain(Op::Concat, parts.to_vec(), vector)?
                }
            });
        }
        Ok(joined.unwrap_or_default())
    }

    /// Whether a view is the tensor as it is.
    fn is_own(&self, view: &View) -> bool {
        let shape = self.layers.shape(view.tensor);
        view.is_own(shape) && view.has_own_order(shape)
    }

    fn output(&mut self, label: &str, output: &'a str) -> Result<usize, Fault> {
        match self.named(label, output)? {
            // where both orders are the same, channels last is the tensor's own
            Value::Activation(view) if view.pad == [0; 4] && self.is_own(&view) => Ok(view.tensor),
            Value::Activation(view) if view.order == Order::ChannelsLast => {
                self.layers.flat(view.tensor)
            }
            Value::Activation(view) if view.pad == [0; 4] => {
                let shape = self.layers.shape(view.tensor);
                match shape == Shape::vector(shape.c) {
                    true => Ok(view.tensor),
                    false => self.layers.materialize(&view),
                }
            }
            Value::Activation(_) => unsupported("it is padded"),
            Value::Const(_) => unsupported("it is a constant"),
            Value::Missing => Err(Fault::Upstream),
        }
    }
}

/// The result, unless it is unsupported: that goes on the list.
fn reported<T>(
    node: &str,
    op: &str,
    result: Result<T, Fault>,
    unsupported: &mut Vec<UnsupportedNode>,
) -> Result<Option<T>, OnnxError> {
    match result {
        Ok(value) => return Ok(Some(value)),
        Err(Fault::Broken(error)) => return Err(error),
        Err(Fault::Upstream) => {}
        Err(Fault::Unsupported(reason)) => unsupported.push(UnsupportedNode {
            node: node.to_owned(),
            op: op.to_owned(),
            reason,
        }),
    }
    Ok(None)
}

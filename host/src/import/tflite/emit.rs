//! The ONNX graph that is made of a model.

use std::collections::{HashMap, HashSet};

use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, Dimension, GraphProto, NodeProto, TensorProto,
    TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};

use super::constant::{self, Data};
use super::error::TfliteError;
use super::flat::FlatFault;
use super::model::{Model, Operator};
use super::names;

/// The fewest elements that constants may have whatever the file's size.
const LEAST_ELEMENTS: usize = 1 << 20;

/// Why an operator has no ONNX nodes.
pub(super) enum Refusal {
    /// It is not supported, for this reason.
    Unsupported(String),
    /// The model is broken.
    Broken(TfliteError),
}

impl From<TfliteError> for Refusal {
    fn from(error: TfliteError) -> Self {
        Self::Broken(error)
    }
}

impl From<FlatFault> for Refusal {
    fn from(fault: FlatFault) -> Self {
        Self::Broken(fault.into())
    }
}

/// An unsupported `reason`, as a result.
pub(super) fn refuse<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Unsupported(reason.into()))
}

impl Operator<'_> {
    /// Its tensor `index`, which must be there.
    pub(super) fn input(&self, index: usize) -> Result<usize, Refusal> {
        let input = self.optional(index);
        input.ok_or_else(|| Refusal::Unsupported(format!("it lacks its input {index}")))
    }

    /// Its tensor `index`, unless it is left out.
    pub(super) fn optional(&self, index: usize) -> Option<usize> {
        self.inputs.get(index).copied().flatten()
    }

    /// The one tensor that it gives.
    pub(super) fn output(&self) -> Result<usize, Refusal> {
        match self.outputs[..] {
            [output] => Ok(output),
            ref outputs => refuse(format!("it has {} outputs, expected 1", outputs.len())),
        }
    }
}

/// The growing ONNX graph.
pub(super) struct Emit<'a> {
    model: &'a Model<'a>,
    graph: GraphProto,
    /// The name of the operator that is converted.
    label: String,
    /// Tensors that are other ones, as real numbers.
    aliases: HashMap<usize, usize>,
    /// Of tensors with the channels last, those with the channels first that they were made of.
    firsts: HashMap<String, String>,
    /// Constants that are initializers of the graph.
    initialized: HashSet<usize>,
    /// Elements that further constants may have.
    elements_left: usize,
    /// Tensors and initializers that the model has no names for.
    made: usize,
}

impl<'a> Emit<'a> {
    /// A graph with the inputs of `model`.
    pub(super) fn new(model: &'a Model<'a>) -> Self {
        let info = |tensor: &usize| info(model, *tensor);
        let elements = model.bytes.len().saturating_mul(4);
        Self {
            model,
            graph: GraphProto {
                input: model.inputs.iter().map(info).collect(),
                ..GraphProto::default()
            },
            label: String::new(),
            aliases: HashMap::new(),
            firsts: HashMap::new(),
            initialized: HashSet::new(),
            elements_left: elements.max(LEAST_ELEMENTS),
            made: 0,
        }
    }

    /// The graph, with the outputs of the model.
    pub(super) fn finish(mut self) -> GraphProto {
        let outputs = self.model.outputs.iter();
        let info = |tensor: &usize| info(self.model, self.origin(*tensor));
        self.graph.output = outputs.map(info).collect();
        self.graph
    }

    /// Names the nodes that come now.
    pub(super) fn begin(&mut self, label: &str) {
        label.clone_into(&mut self.label);
    }

    /// The dimensions of a tensor.
    pub(super) fn dims(&self, tensor: usize) -> Vec<i64> {
        self.model.tensors[tensor].dims.clone()
    }

    /// The channels of an image or a series.
    pub(super) fn channels(&self, tensor: usize) -> Option<usize> {
        let channels = self.model.tensors[tensor].dims.last();
        channels.and_then(|channels| usize::try_from(*channels).ok())
    }

    /// The type of a tensor's elements.
    pub(super) fn kind(&self, tensor: usize) -> String {
        names::kind(self.model.tensors[tensor].kind)
    }

    /// The tensor whose real numbers `tensor` has.
    fn origin(&self, tensor: usize) -> usize {
        self.aliases.get(&tensor).copied().unwrap_or(tensor)
    }

    /// Whether a tensor is a constant.
    pub(super) fn is_constant(&self, tensor: usize) -> Result<bool, TfliteError> {
        Ok(!self.model.data(self.origin(tensor))?.is_empty())
    }

    /// Says that `tensor` has the real numbers of `other`.
    pub(super) fn alias(&mut self, tensor: usize, other: usize) {
        self.aliases.insert(tensor, self.origin(other));
    }

    /// The elements of a constant.
    fn decode(&mut self, tensor: usize) -> Result<Data, Refusal> {
        let own = &self.model.tensors[tensor];
        let left = own
            .len()
            .and_then(|len| self.elements_left.checked_sub(len));
        let Some(left) = left else {
            let tensor = own.name.clone();
            return Err(TfliteError::TooMuchData { tensor }.into());
        };
        self.elements_left = left;
        Ok(constant::decode(self.model, tensor)?)
    }

    /// The name of a tensor; a constant becomes an initializer.
    pub(super) fn name(&mut self, tensor: usize) -> Result<String, Refusal> {
        let tensor = self.origin(tensor);
        let name = self.model.tensors[tensor].name.clone();
        if self.is_constant(tensor)? && self.initialized.insert(tensor) {
            let dims = self.model.tensors[tensor].dims.clone();
            let data = self.decode(tensor)?;
            self.initialize(name.clone(), dims, data);
        }
        Ok(name)
    }

    /// The dimensions and elements of constant weights.
    pub(super) fn weights(&mut self, tensor: usize) -> Result<(Vec<usize>, Vec<f32>), Refusal> {
        let tensor = self.origin(tensor);
        if !self.is_constant(tensor)? {
            return refuse("its weights are not constant");
        }
        match self.decode(tensor)? {
            Data::Real(values) => {
                let dims = self.model.tensors[tensor].dims.iter();
                Ok((dims.map(|dim| *dim as usize).collect(), values))
            }
            Data::Integer(_) => Err(self.wrong_type(tensor, "floating point, or quantized")),
        }
    }

    /// The elements of a constant of integers.
    pub(super) fn integers(&mut self, tensor: usize) -> Result<Vec<i64>, Refusal> {
        let tensor = self.origin(tensor);
        if !self.is_constant(tensor)? {
            return refuse("an input that must be constant is computed");
        }
        match self.decode(tensor)? {
            Data::Integer(values) => Ok(values),
            Data::Real(_) => Err(self.wrong_type(tensor, "integers")),
        }
    }

    fn wrong_type(&self, tensor: usize, expected: &'static str) -> Refusal {
        Refusal::Broken(TfliteError::TensorType {
            tensor: self.model.tensors[tensor].name.clone(),
            found: self.kind(tensor),
            expected,
        })
    }

    /// Adds an initializer.
    fn initialize(&mut self, name: String, dims: Vec<i64>, data: Data) {
        let mut proto = TensorProto {
            name: Some(name),
            dims,
            ..TensorProto::default()
        };
        match data {
            Data::Real(values) => {
                proto.data_type = Some(DataType::FLOAT);
                proto.float_data = values;
            }
            Data::Integer(values) => {
                proto.data_type = Some(DataType::INT64);
                proto.int64_data = values;
            }
        }
        self.graph.initializer.push(proto);
    }

    /// A name that the model does not have.
    fn fresh(&mut self) -> String {
        self.made += 1;
        format!("{} ({})", self.label, self.made)
    }

    /// An initializer of real numbers; its name.
    pub(super) fn floats(&mut self, dims: Vec<usize>, values: Vec<f32>) -> String {
        let name = self.fresh();
        let dims = dims.into_iter().map(|dim| dim as i64).collect();
        self.initialize(name.clone(), dims, Data::Real(values));
        name
    }

    /// An initializer of a list of integers; its name.
    pub(super) fn integer_list(&mut self, values: &[i64]) -> String {
        let name = self.fresh();
        let dims = vec![values.len() as i64];
        self.initialize(name.clone(), dims, Data::Integer(values.to_vec()));
        name
    }

    /// Adds a node; the name of its output.
    pub(super) fn node(
        &mut self,
        op: &str,
        inputs: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) -> String {
        let output = self.fresh();
        self.push(op, inputs, vec![output.clone()], attributes);
        output
    }

    /// Adds the node that gives an operator's output.
    pub(super) fn result(
        &mut self,
        operator: &Operator<'_>,
        op: &str,
        inputs: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) -> Result<(), Refusal> {
        let output = self.model.tensors[operator.output()?].name.clone();
        self.push(op, inputs, vec![output], attributes);
        Ok(())
    }

    /// Adds the node that gives all of an operator's outputs.
    pub(super) fn results(
        &mut self,
        operator: &Operator<'_>,
        op: &str,
        inputs: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) {
        let name = |tensor: &usize| self.model.tensors[*tensor].name.clone();
        let outputs = operator.outputs.iter().map(name).collect();
        self.push(op, inputs, outputs, attributes);
    }

    /// Gives the tensor `name` as an operator's output.
    pub(super) fn give(&mut self, operator: &Operator<'_>, name: String) -> Result<(), Refusal> {
        if let Some(first) = self.firsts.get(&name) {
            let output = self.model.tensors[operator.output()?].name.clone();
            self.firsts.insert(output, first.clone());
        }
        self.result(operator, "Identity", vec![name], vec![])
    }

    /// Adds a node that nothing can run, with the operator's outputs and those of its inputs that are computed.
    pub(super) fn unsupported(&mut self, operator: &Operator<'_>) -> Result<(), TfliteError> {
        let mut input = Vec::new();
        for tensor in operator.inputs.iter().copied().flatten() {
            // what computes a shape is no part of the network
            let is_shape = matches!(self.kind(tensor).as_str(), "INT32" | "INT64");
            if !is_shape && !self.is_constant(tensor)? {
                input.push(self.model.tensors[self.origin(tensor)].name.clone());
            }
        }
        self.results(operator, &operator.op, input, vec![]);
        Ok(())
    }

    fn push(
        &mut self,
        op: &str,
        input: Vec<String>,
        output: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) {
        self.graph.node.push(NodeProto {
            name: Some(self.label.clone()),
            op_type: Some(op.to_owned()),
            input,
            output,
            attribute,
            ..NodeProto::default()
        });
    }

    /// A tensor with its channels, which come last, as the first dimension after the batch.
    pub(super) fn channels_first(&mut self, tensor: usize) -> Result<String, Refusal> {
        let rank = self.model.tensors[tensor].dims.len();
        if rank < 3 {
            return refuse(format!("it reads a tensor of {rank} dimensions"));
        }
        let name = self.name(tensor)?;
        if let Some(first) = self.firsts.get(&name) {
            return Ok(first.clone());
        }
        let last = rank as i64 - 1;
        let permutation: Vec<i64> = [0, last].into_iter().chain(1..last).collect();
        Ok(self.node("Transpose", vec![name], vec![ints("perm", &permutation)]))
    }

    /// A tensor of `rank` dimensions with its channels as the last one.
    pub(super) fn channels_last(&mut self, name: String, rank: usize) -> String {
        let permutation: Vec<i64> = [0].into_iter().chain(2..rank as i64).chain([1]).collect();
        let permutation = vec![ints("perm", &permutation)];
        let last = self.node("Transpose", vec![name.clone()], permutation);
        self.firsts.insert(last.clone(), name);
        last
    }
}

/// An input or output of the graph: of real numbers, whatever type the model has them in.
fn info(model: &Model<'_>, tensor: usize) -> ValueInfoProto {
    let tensor = &model.tensors[tensor];
    let dim = |dim: &i64| Dimension {
        dim_value: (*dim >= 0).then_some(*dim),
        dim_param: None,
    };
    ValueInfoProto {
        name: Some(tensor.name.clone()),
        r#type: Some(TypeProto {
            tensor_type: Some(TypeProtoTensor {
                elem_type: Some(DataType::FLOAT),
                shape: Some(TensorShapeProto {
                    dim: tensor.dims.iter().map(dim).collect(),
                }),
            }),
            sequence: None,
        }),
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(kind),
        ..AttributeProto::default()
    }
}

/// An attribute that is an integer.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        i: Some(value),
        ..attribute(name, AttributeType::INT)
    }
}

/// An attribute that is a list of integers.
pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        ints: values.to_vec(),
        ..attribute(name, AttributeType::INTS)
    }
}

/// An attribute that is a real number.
pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: Some(value),
        ..attribute(name, AttributeType::FLOAT)
    }
}

/// An attribute that is a text.
pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        s: Some(value.to_owned()),
        ..attribute(name, AttributeType::STRING)
    }
}

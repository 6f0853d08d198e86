//! Models built by hand, a dumb interpreter of graphs, and the tests in the files beside.

use std::cell::RefCell;

use bitbudget_core::op::{Activation, Op};
use bitbudget_core::shape::{Shape, Window};
use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, Dimension, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};

use super::{OnnxError, UnsupportedNode, parse, parse_in};
use crate::graph::Graph;
use crate::import::Sizes;

mod errors;
mod external;
mod folding;
mod joined;
mod layouts;
mod models;
mod operators;
mod rearranged;
mod series;
mod several;
mod shapes;

/// A model under construction: one input `x` with a dynamic batch, one output `y`.
struct Model(ModelProto);

/// The value of an attribute.
enum Attr<'a> {
    I(i64),
    F(f32),
    S(&'a str),
    Is(&'a [i64]),
    Fs(&'a [f32]),
    T(Box<TensorProto>),
}

use Attr::{F, Fs, I, Is, S, T};

fn info(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |d: &i64| Dimension {
        dim_value: (*d >= 0).then_some(*d),
        dim_param: (*d < 0).then(|| "n".to_owned()),
    };
    let shape = TensorShapeProto {
        dim: dims.iter().map(dim).collect(),
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            tensor_type: Some(TypeProtoTensor {
                elem_type: Some(DataType::FLOAT),
                shape: Some(shape),
            }),
            sequence: None,
        }),
    }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(DataType::FLOAT),
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(DataType::INT64),
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn raw(name: &str, dims: &[i64], data_type: DataType, bytes: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(data_type),
        raw_data: Some(RefCell::new(bytes)),
        ..TensorProto::default()
    }
}

/// Numbers between -1 and 1 that look random, and differ from call to call by their `seed`.
fn noise(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_769) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

impl Model {
    /// A model whose input is `[N, dims]`.
    fn new(dims: &[i64]) -> Self {
        let batch = std::iter::once(-1);
        let dims: Vec<i64> = batch.chain(dims.iter().copied()).collect();
        Self(ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto {
                domain: None,
                version: Some(17),
            }],
            graph: Some(GraphProto {
                input: vec![info("x", &dims)],
                output: vec![info("y", &[])],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        })
    }

    fn graph(&mut self) -> &mut GraphProto {
        self.0.graph.as_mut().unwrap()
    }

    fn opset(mut self, version: i64) -> Self {
        self.0.opset_import[0].version = Some(version);
        self
    }

    fn tensor(mut self, tensor: TensorProto) -> Self {
        self.graph().initializer.push(tensor);
        self
    }

    /// An initializer of random numbers.
    fn random(self, name: &str, dims: &[i64]) -> Self {
        let len: i64 = dims.iter().product();
        let seed = name
            .bytes()
            .fold(7, |h: u32, b| h.wrapping_mul(31) + u32::from(b));
        self.tensor(floats(name, dims, &noise(seed, len as usize)))
    }

    /// A node without a name.
    fn node(
        self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attr<'_>)],
    ) -> Self {
        self.named("", op, inputs, output, attributes)
    }

    fn named(
        mut self,
        name: &str,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attr<'_>)],
    ) -> Self {
        self = self.outputs(op, inputs, &[output], attributes);
        let node = self.graph().node.last_mut().unwrap();
        node.name = Some(name.to_owned());
        self
    }

    /// A node of several outputs, without a name.
    fn outputs(
        mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attr<'_>)],
    ) -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        self.graph().node.push(NodeProto {
            name: Some(String::new()),
            op_type: Some(op.to_owned()),
            input: names(inputs),
            output: names(outputs),
            attribute: attributes.iter().map(|(n, a)| a.proto(n)).collect(),
            domain: None,
        });
        self
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.write_buf().unwrap()
    }

    /// The graph, with every layer checked.
    fn import(&self) -> Graph {
        let graph = parse(&self.bytes()).unwrap_or_else(|error| panic!("{error}"));
        check(&graph);
        graph
    }

    fn error(&self) -> OnnxError {
        parse(&self.bytes()).expect_err("an error was expected")
    }

    /// The nodes listed as unsupported.
    fn unsupported(&self) -> Vec<UnsupportedNode> {
        let error = self.error();
        let OnnxError::Unsupported { nodes, .. } = error else {
            panic!("{error}");
        };
        nodes
    }

    /// The reason of the one node that is listed as unsupported.
    fn reason(&self) -> String {
        let nodes = self.unsupported();
        assert_eq!(nodes.len(), 1, "{nodes:?}");
        nodes[0].reason.clone()
    }
}

impl Attr<'_> {
    fn proto(&self, name: &str) -> AttributeProto {
        let mut proto = AttributeProto {
            name: Some(name.to_owned()),
            ..AttributeProto::default()
        };
        proto.r#type = Some(match self {
            I(value) => {
                proto.i = Some(*value);
                AttributeType::INT
            }
            F(value) => {
                proto.f = Some(*value);
                AttributeType::FLOAT
            }
            S(value) => {
                proto.s = Some((*value).to_owned());
                AttributeType::STRING
            }
            Is(values) => {
                proto.ints = values.to_vec();
                AttributeType::INTS
            }
            Fs(values) => {
                proto.floats = values.to_vec();
                AttributeType::FLOATS
            }
            T(tensor) => {
                proto.t = Some(TensorProto::clone(tensor));
                AttributeType::TENSOR
            }
        });
        proto
    }
}

/// Holds what an importer promises of a graph.
fn check(graph: &Graph) {
    let mut names = std::collections::HashSet::new();
    for (i, layer) in graph.layers.iter().enumerate() {
        assert!(layer.inputs.iter().all(|t| *t <= i));
        let inputs: Vec<Shape> = layer.inputs.iter().map(|t| graph.shape(*t)).collect();
        layer.op.check(&inputs, layer.output).unwrap();
        assert_eq!(layer.op.has_weights(), layer.weights.is_some());
        if let Some(weights) = &layer.weights {
            let count = layer.op.weight_count(inputs[0], layer.output);
            assert_eq!(weights.weight.len(), count);
            assert_eq!(weights.bias.len(), usize::from(layer.output.c));
        }
        assert!(names.insert(&layer.name), "{} twice", layer.name);
    }
}

/// `[C, H, W]` as `[H, W, C]`.
fn channels_last(values: &[f64], shape: Shape) -> Vec<f64> {
    let pixels = usize::from(shape.h) * usize::from(shape.w);
    let pixel = |i: usize| (0..usize::from(shape.c)).map(move |c| values[c * pixels + i]);
    (0..pixels).flat_map(pixel).collect()
}

/// For each tap of the window that gives output `[y, x]`: its number, and the pixel under it.
fn taps(window: &Window, y: usize, x: usize, shape: Shape) -> Vec<(usize, Option<usize>)> {
    let [rows, columns] = window.kernel.map(usize::from);
    let [top, left, _, _] = window.padding.map(usize::from);
    let pixel = |tap: usize| {
        let row = (y * usize::from(window.stride[0]) + tap / columns).checked_sub(top)?;
        let column = (x * usize::from(window.stride[1]) + tap % columns).checked_sub(left)?;
        let inside = row < usize::from(shape.h) && column < usize::from(shape.w);
        inside.then_some(row * usize::from(shape.w) + column)
    };
    (0..rows * columns).map(|tap| (tap, pixel(tap))).collect()
}

/// The output of the graph for an input `[H, W, C]`, by the definitions of the operators.
fn run(graph: &Graph, input: &[f64]) -> Vec<f64> {
    let mut tensors = vec![input.to_vec()];
    for layer in &graph.layers {
        let shape = graph.shape(layer.inputs[0]);
        let x = &tensors[layer.inputs[0]];
        let channels = usize::from(layer.output.c);
        let element = |i: usize| {
            let (pixel, o) = (i / channels, i % channels);
            let (y, column) = (
                pixel / usize::from(layer.output.w),
                pixel % usize::from(layer.output.w),
            );
            let weights = layer.weights.as_ref();
            let at = |pixel: usize, c: usize| x[pixel * usize::from(shape.c) + c];
            let under = |window: &Window| -> Vec<f64> {
                let taps = taps(window, y, column, shape).into_iter();
                taps.filter_map(|(_, pixel)| Some(at(pixel?, o))).collect()
            };
            match &layer.op {
                Op::Conv2d { window, groups } => {
                    let weights = weights.unwrap();
                    let inner = usize::from(shape.c / groups);
                    let first = o / (channels / usize::from(*groups)) * inner;
                    let mut sum = f64::from(weights.bias[o]);
                    for (tap, pixel) in taps(window, y, column, shape) {
                        for c in 0..inner {
                            let w = weights.weight[(o * window.taps() + tap) * inner + c];
                            sum += pixel.map_or(0.0, |p| at(p, first + c)) * f64::from(w);
                        }
                    }
                    sum
                }
                Op::Dense => {
                    let weights = weights.unwrap();
                    let row = weights.weight.chunks(x.len()).nth(o).unwrap();
                    let products = row.iter().zip(x).map(|(w, x)| f64::from(*w) * x);
                    products.sum::<f64>() + f64::from(weights.bias[o])
                }
                Op::Add => x[i] + tensors[layer.inputs[1]][i],
                Op::MaxPool { window } => {
                    under(window).into_iter().fold(f64::NEG_INFINITY, f64::max)
                }
                Op::AvgPool {
                    window,
                    count_padding,
                } => {
                    let inside = under(window);
                    let count = if *count_padding {
                        window.taps()
                    } else {
                        inside.len()
                    };
                    inside.iter().sum::<f64>() / count as f64
                }
                Op::Reshape => x[i],
                Op::Softmax { log } => {
                    let exp = |x: &f64| x.exp();
                    let part = exp(&x[i]) / x[i - o..][..channels].iter().map(exp).sum::<f64>();
                    match log {
                        true => part.ln(),
                        false => part,
                    }
                }
                // functions are held to their definitions where they are
                Op::Unary(function) => function.apply(x[i] as f32).into(),
                Op::Mul => {
                    let by = &tensors[layer.inputs[1]];
                    x[i] * by[i % by.len()]
                }
                Op::Rearrange(of) => {
                    let taken = of.elements(shape, layer.output).nth(i);
                    x[taken.unwrap() as usize]
                }
                Op::Concat => {
                    let left = usize::from(shape.c);
                    match o.checked_sub(left) {
                        None => at(pixel, o),
                        Some(o) => tensors[layer.inputs[1]][pixel * (channels - left) + o],
                    }
                }
            }
        };
        let [low, high] = layer.activation.range().map(f64::from);
        let output = (0..layer.output.len()).map(|i| element(i).clamp(low, high));
        tensors.push(output.collect());
    }
    tensors.pop().unwrap()
}

/// A random input `[C, H, W]` and the graph's output for it, `[H, W, C]`.
fn sample(graph: &Graph) -> (Vec<f64>, Vec<f64>) {
    let input: Vec<f64> = noise(99, graph.input.len())
        .into_iter()
        .map(f64::from)
        .collect();
    let output = run(graph, &channels_last(&input, graph.input));
    (input, output)
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

/// Names, operators and activations of the layers: `conv1 conv2d relu`.
fn outline(graph: &Graph) -> Vec<String> {
    let line = |layer: &crate::graph::GraphLayer| {
        let activation = match layer.activation {
            Activation::None => "",
            Activation::Relu => " relu",
            Activation::Relu6 => " relu6",
        };
        format!("{} {}{activation}", layer.name, layer.op.name())
    };
    graph.layers.iter().map(line).collect()
}

//! The table of operators.

use super::activation;
use super::affine;
use super::arithmetic::Arithmetic;
use super::builder::{Builder, Convert};
use super::error::{Fault, unsupported};
use super::fold;
use super::node::Node;
use super::pool::{self, Reduction};
use super::value::Value;
use super::view;
use super::weighted;

/// The operators that can be imported.
const OPERATORS: &[(&str, Convert)] = &[
    ("Add", |b, n| affine::arithmetic(b, n, Arithmetic::Add)),
    ("AveragePool", pool::average_pool),
    ("BatchNormalization", affine::batch_norm),
    ("Cast", view::cast),
    ("Clip", activation::clip),
    ("Concat", fold::concat),
    ("Constant", fold::constant),
    ("ConstantOfShape", fold::constant_of_shape),
    ("Conv", weighted::conv),
    ("Div", |b, n| affine::arithmetic(b, n, Arithmetic::Div)),
    ("Dropout", view::dropout),
    ("Flatten", view::flatten),
    ("Gather", fold::gather),
    ("Gemm", weighted::gemm),
    ("GlobalAveragePool", |b, n| {
        pool::global_pool(b, n, Reduction::Mean)
    }),
    ("GlobalMaxPool", |b, n| {
        pool::global_pool(b, n, Reduction::Max)
    }),
    ("Identity", view::identity),
    ("MatMul", weighted::matmul),
    ("MaxPool", pool::max_pool),
    ("Mul", |b, n| affine::arithmetic(b, n, Arithmetic::Mul)),
    ("Pad", pool::pad),
    ("ReduceMax", |b, n| pool::reduce(b, n, Reduction::Max)),
    ("ReduceMean", |b, n| pool::reduce(b, n, Reduction::Mean)),
    ("Relu", activation::relu),
    ("Reshape", view::reshape),
    ("Shape", view::shape),
    ("Slice", fold::slice),
    ("Softmax", activation::softmax),
    ("Squeeze", view::squeeze),
    ("Sub", |b, n| affine::arithmetic(b, n, Arithmetic::Sub)),
    ("Transpose", view::transpose),
    ("Unsqueeze", view::unsqueeze),
];

/// The value of the node's first output.
pub(super) fn convert<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    match OPERATORS.iter().find(|(name, _)| *name == node.op) {
        Some((_, convert)) => convert(b, node),
        None => unsupported(reason(&node.op)),
    }
}

/// The names of the operators that can be imported, for a help text.
pub(super) fn supported_operators() -> String {
    let names: Vec<&str> = OPERATORS.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// Why an operator that is not in the table is not supported.
fn reason(op: &str) -> &'static str {
    match op {
        "Celu" | "Elu" | "Erf" | "Gelu" | "HardSigmoid" | "HardSwish" | "LeakyRelu" | "Mish"
        | "PRelu" | "Selu" | "Sigmoid" | "Softplus" | "Softsign" | "Swish" | "Tanh" => {
            "the only activations are Relu, Relu6 (Clip to 0..6) and Softmax"
        }
        "LogSoftmax" => "leave it out of the model: the logits say the same",
        "ConvInteger"
        | "DequantizeLinear"
        | "DynamicQuantizeLinear"
        | "MatMulInteger"
        | "QLinearConv"
        | "QLinearMatMul"
        | "QuantizeLinear" => "the model is quantized already: export the FP32 model",
        "GRU" | "LSTM" | "RNN" | "If" | "Loop" | "Scan" => "only feed-forward networks can be run",
        _ => "there is no such operator in the core",
    }
}

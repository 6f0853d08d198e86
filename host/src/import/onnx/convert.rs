//! The table of operators.

use bitbudget_core::op::Function;

use super::activation;
use super::affine;
use super::arithmetic::Arithmetic;
use super::builder::{Builder, Convert};
use super::error::{Fault, unsupported};
use super::fold;
use super::joined;
use super::node::Node;
use super::pool::{self, Reduction};
use super::value::Value;
use super::view;
use super::weighted;

/// The operators that can be imported.
const OPERATORS: &[(&str, Convert)] = &[
    ("Abs", |b, n| activation::unary(b, n, Function::Abs)),
    ("Add", |b, n| affine::arithmetic(b, n, Arithmetic::Add)),
    ("AveragePool", pool::average_pool),
    ("BatchNormalization", affine::batch_norm),
    ("Cast", view::cast),
    ("Clip", activation::clip),
    ("Concat", joined::concat),
    ("Constant", fold::constant),
    ("ConstantOfShape", fold::constant_of_shape),
    ("Conv", weighted::conv),
    ("Div", |b, n| affine::arithmetic(b, n, Arithmetic::Div)),
    ("Dropout", view::dropout),
    ("Elu", activation::elu),
    ("Exp", |b, n| activation::unary(b, n, Function::Exp)),
    ("Flatten", view::flatten),
    ("Gather", fold::gather),
    ("Gelu", activation::gelu),
    ("Gemm", weighted::gemm),
    ("GlobalAveragePool", |b, n| {
        pool::global_pool(b, n, Reduction::Mean)
    }),
    ("GlobalMaxPool", |b, n| {
        pool::global_pool(b, n, Reduction::Max)
    }),
    ("HardSigmoid", activation::hard_sigmoid),
    ("HardSwish", |b, n| {
        activation::unary(b, n, Function::HardSwish)
    }),
    ("Identity", view::identity),
    ("LeakyRelu", activation::leaky_relu),
    ("Log", |b, n| activation::unary(b, n, Function::Log)),
    ("MatMul", weighted::matmul),
    ("Max", activation::max),
    ("MaxPool", pool::max_pool),
    ("Mish", |b, n| activation::unary(b, n, Function::Mish)),
    ("Min", activation::min),
    ("Mul", |b, n| affine::arithmetic(b, n, Arithmetic::Mul)),
    ("Pad", pool::pad),
    ("ReduceMax", |b, n| pool::reduce(b, n, Reduction::Max)),
    ("ReduceMean", |b, n| pool::reduce(b, n, Reduction::Mean)),
    ("Relu", activation::relu),
    ("Reshape", view::reshape),
    ("Shape", view::shape),
    ("Sigmoid", |b, n| activation::unary(b, n, Function::Sigmoid)),
    ("Slice", fold::slice),
    ("Softmax", activation::softmax),
    ("Softplus", |b, n| {
        activation::unary(b, n, Function::Softplus)
    }),
    ("Sqrt", |b, n| activation::unary(b, n, Function::Sqrt)),
    ("Squeeze", view::squeeze),
    ("Sub", |b, n| affine::arithmetic(b, n, Arithmetic::Sub)),
    ("Swish", activation::swish),
    ("Tanh", |b, n| activation::unary(b, n, Function::Tanh)),
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
        "Celu" | "Erf" | "PRelu" | "Selu" | "Softsign" | "ThresholdedRelu" => {
            "there is no such activation in the core"
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

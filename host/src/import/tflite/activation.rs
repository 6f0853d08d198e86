//! Operators of every element by itself, and what is fused with others.

use rten_onnx::onnx::AttributeProto;

use super::emit::{Emit, Refusal, float, refuse, text};
use super::model::Operator;
use super::options::{choice, real};

/// The same real numbers.
pub(super) fn identity(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    e.alias(op.output()?, op.input(0)?);
    Ok(())
}

/// A cast to floating point, which changes no real number.
pub(super) fn cast(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    match e.kind(op.output()?).as_str() {
        "FLOAT32" => identity(e, op),
        other => refuse(format!("it casts to {other}")),
    }
}

pub(super) fn unary(
    e: &mut Emit<'_>,
    op: &Operator<'_>,
    name: &str,
    attributes: Vec<AttributeProto>,
) -> Result<(), Refusal> {
    let x = e.name(op.input(0)?)?;
    e.result(op, name, vec![x], attributes)
}

pub(super) fn binary(e: &mut Emit<'_>, op: &Operator<'_>, name: &str) -> Result<(), Refusal> {
    let inputs = vec![e.name(op.input(0)?)?, e.name(op.input(1)?)?];
    let sum = e.node(name, inputs, vec![]);
    activate(e, op, sum, choice(op, 0)?)
}

/// An operator of two tensors with which no activation is fused.
pub(super) fn of_two(e: &mut Emit<'_>, op: &Operator<'_>, name: &str) -> Result<(), Refusal> {
    let inputs = vec![e.name(op.input(0)?)?, e.name(op.input(1)?)?];
    e.result(op, name, inputs, vec![])
}

pub(super) fn clip(e: &mut Emit<'_>, op: &Operator<'_>, bounds: [f32; 2]) -> Result<(), Refusal> {
    let x = e.name(op.input(0)?)?;
    clip_of(e, op, x, bounds)
}

fn clip_of(
    e: &mut Emit<'_>,
    op: &Operator<'_>,
    x: String,
    bounds: [f32; 2],
) -> Result<(), Refusal> {
    let [low, high] = bounds.map(|bound| e.floats(vec![], vec![bound]));
    e.result(op, "Clip", vec![x, low, high], vec![])
}

/// Gives `x` as the operator's output, after the activation that is fused with it.
pub(super) fn activate(
    e: &mut Emit<'_>,
    op: &Operator<'_>,
    x: String,
    activation: i8,
) -> Result<(), Refusal> {
    match activation {
        0 => e.give(op, x),
        1 => e.result(op, "Relu", vec![x], vec![]),
        2 => clip_of(e, op, x, [-1.0, 1.0]),
        3 => clip_of(e, op, x, [0.0, 6.0]),
        4 => e.result(op, "Tanh", vec![x], vec![]),
        _ => refuse(format!("the activation {activation} is fused with it")),
    }
}

pub(super) fn leaky_relu(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let alpha = real(op, 0)?;
    unary(e, op, "LeakyRelu", vec![float("alpha", alpha)])
}

pub(super) fn gelu(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let approximate = match choice(op, 0)? {
        0 => "none",
        _ => "tanh",
    };
    unary(e, op, "Gelu", vec![text("approximate", approximate)])
}

pub(super) fn softmax(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    match real(op, 0)? {
        1.0 => unary(e, op, "Softmax", vec![]),
        beta => refuse(format!("its beta is {beta}, only 1 is supported")),
    }
}

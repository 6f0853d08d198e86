//! A dumb inference, written from the contracts: integers of 64 bits and more, FP32 as intervals
//! around an `f64` result. It shares no arithmetic with the engine.

pub mod arithmetic;
mod operators;
pub mod taps;

use bitbudget_core::form::Form;
use bitbudget_core::level::Level;
use bitbudget_core::op::Op;
use bitbudget_core::quant::Rounding;

use crate::model::Model;
use arithmetic::Bounded;

/// The values that a tensor must hold in one of its forms.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Exactly these.
    Int8(Vec<i8>),
    /// Each within its bound.
    Real(Vec<Bounded>),
    /// An FP32 result within its bound rounds one way or the other: nothing is certain from there on.
    Unknown,
}

/// All tensors of an inference, each in all its forms, widest first.
pub type Tensors = Vec<Vec<(Form, Values)>>;

/// The tensors of an inference at these levels, on raw values.
///
/// # Panics
/// When a layer with weights has no level.
#[must_use]
pub fn infer(model: &Model, levels: &[Option<Level>], raw: &[f32]) -> Tensors {
    let network = &model.network;
    let input: Vec<Bounded> = raw
        .iter()
        .enumerate()
        .map(|(i, raw)| {
            let channel = i % usize::from(network.input.c);
            let of = |stats: &[f32], default| match stats.len() {
                0 => default,
                1 => stats[0],
                _ => stats[channel],
            };
            let p = &network.preprocess;
            Bounded::exact((raw * p.scale - of(&p.mean, 0.0)) / of(&p.std, 1.0))
        })
        .collect();
    let mut tensors = vec![Vec::new()];
    for form in forms(model, levels, 0) {
        let values = operators::store(Some(input.clone()), network.input_q, form);
        tensors[0].push((form, values));
    }
    for layer in 0..network.layers.len() {
        let run = |form| (form, operators::run(model, levels, layer, &tensors, form));
        let computed = forms(model, levels, layer + 1)
            .into_iter()
            .map(run)
            .collect();
        tensors.push(computed);
    }
    tensors
}

/// The forms in which a tensor is stored, widest first: what its readers with weights (and a
/// softmax) need; else the widest of what its readers without weights give.
///
/// # Panics
/// When a layer with weights has no level.
#[must_use]
pub fn forms(model: &Model, levels: &[Option<Level>], tensor: usize) -> Vec<Form> {
    let network = &model.network;
    let (mut needed, mut followed) = (Vec::new(), Vec::new());
    if tensor == network.layers.len() {
        needed.push(Form::F32);
    }
    for (i, layer) in network.layers.iter().enumerate() {
        if layer.inputs.iter().any(|t| usize::from(*t) == tensor) {
            match layer.op {
                Op::Conv2d { .. } | Op::Dense => needed.push(read_form(levels[i])),
                Op::Softmax { .. } => needed.push(Form::F32),
                Op::Add
                | Op::MaxPool { .. }
                | Op::AvgPool { .. }
                | Op::Reshape
                | Op::Unary(_)
                | Op::Mul
                | Op::Concat
                | Op::Rearrange(_) => {
                    followed.extend(forms(model, levels, i + 1));
                }
            }
        }
    }
    if needed.is_empty() {
        needed.extend(followed.into_iter().min_by_key(order));
    }
    needed.sort_by_key(order);
    needed.dedup();
    needed
}

/// The form in which a layer with weights reads its input.
fn read_form(level: Option<Level>) -> Form {
    match level.expect("a level for a layer with weights") {
        Level::Fp32 | Level::Fp16 => Form::F32,
        Level::Int(_, rounding) => Form::I8(rounding),
    }
}

/// Widest first.
fn order(form: &Form) -> u8 {
    match form {
        Form::F32 => 0,
        Form::I8(Rounding::Nearest) => 1,
        Form::I8(Rounding::Floor) => 2,
        Form::I8(Rounding::Ceil) => 3,
    }
}

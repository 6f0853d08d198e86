//! The operators of the reference.

use bitbudget_core::form::Form;
use bitbudget_core::level::Level;
use bitbudget_core::network::Layer;
use bitbudget_core::op::{FP32_TOLERANCE, Function, Op};
use bitbudget_core::quant::QParams;

use super::arithmetic::{
    Bounded, activate, dequantize, half, quantize_bias, quantize_bounded, quantize_weight,
    requantize, sum,
};
use super::{Tensors, Values, arithmetic, read_form, taps};
use crate::model::{Model, index_of};

/// The error of an integer accumulator times its step, both once rounded to FP32, twice multiplied.
const STEP_TOLERANCE: f64 = 4.0 * f32::EPSILON as f64;

/// Reals, where they are known, as a tensor with parameters `q` in `form`.
pub(super) fn store(reals: Option<Vec<Bounded>>, q: QParams, form: Form) -> Values {
    let Some(reals) = reals else {
        return Values::Unknown;
    };
    match form {
        Form::F32 => Values::Real(reals),
        Form::I8(rounding) => {
            let each = reals.iter().map(|x| quantize_bounded(*x, q, rounding));
            each.collect::<Option<_>>()
                .map_or(Values::Unknown, Values::Int8)
        }
    }
}

/// The output of a layer in one form.
pub(super) fn run(
    model: &Model,
    levels: &[Option<Level>],
    layer: usize,
    tensors: &Tensors,
    form: Form,
) -> Values {
    let op = model.network.layers[layer].op;
    let inputs = model.network.layers[layer].inputs.iter();
    let inputs: Vec<Source<'_>> = inputs
        .map(|tensor| {
            let stored = &tensors[usize::from(*tensor)];
            let need = match op {
                Op::Conv2d { .. } | Op::Dense => read_form(levels[layer]),
                Op::Softmax { .. } => Form::F32,
                Op::Add
                | Op::MaxPool { .. }
                | Op::AvgPool { .. }
                | Op::Reshape
                | Op::Unary(_)
                | Op::Mul
                | Op::Concat
                | Op::Rearrange(_) => stored[0].0,
            };
            let found = stored.iter().find(|(form, _)| *form == need);
            Source {
                values: &found.expect("stored as its reader needs it").1,
                q: model.network.qparams(usize::from(*tensor)),
            }
        })
        .collect();
    if inputs
        .iter()
        .any(|source| *source.values == Values::Unknown)
    {
        return Values::Unknown;
    }
    if op.has_weights() {
        let level = levels[layer].expect("a level for a layer with weights");
        weighted(model, layer, level, &inputs[0], form)
    } else {
        unweighted(model, layer, &inputs, form)
    }
}

/// A tensor as a layer reads it.
struct Source<'a> {
    values: &'a Values,
    q: QParams,
}

impl Source<'_> {
    fn reals(&self) -> Vec<Bounded> {
        match self.values {
            Values::Int8(x) => {
                let real = |x: &i8| Bounded::exact(dequantize(*x, self.q));
                x.iter().map(real).collect()
            }
            Values::Real(x) => x.clone(),
            Values::Unknown => Vec::new(),
        }
    }

    /// Steps from the zero point, of an INT8 tensor.
    fn steps(&self) -> Option<Vec<i64>> {
        match self.values {
            Values::Int8(x) => {
                let steps = |x: &i8| i64::from(*x) - i64::from(self.q.zero_point);
                Some(x.iter().map(steps).collect())
            }
            Values::Real(_) | Values::Unknown => None,
        }
    }
}

fn weighted(model: &Model, index: usize, level: Level, input: &Source<'_>, form: Form) -> Values {
    let layer = &model.network.layers[index];
    let shape = model.network.input_shape(index);
    let weights = &model.weights[index];
    let Some(steps) = input.steps() else {
        let x = input.reals();
        let mut output = Vec::new();
        taps::weighted(&layer.op, shape, layer.output, |channel, taps| {
            let inside = taps.iter().filter_map(|(at, w)| at.map(|at| (x[at], *w)));
            let products = inside.map(|(x, w)| {
                let w = match level {
                    Level::Fp16 => half(weights.weight[w]),
                    Level::Fp32 | Level::Int(..) => weights.weight[w].into(),
                };
                Bounded {
                    value: x.value * w,
                    slack: x.slack * w.abs(),
                }
            });
            let mut terms: Vec<Bounded> = products.collect();
            terms.push(Bounded::exact(weights.bias[channel]));
            output.push(sum(&terms).map(|x| activate(x, layer.activation)));
        });
        return store(Some(output), layer.output_q, form);
    };
    let width = level.width().expect("integer weights for an INT8 input");
    let (mut reals, mut ints) = (Vec::new(), Vec::new());
    taps::weighted(&layer.op, shape, layer.output, |channel, taps| {
        let scale = weights.scale[index_of(width)][channel];
        let step = input.q.scale * scale;
        // padding is the zero point, which is no step away from itself
        let steps = taps.iter().map(|(at, _)| at.map_or(0, |at| steps[at]));
        let weight = taps
            .iter()
            .map(|(_, w)| quantize_weight(weights.weight[*w], scale, width));
        let products: i64 = steps.zip(weight).map(|(x, w)| x * w).sum();
        let acc = quantize_bias(weights.corrected[index_of(width)][channel], step) + products;
        match form {
            Form::F32 => reals.push(scaled(acc, step, layer)),
            Form::I8(rounding) => {
                let terms = [(acc, step / layer.output_q.scale)];
                ints.push(requantize(
                    &terms,
                    layer.output_q,
                    rounding,
                    layer.activation,
                ));
            }
        }
    });
    match form {
        Form::F32 => Values::Real(reals),
        Form::I8(_) => Values::Int8(ints),
    }
}

/// The real number of an accumulator; exact where only powers of two are multiplied.
fn scaled(acc: i64, step: f32, layer: &Layer) -> Bounded {
    let power = |x: f32| x.log2().fract() == 0.0;
    let exact = acc.abs() <= 1 << 24 && power(step) && power(layer.output_q.scale);
    let value = acc as f64 * f64::from(step);
    let slack = if exact {
        0.0
    } else {
        value.abs() * STEP_TOLERANCE
    };
    Bounded { value, slack }.map(|x| activate(x, layer.activation))
}

fn unweighted(model: &Model, index: usize, inputs: &[Source<'_>], form: Form) -> Values {
    let layer = &model.network.layers[index];
    let q = layer.output_q;
    let steps: Option<Vec<Vec<i64>>> = inputs.iter().map(Source::steps).collect();
    let factor = |count: usize| inputs[0].q.scale / (q.scale * count as f32);
    let (Form::I8(rounding), Some(steps)) = (form, steps) else {
        let reals = real(model, index, inputs);
        let active = reals
            .into_iter()
            .map(|x| x.map(|x| activate(x, layer.activation)));
        return store(Some(active.collect()), q, form);
    };
    let requantize = |terms: &[(i64, f32)]| requantize(terms, q, rounding, layer.activation);
    let pooled = |window| taps::pooled(window, model.network.input_shape(index), layer.output);
    let x = &steps[0];
    Values::Int8(match layer.op {
        Op::Add => {
            let factors = [inputs[0].q.scale / q.scale, inputs[1].q.scale / q.scale];
            let pairs = x.iter().zip(&steps[1]);
            let sums = pairs.map(|(a, b)| requantize(&[(*a, factors[0]), (*b, factors[1])]));
            sums.collect()
        }
        Op::Reshape => x.iter().map(|x| requantize(&[(*x, factor(1))])).collect(),
        Op::MaxPool { window } => {
            let largest = |under: &Vec<usize>| under.iter().map(|i| x[*i]).max();
            let largest = |under| largest(under).expect("never padding alone");
            pooled(window)
                .iter()
                .map(|under| requantize(&[(largest(under), factor(1))]))
                .collect()
        }
        Op::AvgPool {
            window,
            count_padding,
        } => {
            let mean = |under: &Vec<usize>| {
                let count = if count_padding {
                    window.taps()
                } else {
                    under.len()
                };
                requantize(&[(under.iter().map(|i| x[*i]).sum(), factor(count))])
            };
            pooled(window).iter().map(mean).collect()
        }
        Op::Unary(function) => {
            let real = |x: &Bounded| {
                let real = activate(function.apply(x.value as f32).into(), layer.activation);
                arithmetic::quantize(real as f32, q, rounding)
            };
            inputs[0].reals().iter().map(real).collect()
        }
        Op::Mul => {
            let factor = inputs[0].q.scale * inputs[1].q.scale / q.scale;
            let pairs = x.iter().zip(steps[1].iter().cycle());
            pairs.map(|(a, b)| requantize(&[(a * b, factor)])).collect()
        }
        Op::Concat => {
            let each = |input: usize| {
                let factor = inputs[input].q.scale / q.scale;
                let results = steps[input].iter();
                results
                    .map(|x| requantize(&[(*x, factor)]))
                    .collect::<Vec<_>>()
            };
            concat(&each(0), &each(1), joined(model, index))
        }
        Op::Rearrange(of) => {
            let factor = inputs[0].q.scale / q.scale;
            let taken = taps::rearranged(&of, model.network.input_shape(index), layer.output);
            let results = taken.iter().map(|i| requantize(&[(x[*i], factor)]));
            results.collect()
        }
        Op::Conv2d { .. } | Op::Dense | Op::Softmax { .. } => {
            panic!("never reads INT8 as it stands")
        }
    })
}

/// The output of an operator without weights over real numbers, before the activation.
fn real(model: &Model, index: usize, inputs: &[Source<'_>]) -> Vec<Bounded> {
    let layer = &model.network.layers[index];
    let x = inputs[0].reals();
    let indices =
        |window| taps::pooled(window, model.network.input_shape(index), layer.output).into_iter();
    let under =
        |window| indices(window).map(|under| under.iter().map(|i| x[*i]).collect::<Vec<_>>());
    match layer.op {
        Op::Add => {
            let pairs = x.iter().zip(inputs[1].reals());
            pairs.map(|(a, b)| add(*a, b)).collect()
        }
        Op::Reshape => x,
        Op::MaxPool { window } => under(window)
            .map(|x| Bounded {
                value: x.iter().map(|x| x.value).fold(f64::NEG_INFINITY, f64::max),
                slack: x.iter().map(|x| x.slack).fold(0.0, f64::max),
            })
            .collect(),
        Op::AvgPool {
            window,
            count_padding,
        } => {
            let count = |under: usize| if count_padding { window.taps() } else { under };
            match inputs[0].steps() {
                // steps are summed exactly, then scaled in FP32
                Some(steps) => indices(window)
                    .map(|under| {
                        let sum = under.iter().map(|i| steps[*i]).sum::<i64>();
                        let scale = inputs[0].q.scale / count(under.len()) as f32;
                        Bounded::exact(sum as f32 * scale)
                    })
                    .collect(),
                None => under(window)
                    .map(|x| divide(sum(&x), count(x.len())))
                    .collect(),
            }
        }
        Op::Softmax { log } => {
            let pixels = x.chunks(usize::from(layer.output.c));
            pixels.flat_map(|pixel| softmax(pixel, log)).collect()
        }
        Op::Unary(function) => x.iter().map(|x| apply(function, *x)).collect(),
        Op::Mul => {
            let by = inputs[1].reals();
            let pairs = x.iter().zip(by.iter().cycle());
            pairs.map(|(a, b)| multiply(*a, *b)).collect()
        }
        Op::Concat => concat(&x, &inputs[1].reals(), joined(model, index)),
        Op::Rearrange(of) => {
            let taken = taps::rearranged(&of, model.network.input_shape(index), layer.output);
            taken.iter().map(|i| x[*i]).collect()
        }
        Op::Conv2d { .. } | Op::Dense => panic!("has weights"),
    }
}

/// The channels of both inputs of a layer.
fn joined(model: &Model, layer: usize) -> [usize; 2] {
    let inputs = &model.network.layers[layer].inputs;
    [inputs[0], inputs[1]].map(|tensor| model.network.shape(tensor.into()).c.into())
}

/// The channels of two tensors, so many of each in a pixel.
fn concat<T: Clone>(a: &[T], b: &[T], channels: [usize; 2]) -> Vec<T> {
    let pixels = a.chunks(channels[0]).zip(b.chunks(channels[1]));
    pixels.flat_map(|(a, b)| [a, b].concat()).collect()
}

/// A function of a number: exact for an exact one, else by its largest slope between the ends.
fn apply(function: Function, x: Bounded) -> Bounded {
    let of = |x: f64| f64::from(function.apply(x as f32));
    let value = of(x.value);
    let ends = [x.value - x.slack, x.value + x.slack].map(of);
    let moved = ends
        .iter()
        .map(|end| (end - value).abs())
        .fold(0.0, f64::max);
    let slack = match x.slack {
        0.0 => 0.0,
        // twice, where it is no straight line; and what a number is rounded to
        _ => 2.0 * moved + 2.0 * x.slack + 1e-6 * (1.0 + value.abs()),
    };
    Bounded { value, slack }
}

/// One FP32 multiplication, which rounds correctly.
fn multiply(a: Bounded, b: Bounded) -> Bounded {
    if a.slack + b.slack == 0.0 {
        return Bounded::exact(a.value as f32 * b.value as f32);
    }
    let value = a.value * b.value;
    let slack = a.slack * b.value.abs() + b.slack * a.value.abs() + a.slack * b.slack;
    Bounded {
        value,
        slack: slack + value.abs() * f64::from(f32::EPSILON),
    }
}

/// One FP32 addition, which rounds correctly.
fn add(a: Bounded, b: Bounded) -> Bounded {
    if a.slack + b.slack == 0.0 {
        Bounded::exact(a.value as f32 + b.value as f32)
    } else {
        let sum = sum(&[a, b]);
        let rounding = sum.value.abs() * f64::from(f32::EPSILON);
        let slack = a.slack + b.slack + rounding;
        Bounded { slack, ..sum }
    }
}

/// One FP32 division, which rounds correctly.
fn divide(x: Bounded, count: usize) -> Bounded {
    let count = count as f64;
    if x.slack == 0.0 {
        Bounded::exact(x.value as f32 / count as f32)
    } else {
        Bounded {
            value: x.value / count,
            slack: x.slack / count + x.value.abs() / count * f64::from(f32::EPSILON),
        }
    }
}

fn softmax(x: &[Bounded], log: bool) -> Vec<Bounded> {
    let largest = x.iter().map(|x| x.value).fold(f64::NEG_INFINITY, f64::max);
    let exp: Vec<f64> = x.iter().map(|x| (x.value - largest).exp()).collect();
    let total: f64 = exp.iter().sum();
    // the derivative of a probability by any logit is at most itself
    let moved: f64 = x.iter().map(|x| x.slack).sum();
    // the logarithm of a sum of exponentials moves by no more than the one that moves most
    let moved_most = x.iter().map(|x| x.slack).fold(0.0, f64::max);
    let tolerance = f64::from(FP32_TOLERANCE);
    let each = exp.into_iter().zip(x).map(|(e, x)| {
        let of_log = (x.value - largest) - total.ln();
        match log {
            true => Bounded {
                value: of_log,
                slack: x.slack + moved_most + tolerance * (of_log.abs() + 1.0),
            },
            false => Bounded {
                value: e / total,
                slack: 2.0 * moved * e / total + tolerance * (e / total) + 1e-7,
            },
        }
    });
    each.collect()
}

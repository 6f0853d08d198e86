//! HAWQ-v2: the mean Hessian trace of a layer's weights times their squared noise (Dong et al. 2020,
//! "HAWQ-V2", equations 5 and 6).
//!
//! The traces are Hutchinson's (1990): E[vᵀ H v] over Rademacher vectors v, one joint vector for all
//! layers. H v is the central difference of gradients at w ± ε v. The activations' pattern is held at
//! that of w, so that the difference is that of smooth functions and the Hessian the one of
//! differentiating twice; single precision is then enough.

use bitbudget_core::level::Level;
use candle_core::{Device, Result, Tensor, Var};

use super::{Estimate, Subject};
use crate::graph::{FloatModel, Parameters};
use crate::random::Random;

/// The most probing vectors.
pub const MAX_PROBES: usize = 100;
/// The relative change of the running mean of the whole trace at which probing ends.
pub const TOLERANCE: f64 = 1e-3;
/// ε, in units of the weights.
const STEP: f64 = 1e-3;

pub(super) fn estimate(subject: &Subject<'_>, layer: usize, level: Level) -> Estimate {
    let noise = subject.noise(layer, level.weight_format()).squared;
    let trace = subject.mean_traces[layer];
    Estimate {
        price: trace.price * noise,
        standard_error: trace.standard_error * noise,
    }
}

/// The probing vector of this index, for every layer with weights `[O, K]`: its elements are ±1.
///
/// # Errors
/// candle's.
pub fn probe(model: &FloatModel, index: usize) -> Result<Vec<Option<Tensor>>> {
    let mut random = Random::new(0x6a09_e667_f3bc_c908 ^ (index as u64) << 32);
    let mut bits = (0_u64, 0_u32);
    let mut sign = || {
        if bits.1 == 0 {
            bits = (random.bits(), 64);
        }
        let one = bits.0 & 1;
        bits = (bits.0 >> 1, bits.1 - 1);
        if one == 1 { 1.0_f32 } else { -1.0 }
    };
    let layers = 0..model.graph.layers.len();
    let vectors = layers.map(|layer| {
        let Some(own) = model.parameters(layer) else {
            return Ok(None);
        };
        let signs: Vec<f32> = (0..own.weight.elem_count()).map(|_| sign()).collect();
        Tensor::from_vec(signs, own.weight.shape(), &Device::Cpu).map(Some)
    });
    vectors.collect()
}

/// vᵀ H v of every layer (its own part of v only on the left), summed over a batch's samples.
///
/// `base` holds the batch's FP32 tensors; `gradient` gives every sample's gradient of the loss with
/// respect to the outputs.
///
/// # Errors
/// candle's.
pub fn curvatures(
    model: &FloatModel,
    base: &[Tensor],
    vector: &[Option<Tensor>],
    gradient: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Vec<f64>> {
    let ahead = gradients(model, base, vector, STEP, &gradient)?;
    let behind = gradients(model, base, vector, -STEP, &gradient)?;
    let layers = vector.iter().zip(ahead.iter().zip(&behind));
    let curvatures = layers.map(|(v, pair)| match (v, pair) {
        (Some(v), (Some(ahead), Some(behind))) => {
            let product = ((ahead - behind)? * v)?.sum_all()?;
            Ok(f64::from(product.to_scalar::<f32>()?) / (2.0 * STEP))
        }
        _ => Ok(0.0),
    });
    curvatures.collect()
}

/// The gradient of the summed loss with respect to every layer's weights, at w + step · v.
fn gradients(
    model: &FloatModel,
    base: &[Tensor],
    vector: &[Option<Tensor>],
    step: f64,
    gradient: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Vec<Option<Tensor>>> {
    let mut tensors = vec![base[0].clone()];
    let mut vars: Vec<Option<Var>> = Vec::new();
    for (i, layer) in model.graph.layers.iter().enumerate() {
        let inputs: Vec<Tensor> = layer.inputs.iter().map(|t| tensors[*t].clone()).collect();
        let moved = match (model.parameters(i), &vector[i]) {
            (Some(own), Some(v)) => {
                let weight = Var::from_tensor(&(&own.weight + (v * step)?)?)?;
                let bias = own.bias.clone();
                Some((weight, bias))
            }
            _ => None,
        };
        let parameters = moved.as_ref().map(|(weight, bias)| Parameters {
            weight: weight.as_tensor().clone(),
            bias: bias.clone(),
        });
        tensors.push(if layer.op.is_linear() {
            model.run_held(i, &inputs, parameters.as_ref(), &base[i + 1])?
        } else {
            model.run(i, &inputs, None)?
        });
        vars.push(moved.map(|(weight, _)| weight));
    }
    let output = &tensors[tensors.len() - 1];
    let store = (output * gradient(&output.detach())?)?
        .sum_all()?
        .backward()?;
    let found = vars.iter().map(|var| match var {
        Some(var) => store
            .get(var)
            .map_or_else(|| var.zeros_like(), |g| Ok(g.clone()))
            .map(Some),
        None => Ok(None),
    });
    found.collect()
}

/// The mean trace of every layer, from `curvatures[probe][layer]`, already means over the samples.
#[must_use]
pub fn mean_traces(model: &FloatModel, curvatures: &[Vec<f64>]) -> Vec<Estimate> {
    let layers = 0..model.graph.layers.len();
    let estimates = layers.map(|layer| {
        let weights = model.parameters(layer).map_or(1, |p| p.weight.elem_count());
        let of_probe = |probe: &Vec<f64>| probe[layer] / weights as f64;
        Estimate::of(&curvatures.iter().map(of_probe).collect::<Vec<_>>())
    });
    estimates.collect()
}

/// Whether the running mean of the whole trace has settled after these probes.
#[must_use]
pub fn has_settled(curvatures: &[Vec<f64>]) -> bool {
    let totals: Vec<f64> = curvatures.iter().map(|probe| probe.iter().sum()).collect();
    let Some((_, before)) = totals.split_last().filter(|(_, before)| !before.is_empty()) else {
        return false;
    };
    let mean = |totals: &[f64]| totals.iter().sum::<f64>() / totals.len() as f64;
    let (now, was) = (mean(&totals), mean(before));
    (now - was).abs() < TOLERANCE * was.abs()
}

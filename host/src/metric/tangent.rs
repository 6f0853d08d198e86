//! The first-order change of the loss: gradient times noise, element by element, for the input and
//! the weights of every layer from one backward pass.

use bitbudget_core::form::Form;
use bitbudget_core::level::Level;
use candle_core::{Result, Tensor, Var};

use super::{Probe, Replay};
use crate::capacity::HostNetwork;
use crate::graph::ops::FakeQuantize;
use crate::graph::{FloatModel, Parameters};

/// The gradients of every sample's loss, at one layer with weights.
struct Gradients {
    /// With respect to the layer's input, of the input's shape.
    input: Tensor,
    /// With respect to its sums before the activation, `[rows, O]`.
    sums: Tensor,
}

/// A model's backward pass on a batch.
pub(crate) struct Backward<'a> {
    pub(crate) model: &'a FloatModel,
    pub(crate) network: &'a HostNetwork,
    pub(crate) replay: &'a Replay<'a>,
}

impl Backward<'_> {
    /// For each probe, the first-order change of every sample's loss; `base` holds the batch's FP32
    /// tensors and `seed` every sample's gradient of the loss with respect to the outputs.
    pub(crate) fn changes(
        &self,
        base: &[Tensor],
        seed: &[f32],
        probes: &[Probe],
    ) -> Result<Vec<Vec<f64>>> {
        let gradients = self.gradients(base, seed)?;
        let changes = probes.iter().map(|probe| match *probe {
            Probe::Tangent { layer, level } => match &gradients[layer] {
                Some(gradients) => self.change(base, gradients, layer, level),
                None => candle_core::bail!("layer {layer} has no weights"),
            },
            Probe::Levels(_) | Probe::InputShift { .. } | Probe::WeightShift { .. } => {
                candle_core::bail!("a backward pass knows tangents only")
            }
        });
        changes.collect()
    }

    fn gradients(&self, base: &[Tensor], seed: &[f32]) -> Result<Vec<Option<Gradients>>> {
        let layers = &self.model.graph.layers;
        let mut tensors = vec![base[0].clone()];
        let mut handles: Vec<Option<(Var, Var)>> = Vec::new();
        for (i, layer) in layers.iter().enumerate() {
            let mut inputs: Vec<Tensor> =
                layer.inputs.iter().map(|t| tensors[*t].clone()).collect();
            let Some(own) = self.model.parameters(i) else {
                tensors.push(self.model.run(i, &inputs, None)?);
                handles.push(None);
                continue;
            };
            // what is added to the input, and the bias of each sum by itself
            let moved = Var::from_tensor(&inputs[0].zeros_like()?)?;
            let channels = own.bias.elem_count();
            let rows = base[i + 1].elem_count() / channels;
            let bias = own.bias.broadcast_as((rows, channels))?.contiguous()?;
            let bias = Var::from_tensor(&bias)?;
            inputs[0] = (&inputs[0] + moved.as_tensor())?;
            let parameters = Parameters {
                weight: own.weight.clone(),
                bias: bias.as_tensor().clone(),
            };
            tensors.push(self.model.run(i, &inputs, Some(&parameters))?);
            handles.push(Some((moved, bias)));
        }
        let output = &tensors[layers.len()];
        let seed = Tensor::from_slice(seed, output.shape(), output.device())?;
        let store = (output * seed)?.sum_all()?.backward()?;
        let found = |var: &Var| match store.get(var) {
            Some(gradient) => gradient.contiguous(),
            None => var.zeros_like(),
        };
        let gradients = handles.iter().map(|handle| {
            let Some((moved, bias)) = handle else {
                return Ok(None);
            };
            Ok(Some(Gradients {
                input: found(moved)?,
                sums: found(bias)?,
            }))
        });
        gradients.collect()
    }

    fn change(
        &self,
        base: &[Tensor],
        gradients: &Gradients,
        layer: usize,
        level: Level,
    ) -> Result<Vec<f64>> {
        let tensor = self.model.graph.layers[layer].inputs[0];
        let x = &base[tensor];
        let count = x.dim(0)?;
        let per_sample = |products: Tensor| -> Result<Vec<f64>> {
            let sums: Vec<f32> = products.reshape((count, ()))?.sum(1)?.to_vec1()?;
            Ok(sums.into_iter().map(f64::from).collect())
        };
        let mut change = vec![0.0; count];
        if let Form::I8(rounding) = level.input_form() {
            let q = self.network.qparams(tensor);
            let noise = (x.apply_op1_no_bwd(&FakeQuantize { q, rounding })? - x)?;
            for (sum, term) in change
                .iter_mut()
                .zip(per_sample((noise * &gradients.input)?)?)
            {
                *sum += term;
            }
        }
        let stored = self.replay.parameters(layer, level.weight_format());
        if let (Some(stored), Some(own)) = (stored, self.model.parameters(layer)) {
            let noise = Parameters {
                weight: (&stored.weight - &own.weight)?,
                bias: (&stored.bias - &own.bias)?,
            };
            let moved = self.model.sums(layer, x, &noise)?;
            let products = (moved.reshape(gradients.sums.shape())? * &gradients.sums)?;
            for (sum, term) in change.iter_mut().zip(per_sample(products)?) {
                *sum += term;
            }
        }
        Ok(change)
    }
}

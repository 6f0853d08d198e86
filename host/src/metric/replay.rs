//! Perturbed forward passes that compute only what a perturbation changes.

use bitbudget_core::level::{Form, Level};
use bitbudget_core::quant::quantize_weight;
use candle_core::{Device, Result, Tensor};

use super::Probe;
use crate::graph::FloatModel;
use crate::graph::ops::FakeQuantize;
use crate::profile::HostNetwork;

/// Simulates quantized layouts and shifts of a float model, starting from the FP32 tensors of a
/// batch: layers whose inputs are unchanged are not computed again.
#[derive(Debug)]
pub struct Replay<'a> {
    model: &'a FloatModel,
    network: &'a HostNetwork,
    scales: Vec<Option<Tensor>>,
    int8_weights: Vec<Option<Tensor>>,
}

impl<'a> Replay<'a> {
    /// A replay of `model` with the quantizers of `network`; `scales` are those of every layer's
    /// INT8 weights, one per output channel.
    ///
    /// # Errors
    /// candle's.
    pub fn new(
        model: &'a FloatModel,
        network: &'a HostNetwork,
        scales: &[Vec<f32>],
    ) -> Result<Self> {
        let mut replay = Self {
            model,
            network,
            scales: Vec::new(),
            int8_weights: Vec::new(),
        };
        for (layer, scales) in model.graph.layers.iter().zip(scales) {
            let (mut of_rows, mut int8) = (None, None);
            if let Some(weights) = &layer.weights {
                let channels = scales.len();
                let rows = weights.weight.chunks_exact(weights.weight.len() / channels);
                let fake = rows.zip(scales).flat_map(|(row, scale)| {
                    row.iter()
                        .map(move |w| f32::from(quantize_weight(*w, *scale)) * scale)
                });
                int8 = Some(Tensor::from_iter(fake, &Device::Cpu)?.reshape((channels, ()))?);
                of_rows = Some(Tensor::from_slice(scales, (channels, 1), &Device::Cpu)?);
            }
            replay.scales.push(of_rows);
            replay.int8_weights.push(int8);
        }
        Ok(replay)
    }

    /// The output under one probe; `base` holds the batch's FP32 tensors.
    ///
    /// # Errors
    /// candle's.
    pub fn probe(&self, base: &[Tensor], probe: &Probe) -> Result<Tensor> {
        let mut levels = vec![Level::Fp32; self.model.graph.layers.len()];
        if let Probe::Level { layer, level } = *probe {
            levels[layer] = level;
        }
        self.run(base, &levels, probe)
    }

    fn run(&self, base: &[Tensor], levels: &[Level], probe: &Probe) -> Result<Tensor> {
        let forms = self.network.forms(levels);
        let mut changed: Vec<Option<Tensor>> = vec![None; base.len()];
        for (i, layer) in self.model.graph.layers.iter().enumerate() {
            let shifted = self.shifted_weight(i, probe)?;
            let weight = match levels[i] {
                Level::Fp32 => shifted.as_ref(),
                Level::Int8(_) => self.int8_weights[i].as_ref(),
            };
            let mut dirty = weight.is_some();
            let mut inputs = Vec::with_capacity(layer.inputs.len());
            for &tensor in &layer.inputs {
                dirty |= changed[tensor].is_some();
                let mut x = changed[tensor].as_ref().unwrap_or(&base[tensor]).clone();
                let form = layer.op.input_need(levels[i]);
                if let Some(Form::I8(rounding)) = form.or_else(|| forms[tensor].widest()) {
                    let q = self.network.qparams(tensor);
                    x = x.apply_op1_no_bwd(&FakeQuantize { q, rounding })?;
                    dirty = true;
                }
                if let Probe::InputShift { layer, shift } = *probe
                    && layer == i
                {
                    x = (x + f64::from(shift))?;
                    dirty = true;
                }
                inputs.push(x);
            }
            if dirty {
                changed[i + 1] = Some(self.model.run(i, &inputs, weight)?);
            }
        }
        let last = base.len() - 1;
        Ok(changed[last].take().unwrap_or_else(|| base[last].clone()))
    }

    fn shifted_weight(&self, layer: usize, probe: &Probe) -> Result<Option<Tensor>> {
        match (*probe, self.model.weight(layer), &self.scales[layer]) {
            (Probe::WeightShift { layer: at, steps }, Some(weight), Some(scales))
                if at == layer =>
            {
                Ok(Some(weight.broadcast_add(&(scales * f64::from(steps))?)?))
            }
            _ => Ok(None),
        }
    }
}

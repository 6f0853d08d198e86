//! Perturbed forward passes that compute only what a perturbation changes.

use std::sync::Arc;

use bitbudget_core::form::Form;
use bitbudget_core::level::{Level, WeightFormat};
use bitbudget_core::price::PriceItem;
use bitbudget_core::quant::Width;
use candle_core::{Device, Result, Tensor};

use super::Probe;
use crate::capacity::HostNetwork;
use crate::graph::ops::FakeQuantize;
use crate::graph::{FloatModel, Operands, Parameters, Weights};
use crate::grid::{self, Grid};

/// Simulates quantized layouts and shifts of a float model, starting from the FP32 tensors of a
/// batch: layers whose inputs are unchanged are not computed again.
#[derive(Debug)]
pub struct Replay<'a> {
    model: &'a FloatModel,
    network: &'a HostNetwork,
    layers: Arc<[Quantized]>,
}

/// The quantized parameters of one layer.
#[derive(Debug, Default)]
struct Quantized {
    stored: Vec<(WeightFormat, Parameters)>,
    /// `[O, 1]`, a step of the weights.
    steps: Vec<(Width, Tensor)>,
}

impl Quantized {
    fn new(weights: &Weights, row: &[PriceItem], grids: &[Grid], input_scale: f32) -> Result<Self> {
        let channels = weights.bias.len();
        let mut quantized = Self::default();
        for stored in row.iter().map(|item| item.level.weight_format()) {
            let known = quantized.stored.iter().any(|(known, _)| *known == stored);
            if stored == WeightFormat::F32 || known {
                continue;
            }
            let real = grid::dequantized(weights, grids, stored, input_scale);
            let parameters = Parameters {
                weight: Tensor::from_vec(real.weight, (channels, ()), &Device::Cpu)?,
                bias: Tensor::from_vec(real.bias, channels, &Device::Cpu)?,
            };
            quantized.stored.push((stored, parameters));
        }
        for grid in grids {
            let steps = grid.scales.iter().map(|s| s * f32::from(grid.width.step()));
            let steps = Tensor::from_iter(steps, &Device::Cpu)?.reshape((channels, 1))?;
            quantized.steps.push((grid.width, steps));
        }
        Ok(quantized)
    }
}

impl<'a> Replay<'a> {
    /// A replay of `model` with the quantizers and levels of `network`; `grids` are those of every
    /// layer's integer weights.
    ///
    /// # Errors
    /// candle's.
    pub fn new(
        model: &'a FloatModel,
        network: &'a HostNetwork,
        grids: &[Vec<Grid>],
    ) -> Result<Self> {
        let layers = model.graph.layers.iter().zip(grids).enumerate();
        let layers = layers.map(|(i, (layer, grids))| match &layer.weights {
            Some(weights) => {
                let input_scale = network.qparams(layer.inputs[0]).scale;
                Quantized::new(weights, &network.prices.rows[i], grids, input_scale)
            }
            None => Ok(Quantized::default()),
        });
        Ok(Self {
            model,
            network,
            layers: layers.collect::<Result<_>>()?,
        })
    }

    /// This replay with `model` in place of its own, which differs in its count of products alone.
    #[must_use]
    pub fn counted_by<'b>(&self, model: &'b FloatModel) -> Replay<'b>
    where
        'a: 'b,
    {
        Replay {
            model,
            network: self.network,
            layers: Arc::clone(&self.layers),
        }
    }

    /// The output under one probe; `base` holds the batch's FP32 tensors.
    ///
    /// # Errors
    /// candle's.
    pub fn probe(&self, base: &[Tensor], probe: &Probe) -> Result<Tensor> {
        let mut levels = vec![Level::Fp32; self.model.graph.layers.len()];
        if let Probe::Levels(chosen) = probe {
            for (layer, level) in chosen {
                levels[*layer] = *level;
            }
        }
        self.run(base, &levels, probe)
    }

    /// The parameters of a layer as they are stored; `None` for its own.
    ///
    /// # Panics
    /// When the network has no level of the layer that stores them so.
    #[must_use]
    pub fn parameters(&self, layer: usize, stored: WeightFormat) -> Option<&Parameters> {
        if stored == WeightFormat::F32 || self.model.parameters(layer).is_none() {
            return None;
        }
        let known = &self.layers[layer].stored;
        let found = known.iter().find(|(other, _)| *other == stored);
        Some(&found.expect("a level that the network has").1)
    }

    /// A layer's input as it reads it at `level`; `forms` are those of the layout's tensors.
    fn read(&self, x: &Tensor, tensor: usize, form: Option<Form>) -> Result<Tensor> {
        match form {
            Some(Form::I8(rounding)) => {
                let q = self.network.qparams(tensor);
                x.apply_op1_no_bwd(&FakeQuantize { q, rounding })
            }
            Some(Form::F32) | None => Ok(x.clone()),
        }
    }

    fn run(&self, base: &[Tensor], levels: &[Level], probe: &Probe) -> Result<Tensor> {
        let forms = self.network.forms(levels);
        let mut changed: Vec<Option<Tensor>> = vec![None; base.len()];
        for (i, layer) in self.model.graph.layers.iter().enumerate() {
            let shifted = self.shifted(i, probe)?;
            let parameters = shifted
                .as_ref()
                .or(self.parameters(i, levels[i].weight_format()));
            let mut dirty = parameters.is_some();
            let mut inputs = Vec::with_capacity(layer.inputs.len());
            for &tensor in &layer.inputs {
                dirty |= changed[tensor].is_some();
                let x = changed[tensor].as_ref().unwrap_or(&base[tensor]);
                let form = layer.op.input_need(levels[i]);
                let form = form.or_else(|| forms[tensor].widest());
                dirty |= matches!(form, Some(Form::I8(_)));
                let mut x = self.read(x, tensor, form)?;
                if let Probe::InputShift { layer, shift } = *probe
                    && layer == i
                {
                    x = (x + f64::from(shift))?;
                    dirty = true;
                }
                inputs.push(x);
            }
            if dirty {
                changed[i + 1] = Some(self.model.run(i, &inputs, parameters)?);
            }
        }
        let last = base.len() - 1;
        Ok(changed[last].take().unwrap_or_else(|| base[last].clone()))
    }

    /// Calls `each` with the index and the output of every layout, in an order in which those that begin
    /// alike are neighbours: what they have in common is computed once.
    ///
    /// # Errors
    /// candle's, or that of `each`.
    pub fn layouts(
        &self,
        base: &[Tensor],
        layouts: &[Vec<Level>],
        order: &[usize],
        mut each: impl FnMut(usize, &Tensor) -> Result<()>,
    ) -> Result<()> {
        let layers = &self.model.graph.layers;
        let mut tensors: Vec<Tensor> = base.to_vec();
        // whether a tensor is that of the FP32 model, and how each layer was run last
        let mut own = vec![true; base.len()];
        let mut last: Vec<(Level, Vec<Option<Form>>)> = Vec::new();
        // of layers with weights, for each form in which their input was read
        let mut known: Vec<Vec<(Option<Form>, Operands)>> = vec![Vec::new(); layers.len()];
        for &at in order {
            let levels = &layouts[at];
            let forms = self.network.forms(levels);
            let reads = layers.iter().enumerate().map(|(i, layer)| {
                let need = layer.op.input_need(levels[i]);
                let form = |t: &usize| need.or_else(|| forms[*t].widest());
                (levels[i], layer.inputs.iter().map(form).collect())
            });
            let reads: Vec<(Level, Vec<Option<Form>>)> = reads.collect();
            let alike = last.iter().zip(&reads).take_while(|(a, b)| a == b).count();
            for (i, layer) in layers.iter().enumerate().skip(alike) {
                let parameters = self.parameters(i, levels[i].weight_format());
                let sources = || layer.inputs.iter().zip(&reads[i].1);
                let is_own = |(tensor, form): (&usize, &Option<Form>)| {
                    own[*tensor] && !matches!(form, Some(Form::I8(_)))
                };
                own[i + 1] = parameters.is_none() && sources().all(is_own);
                let read = |(tensor, form): (&usize, &Option<Form>)| {
                    self.read(&tensors[*tensor], *tensor, *form)
                };
                tensors[i + 1] = if own[i + 1] {
                    base[i + 1].clone()
                } else if layer.op.has_weights() {
                    let form = reads[i].1[0];
                    let found = known[i].iter().position(|(other, _)| *other == form);
                    let found = match found {
                        Some(found) => found,
                        None => {
                            let input = read((&layer.inputs[0], &form))?;
                            known[i].push((form, self.model.operands(i, &input)?));
                            known[i].len() - 1
                        }
                    };
                    let operands = &known[i][found].1;
                    self.model
                        .run_on(i, operands, parameters, layer.activation)?
                } else {
                    let inputs = sources().map(read).collect::<Result<Vec<_>>>()?;
                    self.model.run(i, &inputs, None)?
                };
                for (reader, known) in layers.iter().zip(&mut known) {
                    if reader.inputs.contains(&(i + 1)) {
                        known.clear();
                    }
                }
            }
            each(at, &tensors[layers.len()])?;
            last = reads;
        }
        Ok(())
    }

    /// The parameters of a layer whose weights the probe shifts.
    fn shifted(&self, layer: usize, probe: &Probe) -> Result<Option<Parameters>> {
        let Probe::WeightShift {
            layer: at,
            width,
            steps,
        } = *probe
        else {
            return Ok(None);
        };
        let known = self.layers[layer].steps.iter();
        let step = known.clone().find(|(other, _)| *other == width);
        match (self.model.parameters(layer), step) {
            (Some(own), Some((_, step))) if at == layer => Ok(Some(Parameters {
                weight: own.weight.broadcast_add(&(step * f64::from(steps))?)?,
                bias: own.bias.clone(),
            })),
            _ => Ok(None),
        }
    }
}

//! The first pass: the values of all tensors, and what is chosen from them.

use std::sync::Mutex;

use bitbudget_core::quant::{QParams, Width};
use candle_core::Tensor;
use rayon::prelude::*;

use super::error::ProfileError;
use super::options::Phase;
use super::run::Run;
use crate::batches::rows;
use crate::calibrate::{self, Histogram};
use crate::capacity::HostNetwork;
use crate::doubt::Doubt;
use crate::grid::{self, Grid, Moments};
use crate::loss::{Loss, Outputs};

/// What is chosen from a model's values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Calibration {
    /// The INT8 map of every tensor: the input's, then every layer's output.
    pub(super) qparams: Vec<QParams>,
    /// The grids of every layer's integer weights, one for each width; empty for layers without
    /// weights.
    pub(super) grids: Vec<Vec<Grid>>,
    /// Doubts about labels and outputs.
    pub(super) doubts: Vec<Doubt>,
    /// The temperature of the loss.
    pub(super) temperature: f64,
}

/// The values of all tensors over some samples.
struct Seen {
    tensors: Vec<Histogram>,
    inputs: Option<Span>,
    outputs: Option<Span>,
    /// The outputs of all samples, one after the other, where there are labels to compare them with.
    all_outputs: Vec<f32>,
}

impl Seen {
    fn nothing(tensors: usize) -> Self {
        Self {
            tensors: vec![Histogram::default(); tensors],
            inputs: None,
            outputs: None,
            all_outputs: Vec::new(),
        }
    }

    /// Adds the tensors of the batch after those that are there; returns the index of one that is not
    /// finite, if there is one.
    fn add(&mut self, tensors: &[Tensor]) -> candle_core::Result<Option<usize>> {
        let last = tensors.len() - 1;
        for (span, at) in [(&mut self.inputs, 0), (&mut self.outputs, last)] {
            for row in rows(&tensors[at])? {
                Span::add(span, Span::of(row));
            }
        }
        for (at, (histogram, tensor)) in self.tensors.iter_mut().zip(tensors).enumerate() {
            let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
            if values.iter().any(|x| !x.is_finite()) {
                return Ok(Some(at));
            }
            histogram.add(&values);
        }
        Ok(None)
    }

    /// Adds what was seen of the batches after those that are there.
    fn merge(&mut self, other: Self) {
        self.all_outputs.extend(other.all_outputs);
        for (own, more) in self.tensors.iter_mut().zip(&other.tensors) {
            own.merge(more);
        }
        for (own, more) in [
            (&mut self.inputs, other.inputs),
            (&mut self.outputs, other.outputs),
        ] {
            if let Some(more) = more {
                Span::add(own, more);
            }
        }
    }

    /// Whether the outputs are the same for all samples, and the inputs are not.
    fn is_constant(&self, outputs: Outputs) -> bool {
        let tolerance = match outputs {
            Outputs::Logits => 1e-6,
            // a softmax may be sure of one class for all images
            Outputs::Probabilities => 0.0,
        };
        let is_narrow = |span: &Option<Span>, part| span.as_ref().is_none_or(|s| s.is_narrow(part));
        is_narrow(&self.outputs, tolerance) && !is_narrow(&self.inputs, 0.0)
    }
}

/// The least and the greatest value of every element of a tensor over some samples.
#[derive(Clone, Debug)]
struct Span {
    least: Vec<f32>,
    greatest: Vec<f32>,
}

impl Span {
    fn of(sample: Vec<f32>) -> Self {
        Self {
            greatest: sample.clone(),
            least: sample,
        }
    }

    fn add(all: &mut Option<Self>, other: Self) {
        let Some(span) = all else {
            *all = Some(other);
            return;
        };
        let pairs = span.least.iter_mut().zip(other.least);
        pairs.for_each(|(a, b)| *a = a.min(b));
        let pairs = span.greatest.iter_mut().zip(other.greatest);
        pairs.for_each(|(a, b)| *a = a.max(b));
    }

    /// Whether no element moves by more than `part` of the largest magnitude of all.
    fn is_narrow(&self, part: f32) -> bool {
        let ends = self.least.iter().chain(&self.greatest);
        let most = part * ends.fold(0.0_f32, |most, x| most.max(x.abs()));
        let mut pairs = self.least.iter().zip(&self.greatest);
        pairs.all(|(least, greatest)| greatest - least <= most)
    }
}

impl Run<'_> {
    /// The quantizers that suit the distributions of all tensors, and the temperature that suits the outputs.
    pub(super) fn calibrate(&self) -> Result<Calibration, ProfileError> {
        let count = self.batches.model.graph.layers.len() + 1;
        let empty = || Seen::nothing(count);
        let done = Mutex::new(0);
        let add = |mut all: Seen, batch: usize| {
            if self.control.stopped() {
                return Err(self.interrupted(0));
            }
            let tensors = self.batches.forward(batch)?;
            if let Some(tensor) = all.add(&tensors)? {
                return Err(self.not_finite(tensor, batch));
            }
            if self.batches.labels.is_some() {
                let outputs = tensors[count - 1].flatten_all()?.to_vec1()?;
                all.all_outputs.extend::<Vec<f32>>(outputs);
            }
            let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
            *done += 1;
            (self.control.progress)(Phase::Calibrate, *done, self.batches.count());
            Ok(all)
        };
        let merge = |mut all: Seen, other| {
            all.merge(other);
            Ok(all)
        };
        let batches = (0..self.batches.count()).into_par_iter();
        let seen = batches.try_fold(empty, add).try_reduce(empty, merge)?;
        if seen.is_constant(self.batches.objective.outputs) {
            let images = self.batches.data.len;
            return Err(ProfileError::Constant { images });
        }
        let temperature = match (self.batches.objective.loss, self.batches.labels) {
            (Loss::Calibrated, Some(labels)) => {
                self.batches.objective.fit(&seen.all_outputs, labels)
            }
            _ => 1.0,
        };
        let doubts = self
            .batches
            .labels
            .map(|labels| Doubt::of_outputs(self.batches.objective, labels, &seen.all_outputs));
        let graph = &self.batches.model.graph;
        let qparams = calibrate::qparams(graph, &seen.tensors, self.options.rule.clip);
        Ok(Calibration {
            grids: self.grids(&qparams)?,
            qparams,
            temperature,
            doubts: doubts.unwrap_or_default(),
        })
    }

    /// The grids of every layer's integer weights.
    fn grids(&self, qparams: &[QParams]) -> Result<Vec<Vec<Grid>>, ProfileError> {
        let offers = |width: &Width| {
            let mut levels = self.options.levels.iter();
            levels.any(|level| level.width() == Some(*width))
        };
        let widths: Vec<Width> = Width::ALL.into_iter().filter(offers).collect();
        let layers = &self.batches.model.graph.layers;
        let moments: Vec<Vec<Moments>> = match widths.is_empty() {
            true => vec![Vec::new(); layers.len()],
            false => self.moments()?,
        };
        let mut grids = Vec::new();
        for (i, (layer, moments)) in layers.iter().zip(&moments).enumerate() {
            if self.control.stopped() {
                return Err(self.interrupted(0));
            }
            let input_scale = qparams[layer.inputs[0]].scale;
            grids.push(match &layer.weights {
                Some(weights) => {
                    grid::choose(weights, moments, input_scale, &widths, self.options.rule)?
                }
                None => Vec::new(),
            });
            (self.control.progress)(Phase::Round, i + 1, layers.len());
        }
        Ok(grids)
    }

    fn not_finite(&self, tensor: usize, batch: usize) -> ProfileError {
        let layer = tensor.checked_sub(1);
        let layer = layer.map(|i| self.batches.model.graph.layers[i].name.clone());
        ProfileError::Tensor {
            layer: layer.unwrap_or_else(|| "input".into()),
            image: self.batches.range(batch).start,
        }
    }

    /// The network with its quantizers; prices are still zero.
    pub(super) fn network(
        &self,
        calibration: &Calibration,
    ) -> Result<Box<HostNetwork>, ProfileError> {
        // the capacities were checked
        let graph = &self.batches.model.graph;
        let qparams = |tensor| calibration.qparams[tensor];
        let mut network = graph.network(&self.options.levels, qparams);
        network.preprocess = self.options.preprocess.clone();
        network.check()?;
        Ok(network)
    }
}

//! A float model on a data set, batch by batch.

use std::ops::Range;

use bitbudget_core::network::Preprocess;
use candle_core::{Result, Tensor};

use crate::dataset::{Dataset, real_inputs};
use crate::graph::FloatModel;
use crate::loss::{Head, Loss, Objective, Score, Target};

/// Bytes of activations that one batch may take.
const BATCH_BYTES: usize = 16 << 20;
/// The most samples of a batch: more would leave the processor's caches.
const BATCH_LEN: usize = 8;

/// A model, its data in batches, and the loss.
#[derive(Clone, Copy, Debug)]
pub struct Batches<'a> {
    /// The model.
    pub model: &'a FloatModel,
    /// The samples.
    pub data: &'a Dataset,
    /// From raw values to the model's inputs.
    pub preprocess: &'a Preprocess,
    /// The loss of the outputs.
    pub objective: Objective,
    /// The labels that outputs are compared with, below the number of outputs; `None` for the FP32 model's
    /// outputs.
    pub labels: Option<&'a [u32]>,
    /// Samples of a batch.
    pub len: usize,
}

impl<'a> Batches<'a> {
    /// The batches of `data` for `model`; a loss that [is of labels](Loss::is_of_labels) takes those of the
    /// data.
    #[must_use]
    pub fn new(
        model: &'a FloatModel,
        data: &'a Dataset,
        preprocess: &'a Preprocess,
        loss: Loss,
    ) -> Self {
        let tensors = 0..=model.graph.layers.len();
        let sample: usize = tensors.map(|t| 4 * model.graph.shape(t).len()).sum();
        Self {
            model,
            data,
            preprocess,
            objective: Objective::new(loss, Head::of_graph(&model.graph)),
            labels: data.labels.as_deref().filter(|_| loss.is_of_labels()),
            len: (BATCH_BYTES / sample.max(1)).clamp(1, BATCH_LEN),
        }
    }

    /// The number of batches.
    #[must_use]
    pub fn count(&self) -> usize {
        self.data.len.div_ceil(self.len)
    }

    /// The number of batches that hold the first `samples`, or all there are.
    #[must_use]
    pub fn count_for(&self, samples: usize) -> usize {
        samples.div_ceil(self.len).min(self.count())
    }

    /// The samples of one batch.
    #[must_use]
    pub fn range(&self, batch: usize) -> Range<usize> {
        let start = batch * self.len;
        start..(start + self.len).min(self.data.len)
    }

    /// All tensors of the FP32 model on one batch.
    ///
    /// # Errors
    /// candle's.
    pub fn forward(&self, batch: usize) -> Result<Vec<Tensor>> {
        let real = real_inputs(self.data, self.preprocess, self.range(batch));
        self.model.forward(self.model.input(real)?)
    }

    /// The targets of a batch; `base` are the outputs of the FP32 model.
    pub fn targets<'t>(
        &'t self,
        batch: usize,
        base: &'t [Vec<f32>],
    ) -> impl Iterator<Item = Target<'t>> + 't {
        let labels = self.labels;
        let first = self.range(batch).start;
        base.iter().enumerate().map(move |(i, row)| match labels {
            Some(labels) => Target::Label(labels[first + i]),
            None => Target::Outputs(row),
        })
    }

    /// The score of every sample of a batch; `base` are the outputs of the FP32 model.
    #[must_use]
    pub fn score(&self, batch: usize, outputs: &[Vec<f32>], base: &[Vec<f32>]) -> Vec<Score> {
        let pairs = outputs.iter().zip(self.targets(batch, base));
        pairs
            .map(|(outputs, target)| self.objective.score(outputs, target))
            .collect()
    }

    /// Every sample's gradient of the loss with respect to the outputs, one after the other.
    #[must_use]
    pub fn gradient(&self, batch: usize, outputs: &[Vec<f32>], base: &[Vec<f32>]) -> Vec<f32> {
        let pairs = outputs.iter().zip(self.targets(batch, base));
        pairs
            .flat_map(|(outputs, target)| self.objective.gradient(outputs, target))
            .collect()
    }
}

/// Every sample's outputs.
///
/// # Errors
/// candle's.
pub fn rows(output: &Tensor) -> Result<Vec<Vec<f32>>> {
    output.reshape((output.dim(0)?, ()))?.to_vec2()
}

//! Runs an image with the core's kernels over a data set.

use std::path::Path;

use bitbudget_core::engine::{ARENA_ALIGN, Engine, EngineError, Input};
use bitbudget_core::plan::Plan;
use rayon::prelude::*;

use crate::dataset::{DataError, Dataset, Pixels};
use crate::loss::{Score, mean_and_error};
use crate::pack::HostImage;
use crate::profile::{MAX_LAYERS, MAX_LEVELS, outputs_of};

/// An engine with the host's capacities.
pub type HostEngine<'a> = Engine<'a, MAX_LAYERS, MAX_LEVELS>;
/// A plan with the host's capacities.
pub type HostPlan = Plan<MAX_LAYERS>;

/// Memory that an engine can be lent: aligned, of exactly the asked size.
#[derive(Debug)]
pub struct ArenaMemory {
    words: Vec<u64>,
    bytes: usize,
}

impl ArenaMemory {
    /// Zeroed memory of `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        const { assert!(align_of::<u64>() >= ARENA_ALIGN) };
        Self {
            words: vec![0; bytes.div_ceil(size_of::<u64>())],
            bytes,
        }
    }

    /// The memory.
    pub fn lend(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.bytes]
    }
}

/// How well a layout does.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// Standard error of the mean loss.
    pub loss_se: f64,
    /// Fraction of samples whose label has the largest output.
    pub accuracy: f64,
    /// Loss of every sample.
    pub losses: Vec<f64>,
}

impl Evaluation {
    /// Standard error of the change of the mean loss from `other`'s, over the same samples.
    #[must_use]
    pub fn paired_error(&self, other: &Self) -> f64 {
        let pairs = self.losses.iter().zip(&other.losses);
        let changes: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
        mean_and_error(&changes).1
    }
}

/// Why an image could not be evaluated.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The data cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Data(#[from] DataError),
    /// The engine refused.
    #[error("the engine refused")]
    Engine(#[from] EngineError),
}

/// The evaluation of `plan` over labelled data, on all cores; `progress` is told the samples done
/// since it was last called, and `data_path` is where the data came from, for errors.
///
/// # Errors
/// [`EvaluateError`].
pub fn evaluate(
    image: &HostImage<'_>,
    plan: &HostPlan,
    data: &Dataset,
    data_path: &Path,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Evaluation, EvaluateError> {
    const CHUNK: usize = 50;
    let classes = image.network().output_shape().len();
    let labels = data.labels_below(classes, data_path)?;
    let sample_len = data.height * data.width * data.channels;
    let outputs = outputs_of(image.network());
    let chunk = |(chunk, labels): (usize, &[u32])| -> Result<Vec<Score>, EvaluateError> {
        let mut memory = ArenaMemory::new(plan.total_bytes() as usize);
        let mut engine = HostEngine::new(image, memory.lend())?;
        engine.load(plan.clone())?;
        let mut scores = Vec::with_capacity(labels.len());
        for (i, label) in labels.iter().enumerate() {
            let input = sample(data, chunk * CHUNK + i, sample_len);
            scores.push(outputs.score(engine.infer(input)?, *label));
        }
        progress(labels.len());
        Ok(scores)
    };
    let chunks = labels.par_chunks(CHUNK).enumerate().map(chunk);
    let scores = chunks.collect::<Result<Vec<_>, _>>()?.concat();
    let losses: Vec<f64> = scores.iter().map(|score| score.loss).collect();
    let (loss, loss_se) = mean_and_error(&losses);
    let correct = scores.iter().filter(|score| score.correct).count();
    Ok(Evaluation {
        loss,
        loss_se,
        accuracy: correct as f64 / scores.len().max(1) as f64,
        losses,
    })
}

/// Sample `i` of a data set as the engine takes it.
#[must_use]
pub fn sample(data: &Dataset, i: usize, len: usize) -> Input<'_> {
    match &data.pixels {
        Pixels::U8(raw) => Input::U8(&raw[i * len..][..len]),
        Pixels::F32(raw) => Input::F32(&raw[i * len..][..len]),
    }
}

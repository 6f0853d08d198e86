//! Runs an image with the core's kernels over a data set.

use std::path::Path;

use bitbudget_core::engine::{ARENA_ALIGN, EngineError, Input};
use rayon::prelude::*;

use crate::capacity::{HostEngine, HostImage, HostPlan};
use crate::dataset::{DataError, Dataset, Pixels};
use crate::loss::{Loss, LossError, Objective, Score, Target, mean_and_error};

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

/// Loss and accuracy of a layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// Standard error of the mean loss.
    pub loss_se: f64,
    /// Mean of the samples' [`Score::correct`].
    pub accuracy: f64,
    /// Loss of every sample.
    pub losses: Vec<f64>,
    /// Outputs of every sample, one after the other.
    pub outputs: Vec<f32>,
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
    /// The outputs cannot have that loss.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Loss(#[from] LossError),
    /// The engine refused.
    #[error("the engine refused")]
    Engine(#[from] EngineError),
}

/// The reference of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The loss.
    pub loss: Loss,
    /// The FP32 model's evaluation, for losses without labels; `None` where this one is it.
    pub fp32: Option<&'a Evaluation>,
    /// The path of the data, for errors.
    pub data_path: &'a Path,
}

/// The evaluation of `plan` over a data set, on all cores; `progress` is told the samples done since it
/// was last called.
///
/// # Errors
/// [`EvaluateError`].
pub fn evaluate(
    image: &HostImage<'_>,
    plan: &HostPlan,
    data: &Dataset,
    against: Against<'_>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Evaluation, EvaluateError> {
    // samples between reports of progress
    const REPORTED: usize = 50;
    // samples that share an engine: a few chunks for each core, so that all finish together
    let chunk_len = data.len.div_ceil(4 * rayon::current_num_threads()).max(1);
    let output = image.network().output_shape();
    let output_len = output.len();
    let labels = match Loss::or_found(Some(against.loss), data, output)? {
        Loss::Labels => Some(data.labels_below(output_len, against.data_path)?),
        Loss::Kl | Loss::Mse => None,
    };
    let sample_len = data.height * data.width * data.channels;
    let last = image.network().layers.last().map(|layer| layer.op);
    let objective = Objective::new(against.loss, last, output);
    let chunk = |chunk: usize| -> Result<(Vec<Score>, Vec<f32>), EvaluateError> {
        let mut memory = ArenaMemory::new(plan.ram_bytes() as usize);
        let mut engine = HostEngine::new(image, memory.lend())?;
        engine.load(plan.clone())?;
        let (mut scores, mut all) = (Vec::new(), Vec::new());
        let mut done = 0;
        for i in chunk * chunk_len..data.len.min((chunk + 1) * chunk_len) {
            let outputs = engine.infer(sample(data, i, sample_len))?;
            let target = match (labels, against.fp32) {
                (Some(labels), _) => Target::Label(labels[i]),
                (None, Some(fp32)) => {
                    Target::Outputs(&fp32.outputs[i * output_len..][..output_len])
                }
                (None, None) => Target::Outputs(outputs),
            };
            scores.push(objective.score(outputs, target));
            all.extend_from_slice(outputs);
            done += 1;
            if done == REPORTED {
                progress(done);
                done = 0;
            }
        }
        progress(done);
        Ok((scores, all))
    };
    let chunks = (0..data.len.div_ceil(chunk_len)).into_par_iter().map(chunk);
    let chunks = chunks.collect::<Result<Vec<_>, _>>()?;
    let scores = chunks.iter().flat_map(|(scores, _)| scores);
    let losses: Vec<f64> = scores.clone().map(|score| score.loss).collect();
    let (loss, loss_se) = mean_and_error(&losses);
    let correct: f64 = scores.map(|score| score.correct).sum();
    Ok(Evaluation {
        loss,
        loss_se,
        accuracy: correct / losses.len().max(1) as f64,
        losses,
        outputs: chunks
            .into_iter()
            .flat_map(|(_, outputs)| outputs)
            .collect(),
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

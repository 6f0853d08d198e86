//! Runs an image with the core's kernels over a data set.

use std::path::Path;

use bitbudget_core::engine::{ARENA_ALIGN, EngineError, Input};
use rayon::prelude::*;

use crate::capacity::{HostEngine, HostImage, HostPlan};
use crate::dataset::{DataError, Dataset, Pixels};
use crate::loss::{Head, Loss, LossError, Objective, Score, Target};

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
    /// The temperature of the loss; 1 but with [`Loss::Calibrated`].
    pub temperature: f64,
    /// Mean loss.
    pub loss: f64,
    /// Mean of the samples' [`Score::raw`].
    pub raw_loss: f64,
    /// Mean of the samples' [`Score::correct`].
    pub accuracy: f64,
    /// Score of every sample.
    pub scores: Vec<Score>,
    /// Outputs of every sample, one after the other.
    pub outputs: Vec<f32>,
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
    /// An output is no number.
    #[error("the outputs for image {image} are not finite numbers")]
    #[diagnostic(help("{NOT_FINITE}"))]
    NotFinite {
        /// The first such image.
        image: usize,
    },
    /// The engine refused.
    #[error("the engine refused")]
    Engine(#[from] EngineError),
}

/// What may help where outputs are not finite.
pub const NOT_FINITE: &str = "are the data those that the model was made for, with the --scale, --mean and --std of its \
    profile? An FP32 layer overflows beyond 3e38";

/// The reference of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The loss.
    pub loss: Loss,
    /// The FP32 model's evaluation, whose outputs or temperature the loss takes; `None` where this one is it.
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
    let head = Head::of(image.network());
    let output_len = head.outputs.len();
    let labels = match Loss::or_found(Some(against.loss), data, head)?.is_of_labels() {
        true => Some(data.labels_below(head.classes(), against.data_path)?),
        false => None,
    };
    let sample_len = data.height * data.width * data.channels;
    let chunk = |chunk: usize| -> Result<Vec<f32>, EvaluateError> {
        let mut memory = ArenaMemory::new(plan.ram_bytes() as usize);
        let mut engine = HostEngine::new(image, memory.lend())?;
        engine.load(plan.clone())?;
        let mut outputs = Vec::new();
        let mut done = 0;
        for i in chunk * chunk_len..data.len.min((chunk + 1) * chunk_len) {
            outputs.extend_from_slice(engine.infer(sample(data, i, sample_len))?);
            done += 1;
            if done == REPORTED {
                progress(done);
                done = 0;
            }
        }
        progress(done);
        Ok(outputs)
    };
    let chunks = (0..data.len.div_ceil(chunk_len)).into_par_iter().map(chunk);
    let outputs = chunks.collect::<Result<Vec<_>, _>>()?.concat();
    if let Some(at) = outputs.iter().position(|x| !x.is_finite()) {
        let image = at / output_len;
        return Err(EvaluateError::NotFinite { image });
    }
    let mut objective = Objective::new(against.loss, head);
    objective.temperature = match (against.loss, labels, against.fp32) {
        (Loss::Calibrated, Some(labels), None) => objective.fit(&outputs, labels),
        (_, _, fp32) => fp32.map_or(1.0, |fp32| fp32.temperature),
    };
    let wanted = against.fp32.map_or(&outputs, |fp32| &fp32.outputs);
    let score = |i: usize| {
        let of_sample = i * output_len..(i + 1) * output_len;
        let target = match labels {
            Some(labels) => Target::Label(labels[i]),
            None => Target::Outputs(&wanted[of_sample.clone()]),
        };
        objective.score(&outputs[of_sample], target)
    };
    let scores: Vec<Score> = (0..data.len).into_par_iter().map(score).collect();
    let mean =
        |of: fn(&Score) -> f64| scores.iter().map(of).sum::<f64>() / scores.len().max(1) as f64;
    Ok(Evaluation {
        temperature: objective.temperature,
        loss: mean(|score| score.loss),
        raw_loss: mean(|score| score.raw),
        accuracy: mean(|score| score.correct),
        scores,
        outputs,
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

//! Batches measured so far, kept beside the profile so that an interrupted run can go on.

use std::fs;
use std::path::{Path, PathBuf};

use bitbudget_core::quant::Rounding;
use serde::{Deserialize, Serialize};

use crate::file::{Content, FileError, Kind};
use crate::loss::Score;

const KIND: Kind = Kind {
    magic: *b"bitbpart",
    version: 5,
    name: "partial profile",
};

/// Measurements on one batch of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Batch {
    /// The loss of every sample that prices are changes of, with the FP32 model.
    pub(super) base: Vec<f64>,
    /// Sum of the samples' [`Score::loss`] of the FP32 model.
    pub(super) loss: f64,
    /// Sum of the samples' [`Score::raw`] of the FP32 model.
    pub(super) raw: f64,
    /// Sum of the samples' [`Score::correct`] of the FP32 model.
    pub(super) correct: f64,
    /// Products of all forward passes that measured it.
    pub(super) macs: u64,
    /// `perturbed[probe][sample]`.
    pub(super) perturbed: Vec<Vec<f64>>,
    /// `random[layout]`: every sample's change of the loss under the batch's random layouts.
    pub(super) random: Vec<Vec<f64>>,
    /// Per layer and rounding: sums of the input's positive and negative noise.
    pub(super) noise: Vec<[(f64, f64); Rounding::ALL.len()]>,
}

impl Batch {
    /// A batch whose prices are changes of the losses of `base`; `own` tells what the FP32 model is worth.
    pub(super) fn of(base: &[Score], own: &[Score]) -> Self {
        let sum = |of: fn(&Score) -> f64| own.iter().map(of).sum();
        Self {
            base: base.iter().map(|score| score.loss).collect(),
            loss: sum(|score| score.loss),
            raw: sum(|score| score.raw),
            correct: sum(|score| score.correct),
            macs: 0,
            perturbed: Vec::new(),
            random: Vec::new(),
            noise: Vec::new(),
        }
    }
}

/// The batches measured so far; absent ones are `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Partial {
    /// Fingerprint of everything that the batches depend on.
    key: u64,
    pub(super) batches: Vec<Option<Batch>>,
}

impl Partial {
    pub(super) const CONTENT: Content = Content {
        name: "a partial profile",
        starts: |start| KIND.matches(start),
    };

    /// The path of the partial profile beside the profile at `output`.
    pub(super) fn path(output: &Path) -> PathBuf {
        let mut name = output.as_os_str().to_owned();
        name.push(".partial");
        name.into()
    }

    /// The batches kept at `path` if they are of this run, else none.
    pub(super) fn load(path: &Path, key: u64, batches: usize) -> Self {
        let kept = fs::read(path).ok();
        let kept = kept.and_then(|bytes| KIND.decode::<Self>(path, &bytes).ok());
        let usable = |kept: &Self| kept.key == key && kept.batches.len() == batches;
        kept.filter(usable).unwrap_or(Self {
            key,
            batches: vec![None; batches],
        })
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), FileError> {
        KIND.save(path, self)
    }

    pub(super) fn done(&self) -> usize {
        self.batches.iter().flatten().count()
    }
}

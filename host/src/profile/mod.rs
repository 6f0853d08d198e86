//! The profile: what calibration data says about every level of every layer of a model.

mod curvature;
mod error;
mod measure;
mod moments;
mod partial;
mod refine;

use std::path::Path;

use bitbudget_core::level::Level;
use serde::{Deserialize, Serialize};

use crate::capacity::HostNetwork;
use crate::file::{self, Content, FileError, Kind};
use crate::grid::Grid;
use crate::loss::Loss;
use crate::metric::{Estimate, Metric};

use partial::Partial;

pub use error::ProfileError;
pub use measure::{Control, DEFAULT_LEVELS, Options, Phase, REFINE, profile};

const KIND: Kind = Kind {
    magic: *b"bitbprof",
    version: 3,
    name: "profile",
};

/// What a profile was made from and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The model file's name, for people.
    pub model: String,
    /// Fingerprint of the imported graph.
    pub model_fingerprint: u64,
    /// The data's name, for people.
    pub data: String,
    /// Fingerprint of the samples and labels that were used.
    pub data_fingerprint: u64,
    /// The estimator of the prices.
    pub metric: Metric,
    /// The loss that prices are changes of.
    pub loss: Loss,
    /// The rule for clip ranges, as it is spelled in commands.
    pub clip: String,
    /// Rounds of refinement around the optimal layouts that were asked for.
    pub refine: u32,
    /// Whether all channels of a layer share one scale.
    pub per_tensor: bool,
    /// Whether the mean error of integer weights goes into the bias.
    pub bias_correction: bool,
    /// The levels that were priced.
    pub levels: Vec<Level>,
}

/// What the prices took, in passes of the whole model over the whole calibration set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// Forward passes, after the one that calibrates.
    pub forward_passes: f64,
    /// Backward passes.
    pub backward_passes: f64,
    /// Time of all of it, calibration included, in seconds.
    pub seconds: f64,
}

/// A profiled model: everything that goes into an image but the weights, and how sure it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// What it was made from.
    pub origin: Origin,
    /// Samples of the calibration set.
    pub samples: u32,
    /// Mean loss of the FP32 model on them.
    pub fp32_loss: f64,
    /// Accuracy of the FP32 model on them, 0..=1.
    pub fp32_accuracy: f64,
    /// The layers' names.
    pub names: Vec<String>,
    /// Graph, quantizers and integer prices.
    pub network: Box<HostNetwork>,
    /// The grids of every layer's integer weights, one for each width among the levels; empty without
    /// weights.
    pub grids: Vec<Vec<Grid>>,
    /// The prices as estimated, in the order of `network.prices`; standard errors are those of the
    /// metric, before refinement.
    pub estimates: Vec<Vec<Estimate>>,
    /// Layers about whose price the metric cannot say anything.
    pub unseen: Vec<usize>,
    /// What it took to measure.
    pub effort: Effort,
}

impl Profile {
    /// Whether `bytes` begin like a profile.
    #[must_use]
    pub fn matches(bytes: &[u8]) -> bool {
        KIND.matches(bytes)
    }

    /// What a profile's file holds.
    pub const CONTENT: Content = Content {
        name: "a profile",
        starts: Self::matches,
    };

    /// Writes the profile, whole or not at all.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        KIND.save(path, self)
    }

    /// The profile in `bytes`, the content of the file at `path`.
    ///
    /// # Errors
    /// [`FileError`] when it is something else, damaged, or does not hold together.
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Self, FileError> {
        let profile: Self = KIND.decode(path, bytes)?;
        let damaged = |reason: String| FileError::Damaged {
            path: path.into(),
            reason,
        };
        let network = &profile.network;
        network.check().map_err(|e| damaged(e.to_string()))?;
        let layers = network.layers.len();
        let rows = network.prices.rows.iter().zip(&profile.estimates);
        let whole = profile.names.len() == layers
            && profile.grids.len() == layers
            && profile.unseen.iter().all(|layer| *layer < layers)
            && (0..layers).all(|layer| {
                let widths = profile.grids[layer].iter().map(|grid| grid.width);
                widths.eq(profile.network.widths(layer))
            })
            && profile.estimates.len() == layers
            && rows
                .into_iter()
                .all(|(row, estimates)| row.len() == estimates.len());
        if whole {
            Ok(profile)
        } else {
            Err(damaged("its parts are not one for each layer".into()))
        }
    }
}

/// Checks, before the work, that a profile can be written to `path`, and beside it what an
/// interrupted run keeps; see [`file::check_output`].
///
/// # Errors
/// [`FileError`].
pub fn check_output(path: &Path, inputs: &[&Path]) -> Result<(), FileError> {
    file::check_output(path, Profile::CONTENT, inputs)?;
    let partial = Partial::path(path);
    file::check_output(&partial, Partial::CONTENT, inputs)
}

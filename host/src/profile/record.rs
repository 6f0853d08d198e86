//! The profile as it is kept.

use std::path::Path;

use bitbudget_core::clip::Clip;
use bitbudget_core::level::{Level, WeightFormat};
use serde::{Deserialize, Serialize};

use crate::capacity::HostNetwork;
use crate::doubt::Doubt;
use crate::file::{Content, FileError, Kind};
use crate::grid::{Grid, WeightRounding};
use crate::loss::{Loss, MAX_TEMPERATURE, MIN_TEMPERATURE};
use crate::metric::{Estimate, Metric};

/// The origin of a profile: model, data and settings.
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
    /// The rule for clip ranges.
    pub clip: Clip,
    /// Rounds of refinement around the optimal layouts that were asked for.
    pub refine: u32,
    /// The rule by which integer weights are rounded.
    pub rounding: WeightRounding,
    /// Whether all channels of a layer share one scale.
    pub per_tensor: bool,
    /// Whether the mean error of integer weights goes into the bias.
    pub bias_correction: bool,
    /// The levels that were priced.
    pub levels: Vec<Level>,
}

/// The work behind the prices, in passes of the whole model over the whole calibration set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// Forward passes, after the one that calibrates.
    pub forward_passes: f64,
    /// Backward passes.
    pub backward_passes: f64,
    /// Time of all of it, calibration included, in seconds; no part of the file, so that equal runs
    /// give equal files.
    #[serde(skip)]
    pub seconds: Option<f64>,
}

/// A profiled model: everything that goes into an image but the weights, and how sure it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Model, data and settings.
    pub origin: Origin,
    /// Samples of the calibration set.
    pub samples: u32,
    /// The temperature of the loss: with [`Loss::Calibrated`] that of the FP32 model on them, else 1.
    pub temperature: f64,
    /// Mean loss of the FP32 model on them.
    pub fp32_loss: f64,
    /// Mean of the samples' [`Score::raw`](crate::loss::Score::raw) of the FP32 model.
    pub fp32_raw_loss: f64,
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
    /// The work of measuring it.
    pub effort: Effort,
    /// Signs that data, labels or preprocessing are not the model's; no part of the file.
    #[serde(skip)]
    pub doubts: Vec<Doubt>,
}

impl Profile {
    /// The kind of its file.
    pub const KIND: Kind = Kind {
        magic: *b"bitbprof",
        version: 7,
        name: "profile",
    };

    /// Whether `bytes` begin like a profile.
    #[must_use]
    pub fn matches(bytes: &[u8]) -> bool {
        Self::KIND.matches(bytes)
    }

    /// The content of its file.
    pub const CONTENT: Content = Content {
        name: "a profile",
        starts: Self::matches,
    };

    /// Writes the profile, whole or not at all.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        Self::KIND.save(path, self)
    }

    /// The profile in `bytes`, the content of the file at `path`.
    ///
    /// # Errors
    /// [`FileError`] when it is something else, damaged, or inconsistent.
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Self, FileError> {
        let profile: Self = Self::KIND.decode(path, bytes)?;
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
                let formats = network.weight_formats(layer);
                widths.eq(formats.filter_map(WeightFormat::width))
            })
            && profile.estimates.len() == layers
            && rows
                .into_iter()
                .all(|(row, estimates)| row.len() == estimates.len());
        if !whole {
            return Err(damaged("its parts are not one for each layer".into()));
        }
        match unusable(&profile) {
            None => Ok(profile),
            Some(reason) => Err(damaged(reason)),
        }
    }
}

/// Why the numbers of a profile cannot be used, if so: what is not finite, or not on its grid.
fn unusable(profile: &Profile) -> Option<String> {
    let scalars = [
        ("the FP32 model's loss", profile.fp32_loss),
        ("the FP32 model's raw loss", profile.fp32_raw_loss),
        ("the FP32 model's accuracy", profile.fp32_accuracy),
        ("the count of forward passes", profile.effort.forward_passes),
        (
            "the count of backward passes",
            profile.effort.backward_passes,
        ),
    ];
    if let Some((what, value)) = scalars.iter().find(|(_, value)| !value.is_finite()) {
        return Some(format!("{what} is {value}"));
    }
    if !(MIN_TEMPERATURE..=MAX_TEMPERATURE).contains(&profile.temperature) {
        return Some(format!("the temperature is {}", profile.temperature));
    }
    for (layer, row) in profile.network.prices.rows.iter().enumerate() {
        let (name, grids) = (&profile.names[layer], &profile.grids[layer]);
        for (item, estimate) in row.iter().zip(&profile.estimates[layer]) {
            if !estimate.price.is_finite() || !estimate.standard_error.is_finite() {
                let Estimate {
                    price,
                    standard_error,
                } = estimate;
                return Some(format!(
                    "the price of layer {name} at {} is {price} +- {standard_error}",
                    item.level
                ));
            }
        }
        let channels = usize::from(profile.network.layers[layer].output.c);
        let count = profile.network.weight_count(layer);
        if let Some(grid) = grids.iter().find(|grid| !grid.is_sound(channels, count)) {
            let bits = grid.width.bits();
            return Some(format!(
                "the weights of layer {name} at {bits} bits are not usable"
            ));
        }
    }
    None
}

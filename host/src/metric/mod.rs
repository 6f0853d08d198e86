//! Estimators of what a level of a layer costs in loss, behind one interface.
//!
//! An estimator names the [`Probe`]s it needs: perturbations of the FP32 model whose loss is
//! measured sample by sample. From their losses it makes an [`Estimate`] for every (layer, level).

mod measured;
mod replay;
mod secant;

use std::fmt;
use std::str::FromStr;

use bitbudget_core::level::{Level, Rounding};
use bitbudget_core::price::SignedMeans;
use serde::{Deserialize, Serialize};

use crate::loss::mean_and_error;

pub use replay::Replay;

/// An estimator of prices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// The loss with this layer alone at that level, minus the FP32 loss.
    #[default]
    Measured,
    /// The secant slope of the loss along a common shift of the layer's input, times the mean noise
    /// ("Mixed-precision inference quantization: problem resetting and traditional NP hard
    /// problem").
    Secant,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 2] = [Self::Measured, Self::Secant];

    /// The metric's name in commands and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Secant => "secant",
        }
    }

    /// The perturbations that price `level` of `layer`; none for `fp32`, which costs nothing.
    #[must_use]
    pub fn probes(self, subject: &Subject<'_>, layer: usize, level: Level) -> Vec<Probe> {
        match (self, level) {
            (_, Level::Fp32) => Vec::new(),
            (Self::Measured, Level::Int8(_)) => measured::probes(layer, level),
            (Self::Secant, Level::Int8(rounding)) => secant::probes(subject, layer, rounding),
        }
    }

    /// The price of `level` of `layer`, from the losses of its probes.
    #[must_use]
    pub fn estimate(
        self,
        subject: &Subject<'_>,
        losses: &Losses<'_>,
        layer: usize,
        level: Level,
    ) -> Estimate {
        match (self, level) {
            (_, Level::Fp32) => Estimate::default(),
            (Self::Measured, Level::Int8(_)) => measured::estimate(losses, layer, level),
            (Self::Secant, Level::Int8(rounding)) => {
                secant::estimate(subject, losses, layer, rounding)
            }
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let metric = Self::ALL.into_iter().find(|metric| metric.name() == name);
        metric.ok_or_else(|| "unknown metric; the metrics are measured, secant".into())
    }
}

/// A perturbation of the FP32 model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Probe {
    /// One layer at a level, all others FP32.
    Level {
        /// The layer.
        layer: usize,
        /// Its level.
        level: Level,
    },
    /// Every element of one layer's input moved by `shift`.
    InputShift {
        /// The layer.
        layer: usize,
        /// In real units.
        shift: f32,
    },
    /// Every weight of one layer moved by so many steps of its channel's scale.
    WeightShift {
        /// The layer.
        layer: usize,
        /// In steps.
        steps: f32,
    },
}

/// What is known of a network apart from its losses.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The INT8 step of every layer's (first) input, in real units.
    pub input_steps: &'a [f32],
    /// The mean noise of every layer's input for each rounding, in real units.
    pub input_noise: &'a [[SignedMeans; Rounding::ALL.len()]],
    /// The mean noise of every layer's INT8 weights, in steps of their channels.
    pub weight_noise: &'a [SignedMeans],
    /// The change of loss under a shift of the weights from which on their noise is priced.
    pub error_max: f64,
}

/// The losses of every sample: of the FP32 model, and under each probe.
#[derive(Clone, Copy, Debug)]
pub struct Losses<'a> {
    /// Of the FP32 model.
    pub base: &'a [f64],
    /// The probes.
    pub probes: &'a [Probe],
    /// `perturbed[probe][sample]`.
    pub perturbed: &'a [Vec<f64>],
}

impl Losses<'_> {
    /// Every sample's loss under `probe`.
    ///
    /// # Panics
    /// When the probe was not measured.
    #[must_use]
    pub fn of(&self, probe: Probe) -> &[f64] {
        let at = self.probes.iter().position(|other| *other == probe);
        &self.perturbed[at.expect("an estimator asks for the probes that it named")]
    }
}

/// A price and how sure it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Predicted change of the mean loss.
    pub price: f64,
    /// Standard error of the price over the calibration samples.
    pub standard_error: f64,
}

impl Estimate {
    /// The mean of one price per sample, with its standard error.
    #[must_use]
    pub fn of(prices: &[f64]) -> Self {
        let (price, standard_error) = mean_and_error(prices);
        Self {
            price,
            standard_error,
        }
    }
}

//! Options of a profile, and the means to follow and end its run.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bitbudget_core::level::Level;
use bitbudget_core::network::Preprocess;
use bitbudget_core::price::ERROR_MAX;
use bitbudget_core::quant::{Rounding, Width};

use crate::grid::Rule;
use crate::loss::Loss;
use crate::metric::Metric;

/// Options of a profile.
#[derive(Clone, Debug)]
pub struct Options {
    /// The levels to price.
    pub levels: Vec<Level>,
    /// The estimator.
    pub metric: Metric,
    /// For `measured`: how often prices are fitted to the optimal layouts, measured as wholes, at most.
    pub refine: u32,
    /// The loss; `None` for the one that [`Loss::or_found`] finds.
    pub loss: Option<Loss>,
    /// The rule for clip ranges.
    pub rule: Rule,
    /// From raw values to the model's inputs.
    pub preprocess: Preprocess,
    /// For `secant`: see [`ERROR_MAX`].
    pub error_max: f64,
    /// The model's name, for the record.
    pub model_name: String,
    /// The data's name, for the record.
    pub data_name: String,
}

/// The levels that are priced unless others are asked for.
pub const DEFAULT_LEVELS: [Level; 5] = [
    Level::Fp32,
    Level::Fp16,
    Level::Int(Width::Int8, Rounding::Nearest),
    Level::Int(Width::Int4, Rounding::Nearest),
    Level::Int(Width::Int2, Rounding::Nearest),
];

/// The rounds of refinement unless others are asked for.
pub const REFINE: u32 = 12;

impl Default for Options {
    fn default() -> Self {
        Self {
            levels: DEFAULT_LEVELS.to_vec(),
            metric: Metric::default(),
            refine: REFINE,
            loss: None,
            rule: Rule::default(),
            preprocess: Preprocess::default(),
            error_max: ERROR_MAX,
            model_name: String::new(),
            data_name: String::new(),
        }
    }
}

impl Options {
    /// Rounds of refinement on so many samples: of `measured` alone, and not on a single one, whose change
    /// of the loss has no variance.
    pub(super) const fn rounds(&self, samples: usize) -> u32 {
        match self.metric {
            Metric::Measured if samples > 1 => self.refine,
            Metric::Measured | Metric::Secant | Metric::Tangent | Metric::Hawq2 => 0,
        }
    }
}

/// A phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Distributions of all tensors.
    Calibrate,
    /// The grids and codes of integer weights, layer by layer.
    Round,
    /// Losses under every probe.
    Measure,
    /// Hessian traces, for the metric `hawq2`.
    Curvature,
    /// Losses of the optimal layouts.
    Refine,
}

/// A caller's means to follow and end a run.
pub struct Control<'a> {
    /// Called with the batches, or layers, done and in all.
    pub progress: &'a (dyn Fn(Phase, usize, usize) + Sync),
    /// Set to end the run after the batches in work.
    pub stop: &'a AtomicBool,
    /// The path of the profile, beside which finished batches are kept. `None` keeps nothing.
    pub output: Option<&'a Path>,
}

impl Control<'_> {
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

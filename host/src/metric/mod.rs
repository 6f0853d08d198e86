//! Estimators of what a level of a layer costs in loss, behind one interface.
//!
//! An estimator names the [`Probe`]s it needs: perturbations of the FP32 model whose loss is
//! measured sample by sample. From their losses it makes an [`Estimate`] for every (layer, level).

pub mod hawq2;
mod measured;
mod replay;
mod secant;
pub(crate) mod tangent;

use bitbudget_core::level::{Level, WeightFormat};
use bitbudget_core::price::SignedMeans;
use bitbudget_core::quant::{Rounding, Width};
use serde::{Deserialize, Serialize};

use crate::loss::mean_and_error;
use crate::name::named;

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
    /// The first-order change of the loss: its gradient times the noise, element by element.
    Tangent,
    /// The mean Hessian trace times the squared noise of the weights (Dong et al. 2020, "HAWQ-V2:
    /// Hessian Aware trace-Weighted Quantization of Neural Networks").
    Hawq2,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 4] = [Self::Measured, Self::Secant, Self::Tangent, Self::Hawq2];

    /// The metric's name in commands and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Secant => "secant",
            Self::Tangent => "tangent",
            Self::Hawq2 => "hawq2",
        }
    }

    /// The perturbations that price `level` of `layer`; none for `fp32`, which costs nothing.
    #[must_use]
    pub fn probes(self, subject: &Subject<'_>, layer: usize, level: Level) -> Vec<Probe> {
        match (self, level) {
            (_, Level::Fp32) | (Self::Hawq2, _) => Vec::new(),
            (Self::Measured, _) => vec![measured::probe(layer, level)],
            (Self::Tangent, _) => vec![Probe::Tangent { layer, level }],
            // no input is quantized, and a step of the weights is too small to matter
            (Self::Secant, Level::Fp16) => Vec::new(),
            (Self::Secant, Level::Int(width, rounding)) => {
                secant::probes(subject, layer, width, rounding)
            }
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
            (_, Level::Fp32) | (Self::Secant, Level::Fp16) => Estimate::default(),
            (Self::Measured, _) => measured::estimate(losses, layer, level),
            (Self::Tangent, _) => losses.change(&Probe::Tangent { layer, level }),
            (Self::Hawq2, _) => hawq2::estimate(subject, layer, level),
            (Self::Secant, Level::Int(width, rounding)) => {
                secant::estimate(subject, losses, layer, width, rounding)
            }
        }
    }
}

impl Metric {
    /// The layers about which this metric cannot say anything: it does not see them, and every level
    /// looks free.
    #[must_use]
    pub fn unseen(self, subject: &Subject<'_>, losses: &Losses<'_>) -> Vec<usize> {
        match self {
            Self::Secant => secant::unseen(losses),
            Self::Measured | Self::Tangent => losses.unmoved(),
            Self::Hawq2 => {
                let traces = subject.mean_traces.iter().enumerate();
                let weighted = traces.filter(|(layer, _)| !subject.weight_noise[*layer].is_empty());
                let flat = weighted.filter(|(_, trace)| trace.price == 0.0);
                flat.map(|(layer, _)| layer).collect()
            }
        }
    }
}

named!(Metric, "metric");

/// A perturbation of the FP32 model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Probe {
    /// These layers at these levels, all others FP32.
    Levels(Vec<(usize, Level)>),
    /// Every element of one layer's input moved by `shift`.
    InputShift {
        /// The layer.
        layer: usize,
        /// In real units.
        shift: f32,
    },
    /// Every weight of one layer moved by so many steps of its channel's grid.
    WeightShift {
        /// The layer.
        layer: usize,
        /// Whose grid.
        width: Width,
        /// In steps.
        steps: f32,
    },
    /// One layer at a level, but the loss continued from FP32 along its gradient.
    Tangent {
        /// The layer.
        layer: usize,
        /// Its level.
        level: Level,
    },
}

/// The noise of one layer's weights when they are stored in some way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightNoise {
    /// Their format.
    pub stored: WeightFormat,
    /// Mean noise, in steps of the weights' channels; of integer weights only.
    pub means: SignedMeans,
    /// Σ (Q(w) − w)², in real units.
    pub squared: f64,
}

/// A network as a metric needs it, apart from its losses.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The INT8 step of every layer's (first) input, in real units.
    pub input_steps: &'a [f32],
    /// The mean noise of every layer's input for each rounding, in real units.
    pub input_noise: &'a [[SignedMeans; Rounding::ALL.len()]],
    /// The noise of every layer's weights, for each way in which its levels store them.
    pub weight_noise: &'a [Vec<WeightNoise>],
    /// The mean Hessian trace of every layer's weights.
    pub mean_traces: &'a [Estimate],
    /// The change of loss under a shift of the weights from which on their noise is priced.
    pub error_max: f64,
}

impl Subject<'_> {
    /// The noise of a layer's weights.
    ///
    /// # Panics
    /// When no level of the layer stores its weights so.
    #[must_use]
    pub fn noise(&self, layer: usize, stored: WeightFormat) -> WeightNoise {
        let mut known = self.weight_noise[layer].iter();
        let found = known.find(|noise| noise.stored == stored);
        *found.expect("the noise of every level's weights")
    }
}

/// The losses of every sample: of the FP32 model, and under each probe.
#[derive(Clone, Copy, Debug)]
pub struct Losses<'a> {
    /// Losses of the FP32 model.
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
    pub fn of(&self, probe: &Probe) -> &[f64] {
        let at = self.probes.iter().position(|other| other == probe);
        &self.perturbed[at.expect("an estimator asks for the probes that it named")]
    }

    /// The layers that have probes at integer levels, of which none changes the loss of any sample.
    fn unmoved(&self) -> Vec<usize> {
        let mut unmoved: Vec<(usize, bool)> = Vec::new();
        for (probe, perturbed) in self.probes.iter().zip(self.perturbed) {
            let (layer, level) = match probe {
                Probe::Levels(levels) => match levels[..] {
                    [one] => one,
                    _ => continue,
                },
                Probe::Tangent { layer, level } => (*layer, *level),
                Probe::InputShift { .. } | Probe::WeightShift { .. } => continue,
            };
            if level.width().is_none() {
                continue;
            }
            let is_still = perturbed == self.base;
            match unmoved.iter_mut().find(|(known, _)| *known == layer) {
                Some((_, all)) => *all &= is_still,
                None => unmoved.push((layer, is_still)),
            }
        }
        let still = unmoved.into_iter().filter(|(_, is_still)| *is_still);
        still.map(|(layer, _)| layer).collect()
    }

    /// The change of the mean loss under `probe`.
    ///
    /// # Panics
    /// When the probe was not measured.
    #[must_use]
    pub fn change(&self, probe: &Probe) -> Estimate {
        let pairs = self.of(probe).iter().zip(self.base);
        let differences: Vec<f64> = pairs.map(|(with, without)| with - without).collect();
        Estimate::of(&differences)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_no_integer_level_changes_are_unseen() {
        let probe = |layer, name: &str| {
            let level: Level = name.parse().expect("a level");
            [
                Probe::Levels(vec![(layer, level)]),
                Probe::Tangent { layer, level },
            ]
        };
        let names = [
            (0, "int8"),
            (0, "int2"),
            (2, "fp16"),
            (2, "int8"),
            (5, "int8"),
            (5, "int4"),
        ];
        let changes = [0.0, 0.0, 0.0, 1e-12, 0.0, -0.5];
        for (kind, metric) in [(0, Metric::Measured), (1, Metric::Tangent)] {
            let probes = names.map(|(layer, name)| probe(layer, name)[kind].clone());
            let losses = Losses {
                base: &[1.0, 2.0],
                probes: &probes,
                perturbed: &changes.map(|change| vec![1.0, 2.0 + change]),
            };
            let subject = Subject {
                input_steps: &[],
                input_noise: &[],
                weight_noise: &[],
                mean_traces: &[],
                error_max: 0.0,
            };
            assert_eq!(metric.unseen(&subject, &losses), [0]);
        }
    }
}

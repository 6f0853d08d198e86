//! Prices from what was measured.

use bitbudget_core::level::WeightFormat;
use bitbudget_core::price::SignedMeans;
use bitbudget_core::quant::Rounding;

use super::calibrate::Calibration;
use super::error::ProfileError;
use super::partial::Batch;
use super::prices::set_prices;
use super::record::{Effort, Origin, Profile};
use super::run::Run;
use crate::capacity::HostNetwork;
use crate::graph::Weights;
use crate::grid::{self, Grid};
use crate::metric::{Estimate, Losses, Metric, Subject, WeightNoise};

impl Run<'_> {
    /// The profile, its prices not refined yet.
    pub(super) fn finish(
        &self,
        origin: Origin,
        mut network: Box<HostNetwork>,
        calibration: Calibration,
        batches: &[Batch],
        mean_traces: &[Estimate],
    ) -> Result<Profile, ProfileError> {
        let base: Vec<f64> = batches
            .iter()
            .flat_map(|batch| batch.base.clone())
            .collect();
        let sum_of = |of: fn(&Batch) -> f64| batches.iter().map(of).sum::<f64>();
        let subject = Subject {
            input_steps: &self.input_steps(&network),
            input_noise: &self.input_noise(batches),
            weight_noise: &self.weight_noise(&calibration),
            mean_traces,
            error_max: self.options.error_max,
        };
        let probes = self.probes(&subject);
        let of = |probe: usize| {
            batches
                .iter()
                .flat_map(move |batch| batch.perturbed[probe].clone())
        };
        let perturbed: Vec<Vec<f64>> = (0..probes.len()).map(|probe| of(probe).collect()).collect();
        let losses = Losses {
            base: &base,
            probes: &probes,
            perturbed: &perturbed,
        };
        let mut estimates = vec![Vec::new(); network.layers.len()];
        for (layer, level) in self.items() {
            let estimate = self
                .options
                .metric
                .estimate(&subject, &losses, layer, level);
            estimates[layer].push(estimate);
        }
        let names = self.batches.model.graph.layers.iter();
        let names: Vec<String> = names.map(|layer| layer.name.clone()).collect();
        let unseen = self.options.metric.unseen(&subject, &losses);
        let weighted = estimates.iter().filter(|row| !row.is_empty()).count();
        if origin.metric == Metric::Measured && unseen.len() == weighted {
            let images = self.batches.data.len;
            return Err(ProfileError::Unmoved { images });
        }
        set_prices(&mut network.prices, &estimates, &names, origin.loss)?;
        Ok(Profile {
            origin,
            samples: base.len() as u32,
            temperature: calibration.temperature,
            fp32_loss: sum_of(|batch| batch.loss) / base.len().max(1) as f64,
            fp32_raw_loss: sum_of(|batch| batch.raw) / base.len().max(1) as f64,
            fp32_accuracy: sum_of(|batch| batch.correct) / base.len().max(1) as f64,
            names,
            network,
            grids: calibration.grids,
            estimates,
            unseen,
            effort: Effort::default(),
            doubts: calibration.doubts,
        })
    }

    fn input_noise(&self, batches: &[Batch]) -> Vec<[SignedMeans; Rounding::ALL.len()]> {
        let layers = self.batches.model.graph.layers.iter().enumerate();
        let noise = layers.map(|(i, layer)| {
            let elements = (self.batches.data.len
                * self.batches.model.graph.shape(layer.inputs[0]).len())
                as f64;
            [0, 1, 2].map(|rounding| {
                let measured = batches.iter().filter_map(|batch| batch.noise.get(i));
                let sums = measured.map(|sums| sums[rounding]);
                let (positive, negative) = sums.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                SignedMeans {
                    positive: positive / elements,
                    negative: negative / elements,
                }
            })
        });
        noise.collect()
    }

    fn weight_noise(&self, calibration: &Calibration) -> Vec<Vec<WeightNoise>> {
        let layers = self
            .batches
            .model
            .graph
            .layers
            .iter()
            .zip(&calibration.grids);
        let noise = layers.map(|(layer, grids)| {
            let Some(weights) = &layer.weights else {
                return Vec::new();
            };
            let mut noise: Vec<WeightNoise> = Vec::new();
            for stored in self
                .options
                .levels
                .iter()
                .map(|level| level.weight_format())
            {
                if noise.iter().all(|known| known.stored != stored) {
                    let input_scale = calibration.qparams[layer.inputs[0]].scale;
                    noise.push(noise_of(weights, grids, stored, input_scale));
                }
            }
            noise
        });
        noise.collect()
    }
}

fn noise_of(
    weights: &Weights,
    grids: &[Grid],
    stored: WeightFormat,
    input_scale: f32,
) -> WeightNoise {
    let real = grid::dequantized(weights, grids, stored, input_scale);
    let errors = real.weight.iter().zip(&weights.weight);
    let errors = errors.map(|(q, w)| f64::from(*q) - f64::from(*w));
    let grid = grids
        .iter()
        .find(|grid| stored == WeightFormat::Int(grid.width));
    let means = grid.map_or_else(SignedMeans::default, |grid| {
        let len = weights.weight.len() / grid.scales.len();
        let step = |i: usize| f64::from(grid.scales[i / len]) * f64::from(grid.width.step());
        SignedMeans::of(errors.clone().enumerate().map(|(i, e)| e / step(i)))
    });
    WeightNoise {
        stored,
        means,
        squared: errors.map(|e| e * e).sum(),
    }
}

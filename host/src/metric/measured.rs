//! The secant taken along the true noise: f(M; layer at level) − f(M).

use bitbudget_core::level::Level;

use super::{Estimate, Losses, Probe};

pub(super) fn probes(layer: usize, level: Level) -> Vec<Probe> {
    vec![Probe::Level { layer, level }]
}

pub(super) fn estimate(losses: &Losses<'_>, layer: usize, level: Level) -> Estimate {
    let perturbed = losses.of(Probe::Level { layer, level });
    let pairs = perturbed.iter().zip(losses.base);
    let differences: Vec<f64> = pairs.map(|(with, without)| with - without).collect();
    Estimate::of(&differences)
}

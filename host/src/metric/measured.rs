//! The secant taken along the true noise: f(M; layer at level) − f(M).

use bitbudget_core::level::Level;

use super::{Estimate, Losses, Probe};

pub(super) fn probe(layer: usize, level: Level) -> Probe {
    Probe::Levels(vec![(layer, level)])
}

pub(super) fn estimate(losses: &Losses<'_>, layer: usize, level: Level) -> Estimate {
    losses.change(&probe(layer, level))
}

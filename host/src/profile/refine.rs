//! Prices that know how layers interact.
//!
//! Prices of one layer at a time add up to the loss of a layout only if layers do not interact. What is
//! refined here is the same additive matrix, so that the solver and the image stay as they are; it is
//! fitted twice:
//!
//! 1. to random layouts, other ones for every few samples ([`fit_random`]): what a level costs on
//!    average over what the other layers may do. Single prices are held as far as they are small: a
//!    level's prices may move by about their root mean square over the layers.
//! 2. to the optimal layouts for all budgets, measured as wholes, which are then solved for anew, until
//!    no new one comes up ([`fit`]): what matters for plans.
//!
//! Both are ridge regressions (Hoerl and Kennard 1970) around the prices of before.

use bitbudget_core::level::Level;
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Measure};

use std::sync::Mutex;

use super::error::ProfileError;
use super::estimate::set_prices;
use super::options::Phase;
use super::partial::Batch;
use super::record::Profile;
use super::run::Run;
use crate::capacity::{self, HostNetwork};
use crate::layout::{self, Layout};
use crate::metric::{Estimate, Replay};
use crate::search::{self, Effort};
use crate::simulate::{self, Mean};

/// The most layouts that one round measures.
const LAYOUTS: usize = 48;
/// Strength of the ridge that holds prices while they are fitted to optimal layouts.
const RIDGE: f64 = 0.1;
/// Nodes of the search for each of the optimal layouts: a layout that is nearly optimal serves as well.
const PLAN_NODES: u64 = 100_000;
/// Random layouts of every [`RANDOM_SAMPLES`] samples.
pub(super) const RANDOM_LAYOUTS: usize = 48;
/// Samples that are measured under the same random layouts, so that each of these has a variance.
const RANDOM_SAMPLES: usize = 8;
/// The least variance of a change of the loss that prices are fitted with, as a part of the mean square of
/// all changes: samples that are all alike do not make their mean certain.
const LEAST_VARIANCE: f64 = 1e-6;

/// A layout and the change of the mean loss that was measured for it.
type Observation = (Layout, f64);

/// The optimal layouts under the network's prices, from the best to the smallest, at most [`LAYOUTS`]
/// of them evenly spread.
fn optimal_layouts(network: &HostNetwork) -> Result<Vec<Layout>, ProfileError> {
    let mut planner = capacity::planner(Places::Ram, network);
    let effort = Effort::nodes(PLAN_NODES);
    let of_weights = (Limits::NONE, Measure::Weights);
    let plans = search::staircase(network, &mut planner, of_weights, &effort).plans;
    let layouts = plans.iter().rev();
    let layouts = layouts.map(|plan| layout::layout_of(&plan.levels));
    let layouts: Vec<Layout> = layouts.collect();
    let count = layouts.len();
    if count <= LAYOUTS {
        return Ok(layouts);
    }
    let spread = (0..LAYOUTS).map(|i| i * (count - 1) / (LAYOUTS - 1));
    Ok(spread.map(|at| layouts[at].clone()).collect())
}

/// The items that have a price: layer, index in the layer's row, level. FP32 costs nothing.
fn items(network: &HostNetwork) -> Vec<(usize, usize, Level)> {
    let rows = network.prices.rows.iter().enumerate();
    let items = rows.flat_map(|(layer, row)| {
        let row = row.iter().enumerate();
        row.map(move |(at, item)| (layer, at, item.level))
    });
    items.filter(|(.., level)| *level != Level::Fp32).collect()
}

/// A ridge regression of changes of the loss on the items of layouts, around prior prices.
struct Regression<'a> {
    items: Vec<(usize, usize, Level)>,
    prior: &'a [Vec<f64>],
    /// Aᵀ W A + ridge.
    matrix: Vec<Vec<f64>>,
    /// Aᵀ W (changes − A prior).
    vector: Vec<f64>,
}

impl<'a> Regression<'a> {
    /// The regression without observations; `ridge` holds an item of this prior price and level.
    fn new(
        network: &HostNetwork,
        prior: &'a [Vec<f64>],
        ridge: impl Fn(f64, Level) -> f64,
    ) -> Self {
        let items = items(network);
        let n = items.len();
        let mut matrix = vec![vec![0.0; n]; n];
        for (i, (layer, at, level)) in items.iter().enumerate() {
            matrix[i][i] = ridge(prior[*layer][*at], *level);
        }
        Self {
            items,
            prior,
            matrix,
            vector: vec![0.0; n],
        }
    }

    fn observe(&mut self, layout: &[Level], change: f64, weight: f64) {
        let chosen = self.items.iter().enumerate();
        let chosen = chosen.filter(|(_, (layer, _, level))| layout[*layer] == *level);
        let terms: Vec<usize> = chosen.map(|(i, _)| i).collect();
        let price = |i: &usize| self.prior[self.items[*i].0][self.items[*i].1];
        let rest = change - terms.iter().map(price).sum::<f64>();
        for i in &terms {
            self.vector[*i] += weight * rest;
            for j in &terms {
                self.matrix[*i][*j] += weight;
            }
        }
    }

    fn prices(self) -> Vec<Vec<f64>> {
        let added = solve(self.matrix, self.vector);
        let mut prices = self.prior.to_vec();
        for ((layer, at, _), x) in self.items.iter().zip(added) {
            prices[*layer][*at] += x;
        }
        prices
    }
}

/// Prices near `prior` that add up to the changes of the loss under random layouts, each measured on
/// some samples with this variance of the change of one sample's loss.
fn fit_random(
    network: &HostNetwork,
    prior: &[Vec<f64>],
    observations: &[(Observation, usize)],
    variance: f64,
) -> Vec<Vec<f64>> {
    let mean_square = |level: Level| {
        let of_level = items(network).into_iter().filter(|item| item.2 == level);
        let squares: Vec<f64> = of_level.map(|(l, at, _)| prior[l][at].powi(2)).collect();
        squares.iter().sum::<f64>() / squares.len().max(1) as f64
    };
    let ridge = |_, level| 1.0 / mean_square(level).max(variance * 1e-9);
    let mut regression = Regression::new(network, prior, ridge);
    for ((layout, change), samples) in observations {
        regression.observe(layout, *change, *samples as f64 / variance);
    }
    regression.prices()
}

/// Prices near `prior` that add up to the changes of the loss under these layouts. An observation
/// weighs 1 / (1 + |change| / s)², s being the mean magnitude of the prices: errors count relative to
/// the loss, down to those that are small anyway.
fn fit(network: &HostNetwork, prior: &[Vec<f64>], observations: &[Observation]) -> Vec<Vec<f64>> {
    let items = items(network);
    let magnitudes = items.iter().map(|(layer, at, _)| prior[*layer][*at].abs());
    let scale = magnitudes.sum::<f64>() / items.len().max(1) as f64;
    let scale = scale.max(f64::MIN_POSITIVE);
    let mut regression = Regression::new(network, prior, |_, _| RIDGE);
    for (layout, change) in observations {
        regression.observe(layout, *change, (1.0 + change.abs() / scale).powi(-2));
    }
    regression.prices()
}

/// The solution of a symmetric positive definite system, by Cholesky's decomposition.
fn solve(mut matrix: Vec<Vec<f64>>, mut vector: Vec<f64>) -> Vec<f64> {
    let n = vector.len();
    for i in 0..n {
        for j in 0..=i {
            let (row_i, row_j) = (&matrix[i], &matrix[j]);
            let products = row_i[..j].iter().zip(&row_j[..j]).map(|(a, b)| a * b);
            let rest = matrix[i][j] - products.sum::<f64>();
            matrix[i][j] = if i == j {
                rest.sqrt()
            } else {
                rest / matrix[j][j]
            };
        }
    }
    for i in 0..n {
        let known = (0..i).map(|j| matrix[i][j] * vector[j]).sum::<f64>();
        vector[i] = (vector[i] - known) / matrix[i][i];
    }
    for i in (0..n).rev() {
        let known = (i + 1..n).map(|j| matrix[j][i] * vector[j]).sum::<f64>();
        vector[i] = (vector[i] - known) / matrix[i][i];
    }
    vector
}

/// Spread of the changes of the loss of single samples around the means of their layouts.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    /// Squared distances from the means.
    squares: f64,
    /// Samples beyond the first of each layout.
    freedom: usize,
    /// Squared changes.
    changes: f64,
    samples: usize,
}

impl Spread {
    /// Adds the changes of one layout; returns their mean.
    fn add(&mut self, changes: &[f64]) -> f64 {
        let mean = changes.iter().sum::<f64>() / changes.len().max(1) as f64;
        let from_mean = changes.iter().map(|x| (x - mean) * (x - mean));
        self.squares += from_mean.sum::<f64>();
        self.freedom += changes.len().saturating_sub(1);
        self.changes += changes.iter().map(|x| x * x).sum::<f64>();
        self.samples += changes.len();
        mean
    }

    /// The variance of the change of one sample's loss under a layout; `None` where no layout has two
    /// samples, or nothing changes.
    fn variance(&self) -> Option<f64> {
        if self.freedom == 0 || self.changes == 0.0 {
            return None;
        }
        let least = LEAST_VARIANCE * self.changes / self.samples as f64;
        Some((self.squares / self.freedom as f64).max(least))
    }
}

impl Run<'_> {
    /// Batches that are measured under the same random layouts.
    fn batches_alike(&self) -> usize {
        RANDOM_SAMPLES.div_ceil(self.batches.len)
    }

    /// The layouts under which this batch is measured beside the metric's probes.
    pub(super) fn random_layouts(&self, network: &HostNetwork, batch: usize) -> Vec<Layout> {
        let seed = batch / self.batches_alike();
        layout::random_layouts(network, RANDOM_LAYOUTS, seed as u64)
    }

    /// Fits the prices to the random layouts.
    pub(super) fn fit_random(
        &self,
        profile: &mut Profile,
        batches: &[Batch],
    ) -> Result<(), ProfileError> {
        let mut observations = Vec::new();
        let mut spread = Spread::default();
        for (i, alike) in batches.chunks(self.batches_alike()).enumerate() {
            let layouts = self.random_layouts(&profile.network, i * self.batches_alike());
            for (at, layout) in layouts.into_iter().enumerate() {
                let changes = alike.iter().flat_map(|batch| &batch.random[at]);
                let changes: Vec<f64> = changes.copied().collect();
                let mean = spread.add(&changes);
                if !mean.is_finite() {
                    return Err(ProfileError::LayoutLoss);
                }
                observations.push(((layout, mean), changes.len()));
            }
        }
        let Some(variance) = spread.variance() else {
            return Ok(());
        };
        let prior = prices_of(&profile.estimates);
        let prices = fit_random(&profile.network, &prior, &observations, variance);
        set_estimates(&mut profile.estimates, prices);
        set_prices(
            &mut profile.network.prices,
            &profile.estimates,
            &profile.names,
        )
    }

    /// Fits the prices to the optimal layouts, as often as the profile's origin says or until there are
    /// no new ones.
    pub(super) fn refine(&self, profile: &mut Profile) -> Result<(), ProfileError> {
        let replay = Replay::new(self.batches.model, &profile.network, &profile.grids)?;
        let prior = prices_of(&profile.estimates);
        let mut network = profile.network.clone();
        let mut observations: Vec<Observation> = Vec::new();
        for round in 0..profile.origin.refine {
            let mut layouts = optimal_layouts(&network)?;
            layouts.retain(|layout| observations.iter().all(|(known, _)| known != layout));
            if layouts.is_empty() {
                break;
            }
            if self.control.stopped() {
                return Err(self.interrupted(self.batches.count()));
            }
            let samples = Mutex::new(round as usize * self.batches.data.len);
            let progress = |done: usize| {
                let mut samples = samples.lock().unwrap_or_else(|e| e.into_inner());
                *samples += done;
                let all = profile.origin.refine as usize * self.batches.data.len;
                (self.control.progress)(Phase::Refine, *samples, all);
            };
            let measured: Vec<Mean> =
                simulate::measure(&self.batches, &replay, &layouts, &progress)?;
            if measured.iter().any(|mean| !mean.loss().is_finite()) {
                return Err(ProfileError::LayoutLoss);
            }
            let changes = measured.iter().map(|mean| mean.loss() - profile.fp32_loss);
            observations.extend(layouts.into_iter().zip(changes));
            let prices = fit(&network, &prior, &observations);
            set_estimates(&mut profile.estimates, prices);
            set_prices(&mut network.prices, &profile.estimates, &profile.names)?;
        }
        drop(replay);
        profile.network = network;
        Ok(())
    }
}

fn prices_of(estimates: &[Vec<Estimate>]) -> Vec<Vec<f64>> {
    let row = |row: &Vec<Estimate>| row.iter().map(|e| e.price).collect();
    estimates.iter().map(row).collect()
}

fn set_estimates(estimates: &mut [Vec<Estimate>], prices: Vec<Vec<f64>>) {
    for (row, prices) in estimates.iter_mut().zip(prices) {
        for (estimate, price) in row.iter_mut().zip(prices) {
            estimate.price = price;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variance_is_that_within_layouts() {
        // layouts far apart, samples around each with a variance of 2/3 and 1
        let mut spread = Spread::default();
        assert_eq!(spread.add(&[9.0, 10.0, 11.0]), 10.0);
        assert_eq!(spread.variance(), Some(1.0));
        assert_eq!(spread.add(&[-1.0, 1.0]), 0.0);
        assert_eq!(spread.variance(), Some(4.0 / 3.0));
        // one sample of a layout says nothing about it
        assert_eq!(spread.add(&[100.0]), 100.0);
        assert_eq!(spread.variance(), Some(4.0 / 3.0));
        let mut alone = Spread::default();
        alone.add(&[3.0]);
        assert_eq!(alone.variance(), None);
        let mut alike = Spread::default();
        alike.add(&[2.0, 2.0]);
        assert_eq!(alike.variance(), Some(LEAST_VARIANCE * 4.0));
        let mut still = Spread::default();
        still.add(&[0.0, 0.0, 0.0]);
        assert_eq!(still.variance(), None);
    }

    #[test]
    fn systems_are_solved() {
        let matrix = vec![
            vec![4.0, 2.0, 0.4],
            vec![2.0, 5.0, 1.0],
            vec![0.4, 1.0, 3.0],
        ];
        let x = [1.0, -2.0, 0.5];
        let product = |row: &Vec<f64>| row.iter().zip(x).map(|(a, x)| a * x).sum();
        let vector = matrix.iter().map(product).collect();
        for (got, want) in solve(matrix, vector).iter().zip(x) {
            assert!((got - want).abs() < 1e-12);
        }
    }
}

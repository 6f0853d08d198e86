//! Prices that know how layers interact.
//!
//! Prices of one layer at a time add up to the loss of a layout only if layers do not interact. What is
//! refined here is the same additive matrix, so that the solver and the image stay as they are; it is
//! fitted twice:
//!
//! 1. to random layouts, other ones for every few samples ([`fit_random`]): what a level costs on
//!    average over what the other layers may do.
//! 2. to the optimal layouts for all budgets, measured as wholes, which are then solved for anew, until
//!    no new one comes up ([`fit`]): what matters for plans.
//!
//! Both are ridge regressions (Hoerl and Kennard 1970) around the prices of before.

use bitbudget_core::level::Level;
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Measure};

use std::sync::Mutex;

use super::error::ProfileError;
use super::options::{Control, Phase};
use super::partial::Batch;
use super::prices::set_prices;
use super::record::Profile;
use super::run::Run;
use crate::capacity::{self, HostNetwork};
use crate::layout::{self, Layout};
use crate::loss::mean_and_error;
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
/// The least square of a price beside which it is held, as a part of the greatest: one that is exactly 0 may
/// move, too.
const LEAST_SQUARE: f64 = 1e-12;
/// The least variance of a change of the loss that prices are fitted with, as a part of the mean square of
/// all changes: samples that are all alike do not make their mean certain.
const LEAST_VARIANCE: f64 = 1e-6;

/// A layout and the change of the mean loss that was measured for it.
type Observation = (Layout, f64);

/// The optimal layouts under the network's prices, from the best to the smallest, at most [`LAYOUTS`]
/// of them evenly spread; fewer where the search is stopped.
fn optimal_layouts(
    network: &HostNetwork,
    control: &Control<'_>,
) -> Result<Vec<Layout>, ProfileError> {
    let mut planner = capacity::planner(Places::Ram, network);
    let effort = Effort {
        node_limit: PLAN_NODES,
        watch: &|_| !control.stopped(),
    };
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

/// A ridge regression of changes of the loss on the items of layouts, around prior prices. Where layers
/// interact, an item may cost another time as much as it does alone, or nothing: prices are held as far
/// as they are small and sure.
struct Regression<'a> {
    items: Vec<(usize, usize, Level)>,
    prior: &'a [Vec<Estimate>],
    /// See [`LEAST_SQUARE`].
    least_square: f64,
    /// Aᵀ W A + ridge.
    matrix: Vec<Vec<f64>>,
    /// Aᵀ W (changes − A prior).
    vector: Vec<f64>,
}

impl<'a> Regression<'a> {
    /// The regression without observations; `ridge` is what a price that moves by as much as it is large
    /// and unsure counts.
    fn new(network: &HostNetwork, prior: &'a [Vec<Estimate>], ridge: f64) -> Self {
        let items = items(network);
        let square = |(layer, at, _): &(usize, usize, Level)| {
            let Estimate {
                price,
                standard_error,
            } = prior[*layer][*at];
            price * price + standard_error * standard_error
        };
        let squares: Vec<f64> = items.iter().map(square).collect();
        let least_square = LEAST_SQUARE * squares.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let n = items.len();
        let mut matrix = vec![vec![0.0; n]; n];
        for (i, square) in squares.iter().enumerate() {
            matrix[i][i] = ridge / square.max(least_square);
        }
        Self {
            items,
            prior,
            least_square,
            matrix,
            vector: vec![0.0; n],
        }
    }

    fn estimate(&self, item: usize) -> &Estimate {
        let (layer, at, _) = self.items[item];
        &self.prior[layer][at]
    }

    /// The items of a layout.
    fn terms(&self, layout: &[Level]) -> impl Iterator<Item = usize> {
        let items = self.items.iter().enumerate();
        let chosen = items.filter(|(_, (layer, _, level))| layout[*layer] == *level);
        chosen.map(|(i, _)| i)
    }

    fn observe(&mut self, layout: &[Level], change: f64, weight: f64) {
        let terms: Vec<usize> = self.terms(layout).collect();
        let known = terms.iter().map(|i| self.estimate(*i).price);
        let rest = change - known.sum::<f64>();
        for i in &terms {
            self.vector[*i] += weight * rest;
            for j in &terms {
                self.matrix[*i][*j] += weight;
            }
        }
    }

    fn prices(self) -> Vec<Vec<f64>> {
        let added = solve(self.matrix, self.vector);
        let mut prices = prices_of(self.prior);
        for ((layer, at, _), x) in self.items.iter().zip(added) {
            prices[*layer][*at] += x;
        }
        prices
    }
}

/// Prices near `prior` that add up to the changes of the loss under random layouts, each
/// measured on some samples with this variance of the change of one sample's loss.
fn fit_random(
    network: &HostNetwork,
    prior: &[Vec<Estimate>],
    observations: &[(Observation, usize)],
    variance: f64,
) -> Vec<Vec<f64>> {
    let mut regression = Regression::new(network, prior, 1.0);
    for ((layout, change), samples) in observations {
        regression.observe(layout, *change, *samples as f64 / variance);
    }
    regression.prices()
}

/// Prices near `prior` that add up to the changes of the loss under these layouts. Errors count relative to the
/// change, down to the standard error of its prediction.
fn fit(
    network: &HostNetwork,
    prior: &[Vec<Estimate>],
    observations: &[Observation],
) -> Vec<Vec<f64>> {
    let mut regression = Regression::new(network, prior, RIDGE);
    for (layout, change) in observations {
        let errors = regression
            .terms(layout)
            .map(|i| regression.estimate(i).standard_error);
        let error: f64 = errors.map(|e| e * e).sum();
        let weight = 1.0 / (change * change + error).max(regression.least_square);
        regression.observe(layout, *change, weight);
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
        let prior = &profile.estimates;
        let prices = fit_random(&profile.network, prior, &observations, variance);
        set_estimates(&mut profile.estimates, prices);
        set_prices(
            &mut profile.network.prices,
            &profile.estimates,
            &profile.names,
            profile.origin.loss,
        )
    }

    /// Fits the prices to the optimal layouts, as often as the profile's origin says or until there are
    /// no new ones.
    pub(super) fn refine(
        &self,
        profile: &mut Profile,
        batches: &[Batch],
    ) -> Result<(), ProfileError> {
        let base: Vec<f64> = batches.iter().flat_map(|b| b.base.clone()).collect();
        let (base, _) = mean_and_error(&base);
        let replay = Replay::new(self.batches.model, &profile.network, &profile.grids)?;
        let prior = profile.estimates.clone();
        let mut network = profile.network.clone();
        let mut observations: Vec<Observation> = Vec::new();
        for round in 0..profile.origin.refine {
            let mut layouts = optimal_layouts(&network, self.control)?;
            if self.control.stopped() {
                return Err(self.interrupted(self.batches.count()));
            }
            layouts.retain(|layout| observations.iter().all(|(known, _)| known != layout));
            if layouts.is_empty() {
                break;
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
            let changes = measured.iter().map(|mean| mean.loss() - base);
            observations.extend(layouts.into_iter().zip(changes));
            let prices = fit(&network, &prior, &observations);
            set_estimates(&mut profile.estimates, prices);
            set_prices(
                &mut network.prices,
                &profile.estimates,
                &profile.names,
                profile.origin.loss,
            )?;
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

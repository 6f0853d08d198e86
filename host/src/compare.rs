//! What predictions are worth: rank correlation over random layouts, and the best that any layout
//! does.

use bitbudget_core::arena::Lifetimes;
use bitbudget_core::level::Level;
use bitbudget_core::plan::Budget;

use crate::layouts::Mean;
use crate::profile::{HostNetwork, MAX_LAYERS};
use crate::random::Random;

/// A level for every layer, `fp32` for those without weights.
pub type Layout = Vec<Level>;

/// The layout of a plan's levels.
#[must_use]
pub fn layout_of(levels: &[Option<Level>]) -> Layout {
    levels.iter().map(|l| l.unwrap_or(Level::Fp32)).collect()
}

/// `count` layouts, every layer at any of its levels with equal probability.
#[must_use]
pub fn random_layouts(network: &HostNetwork, count: usize, seed: u64) -> Vec<Layout> {
    let mut random = Random::new(seed);
    let mut below = |n: usize| (random.bits() % n as u64) as usize;
    let mut layout = || {
        let rows = network.prices.rows.iter();
        let level = |row: &heapless::Vec<bitbudget_core::price::PriceItem, _>| match row.len() {
            0 => Level::Fp32,
            len => row[below(len)].level,
        };
        rows.map(level).collect()
    };
    (0..count).map(|_| layout()).collect()
}

/// The most layouts that an oracle measures.
pub const MAX_LAYOUTS: u128 = 1 << 18;

/// How many layouts there are.
#[must_use]
pub fn layout_count(network: &HostNetwork) -> u128 {
    let rows = network.prices.rows.iter();
    let counts = rows.map(|row| row.len().max(1) as u128);
    counts.fold(1, u128::saturating_mul)
}

/// Every layout there is.
#[must_use]
pub fn all_layouts(network: &HostNetwork) -> Vec<Layout> {
    let mut layouts: Vec<Layout> = vec![Vec::new()];
    for row in &network.prices.rows {
        let mut levels: Vec<Level> = row.iter().map(|item| item.level).collect();
        if levels.is_empty() {
            levels.push(Level::Fp32);
        }
        let longer = |layout: &Layout| {
            let with = |level: &Level| [layout.as_slice(), &[*level]].concat();
            levels.iter().map(with).collect::<Vec<_>>()
        };
        layouts = layouts.iter().flat_map(longer).collect();
    }
    layouts
}

/// Bytes of resident weights, and the predicted change of the loss, of a layout of the network's
/// levels.
#[must_use]
pub fn bytes_and_price(network: &HostNetwork, layout: &[Level]) -> (u64, f64) {
    let rows = network.prices.rows.iter().zip(layout);
    let items = rows.filter_map(|(row, level)| row.iter().find(|item| item.level == *level));
    let sum = |(bytes, price), item: &bitbudget_core::price::PriceItem| {
        (bytes + u64::from(item.bytes), price + i64::from(item.price))
    };
    let (bytes, price) = items.fold((0, 0), sum);
    (bytes, network.prices.to_loss(price))
}

/// What a layout takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// Bytes of resident weights.
    pub weights: u64,
    /// Bytes of the activation arena.
    pub arena: u64,
}

impl Bytes {
    /// Those of a layout.
    #[must_use]
    pub fn of(network: &HostNetwork, lifetimes: &Lifetimes<MAX_LAYERS>, layout: &[Level]) -> Self {
        Self {
            weights: bytes_and_price(network, layout).0,
            arena: lifetimes.place(&network.forms(layout)).bytes().into(),
        }
    }

    /// Whether they fit a budget.
    #[must_use]
    pub const fn fit(&self, budget: Budget) -> bool {
        match budget {
            Budget::Total(bytes) => self.weights + self.arena <= bytes,
            Budget::Weights(bytes) => self.weights <= bytes,
        }
    }
}

/// Every layout's true losses.
#[derive(Clone, Debug)]
pub struct Oracle {
    /// The layouts.
    pub layouts: Vec<Layout>,
    /// What each takes.
    pub bytes: Vec<Bytes>,
    /// Of each on the calibration set.
    pub calibration: Vec<Mean>,
    /// Of each on the test set.
    pub test: Vec<Mean>,
}

impl Oracle {
    /// The layout of least loss among those that fit a budget; `losses` are those on either set.
    #[must_use]
    pub fn best(&self, losses: &[Mean], budget: Budget) -> Option<usize> {
        let fit = (0..self.layouts.len()).filter(|at| self.bytes[*at].fit(budget));
        fit.min_by(|a, b| losses[*a].loss().total_cmp(&losses[*b].loss()))
    }

    /// The index of a layout.
    #[must_use]
    pub fn find(&self, layout: &[Level]) -> Option<usize> {
        self.layouts.iter().position(|other| other == layout)
    }
}

/// Spearman's rank correlation of two measurements of the same things (Spearman 1904): the correlation
/// of their ranks, equals sharing the mean of theirs. NaN where one of them never differs.
#[must_use]
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let n = a.len() as f64;
    let mean = (n + 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| -> f64 {
        let pairs = x.iter().zip(y);
        pairs.map(|(x, y)| (x - mean) * (y - mean)).sum()
    };
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut rank = 0.0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let len = equal.len() as f64;
        for at in equal {
            ranks[*at] = rank + (len + 1.0) / 2.0;
        }
        rank += len;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_correlate_as_in_the_textbook() {
        assert!((spearman(&[1.0, 2.0, 3.0], &[10.0, 20.0, 90.0]) - 1.0).abs() < 1e-12);
        assert!((spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        // 1 - 6 Σd² / (n (n² - 1)), without ties
        let (a, b) = ([106.0, 100.0, 86.0, 101.0], [7.0, 27.0, 2.0, 50.0]);
        assert!((spearman(&a, &b) - (1.0 - 6.0 * 6.0 / 60.0)).abs() < 1e-12);
        assert_eq!(ranks(&[5.0, 1.0, 5.0]), [2.5, 1.0, 2.5]);
        assert!(spearman(&[1.0, 1.0], &[1.0, 2.0]).is_nan());
    }
}

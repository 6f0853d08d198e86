//! Predicted against measured loss: rank correlation over random layouts, and the best of all
//! layouts.

use bitbudget_core::level::Level;
use bitbudget_core::plan::Budget;

use crate::layout::{Bytes, Layout};
use crate::simulate::Mean;

/// The most layouts that an oracle measures.
pub const MAX_LAYOUTS: u128 = 1 << 18;

/// Every layout's true losses.
#[derive(Clone, Debug)]
pub struct Oracle {
    /// The layouts.
    pub layouts: Vec<Layout>,
    /// The memory of each.
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

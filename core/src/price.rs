//! Prices: what each level of each layer costs in loss, and the matrix that the solver reads.
//!
//! The estimator is that of "Mixed-precision inference quantization: problem resetting and
//! traditional NP hard problem": the secant slope of the loss times the mean quantization noise.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::level::Level;
use crate::place::Cycles;
use crate::quant::Rounding;

/// One level of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PriceItem {
    /// The level.
    pub level: Level,
    /// Bytes of the layer's block at that level.
    pub bytes: u32,
    /// Predicted change of the loss, in units of [`PriceMatrix::unit`]; negative is an improvement.
    pub price: i32,
    /// Cycles of the layer at that level on the board that the image was packed for or measured on; zeros if
    /// there is none. They have a place of their own in an image.
    #[serde(skip)]
    pub cycles: Cycles,
}

/// The price matrix: one row per layer, one item per level; rows of layers without weights are
/// empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PriceMatrix<const N: usize, const K: usize> {
    /// Loss per unit of price; positive and finite.
    pub unit: f64,
    /// `rows[layer]` lists the levels that the layer may take.
    pub rows: Vec<Vec<PriceItem, K>, N>,
    /// Pairs of layers: the second one always has the level of the first. The first is an earlier layer
    /// and not the second one of a pair; both offer the same levels in the same order.
    pub ties: Vec<[u16; 2], N>,
}

impl<const N: usize, const K: usize> PriceMatrix<N, K> {
    /// The largest magnitude of a price, so that differences of two fit 32 bits.
    pub const MAX_PRICE: i32 = 1 << 30;

    /// The unit that spreads prices up to `largest` (in loss) over the integers.
    #[must_use]
    pub fn unit_for(largest: f64) -> f64 {
        let unit = largest / f64::from(Self::MAX_PRICE);
        if unit.is_finite() && unit > f64::MIN_POSITIVE {
            unit
        } else {
            1.0
        }
    }

    /// A price in loss as an integer number of `unit`s, rounded to nearest; `None` where the price or
    /// the unit is no number to calculate with.
    #[must_use]
    pub fn to_units(price: f64, unit: f64) -> Option<i32> {
        let max = f64::from(Self::MAX_PRICE);
        let usable = price.is_finite() && unit.is_finite() && unit > 0.0;
        usable.then(|| libm::round(price / unit).clamp(-max, max) as i32)
    }

    /// Whether it is known how many cycles the layers take.
    #[must_use]
    pub fn has_cycles(&self) -> bool {
        let mut items = self.rows.iter().flatten();
        items.any(|item| item.cycles != Cycles::default())
    }

    /// The loss that `price` units stand for.
    #[must_use]
    pub fn to_loss(&self, price: i64) -> f64 {
        price as f64 * self.unit
    }
}

/// Means of the noise e over all elements, split by sign: mean(max(e, 0)) and mean(min(e, 0)).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SignedMeans {
    /// mean(max(e, 0)), never negative.
    pub positive: f64,
    /// mean(min(e, 0)), never positive.
    pub negative: f64,
}

impl SignedMeans {
    /// The means of an iterator of noise values; zeros for an empty one.
    #[must_use]
    pub fn of(noise: impl IntoIterator<Item = f64>) -> Self {
        let (mut means, mut count) = (Self::default(), 0_u64);
        for e in noise {
            means.positive += e.max(0.0);
            means.negative += e.min(0.0);
            count += 1;
        }
        let count = count.max(1) as f64;
        Self {
            positive: means.positive / count,
            negative: means.negative / count,
        }
    }

    /// The mean of the noise.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.positive + self.negative
    }
}

/// The slope of the loss over a signed shift: (loss(shifted) − loss) / shift, a rise over its run.
///
/// The source paper's equation has the numerator the other way round, which is right for a shift of
/// −1 step (floor) only.
#[must_use]
pub fn secant_slope(shifted_loss: f64, loss: f64, shift: f64) -> f64 {
    (shifted_loss - loss) / shift
}

/// The price of noise along secant slopes: `down` was measured at −1 step, `up` at +1 step.
///
/// Floor has noise of one sign and uses `down`, ceil uses `up`; nearest has both and uses each slope
/// with the mean noise of its sign.
#[must_use]
pub fn secant_price(rounding: Rounding, down: f64, up: f64, noise: SignedMeans) -> f64 {
    match rounding {
        Rounding::Floor => down * noise.mean(),
        Rounding::Ceil => up * noise.mean(),
        Rounding::Nearest => up * noise.positive + down * noise.negative,
    }
}

/// The default of `error_max`: the change of loss under a shift of the weights by one step above
/// which the weights' noise is priced too.
pub const ERROR_MAX: f64 = 0.1;

/// Whether the weight term joins the price: a shift of the weights changed the loss by more than
/// `error_max`.
#[must_use]
pub fn weights_matter(shifted_losses: &[f64], loss: f64, error_max: f64) -> bool {
    let exceeds = |shifted: &f64| (shifted - loss).abs() > error_max;
    shifted_losses.iter().any(exceeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_loss_is_priced_exactly() {
        let loss = |h: f64| 2.0 + 3.0 * h;
        let step = 0.25;
        let down = secant_slope(loss(1.0 - step), loss(1.0), -step);
        let up = secant_slope(loss(1.0 + step), loss(1.0), step);
        assert_eq!((down, up), (3.0, 3.0));
        let noise = SignedMeans::of([0.1, -0.3, 0.05]);
        assert!((noise.mean() - -0.05).abs() < 1e-15);
        for rounding in Rounding::ALL {
            let price = secant_price(rounding, down, up, noise);
            assert!((price - 3.0 * noise.mean()).abs() < 1e-12);
        }
    }

    #[test]
    fn each_slope_goes_with_the_noise_of_its_sign() {
        let noise = SignedMeans {
            positive: 0.5,
            negative: -0.25,
        };
        assert_eq!(secant_price(Rounding::Nearest, 8.0, 2.0, noise), -1.0);
        assert_eq!(secant_price(Rounding::Floor, 8.0, 2.0, noise), 2.0);
        assert_eq!(secant_price(Rounding::Ceil, 8.0, 2.0, noise), 0.5);
        assert_eq!(SignedMeans::of([]), SignedMeans::default());
    }

    #[test]
    fn weights_matter_beyond_the_threshold_only() {
        assert!(!weights_matter(&[1.1, 0.95], 1.0, ERROR_MAX + 1e-9));
        assert!(weights_matter(&[1.0, 0.85], 1.0, ERROR_MAX));
    }

    #[test]
    fn prices_keep_sign_and_order_as_integers() {
        type Matrix = PriceMatrix<4, 4>;
        let unit = Matrix::unit_for(0.5);
        assert_eq!(Matrix::to_units(0.5, unit), Some(Matrix::MAX_PRICE));
        assert_eq!(Matrix::to_units(-0.25, unit), Some(-Matrix::MAX_PRICE / 2));
        assert_eq!(Matrix::to_units(9.0, unit), Some(Matrix::MAX_PRICE));
        assert_eq!(Matrix::unit_for(0.0), 1.0);
    }

    #[test]
    fn what_is_not_finite_has_no_price() {
        type Matrix = PriceMatrix<4, 4>;
        for price in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Matrix::to_units(price, 1.0), None);
            assert_eq!(Matrix::to_units(1.0, price), None);
        }
        assert_eq!(Matrix::to_units(0.0, 0.0), None);
    }
}

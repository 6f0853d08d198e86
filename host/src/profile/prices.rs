//! Prices as integers: what the planner adds up.

use bitbudget_core::price::{PriceItem, PriceMatrix};

use super::error::ProfileError;
use crate::capacity::{MAX_LAYERS, MAX_LEVELS};
use crate::loss::Loss;
use crate::metric::Estimate;

type Matrix = PriceMatrix<MAX_LAYERS, MAX_LEVELS>;

/// A loss in nats that nobody can tell. Prices are multiples of a step, so that a layout's are off by half of it
/// in all at most: levels that differ by less are equally good, and the smaller one is chosen.
const RESOLUTION: f64 = 1e-3;
/// What the bytes of the largest layout count, as a part of a step: of layouts whose prices add up to the
/// same, that of fewest bytes is the best.
const ALL_BYTES: f64 = 1.0 / 16.0;
/// The most units of a step: as many as bytes are told apart with.
const STEP_UNITS: f64 = 65_536.0;

/// Writes the estimates of changes of `loss` into the matrix as integers; `names` are those of the layers.
pub(super) fn set_prices(
    prices: &mut Matrix,
    estimates: &[Vec<Estimate>],
    names: &[String],
    loss: Loss,
) -> Result<(), ProfileError> {
    let magnitudes = estimates.iter().flatten().map(|e| e.price.abs());
    let largest = magnitudes.fold(0.0, f64::max);
    let weighted = prices.rows.iter().filter(|row| !row.is_empty()).count();
    let most = f64::from(Matrix::MAX_PRICE);
    let (step, units) = match loss {
        Loss::Calibrated | Loss::Labels | Loss::Kl => {
            let step = RESOLUTION / weighted.max(1) as f64;
            let units = (most / (largest / step + 1.0)).floor();
            (step, units.clamp(1.0, STEP_UNITS))
        }
        // in the outputs' own measure, of which nothing is known
        Loss::Mse => (Matrix::unit_for(largest), 1.0),
    };
    prices.unit = step.max(largest / most) / units;
    let largest_bytes = |row: &[_]| row.iter().map(|item: &PriceItem| item.bytes).max();
    let bytes = prices.rows.iter().filter_map(|row| largest_bytes(row));
    let all_bytes: f64 = bytes.map(f64::from).sum();
    for ((row, estimates), layer) in prices.rows.iter_mut().zip(estimates).zip(names) {
        for (item, estimate) in row.iter_mut().zip(estimates) {
            let steps = Matrix::to_units(estimate.price, prices.unit * units);
            let steps = steps.ok_or_else(|| ProfileError::Price {
                layer: layer.clone(),
                level: item.level,
            })?;
            let tie = ALL_BYTES * units * f64::from(item.bytes) / all_bytes;
            item.price = steps * units as i32 + tie.round() as i32;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bitbudget_core::level::Level;
    use bitbudget_core::place::Cycles;

    use super::*;

    /// The integers of one layer's prices beside another layer of the same.
    fn integers(estimates: &[f64], bytes: &[u32], loss: Loss) -> (Vec<i32>, f64) {
        let mut prices = Matrix {
            unit: 1.0,
            rows: heapless::Vec::new(),
            ties: heapless::Vec::new(),
        };
        let estimate = |price: &f64| Estimate {
            price: *price,
            standard_error: 0.0,
        };
        let row: Vec<Estimate> = estimates.iter().map(estimate).collect();
        for _ in 0..2 {
            let items = Level::ALL
                .into_iter()
                .zip(bytes)
                .map(|(level, bytes)| PriceItem {
                    level,
                    bytes: *bytes,
                    price: 0,
                    cycles: Cycles::default(),
                });
            prices.rows.push(items.collect()).expect("room");
        }
        let names = ["a".to_owned(), "b".to_owned()];
        set_prices(&mut prices, &[row.clone(), row], &names, loss).expect("finite prices");
        let integers = prices.rows[0].iter().map(|item| item.price).collect();
        (integers, prices.unit)
    }

    #[test]
    fn what_nobody_can_tell_is_equal_and_the_smaller_is_better() {
        let estimates = [0.0, 0.000_2, 0.000_26, 0.01, 3.0];
        let bytes = [400, 200, 100, 50, 25];
        let (prices, unit) = integers(&estimates, &bytes, Loss::Calibrated);
        // a step is a thousandth for two layers
        let step = 0.000_5;
        for (price, (estimate, bytes)) in prices.iter().zip(estimates.iter().zip(bytes)) {
            let steps = (estimate / step).round();
            let told = f64::from(*price) * unit;
            assert!(
                told >= steps * step && told < (steps + 1.0 / 16.0) * step,
                "{told}"
            );
            assert!(bytes == 25 || (told - estimate).abs() <= step * (1.0 / 2.0 + 1.0 / 16.0));
        }
        assert!(prices[1] < prices[0] && prices[2] > prices[0]);
    }

    #[test]
    fn other_losses_and_huge_ones_take_what_room_there_is() {
        let (prices, unit) = integers(&[0.0, 1e-9, 2e-9], &[9, 8, 7], Loss::Mse);
        let told = prices.iter().map(|price| f64::from(*price) * unit);
        for (told, wanted) in told.zip([0.0, 1e-9, 2e-9]) {
            assert!((told - wanted).abs() < 1e-11, "{told}");
        }
        let (prices, unit) = integers(&[0.0, 1e-3, 4e12], &[9, 8, 7], Loss::Labels);
        assert!((f64::from(prices[2]) * unit / 4e12 - 1.0).abs() < 1e-6);
    }
}

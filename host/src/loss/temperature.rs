//! The temperature of a model: how much too sure of itself it is.
//!
//! Temperature scaling is that of Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural
//! Networks" (2017), equation 9: probabilities are softmax(z / T), T being that of least cross-entropy
//! against labels. The cross-entropy of a model that is too sure of itself falls as noise softens its
//! outputs; at its temperature, that is no gain any more.

use super::objective::{Objective, normalize};

/// The least temperature. Below 1 the loss would be sharpened; a model that has every label right, as
/// many have on the images that they were trained on, would have none that is best.
pub const MIN_TEMPERATURE: f64 = 1.0;
/// The greatest temperature: outputs that have little to do with the labels would have none.
pub const MAX_TEMPERATURE: f64 = 10.0;
/// Steps to the best temperature at most; Newton's method takes a handful.
const STEPS: usize = 64;
/// A step of 1/T that is small enough.
const TOLERANCE: f64 = 1e-9;

impl Objective {
    /// The temperature within [`MIN_TEMPERATURE`] and [`MAX_TEMPERATURE`] at which the outputs of samples,
    /// one pixel each, have the least mean cross-entropy against their labels.
    ///
    /// # Panics
    /// When a label is no class.
    #[must_use]
    pub fn fit(self, outputs: &[f32], labels: &[u32]) -> f64 {
        // the loss is convex in 1/T: Newton's method between ends that close in
        let (mut low, mut high) = (1.0 / MAX_TEMPERATURE, 1.0 / MIN_TEMPERATURE);
        if self.slope(outputs, labels, high).0 <= 0.0 {
            return MIN_TEMPERATURE;
        }
        if self.slope(outputs, labels, low).0 >= 0.0 {
            return MAX_TEMPERATURE;
        }
        let mut at = high;
        for _ in 0..STEPS {
            let (slope, curvature) = self.slope(outputs, labels, at);
            if slope > 0.0 {
                high = at;
            } else {
                low = at;
            }
            let newton = at - slope / curvature;
            let is_inside = low < newton && newton < high;
            let next = if is_inside {
                newton
            } else {
                (low + high) / 2.0
            };
            let step = (next - at).abs();
            at = next;
            if step < TOLERANCE {
                break;
            }
        }
        1.0 / at
    }

    /// The first two derivatives of the mean cross-entropy by 1/T.
    fn slope(self, outputs: &[f32], labels: &[u32], inverse: f64) -> (f64, f64) {
        let (mut first, mut second) = (0.0, 0.0);
        for (outputs, label) in outputs.chunks(self.classes.max(1)).zip(labels) {
            for (raw, class) in self.choices(outputs).iter().zip(self.chosen(*label)) {
                let mut scaled: Vec<f64> = raw.iter().map(|x| x * inverse).collect();
                normalize(&mut scaled);
                let weighted = |power| -> f64 {
                    let pairs = scaled.iter().zip(raw);
                    pairs
                        .map(|(log_p, x): (_, &f64)| log_p.exp() * x.powi(power))
                        .sum()
                };
                let mean = weighted(1);
                first += mean - raw[class];
                second += weighted(2) - mean * mean;
            }
        }
        let count = labels.len().max(1) as f64;
        (first / count, second / count)
    }
}

#[cfg(test)]
mod tests {
    use bitbudget_core::op::Op;
    use bitbudget_core::shape::Shape;

    use super::*;
    use crate::loss::{Head, Loss, Target};
    use crate::random::Random;

    fn objective(last: Op) -> Objective {
        let head = Head {
            input: Shape::vector(9),
            outputs: Shape::vector(3),
            last,
        };
        Objective::new(Loss::Calibrated, head)
    }

    /// Logits of samples whose labels are drawn from softmax(logits / `temperature`).
    fn samples(temperature: f64) -> (Vec<f32>, Vec<u32>) {
        let mut random = Random::new(7);
        let (mut outputs, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..4000 {
            let logits: Vec<f32> = (0..3).map(|_| 4.0 * random.signed()).collect();
            let mut logs: Vec<f64> = logits.iter().map(|x| f64::from(*x) / temperature).collect();
            normalize(&mut logs);
            let mut drawn = f64::from(random.signed() + 1.0) / 2.0;
            let is_drawn = |log_p: &f64| {
                drawn -= log_p.exp();
                drawn < 0.0
            };
            labels.push(logs.iter().position(is_drawn).unwrap_or(2) as u32);
            outputs.extend(logits);
        }
        (outputs, labels)
    }

    fn mean_loss(objective: Objective, outputs: &[f32], labels: &[u32]) -> f64 {
        let scores = outputs.chunks(3).zip(labels);
        let losses = scores.map(|(row, label)| objective.score(row, Target::Label(*label)).loss);
        losses.sum::<f64>() / labels.len() as f64
    }

    #[test]
    fn a_temperature_is_found_again_and_no_other_has_less_loss() {
        let logits = objective(Op::Dense);
        let probabilities = objective(Op::Softmax { log: false });
        for true_temperature in [1.3, 2.0, 5.0] {
            let (outputs, labels) = samples(true_temperature);
            let found = logits.fit(&outputs, &labels);
            assert!((found / true_temperature - 1.0).abs() < 0.1, "{found}");
            let at = |temperature| Objective {
                temperature,
                ..logits
            };
            let least = mean_loss(at(found), &outputs, &labels);
            for other in [0.99 * found, 1.01 * found] {
                assert!(least < mean_loss(at(other), &outputs, &labels));
            }
            let softmax = outputs.chunks(3).flat_map(|row| {
                let logs = logits.choices(row).remove(0).into_iter();
                logs.map(|x| x.exp() as f32).collect::<Vec<_>>()
            });
            let softmax: Vec<f32> = softmax.collect();
            assert!((probabilities.fit(&softmax, &labels) - found).abs() < 1e-4);
        }
    }

    #[test]
    fn a_temperature_stays_within_its_ends() {
        let objective = objective(Op::Dense);
        let (outputs, labels) = samples(0.5);
        assert_eq!(objective.fit(&outputs, &labels), MIN_TEMPERATURE);
        // every label right: the colder the better; every label wrong: the hotter the better
        assert_eq!(objective.fit(&[9.0, 0.0, 0.0], &[0]), MIN_TEMPERATURE);
        assert_eq!(objective.fit(&[9.0, 0.0, 0.0], &[1]), MAX_TEMPERATURE);
        // outputs that are all alike have no temperature
        assert_eq!(objective.fit(&[1.0, 1.0, 1.0], &[1]), MIN_TEMPERATURE);
        assert_eq!(objective.fit(&[], &[]), MIN_TEMPERATURE);
    }
}

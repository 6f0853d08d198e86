//! A loss of outputs of a kind, sample by sample.

use bitbudget_core::op::Op;
use bitbudget_core::shape::Shape;

use super::{Loss, Score, argmax};

/// The kind of the last layer's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// Logits: the loss takes their softmax.
    Logits,
    /// Probabilities: the network ends in a softmax.
    Probabilities,
}

/// The target of one sample's outputs.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// The class of this index, below the number of outputs.
    Label(u32),
    /// The outputs of the FP32 model.
    Outputs(&'a [f32]),
}

/// A loss of outputs of a kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// The loss; [`Loss::Labels`] goes with [`Target::Label`], [`Loss::Kl`] and [`Loss::Mse`] with
    /// [`Target::Outputs`], and [`Loss::Calibrated`] with both.
    pub loss: Loss,
    /// With [`Loss::Calibrated`] what the logits are divided by, above 0; see [`Objective::fit`].
    pub temperature: f64,
    /// The kind of the outputs.
    pub outputs: Outputs,
    /// Outputs of each pixel, one after the other: the classes that a softmax runs over.
    pub classes: usize,
}

impl Objective {
    /// The loss of outputs of this shape that the operator `last` gives, at temperature 1.
    #[must_use]
    pub fn new(loss: Loss, last: Option<Op>, outputs: Shape) -> Self {
        // a softmax runs over all elements of a sample
        let (outputs, classes) = match last {
            Some(Op::Softmax) => (Outputs::Probabilities, outputs.len()),
            Some(_) | None => (Outputs::Logits, outputs.c.into()),
        };
        Self {
            loss,
            temperature: 1.0,
            outputs,
            classes,
        }
    }

    /// The score of one sample's outputs, `[H, W, C]`. Against the FP32 model's outputs, the calibrated loss is
    /// the divergence at the temperature: how much the cross-entropy rises in the mean over labels that are as
    /// likely as these outputs say.
    ///
    /// # Panics
    /// When a label is no class.
    #[must_use]
    pub fn score(self, outputs: &[f32], target: Target<'_>) -> Score {
        let pixels = outputs.chunks(self.classes.max(1));
        let count = pixels.len().max(1) as f64;
        let mut score = Score {
            loss: 0.0,
            raw: 0.0,
            correct: 0.0,
        };
        for (i, pixel) in pixels.enumerate() {
            let (loss, raw, class) = match target {
                Target::Label(label) => {
                    let label = label as usize;
                    let raw = self.log_probabilities(pixel);
                    (-self.at_temperature(raw.clone())[label], -raw[label], label)
                }
                Target::Outputs(want) => {
                    let want = &want[i * self.classes..][..pixel.len()];
                    let distance = self.distance(pixel, want);
                    (distance, distance, argmax(want))
                }
            };
            score.loss += loss;
            score.raw += raw;
            score.correct += f64::from(u8::from(argmax(pixel) == class));
        }
        score.loss /= count;
        score.raw /= count;
        score.correct /= count;
        score
    }

    /// The distance of one pixel's outputs from those of the FP32 model.
    fn distance(self, outputs: &[f32], want: &[f32]) -> f64 {
        match self.loss {
            Loss::Mse => {
                let pairs = outputs.iter().zip(want);
                let squares = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
                squares.sum::<f64>() / outputs.len().max(1) as f64
            }
            Loss::Kl | Loss::Labels | Loss::Calibrated => {
                let log_p = self.at_temperature(self.log_probabilities(want));
                let log_q = self.at_temperature(self.log_probabilities(outputs));
                let pairs = log_p.iter().zip(&log_q);
                pairs.map(|(p, q)| p.exp() * (p - q)).sum()
            }
        }
    }

    /// The derivative of [`Objective::score`]'s loss with respect to each output.
    ///
    /// # Panics
    /// When a label is no class.
    #[must_use]
    pub fn gradient(self, outputs: &[f32], target: Target<'_>) -> Vec<f32> {
        if let (Loss::Mse, Target::Outputs(want)) = (self.loss, target) {
            let scale = 2.0 / outputs.len().max(1) as f32;
            return outputs
                .iter()
                .zip(want)
                .map(|(a, b)| scale * (a - b))
                .collect();
        }
        let pixels = outputs.chunks(self.classes.max(1));
        let part = 1.0 / pixels.len().max(1) as f64;
        let of_pixel = |(i, pixel): (usize, &[f32])| -> Vec<f32> {
            let want: Vec<f64> = match target {
                Target::Label(label) => {
                    let one = |i: usize| f64::from(u8::from(i == label as usize));
                    (0..pixel.len()).map(one).collect()
                }
                Target::Outputs(want) => {
                    let want = &want[i * self.classes..][..pixel.len()];
                    let log_p = self.at_temperature(self.log_probabilities(want));
                    log_p.into_iter().map(f64::exp).collect()
                }
            };
            let raw = self.log_probabilities(pixel);
            let log_q = self.at_temperature(raw.clone());
            let rows = want.iter().zip(raw).zip(log_q);
            let each = rows.map(|((p, raw), log_q)| match (self.loss, self.outputs) {
                (Loss::Calibrated, Outputs::Probabilities) => {
                    (log_q.exp() - p) / self.temperature / raw.exp()
                }
                (Loss::Calibrated, Outputs::Logits) => (log_q.exp() - p) / self.temperature,
                (_, Outputs::Logits) => log_q.exp() - p,
                (_, Outputs::Probabilities) => -p / log_q.exp(),
            });
            each.map(|x| (part * x) as f32).collect()
        };
        pixels.enumerate().flat_map(of_pixel).collect()
    }

    /// One pixel's log-probabilities at the temperature; as they are but with [`Loss::Calibrated`].
    fn at_temperature(self, mut raw: Vec<f64>) -> Vec<f64> {
        if self.loss == Loss::Calibrated {
            raw.iter_mut().for_each(|x| *x /= self.temperature);
            normalize(&mut raw);
        }
        raw
    }

    /// Log-probabilities of one pixel's outputs.
    pub(super) fn log_probabilities(self, outputs: &[f32]) -> Vec<f64> {
        let reals = outputs.iter().map(|x| f64::from(*x));
        match self.outputs {
            Outputs::Probabilities => {
                let least = f64::from(f32::MIN_POSITIVE);
                reals.map(|p| p.max(least).ln()).collect()
            }
            Outputs::Logits => {
                let mut logits: Vec<f64> = reals.collect();
                normalize(&mut logits);
                logits
            }
        }
    }
}

/// Shifts logarithms so that what they are of adds up to 1.
pub(super) fn normalize(logs: &mut [f64]) {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|x| (x - largest).exp()).sum();
    let shift = largest + sum.ln();
    logs.iter_mut().for_each(|x| *x -= shift);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const fn objective(loss: Loss, outputs: Outputs) -> Objective {
        Objective {
            loss,
            temperature: 1.7,
            outputs,
            classes: 3,
        }
    }

    #[test]
    fn logits_and_probabilities_agree() {
        let logits = [1.0_f32, -2.0, 0.5];
        let sum: f32 = logits.iter().map(|x| x.exp()).sum();
        let probabilities = logits.map(|x| x.exp() / sum);
        for label in 0..3 {
            let target = Target::Label(label);
            let a = objective(Loss::Labels, Outputs::Logits).score(&logits, target);
            let b = objective(Loss::Labels, Outputs::Probabilities).score(&probabilities, target);
            assert!((a.loss - b.loss).abs() < 1e-6);
            let right = f64::from(u8::from(label == 0));
            assert_eq!((a.correct, b.correct), (right, right));
        }
        let far =
            objective(Loss::Labels, Outputs::Logits).score(&[1e4, 0.0, 0.0], Target::Label(1));
        assert!(far.loss.is_finite());
        let never = objective(Loss::Labels, Outputs::Probabilities);
        assert!(
            never
                .score(&[1.0, 0.0, 0.0], Target::Label(1))
                .loss
                .is_finite()
        );
    }

    #[test]
    fn a_divergence_is_zero_from_itself_and_positive_else() {
        let (a, b) = ([0.3_f32, 1.2, -0.4], [0.5_f32, 0.9, -0.6]);
        for loss in [Loss::Kl, Loss::Mse] {
            let objective = objective(loss, Outputs::Logits);
            let same = objective.score(&a, Target::Outputs(&a));
            assert!(same.loss.abs() < 1e-12 && same.correct == 1.0);
            assert!(objective.score(&b, Target::Outputs(&a)).loss > 1e-3);
        }
        let shifted = a.map(|x| x + 3.0);
        let kl = objective(Loss::Kl, Outputs::Logits);
        assert!(kl.score(&shifted, Target::Outputs(&a)).loss.abs() < 1e-6);
    }

    #[test]
    fn gradients_are_the_losses_differences() {
        let (x, want) = ([0.2_f32, 0.5, 0.3], [0.6_f32, 0.1, 0.3]);
        for (loss, target) in [
            (Loss::Labels, Target::Label(2)),
            (Loss::Calibrated, Target::Label(2)),
            (Loss::Calibrated, Target::Outputs(&want)),
            (Loss::Kl, Target::Outputs(&want)),
            (Loss::Mse, Target::Outputs(&want)),
        ] {
            for outputs in [Outputs::Logits, Outputs::Probabilities] {
                let objective = objective(loss, outputs);
                let gradient = objective.gradient(&x, target);
                for i in 0..3 {
                    let step = 1.0 / 128.0;
                    let at = |step: f32| {
                        let mut moved = x;
                        moved[i] += step;
                        objective.score(&moved, target).loss
                    };
                    let difference = (at(step) - at(-step)) / (2.0 * f64::from(step));
                    let off = (difference - f64::from(gradient[i])).abs();
                    assert!(off < 0.01 * difference.abs().max(0.1), "{loss} {outputs:?}");
                }
            }
        }
    }

    #[test]
    fn outputs_with_pixels_have_the_mean_of_their_pixels() {
        let shape = Shape::new(2, 3, 4);
        let numbers = |seed: u64| -> Vec<f32> {
            let mut random = Random::new(seed);
            (0..shape.len()).map(|_| 3.0 * random.signed()).collect()
        };
        let (outputs, want) = (numbers(1), numbers(2));
        let target = Target::Outputs(&want);
        let one_pixel = Shape::vector(4);
        for loss in [Loss::Kl, Loss::Mse] {
            let whole = Objective::new(loss, None, shape);
            let pixel = Objective::new(loss, None, one_pixel);
            let score = whole.score(&outputs, target);
            let scores = (0..6).map(|i| {
                let want = Target::Outputs(&want[4 * i..][..4]);
                pixel.score(&outputs[4 * i..][..4], want)
            });
            let scores: Vec<Score> = scores.collect();
            let mean = |of: fn(&Score) -> f64| scores.iter().map(of).sum::<f64>() / 6.0;
            assert!((score.loss - mean(|s| s.loss)).abs() < 1e-12, "{loss}");
            assert!(
                (score.correct - mean(|s| s.correct)).abs() < 1e-12,
                "{loss}"
            );
            assert!(score.correct > 0.0 && score.correct < 1.0);
            let gradient = whole.gradient(&outputs, target);
            for i in 0..shape.len() {
                let step = 1.0 / 128.0;
                let at = |step: f32| {
                    let mut moved = outputs.clone();
                    moved[i] += step;
                    whole.score(&moved, target).loss
                };
                let difference = (at(step) - at(-step)) / (2.0 * f64::from(step));
                assert!((difference - f64::from(gradient[i])).abs() < 1e-4, "{loss}");
            }
        }
        // a shift that all classes of a pixel have in common changes no probability
        let shift = |(i, x): (usize, &f32)| x + (i / 4) as f32;
        let shifted: Vec<f32> = outputs.iter().enumerate().map(shift).collect();
        let kl = Objective::new(Loss::Kl, None, shape);
        let score = kl.score(&shifted, Target::Outputs(&outputs));
        assert!(score.loss.abs() < 1e-6 && score.correct == 1.0);
        // the core's softmax runs over all pixels
        let flat = Objective::new(Loss::Kl, Some(Op::Softmax), shape);
        assert_eq!(flat.classes, shape.len());
    }
}

//! Loss of a network's outputs: against labels, or against the FP32 model's own outputs.

use std::fmt;
use std::str::FromStr;

use bitbudget_core::op::Op;
use bitbudget_core::shape::Shape;
use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::name::{self, UnknownName};

/// The loss of one sample and how much of it came out right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The loss; cross-entropy and KL with the natural logarithm; of outputs with rows and columns the
    /// mean over their pixels.
    pub loss: f64,
    /// The part of the pixels, 1 or 0 where there is one, whose largest output (the first of equals
    /// counts) is that of the label or, without labels, of the class that the FP32 model chooses.
    pub correct: f64,
}

/// The kind of the last layer's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// Logits: the loss takes their softmax.
    Logits,
    /// Probabilities: the network ends in a softmax.
    Probabilities,
}

/// A loss function and its reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// Cross-entropy against labels.
    Labels,
    /// Kullback-Leibler divergence from the FP32 model's probabilities; needs no labels.
    Kl,
    /// Mean squared difference from the FP32 model's outputs, for regressors and autoencoders; needs no
    /// labels.
    Mse,
}

impl Loss {
    /// All losses.
    pub const ALL: [Self; 3] = [Self::Labels, Self::Kl, Self::Mse];

    /// The loss that was asked for; else the squared difference for outputs of one channel, which name
    /// no class, labels where the data has some, and KL without.
    ///
    /// # Errors
    /// [`LossError`] when such outputs cannot have that loss.
    pub fn or_found(
        asked: Option<Self>,
        data: &Dataset,
        outputs: Shape,
    ) -> Result<Self, LossError> {
        let loss = asked.unwrap_or(match data.labels {
            _ if outputs.c <= 1 => Self::Mse,
            Some(_) => Self::Labels,
            None => Self::Kl,
        });
        match loss {
            Self::Labels | Self::Kl if outputs.c <= 1 => Err(LossError::OneClass { loss, outputs }),
            Self::Labels if (outputs.h, outputs.w) != (1, 1) => {
                Err(LossError::LabelOfPixels { outputs })
            }
            Self::Labels | Self::Kl | Self::Mse => Ok(loss),
        }
    }

    /// The loss's name in commands and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Kl => "kl",
            Self::Mse => "mse",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Loss {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        name::find("loss", text, Self::ALL, Self::name)
    }
}

/// Why outputs cannot have a loss.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum LossError {
    /// The softmax of one number is 1, whatever the number.
    #[error(
        "the model has outputs of one channel ({outputs}): their loss {loss} is 0 whatever the model computes"
    )]
    #[diagnostic(help("use --loss mse, the squared difference from the FP32 model's outputs"))]
    OneClass {
        /// The loss.
        loss: Loss,
        /// Shape of the outputs.
        outputs: Shape,
    },
    /// A label is one class, the outputs have one for each pixel.
    #[error(
        "the labels are one number per image, but the model's outputs of {outputs} have a class for each pixel"
    )]
    #[diagnostic(help("compare with the FP32 model's outputs: --loss kl or --loss mse"))]
    LabelOfPixels {
        /// Shape of the outputs.
        outputs: Shape,
    },
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objective {
    /// The loss; [`Loss::Labels`] goes with [`Target::Label`], the others with [`Target::Outputs`].
    pub loss: Loss,
    /// The kind of the outputs.
    pub outputs: Outputs,
    /// Outputs of each pixel, one after the other: the classes that a softmax runs over.
    pub classes: usize,
}

impl Objective {
    /// The loss of outputs of this shape that the operator `last` gives.
    #[must_use]
    pub fn new(loss: Loss, last: Option<Op>, outputs: Shape) -> Self {
        // a softmax runs over all elements of a sample
        let (outputs, classes) = match last {
            Some(Op::Softmax) => (Outputs::Probabilities, outputs.len()),
            Some(_) | None => (Outputs::Logits, outputs.c.into()),
        };
        Self {
            loss,
            outputs,
            classes,
        }
    }

    /// The score of one sample's outputs, `[H, W, C]`.
    ///
    /// # Panics
    /// When a label is no class.
    #[must_use]
    pub fn score(self, outputs: &[f32], target: Target<'_>) -> Score {
        let pixels = outputs.chunks(self.classes.max(1));
        let count = pixels.len().max(1) as f64;
        let mut score = Score {
            loss: 0.0,
            correct: 0.0,
        };
        for (i, pixel) in pixels.enumerate() {
            let (loss, class) = match target {
                Target::Label(label) => {
                    let label = label as usize;
                    (-self.log_probabilities(pixel)[label], label)
                }
                Target::Outputs(want) => {
                    let want = &want[i * self.classes..][..pixel.len()];
                    (self.distance(pixel, want), argmax(want))
                }
            };
            score.loss += loss;
            score.correct += f64::from(u8::from(argmax(pixel) == class));
        }
        score.loss /= count;
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
            Loss::Kl | Loss::Labels => {
                let log_p = self.log_probabilities(want);
                let log_q = self.log_probabilities(outputs);
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
                    let log_p = self.log_probabilities(&want[i * self.classes..][..pixel.len()]);
                    log_p.into_iter().map(f64::exp).collect()
                }
            };
            let log_q = self.log_probabilities(pixel);
            let pairs = want.iter().zip(log_q);
            let each = pairs.map(|(p, log_q)| match self.outputs {
                Outputs::Logits => (part * (log_q.exp() - p)) as f32,
                Outputs::Probabilities => (part * (-p / log_q.exp())) as f32,
            });
            each.collect()
        };
        pixels.enumerate().flat_map(of_pixel).collect()
    }

    /// Log-probabilities of one pixel's outputs.
    fn log_probabilities(self, outputs: &[f32]) -> Vec<f64> {
        let reals = outputs.iter().map(|x| f64::from(*x));
        match self.outputs {
            Outputs::Probabilities => {
                let least = f64::from(f32::MIN_POSITIVE);
                reals.map(|p| p.max(least).ln()).collect()
            }
            Outputs::Logits => {
                let largest = reals.clone().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = reals.clone().map(|x| (x - largest).exp()).sum();
                let shift = largest + sum.ln();
                reals.map(|x| x - shift).collect()
            }
        }
    }
}

/// The index of the largest output, the first of equals; 0 for none.
#[must_use]
pub fn argmax(outputs: &[f32]) -> usize {
    let best = |best: usize, i: usize| if outputs[i] > outputs[best] { i } else { best };
    (1..outputs.len()).fold(0, best)
}

/// The mean and its standard error; zeros for an empty sample.
#[must_use]
pub fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    let variance = squares / (n - 1.0).max(1.0);
    (mean, (variance / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const fn objective(loss: Loss, outputs: Outputs) -> Objective {
        Objective {
            loss,
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

    #[test]
    fn outputs_have_the_losses_that_can_tell_something() {
        let data = |labels: Option<Vec<u32>>| Dataset {
            height: 1,
            width: 1,
            channels: 1,
            len: 2,
            pixels: crate::dataset::Pixels::U8(vec![0, 1]),
            labels,
            class_names: Vec::new(),
        };
        let (plain, labelled) = (data(None), data(Some(vec![0, 1])));
        let (vector, one) = (Shape::vector(10), Shape::vector(1));
        let (image, mask) = (Shape::new(8, 8, 3), Shape::new(8, 8, 1));
        let found = |asked, data: &Dataset, shape| Loss::or_found(asked, data, shape).ok();
        assert_eq!(found(None, &plain, vector), Some(Loss::Kl));
        assert_eq!(found(None, &labelled, vector), Some(Loss::Labels));
        assert_eq!(found(None, &plain, image), Some(Loss::Kl));
        for shape in [one, mask] {
            for data in [&plain, &labelled] {
                assert_eq!(found(None, data, shape), Some(Loss::Mse));
                for loss in [Loss::Kl, Loss::Labels] {
                    let refused = Loss::or_found(Some(loss), data, shape);
                    assert!(matches!(refused, Err(LossError::OneClass { .. })));
                }
            }
        }
        for asked in [None, Some(Loss::Labels)] {
            let refused = Loss::or_found(asked, &labelled, image);
            assert!(matches!(refused, Err(LossError::LabelOfPixels { .. })));
        }
        assert_eq!(found(Some(Loss::Kl), &labelled, image), Some(Loss::Kl));
        for shape in [vector, one, image, mask] {
            assert_eq!(found(Some(Loss::Mse), &labelled, shape), Some(Loss::Mse));
        }
    }

    #[test]
    fn the_error_of_a_mean_is_the_textbook_one() {
        let (mean, error) = mean_and_error(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(mean, 2.5);
        assert!((error - (5.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(mean_and_error(&[]), (0.0, 0.0));
    }
}

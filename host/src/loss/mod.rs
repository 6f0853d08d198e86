//! Loss of a network's outputs: against labels, or against the FP32 model's own outputs.

mod head;
mod objective;
mod temperature;

use bitbudget_core::shape::Shape;
use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::name::named;

pub use head::Head;
pub use objective::{Objective, Outputs, Target};
pub use temperature::{MAX_TEMPERATURE, MIN_TEMPERATURE};

/// The loss of one sample and how much of it came out right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The loss; cross-entropy and KL with the natural logarithm; of outputs with rows and columns the
    /// mean over their pixels.
    pub loss: f64,
    /// The loss of the outputs as they are: with [`Loss::Calibrated`] that of [`Loss::Labels`], else `loss`.
    pub raw: f64,
    /// The part of the pixels, 1 or 0 where there is one, whose largest output (the first of equals
    /// counts) is that of the label or, without labels, of the class that the FP32 model chooses; where every
    /// output says yes or no by itself, the part of those that say the same.
    pub correct: f64,
}

/// A change of a mean over the same samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The change.
    pub mean: f64,
    /// Its standard error, that of the samples' changes.
    pub standard_error: f64,
}

/// The changes of what samples' scores tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Changes {
    /// Of [`Score::loss`].
    pub loss: Change,
    /// Of [`Score::raw`].
    pub raw: Change,
    /// Of [`Score::correct`].
    pub accuracy: Change,
}

impl Changes {
    /// From `base` to `scores`, sample by sample.
    #[must_use]
    pub fn between(base: &[Score], scores: &[Score]) -> Self {
        let change = |of: fn(&Score) -> f64| {
            let pairs = scores.iter().zip(base);
            let changes: Vec<f64> = pairs.map(|(a, b)| of(a) - of(b)).collect();
            let (mean, standard_error) = mean_and_error(&changes);
            Change {
                mean,
                standard_error,
            }
        };
        Self {
            loss: change(|score| score.loss),
            raw: change(|score| score.raw),
            accuracy: change(|score| score.correct),
        }
    }
}

/// A loss function and its reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// Cross-entropy against labels, at the temperature at which the FP32 model's is least: noise that only
    /// makes a model less sure of itself is no improvement. The metric `measured` takes its expectation
    /// instead, without the chance of which labels there are ([`Objective::score`]).
    Calibrated,
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
    pub const ALL: [Self; 4] = [Self::Calibrated, Self::Labels, Self::Kl, Self::Mse];

    /// The loss that was asked for; else the one that suits the outputs: the squared difference where they are no
    /// classes (several outputs, an autoencoder's, or one number that is no answer to yes or no, as far as one can
    /// tell), the calibrated loss where the data has labels, and KL without.
    ///
    /// # Errors
    /// [`LossError`] when such outputs cannot have that loss.
    pub fn or_found(asked: Option<Self>, data: &Dataset, head: Head) -> Result<Self, LossError> {
        let outputs = head.outputs;
        let is_one = outputs.c == 1;
        let loss = asked.unwrap_or(match &data.labels {
            _ if head.is_of_reals() => Self::Mse,
            // one number for values that are no classes
            Some(labels) if is_one && labels.iter().any(|label| *label > 1) => Self::Mse,
            Some(_) if !is_one || (outputs.h, outputs.w) == (1, 1) => Self::Calibrated,
            Some(_) | None if is_one && !head.is_probability() => Self::Mse,
            Some(_) | None => Self::Kl,
        });
        if loss.is_of_labels() && (outputs.h, outputs.w) != (1, 1) {
            return Err(LossError::LabelOfPixels { outputs });
        }
        Ok(loss)
    }

    /// Whether outputs are compared with labels, and not with the FP32 model's outputs.
    #[must_use]
    pub const fn is_of_labels(self) -> bool {
        match self {
            Self::Calibrated | Self::Labels => true,
            Self::Kl | Self::Mse => false,
        }
    }

    /// The loss's name in commands and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calibrated => "calibrated",
            Self::Labels => "labels",
            Self::Kl => "kl",
            Self::Mse => "mse",
        }
    }
}

named!(Loss, "loss");

/// Why outputs cannot have a loss.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum LossError {
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
    use bitbudget_core::op::{Function, Op};

    use super::*;

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
        let measured = data(Some(vec![0, 7]));
        let head = |last, outputs| Head {
            input: Shape::new(8, 8, 2),
            outputs,
            last,
        };
        let sigmoid = Op::Unary(Function::Sigmoid);
        let (vector, one) = (Shape::vector(10), Shape::vector(1));
        let (image, mask) = (Shape::new(8, 8, 3), Shape::new(8, 8, 1));
        let found = |asked, data: &Dataset, head| Loss::or_found(asked, data, head).ok();
        for (last, outputs, without, with) in [
            (Op::Dense, vector, Loss::Kl, Some(Loss::Calibrated)),
            (sigmoid, vector, Loss::Kl, Some(Loss::Calibrated)),
            (Op::Dense, image, Loss::Kl, None),
            (Op::Dense, one, Loss::Mse, Some(Loss::Calibrated)),
            (sigmoid, one, Loss::Kl, Some(Loss::Calibrated)),
            (Op::Dense, mask, Loss::Mse, Some(Loss::Mse)),
            (sigmoid, mask, Loss::Kl, Some(Loss::Kl)),
            // an autoencoder, and several outputs
            (sigmoid, Shape::vector(128), Loss::Mse, Some(Loss::Mse)),
            (Op::Concat, vector, Loss::Mse, Some(Loss::Mse)),
        ] {
            let head = head(last, outputs);
            assert_eq!(found(None, &plain, head), Some(without), "{head:?}");
            assert_eq!(found(None, &labelled, head), with, "{head:?}");
            for asked in [Loss::Kl, Loss::Mse] {
                assert_eq!(found(Some(asked), &labelled, head), Some(asked));
            }
            let of_labels = found(Some(Loss::Labels), &labelled, head);
            assert_eq!(of_labels.is_some(), outputs.h == 1, "{head:?}");
        }
        // a label that is a number, and no class
        let regressor = head(Op::Dense, one);
        assert_eq!(found(None, &measured, regressor), Some(Loss::Mse));
    }

    #[test]
    fn the_error_of_a_mean_is_the_textbook_one() {
        let (mean, error) = mean_and_error(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(mean, 2.5);
        assert!((error - (5.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(mean_and_error(&[]), (0.0, 0.0));
    }
}

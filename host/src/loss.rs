//! What a network's outputs are worth: against labels, or against the FP32 model's own outputs.

use std::fmt;
use std::str::FromStr;

use bitbudget_core::op::Op;
use serde::{Deserialize, Serialize};

use crate::capacity::HostNetwork;
use crate::dataset::Dataset;
use crate::graph::Graph;

/// The loss of one sample and whether it came out right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The loss; cross-entropy and KL with the natural logarithm.
    pub loss: f64,
    /// Whether no other class had a larger output (the first of equals counts) than the label or,
    /// without labels, the class that the FP32 model chooses.
    pub correct: bool,
}

/// What the last layer gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// Logits: the loss takes their softmax.
    Logits,
    /// Probabilities: the network ends in a softmax.
    Probabilities,
}

/// The kind of a network's outputs.
#[must_use]
pub fn outputs_of(network: &HostNetwork) -> Outputs {
    outputs_of_op(network.layers.last().map(|layer| layer.op))
}

/// The kind of a graph's outputs.
#[must_use]
pub fn outputs_of_graph(graph: &Graph) -> Outputs {
    outputs_of_op(graph.layers.last().map(|layer| layer.op))
}

fn outputs_of_op(last: Option<Op>) -> Outputs {
    match last {
        Some(Op::Softmax) => Outputs::Probabilities,
        Some(_) | None => Outputs::Logits,
    }
}

/// What the outputs are compared with, and how.
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

    /// The loss that was asked for; else labels where the data has some, else KL.
    #[must_use]
    pub fn or_found(asked: Option<Self>, data: &Dataset) -> Self {
        asked.unwrap_or(match data.labels {
            Some(_) => Self::Labels,
            None => Self::Kl,
        })
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
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let loss = Self::ALL.into_iter().find(|loss| loss.name() == name);
        let names = Self::ALL.map(Self::name).join(", ");
        loss.ok_or_else(|| format!("unknown loss; the losses are {names}"))
    }
}

/// What one sample's outputs should be.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// The class of this index, below the number of outputs.
    Label(u32),
    /// Those of the FP32 model.
    Outputs(&'a [f32]),
}

/// A loss of outputs of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objective {
    /// The loss; [`Loss::Labels`] goes with [`Target::Label`], the others with [`Target::Outputs`].
    pub loss: Loss,
    /// What the outputs are.
    pub outputs: Outputs,
}

impl Objective {
    /// The score of one sample's outputs.
    ///
    /// # Panics
    /// When a label is no class.
    #[must_use]
    pub fn score(self, outputs: &[f32], target: Target<'_>) -> Score {
        let (loss, class) = match target {
            Target::Label(label) => {
                let label = label as usize;
                (-self.log_probabilities(outputs)[label], label)
            }
            Target::Outputs(want) => {
                let loss = match self.loss {
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
                };
                (loss, argmax(want))
            }
        };
        Score {
            loss,
            correct: argmax(outputs) == class,
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
        let want: Vec<f64> = match target {
            Target::Label(label) => {
                let one = |i: usize| f64::from(u8::from(i == label as usize));
                (0..outputs.len()).map(one).collect()
            }
            Target::Outputs(want) => {
                let log_p = self.log_probabilities(want);
                log_p.into_iter().map(f64::exp).collect()
            }
        };
        let log_q = self.log_probabilities(outputs);
        let pairs = want.iter().zip(log_q);
        let each = pairs.map(|(p, log_q)| match self.outputs {
            Outputs::Logits => (log_q.exp() - p) as f32,
            Outputs::Probabilities => (-p / log_q.exp()) as f32,
        });
        each.collect()
    }

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

    const fn objective(loss: Loss, outputs: Outputs) -> Objective {
        Objective { loss, outputs }
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
            assert_eq!((a.correct, b.correct), (label == 0, label == 0));
        }
        let far = objective(Loss::Labels, Outputs::Logits).score(&[1e4, 0.0], Target::Label(1));
        assert!(far.loss.is_finite());
        let never = objective(Loss::Labels, Outputs::Probabilities);
        assert!(never.score(&[1.0, 0.0], Target::Label(1)).loss.is_finite());
    }

    #[test]
    fn a_divergence_is_zero_from_itself_and_positive_else() {
        let (a, b) = ([0.3_f32, 1.2, -0.4], [0.5_f32, 0.9, -0.6]);
        for loss in [Loss::Kl, Loss::Mse] {
            let objective = objective(loss, Outputs::Logits);
            let same = objective.score(&a, Target::Outputs(&a));
            assert!(same.loss.abs() < 1e-12 && same.correct);
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
    fn the_error_of_a_mean_is_the_textbook_one() {
        let (mean, error) = mean_and_error(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(mean, 2.5);
        assert!((error - (5.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(mean_and_error(&[]), (0.0, 0.0));
    }
}

//! What a network's outputs are worth: cross-entropy and accuracy against labels.

/// The loss of one sample and whether its label had the largest output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Cross-entropy with the natural logarithm.
    pub loss: f64,
    /// Whether no other class had a larger output (the first of equals counts).
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

impl Outputs {
    /// The score of one sample's outputs against its label, a class below `outputs.len()`.
    ///
    /// # Panics
    /// When the label is no class.
    #[must_use]
    pub fn score(self, outputs: &[f32], label: u32) -> Score {
        let label = label as usize;
        let at = f64::from(outputs[label]);
        let loss = match self {
            Self::Probabilities => -at.max(f64::from(f32::MIN_POSITIVE)).ln(),
            Self::Logits => {
                let largest = outputs
                    .iter()
                    .fold(f64::NEG_INFINITY, |m, x| m.max(f64::from(*x)));
                let sum: f64 = outputs
                    .iter()
                    .map(|x| (f64::from(*x) - largest).exp())
                    .sum();
                largest + sum.ln() - at
            }
        };
        Score {
            loss,
            correct: argmax(outputs) == label,
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

    #[test]
    fn logits_and_probabilities_agree() {
        let logits = [1.0_f32, -2.0, 0.5];
        let sum: f32 = logits.iter().map(|x| x.exp()).sum();
        let probabilities = logits.map(|x| x.exp() / sum);
        for label in 0..3 {
            let a = Outputs::Logits.score(&logits, label);
            let b = Outputs::Probabilities.score(&probabilities, label);
            assert!((a.loss - b.loss).abs() < 1e-6);
            assert_eq!((a.correct, b.correct), (label == 0, label == 0));
        }
        assert!(Outputs::Logits.score(&[1e4, 0.0], 1).loss.is_finite());
        assert!(
            Outputs::Probabilities
                .score(&[1.0, 0.0], 1)
                .loss
                .is_finite()
        );
    }

    #[test]
    fn the_error_of_a_mean_is_the_textbook_one() {
        let (mean, error) = mean_and_error(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(mean, 2.5);
        assert!((error - (5.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(mean_and_error(&[]), (0.0, 0.0));
    }
}

//! A loss of outputs of a kind, sample by sample.

use super::{Head, Loss, Score, argmax};

/// The kind of the last layer's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// Logits: the loss takes their softmax, or their sigmoid.
    Logits,
    /// Probabilities: the network ends in a softmax, or in a sigmoid.
    Probabilities,
}

/// The target of one sample's outputs.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// The class of this index, below [`Head::classes`].
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
    /// Whether each of them says yes or no by itself instead: a sigmoid's, or one alone.
    pub is_of_each: bool,
}

impl Objective {
    /// The loss of a network that ends so, at temperature 1.
    #[must_use]
    pub const fn new(loss: Loss, head: Head) -> Self {
        Self {
            loss,
            temperature: 1.0,
            outputs: match head.is_probability() {
                true => Outputs::Probabilities,
                false => Outputs::Logits,
            },
            classes: head.outputs.c as usize,
            is_of_each: head.is_of_each(),
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
            let (loss, raw, correct) = match target {
                Target::Label(label) => {
                    let mut sums = [0.0; 2];
                    let choices = self.choices(pixel);
                    for (raw, class) in choices.iter().zip(self.chosen(label)) {
                        sums[0] -= self.at_temperature(raw.clone())[class];
                        sums[1] -= raw[class];
                    }
                    let [loss, raw] = sums.map(|sum| sum / choices.len() as f64);
                    let is_right = self.answer(pixel) == label as usize;
                    (loss, raw, f64::from(u8::from(is_right)))
                }
                Target::Outputs(want) => {
                    let want = &want[i * self.classes..][..pixel.len()];
                    let distance = self.distance(pixel, want);
                    (distance, distance, self.agreement(pixel, want))
                }
            };
            score.loss += loss;
            score.raw += raw;
            score.correct += correct;
        }
        score.loss /= count;
        score.raw /= count;
        score.correct /= count;
        score
    }

    /// The class that one pixel's outputs name.
    #[must_use]
    pub fn answer(self, outputs: &[f32]) -> usize {
        match self.choices(outputs).as_slice() {
            [choice] if outputs.len() == 1 => usize::from(choice[1] > choice[0]),
            _ => argmax(outputs),
        }
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
                let [of_p, of_q] = [want, outputs].map(|outputs| self.choices(outputs));
                let count = of_p.len().max(1) as f64;
                let divergence = |(p, q): (Vec<f64>, Vec<f64>)| -> f64 {
                    let (log_p, log_q) = (self.at_temperature(p), self.at_temperature(q));
                    let pairs = log_p.iter().zip(&log_q);
                    pairs.map(|(p, q)| p.exp() * (p - q)).sum()
                };
                of_p.into_iter().zip(of_q).map(divergence).sum::<f64>() / count
            }
        }
    }

    /// The part of a pixel's choices that are those of the FP32 model.
    fn agreement(self, outputs: &[f32], want: &[f32]) -> f64 {
        if !self.is_of_each {
            return f64::from(u8::from(argmax(outputs) == argmax(want)));
        }
        let [ours, theirs] = [outputs, want].map(|outputs| self.choices(outputs));
        let says_yes = |choice: &Vec<f64>| choice[1] > choice[0];
        let pairs = ours.iter().zip(&theirs);
        let alike = pairs.filter(|(a, b)| says_yes(a) == says_yes(b)).count();
        alike as f64 / outputs.len().max(1) as f64
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
        let of_choice = |raw: Vec<f64>, want: Vec<f64>| -> Vec<f64> {
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
            each.collect()
        };
        let of_pixel = |(i, pixel): (usize, &[f32])| -> Vec<f32> {
            let choices = self.choices(pixel);
            let want: Vec<Vec<f64>> = match target {
                Target::Label(label) => {
                    let one = |i: usize, class| f64::from(u8::from(i == class));
                    let each = choices.iter().zip(self.chosen(label));
                    each.map(|(choice, class)| (0..choice.len()).map(|i| one(i, class)).collect())
                        .collect()
                }
                Target::Outputs(want) => {
                    let want = self.choices(&want[i * self.classes..][..pixel.len()]);
                    let log_p = want.into_iter().map(|raw| self.at_temperature(raw));
                    log_p
                        .map(|log_p| log_p.into_iter().map(f64::exp).collect())
                        .collect()
                }
            };
            let part = part / choices.len().max(1) as f64;
            let each = choices.into_iter().zip(want).flat_map(|(raw, want)| {
                let of_classes = of_choice(raw, want);
                match (self.is_of_each, self.outputs) {
                    (false, _) => of_classes,
                    // no is the class of logit 0, or what is left of 1
                    (true, Outputs::Logits) => vec![of_classes[1]],
                    (true, Outputs::Probabilities) => vec![of_classes[1] - of_classes[0]],
                }
            });
            each.map(|x| (part * x) as f32).collect()
        };
        pixels.enumerate().flat_map(of_pixel).collect()
    }

    /// The classes that a label names, one for each of a pixel's choices.
    pub(super) fn chosen(self, label: u32) -> Vec<usize> {
        let label = label as usize;
        match (self.is_of_each, self.classes) {
            (false, _) | (true, 1) => vec![label],
            (true, classes) => (0..classes).map(|i| usize::from(i == label)).collect(),
        }
    }

    /// The log-probabilities of a choice at the temperature; as they are but with [`Loss::Calibrated`].
    fn at_temperature(self, mut raw: Vec<f64>) -> Vec<f64> {
        if self.loss == Loss::Calibrated {
            raw.iter_mut().for_each(|x| *x /= self.temperature);
            normalize(&mut raw);
        }
        raw
    }

    /// The choices of one pixel's outputs, as the log-probabilities of their classes: one among all outputs, or no
    /// and yes for each.
    pub(super) fn choices(self, outputs: &[f32]) -> Vec<Vec<f64>> {
        let reals = outputs.iter().map(|x| f64::from(*x));
        let mut choices: Vec<Vec<f64>> = match (self.is_of_each, self.outputs) {
            (false, _) => vec![reals.collect()],
            (true, Outputs::Logits) => reals.map(|z| vec![0.0, z]).collect(),
            (true, Outputs::Probabilities) => reals.map(|p| vec![1.0 - p, p]).collect(),
        };
        for choice in &mut choices {
            match self.outputs {
                Outputs::Probabilities => {
                    let least = f64::from(f32::MIN_POSITIVE);
                    choice.iter_mut().for_each(|p| *p = p.max(least).ln());
                }
                Outputs::Logits => normalize(choice),
            }
        }
        choices
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
    use bitbudget_core::op::{Function, Op};
    use bitbudget_core::shape::Shape;

    use super::*;
    use crate::random::Random;

    const fn objective(loss: Loss, outputs: Outputs) -> Objective {
        Objective {
            loss,
            temperature: 1.7,
            outputs,
            classes: 3,
            is_of_each: false,
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
        let head = |outputs| Head {
            input: Shape::vector(1),
            outputs,
            last: Op::Dense,
        };
        let one_pixel = Shape::vector(4);
        for loss in [Loss::Kl, Loss::Mse] {
            let whole = Objective::new(loss, head(shape));
            let pixel = Objective::new(loss, head(one_pixel));
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
        let kl = Objective::new(Loss::Kl, head(shape));
        let score = kl.score(&shifted, Target::Outputs(&outputs));
        assert!(score.loss.abs() < 1e-6 && score.correct == 1.0);
    }

    #[test]
    fn outputs_that_say_yes_or_no_have_the_binary_cross_entropy() {
        let objective = |loss, last, classes| {
            let mut of = Objective::new(
                loss,
                Head {
                    input: Shape::vector(9),
                    outputs: Shape::vector(classes),
                    last,
                },
            );
            of.temperature = 1.7;
            of
        };
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        let entropy = |yes: bool, p: f64| -if yes { p.ln() } else { (1.0 - p).ln() };
        let (logits, of_sigmoid) = (Op::Dense, Op::Unary(Function::Sigmoid));
        for z in [-2.0_f32, -0.3, 0.7, 3.0] {
            let p = sigmoid(z.into());
            for label in [0, 1] {
                let target = Target::Label(label);
                for (last, output) in [(logits, z), (of_sigmoid, p as f32)] {
                    let raw = objective(Loss::Labels, last, 1).score(&[output], target);
                    assert!((raw.loss - entropy(label == 1, p)).abs() < 1e-6);
                    let soft = objective(Loss::Calibrated, last, 1).score(&[output], target);
                    let at = sigmoid(f64::from(z) / 1.7);
                    assert!((soft.loss - entropy(label == 1, at)).abs() < 1e-6);
                    assert!((soft.raw - raw.loss).abs() < 1e-12);
                    let right = (z > 0.0) == (label == 1);
                    assert_eq!(raw.correct, f64::from(u8::from(right)));
                }
            }
        }
        let each = [0.9_f32, 0.2, 0.6];
        let score = objective(Loss::Labels, of_sigmoid, 3).score(&each, Target::Label(2));
        let mean = [(false, 0.9), (false, 0.2), (true, 0.6)].map(|(yes, p)| entropy(yes, p));
        assert!((score.loss - mean.iter().sum::<f64>() / 3.0).abs() < 1e-6);
        assert_eq!(score.correct, 0.0);
        let want = [0.8_f32, 0.7, 0.1];
        let score = objective(Loss::Kl, of_sigmoid, 3).score(&each, Target::Outputs(&want));
        assert!((score.correct - 1.0 / 3.0).abs() < 1e-12);
        let certain = objective(Loss::Kl, of_sigmoid, 1);
        let score = certain.score(&[0.0], Target::Outputs(&[1.0]));
        assert!(score.loss.is_finite() && score.loss > 10.0);
    }

    #[test]
    fn gradients_of_yes_and_no_are_the_losses_differences() {
        let (x, want) = ([0.2_f32, 0.5, 0.3], [0.6_f32, 0.1, 0.3]);
        let targets = [Target::Label(1), Target::Outputs(&want)];
        for (loss, target) in [
            (Loss::Labels, targets[0]),
            (Loss::Calibrated, targets[0]),
            (Loss::Calibrated, targets[1]),
            (Loss::Kl, targets[1]),
            (Loss::Mse, targets[1]),
        ] {
            for outputs in [Outputs::Logits, Outputs::Probabilities] {
                for classes in [1, 3] {
                    let objective = Objective {
                        classes,
                        is_of_each: true,
                        ..objective(loss, outputs)
                    };
                    let x = &x[..classes];
                    let target = match target {
                        Target::Outputs(want) => Target::Outputs(&want[..classes]),
                        Target::Label(_) => target,
                    };
                    let gradient = objective.gradient(x, target);
                    for i in 0..classes {
                        let step = 1.0 / 128.0;
                        let at = |step: f32| {
                            let mut moved = x.to_vec();
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
    }
}

//! Signs that a model was not asked what it was trained for: it answers as if it guessed, or the labels are other
//! numbers than its own.

use std::fmt::{self, Display, Formatter};

use bitbudget_core::network::Preprocess;

use crate::dataset::{Dataset, Pixels};
use crate::loss::Objective;

/// The fewest samples that tell anything.
const FEW: usize = 10;
/// The fewest of a class that tell what it is taken for.
const FEW_OF_CLASS: usize = 3;

/// A sign that something is wrong with the data, their labels or their preprocessing.
#[derive(Clone, Debug, PartialEq)]
pub enum Doubt {
    /// All labels are the same.
    OneClass {
        /// The label.
        class: u32,
        /// How many there are.
        samples: usize,
    },
    /// The answers are right no more often than chance has it.
    Guess {
        /// The part of them that is right, 0..=1.
        accuracy: f64,
        /// The label that there is most of.
        class: u32,
        /// Its part of the labels, 0..=1.
        share: f64,
    },
    /// The answers would be right far more often for other numbers of the same classes.
    Renumbered {
        /// The part of the answers that is right, 0..=1.
        accuracy: f64,
        /// The part that would be right.
        renumbered: f64,
        /// The labels that are taken for others, and these.
        pairs: Vec<[u32; 2]>,
    },
}

impl Doubt {
    /// The doubt's name, for programs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OneClass { .. } => "one-class",
            Self::Guess { .. } => "guess",
            Self::Renumbered { .. } => "renumbered",
        }
    }

    /// The doubts about the FP32 outputs for labelled samples, those of one after those of the other; none where a
    /// sample has not one answer.
    ///
    /// # Panics
    /// When a label is no class.
    #[must_use]
    pub fn of_outputs(objective: Objective, labels: &[u32], outputs: &[f32]) -> Vec<Self> {
        let is_single = outputs.len() == labels.len() * objective.classes;
        if !is_single || labels.len() < FEW {
            return Vec::new();
        }
        let answers = outputs.chunks_exact(objective.classes);
        let answers: Vec<usize> = answers.map(|outputs| objective.answer(outputs)).collect();
        Self::of_answers(objective.classes.max(2), labels, &answers)
    }

    fn of_answers(classes: usize, labels: &[u32], answers: &[usize]) -> Vec<Self> {
        // how often each label is answered with each class
        let mut counts = vec![vec![0_usize; classes]; classes];
        for (label, answer) in labels.iter().zip(answers) {
            counts[*label as usize][*answer] += 1;
        }
        let samples = labels.len();
        let part = |count: usize| count as f64 / samples as f64;
        let of_label = |label: usize| counts[label].iter().sum::<usize>();
        let most = (0..classes)
            .max_by_key(|label| of_label(*label))
            .unwrap_or(0);
        let (class, share) = (most as u32, part(of_label(most)));
        if of_label(most) == samples {
            return vec![Self::OneClass { class, samples }];
        }
        let right = (0..classes).map(|class| counts[class][class]).sum();
        let accuracy = part(right);
        if let Some((pairs, right)) = renumbering(&counts) {
            let renumbered = part(right);
            if renumbered > 0.5 && renumbered > accuracy + 0.1 {
                return vec![Self::Renumbered {
                    accuracy,
                    renumbered,
                    pairs,
                }];
            }
        }
        let deviation = (share * (1.0 - share) / samples as f64).sqrt();
        if accuracy <= share + 2.0 * deviation {
            return vec![Self::Guess {
                accuracy,
                class,
                share,
            }];
        }
        Vec::new()
    }
}

/// The labels that are mostly taken for one other class each, no two for the same, and how many answers would be right
/// then; `None` where there is no such label.
fn renumbering(counts: &[Vec<usize>]) -> Option<(Vec<[u32; 2]>, usize)> {
    let mut taken = vec![false; counts.len()];
    let (mut pairs, mut right) = (Vec::new(), 0);
    for (label, answers) in counts.iter().enumerate() {
        let all: usize = answers.iter().sum();
        let (answer, count) = answers
            .iter()
            .enumerate()
            .max_by_key(|(_, count)| **count)?;
        if all < FEW_OF_CLASS || 2 * count <= all {
            right += answers[label];
            continue;
        }
        if std::mem::replace(&mut taken[answer], true) {
            return None;
        }
        right += count;
        if answer != label {
            pairs.push([label as u32, answer as u32]);
        }
    }
    (!pairs.is_empty()).then_some((pairs, right))
}

impl Display for Doubt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let percent = |part: &f64| format!("{:.2} %", 100.0 * part);
        match self {
            Self::OneClass { class, samples } => {
                write!(
                    f,
                    "all {samples} labels are {class}: what is measured says nothing of the other classes"
                )
            }
            Self::Guess {
                accuracy,
                class,
                share,
            } => {
                let [accuracy, share] = [accuracy, share].map(percent);
                write!(
                    f,
                    "FP32 is right for {accuracy} of the samples, and {share} have label {class}: it answers as if it guessed"
                )
            }
            Self::Renumbered {
                accuracy,
                renumbered,
                pairs,
            } => {
                const SHOWN: usize = 6;
                let shown = pairs.iter().take(SHOWN);
                let shown: Vec<String> = shown
                    .map(|[from, to]| format!("{from} were {to}"))
                    .collect();
                let more = if pairs.len() > SHOWN { ", …" } else { "" };
                let [accuracy, renumbered] = [accuracy, renumbered].map(percent);
                write!(
                    f,
                    "the labels seem to be other numbers than the model's: FP32 is right for {accuracy} of the samples, and \
                     would be for {renumbered} if label {}{more}",
                    shown.join(", ")
                )
            }
        }
    }
}

/// The least and the largest value of some data, as they are and as the model's inputs.
#[must_use]
pub fn ranges(data: &Dataset, preprocess: &Preprocess) -> [[f32; 2]; 2] {
    let mut ranges = [[f32::INFINITY, f32::NEG_INFINITY]; 2];
    let mut add = |i: usize, raw: f32| {
        let real = preprocess.real(raw, i % data.channels);
        for ([low, high], x) in ranges.iter_mut().zip([raw, real]) {
            (*low, *high) = (low.min(x), high.max(x));
        }
    };
    match &data.pixels {
        Pixels::U8(raw) => raw
            .iter()
            .enumerate()
            .for_each(|(i, x)| add(i, f32::from(*x))),
        Pixels::F32(raw) => raw.iter().enumerate().for_each(|(i, x)| add(i, *x)),
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The doubts about `each` samples of every class that are answered so.
    fn doubts(classes: usize, each: usize, answer: impl Fn(usize, usize) -> usize) -> Vec<Doubt> {
        let labels = (0..classes * each).map(|i| (i % classes) as u32);
        let labels: Vec<u32> = labels.collect();
        let answers = (0..classes * each).map(|i| answer(i % classes, i / classes));
        let answers: Vec<usize> = answers.collect();
        Doubt::of_answers(classes, &labels, &answers)
    }

    #[test]
    fn a_model_that_answers_well_raises_none() {
        assert_eq!(doubts(10, 20, |class, _| class), []);
        // a third is wrong
        let often = |class: usize, i| if i % 3 == 0 { 7 } else { class };
        assert_eq!(doubts(10, 21, often), []);
        let mostly = |class, i| if i < 8 { 1 - class } else { class };
        assert_eq!(doubts(2, 30, mostly), []);
    }

    #[test]
    fn one_answer_for_all_is_a_guess() {
        let doubts = doubts(10, 20, |_, _| 3);
        let [
            Doubt::Guess {
                accuracy, share, ..
            },
        ] = doubts[..]
        else {
            panic!("{doubts:?}");
        };
        assert_eq!((accuracy, share), (0.1, 0.1));
        let text = doubts[0].to_string();
        assert!(text.contains("10.00 % of the samples"), "{text}");
    }

    #[test]
    fn labels_behind_a_class_that_is_missing_are_told() {
        let labels: Vec<u32> = (0..180).map(|i| i % 9).collect();
        let answers = labels
            .iter()
            .map(|label| *label as usize + usize::from(*label >= 4));
        let answers: Vec<usize> = answers.collect();
        let pairs = [[4, 5], [5, 6], [6, 7], [7, 8], [8, 9]].to_vec();
        let expected = Doubt::Renumbered {
            accuracy: 80.0 / 180.0,
            renumbered: 1.0,
            pairs,
        };
        assert_eq!(Doubt::of_answers(10, &labels, &answers), [expected]);
    }

    #[test]
    fn classes_in_another_order_are_told() {
        let turned = doubts(10, 20, |class, i| if i == 0 { 0 } else { (class + 1) % 10 });
        let [
            Doubt::Renumbered {
                accuracy,
                renumbered,
                ref pairs,
            },
        ] = turned[..]
        else {
            panic!("{turned:?}");
        };
        assert!(
            accuracy < 0.01 && renumbered > 0.94,
            "{accuracy} {renumbered}"
        );
        assert_eq!(pairs.len(), 10);
        assert_eq!(pairs[0], [0, 1]);
        let text = turned[0].to_string();
        assert!(
            text.contains("label 0 were 1, 1 were 2, 2 were 3, 3 were 4, 4 were 5, 5 were 6, …"),
            "{text}"
        );
        // two that are changed
        let swapped = doubts(10, 20, |class, _| [0, 1, 7, 3, 4, 5, 6, 2, 8, 9][class]);
        let [Doubt::Renumbered { ref pairs, .. }] = swapped[..] else {
            panic!("{swapped:?}");
        };
        assert_eq!(pairs[..], [[2, 7], [7, 2]]);
    }

    #[test]
    fn labels_of_one_class_are_told() {
        let doubts = Doubt::of_answers(4, &[2; 12], &[2; 12]);
        assert_eq!(
            doubts,
            [Doubt::OneClass {
                class: 2,
                samples: 12
            }]
        );
    }
}

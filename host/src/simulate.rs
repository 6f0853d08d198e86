//! The loss of whole layouts, in the simulation that prices come from.

use bitbudget_core::level::Level;
use rayon::prelude::*;

use crate::batches::{Batches, rows};
use crate::layout::rank;
use crate::loss::Score;
use crate::metric::Replay;

/// A sum over the samples of a data set, for each of several layouts.
pub trait Sum: Clone + Send + Sync {
    /// Adds one sample's score.
    fn add(&mut self, sample: usize, score: Score);
    /// Adds what was summed over other samples.
    fn merge(&mut self, other: &Self);
}

/// Sums that tell the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    /// Sum of the losses.
    pub loss: f64,
    /// Sum of the samples' [`Score::raw`].
    pub raw: f64,
    /// Samples.
    pub count: u32,
    /// Sum of the samples' [`Score::correct`].
    pub correct: f64,
}

impl Mean {
    /// The mean loss.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss / f64::from(self.count.max(1))
    }

    /// The mean of the samples' [`Score::raw`].
    #[must_use]
    pub fn raw_loss(&self) -> f64 {
        self.raw / f64::from(self.count.max(1))
    }

    /// The mean of the samples' [`Score::correct`].
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.correct / f64::from(self.count.max(1))
    }
}

impl Sum for Mean {
    fn add(&mut self, _: usize, score: Score) {
        self.loss += score.loss;
        self.raw += score.raw;
        self.count += 1;
        self.correct += score.correct;
    }

    fn merge(&mut self, other: &Self) {
        self.loss += other.loss;
        self.raw += other.raw;
        self.count += other.count;
        self.correct += other.correct;
    }
}

/// Every sample's score, and their mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Each {
    /// The mean.
    pub mean: Mean,
    /// Scores by sample.
    pub scores: Vec<(usize, Score)>,
}

impl Sum for Each {
    fn add(&mut self, sample: usize, score: Score) {
        self.mean.add(sample, score);
        self.scores.push((sample, score));
    }

    fn merge(&mut self, other: &Self) {
        self.mean.merge(&other.mean);
        self.scores.extend(&other.scores);
    }
}

impl Each {
    /// The scores in the samples' order.
    #[must_use]
    pub fn into_scores(mut self) -> Vec<Score> {
        self.scores.sort_by_key(|(sample, _)| *sample);
        self.scores.into_iter().map(|(_, score)| score).collect()
    }
}

/// The most batches that wait for their turn to be added.
const AT_ONCE: usize = 32;

/// The scores of every layout (a level for every layer, any for those without weights) over a data
/// set, summed; `progress` is told the samples done since it was last called.
///
/// # Errors
/// candle's.
pub fn measure<S: Sum + Default>(
    batches: &Batches<'_>,
    replay: &Replay<'_>,
    layouts: &[Vec<Level>],
    progress: &(dyn Fn(usize) + Sync),
) -> candle_core::Result<Vec<S>> {
    let mut order: Vec<usize> = (0..layouts.len()).collect();
    order.sort_by_cached_key(|at| layouts[*at].iter().copied().map(rank).collect::<Vec<_>>());
    let of_batch = |batch: usize| -> candle_core::Result<Vec<S>> {
        let mut sums = vec![S::default(); layouts.len()];
        let tensors = batches.forward(batch)?;
        let base = rows(&tensors[tensors.len() - 1])?;
        let first = batches.range(batch).start;
        replay.layouts(&tensors, layouts, &order, |at, output| {
            let scores = batches.score(batch, &rows(output)?, &base);
            for (i, score) in scores.into_iter().enumerate() {
                sums[at].add(first + i, score);
            }
            Ok(())
        })?;
        progress(batches.range(batch).len());
        Ok(sums)
    };
    // in the batches' order, whichever is done first: sums of floats are then always the same
    let mut sums = vec![S::default(); layouts.len()];
    let all: Vec<usize> = (0..batches.count()).collect();
    for some in all.chunks(AT_ONCE) {
        let parts = some.par_iter().map(|batch| of_batch(*batch));
        for part in parts.collect::<candle_core::Result<Vec<_>>>()? {
            for (sum, more) in sums.iter_mut().zip(&part) {
                sum.merge(more);
            }
        }
    }
    Ok(sums)
}

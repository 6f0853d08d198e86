//! Predicted against measured loss: of the plans that the metrics' prices lead to, of random layouts,
//! and of all layouts.

use std::sync::atomic::{AtomicUsize, Ordering};

use bitbudget_core::arena::Lifetimes;
use bitbudget_core::level::Level;
use bitbudget_core::plan::Limits;

use crate::batches::Batches;
use crate::budget::BudgetText;
use crate::capacity::HostPlan;
use crate::dataset::Dataset;
use crate::graph::FloatModel;
use crate::layout::{self, Bytes, Layout};
use crate::loss::{Changes, Loss, Score};
use crate::metric::{Metric, Replay};
use crate::profile::{Effort, Profile};
use crate::simulate::{self, Each, Mean, Sum};

/// The most layouts that an oracle measures.
pub const MAX_LAYOUTS: u128 = 1 << 18;

/// Every layout's true losses.
#[derive(Clone, Debug)]
pub struct Oracle {
    /// The layouts.
    pub layouts: Vec<Layout>,
    /// The memory of each.
    pub bytes: Vec<Bytes>,
    /// Mean loss of each on the calibration set.
    pub calibration: Vec<Mean>,
    /// Mean loss of each on the test set.
    pub test: Vec<Mean>,
}

impl Oracle {
    /// The layout of least loss among those within limits; `losses` are those on either set.
    #[must_use]
    pub fn best(&self, losses: &[Mean], limits: Limits) -> Option<usize> {
        let fit = (0..self.layouts.len()).filter(|at| self.bytes[*at].fit(&limits));
        fit.min_by(|a, b| losses[*a].loss().total_cmp(&losses[*b].loss()))
    }

    /// The index of a layout.
    #[must_use]
    pub fn find(&self, layout: &[Level]) -> Option<usize> {
        self.layouts.iter().position(|other| other == layout)
    }
}

/// A model, its profiles, and the data that it is measured on.
#[derive(Debug)]
pub struct Subject {
    /// The model.
    pub model: FloatModel,
    /// At least one, of one data set and one choice of levels; one for each metric.
    pub profiles: Vec<Profile>,
    /// Calibration and test set.
    pub sets: [Dataset; 2],
}

/// The plan that one metric's prices lead to within one budget.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The budget.
    pub budget: BudgetText,
    /// The budget in bytes.
    pub limit: Limits,
    /// The metric.
    pub metric: Metric,
    /// The plan.
    pub plan: HostPlan,
    /// The predicted change of the loss.
    pub predicted: f64,
}

/// Measurements beside those of the choices.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Random layouts for the rank correlation; none if below 2.
    pub layouts: usize,
    /// Calibration samples that they are measured on; all where `None`.
    pub layout_samples: Option<usize>,
    /// Whether every layout is measured.
    pub oracle: bool,
    /// Samples of each set for that; all where `None`.
    pub oracle_samples: Option<usize>,
}

/// A pass over a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The choices on the calibration set.
    Calibration,
    /// The choices on the test set.
    Test,
    /// Random layouts on the calibration set.
    Random,
    /// Every layout on the calibration set.
    OracleCalibration,
    /// Every layout on the test set.
    OracleTest,
}

/// Is told how many samples of a pass are done, of how many.
pub type Progress<'a> = &'a (dyn Fn(Pass, usize, usize) + Sync);

/// One choice, measured.
#[derive(Clone, Debug)]
pub struct Row {
    /// The choice.
    pub choice: Choice,
    /// The predicted loss on the calibration set.
    pub predicted_loss: f64,
    /// The loss on the calibration set.
    pub calibration: Mean,
    /// The loss on the test set.
    pub test: Mean,
    /// The changes from FP32 on the test set.
    pub change: Changes,
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The layers' names.
    pub names: Vec<String>,
    /// The passes that each metric took.
    pub efforts: Vec<(Metric, Effort)>,
    /// The loss.
    pub loss: Loss,
    /// Its temperature.
    pub temperature: f64,
    /// FP32 on the calibration and the test set.
    pub fp32: [Mean; 2],
    /// The choices.
    pub rows: Vec<Row>,
    /// Each metric's rank correlation of predicted and measured loss.
    pub spearman: Vec<(Metric, f64)>,
    /// The losses of every layout.
    pub oracle: Option<Oracle>,
}

/// The least test loss within one budget, and the choices' on the same samples.
#[derive(Clone, Debug)]
pub struct Floor {
    /// FP32's test loss.
    pub fp32: f64,
    /// The least test loss of any layout.
    pub floor: f64,
    /// The test loss of the layout of least calibration loss.
    pub calibration_chosen: f64,
    /// The test loss of each metric's choice.
    pub metrics: Vec<(Metric, f64)>,
}

impl Subject {
    /// Measures the choices, and what the extent says.
    ///
    /// # Errors
    /// When the model cannot be run.
    pub fn compare(
        &self,
        choices: Vec<Choice>,
        extent: &Extent,
        progress: Progress<'_>,
    ) -> candle_core::Result<Comparison> {
        let first = &self.profiles[0];
        // FP32 comes first, each choice's layout at the index beside it
        let mut layouts: Vec<Layout> = vec![vec![Level::Fp32; first.names.len()]];
        let mut chosen = Vec::new();
        for choice in choices {
            let layout = layout::layout_of(&choice.plan.levels);
            let known = layouts.iter().position(|other| *other == layout);
            chosen.push((choice, known.unwrap_or(layouts.len())));
            if known.is_none() {
                layouts.push(layout);
            }
        }
        let calibration: Vec<Mean> = self.measure(Pass::Calibration, &layouts, None, progress)?;
        let test: Vec<Each> = self.measure(Pass::Test, &layouts, None, progress)?;
        let test_means: Vec<Mean> = test.iter().map(|each| each.mean).collect();
        if !test_means.iter().all(|mean| mean.loss().is_finite()) {
            candle_core::bail!("the outputs for the test data are not finite numbers")
        }
        let test_scores: Vec<Vec<Score>> = test.into_iter().map(Each::into_scores).collect();
        let rows = chosen.into_iter().map(|(choice, at)| Row {
            predicted_loss: calibration[0].loss() + choice.predicted,
            calibration: calibration[at],
            test: test_means[at],
            change: Changes::between(&test_scores[0], &test_scores[at]),
            choice,
        });
        let efforts = self.profiles.iter();
        Ok(Comparison {
            names: first.names.clone(),
            efforts: efforts
                .map(|profile| (profile.origin.metric, profile.effort))
                .collect(),
            loss: first.origin.loss,
            temperature: first.temperature,
            fp32: [calibration[0], test_means[0]],
            rows: rows.collect(),
            spearman: self.spearman(extent, progress)?,
            oracle: self.oracle(extent, progress)?,
        })
    }

    fn spearman(
        &self,
        extent: &Extent,
        progress: Progress<'_>,
    ) -> candle_core::Result<Vec<(Metric, f64)>> {
        if extent.layouts < 2 {
            return Ok(Vec::new());
        }
        let network = &self.profiles[0].network;
        let layouts = layout::random_layouts(network, extent.layouts, 1);
        let samples = extent.layout_samples;
        let measured: Vec<Mean> = self.measure(Pass::Random, &layouts, samples, progress)?;
        let measured: Vec<f64> = measured.iter().map(Mean::loss).collect();
        let correlations = self.profiles.iter().map(|profile| {
            let price = |layout: &Layout| layout::bytes_and_price(&profile.network, layout).1;
            let predicted: Vec<f64> = layouts.iter().map(price).collect();
            (profile.origin.metric, spearman(&predicted, &measured))
        });
        Ok(correlations.collect())
    }

    fn oracle(
        &self,
        extent: &Extent,
        progress: Progress<'_>,
    ) -> candle_core::Result<Option<Oracle>> {
        if !extent.oracle {
            return Ok(None);
        }
        let network = &self.profiles[0].network;
        let layouts = layout::all_layouts(network);
        let lifetimes = Lifetimes::new(network);
        let bytes = |layout: &Layout| Bytes::of(network, &lifetimes, layout);
        let samples = extent.oracle_samples;
        Ok(Some(Oracle {
            bytes: layouts.iter().map(bytes).collect(),
            calibration: self.measure(Pass::OracleCalibration, &layouts, samples, progress)?,
            test: self.measure(Pass::OracleTest, &layouts, samples, progress)?,
            layouts,
        }))
    }

    /// The sums of every layout over the pass's set, or its first samples.
    fn measure<S: Sum + Default>(
        &self,
        pass: Pass,
        layouts: &[Layout],
        samples: Option<usize>,
        progress: Progress<'_>,
    ) -> candle_core::Result<Vec<S>> {
        let data = match pass {
            Pass::Calibration | Pass::Random | Pass::OracleCalibration => &self.sets[0],
            Pass::Test | Pass::OracleTest => &self.sets[1],
        };
        let limited = samples.filter(|samples| *samples < data.len);
        let limited = limited.map(|samples| data.first(samples));
        let data = limited.as_ref().unwrap_or(data);
        let profile = &self.profiles[0];
        let preprocess = &profile.network.preprocess;
        let mut batches = Batches::new(&self.model, data, preprocess, profile.origin.loss);
        batches.objective.temperature = profile.temperature;
        let replay = Replay::new(&self.model, &profile.network, &profile.grids)?;
        let done = AtomicUsize::new(0);
        simulate::measure(&batches, &replay, layouts, &|samples| {
            let before = done.fetch_add(samples, Ordering::Relaxed);
            progress(pass, before + samples, data.len);
        })
    }
}

impl Comparison {
    /// The least test loss within a budget; `None` without an oracle.
    #[must_use]
    pub fn floor(&self, budget: &BudgetText) -> Option<Floor> {
        let oracle = self.oracle.as_ref()?;
        let choices = || {
            let choices = self.rows.iter().map(|row| &row.choice);
            choices.filter(|choice| choice.budget == *budget)
        };
        let limit = choices().next()?.limit;
        let test = |at: usize| oracle.test[at].loss();
        let chosen = choices().filter_map(|choice| {
            let at = oracle.find(&layout::layout_of(&choice.plan.levels))?;
            Some((choice.metric, test(at)))
        });
        Some(Floor {
            fp32: test(oracle.find(&vec![Level::Fp32; self.names.len()])?),
            floor: test(oracle.best(&oracle.test, limit)?),
            calibration_chosen: test(oracle.best(&oracle.calibration, limit)?),
            metrics: chosen.collect(),
        })
    }

    /// The budgets, each once, in the order of the choices.
    #[must_use]
    pub fn budgets(&self) -> Vec<&BudgetText> {
        let budgets = self.rows.iter().map(|row| &row.choice.budget);
        let mut budgets: Vec<&BudgetText> = budgets.collect();
        budgets.dedup();
        budgets
    }
}

/// Spearman's rank correlation of two measurements of the same things (Spearman 1904): the correlation
/// of their ranks, equals sharing the mean of theirs. NaN where one of them never differs.
#[must_use]
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let n = a.len() as f64;
    let mean = (n + 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| -> f64 {
        let pairs = x.iter().zip(y);
        pairs.map(|(x, y)| (x - mean) * (y - mean)).sum()
    };
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut rank = 0.0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let len = equal.len() as f64;
        for at in equal {
            ranks[*at] = rank + (len + 1.0) / 2.0;
        }
        rank += len;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_correlate_as_in_the_textbook() {
        assert!((spearman(&[1.0, 2.0, 3.0], &[10.0, 20.0, 90.0]) - 1.0).abs() < 1e-12);
        assert!((spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        // 1 - 6 Σd² / (n (n² - 1)), without ties
        let (a, b) = ([106.0, 100.0, 86.0, 101.0], [7.0, 27.0, 2.0, 50.0]);
        assert!((spearman(&a, &b) - (1.0 - 6.0 * 6.0 / 60.0)).abs() < 1e-12);
        assert_eq!(ranks(&[5.0, 1.0, 5.0]), [2.5, 1.0, 2.5]);
        assert!(spearman(&[1.0, 1.0], &[1.0, 2.0]).is_nan());
    }
}

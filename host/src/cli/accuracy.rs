//! Plans by the accuracy that they are measured to have.

use std::path::{Path, PathBuf};

use bitbudget::capacity::HostPlan;
use bitbudget::evaluate::Evaluation;
use bitbudget::file;
use bitbudget::loss::{Change, Changes, Head, Loss};
use bitbudget::profile::Profile;
use bitbudget_core::plan::{Limits, Measure};
use clap::Args;
use miette::miette;
use serde_json::{Value, json};

use super::data::Data;
use super::eval::{Baseline, Given};
use super::network_file::{Source, parse_image};
use super::report;
use super::target::Target;

/// How much accuracy a plan may cost, and where that is measured.
#[derive(Args, Debug)]
pub(crate) struct AccuracyArgs {
    /// Find the smallest layout whose accuracy is at most this much below FP32's (1%), by running a few of the
    /// optimal ones on --data; without labels, the part of the answers that are other than FP32's
    #[arg(long, value_name = "PART", requires = "data", conflicts_with = "max_loss", value_parser = part)]
    max_drop: Option<f64>,
    /// The model that the image was packed from: for --max-drop with an image that does not hold all of the FP32 weights
    #[arg(long, value_name = "MODEL", requires = "max_drop")]
    model: Option<PathBuf>,
}

/// A part of a whole: `1%`, `0.01`.
fn part(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim_end(), 100.0),
        None => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if (0.0..=unit).contains(&number) => Ok(number / unit),
        _ => Err("a part is from 0% to 100%, such as 1% or 0.01".to_owned()),
    }
}

/// A plan whose accuracy was measured.
pub(crate) struct Measured {
    pub(crate) plan: HostPlan,
    /// Whether it is the smallest of all; else the next smaller one was measured, too, and loses more.
    is_smallest: bool,
    /// The plan's accuracy, or the agreement with FP32.
    accuracy: f64,
    /// FP32's.
    fp32: f64,
    /// The plan's less FP32's.
    change: Change,
    /// Plans that were run.
    runs: usize,
    samples: usize,
    max_drop: f64,
    loss: Loss,
}

impl AccuracyArgs {
    pub(crate) const fn max_drop(&self) -> Option<f64> {
        self.max_drop
    }

    /// The smallest plan that loses no more accuracy than it may: of the optimal ones for all limits on the measure,
    /// by bisection. `None` where that was not asked for.
    pub(crate) fn find(
        &self,
        (path, data): (&Path, Option<&Data>),
        source: &mut Source,
        target: &Target,
        over: (Limits, Measure),
    ) -> miette::Result<Option<Measured>> {
        let (Some(max_drop), Some(data)) = (self.max_drop, data) else {
            return Ok(None);
        };
        let bytes = file::read(path)?;
        if Profile::matches(&bytes) {
            return Err(miette!(
                help = "pack an image (bitbudget pack), and give that",
                "--max-drop runs the network, and a profile has no weights"
            ));
        }
        let image = parse_image(path, &bytes)?;
        let samples = data.load(image.network().input)?;
        let loss = Loss::or_found(None, &samples, Head::of(image.network()))?;
        if report::accuracy(loss).is_none() {
            return Err(miette!(
                help = "bound the predicted loss instead: --max-loss",
                "the model's outputs are no classes, so that there is no accuracy"
            ));
        }
        let given = Given {
            data: &samples,
            path: &data.data,
            loss,
            target,
        };
        let plans = source.staircase(over);
        // FP32, and as often as the plans can be halved
        let runs = 1 + usize::BITS - plans.plans.len().leading_zeros();
        let bar = report::progress("evaluating", samples.len * runs as usize);
        let done = |samples| bar.inc(samples as u64);
        let baseline = Baseline::find(&image, self.model.as_deref())?;
        let fp32 = given.run_fp32(&image, baseline, &done)?;
        let Some((_, fp32)) = fp32 else {
            return Err(miette!(
                help = "give the model that it was packed from: --model MODEL",
                "the image does not hold the FP32 weights of every layer, which the accuracy is compared with"
            ));
        };
        let mut runs = 0;
        let mut run = |plan: &HostPlan| -> miette::Result<(Evaluation, Change)> {
            runs += 1;
            let evaluation = given.run(&image, plan, Some(&fp32), &done)?;
            let change = Changes::between(&fp32.scores, &evaluation.scores).accuracy;
            Ok((evaluation, change))
        };
        let (mut low, mut high) = (0, plans.plans.len());
        let mut found = None;
        let mut nearest: Option<f64> = None;
        while low < high {
            let middle = usize::midpoint(low, high);
            let (evaluation, change) = run(&plans.plans[middle])?;
            let drop = -change.mean;
            nearest = Some(nearest.map_or(drop, |nearest| nearest.min(drop)));
            if drop <= max_drop {
                found = Some((middle, evaluation, change));
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        bar.finish_and_clear();
        let Some((at, evaluation, change)) = found else {
            let nearest = report::percent(nearest.unwrap_or(1.0));
            return Err(miette!(
                help = format!(
                    "the best within the limits loses {nearest}: allow as much, or raise the limits"
                ),
                "no layout keeps within {} of FP32's accuracy of {}",
                report::percent(max_drop),
                report::percent(fp32.accuracy),
            ));
        };
        Ok(Some(Measured {
            plan: plans.plans[at].clone(),
            is_smallest: at == 0,
            accuracy: evaluation.accuracy,
            fp32: fp32.accuracy,
            change,
            runs,
            samples: samples.len,
            max_drop,
            loss,
        }))
    }
}

impl Measured {
    /// What was measured.
    pub(crate) fn text(&self) -> String {
        format!(
            "{} {} on {} samples, FP32 {}: a change of {} +- {}; {} plans run",
            report::accuracy(self.loss).unwrap_or("accuracy"),
            report::percent(self.accuracy),
            self.samples,
            report::percent(self.fp32),
            report::percent(self.change.mean),
            report::percent(self.change.standard_error),
            self.runs,
        )
    }

    /// What was asked for.
    pub(crate) fn bound(&self) -> String {
        let drop = report::percent(self.max_drop);
        match self.is_smallest {
            true => format!("the smallest layout, which loses at most {drop}"),
            false => format!("the next smaller layout loses more than {drop}"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "max_drop": self.max_drop,
            "accuracy": self.accuracy,
            "fp32_accuracy": self.fp32,
            "accuracy_change": self.change.mean,
            "accuracy_change_se": self.change.standard_error,
            "samples": self.samples,
            "plans_run": self.runs,
        })
    }
}

//! `bitbudget eval`

use std::path::{Path, PathBuf};

use bitbudget::budget::BudgetText;
use bitbudget::capacity::{HostImage, HostPlan};
use bitbudget::dataset::Dataset;
use bitbudget::evaluate::{Against, Evaluation, evaluate};
use bitbudget::file;
use bitbudget::loss::Loss;
use bitbudget::pack::with_fp32;
use clap::Args;
use miette::miette;
use serde_json::{Value, json};

use super::data::Data;
use super::network_file::{Source, parse_image};
use super::{Outcome, report};

/// Measure loss and accuracy at several budgets, with the device's own kernels
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    bitbudget eval resnet8.image --data test_batch.bin --budget 80%,weights=50%,256KiB")]
pub(crate) struct Eval {
    /// Image
    #[arg(value_name = "FILE.image")]
    image: PathBuf,
    #[command(flatten)]
    data: Data,
    /// Budgets, as for `bitbudget plan`
    #[arg(long, value_name = "B,..", value_delimiter = ',', required = true)]
    budget: Vec<BudgetText>,
    /// Loss: against labels, or the divergence (kl) or squared difference (mse) from the FP32 outputs;
    /// without it labels where there are some, else kl, and mse for models with one output
    #[arg(long)]
    loss: Option<Loss>,
    /// Skip the FP32 baseline: much faster, but no change of the loss
    #[arg(long)]
    no_fp32: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Eval {
    pub(crate) fn run(self) -> Outcome {
        let bytes = file::read(&self.image)?;
        let image = parse_image(&self.image, &bytes)?;
        let data = self.data.load(image.network().input)?;
        let loss = Loss::or_found(self.loss, &data, image.network().output_shape())?;
        if self.no_fp32 && loss != Loss::Labels {
            return Err(miette!(
                help = "leave --no-fp32 out, or give --labels",
                "the loss {loss} is a distance from the FP32 outputs, which --no-fp32 leaves out"
            ));
        }
        let path = &self.data.data;
        let report = Report::new(&image, &data, path, loss, !self.no_fp32, &self.budget)?;
        if self.json {
            return report::print_json(&report.json());
        }
        report.print();
        Ok(())
    }
}

/// The evaluation of an image at several budgets, beside FP32 if that was wanted.
pub(crate) struct Report {
    source: Source,
    samples: usize,
    loss: Loss,
    fp32: Option<(HostPlan, Evaluation)>,
    budgets: Vec<(BudgetText, HostPlan, Evaluation)>,
}

impl Report {
    pub(crate) fn new(
        image: &HostImage<'_>,
        data: &Dataset,
        path: &Path,
        loss: Loss,
        beside_fp32: bool,
        budgets: &[BudgetText],
    ) -> miette::Result<Self> {
        let mut source = Source::of_image(image);
        let plans = budgets.iter().map(|budget| source.plan_for(budget));
        let plans = plans.collect::<miette::Result<Vec<_>>>()?;
        let runs = plans.len() + usize::from(beside_fp32);
        let bar = report::progress("evaluating", data.len * runs);
        let run = |image: &HostImage<'_>, plan: &HostPlan, fp32: Option<&Evaluation>| {
            let against = Against {
                loss,
                fp32,
                data_path: path,
            };
            evaluate(image, plan, data, against, &|samples| {
                bar.inc(samples as u64);
            })
        };
        let mut fp32 = None;
        if beside_fp32 {
            let reference = with_fp32(image)?;
            let reference = parse_image(path, &reference)?;
            let plan = Source::of_image(&reference).fp32();
            let evaluation = run(&reference, &plan, None)?;
            fp32 = Some((plan, evaluation));
        }
        let against = fp32.as_ref().map(|(_, evaluation)| evaluation);
        let mut evaluated = Vec::new();
        for (budget, plan) in budgets.iter().zip(plans) {
            let evaluation = run(image, &plan, against)?;
            evaluated.push((budget.clone(), plan, evaluation));
        }
        bar.finish_and_clear();
        Ok(Self {
            source,
            samples: data.len,
            loss,
            fp32,
            budgets: evaluated,
        })
    }

    pub(crate) fn print(&self) {
        let mut table = report::table(&[
            "budget",
            "total",
            "weights",
            "loss",
            "change",
            "+- s.e.",
            "predicted",
            report::accuracy(self.loss),
            "levels",
        ]);
        if let Some((plan, evaluation)) = &self.fp32 {
            table.add_row([
                "FP32".to_owned(),
                report::bytes(plan.total_bytes()),
                report::bytes(u64::from(plan.weight_bytes)),
                report::loss(evaluation.loss),
                String::new(),
                String::new(),
                String::new(),
                report::percent(evaluation.accuracy),
                report::levels_short(&plan.levels),
            ]);
        }
        for (budget, plan, evaluation) in &self.budgets {
            let compared = |text: fn(&Evaluation, &Evaluation) -> String| match &self.fp32 {
                Some((_, fp32)) => text(evaluation, fp32),
                None => String::new(),
            };
            table.add_row([
                budget.to_string(),
                report::bytes(plan.total_bytes()),
                report::bytes(u64::from(plan.weight_bytes)),
                report::loss(evaluation.loss),
                compared(|at, fp32| report::change(at.loss - fp32.loss)),
                match self.samples {
                    // one sample has no spread
                    0 | 1 => String::new(),
                    _ => compared(|at, fp32| report::loss(at.paired_error(fp32))),
                },
                report::change(self.source.loss(plan.price)),
                report::percent(evaluation.accuracy),
                report::levels_short(&plan.levels),
            ]);
        }
        report::print_table(&table);
        let change = match self.fp32 {
            Some(_) => "change: measured here, +- its paired standard error; ",
            None => "",
        };
        say!(
            "\n{} samples, loss {}; {change}predicted: sum of the plan's prices{}",
            self.samples,
            self.loss,
            match self.loss {
                Loss::Labels => "",
                Loss::Kl | Loss::Mse => "; agreement: the part whose largest output is FP32's",
            }
        );
    }

    pub(crate) fn json(&self) -> Value {
        let budgets = self.budgets.iter().map(|(text, plan, evaluation)| {
            let fp32 = self.fp32.as_ref().map(|(_, fp32)| fp32);
            json!({
                "budget": text.to_string(),
                "budget_bytes": self.source.resolve(text).bytes(),
                "weight_bytes": plan.weight_bytes,
                "arena_bytes": plan.arena_bytes,
                "total_bytes": plan.total_bytes(),
                "loss": evaluation.loss,
                "loss_change": fp32.map(|fp32| evaluation.loss - fp32.loss),
                "loss_change_se": fp32.map(|fp32| evaluation.paired_error(fp32)),
                "accuracy": evaluation.accuracy,
                "predicted_loss": fp32.map(|fp32| fp32.loss + self.source.loss(plan.price)),
                "levels": report::levels_json(&self.source.names, &plan.levels),
            })
        });
        let fp32 = self.fp32.as_ref().map(|(plan, evaluation)| {
            json!({
                "loss": evaluation.loss,
                "accuracy": evaluation.accuracy,
                "weight_bytes": plan.weight_bytes,
                "total_bytes": plan.total_bytes(),
            })
        });
        json!({
            "samples": self.samples,
            "loss": self.loss.name(),
            "fp32": fp32,
            "budgets": budgets.collect::<Vec<_>>(),
        })
    }
}

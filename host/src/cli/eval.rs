//! `bitbudget eval`

use std::path::{Path, PathBuf};

use bitbudget::budget::BudgetText;
use bitbudget::dataset::Dataset;
use bitbudget::evaluate::{Against, Evaluation, HostPlan, evaluate};
use bitbudget::file;
use bitbudget::loss::Loss;
use bitbudget::pack::{HostImage, with_fp32};
use clap::Args;
use serde_json::{Value, json};

use super::data::Data;
use super::planned::{Planned, parse_image};
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
    /// without it labels where there are some, else kl
    #[arg(long)]
    loss: Option<Loss>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Eval {
    pub(crate) fn run(self) -> Outcome {
        let bytes = file::read(&self.image)?;
        let image = parse_image(&self.image, &bytes)?;
        let data = self.data.load(image.network().input)?;
        let report = Report::new(&image, &data, &self.data.data, self.loss, &self.budget)?;
        if self.json {
            return report::print_json(&report.json());
        }
        report.print();
        Ok(())
    }
}

/// The evaluation of an image at several budgets, beside FP32.
pub(crate) struct Report {
    planned: Planned,
    samples: usize,
    loss: Loss,
    fp32_plan: HostPlan,
    fp32: Evaluation,
    budgets: Vec<(BudgetText, HostPlan, Evaluation)>,
}

impl Report {
    pub(crate) fn new(
        image: &HostImage<'_>,
        data: &Dataset,
        path: &Path,
        loss: Option<Loss>,
        budgets: &[BudgetText],
    ) -> miette::Result<Self> {
        let mut planned = Planned::of_image(image);
        let plans = budgets.iter().map(|budget| planned.plan_for(budget));
        let plans = plans.collect::<miette::Result<Vec<_>>>()?;
        let bar = report::progress("evaluating", data.len * (plans.len() + 1));
        let loss = Loss::or_found(loss, data);
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
        let reference = with_fp32(image)?;
        let reference = parse_image(path, &reference)?;
        let fp32_plan = Planned::of_image(&reference).fp32();
        let fp32 = run(&reference, &fp32_plan, None)?;
        let mut evaluated = Vec::new();
        for (budget, plan) in budgets.iter().zip(plans) {
            let evaluation = run(image, &plan, Some(&fp32))?;
            evaluated.push((budget.clone(), plan, evaluation));
        }
        bar.finish_and_clear();
        Ok(Self {
            planned,
            samples: data.len,
            loss,
            fp32_plan,
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
            "accuracy",
            "levels",
        ]);
        table.add_row([
            "FP32".to_owned(),
            report::bytes(self.fp32_plan.total_bytes()),
            report::bytes(u64::from(self.fp32_plan.weight_bytes)),
            format!("{:.6}", self.fp32.loss),
            String::new(),
            String::new(),
            String::new(),
            report::percent(self.fp32.accuracy),
            report::levels_short(&self.fp32_plan.levels),
        ]);
        for (budget, plan, evaluation) in &self.budgets {
            table.add_row([
                budget.to_string(),
                report::bytes(plan.total_bytes()),
                report::bytes(u64::from(plan.weight_bytes)),
                format!("{:.6}", evaluation.loss),
                report::change(evaluation.loss - self.fp32.loss),
                format!("{:.6}", evaluation.paired_error(&self.fp32)),
                report::change(self.planned.loss(plan.price)),
                report::percent(evaluation.accuracy),
                report::levels_short(&plan.levels),
            ]);
        }
        report::print_table(&table);
        say!(
            "\n{} samples, loss {}; change: measured here, +- its paired standard error; predicted: sum of the plan's prices",
            self.samples,
            self.loss
        );
    }

    pub(crate) fn json(&self) -> Value {
        let budgets = self.budgets.iter().map(|(text, plan, evaluation)| {
            json!({
                "budget": text.to_string(),
                "budget_bytes": self.planned.resolve(text).bytes(),
                "weight_bytes": plan.weight_bytes,
                "arena_bytes": plan.arena_bytes,
                "total_bytes": plan.total_bytes(),
                "loss": evaluation.loss,
                "loss_change": evaluation.loss - self.fp32.loss,
                "loss_change_se": evaluation.paired_error(&self.fp32),
                "accuracy": evaluation.accuracy,
                "predicted_loss": self.fp32.loss + self.planned.loss(plan.price),
                "levels": report::levels_json(&self.planned.names, &plan.levels),
            })
        });
        json!({
            "samples": self.samples,
            "loss": self.loss.name(),
            "fp32": {
                "loss": self.fp32.loss,
                "accuracy": self.fp32.accuracy,
                "weight_bytes": self.fp32_plan.weight_bytes,
                "total_bytes": self.fp32_plan.total_bytes(),
            },
            "budgets": budgets.collect::<Vec<_>>(),
        })
    }
}

//! `bitbudget eval`

use std::path::{Path, PathBuf};

use bitbudget::budget::BudgetText;
use bitbudget::capacity::{HostImage, HostPlan};
use bitbudget::dataset::Dataset;
use bitbudget::evaluate::{Against, Evaluation, evaluate};
use bitbudget::file;
use bitbudget::loss::Loss;
use bitbudget::{import, pack};
use bitbudget_core::level::Level;
use bitbudget_core::price::PriceItem;
use clap::Args;
use miette::miette;
use serde_json::{Value, json};

use super::data::Data;
use super::network_file::{Source, parse_image};
use super::target::{BudgetArgs, Target, TargetArgs};
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
    #[command(flatten)]
    budgets: BudgetArgs,
    /// Loss: against labels, or the divergence (kl) or squared difference (mse) from the FP32 outputs;
    /// without it labels where there are some, else kl, and mse for models with one output
    #[arg(long)]
    loss: Option<Loss>,
    /// Skip the FP32 baseline: much faster, but no change of the loss
    #[arg(long)]
    no_fp32: bool,
    /// The model that the image was packed from: the FP32 baseline of an image that does not hold all of the FP32 weights
    #[arg(long, value_name = "MODEL.onnx")]
    model: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
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
        let baseline = match self.no_fp32 {
            true => Baseline::None,
            false => Baseline::find(&image, self.model.as_deref())?,
        };
        if matches!(baseline, Baseline::None) && !self.no_fp32 {
            let missing = "the image does not hold the FP32 weights of every layer";
            let help = "give the model that it was packed from (--model MODEL.onnx)";
            if loss != Loss::Labels {
                return Err(miette!(
                    help = help,
                    "the loss {loss} is a distance from the FP32 outputs, and {missing}"
                ));
            }
            report::complain("note", &format!("no FP32 baseline: {missing}; {help}"));
        }
        let given = Given {
            data: &data,
            path: &self.data.data,
            loss,
            target: &self.target.get(),
        };
        let report = Report::new(&image, given, baseline, &self.budgets.ram)?;
        if self.json {
            return report::print_json(&report.json());
        }
        report.print();
        Ok(())
    }
}

/// Whose FP32 weights an evaluation is compared with.
pub(crate) enum Baseline {
    /// No one's.
    None,
    /// The image's own.
    Own,
    /// Those of this image.
    Of(Vec<u8>),
}

impl Baseline {
    /// The baseline of an image: `model`'s weights, or its own; `None` where it has not all of them.
    fn find(image: &HostImage<'_>, model: Option<&Path>) -> miette::Result<Self> {
        let network = image.network();
        if let Some(model) = model {
            return Ok(Self::Of(pack::fp32(network, &import::load(model)?)?));
        }
        let has_fp32 = |row: &[PriceItem]| row.iter().any(|item| item.level == Level::Fp32);
        let mut rows = network.prices.rows.iter();
        Ok(match rows.all(|row| row.is_empty() || has_fp32(row)) {
            true => Self::Own,
            false => Self::None,
        })
    }
}

/// What an image is run on.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) data: &'a Dataset,
    /// Where the data came from, for errors.
    pub(crate) path: &'a Path,
    pub(crate) loss: Loss,
    pub(crate) target: &'a Target,
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
        given: Given<'_>,
        baseline: Baseline,
        budgets: &[BudgetText],
    ) -> miette::Result<Self> {
        let Given {
            data,
            path,
            loss,
            target,
        } = given;
        let mut source = Source::of_image(image, target)?;
        let plans = budgets.iter().map(|budget| source.plan_for(budget));
        let plans = plans.collect::<miette::Result<Vec<_>>>()?;
        let runs = plans.len() + usize::from(!matches!(baseline, Baseline::None));
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
        let alone = |image: &HostImage<'_>| -> miette::Result<_> {
            let plan = Source::of_image(image, target)?.fp32();
            let evaluation = run(image, &plan, None)?;
            Ok(Some((plan, evaluation)))
        };
        let fp32 = match baseline {
            Baseline::None => None,
            Baseline::Own => alone(image)?,
            Baseline::Of(bytes) => alone(&parse_image(path, &bytes)?)?,
        };
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
        let mut heads = vec!["budget", "total", "weights"];
        heads.extend(
            self.source
                .has_cycles
                .then_some(["in flash", "cycles"])
                .iter()
                .flatten(),
        );
        heads.extend(self.source.board.is_some().then_some("ms"));
        heads.push("loss");
        heads.extend(
            self.fp32
                .is_some()
                .then_some(["change", "+- s.e."])
                .iter()
                .flatten(),
        );
        heads.extend(["predicted", report::accuracy(self.loss), "levels"]);
        let mut table = report::table(&heads);
        if let Some((plan, evaluation)) = &self.fp32 {
            table.add_row(self.row("FP32", plan, evaluation, true));
        }
        for (budget, plan, evaluation) in &self.budgets {
            table.add_row(self.row(&budget.to_string(), plan, evaluation, false));
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

    /// A row of the table; only the baseline is compared with nothing.
    fn row(
        &self,
        name: &str,
        plan: &HostPlan,
        evaluation: &Evaluation,
        is_baseline: bool,
    ) -> Vec<String> {
        let mut row = vec![
            name.to_owned(),
            report::bytes(plan.ram_bytes()),
            report::bytes(plan.weight_bytes.into()),
        ];
        if self.source.has_cycles {
            row.push(report::bytes(plan.flash_weight_bytes().into()));
            row.push(plan.cycles.to_string());
        }
        if let Some(board) = &self.source.board {
            row.push(format!("{:.2}", board.milliseconds(plan.cycles)));
        }
        row.push(report::loss(evaluation.loss));
        match &self.fp32 {
            Some(_) if is_baseline => row.extend([String::new(), String::new()]),
            Some((_, fp32)) => {
                row.push(report::change(evaluation.loss - fp32.loss));
                row.push(match self.samples {
                    // one sample has no spread
                    0 | 1 => String::new(),
                    _ => report::loss(evaluation.paired_error(fp32)),
                });
            }
            None => {}
        }
        row.push(match is_baseline {
            true => String::new(),
            false => report::change(self.source.loss(plan.price)),
        });
        row.push(report::percent(evaluation.accuracy));
        row.push(report::levels_short(&plan.levels));
        row
    }

    pub(crate) fn json(&self) -> Value {
        let budgets = self.budgets.iter().map(|(text, plan, evaluation)| {
            let fp32 = self.fp32.as_ref().map(|(_, fp32)| fp32);
            json!({
                "budget": text.to_string(),
                "budget_bytes": self.source.resolve(text).get(text.measure()),
                "weight_bytes": plan.weight_bytes,
                "arena_bytes": plan.arena_bytes,
                "total_bytes": plan.ram_bytes(),
                "ram_weight_bytes": plan.ram_weight_bytes,
                "cycles": self.source.has_cycles.then_some(plan.cycles),
                "ms": self.source.board.as_ref().map(|board| board.milliseconds(plan.cycles)),
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
                "total_bytes": plan.ram_bytes(),
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

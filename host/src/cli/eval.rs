//! `bitbudget eval`

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use bitbudget::budget::BudgetText;
use bitbudget::capacity::{HostImage, HostPlan};
use bitbudget::dataset::Dataset;
use bitbudget::doubt::Doubt;
use bitbudget::evaluate::{Against, EvaluateError, Evaluation, evaluate};
use bitbudget::file;
use bitbudget::import::{self, Sizes};
use bitbudget::loss::{Changes, Head, Loss, Objective};
use bitbudget::pack;
use bitbudget_core::level::Level;
use bitbudget_core::price::PriceItem;
use clap::Args;
use miette::miette;
use serde_json::{Value, json};

use super::data::Data;
use super::network_file::{Source, parse_image};
use super::settings::LossArgs;
use super::target::{BudgetArgs, Target, TargetArgs};
use super::warnings::{self, Warning};
use super::{Outcome, report};

/// Measure loss and accuracy at several budgets, with the device's own kernels
#[derive(Args, Debug)]
#[command(mut_arg("ram", |ram| ram.required(false).required_unless_present("uniform")))]
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
    /// Also give all layers one level, for comparison: int8, int4 (an image packed with --all-levels holds them)
    #[arg(long, value_name = "LEVEL,..", value_delimiter = ',')]
    uniform: Vec<Level>,
    #[command(flatten)]
    loss: LossArgs,
    /// Skip the FP32 baseline: much faster, but no change of the loss
    #[arg(long)]
    no_fp32: bool,
    /// The model that the image was packed from: the FP32 baseline of an image that does not hold all of the FP32 weights
    #[arg(long, value_name = "MODEL")]
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
        let asked = self.loss.loss;
        let mut loss = Loss::or_found(asked, &data, Head::of(image.network()))?;
        let baseline = match self.no_fp32 {
            true => Baseline::None,
            false => Baseline::find(&image, self.model.as_deref())?,
        };
        if matches!(baseline, Baseline::None) {
            let (missing, help) = match self.no_fp32 {
                true => ("--no-fp32 leaves them out", "leave --no-fp32 out"),
                false => (
                    "the image does not hold the FP32 weights of every layer",
                    "give the model that it was packed from (--model MODEL)",
                ),
            };
            if asked.is_none() && loss == Loss::Calibrated {
                loss = Loss::Labels;
            }
            if loss != Loss::Labels {
                let raw = match loss.is_of_labels() {
                    true => ", or measure the raw loss (--loss labels)",
                    false => "",
                };
                return Err(miette!(
                    help = format!("{help}{raw}"),
                    "the loss {loss} needs the FP32 outputs, and {missing}"
                ));
            }
            if !self.no_fp32 {
                report::complain("note", &format!("no FP32 baseline: {missing}; {help}"));
            }
        }
        let given = Given {
            data: &data,
            path: &self.data.data,
            loss,
            target: &self.target.get(),
        };
        let budgets = self.budgets.ram.into_iter().map(Wanted::Within);
        let uniform = self.uniform.into_iter().map(Wanted::AllAt);
        let wanted: Vec<Wanted> = budgets.chain(uniform).collect();
        let report = Report::new(&image, given, baseline, &wanted)?;
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
    pub(crate) fn find(image: &HostImage<'_>, model: Option<&Path>) -> miette::Result<Self> {
        let network = image.network();
        if let Some(model) = model {
            let graph = import::load_sized(model, &Sizes::Of(network.input))?;
            return Ok(Self::Of(pack::fp32(network, &graph)?));
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

impl Given<'_> {
    /// The evaluation of a plan; `progress` is told the samples done since it was last called.
    pub(crate) fn run(
        self,
        image: &HostImage<'_>,
        plan: &HostPlan,
        fp32: Option<&Evaluation>,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Evaluation, EvaluateError> {
        let against = Against {
            loss: self.loss,
            fp32,
            data_path: self.path,
        };
        evaluate(image, plan, self.data, against, progress)
    }

    /// The evaluation of the FP32 weights, where there are some.
    pub(crate) fn run_fp32(
        self,
        image: &HostImage<'_>,
        baseline: Baseline,
        progress: &(dyn Fn(usize) + Sync),
    ) -> miette::Result<Option<(HostPlan, Evaluation)>> {
        let alone = |image: &HostImage<'_>| -> miette::Result<_> {
            let plan = Source::of_image(image, self.target)?.fp32();
            let evaluation = self.run(image, &plan, None, progress)?;
            Ok(Some((plan, evaluation)))
        };
        match baseline {
            Baseline::None => Ok(None),
            Baseline::Own => alone(image),
            Baseline::Of(bytes) => alone(&parse_image(self.path, &bytes)?),
        }
    }
}

/// A plan to evaluate.
#[derive(Clone)]
pub(crate) enum Wanted {
    /// The best within a budget.
    Within(BudgetText),
    /// That of all layers at one level.
    AllAt(Level),
}

impl Display for Wanted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within(budget) => budget.fmt(f),
            Self::AllAt(level) => write!(f, "all {level}"),
        }
    }
}

/// The evaluation of an image at several budgets, beside FP32 if that was wanted.
pub(crate) struct Report {
    source: Source,
    samples: usize,
    loss: Loss,
    fp32: Option<(HostPlan, Evaluation)>,
    warnings: Vec<Warning>,
    budgets: Vec<(Wanted, HostPlan, Evaluation)>,
}

impl Report {
    pub(crate) fn new(
        image: &HostImage<'_>,
        given: Given<'_>,
        baseline: Baseline,
        wanted: &[Wanted],
    ) -> miette::Result<Self> {
        let Given {
            data, loss, target, ..
        } = given;
        let mut source = Source::of_image(image, target)?;
        let plans = wanted.iter().map(|wanted| match wanted {
            Wanted::Within(budget) => source.plan_for(budget),
            Wanted::AllAt(level) => source.uniform(*level),
        });
        let plans = plans.collect::<miette::Result<Vec<_>>>()?;
        let runs = plans.len() + usize::from(!matches!(baseline, Baseline::None));
        let bar = report::progress("evaluating", data.len * runs);
        let done = |samples| bar.inc(samples as u64);
        let fp32 = given.run_fp32(image, baseline, &done)?;
        let against = fp32.as_ref().map(|(_, evaluation)| evaluation);
        let mut evaluated = Vec::new();
        for (wanted, plan) in wanted.iter().zip(plans) {
            let evaluation = given.run(image, &plan, against, &done)?;
            evaluated.push((wanted.clone(), plan, evaluation));
        }
        bar.finish_and_clear();
        let network = image.network();
        let doubts = match (&fp32, &data.labels) {
            (Some((_, fp32)), Some(labels)) if loss.is_of_labels() => {
                let objective = Objective::new(loss, Head::of(network));
                Doubt::of_outputs(objective, labels, &fp32.outputs)
            }
            _ => Vec::new(),
        };
        Ok(Self {
            warnings: Warning::of_doubts(&doubts, data, &network.preprocess),
            source,
            samples: data.len,
            loss,
            fp32,
            budgets: evaluated,
        })
    }

    pub(crate) fn print(&self) {
        self.print_tables();
        warnings::tell(&self.warnings);
    }

    fn print_tables(&self) {
        let mut heads = vec!["budget", "total", "weights"];
        heads.extend(
            self.source
                .has_cycles
                .then_some(["in flash", "cycles"])
                .iter()
                .flatten(),
        );
        heads.extend(self.source.board.is_some().then_some("ms"));
        heads.push("predicted");
        heads.extend(match &self.fp32 {
            Some(_) => report::change_heads("change", self.loss),
            None => ["loss"]
                .into_iter()
                .chain(report::accuracy(self.loss))
                .collect(),
        });
        heads.push("levels");
        let mut table = report::table(&heads);
        for (wanted, plan, evaluation) in &self.budgets {
            table.add_row(self.row(&wanted.to_string(), plan, evaluation));
        }
        let Some((plan, fp32)) = &self.fp32 else {
            report::print_table(&table);
            say!(
                "\n{} samples; loss: cross-entropy; predicted: sum of the plan's prices",
                self.samples
            );
            return;
        };
        let accuracy = match self.loss.is_of_labels() {
            true => format!(", accuracy {}", report::percent(fp32.accuracy)),
            false => String::new(),
        };
        say!(
            "FP32 ({} in all, {} of weights): loss {}{accuracy}\n",
            report::bytes(plan.ram_bytes()),
            report::bytes(plan.weight_bytes.into()),
            report::fp32_loss(self.loss, fp32.loss, fp32.raw_loss),
        );
        report::print_table(&table);
        say!(
            "\n{} samples; predicted: sum of the plan's prices\n{}",
            self.samples,
            report::change_notes(self.loss, fp32.temperature)
        );
    }

    fn row(&self, name: &str, plan: &HostPlan, evaluation: &Evaluation) -> Vec<String> {
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
        row.push(report::change(self.source.loss(plan.price)));
        row.extend(match &self.fp32 {
            Some((_, fp32)) => {
                let changes = Changes::between(&fp32.scores, &evaluation.scores);
                report::change_cells(self.loss, &changes, evaluation.accuracy, self.samples)
            }
            None => vec![
                report::loss(evaluation.loss),
                report::percent(evaluation.accuracy),
            ],
        });
        row.push(report::levels_short(&plan.levels));
        row
    }

    /// The accuracy, where there is such a thing.
    fn accuracy(&self, evaluation: &Evaluation) -> Option<f64> {
        report::accuracy(self.loss).map(|_| evaluation.accuracy)
    }

    /// The temperature of the loss; `None` but with [`Loss::Calibrated`].
    fn temperature(&self) -> Option<f64> {
        let fp32 = self.fp32.as_ref().filter(|_| self.loss == Loss::Calibrated);
        fp32.map(|(_, fp32)| fp32.temperature)
    }

    pub(crate) fn json(&self) -> Value {
        let budgets = self.budgets.iter().map(|(wanted, plan, evaluation)| {
            let fp32 = self.fp32.as_ref().map(|(_, fp32)| fp32);
            let changes = fp32.map(|fp32| Changes::between(&fp32.scores, &evaluation.scores));
            json!({
                "budget": wanted.to_string(),
                "budget_bytes": match wanted {
                    Wanted::Within(text) => self.source.resolve(text).get(text.measure()),
                    Wanted::AllAt(_) => None,
                },
                "weight_bytes": plan.weight_bytes,
                "arena_bytes": plan.arena_bytes,
                "total_bytes": plan.ram_bytes(),
                "ram_weight_bytes": plan.ram_weight_bytes,
                "cycles": self.source.has_cycles.then_some(plan.cycles),
                "ms": self.source.board.as_ref().map(|board| board.milliseconds(plan.cycles)),
                "loss": evaluation.loss,
                "loss_change": changes.map(|changes| changes.loss.mean),
                "loss_change_se": changes.map(|changes| changes.loss.standard_error),
                "raw_loss": evaluation.raw_loss,
                "raw_loss_change": changes.map(|changes| changes.raw.mean),
                "raw_loss_change_se": changes.map(|changes| changes.raw.standard_error),
                "accuracy": self.accuracy(evaluation),
                "accuracy_change_se": report::accuracy(self.loss)
                    .and(changes.map(|changes| changes.accuracy.standard_error)),
                "predicted_loss": fp32.map(|fp32| fp32.loss + self.source.loss(plan.price)),
                "levels": report::levels_json(&self.source.names, &plan.levels),
            })
        });
        let fp32 = self.fp32.as_ref().map(|(plan, evaluation)| {
            json!({
                "loss": evaluation.loss,
                "raw_loss": evaluation.raw_loss,
                "accuracy": self.accuracy(evaluation),
                "weight_bytes": plan.weight_bytes,
                "total_bytes": plan.ram_bytes(),
            })
        });
        json!({
            "samples": self.samples,
            "loss": self.loss.name(),
            "temperature": self.temperature(),
            "fp32": fp32,
            "budgets": budgets.collect::<Vec<_>>(),
            "warnings": warnings::json(&self.warnings),
        })
    }
}

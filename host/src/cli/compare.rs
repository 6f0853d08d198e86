//! `bitbudget compare`

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitbudget::budget::BudgetText;
use bitbudget::compare::{Choice, Comparison, Extent, MAX_LAYOUTS, Pass, Subject};
use bitbudget::dataset::Dataset;
use bitbudget::file::{self, Content};
use bitbudget::graph::{FloatModel, Graph};
use bitbudget::layout;
use bitbudget::metric::Metric;
use bitbudget::profile::{self, Control, Profile};
use bitbudget::simulate::Mean;
use clap::Args;
use miette::{IntoDiagnostic, miette};
use serde_json::{Map, Value, json};

use super::data::Data;
use super::model::Model;
use super::network_file::Source;
use super::report::{self, Phases};
use super::settings::Settings;
use super::target::Target;
use super::warnings::{self, Warning};
use super::{Outcome, chart, profile as profile_command};

/// Compare the estimators of prices with each other and with the truth
///
/// Profiles the model with every metric, plans every budget with each, and measures the layouts that
/// they choose on calibration and test data. Losses are those of the simulation that prices come from;
/// `bitbudget eval` measures with the device's kernels.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    bitbudget compare resnet8.onnx --data calib_batch.bin --test test_batch.bin --scale 1/255 \\\n    \
    --mean 0.4914,0.4822,0.4465 --std 0.2470,0.2435,0.2616 \\\n    \
    --levels fp32,int8,int4,int2 --budgets weights=80%,weights=20%,weights=12% --svg compare.svg")]
pub(crate) struct Compare {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    data: Data,
    /// Test images, in the same format as --data; --limit holds for both
    #[arg(long, value_name = "PATH")]
    test: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Budgets, as for `bitbudget plan`
    #[arg(long, value_name = "B,..", value_delimiter = ',', required = true)]
    budgets: Vec<BudgetText>,
    /// Estimators
    #[arg(
        long,
        value_name = "M,..",
        value_delimiter = ',',
        default_value = "measured,secant,tangent,hawq2"
    )]
    metrics: Vec<Metric>,
    /// Random layouts for the rank correlation of predicted and measured loss; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000)]
    layouts: usize,
    /// Calibration samples on which random layouts are measured; without it all
    #[arg(long, value_name = "N")]
    layout_samples: Option<usize>,
    /// Measure every layout there is, for the least loss that any choice could have
    #[arg(long)]
    oracle: bool,
    /// Samples of each set for --oracle; without it all
    #[arg(long, value_name = "N", requires = "oracle")]
    oracle_samples: Option<usize>,
    /// Draw the change of the test loss over the budgets into this file
    #[arg(long, value_name = "NAME.svg")]
    svg: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub(crate) fn run(self) -> Outcome {
        if let Some(path) = &self.svg {
            let others = [self.model.path.as_path(), &self.test];
            let inputs: Vec<&Path> = self.data.inputs().chain(others).collect();
            file::check_output(path, Content::SVG, &inputs)?;
        }
        let graph = self.model.load()?;
        let calibration = self.data.load(graph.input)?;
        let test = self.data.load_other(&self.test, graph.input)?;
        let profiles = self.profiles(&graph, &calibration)?;
        let subject = Subject {
            model: FloatModel::new(graph).into_diagnostic()?,
            profiles,
            sets: [calibration, test],
        };
        self.check_oracle(&subject)?;
        // the calibration data are the same for all
        let first = subject.profiles.first();
        let warnings = first.map_or(Vec::new(), |first| {
            Warning::of_doubts(&first.doubts, &subject.sets[0], &first.network.preprocess)
        });
        let choices = self.choices(&subject.profiles)?;
        let extent = Extent {
            layouts: self.layouts,
            layout_samples: self.layout_samples,
            oracle: self.oracle,
            oracle_samples: self.oracle_samples,
        };
        let phases = Phases::new();
        let progress = |pass: Pass, done: usize, total: usize| {
            phases.show(pass as usize, message(pass), done, total);
        };
        let comparison = subject.compare(choices, &extent, &progress);
        phases.clear();
        let report = Report(comparison.into_diagnostic()?);
        if let Some(path) = &self.svg {
            let drawn = report.series(&self.budgets);
            file::write(path, chart::lines(&drawn.0, &drawn.1)?.as_bytes())?;
        }
        if self.json {
            let mut value = report.json();
            value["warnings"] = warnings::json(&warnings);
            return report::print_json(&value);
        }
        report.print();
        warnings::tell(&warnings);
        Ok(())
    }

    fn profiles(&self, graph: &Graph, data: &Dataset) -> miette::Result<Vec<Profile>> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        ctrlc::set_handler(move || {
            // a second time ends what cannot be interrupted between batches
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        })
        .into_diagnostic()?;
        let mut profiles = Vec::new();
        for metric in &self.metrics {
            let options = self
                .settings
                .options(*metric, &self.model.path, &self.data.data)?;
            let phases = Phases::new();
            let control = Control {
                progress: &|phase, done, total| {
                    profile_command::show(&phases, phase, done, total);
                },
                stop: &stop,
                output: None,
            };
            let profile = profile::profile(graph.clone(), data, &options, &control);
            phases.clear();
            profiles.push(profile?);
        }
        Ok(profiles)
    }

    fn check_oracle(&self, subject: &Subject) -> Outcome {
        let count = layout::layout_count(&subject.profiles[0].network);
        if self.oracle && count > MAX_LAYOUTS {
            return Err(miette!(
                help = "leave out --oracle, or give fewer --levels",
                "--oracle would measure {count} layouts, at most {MAX_LAYOUTS} are"
            ));
        }
        Ok(())
    }

    /// The plan of every metric within every budget.
    fn choices(&self, profiles: &[Profile]) -> miette::Result<Vec<Choice>> {
        let planner = |profile: &Profile| {
            let source = Source::new(profile.network.clone(), profile.names.clone(), &Target::RAM);
            Ok((profile.origin.metric, source?))
        };
        let planners = profiles.iter().map(planner);
        let mut planners: Vec<(Metric, Source)> = planners.collect::<miette::Result<_>>()?;
        let mut choices = Vec::new();
        for budget in &self.budgets {
            for (metric, source) in &mut planners {
                let plan = source.plan_for(budget)?;
                choices.push(Choice {
                    budget: budget.clone(),
                    limit: source.resolve(budget),
                    metric: *metric,
                    predicted: source.loss(plan.price),
                    plan,
                });
            }
        }
        Ok(choices)
    }
}

/// What a pass is called in progress.
const fn message(pass: Pass) -> &'static str {
    match pass {
        Pass::Calibration => "calibration",
        Pass::Test => "test",
        Pass::Random => "random",
        Pass::OracleCalibration | Pass::OracleTest => "oracle",
    }
}

/// A comparison as it is shown.
struct Report(Comparison);

impl Deref for Report {
    type Target = Comparison;

    fn deref(&self) -> &Comparison {
        &self.0
    }
}

impl Report {
    /// What the chart shows: the budgets' names, and for each metric the changes of the test loss.
    fn series(&self, budgets: &[BudgetText]) -> (Vec<String>, Vec<(String, Vec<f64>)>) {
        let names = budgets.iter().map(ToString::to_string).collect();
        let mut series = Vec::new();
        for (metric, _) in &self.efforts {
            let rows = self.rows.iter().filter(|row| row.choice.metric == *metric);
            let changes = rows.map(|row| row.test.loss() - self.fp32[1].loss());
            series.push((metric.to_string(), changes.collect()));
        }
        let floors = budgets.iter().filter_map(|budget| self.floor(budget));
        let floors: Vec<f64> = floors.map(|floor| floor.floor - floor.fp32).collect();
        let samples = self.oracle.as_ref().map(|oracle| oracle.test[0].count);
        if floors.len() == budgets.len() && samples == Some(self.fp32[1].count) {
            series.push(("best possible".into(), floors));
        }
        (names, series)
    }

    fn print(&self) {
        let of = |mean: &Mean| {
            let loss = report::fp32_loss(self.loss, mean.loss(), mean.raw_loss());
            let accuracy = report::accuracy(self.loss).map(|name| {
                let accuracy = report::percent(mean.accuracy());
                format!(", {name} {accuracy}")
            });
            format!("loss {loss}{}", accuracy.unwrap_or_default())
        };
        say!(
            "FP32: calibration {}; test {}\n",
            of(&self.fp32[0]),
            of(&self.fp32[1])
        );
        let mut heads = vec!["budget", "metric", "weights", "predicted", "calibration"];
        heads.extend(report::change_heads("test", self.loss));
        heads.push("levels");
        let mut table = report::table(&heads);
        for row in &self.rows {
            let mut cells = vec![
                row.choice.budget.to_string(),
                row.choice.metric.to_string(),
                report::bytes(u64::from(row.choice.plan.weight_bytes)),
                report::change(row.predicted_loss - self.fp32[0].loss()),
                report::change(row.calibration.loss() - self.fp32[0].loss()),
            ];
            let (accuracy, samples) = (row.test.accuracy(), row.test.count as usize);
            cells.extend(report::change_cells(
                self.loss,
                &row.change,
                accuracy,
                samples,
            ));
            cells.push(report::levels_short(&row.choice.plan.levels));
            table.add_row(cells);
        }
        report::print_table(&table);
        say!(
            "\npredicted, calibration, test: changes of the mean loss from FP32's\n{}",
            report::change_notes(self.loss, self.temperature)
        );
        self.print_metrics();
        self.print_oracle();
    }

    fn print_metrics(&self) {
        say!("");
        let mut table = report::table(&["metric", "forward", "backward", "seconds", "rank corr."]);
        for (metric, effort) in &self.efforts {
            let rho = self.spearman.iter().find(|(other, _)| other == metric);
            table.add_row([
                metric.to_string(),
                format!("{:.1}", effort.forward_passes),
                format!("{:.1}", effort.backward_passes),
                effort
                    .seconds
                    .map_or_else(String::new, |s| format!("{s:.1}")),
                rho.map_or_else(String::new, |(_, rho)| format!("{rho:.4}")),
            ]);
        }
        report::print_table(&table);
        say!(
            "\nforward, backward: passes over the calibration set; rank corr.: of predicted and measured loss over random layouts"
        );
    }

    fn print_oracle(&self) {
        let Some(oracle) = &self.oracle else { return };
        let samples = oracle.test.first().map_or(0, |mean| mean.count);
        let metrics = self.efforts.iter().map(|(metric, _)| metric.name());
        let columns = ["budget", "best", "by calibration"];
        let columns: Vec<&str> = columns.into_iter().chain(metrics).collect();
        let mut table = report::table(&columns);
        let mut excess: BTreeMap<usize, f64> = BTreeMap::new();
        let budgets = self.budgets();
        for budget in &budgets {
            let Some(floor) = self.floor(budget) else {
                continue;
            };
            let mut row = vec![budget.to_string()];
            for loss in [floor.floor, floor.calibration_chosen] {
                row.push(report::change(loss - floor.fp32));
            }
            let all = [floor.calibration_chosen]
                .into_iter()
                .chain(floor.metrics.iter().map(|(_, loss)| *loss));
            for (column, loss) in all.enumerate() {
                *excess.entry(column).or_default() += loss - floor.floor;
            }
            let changes = floor.metrics.iter();
            row.extend(changes.map(|(_, loss)| report::change(loss - floor.fp32)));
            table.add_row(row);
        }
        let means = excess
            .values()
            .map(|sum| report::change(sum / budgets.len() as f64));
        let head = ["mean excess".to_owned(), report::change(0.0)];
        table.add_row(head.into_iter().chain(means).collect::<Vec<_>>());
        say!(
            "\ntest loss of {} layouts on {samples} samples: the best on the test set itself, the one of least calibration loss, the metrics'",
            oracle.layouts.len()
        );
        report::print_table(&table);
    }

    fn json(&self) -> Value {
        let accuracy = |value: f64| report::accuracy(self.loss).map(|_| value);
        let rows = self.rows.iter().map(|row| {
            json!({
                "budget": row.choice.budget.to_string(),
                "budget_bytes": row.choice.limit.get(row.choice.budget.measure()),
                "metric": row.choice.metric.name(),
                "levels": report::levels_json(&self.names, &row.choice.plan.levels),
                "weight_bytes": row.choice.plan.weight_bytes,
                "total_bytes": row.choice.plan.ram_bytes(),
                "predicted_loss": row.predicted_loss,
                "calib_loss": row.calibration.loss(),
                "test_loss": row.test.loss(),
                "test_loss_se": row.change.loss.standard_error,
                "raw_test_loss": row.test.raw_loss(),
                "raw_test_loss_se": row.change.raw.standard_error,
                "test_accuracy": accuracy(row.test.accuracy()),
                "test_accuracy_se": accuracy(row.change.accuracy.standard_error),
            })
        });
        let oracle = self.budgets().into_iter().filter_map(|budget| {
            let floor = self.floor(budget)?;
            let metrics = floor.metrics.iter();
            let metrics = metrics.map(|(metric, loss)| (metric.name().to_owned(), json!(loss)));
            Some(json!({
                "budget": budget.to_string(),
                "floor_test_loss": floor.floor,
                "calib_chosen_test_loss": floor.calibration_chosen,
                "fp32_test_loss": floor.fp32,
                "test_loss": metrics.collect::<Map<_, _>>(),
            }))
        });
        let spearman = self.spearman.iter();
        let spearman = spearman.map(|(metric, rho)| (metric.name().to_owned(), json!(rho)));
        let efforts = self.efforts.iter().map(|(metric, effort)| {
            let effort = json!({
                "forward_passes": effort.forward_passes,
                "backward_passes": effort.backward_passes,
                "seconds": effort.seconds,
            });
            (metric.name().to_owned(), effort)
        });
        json!({
            "loss": self.loss.name(),
            "temperature": self.temperature,
            "calibration_samples": self.fp32[0].count,
            "test_samples": self.fp32[1].count,
            "fp32_calib_loss": self.fp32[0].loss(),
            "fp32_test_loss": self.fp32[1].loss(),
            "raw_fp32_calib_loss": self.fp32[0].raw_loss(),
            "raw_fp32_test_loss": self.fp32[1].raw_loss(),
            "fp32_test_accuracy": accuracy(self.fp32[1].accuracy()),
            "rows": rows.collect::<Vec<_>>(),
            "oracle": oracle.collect::<Vec<_>>(),
            "oracle_samples": self.oracle.as_ref().map(|oracle| oracle.test[0].count),
            "spearman": spearman.collect::<Map<_, _>>(),
            "metrics": efforts.collect::<Map<_, _>>(),
        })
    }
}

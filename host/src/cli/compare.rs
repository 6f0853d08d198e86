//! `bitbudget compare`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitbudget::batches::Batches;
use bitbudget::budget::BudgetText;
use bitbudget::capacity::HostPlan;
use bitbudget::compare::{self, MAX_LAYOUTS, Oracle};
use bitbudget::dataset::Dataset;
use bitbudget::file::{self, Content};
use bitbudget::graph::{FloatModel, Graph};
use bitbudget::import;
use bitbudget::layout::{self, Layout};
use bitbudget::loss::mean_and_error;
use bitbudget::metric::{Metric, Replay};
use bitbudget::profile::{self, Control, Profile};
use bitbudget::simulate::{self, Each, Mean, Sum};
use bitbudget_core::arena::Lifetimes;
use bitbudget_core::level::Level;
use bitbudget_core::plan::Budget;
use clap::Args;
use miette::{IntoDiagnostic, miette};
use serde_json::{Map, Value, json};

use super::data::Data;
use super::planned::Planned;
use super::report::{self, Phases};
use super::settings::Settings;
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
    /// Trained model
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
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
            let others = [self.model.as_path(), &self.test];
            let inputs: Vec<&Path> = self.data.inputs().chain(others).collect();
            file::check_output(path, Content::SVG, &inputs)?;
        }
        let graph = import::load(&self.model)?;
        let calibration = self.data.load(graph.input)?;
        let test = self.data.load_other(&self.test, graph.input)?;
        let profiles = self.profiles(&graph, &calibration)?;
        let subject = Subject {
            model: FloatModel::new(graph).into_diagnostic()?,
            profiles,
            sets: [calibration, test],
        };
        self.check_oracle(&subject)?;
        let comparison = self.compare(&subject)?;
        if let Some(path) = &self.svg {
            let drawn = comparison.series(&self.budgets);
            file::write(path, chart::lines(&drawn.0, &drawn.1)?.as_bytes())?;
        }
        if self.json {
            return report::print_json(&comparison.json());
        }
        comparison.print();
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
                .options(*metric, &self.model, &self.data.data)?;
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

    fn compare(&self, subject: &Subject) -> miette::Result<Comparison> {
        let mut planners = Vec::new();
        for profile in &subject.profiles {
            let planned = Planned::new(profile.network.clone(), profile.names.clone());
            planners.push((profile.origin.metric, planned));
        }
        let mut chosen = Vec::new();
        for budget in &self.budgets {
            for (metric, planned) in &mut planners {
                let plan = planned.plan_for(budget)?;
                chosen.push((budget.clone(), *metric, planned.resolve(budget), plan));
            }
        }
        let (_, first) = &planners[0];
        let mut layouts = vec![layout::layout_of(&first.fp32().levels)];
        layouts.extend(chosen.iter().map(|row| layout::layout_of(&row.3.levels)));
        let mut unique: Vec<Layout> = Vec::new();
        for layout in layouts {
            if !unique.contains(&layout) {
                unique.push(layout);
            }
        }
        let [calibration, test] = [0, 1].map(|set| subject.measure::<Each>(set, &unique, None));
        let (calibration, test) = (calibration?, test?);
        let test_means: Vec<Mean> = test.iter().map(|each| each.mean).collect();
        let test_losses: Vec<Vec<f64>> = test.into_iter().map(Each::into_losses).collect();
        let rows = chosen.into_iter().map(|(budget, metric, limit, plan)| {
            let layout = layout::layout_of(&plan.levels);
            let at = unique.iter().position(|other| *other == layout);
            let at = at.unwrap_or_default();
            let pairs = test_losses[at].iter().zip(&test_losses[0]);
            let changes: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
            let planner = planners.iter().find(|(other, _)| *other == metric);
            let predicted = planner.map_or(0.0, |(_, planned)| planned.loss(plan.price));
            Row {
                budget,
                limit,
                metric,
                predicted_loss: calibration[0].mean.loss() + predicted,
                calibration: calibration[at].mean,
                test: test_means[at],
                test_se: mean_and_error(&changes).1,
                plan,
            }
        });
        let rows = rows.collect();
        Ok(Comparison {
            names: first.names.clone(),
            efforts: subject
                .profiles
                .iter()
                .map(|profile| (profile.origin.metric, profile.effort))
                .collect(),
            loss: subject.profiles[0].origin.loss,
            fp32: [calibration[0].mean, test_means[0]],
            rows,
            spearman: self.spearman(subject)?,
            oracle: self.oracle(subject)?,
        })
    }

    fn spearman(&self, subject: &Subject) -> miette::Result<Vec<(Metric, f64)>> {
        if self.layouts < 2 {
            return Ok(Vec::new());
        }
        let network = &subject.profiles[0].network;
        let layouts = layout::random_layouts(network, self.layouts, 1);
        let measured = subject.measure::<Mean>(0, &layouts, self.layout_samples)?;
        let measured: Vec<f64> = measured.iter().map(Mean::loss).collect();
        let correlations = subject.profiles.iter().map(|profile| {
            let price = |layout: &Layout| layout::bytes_and_price(&profile.network, layout).1;
            let predicted: Vec<f64> = layouts.iter().map(price).collect();
            let rho = compare::spearman(&predicted, &measured);
            (profile.origin.metric, rho)
        });
        Ok(correlations.collect())
    }

    fn oracle(&self, subject: &Subject) -> miette::Result<Option<Oracle>> {
        if !self.oracle {
            return Ok(None);
        }
        let network = &subject.profiles[0].network;
        let layouts = layout::all_layouts(network);
        let lifetimes = Lifetimes::new(network);
        let bytes = |layout: &Layout| layout::Bytes::of(network, &lifetimes, layout);
        Ok(Some(Oracle {
            bytes: layouts.iter().map(bytes).collect(),
            calibration: subject.measure(0, &layouts, self.oracle_samples)?,
            test: subject.measure(1, &layouts, self.oracle_samples)?,
            layouts,
        }))
    }
}

/// A model, its profiles, calibration and test set.
struct Subject {
    model: FloatModel,
    profiles: Vec<Profile>,
    sets: [Dataset; 2],
}

impl Subject {
    /// The sums of every layout over a set, or its first samples.
    fn measure<S: Sum + Default>(
        &self,
        set: usize,
        layouts: &[Layout],
        samples: Option<usize>,
    ) -> miette::Result<Vec<S>> {
        let data = &self.sets[set];
        let limited = samples.filter(|samples| *samples < data.len);
        let limited = limited.map(|samples| data.first(samples));
        let data = limited.as_ref().unwrap_or(data);
        let profile = &self.profiles[0];
        let preprocess = &profile.network.preprocess;
        let batches = Batches::new(&self.model, data, preprocess, profile.origin.loss);
        let replay = Replay::new(&self.model, &profile.network, &profile.grids);
        let replay = replay.into_diagnostic()?;
        let what = ["calibration", "test"][set];
        let bar = report::progress(what, data.len);
        let sums = simulate::measure(&batches, &replay, layouts, &|done| bar.inc(done as u64));
        bar.finish_and_clear();
        sums.into_diagnostic()
    }
}

/// What one metric chose for one budget.
struct Row {
    budget: BudgetText,
    limit: Budget,
    metric: Metric,
    plan: HostPlan,
    predicted_loss: f64,
    calibration: Mean,
    test: Mean,
    test_se: f64,
}

/// All that was found out.
struct Comparison {
    names: Vec<String>,
    efforts: Vec<(Metric, profile::Effort)>,
    loss: bitbudget::loss::Loss,
    fp32: [Mean; 2],
    rows: Vec<Row>,
    spearman: Vec<(Metric, f64)>,
    oracle: Option<Oracle>,
}

/// The least test loss within one budget, and what choices came to on the same samples.
struct Floor {
    fp32: f64,
    floor: f64,
    calibration_chosen: f64,
    metrics: Vec<(Metric, f64)>,
}

impl Comparison {
    fn floor(&self, budget: &BudgetText) -> Option<Floor> {
        let oracle = self.oracle.as_ref()?;
        let rows = || self.rows.iter().filter(|row| row.budget == *budget);
        let limit = rows().next()?.limit;
        let test = |at: usize| oracle.test[at].loss();
        let chosen = rows().filter_map(|row| {
            let at = oracle.find(&layout::layout_of(&row.plan.levels))?;
            Some((row.metric, test(at)))
        });
        Some(Floor {
            fp32: test(oracle.find(&vec![Level::Fp32; self.names.len()])?),
            floor: test(oracle.best(&oracle.test, limit)?),
            calibration_chosen: test(oracle.best(&oracle.calibration, limit)?),
            metrics: chosen.collect(),
        })
    }

    fn budgets(&self) -> Vec<&BudgetText> {
        let mut budgets: Vec<&BudgetText> = self.rows.iter().map(|row| &row.budget).collect();
        budgets.dedup();
        budgets
    }

    /// What the chart shows: the budgets' names, and for each metric the changes of the test loss.
    fn series(&self, budgets: &[BudgetText]) -> (Vec<String>, Vec<(String, Vec<f64>)>) {
        let names = budgets.iter().map(ToString::to_string).collect();
        let mut series = Vec::new();
        for (metric, _) in &self.efforts {
            let rows = self.rows.iter().filter(|row| row.metric == *metric);
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
        let accuracy = report::accuracy(self.loss);
        say!(
            "FP32: calibration loss {:.6}, {accuracy} {}; test loss {:.6}, {accuracy} {} (loss: {})\n",
            self.fp32[0].loss(),
            report::percent(self.fp32[0].accuracy()),
            self.fp32[1].loss(),
            report::percent(self.fp32[1].accuracy()),
            self.loss,
        );
        let mut table = report::table(&[
            "budget",
            "metric",
            "weights",
            "predicted",
            "calibration",
            "test",
            "+- s.e.",
            accuracy,
            "levels",
        ]);
        for row in &self.rows {
            table.add_row([
                row.budget.to_string(),
                row.metric.to_string(),
                report::bytes(u64::from(row.plan.weight_bytes)),
                report::change(row.predicted_loss - self.fp32[0].loss()),
                report::change(row.calibration.loss() - self.fp32[0].loss()),
                report::change(row.test.loss() - self.fp32[1].loss()),
                format!("{:.6}", row.test_se),
                report::percent(row.test.accuracy()),
                report::levels_short(&row.plan.levels),
            ]);
        }
        report::print_table(&table);
        say!(
            "\npredicted, calibration, test: changes of the mean loss from FP32's; +- the paired standard error of test"
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
        let rows = self.rows.iter().map(|row| {
            json!({
                "budget": row.budget.to_string(),
                "budget_bytes": row.limit.bytes(),
                "metric": row.metric.name(),
                "levels": report::levels_json(&self.names, &row.plan.levels),
                "weight_bytes": row.plan.weight_bytes,
                "total_bytes": row.plan.total_bytes(),
                "predicted_loss": row.predicted_loss,
                "calib_loss": row.calibration.loss(),
                "test_loss": row.test.loss(),
                "test_loss_se": row.test_se,
                "test_accuracy": row.test.accuracy(),
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
            "calibration_samples": self.fp32[0].count,
            "test_samples": self.fp32[1].count,
            "fp32_calib_loss": self.fp32[0].loss(),
            "fp32_test_loss": self.fp32[1].loss(),
            "fp32_test_accuracy": self.fp32[1].accuracy(),
            "rows": rows.collect::<Vec<_>>(),
            "oracle": oracle.collect::<Vec<_>>(),
            "oracle_samples": self.oracle.as_ref().map(|oracle| oracle.test[0].count),
            "spearman": spearman.collect::<Map<_, _>>(),
            "metrics": efforts.collect::<Map<_, _>>(),
        })
    }
}

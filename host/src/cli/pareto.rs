//! `bitbudget pareto`

use std::path::PathBuf;

use bitbudget::capacity::HostPlan;
use bitbudget::file::{self, Content};
use bitbudget::search::Staircase;
use bitbudget_core::plan::Measure;
use clap::Args;
use serde_json::{Value, json};

use super::chart::{self, Point};
use super::network_file::{RuleArgs, Source};
use super::target::{BoardCostArgs, TargetArgs};
use super::watch::SearchArgs;
use super::{Outcome, report};

/// Show every optimal layout, from the smallest to the best
///
/// Each line is the best layout for all budgets from its own size up to the next line's.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  bitbudget pareto resnet8.profile\n  \
    bitbudget pareto resnet8.image --svg trade-off.svg")]
pub(crate) struct Pareto {
    /// Profile or image
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Draw the layouts into this file, too
    #[arg(long, value_name = "NAME.svg")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    board: BoardCostArgs,
    #[command(flatten)]
    rules: RuleArgs,
    #[command(flatten)]
    search: SearchArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Pareto {
    pub(crate) fn run(self) -> Outcome {
        if let Some(path) = &self.svg {
            file::check_output(path, Content::SVG, &[&self.file])?;
        }
        let target = self.board.of(&self.target.get())?;
        let mut source = Source::open(&self.file, &self.rules.rules(), &target)?;
        source.effort = self.search.effort();
        let Staircase {
            plans: layouts,
            proven,
        } = source.staircase((source.limits(), Measure::Ram));
        let fp32 = source.fp32();
        if let Some(path) = &self.svg {
            let point = |plan: &HostPlan| Point {
                ram_bytes: plan.ram_bytes(),
                loss: source.loss(plan.price),
                cycles: plan.cycles,
            };
            let steps: Vec<_> = layouts.iter().map(point).collect();
            let chart = chart::staircase(&steps, point(&fp32), source.has_cycles)?;
            file::write(path, chart.as_bytes())?;
        }
        if self.json {
            let layouts = layouts.iter().map(|plan| layout_json(&source, plan));
            return report::print_json(&json!({
                "layouts": layouts.collect::<Vec<_>>(),
                "fp32": layout_json(&source, &fp32),
                "optimal": proven,
            }));
        }
        let mut heads = vec!["total", "weights", "of FP32"];
        heads.extend(source.has_cycles.then_some("cycles"));
        heads.extend(["price", "levels"]);
        let mut table = report::table(&heads);
        let weights = f64::from(fp32.weight_bytes);
        for plan in layouts.iter().chain([&fp32]) {
            let mut cells = vec![
                plan.ram_bytes().to_string(),
                plan.weight_bytes.to_string(),
                report::percent(f64::from(plan.weight_bytes) / weights),
            ];
            cells.extend(source.has_cycles.then(|| plan.cycles.to_string()));
            cells.push(report::change(source.loss(plan.price)));
            cells.push(report::levels_short(&plan.levels));
            table.add_row(cells);
        }
        report::print_table(&table);
        let count = layouts.len();
        let what = match proven {
            true => "optimal layouts",
            false => "layouts, not all proven optimal (see --node-limit)",
        };
        say!("\n{count} {what}; the last line is all-FP32, for comparison");
        Ok(())
    }
}

fn layout_json(source: &Source, plan: &HostPlan) -> Value {
    json!({
        "total_bytes": plan.ram_bytes(),
        "weight_bytes": plan.weight_bytes,
        "ram_weight_bytes": plan.ram_weight_bytes,
        "cycles": source.has_cycles.then_some(plan.cycles),
        "price": source.loss(plan.price),
        "levels": report::levels_json(&source.names, &plan.levels),
    })
}

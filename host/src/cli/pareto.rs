//! `bitbudget pareto`

use std::path::PathBuf;

use bitbudget::capacity::HostPlan;
use bitbudget::file::{self, Content};
use bitbudget::search::Staircase;
use clap::Args;
use serde_json::{Value, json};

use super::network_file::{PlaceArgs, RuleArgs, Source};
use super::watch::SearchArgs;
use super::{Outcome, chart, report};

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
    place: PlaceArgs,
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
        let mut source = Source::open(&self.file, &self.rules.rules(), self.place.get())?;
        source.effort = self.search.effort();
        let Staircase {
            plans: layouts,
            proven,
        } = source.staircase();
        let fp32 = source.fp32();
        if let Some(path) = &self.svg {
            let point = |plan: &HostPlan| (plan.total_bytes(), source.loss(plan.price));
            let steps: Vec<_> = layouts.iter().map(point).collect();
            file::write(path, chart::staircase(&steps, point(&fp32))?.as_bytes())?;
        }
        if self.json {
            let layouts = layouts.iter().map(|plan| layout_json(&source, plan));
            return report::print_json(&json!({
                "layouts": layouts.collect::<Vec<_>>(),
                "fp32": layout_json(&source, &fp32),
                "optimal": proven,
            }));
        }
        let mut table = report::table(&["total", "weights", "of FP32", "price", "levels"]);
        let weights = f64::from(fp32.weight_bytes);
        for plan in layouts.iter().chain([&fp32]) {
            table.add_row([
                plan.total_bytes().to_string(),
                plan.weight_bytes.to_string(),
                report::percent(f64::from(plan.weight_bytes) / weights),
                report::change(source.loss(plan.price)),
                report::levels_short(&plan.levels),
            ]);
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
        "total_bytes": plan.total_bytes(),
        "weight_bytes": plan.weight_bytes,
        "price": source.loss(plan.price),
        "levels": report::levels_json(&source.names, &plan.levels),
    })
}

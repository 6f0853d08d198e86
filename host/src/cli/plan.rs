//! `bitbudget plan`

use std::path::PathBuf;

use bitbudget::budget::BudgetText;
use bitbudget::capacity::HostPlan;
use bitbudget::decimal::signed;
use bitbudget::explain::{self, Neighbours};
use bitbudget_core::plan::{Budget, Place};
use clap::Args;
use serde_json::{Value, json};

use super::network_file::{PlaceArgs, RuleArgs, Source};
use super::watch::SearchArgs;
use super::{Outcome, report, watch};

/// Choose every layer's level under a memory budget
///
/// The choice has the least predicted loss of all layouts that fit, and is proven to. With --max-loss it
/// is the smallest layout of all whose predicted loss is low enough.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  bitbudget plan resnet8.profile --budget 64KiB --explain\n  \
    bitbudget plan resnet8.image --budget weights=80% --pin fc=fp32 --json\n  \
    bitbudget plan resnet8.image --max-loss 0.005"
)]
pub(crate) struct Plan {
    /// Profile or image
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// RAM for weights and activations (64KiB, 80%), or for the weights alone (weights=80%);
    /// percentages are of the all-FP32 layout
    #[arg(long, required_unless_present = "max_loss")]
    budget: Option<BudgetText>,
    /// Find the smallest layout whose predicted change of the loss is at most this
    #[arg(long, value_name = "CHANGE", allow_negative_numbers = true)]
    max_loss: Option<f64>,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    rules: RuleArgs,
    #[command(flatten)]
    search: SearchArgs,
    /// Tell what more and less memory would change
    #[arg(long)]
    explain: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// No layout has a predicted loss as low as asked for.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("no layout has a predicted change of the loss of {limit:+} or less")]
#[diagnostic(help("the least within the budget is {}", signed(*least, 9)))]
struct TooLow {
    limit: f64,
    least: f64,
}

impl Plan {
    pub(crate) fn run(self) -> Outcome {
        let mut source = Source::open(&self.file, &self.rules.rules(), self.place.get())?;
        source.effort = self.search.effort();
        let budget = match &self.budget {
            Some(text) => source.resolve(text),
            None => Budget::Total(u64::MAX),
        };
        let best = match &self.budget {
            Some(text) => source.plan_for(text)?,
            None => source
                .plan(budget)
                .map_err(|error| miette::miette!(error))?,
        };
        let (budget, plan, proven) = match self.max_loss {
            None => {
                let proven = best.is_optimal();
                (budget, best, proven)
            }
            Some(limit) => {
                let least = source.loss(best.price);
                let plan = source.cheapest(budget, limit);
                let (plan, proven) = plan.ok_or(TooLow { limit, least })?;
                (budget.with_bytes(plan.bytes(budget)), plan, proven)
            }
        };
        let neighbours = self.explain.then(|| source.neighbours(budget, &plan));
        if self.json {
            let mut json = source.json(&plan);
            json["budget_bytes"] = budget.bytes().into();
            json["optimal"] = proven.into();
            if let Some(neighbours) = &neighbours {
                json["explain"] = explained_json(&source, budget, &plan, neighbours);
            }
            return report::print_json(&json);
        }
        let mut table = report::table(&["layer", "level", "bytes", "price"]);
        for row in source.rows(&plan) {
            table.add_row([
                row.name,
                row.level.to_string(),
                row.bytes.to_string(),
                report::change(row.price),
            ]);
        }
        report::print_table(&table);
        let limit = match (&self.budget, self.max_loss) {
            (_, Some(limit)) => format!("the least for a loss of {limit:+}"),
            (Some(text), None) => format!("of a budget of {} ({text})", budget.bytes()),
            (None, None) => String::new(),
        };
        say!("");
        let parts = match plan.place {
            Place::Ram => format!(
                "{} weights + {} activations",
                plan.weight_bytes, plan.arena_bytes
            ),
            Place::Flash => format!("activations; {} weights in flash", plan.weight_bytes),
        };
        say!("total   {} = {parts}, {limit}", plan.total_bytes());
        let open = format!(
            "not proven optimal (bound {}, gap {}, {} nodes)",
            report::change(source.loss(plan.bound)),
            report::loss(source.loss(plan.price - plan.bound)),
            plan.nodes,
        );
        say!(
            "price   {} predicted change of the loss; {}",
            report::change(source.loss(plan.price)),
            match (proven, watch::is_interrupted()) {
                (true, _) => "proven optimal".to_owned(),
                (false, true) => format!("interrupted, {open}"),
                (false, false) => format!("{open} within --node-limit"),
            },
        );
        if let Some(neighbours) = &neighbours {
            say!("");
            explain(&source, budget, &plan, neighbours);
        }
        Ok(())
    }
}

/// `conv1 int4 -> int8, fc fp32 -> int8`.
fn changes(source: &Source, from: &HostPlan, to: &HostPlan) -> String {
    let changes = explain::changes(from, to).into_iter();
    let changes = changes.map(|(layer, a, b)| format!("{} {a} -> {b}", source.names[layer]));
    report::printable(&changes.collect::<Vec<_>>().join(", "))
}

fn explain(source: &Source, budget: Budget, plan: &HostPlan, neighbours: &Neighbours) {
    let price = |other: &HostPlan| report::change(source.loss(other.price - plan.price));
    match &neighbours.next_kib {
        Some(next) => say!(
            "1 KiB more       buys {}: {}",
            price(next),
            changes(source, plan, next)
        ),
        None => say!("1 KiB more       buys nothing"),
    }
    match &neighbours.better {
        Some(better) => say!(
            "next step up     from a budget of {} ({} more), {}: {}",
            better.bytes(budget),
            better.bytes(budget).saturating_sub(budget.bytes()),
            price(better),
            changes(source, plan, better)
        ),
        None => say!("next step up     none: no layout has a lower price"),
    }
    let spare = budget.bytes().saturating_sub(plan.bytes(budget));
    match &neighbours.smaller {
        Some(smaller) => say!(
            "next step down   below a budget of {} ({spare} to spare), {}: {}",
            plan.bytes(budget),
            price(smaller),
            changes(source, plan, smaller)
        ),
        None => say!("next step down   none: this is the smallest layout"),
    }
}

fn explained_json(
    source: &Source,
    budget: Budget,
    plan: &HostPlan,
    neighbours: &Neighbours,
) -> Value {
    let step = |other: &Option<HostPlan>| {
        other.as_ref().map(|other| {
            let changes = explain::changes(plan, other).into_iter();
            let changes = changes.map(|(layer, from, to)| {
                json!({
                    "name": source.names[layer],
                    "from": from.name(),
                    "to": to.name(),
                })
            });
            json!({
                "bytes": other.bytes(budget),
                "price_change": source.loss(other.price - plan.price),
                "changes": changes.collect::<Vec<_>>(),
            })
        })
    };
    json!({
        "next_kib": step(&neighbours.next_kib),
        "better": step(&neighbours.better),
        "smaller": step(&neighbours.smaller),
    })
}

//! `bitbudget plan`

use std::path::PathBuf;

use bitbudget::budget::{BudgetText, budget_bytes};
use clap::Args;

use super::planned::Planned;
use super::{Outcome, report};

/// Choose every layer's level under a memory budget
///
/// The choice has the least predicted loss of all layouts that fit, and is proven to.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  bitbudget plan resnet8.profile --budget 64KiB\n  \
    bitbudget plan resnet8.image --budget weights=80% --json"
)]
pub(crate) struct Plan {
    /// Profile or image
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// RAM for weights and activations (64KiB, 80%), or for the weights alone (weights=80%);
    /// percentages are of the all-FP32 layout
    #[arg(long)]
    budget: BudgetText,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub(crate) fn run(self) -> Outcome {
        let mut planned = Planned::open(&self.file)?;
        let bytes = budget_bytes(planned.resolve(&self.budget));
        let plan = planned.plan_for(&self.budget)?;
        if self.json {
            let mut json = planned.json(&plan);
            json["budget_bytes"] = bytes.into();
            return report::print_json(&json);
        }
        let mut table = report::table(&["layer", "level", "bytes", "price"]);
        for row in planned.rows(&plan) {
            table.add_row([
                row.name,
                row.level.to_string(),
                row.bytes.to_string(),
                report::change(row.price),
            ]);
        }
        report::print_table(&table);
        say!("");
        say!(
            "total   {} = {} weights + {} activations, of a budget of {bytes} ({})",
            plan.total_bytes(),
            plan.weight_bytes,
            plan.arena_bytes,
            self.budget,
        );
        say!(
            "price   {} predicted change of the loss; {} (bound {}, gap {:.6}, {} nodes)",
            report::change(planned.loss(plan.price)),
            if plan.is_optimal() {
                "proven optimal"
            } else {
                "not proven optimal"
            },
            report::change(planned.loss(plan.bound)),
            planned.loss(plan.price - plan.bound),
            plan.nodes,
        );
        Ok(())
    }
}

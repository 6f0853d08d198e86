//! `bitbudget pack`

use std::path::PathBuf;

use bitbudget::board::Board;
use bitbudget::capacity;
use bitbudget::profile::Profile;
use bitbudget::{device, file, import, needed, pack, search};
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Measure};
use clap::Args;
use serde_json::json;

use super::network_file::{IMAGE, RuleArgs};
use super::watch::SearchArgs;
use super::{Outcome, report, watch};

/// Pack a model and its profile into one image for the device
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  bitbudget pack resnet8.onnx resnet8.profile -o resnet8.image\n  \
    bitbudget pack resnet8.onnx resnet8.profile --pin fc=fp32 --forbid int2 -o resnet8.image"
)]
pub(crate) struct Pack {
    /// The model that was profiled
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Its profile
    #[arg(value_name = "FILE.profile")]
    profile: PathBuf,
    /// Also store the optimal plans for all budgets, so that a device may look them up instead of solving
    #[arg(long)]
    store_plans: bool,
    /// Store the weights at every level, not only at those that an optimal plan has at some budget of
    /// memory: a limit of cycles may want others
    #[arg(long)]
    all_levels: bool,
    #[command(flatten)]
    rules: RuleArgs,
    #[command(flatten)]
    search: SearchArgs,
    /// Write into the image how many cycles each layer takes on this board (see `bitbudget boards`): plans for
    /// the image, on the device as well, can then keep to a limit of cycles, and move weights between flash
    /// and RAM
    #[arg(long, value_name = "NAME|FILE")]
    board: Option<String>,
    /// The image to write
    #[arg(short, long, value_name = "NAME.image")]
    output: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Pack {
    pub(crate) fn run(self) -> Outcome {
        file::check_output(&self.output, IMAGE, &[&self.model, &self.profile])?;
        let mut profile = Profile::decode(&self.profile, &file::read(&self.profile)?)?;
        let rules = self.rules.rules();
        rules.apply(&mut profile.network, &profile.names)?;
        if let Some(name) = &self.board {
            Board::find(name)?.give_cycles(&mut profile.network)?;
        }
        let kept = (!self.all_levels).then(|| {
            let kept = needed::keep_needed(&mut profile.network, &self.search.effort());
            watch::clear();
            kept
        });
        if kept.is_some_and(|kept| !kept.proven) {
            let what = "all levels are stored: which of them no plan needs is not proven (see --node-limit)";
            report::complain("warning", what);
        }
        let network = &profile.network;
        let plans = if self.store_plans {
            let mut planner = capacity::planner(Places::Ram, network);
            let all = (Limits::NONE, Measure::Ram);
            let stairs = search::staircase(network, &mut planner, all, &self.search.effort());
            watch::clear();
            if !stairs.proven {
                let what = "not all stored plans are proven optimal (see --node-limit)";
                report::complain("warning", what);
            }
            stairs.plans
        } else {
            Vec::new()
        };
        let image = pack::pack(&import::load(&self.model)?, &profile, &plans)?;
        file::write(&self.output, &image)?;
        if let Err(excess) = device::check_capacity(&profile.network) {
            let refused = format!(
                "{excess} in bitbudget's firmware, which refuses this image; profile fewer levels (--levels), or build firmware with more room"
            );
            report::complain("warning", &refused);
        }
        if self.json {
            return report::print_json(&json!({
                "image": self.output.display().to_string(),
                "image_bytes": image.len(),
                "levels": network.prices.rows.iter().map(|row| row.len()).sum::<usize>(),
                "stored_plans": plans.len(),
            }));
        }
        let stored = match plans.len() {
            0 => String::new(),
            count => format!(", {count} stored plans"),
        };
        let levels = match kept {
            Some(kept) => format!("{} of {} levels, ", kept.count, kept.of),
            None => String::new(),
        };
        say!(
            "{}: {} ({} layers, {levels}metric {}{stored})",
            report::printable(&self.output.display().to_string()),
            report::bytes(image.len() as u64),
            profile.network.layers.len(),
            profile.origin.metric,
        );
        Ok(())
    }
}

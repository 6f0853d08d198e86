//! `bitbudget pack`

use std::path::PathBuf;

use bitbudget::board::Board;
use bitbudget::capacity::{self, HostNetwork};
use bitbudget::import::{self, Sizes};
use bitbudget::needed::{self, Kept};
use bitbudget::profile::Profile;
use bitbudget::{device, file, pack, search};
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Measure};
use clap::Args;
use miette::miette;
use serde_json::json;

use super::network_file::{IMAGE, RuleArgs};
use super::stored::{Stored, StoredArgs};
use super::watch::SearchArgs;
use super::{Outcome, report, watch};

/// Pack a model and its profile into one image for the device
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  bitbudget pack resnet8.onnx resnet8.profile -o resnet8.image\n  \
    bitbudget pack resnet8.onnx resnet8.profile --pin fc=fp32 --forbid int2 -o resnet8.image\n  \
    bitbudget pack resnet8.onnx resnet8.profile --flash 128KiB --for ram=64KiB --for ram=16KiB -o resnet8.image\n  \
    bitbudget pack resnet8.onnx resnet8.profile --pin int8 --frozen -o resnet8.image"
)]
pub(crate) struct Pack {
    /// The model that was profiled
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Its profile
    #[arg(value_name = "FILE.profile")]
    profile: PathBuf,
    /// Also store the optimal plans for all budgets, so that a device may look them up instead of solving
    #[arg(long, conflicts_with_all = ["flash", "frozen"])]
    store_plans: bool,
    /// Store the weights at every level, not only at those that an optimal plan has at some budget of
    /// memory: a limit of cycles may want others
    #[arg(long, conflicts_with_all = ["flash", "frozen", "points"])]
    all_levels: bool,
    #[command(flatten)]
    stored: StoredArgs,
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
        let board = self.board.as_deref().map(Board::find).transpose()?;
        if let Some(board) = &board {
            board.give_cycles(&mut profile.network)?;
        }
        let blocks = blocks(&profile.network);
        let stored = match self.stored.is_given() {
            true => Some(self.choose(&mut profile, board.as_ref())?),
            false => None,
        };
        let kept = (stored.is_none() && !self.all_levels).then(|| self.keep_needed(&mut profile));
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
        let graph = import::load_sized(&self.model, &Sizes::Of(profile.network.input))?;
        let image = pack::pack(&graph, &profile, &plans)?;
        if let Some(stored) = &stored
            && plans.is_empty()
            && stored.image_bytes() != image.len() as u64
        {
            return Err(miette!(
                "the image has {} bytes, and {} were planned: please report this",
                image.len(),
                stored.image_bytes()
            ));
        }
        file::write(&self.output, &image)?;
        if let Err(excess) = device::check_capacity(&profile.network) {
            let refused = format!(
                "{excess} in bitbudget's firmware, which refuses this image; profile fewer levels (--levels), or build firmware with more room"
            );
            report::complain("warning", &refused);
        }
        if self.json {
            let mut json = json!({
                "image": self.output.display().to_string(),
                "image_bytes": image.len(),
                "levels": network.prices.rows.iter().map(|row| row.len()).sum::<usize>(),
                "blocks": self::blocks(network),
                "stored_plans": plans.len(),
            });
            if let Some(stored) = &stored {
                stored.add_to(&mut json, network);
            }
            return report::print_json(&json);
        }
        let plans = match plans.len() {
            0 => String::new(),
            count => format!(", {count} stored plans"),
        };
        let levels = match (kept, &stored) {
            (Some(kept), _) => format!("{} of {} levels, ", kept.count, kept.of),
            (None, Some(_)) => format!("{} of {blocks} blocks, ", self::blocks(network)),
            (None, None) => String::new(),
        };
        let limit = match stored.as_ref().and_then(|stored| stored.flash) {
            Some(flash) => format!(" of {}", report::bytes(flash)),
            None => String::new(),
        };
        say!(
            "{}: {}{limit} ({} layers, {levels}metric {}{plans})",
            report::printable(&self.output.display().to_string()),
            report::bytes(image.len() as u64),
            profile.network.layers.len(),
            profile.origin.metric,
        );
        for line in stored.iter().flat_map(|stored| stored.lines(network)) {
            say!("  {}", report::printable(&line));
        }
        Ok(())
    }

    /// Keeps the levels that are the best for flash and operating points.
    fn choose(&self, profile: &mut Profile, board: Option<&Board>) -> miette::Result<Stored> {
        let Profile { network, names, .. } = profile;
        let effort = self.search.effort();
        let stored = self.stored.keep(network, names, board, &effort)?;
        if !stored.is_proven() {
            let gap = report::loss(stored.gap(network));
            let what =
                format!("other levels may do better, by at most {gap} in all (see --node-limit)");
            report::complain("warning", &what);
        }
        Ok(stored)
    }

    /// Keeps the levels that an optimal plan has at some budget.
    fn keep_needed(&self, profile: &mut Profile) -> Kept {
        let kept = needed::keep_needed(&mut profile.network, &self.search.effort());
        watch::clear();
        if !kept.proven {
            let what = "all levels are stored: which of them no plan needs is not proven (see --node-limit)";
            report::complain("warning", what);
        }
        kept
    }
}

/// The blocks of a network's levels.
fn blocks(network: &HostNetwork) -> usize {
    let layers = 0..network.layers.len();
    layers
        .map(|layer| network.weight_formats(layer).count())
        .sum()
}

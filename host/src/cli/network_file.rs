//! The network in a profile or an image, and its plans for budgets.

use std::path::Path;

use bitbudget::board::Board;
use bitbudget::budget::BudgetText;
use bitbudget::capacity::{self, HostImage, HostNetwork, HostPlan, HostPlanner, MAX_LAYERS};
use bitbudget::explain::{self, Neighbours};
use bitbudget::file::{self, Content, FileError};
use bitbudget::profile::Profile;
use bitbudget::rules::{LayerLevel, Rules, Tie};
use bitbudget::search::{self, Effort, Staircase};
use bitbudget::size::{self, Sizes};
use bitbudget_core::image::{ImageError, MAGIC};
use bitbudget_core::level::Level;
use bitbudget_core::place::{Place, Places};
use bitbudget_core::plan::{Limits, LimitsTooSmall, Measure, Plan};
use bitbudget_core::state::{stack_bytes, state_bytes};
use clap::Args;
use miette::miette;
use serde_json::{Value, json};

use super::target::Target;
use super::{report, watch};

/// Limits that no layout is within, or is known to be, and what would do.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{what} too small")]
#[diagnostic(help("{help}"))]
pub(crate) struct TooSmall {
    pub(crate) what: String,
    pub(crate) help: String,
    pub(crate) source: LimitsTooSmall,
}

/// A limit on cycles that are not known.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("it is not known how many cycles the layers take")]
#[diagnostic(help(
    "pack the image for a board (pack --board), measure it on one (emulate --measure, device --measure), or plan for one (plan --board); see `bitbudget boards`"
))]
pub(crate) struct UnknownCycles;

/// Rules about levels.
#[derive(Args, Debug)]
pub(crate) struct RuleArgs {
    /// Give a layer, or without a name all that offer it, this level and no other
    #[arg(long, value_name = "[LAYER=]LEVEL")]
    pin: Vec<LayerLevel>,
    /// Keep a layer, or without a name all layers, from this level
    #[arg(long, value_name = "[LAYER=]LEVEL")]
    forbid: Vec<LayerLevel>,
    /// Give these layers the same level
    #[arg(long, value_name = "LAYER,LAYER,..")]
    tie: Vec<Tie>,
}

impl RuleArgs {
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            pins: self.pin.clone(),
            forbids: self.forbid.clone(),
            ties: self.tie.clone(),
        }
    }
}

/// A network with its names and a planner, whatever file it came from.
pub(crate) struct Source {
    pub(crate) network: Box<HostNetwork>,
    pub(crate) names: Vec<String>,
    planner: Box<HostPlanner>,
    /// What every plan keeps to beside its budget.
    limits: Limits,
    /// Whether it is known how many cycles the layers take.
    pub(crate) has_cycles: bool,
    /// The board that these cycles are of, where it was named.
    pub(crate) board: Option<Board>,
    /// Bytes of the image that the network is from.
    image_bytes: Option<u64>,
    /// Limits of every search.
    pub(crate) effort: Effort<'static>,
}

/// The content of an image's file.
pub(crate) const IMAGE: Content = Content {
    name: "an image",
    starts: |start| start.starts_with(&MAGIC),
};

/// The image in `bytes`, read from `path`.
pub(crate) fn parse_image<'a>(path: &Path, bytes: &'a [u8]) -> Result<HostImage<'a>, FileError> {
    HostImage::parse(bytes).map_err(|error| {
        let path = path.into();
        if error == ImageError::Magic {
            let kind = "image";
            return FileError::Kind { path, kind };
        }
        let reason = error.to_string();
        FileError::Damaged { path, reason }
    })
}

/// The names of an image's layers.
pub(crate) fn names(image: &HostImage<'_>) -> Vec<String> {
    let layers = 0..image.network().layers.len();
    layers.map(|layer| image.name(layer).to_owned()).collect()
}

impl Source {
    /// Whether `bytes` begin like a profile or an image.
    pub(crate) fn matches(bytes: &[u8]) -> bool {
        Profile::matches(bytes) || bytes.starts_with(&MAGIC)
    }

    /// The network in a profile or an image.
    pub(crate) fn open(path: &Path, rules: &Rules, target: &Target) -> miette::Result<Self> {
        let bytes = file::read(path)?;
        let (mut network, names, image_bytes) = if Profile::matches(&bytes) {
            let profile = Profile::decode(path, &bytes)?;
            (profile.network, profile.names, None)
        } else if bytes.starts_with(&MAGIC) {
            let image = parse_image(path, &bytes)?;
            let network = Box::new(image.network().clone());
            (network, names(&image), Some(bytes.len() as u64))
        } else {
            let path = path.into();
            let kind = "profile or image";
            return Err(FileError::Kind { path, kind }.into());
        };
        rules.apply(&mut network, &names)?;
        Ok(Self {
            image_bytes,
            ..Self::new(network, names, target)?
        })
    }

    /// The network in an image.
    pub(crate) fn of_image(image: &HostImage<'_>, target: &Target) -> miette::Result<Self> {
        Self::new(Box::new(image.network().clone()), names(image), target)
    }

    /// A network with its layers' names.
    pub(crate) fn new(
        mut network: Box<HostNetwork>,
        names: Vec<String>,
        target: &Target,
    ) -> miette::Result<Self> {
        if let Some(board) = &target.board {
            board.give_cycles(&mut network)?;
        }
        let has_cycles = network.prices.has_cycles();
        if target.cycles.is_some() && !has_cycles {
            return Err(UnknownCycles.into());
        }
        let places = target.places_where(has_cycles);
        Ok(Self {
            planner: capacity::planner(places, &network),
            effort: watch::effort(),
            limits: Limits {
                cycles: target.cycles,
                ..Limits::NONE
            },
            has_cycles,
            board: target.board.clone(),
            image_bytes: None,
            network,
            names,
        })
    }

    /// Where the weights may lie.
    pub(crate) const fn places(&self) -> Places {
        self.planner.places()
    }

    /// What every plan keeps to beside its budget.
    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether plans can keep to these limits.
    pub(crate) fn check(&self, limits: Limits) -> miette::Result<()> {
        let checked = self.planner.check(&self.network, &limits);
        checked.map_err(|error| {
            let help = "leave out a limit, or give --place ram or --place flash";
            miette!(help = help, "{error}")
        })
    }

    /// A budget as written, and what else a plan keeps to.
    pub(crate) fn resolve(&self, budget: &BudgetText) -> Limits {
        let bytes = budget.bytes(&self.network, self.places());
        self.limits.with(budget.measure(), bytes)
    }

    /// The best plan within limits.
    pub(crate) fn plan(&mut self, limits: Limits) -> Result<HostPlan, LimitsTooSmall> {
        let plan = search::plan(&self.network, &mut self.planner, limits, &self.effort);
        watch::clear();
        plan
    }

    /// The best plans within limits for all limits on RAM.
    pub(crate) fn staircase(&mut self, over: (Limits, Measure)) -> Staircase<MAX_LAYERS> {
        let stairs = search::staircase(&self.network, &mut self.planner, over, &self.effort);
        watch::clear();
        stairs
    }

    /// The best plan for a budget as written; an error tells the smallest budget.
    pub(crate) fn plan_for(&mut self, text: &BudgetText) -> miette::Result<HostPlan> {
        let limits = self.resolve(text);
        self.plan_or_tell(limits, format!("the budget {text} is"))
    }

    /// The best plan within limits; an error tells what would do.
    pub(crate) fn plan_within(&mut self, limits: Limits) -> miette::Result<HostPlan> {
        self.plan_or_tell(limits, format!("a limit of {limits} is"))
    }

    fn plan_or_tell(&mut self, limits: Limits, mut what: String) -> miette::Result<HostPlan> {
        self.plan(limits).map_err(|source| {
            let smallest: Vec<_> = source.smallest.iter().collect();
            let help = match smallest[..] {
                [(measure, amount)] => self.smallest(measure, amount, source.proven),
                _ => {
                    what = format!("limits of {limits} are");
                    let each = smallest.iter().map(|(measure, amount)| match measure {
                        Measure::Ram => format!("--ram {amount}"),
                        Measure::Cycles => format!("--cycles {amount}"),
                        Measure::Weights => format!("--ram weights={amount}"),
                    });
                    let each = each.collect::<Vec<_>>().join(", ");
                    format!("without the other limits, these would do: {each}")
                }
            };
            TooSmall { what, help, source }.into()
        })
    }

    /// What would do where the one limit is too small.
    fn smallest(&mut self, measure: Measure, amount: u64, proven: bool) -> String {
        let does = match proven {
            true => "does",
            false => "is known to do",
        };
        let option = match measure {
            Measure::Ram => format!("--ram {amount} ({})", report::bytes(amount)),
            Measure::Weights => format!("--ram weights={amount} ({})", report::bytes(amount)),
            Measure::Cycles => return format!("the smallest limit that {does}: --cycles {amount}"),
        };
        let parts = self.largest_parts(measure, amount);
        format!("the smallest budget that {does}: {option}, of which {parts}")
    }

    /// The largest parts of the best plan under a limit, in words.
    fn largest_parts(&mut self, measure: Measure, bytes: u64) -> String {
        let Ok(plan) = self.plan(self.limits.with(measure, bytes)) else {
            return String::new();
        };
        let counts = |row: &Row| measure == Measure::Weights || row.place == Place::Ram;
        let layers = self.rows(&plan).into_iter().filter(counts);
        let part = |row: Row| (row.bytes, format!("{} at {}", row.name, row.level));
        let mut parts: Vec<(u32, String)> = layers.map(part).collect();
        if measure == Measure::Ram {
            parts.push((plan.arena_bytes, "the activations".to_owned()));
        }
        parts.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let parts = parts.into_iter().take(3);
        let parts = parts.map(|(bytes, what)| format!("{what} {bytes} bytes"));
        format!("most is for: {}", parts.collect::<Vec<_>>().join(", "))
    }

    /// The plan that takes least of a measure within limits with a predicted change of the loss of at most
    /// `loss`, and whether it is proven to be that.
    pub(crate) fn cheapest(
        &mut self,
        limits: (Limits, Measure),
        loss: f64,
    ) -> Option<(HostPlan, bool)> {
        let price = (loss / self.network.prices.unit).round() as i64;
        let Self {
            network,
            planner,
            effort,
            ..
        } = self;
        let plan = search::cheapest(network, planner, limits, price, effort);
        watch::clear();
        plan
    }

    /// The next plans up and down from an optimal one.
    pub(crate) fn neighbours(&mut self, limits: (Limits, Measure), plan: &HostPlan) -> Neighbours {
        let Self {
            network,
            planner,
            effort,
            ..
        } = self;
        let neighbours = explain::neighbours(network, planner, limits, plan, effort);
        watch::clear();
        neighbours
    }

    /// The plan that keeps every layer FP32, whether or not it is on offer.
    pub(crate) fn fp32(&self) -> HostPlan {
        self.all_at(Level::Fp32)
    }

    /// The plan that gives every layer a level.
    pub(crate) fn uniform(&self, level: Level) -> miette::Result<HostPlan> {
        let mut rows = self.network.prices.rows.iter();
        let lacks =
            rows.position(|row| !row.is_empty() && row.iter().all(|item| item.level != level));
        match lacks {
            None => Ok(self.all_at(level)),
            Some(layer) => Err(miette!(
                help = "pack an image that holds all levels: bitbudget pack --all-levels",
                "layer {} is not stored at {level} here",
                report::printable(&self.names[layer])
            )),
        }
    }

    fn all_at(&self, level: Level) -> HostPlan {
        let layers = self.network.layers.iter();
        let levels = layers.map(|layer| layer.op.has_weights().then_some(level));
        let place = match self.planner.places() {
            Places::Ram => Place::Ram,
            Places::Flash | Places::Best => Place::Flash,
        };
        Plan::of_levels(&self.network, levels.collect(), place)
    }

    /// A sum of prices as a change of loss.
    pub(crate) fn loss(&self, price: i64) -> f64 {
        self.network.prices.to_loss(price)
    }

    /// Every layer with weights under a plan.
    pub(crate) fn rows(&self, plan: &HostPlan) -> Vec<Row> {
        let layers = plan.levels.iter().enumerate();
        let rows = layers.filter_map(|(layer, level)| {
            let item = self.network.item_at(layer, *level)?;
            let place = plan.places[layer];
            Some(Row {
                name: self.names[layer].clone(),
                level: item.level,
                place,
                bytes: item.bytes,
                price: self.loss(i64::from(item.price)),
                cycles: item.cycles.at(place),
            })
        });
        rows.collect()
    }

    /// Bytes of the image, or, of a profile, of one that stores nothing but a plan.
    fn flash_bytes(&self, plan: &HostPlan) -> u64 {
        self.image_bytes.unwrap_or_else(|| {
            let items = size::items_of(&self.network, plan);
            Sizes::of(&self.network, &self.names).image(&items)
        })
    }

    /// The most levels of a layer.
    fn most_levels(&self) -> usize {
        let rows = self.network.prices.rows.iter().map(|row| row.len());
        rows.max().unwrap_or(0)
    }

    /// Bytes of image, planner and engine on a device, at most.
    pub(crate) fn state_bytes(&self) -> usize {
        state_bytes(self.network.layers.len(), self.most_levels())
    }

    /// What a program of a 32-bit processor takes beside a plan, in words.
    pub(crate) fn beside(&self) -> String {
        let (layers, levels) = (self.network.layers.len(), self.most_levels());
        format!(
            "beside its arena a program takes about {} of state (Image<{layers}, {levels}>, Planner<{layers}, {}>) and {} of stack",
            report::bytes(self.state_bytes() as u64),
            2 * levels,
            report::bytes(stack_bytes(layers) as u64),
        )
    }

    /// The name of a tensor: of the layer that makes it.
    pub(crate) fn tensor_name(&self, tensor: usize) -> &str {
        match tensor.checked_sub(1) {
            None => "input",
            Some(layer) => &self.names[layer],
        }
    }

    /// A plan as JSON.
    pub(crate) fn json(&self, plan: &HostPlan) -> Value {
        let rows = self.rows(plan).into_iter().map(|row| {
            json!({
                "name": row.name,
                "level": row.level.name(),
                "place": place_name(row.place),
                "bytes": row.bytes,
                "price": row.price,
                "cycles": self.has_cycles.then_some(row.cycles),
            })
        });
        let cascades = plan.schedule.cascades().map(|[first, last]| {
            let tensors = (first..=last).map(|tensor| self.tensor_name(tensor));
            tensors.collect::<Vec<_>>()
        });
        json!({
            "layers": rows.collect::<Vec<_>>(),
            "cascades": cascades.collect::<Vec<_>>(),
            "turns": plan.turns,
            "weight_bytes": plan.weight_bytes,
            "arena_bytes": plan.arena_bytes,
            "state_bytes": self.state_bytes(),
            "stack_bytes": stack_bytes(self.network.layers.len()),
            "ram_bytes": plan.ram_bytes(),
            "ram_weight_bytes": plan.ram_weight_bytes,
            "flash_bytes": self.flash_bytes(plan),
            "cycles": self.has_cycles.then_some(plan.cycles),
            "ms": self.board.as_ref().map(|board| board.milliseconds(plan.cycles)),
            "total_bytes": plan.ram_bytes(),
            "price": self.loss(plan.price),
            "bound": self.loss(plan.bound),
            "gap": self.loss(plan.price - plan.bound),
            "nodes": plan.nodes,
            "optimal": plan.is_optimal(),
        })
    }
}

/// One layer under a plan.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) level: Level,
    pub(crate) place: Place,
    pub(crate) bytes: u32,
    /// In loss.
    pub(crate) price: f64,
    pub(crate) cycles: u32,
}

/// A place in tables and JSON.
pub(crate) const fn place_name(place: Place) -> &'static str {
    match place {
        Place::Ram => "ram",
        Place::Flash => "flash",
    }
}

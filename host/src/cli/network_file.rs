//! The network in a profile or an image, and its plans for budgets.

use std::path::Path;

use bitbudget::budget::BudgetText;
use bitbudget::capacity::{HostImage, HostNetwork, HostPlan, HostPlanner, MAX_LAYERS};
use bitbudget::explain::{self, Neighbours};
use bitbudget::file::{self, Content, FileError};
use bitbudget::profile::Profile;
use bitbudget::rules::{LayerLevel, Rules, Tie};
use bitbudget::search::{self, Effort, Staircase};
use bitbudget_core::image::{ImageError, MAGIC};
use bitbudget_core::level::Level;
use bitbudget_core::plan::{Budget, BudgetTooSmall, Place, Plan};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{report, watch};

/// A budget that no layout fits, or is known to fit, and the smallest that does.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the budget {text} is too small")]
#[diagnostic(help("the smallest budget that {does}: --budget {smallest}, of which {parts}"))]
struct TooSmall {
    text: String,
    does: &'static str,
    smallest: String,
    parts: String,
    source: BudgetTooSmall,
}

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

/// Where weights may lie, as people write it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Where {
    /// Copied to RAM, where the budget counts them
    Ram,
    /// Read in place from the flash that the image lies in
    Flash,
}

/// Where the weights lie.
#[derive(Args, Debug)]
pub(crate) struct PlaceArgs {
    /// Where the weights lie while the network runs
    #[arg(long, value_name = "MEMORY", default_value = "ram")]
    place: Where,
}

impl PlaceArgs {
    pub(crate) const fn get(&self) -> Place {
        match self.place {
            Where::Ram => Place::Ram,
            Where::Flash => Place::Flash,
        }
    }
}

/// A network with its names and a planner, whatever file it came from.
pub(crate) struct Source {
    pub(crate) network: Box<HostNetwork>,
    pub(crate) names: Vec<String>,
    planner: Box<HostPlanner>,
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
    pub(crate) fn open(path: &Path, rules: &Rules, place: Place) -> miette::Result<Self> {
        let bytes = file::read(path)?;
        let (mut network, names) = if Profile::matches(&bytes) {
            let profile = Profile::decode(path, &bytes)?;
            (profile.network, profile.names)
        } else if bytes.starts_with(&MAGIC) {
            let image = parse_image(path, &bytes)?;
            (Box::new(image.network().clone()), names(&image))
        } else {
            let path = path.into();
            let kind = "profile or image";
            return Err(FileError::Kind { path, kind }.into());
        };
        rules.apply(&mut network, &names)?;
        Ok(Self::new(network, names, place))
    }

    /// The network in an image.
    pub(crate) fn of_image(image: &HostImage<'_>, place: Place) -> Self {
        Self::new(Box::new(image.network().clone()), names(image), place)
    }

    pub(crate) fn new(network: Box<HostNetwork>, names: Vec<String>, place: Place) -> Self {
        Self {
            planner: Box::new(HostPlanner::with_weights_in(place, &network)),
            effort: watch::effort(),
            network,
            names,
        }
    }

    /// A budget in bytes.
    pub(crate) fn resolve(&self, budget: &BudgetText) -> Budget {
        let (weights, arena) = (
            self.network.fp32_weight_bytes(),
            self.network.fp32_arena_bytes(),
        );
        match self.planner.place() {
            Place::Ram => budget.resolve(weights, weights + arena),
            Place::Flash => budget.resolve(weights, arena),
        }
    }

    /// The best plan for a budget.
    pub(crate) fn plan(&mut self, budget: Budget) -> Result<HostPlan, BudgetTooSmall> {
        let plan = search::plan(&self.network, &mut self.planner, budget, &self.effort);
        watch::clear();
        plan
    }

    /// The best plans for all budgets on all the RAM.
    pub(crate) fn staircase(&mut self) -> Staircase<MAX_LAYERS> {
        let all = Budget::Total(u64::MAX);
        let stairs = search::staircase(&self.network, &mut self.planner, all, &self.effort);
        watch::clear();
        stairs
    }

    /// The best plan for a budget as written; an error tells the smallest budget.
    pub(crate) fn plan_for(&mut self, text: &BudgetText) -> miette::Result<HostPlan> {
        let budget = self.resolve(text);
        self.plan(budget).map_err(|source| {
            let bytes = source.smallest_bytes;
            let measure = match budget {
                Budget::Total(_) => "",
                Budget::Weights(_) => "weights=",
            };
            let too_small = TooSmall {
                text: text.to_string(),
                does: if source.proven {
                    "does"
                } else {
                    "is known to do"
                },
                smallest: format!("{measure}{bytes} ({})", report::bytes(bytes)),
                parts: self.largest_parts(budget.with_bytes(bytes)),
                source,
            };
            too_small.into()
        })
    }

    /// The largest parts of the best plan under a budget, in words.
    fn largest_parts(&mut self, budget: Budget) -> String {
        let Ok(plan) = self.plan(budget) else {
            return String::new();
        };
        let layers = self.rows(&plan).into_iter();
        let part = |row: Row| (row.bytes, format!("{} at {}", row.name, row.level));
        let mut parts: Vec<(u32, String)> = layers.map(part).collect();
        if matches!(budget, Budget::Total(_)) {
            parts.push((plan.arena_bytes, "the activations".to_owned()));
        }
        parts.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let parts = parts.into_iter().take(3);
        let parts = parts.map(|(bytes, what)| format!("{what} {bytes} bytes"));
        format!("most is for: {}", parts.collect::<Vec<_>>().join(", "))
    }

    /// The plan of fewest bytes whose predicted change of the loss is at most `loss`, within a budget,
    /// and whether it is proven to be that.
    pub(crate) fn cheapest(&mut self, budget: Budget, loss: f64) -> Option<(HostPlan, bool)> {
        let price = (loss / self.network.prices.unit).round() as i64;
        let Self {
            network,
            planner,
            effort,
            ..
        } = self;
        let plan = search::cheapest(network, planner, budget, price, effort);
        watch::clear();
        plan
    }

    /// The next plans up and down from an optimal one.
    pub(crate) fn neighbours(&mut self, budget: Budget, plan: &HostPlan) -> Neighbours {
        let Self {
            network,
            planner,
            effort,
            ..
        } = self;
        let neighbours = explain::neighbours(network, planner, budget, plan, effort);
        watch::clear();
        neighbours
    }

    /// The plan that keeps every layer FP32, whether or not it is on offer.
    pub(crate) fn fp32(&self) -> HostPlan {
        let layers = self.network.layers.iter();
        let levels = layers.map(|layer| layer.op.has_weights().then_some(Level::Fp32));
        Plan::of_levels(&self.network, levels.collect(), self.planner.place())
    }

    /// A sum of prices as a change of loss.
    pub(crate) fn loss(&self, price: i64) -> f64 {
        self.network.prices.to_loss(price)
    }

    /// Every layer with weights: index, level, bytes and price (in loss) under a plan.
    pub(crate) fn rows(&self, plan: &HostPlan) -> Vec<Row> {
        let layers = plan.levels.iter().enumerate();
        let rows = layers.filter_map(|(layer, level)| {
            let items = &self.network.prices.rows[layer];
            let item = items.iter().find(|item| Some(item.level) == *level)?;
            Some(Row {
                name: self.names[layer].clone(),
                level: item.level,
                bytes: item.bytes,
                price: self.loss(i64::from(item.price)),
            })
        });
        rows.collect()
    }

    /// A plan as JSON.
    pub(crate) fn json(&self, plan: &HostPlan) -> Value {
        let place = match plan.place {
            Place::Ram => "ram",
            Place::Flash => "flash",
        };
        let rows = self.rows(plan).into_iter().map(|row| {
            json!({
                "name": row.name,
                "level": row.level.name(),
                "place": place,
                "bytes": row.bytes,
                "price": row.price,
            })
        });
        json!({
            "layers": rows.collect::<Vec<_>>(),
            "weight_bytes": plan.weight_bytes,
            "arena_bytes": plan.arena_bytes,
            "ram_bytes": plan.total_bytes(),
            "total_bytes": plan.total_bytes(),
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
    pub(crate) bytes: u32,
    pub(crate) price: f64,
}

//! What plans are made from: a profile or an image, and budgets.

use std::path::Path;

use bitbudget::budget::BudgetText;
use bitbudget::evaluate::HostPlan;
use bitbudget::file::{self, FileError};
use bitbudget::pack::HostImage;
use bitbudget::profile::{HostNetwork, MAX_LAYERS, MAX_LEVELS, Profile};
use bitbudget_core::image::{ImageError, MAGIC};
use bitbudget_core::level::Level;
use bitbudget_core::plan::{Budget, BudgetTooSmall, Plan, Planner};
use serde_json::{Value, json};

use super::report;

/// A budget that no layout fits, and the smallest that would do.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the budget {text} is too small")]
#[diagnostic(help("the smallest budget that does: --budget {smallest}"))]
struct TooSmall {
    text: String,
    smallest: String,
    source: BudgetTooSmall,
}

/// A network with its names and a planner, whatever file it came from.
pub(crate) struct Planned {
    pub(crate) network: Box<HostNetwork>,
    pub(crate) names: Vec<String>,
    planner: Box<Planner<MAX_LAYERS, MAX_LEVELS>>,
}

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

impl Planned {
    /// The network in a profile or an image.
    pub(crate) fn open(path: &Path) -> miette::Result<Self> {
        let bytes = file::read(path)?;
        if Profile::matches(&bytes) {
            let profile = Profile::decode(path, &bytes)?;
            return Self::new(profile.network, profile.names);
        }
        if bytes.starts_with(&MAGIC) {
            return Self::of_image(&parse_image(path, &bytes)?);
        }
        let path = path.into();
        let kind = "profile or image";
        Err(FileError::Kind { path, kind }.into())
    }

    /// The network in an image.
    pub(crate) fn of_image(image: &HostImage<'_>) -> miette::Result<Self> {
        Self::new(Box::new(image.network().clone()), names(image))
    }

    pub(crate) fn new(network: Box<HostNetwork>, names: Vec<String>) -> miette::Result<Self> {
        let planner = Planner::new(&network);
        Ok(Self {
            planner: Box::new(planner),
            network,
            names,
        })
    }

    /// A budget in bytes.
    pub(crate) fn resolve(&self, budget: &BudgetText) -> Budget {
        let network = &self.network;
        budget.resolve(network.fp32_weight_bytes(), network.fp32_arena_bytes())
    }

    /// The optimal plan for a budget.
    pub(crate) fn plan(&mut self, budget: Budget) -> Result<HostPlan, BudgetTooSmall> {
        self.planner.plan(&self.network, budget, u64::MAX)
    }

    /// The optimal plans by rising bytes in all and strictly falling price.
    pub(crate) fn staircase(&mut self) -> Vec<HostPlan> {
        let mut plans: Vec<HostPlan> = Vec::new();
        let budget = Budget::Total(u64::MAX);
        for plan in self.planner.staircase(&self.network, budget) {
            // of equally good layouts the smaller one counts
            if plans.last().is_some_and(|last| last.price == plan.price) {
                plans.pop();
            }
            plans.push(plan);
        }
        plans.reverse();
        plans
    }

    /// The optimal plan for a budget as written; an error tells the smallest budget.
    pub(crate) fn plan_for(&mut self, text: &BudgetText) -> miette::Result<HostPlan> {
        let budget = self.resolve(text);
        let plan = self.plan(budget);
        Ok(plan.map_err(|source| TooSmall {
            text: text.to_string(),
            smallest: match budget {
                Budget::Total(_) => format!(
                    "{} ({})",
                    source.smallest_bytes,
                    report::bytes(source.smallest_bytes)
                ),
                Budget::Weights(_) => format!(
                    "weights={} ({})",
                    source.smallest_bytes,
                    report::bytes(source.smallest_bytes)
                ),
            },
            source,
        })?)
    }

    /// The plan that keeps every layer FP32, whether or not it is on offer.
    pub(crate) fn fp32(&self) -> HostPlan {
        let layers = self.network.layers.iter();
        let levels = layers.map(|layer| layer.op.has_weights().then_some(Level::Fp32));
        Plan::by_hand(&self.network, levels.collect())
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
        let rows = self.rows(plan).into_iter().map(|row| {
            json!({
                "name": row.name,
                "level": row.level.name(),
                "bytes": row.bytes,
                "price": row.price,
            })
        });
        json!({
            "layers": rows.collect::<Vec<_>>(),
            "weight_bytes": plan.weight_bytes,
            "arena_bytes": plan.arena_bytes,
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

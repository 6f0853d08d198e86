//! Layout problems from anywhere: prices and costs in a JSON file.
//!
//! ```json
//! {
//!   "layers": [
//!     {"name": "conv1", "items": [
//!       {"level": "int8", "price": 0.013, "costs": {"ram": 2304, "cycles": 91000}},
//!       {"level": "fp32", "price": 0.0, "costs": {"ram": 9216, "cycles": 260000}}]}
//!   ],
//!   "limits": {"ram": 65536, "cycles": 2e6},
//!   "ties": [["conv3", "conv5"]],
//!   "pins": {"fc": "fp32"}
//! }
//! ```
//!
//! Prices are any finite numbers, costs are whole and not negative, and all items have the same costs.
//! `limits`, `ties` and `pins` may be missing. The price may be limited, too, and each cost may be what
//! is minimised.

mod error;
mod locate;
mod measure;
mod solve;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bitbudget_core::level::Level;
use bitbudget_core::network::Network;
use bitbudget_core::place::Place;
use bitbudget_core::price::PriceItem;
use serde::Deserialize;

use crate::board::{Board, NoCycleModel};
use crate::latency::{self, Core};
pub use error::{Doubt, Infeasible, MeasureError, Shortage, SolveError};
use locate::{Field, locate};
pub use solve::{Answer, Neighbour};

/// The name under which the price is limited or minimised.
pub const PRICE: &str = "price";

/// The cost of a network's layer in bytes of resident weights.
pub const WEIGHTS: &str = "weights";
/// The cost of a network's layer in cycles.
pub const CYCLES: &str = "cycles";

/// The most layers.
pub const MAX_LAYERS: usize = 1024;
/// The most items of a layer.
pub const MAX_ITEMS: usize = 32;
/// All layers together may cost at most this much, so that sums are exact.
const MAX_COST: u64 = 1 << 53;

/// A layout problem.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// The layers to choose levels for.
    pub layers: Vec<Layer>,
    /// The most that all layers together may cost, by name; `price` limits the price.
    #[serde(default)]
    pub limits: BTreeMap<String, f64>,
    /// Layers that have the same level.
    #[serde(default)]
    pub ties: Vec<Vec<String>>,
    /// Levels that layers must have.
    #[serde(default)]
    pub pins: BTreeMap<String, String>,
}

/// A layer and its choices.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// The name.
    pub name: String,
    /// The choices.
    pub items: Vec<Item>,
}

/// One choice.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The level.
    pub level: String,
    /// Its change of the loss; negative is an improvement.
    pub price: f64,
    /// Its costs, by name.
    #[serde(default)]
    pub costs: BTreeMap<String, u64>,
}

/// A file that holds no layout problem.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{}, line {line}: {field}{}{reason}", path.display(), if field.is_empty() { "" } else { ": " })]
#[diagnostic(help("the format, with an example: bitbudget solve --help"))]
pub struct Malformed {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1 on.
    pub line: usize,
    /// The field, such as `layers[2].items[0].price`; empty for the whole file.
    pub field: String,
    /// The fault.
    pub reason: String,
}

impl Problem {
    /// The problem in the text of a file that was read from `path`.
    ///
    /// # Errors
    /// [`Malformed`] with the first fault, its line and its field.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Malformed> {
        let malformed = |line, field: String, reason: String| {
            let path = path.into();
            Malformed {
                path,
                line,
                field,
                reason,
            }
        };
        let mut json = serde_json::Deserializer::from_str(text);
        let parsed: Result<Self, _> = serde_path_to_error::deserialize(&mut json);
        let problem = parsed.map_err(|error| {
            let field = error.path().to_string();
            let unknown = field == "." || field.contains('?');
            let field = if unknown { String::new() } else { field };
            let error = error.into_inner();
            // serde_json repeats the place at the end
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            malformed(error.line(), field, reason.to_owned())
        })?;
        json.end().map_err(|error| {
            malformed(error.line(), String::new(), "more than one value".into())
        })?;
        problem.check().map_err(|(fields, reason)| {
            let line = locate(text, &fields);
            malformed(line, locate::path(&fields), reason)
        })?;
        Ok(problem)
    }

    /// The problem of a network: its own prices, with the bytes of its weights (`weights`) and the modelled
    /// cycles (`cycles`) of its layers with weights as costs.
    #[must_use]
    pub fn of_network<const N: usize, const K: usize>(
        network: &Network<N, K>,
        names: &[String],
        core: Core,
    ) -> Self {
        Self::with_cycles(network, names, |layer, level| {
            latency::cycles(network, layer, level, core)
        })
    }

    /// As [`of_network`](Self::of_network), with the cycles of a board whose weights lie in a place.
    ///
    /// # Errors
    /// [`NoCycleModel`] where the board has none.
    pub fn of_network_on<const N: usize, const K: usize>(
        network: &Network<N, K>,
        names: &[String],
        board: &Board,
        place: Place,
    ) -> Result<Self, NoCycleModel> {
        let core = board.core_model()?;
        Ok(Self::with_cycles(network, names, |layer, level| {
            board.cycles_with(core, network, layer, level, place)
        }))
    }

    /// The problem of a network whose layers take so many cycles at a level.
    fn with_cycles<const N: usize, const K: usize>(
        network: &Network<N, K>,
        names: &[String],
        cycles: impl Fn(usize, Level) -> u64,
    ) -> Self {
        let prices = &network.prices;
        let item = |layer: usize, item: &PriceItem| Item {
            level: item.level.to_string(),
            price: prices.to_loss(item.price.into()),
            costs: BTreeMap::from([
                (WEIGHTS.to_owned(), item.bytes.into()),
                (CYCLES.to_owned(), cycles(layer, item.level)),
            ]),
        };
        let rows = prices.rows.iter().enumerate();
        let layers = rows.filter(|(_, row)| !row.is_empty());
        let layers = layers.map(|(layer, row)| Layer {
            name: names[layer].clone(),
            items: row.iter().map(|of| item(layer, of)).collect(),
        });
        let tied = |pair: &[u16; 2]| pair.map(|layer| names[usize::from(layer)].clone()).to_vec();
        Self {
            layers: layers.collect(),
            limits: BTreeMap::new(),
            ties: prices.ties.iter().map(tied).collect(),
            pins: BTreeMap::new(),
        }
    }

    /// The names of the costs.
    #[must_use]
    pub fn costs(&self) -> Vec<&str> {
        let items = self.layers.iter().flat_map(|layer| &layer.items);
        let costs = items.take(1).flat_map(|item| item.costs.keys());
        costs.map(String::as_str).collect()
    }

    /// Whether all is as this module says; else the field and what is wrong with it.
    fn check(&self) -> Result<(), (Vec<Field>, String)> {
        let key = |name: &str| Field::Key(name.to_owned());
        let top = |name: &str| vec![key(name)];
        if self.layers.is_empty() || self.layers.len() > MAX_LAYERS {
            let count = self.layers.len();
            let reason = format!("{count} layers; there may be 1 to {MAX_LAYERS}");
            return Err((top("layers"), reason));
        }
        let costs = self.costs();
        let mut most = 0_u64;
        for (i, layer) in self.layers.iter().enumerate() {
            let of_layer = || vec![key("layers"), Field::Index(i)];
            let with = |more: &[Field]| [of_layer(), more.to_vec()].concat();
            let same_name = |other: &Layer| other.name == layer.name;
            if self.layers[..i].iter().any(same_name) {
                let reason = format!("there is another layer `{}`", layer.name);
                return Err((with(&[key("name")]), reason));
            }
            if layer.items.is_empty() || layer.items.len() > MAX_ITEMS {
                let count = layer.items.len();
                let reason = format!("{count} items; there may be 1 to {MAX_ITEMS}");
                return Err((with(&[key("items")]), reason));
            }
            let mut most_of_layer = 0;
            for (j, item) in layer.items.iter().enumerate() {
                let field = |name: &str| with(&[key("items"), Field::Index(j), key(name)]);
                let same_level = |other: &Item| other.level == item.level;
                if layer.items[..j].iter().any(same_level) {
                    let reason = format!("the layer has another item `{}`", item.level);
                    return Err((field("level"), reason));
                }
                if !item.price.is_finite() {
                    return Err((field("price"), "it is not finite".into()));
                }
                if !item.costs.keys().eq(costs.iter().copied()) {
                    let own: Vec<_> = item.costs.keys().map(String::as_str).collect();
                    let reason = format!(
                        "costs [{}] where the first item has [{}]",
                        own.join(", "),
                        costs.join(", ")
                    );
                    return Err((field("costs"), reason));
                }
                if item.costs.contains_key(PRICE) {
                    return Err((field("costs"), "no cost can be named `price`".into()));
                }
                let largest = item.costs.values().copied().max().unwrap_or(0);
                most_of_layer = largest.max(most_of_layer);
            }
            most = most.saturating_add(most_of_layer);
            if most > MAX_COST {
                let reason = "all layers together may cost 2^53; choose larger units";
                return Err((with(&[key("items")]), reason.into()));
            }
        }
        for (name, limit) in &self.limits {
            self.check_limit(name, *limit)
                .map_err(|error| (vec![key("limits"), key(name)], error.to_string()))?;
        }
        for (i, tie) in self.ties.iter().enumerate() {
            for (j, name) in tie.iter().enumerate() {
                let fields = vec![key("ties"), Field::Index(i), Field::Index(j)];
                self.layer(name).ok_or_else(|| (fields, no_layer(name)))?;
            }
        }
        for (name, level) in &self.pins {
            let fields = vec![key("pins"), key(name)];
            let layer = self.layer(name);
            let layer = layer.ok_or_else(|| (fields.clone(), no_layer(name)))?;
            let items = &self.layers[layer].items;
            if !items.iter().any(|item| item.level == *level) {
                let levels: Vec<_> = items.iter().map(|item| item.level.as_str()).collect();
                let levels = levels.join(", ");
                let reason = format!("`{name}` has no level `{level}`; its levels: {levels}");
                return Err((fields, reason));
            }
        }
        let groups = self.groups();
        if let Some(empty) = groups.iter().find(|group| group.levels.is_empty()) {
            let names: Vec<_> = empty
                .layers
                .iter()
                .map(|i| &*self.layers[*i].name)
                .collect();
            let at = self
                .ties
                .iter()
                .position(|tie| tie.iter().any(|n| n == names[0]));
            let fields = vec![key("ties"), Field::Index(at.unwrap_or(0))];
            let reason = format!("no level for all of {}", names.join(", "));
            return Err((fields, reason));
        }
        Ok(())
    }

    /// Checks a limit by its name.
    ///
    /// # Errors
    /// [`MeasureError`].
    pub fn check_limit(&self, name: &str, limit: f64) -> Result<(), MeasureError> {
        self.check_measure(name)?;
        if name == PRICE && limit.is_finite() || name != PRICE && limit >= 0.0 {
            return Ok(());
        }
        let name = name.to_owned();
        Err(MeasureError::Limit { name, limit })
    }

    /// Checks that there is a cost of this name, or that it is the price.
    ///
    /// # Errors
    /// [`MeasureError::Unknown`].
    pub fn check_measure(&self, name: &str) -> Result<(), MeasureError> {
        let costs = self.costs();
        if name == PRICE || costs.contains(&name) {
            return Ok(());
        }
        let known = costs.into_iter().chain([PRICE]);
        Err(MeasureError::Unknown {
            name: name.to_owned(),
            known: known.map(str::to_owned).collect(),
        })
    }

    fn layer(&self, name: &str) -> Option<usize> {
        self.layers.iter().position(|layer| layer.name == name)
    }

    /// The layers that are chosen for together, and the levels that all of them offer and may have.
    fn groups(&self) -> Vec<Group> {
        let count = self.layers.len();
        // every layer's group, by its first layer
        let mut first: Vec<usize> = (0..count).collect();
        for tie in &self.ties {
            let layers: Vec<usize> = tie.iter().filter_map(|name| self.layer(name)).collect();
            for pair in layers.windows(2) {
                let (a, b) = (first[pair[0]], first[pair[1]]);
                for of in first.iter_mut().filter(|of| **of == a.max(b)) {
                    *of = a.min(b);
                }
            }
        }
        let of = |leader: usize| {
            let layers: Vec<usize> = (0..count).filter(|i| first[*i] == leader).collect();
            let allowed = |level: &&str| {
                layers.iter().all(|i| {
                    let layer = &self.layers[*i];
                    let pin = self.pins.get(&layer.name);
                    let offered = layer.items.iter().any(|item| item.level == **level);
                    offered && pin.is_none_or(|pin| pin == *level)
                })
            };
            let items = self.layers[leader].items.iter();
            let levels = items.map(|item| item.level.as_str()).filter(allowed);
            Group {
                levels: levels.map(str::to_owned).collect(),
                layers,
            }
        };
        let leaders = (0..count).filter(|i| first[*i] == *i);
        leaders.map(of).collect()
    }
}

fn no_layer(name: &str) -> String {
    format!("there is no layer `{name}`")
}

/// Layers that have the same level.
#[derive(Clone, Debug)]
struct Group {
    layers: Vec<usize>,
    levels: Vec<String>,
}

#[cfg(test)]
mod tests;

//! Rules about levels, by the names of layers.

use std::fmt;
use std::str::FromStr;

use bitbudget_core::level::Level;
use bitbudget_core::rules::RuleError;

use crate::capacity::HostNetwork;

/// A level of one layer, or of all: `conv1=int8`, `int2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerLevel {
    /// The layer's name; `None` for every layer that offers the level.
    pub layer: Option<String>,
    /// The level.
    pub level: Level,
}

/// Why a text does not name a layer and a level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a level of a layer; examples: conv1=int8, fc=fp32; levels: {}",
    levels()
)]
pub struct LayerLevelSyntax {
    text: String,
}

fn levels() -> String {
    Level::ALL.map(Level::name).join(", ")
}

impl FromStr for LayerLevel {
    type Err = LayerLevelSyntax;

    fn from_str(text: &str) -> Result<Self, LayerLevelSyntax> {
        // layers' names may have any character
        let (layer, level) = match text.rsplit_once('=') {
            Some((layer, level)) => (Some(layer.to_owned()), level),
            None => (None, text),
        };
        match level.trim().parse() {
            Ok(level) => Ok(Self { layer, level }),
            Err(_) => Err(LayerLevelSyntax { text: text.into() }),
        }
    }
}

/// Layers that must have the same level, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie(pub Vec<String>);

/// Why a text does not name layers to tie.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name two layers or more; example: conv3,conv5")]
pub struct TieSyntax(String);

impl FromStr for Tie {
    type Err = TieSyntax;

    fn from_str(text: &str) -> Result<Self, TieSyntax> {
        let names: Vec<String> = text.split(',').map(|name| name.trim().into()).collect();
        if names.len() < 2 || names.iter().any(String::is_empty) {
            return Err(TieSyntax(text.into()));
        }
        Ok(Self(names))
    }
}

impl fmt::Display for Tie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// Constraints on the levels beyond a budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Levels that layers must have.
    pub pins: Vec<LayerLevel>,
    /// Levels that layers must not have.
    pub forbids: Vec<LayerLevel>,
    /// Layers that must have the same level.
    pub ties: Vec<Tie>,
}

/// Why rules cannot be obeyed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum RulesError {
    /// No layer has this name.
    #[error("there is no layer `{name}`")]
    #[diagnostic(help("the layers: {layers}"))]
    NoSuchLayer {
        /// The name.
        name: String,
        /// The names that there are.
        layers: String,
    },
    /// A layer that must have or must not have a level does not allow it.
    #[error("the rule for layer `{name}` cannot be obeyed")]
    #[diagnostic(help("levels of `{name}`: {levels}"))]
    Layer {
        /// The layer.
        name: String,
        /// The levels that it offers.
        levels: String,
        /// Why.
        source: RuleError,
    },
}

impl Rules {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pins.is_empty() && self.forbids.is_empty() && self.ties.is_empty()
    }

    /// Narrows the network's prices to what the rules allow: first what is forbidden, then the ties, then
    /// the pins. `names` are the layers'.
    ///
    /// # Errors
    /// [`RulesError`]; the network is then of no use.
    pub fn apply(&self, network: &mut HostNetwork, names: &[String]) -> Result<(), RulesError> {
        let find = |name: &str| {
            let layer = names.iter().position(|other| other == name);
            layer.ok_or_else(|| {
                let weighted = names.iter().zip(&network.prices.rows);
                let weighted = weighted.filter(|(_, row)| !row.is_empty());
                let weighted = weighted.map(|(name, _)| name.as_str());
                RulesError::NoSuchLayer {
                    name: name.into(),
                    layers: weighted.collect::<Vec<_>>().join(", "),
                }
            })
        };
        let single = |rules: &[LayerLevel]| -> Result<Vec<(Option<usize>, Level)>, RulesError> {
            let rules = rules.iter().map(|rule| {
                let layer = rule.layer.as_deref().map(find).transpose()?;
                Ok((layer, rule.level))
            });
            rules.collect()
        };
        let (pins, forbids) = (single(&self.pins)?, single(&self.forbids)?);
        let tied = |tie: &Tie| -> Result<Vec<usize>, RulesError> {
            tie.0.iter().map(|name| find(name)).collect()
        };
        let ties: Vec<Vec<usize>> = self.ties.iter().map(tied).collect::<Result<_, _>>()?;
        let obey = |network: &mut HostNetwork, layer: usize, done: Result<(), RuleError>| {
            done.map_err(|source| {
                let row = network.prices.rows[layer].iter();
                let levels = row.map(|item| item.level.name());
                RulesError::Layer {
                    name: names[layer].clone(),
                    levels: levels.collect::<Vec<_>>().join(", "),
                    source,
                }
            })
        };
        let offers = |network: &HostNetwork, layer: &usize, level: Level| {
            let mut row = network.prices.rows[*layer].iter();
            row.any(|item| item.level == level)
        };
        // a rule without a layer is one for all that offer the level
        let layers_of = |network: &HostNetwork, layer: Option<usize>, level: Level| {
            let all = 0..network.layers.len();
            match layer {
                Some(layer) => vec![layer],
                None => all.filter(|i| offers(network, i, level)).collect(),
            }
        };
        for (layer, level) in forbids {
            for layer in layers_of(network, layer, level) {
                let done = network.forbid(layer, level);
                obey(network, layer, done)?;
            }
        }
        for tie in ties {
            for pair in tie.windows(2) {
                let done = network.tie(pair[0], pair[1]);
                obey(network, pair[1], done)?;
            }
        }
        for (layer, level) in pins {
            for layer in layers_of(network, layer, level) {
                let done = network.pin(layer, level);
                obey(network, layer, done)?;
            }
        }
        Ok(())
    }
}

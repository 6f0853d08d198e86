//! Rules by the user: levels that layers must have, must not have, or have in common.
//!
//! A rule narrows the price matrix, so whatever plans from it obeys. The blocks section of an image is
//! laid out by the levels of its own network: rules go into a network before it is packed, or into a
//! copy of an image's network that is used to plan.

use core::fmt;

use heapless::Vec;

use crate::level::Level;
use crate::network::Network;
use crate::place::Cycles;
use crate::price::{PriceItem, PriceMatrix};

/// Why a rule cannot be obeyed; the network is then as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RuleError {
    /// The layer has no weights, hence no level; or there is no such layer.
    NoLevels {
        /// The layer.
        layer: usize,
    },
    /// The level is not among those of the layer.
    NoSuchLevel {
        /// The layer.
        layer: usize,
        /// The level.
        level: Level,
    },
    /// Without the level the layer has none left.
    LastLevel {
        /// The layer.
        layer: usize,
        /// The level.
        level: Level,
    },
    /// The layers have no level in common.
    NothingInCommon {
        /// The layers.
        layers: [usize; 2],
    },
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLevels { layer } => write!(f, "layer {layer} has no levels to choose from"),
            Self::NoSuchLevel { layer, level } => {
                write!(f, "layer {layer} does not offer the level {level}")
            }
            Self::LastLevel { layer, level } => {
                write!(f, "layer {layer} has no level left without {level}")
            }
            Self::NothingInCommon { layers: [a, b] } => {
                write!(f, "layers {a} and {b} have no level in common")
            }
        }
    }
}

impl core::error::Error for RuleError {}

/// One item of a layer and of those tied to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TiedItem {
    /// The sum of their bytes.
    pub bytes: u32,
    /// The sum of their prices.
    pub price: i64,
    /// The sums of their cycles.
    pub cycles: Cycles,
}

impl<const N: usize, const K: usize> PriceMatrix<N, K> {
    /// The first of the layers that always have this one's level; the layer itself where no other does.
    #[must_use]
    pub fn leader(&self, layer: usize) -> usize {
        let tie = self.ties.iter().find(|tie| usize::from(tie[1]) == layer);
        tie.map_or(layer, |tie| usize::from(tie[0]))
    }

    /// The layers whose leader this one is, in order.
    pub fn followers(&self, leader: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.rows.len()).filter(move |layer| self.leader(*layer) == leader)
    }

    /// Item `at` of all layers that follow `leader`: the sums of their bytes, prices and cycles.
    #[must_use]
    pub(crate) fn tied_item(&self, leader: usize, at: usize) -> TiedItem {
        let items = self.followers(leader);
        let items = items.filter_map(|layer| self.rows[layer].get(at));
        items.fold(TiedItem::default(), |sum, item| TiedItem {
            bytes: sum.bytes + item.bytes,
            price: sum.price + i64::from(item.price),
            cycles: Cycles {
                flash: sum.cycles.flash + item.cycles.flash,
                ram: sum.cycles.ram + item.cycles.ram,
            },
        })
    }

    /// Makes all prices smaller, and the unit larger, until the prices of tied layers together are in
    /// range.
    fn rescale(&mut self) {
        let in_range = |prices: &Self| {
            (0..prices.rows.len()).all(|leader| {
                (0..K).all(|at| {
                    let price = prices.tied_item(leader, at).price;
                    price.unsigned_abs() <= Self::MAX_PRICE.unsigned_abs().into()
                })
            })
        };
        while !in_range(self) {
            self.unit *= 2.0;
            for item in self.rows.iter_mut().flatten() {
                item.price /= 2;
            }
        }
    }
}

impl<const N: usize, const K: usize> Network<N, K> {
    /// Gives a layer, and those tied to it, no other level than this.
    ///
    /// # Errors
    /// [`RuleError::NoLevels`], [`RuleError::NoSuchLevel`].
    pub fn pin(&mut self, layer: usize, level: Level) -> Result<(), RuleError> {
        self.item(layer, level)?;
        self.keep(layer, |item| item.level == level);
        Ok(())
    }

    /// Takes a level away from a layer and those tied to it.
    ///
    /// # Errors
    /// [`RuleError::NoLevels`], [`RuleError::NoSuchLevel`], [`RuleError::LastLevel`].
    pub fn forbid(&mut self, layer: usize, level: Level) -> Result<(), RuleError> {
        self.item(layer, level)?;
        if self.prices.rows[layer].len() == 1 {
            return Err(RuleError::LastLevel { layer, level });
        }
        self.keep(layer, |item| item.level != level);
        Ok(())
    }

    /// Makes two layers, and those tied to either, have the same level: one of those that all of them
    /// offer.
    ///
    /// # Errors
    /// [`RuleError::NoLevels`], [`RuleError::NothingInCommon`].
    pub fn tie(&mut self, first: usize, second: usize) -> Result<(), RuleError> {
        for layer in [first, second] {
            self.levels(layer)?;
        }
        let leaders = [first, second].map(|layer| self.prices.leader(layer));
        let (leader, other) = (leaders[0].min(leaders[1]), leaders[0].max(leaders[1]));
        if leader == other {
            return Ok(());
        }
        let rows = &self.prices.rows;
        let in_both = |item: &&PriceItem| rows[other].iter().any(|own| own.level == item.level);
        let common = rows[leader].iter().filter(in_both);
        let common: Vec<Level, K> = common.map(|item| item.level).collect();
        if common.is_empty() {
            let layers = [first, second];
            return Err(RuleError::NothingInCommon { layers });
        }
        for tie in &mut self.prices.ties {
            if usize::from(tie[0]) == other {
                tie[0] = leader as u16;
            }
        }
        // every layer but a leader is in one tie: there is room
        let _ = self.prices.ties.push([leader as u16, other as u16]);
        for layer in 0..self.prices.rows.len() {
            if self.prices.leader(layer) == leader {
                let row = &self.prices.rows[layer];
                let item = |level: &Level| row.iter().find(|item| item.level == *level).copied();
                self.prices.rows[layer] = common.iter().filter_map(item).collect();
            }
        }
        self.prices.rescale();
        Ok(())
    }

    fn levels(&self, layer: usize) -> Result<&[PriceItem], RuleError> {
        let row = self.prices.rows.get(layer).filter(|row| !row.is_empty());
        row.map(|row| &row[..]).ok_or(RuleError::NoLevels { layer })
    }

    fn item(&self, layer: usize, level: Level) -> Result<&PriceItem, RuleError> {
        let mut items = self.levels(layer)?.iter();
        let item = items.find(|item| item.level == level);
        item.ok_or(RuleError::NoSuchLevel { layer, level })
    }

    /// Drops the other items of a layer and of those tied to it.
    fn keep(&mut self, layer: usize, keep: impl Fn(&PriceItem) -> bool) {
        let leader = self.prices.leader(layer);
        for layer in 0..self.prices.rows.len() {
            if self.prices.leader(layer) == leader {
                self.prices.rows[layer].retain(&keep);
            }
        }
    }
}

//! Layouts: one level for every layer, with what it takes and what it is predicted to cost.

use bitbudget_core::arena::Lifetimes;
use bitbudget_core::level::Level;
use bitbudget_core::plan::Limits;
use bitbudget_core::price::PriceItem;

use crate::capacity::{HostNetwork, MAX_LAYERS};
use crate::random::Random;

/// A level for every layer, `fp32` for those without weights.
pub type Layout = Vec<Level>;

/// The place of a level among all, widest first.
pub(crate) fn rank(level: Level) -> usize {
    let wider = Level::ALL.iter().take_while(|other| **other != level);
    wider.count()
}

/// The layout of a plan's levels.
#[must_use]
pub fn layout_of(levels: &[Option<Level>]) -> Layout {
    levels.iter().map(|l| l.unwrap_or(Level::Fp32)).collect()
}

/// `count` layouts, every layer at any of its levels with equal probability.
#[must_use]
pub fn random_layouts(network: &HostNetwork, count: usize, seed: u64) -> Vec<Layout> {
    let mut random = Random::new(seed);
    let mut below = |n: usize| (random.bits() % n as u64) as usize;
    let mut layout = || {
        let rows = network.prices.rows.iter();
        let level = |row: &heapless::Vec<PriceItem, _>| match row.len() {
            0 => Level::Fp32,
            len => row[below(len)].level,
        };
        rows.map(level).collect()
    };
    (0..count).map(|_| layout()).collect()
}

/// The number of layouts.
#[must_use]
pub fn layout_count(network: &HostNetwork) -> u128 {
    let rows = network.prices.rows.iter();
    let counts = rows.map(|row| row.len().max(1) as u128);
    counts.fold(1, u128::saturating_mul)
}

/// Every layout there is.
#[must_use]
pub fn all_layouts(network: &HostNetwork) -> Vec<Layout> {
    let mut layouts: Vec<Layout> = vec![Vec::new()];
    for row in &network.prices.rows {
        let mut levels: Vec<Level> = row.iter().map(|item| item.level).collect();
        if levels.is_empty() {
            levels.push(Level::Fp32);
        }
        let longer = |layout: &Layout| {
            let with = |level: &Level| [layout.as_slice(), &[*level]].concat();
            levels.iter().map(with).collect::<Vec<_>>()
        };
        layouts = layouts.iter().flat_map(longer).collect();
    }
    layouts
}

/// Bytes of resident weights, and the predicted change of the loss, of a layout of the network's
/// levels.
#[must_use]
pub fn bytes_and_price(network: &HostNetwork, layout: &[Level]) -> (u64, f64) {
    let rows = network.prices.rows.iter().zip(layout);
    let items = rows.filter_map(|(row, level)| row.iter().find(|item| item.level == *level));
    let sum = |(bytes, price), item: &PriceItem| {
        (bytes + u64::from(item.bytes), price + i64::from(item.price))
    };
    let (bytes, price) = items.fold((0, 0), sum);
    (bytes, network.prices.to_loss(price))
}

/// The memory of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// Bytes of resident weights.
    pub weights: u64,
    /// Bytes of the smallest activation arena.
    pub arena: u64,
}

impl Bytes {
    /// The bytes of a layout.
    #[must_use]
    pub fn of(network: &HostNetwork, lifetimes: &Lifetimes<MAX_LAYERS>, layout: &[Level]) -> Self {
        Self {
            weights: bytes_and_price(network, layout).0,
            arena: lifetimes.smallest(&network.forms(layout)).1.bytes().into(),
        }
    }

    /// Whether they are within limits, with the weights in RAM; cycles are not looked at.
    #[must_use]
    pub fn fit(&self, limits: &Limits) -> bool {
        let within = |amount: u64, limit: Option<u64>| limit.is_none_or(|limit| amount <= limit);
        within(self.weights + self.arena, limits.ram_bytes)
            && within(self.weights, limits.weight_bytes)
    }
}

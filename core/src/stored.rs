//! Optimal plans in the image: a device that cannot afford a search looks its plan up.
//!
//! The plans stand by rising bytes and falling price: each is optimal for all budgets from its own
//! bytes in all up to those of the next, with the weights in RAM and the smallest arena. They are postcard: their number (`u16`), and for each plan the
//! difference from the one before (the first: from the first item of every layer and no bytes): bytes
//! more (`u32`), number of items that are others (`u16`), and layer (`u16`) and item (`u8`) of those.

use heapless::Vec;

use crate::arena::Lifetimes;
use crate::level::Level;
use crate::mckp::Status;
use crate::network::Network;
use crate::place::Place;
use crate::plan::{Limits, LimitsTooSmall, Plan};

/// The optimal plans that an image carries.
#[derive(Clone, Copy, Debug)]
pub struct StoredPlans<'a, const N: usize, const K: usize> {
    network: &'a Network<N, K>,
    count: u16,
    records: &'a [u8],
}

/// One plan on the way through the records.
struct Walk<'a, const N: usize, const K: usize> {
    network: &'a Network<N, K>,
    items: Vec<u8, N>,
    total: u64,
    left: u16,
    rest: &'a [u8],
}

impl<'a, const N: usize, const K: usize> StoredPlans<'a, N, K> {
    /// The plans in an image's section, if it has some; `Err` where it is malformed.
    pub(crate) fn parse(network: &'a Network<N, K>, section: &'a [u8]) -> Result<Option<Self>, ()> {
        if section.is_empty() {
            return Ok(None);
        }
        let (count, records) = postcard::take_from_bytes(section).map_err(|_| ())?;
        let plans = Self {
            network,
            count,
            records,
        };
        Ok((count > 0).then_some(plans))
    }

    /// Whether every record can be read and is of a plan, by rising bytes, and nothing but zeros follows
    /// (fewer than four).
    pub(crate) fn is_sound(&self) -> bool {
        let mut walk = self.walk();
        let mut before = 0;
        while walk.left > 0 {
            if walk.step(u64::MAX).is_none() || walk.total <= before || !walk.is_plan() {
                return false;
            }
            before = walk.total;
        }
        walk.rest.len() < 4 && walk.rest.iter().all(|byte| *byte == 0)
    }

    const fn walk(&self) -> Walk<'a, N, K> {
        Walk {
            network: self.network,
            items: Vec::new(),
            total: 0,
            left: self.count,
            rest: self.records,
        }
    }

    /// The number of plans.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count as usize
    }

    /// The plan of least price that takes at most `bytes` of RAM in all, in the schedule of fewest turns.
    ///
    /// # Errors
    /// [`LimitsTooSmall`] with the least that would do.
    pub fn within(&self, bytes: u64) -> Result<Plan<N>, LimitsTooSmall> {
        let mut walk = self.walk();
        while walk.step(bytes).is_some() {}
        if walk.left < self.count {
            return Ok(walk.plan(bytes));
        }
        // the first plan takes the fewest
        let _ = walk.step(u64::MAX);
        Err(LimitsTooSmall {
            limits: Limits::ram(bytes),
            smallest: Limits::ram(walk.total),
            proven: true,
        })
    }
}

impl<const N: usize, const K: usize> Walk<'_, N, K> {
    /// Goes on to the next plan if there is one and it takes at most `bytes`.
    fn step(&mut self, bytes: u64) -> Option<()> {
        let left = self.left.checked_sub(1)?;
        let ((more, changes), mut rest): ((u32, u16), _) =
            postcard::take_from_bytes(self.rest).ok()?;
        let total = self.total + u64::from(more);
        if total > bytes {
            return None;
        }
        if self.items.is_empty() {
            self.items.resize(self.network.layers.len(), 0).ok()?;
        }
        for _ in 0..changes {
            let ((layer, item), after): ((u16, u8), _) = postcard::take_from_bytes(rest).ok()?;
            *self.items.get_mut(usize::from(layer))? = item;
            rest = after;
        }
        (self.total, self.left, self.rest) = (total, left, rest);
        Some(())
    }

    /// The items of the layers with levels.
    fn chosen(&self) -> impl Iterator<Item = Option<&crate::price::PriceItem>> {
        let rows = self.network.prices.rows.iter().zip(&self.items);
        let rows = rows.filter(|(row, _)| !row.is_empty());
        rows.map(|(row, item)| row.get(usize::from(*item)))
    }

    fn is_plan(&self) -> bool {
        let weights = self.chosen().flatten().map(|item| u64::from(item.bytes));
        let arena = self.total.checked_sub(weights.sum());
        arena.is_some_and(|arena| u32::try_from(arena).is_ok())
            && self.chosen().all(|item| item.is_some())
    }

    /// The plan, in `bytes` of RAM.
    fn plan(&self, bytes: u64) -> Plan<N> {
        let weights = self.chosen().flatten().map(|item| u64::from(item.bytes));
        let weights: u64 = weights.sum();
        let most = bytes.saturating_sub(weights).min(u32::MAX.into()) as u32;
        let rows = self.network.prices.rows.iter().zip(&self.items);
        let level = rows.map(|(row, item)| row.get(usize::from(*item)).map(|item| item.level));
        let levels: Vec<Option<Level>, N> = level.collect();
        let place = |level: &Option<Level>| match level {
            Some(_) => Place::Ram,
            None => Place::Flash,
        };
        let places = levels.iter().map(place).collect();
        let forms = self.network.least_forms(|layer| {
            let level = levels[layer].unwrap_or(Level::Fp32);
            Some(level.input_form())
        });
        let lifetimes = Lifetimes::new(self.network);
        let scheduled = lifetimes.within(&forms, most);
        let (schedule, placement) = scheduled.unwrap_or_else(|| lifetimes.smallest(&forms));
        Plan {
            status: Status::Optimal,
            turns: lifetimes.turns(&schedule),
            ..Plan::of(self.network, levels, places, (schedule, placement.bytes()))
        }
    }
}

/// Writes plans, by rising bytes in all, into `buffer`; the length, or `None` where it is too short or
/// there are more than 65,535.
pub(crate) fn write<const N: usize, const K: usize>(
    network: &Network<N, K>,
    plans: &[Plan<N>],
    buffer: &mut [u8],
) -> Option<usize> {
    let mut end = put(&u16::try_from(plans.len()).ok()?, buffer, 0)?;
    let mut items: Vec<u8, N> = network.layers.iter().map(|_| 0).collect();
    let mut total = 0;
    for plan in plans {
        let place = |layer: usize| {
            let level = plan.levels.get(layer).copied().flatten();
            let mut row = network.prices.rows[layer].iter();
            row.position(|item| Some(item.level) == level)
                .unwrap_or_default() as u8
        };
        let changed = |items: &[u8], layer: &usize| items[*layer] != place(*layer);
        let layers = 0..network.layers.len();
        let changes = layers
            .clone()
            .filter(|layer| changed(&items, layer))
            .count();
        let more = plan.ram_bytes().checked_sub(total)?;
        end = put(&(u32::try_from(more).ok()?, changes as u16), buffer, end)?;
        for layer in layers {
            if changed(&items, &layer) {
                items[layer] = place(layer);
                end = put(&(layer as u16, items[layer]), buffer, end)?;
            }
        }
        total = plan.ram_bytes();
    }
    Some(end)
}

fn put<T: serde::Serialize>(value: &T, buffer: &mut [u8], end: usize) -> Option<usize> {
    let written = postcard::to_slice(value, buffer.get_mut(end..)?).ok()?;
    Some(end + written.len())
}

//! Bytes of an image, by what it stores ([`bitbudget_core::image`]).

use bitbudget_core::image::{CRC_BYTES, HEADER_BYTES};
use bitbudget_core::level::{Level, WeightFormat};
use bitbudget_core::network::tables_bytes;
use bitbudget_core::price::PriceItem;
use serde::Serialize;

use crate::capacity::{HostNetwork, HostPlan, MAX_LEVELS};

/// Some items of a layer, by bit.
pub type Items = u16;

const _: () = assert!(MAX_LEVELS <= Items::BITS as usize);

/// One item of a layer, and of those tied to it.
#[derive(Clone, Copy, Debug)]
struct Stored {
    format: WeightFormat,
    /// Bytes in the network section.
    record: u32,
    /// Bytes of the block; items of one format share it.
    block: u32,
}

/// What every item of a network takes of an image without stored plans.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// By layer; none for those that are tied to an earlier one.
    items: Vec<Vec<Stored>>,
    /// Bytes of the network and names sections without items, and of the tables.
    rest: u64,
}

/// Bytes of the header and the checksum.
const FRAME: u64 = (HEADER_BYTES + CRC_BYTES) as u64;

impl Sizes {
    /// The sizes of a network whose layers have these names.
    #[must_use]
    pub fn of(network: &HostNetwork, names: &[String]) -> Self {
        let prices = &network.prices;
        let has_cycles = prices.has_cycles();
        let record = |item: &PriceItem| {
            let cycles = if has_cycles { len(&item.cycles) } else { 0 };
            len(item) + cycles
        };
        let stored = |leader: usize, at: usize| {
            let rows = prices.followers(leader).map(|layer| &prices.rows[layer]);
            rows.fold((0, 0), |(records, blocks), row| {
                (records + record(&row[at]), blocks + row[at].bytes)
            })
        };
        let row = |(leader, row): (usize, &heapless::Vec<PriceItem, MAX_LEVELS>)| {
            if prices.leader(leader) != leader {
                return Vec::new();
            }
            let of = |(at, item): (usize, &PriceItem)| {
                let (record, block) = stored(leader, at);
                let format = item.level.weight_format();
                Stored {
                    format,
                    record,
                    block,
                }
            };
            row.iter().enumerate().map(of).collect()
        };
        let items = prices.rows.iter().enumerate().map(row).collect();
        let mut bare = Box::new(network.clone());
        bare.prices.rows.iter_mut().for_each(|row| row.clear());
        let names = names.iter().map(len);
        let tables = tables_bytes(&network.layers);
        Self {
            items,
            rest: u64::from(len(&*bare) + names.sum::<u32>()) + tables as u64,
        }
    }

    /// Bytes of some items of a layer and of those tied to it, with their blocks.
    #[must_use]
    pub fn layer(&self, layer: usize, items: Items) -> u32 {
        let stored = || {
            let all = self.items[layer].iter().enumerate();
            all.filter_map(move |(at, stored)| (items >> at & 1 == 1).then_some(stored))
        };
        let records = stored().map(|item| item.record).sum::<u32>();
        let block = |format| stored().find(|item| item.format == format);
        let blocks = WeightFormat::ALL.into_iter().filter_map(block);
        records + blocks.map(|item| item.block).sum::<u32>()
    }

    /// Bytes of an image with these items of every layer.
    #[must_use]
    pub fn image(&self, items: &[Items]) -> u64 {
        let layers = items.iter().enumerate();
        let stored = layers.map(|(layer, items)| u64::from(self.layer(layer, *items)));
        // blocks take multiples of four, the sections before them are padded together
        FRAME + (self.rest + stored.sum::<u64>()).next_multiple_of(4)
    }

    /// The most bytes that items and blocks may take so that an image has at most `bytes`.
    #[must_use]
    pub fn room(&self, bytes: u64) -> Option<u64> {
        let sections = bytes.checked_sub(FRAME)? / 4 * 4;
        sections.checked_sub(self.rest)
    }
}

/// The item that a plan has of every layer, as [`Sizes::image`] takes it; none where there is none, and of layers
/// that are tied to an earlier one.
#[must_use]
pub fn items_of(network: &HostNetwork, plan: &HostPlan) -> Vec<Items> {
    let prices = &network.prices;
    let item = |(layer, level): (usize, &Option<Level>)| {
        let mut row = prices.rows[layer].iter();
        let at = row.position(|item| Some(item.level) == *level);
        let at = at.filter(|_| prices.leader(layer) == layer);
        at.map_or(0, |at| 1 << at)
    };
    plan.levels.iter().enumerate().map(item).collect()
}

/// The length of a value in postcard.
fn len<T: Serialize + ?Sized>(value: &T) -> u32 {
    // nothing of an image refuses to be serialized
    postcard::to_stdvec(value).map_or(0, |bytes| bytes.len()) as u32
}

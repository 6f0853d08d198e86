//! What an image's layers take on a board, at every level and place.
//!
//! A layer at a level is measured with all layers at that level, or the nearest that they offer; where the
//! board has no room for these in RAM, with all others at their smallest.

use std::io::{Read, Write};

use bitbudget_core::engine::{EngineError, Input};
use bitbudget_core::level::Level;
use bitbudget_core::place::{Cycles, Place};
use bitbudget_core::protocol::Refusal;

use super::{Bench, BenchError, NoRoom, items_near, random_sample};
use crate::capacity::{HostImage, HostNetwork};
use crate::device::{DeviceError, Sample};

/// A network with the cycles that a board takes.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The image's network with the measured cycles in its price matrix.
    pub network: Box<HostNetwork>,
    /// What could not be measured at a place, and has the cycles of the other.
    pub unmeasured: Vec<Unmeasured>,
    /// Whether the board has the image linked into its program, and so in flash if it has any.
    pub linked: bool,
}

/// A layer at a level that could not be measured at a place: in RAM the board has no room for its weights,
/// in flash it cannot read them in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmeasured {
    /// The layer.
    pub layer: usize,
    /// The level.
    pub level: Level,
    /// The place.
    pub place: Place,
}

/// What a place came to.
#[derive(Clone, Debug)]
enum Counted {
    /// The counts of all layers.
    Layers(Vec<u64>),
    /// The board has too little RAM.
    NoRoom(NoRoom),
    /// The board cannot read weights there.
    NotMapped,
}

/// A layout at both places.
#[derive(Clone, Debug)]
struct Pair {
    flash: Counted,
    ram: Counted,
}

impl Counted {
    fn layer(&self, layer: usize) -> Option<u64> {
        match self {
            Self::Layers(counts) => counts.get(layer).copied(),
            Self::NoRoom(_) | Self::NotMapped => None,
        }
    }
}

impl<P: Read + Write> Bench<P> {
    /// An image's network with what its layers take on the board, at each of their levels and both places.
    /// `bytes` are the image's; without a `sample`, one of random bytes is run; `progress` is told how many
    /// bytes are sent.
    ///
    /// # Errors
    /// [`BenchError`]; [`BenchError::NoRoom`] where the board cannot run a layer at a level at all.
    pub fn measure(
        &mut self,
        image: &HostImage<'_>,
        bytes: &[u8],
        sample: Option<Input<'_>>,
        progress: &dyn Fn(usize),
    ) -> Result<Measured, BenchError> {
        let network = image.network();
        let linked = self.load(image, bytes, progress)?;
        let sample = sample.map_or_else(|| random_sample(network), Sample::from);
        let mut measured = Measured {
            network: Box::new(network.clone()),
            unmeasured: Vec::new(),
            linked,
        };
        for level in Level::ALL {
            let offers = |layer: &usize| network.item_at(*layer, Some(level)).is_some();
            let layers: Vec<usize> = (0..network.layers.len()).filter(offers).collect();
            if layers.is_empty() {
                continue;
            }
            let all = self.pair(network, &items_near(network, level), &sample)?;
            for layer in layers {
                let pair = match &all.ram {
                    Counted::Layers(_) | Counted::NotMapped => all.clone(),
                    Counted::NoRoom(_) => {
                        let alone =
                            self.pair(network, &items_alone(network, layer, level), &sample)?;
                        match (&alone.ram, &all.flash) {
                            // flash alone: of the two layouts the one like the other levels'
                            (Counted::NoRoom(_), Counted::Layers(_)) => all.clone(),
                            _ => alone,
                        }
                    }
                };
                self.enter(image, &mut measured, (layer, level), &pair)?;
            }
        }
        Ok(measured)
    }

    /// A layout's counts, with all weights in flash and with all in RAM.
    fn pair(
        &mut self,
        network: &HostNetwork,
        items: &[u8],
        sample: &Sample,
    ) -> Result<Pair, BenchError> {
        Ok(Pair {
            flash: self.counted(network, Place::Flash, items, sample)?,
            ram: self.counted(network, Place::Ram, items, sample)?,
        })
    }

    fn counted(
        &mut self,
        network: &HostNetwork,
        place: Place,
        items: &[u8],
        sample: &Sample,
    ) -> Result<Counted, BenchError> {
        match self.choose(place, items) {
            Ok(Ok(_)) => {}
            Ok(Err(no_room)) => return Ok(Counted::NoRoom(no_room)),
            Err(BenchError::Device(DeviceError::Refused(Refusal::Engine(
                EngineError::NotMapped,
            )))) => return Ok(Counted::NotMapped),
            Err(error) => return Err(error),
        }
        let steps = self.steps_of(network, sample)?;
        let layers = steps.iter().skip(1).map(|step| step.instructions);
        Ok(Counted::Layers(layers.collect()))
    }

    /// Gives an item what was counted; a place without a count has that of the other.
    fn enter(
        &self,
        image: &HostImage<'_>,
        measured: &mut Measured,
        (layer, level): (usize, Level),
        pair: &Pair,
    ) -> Result<(), BenchError> {
        let name = || image.name(layer).to_owned();
        let (flash, ram) = (pair.flash.layer(layer), pair.ram.layer(layer));
        let missing = match (flash, ram) {
            (Some(_), Some(_)) => None,
            (Some(_), None) => Some(Place::Ram),
            (None, _) => Some(Place::Flash),
        };
        let place = missing.map(|place| Unmeasured {
            layer,
            level,
            place,
        });
        measured.unmeasured.extend(place);
        let known = flash
            .or(ram)
            .ok_or_else(|| self.no_room(name(), level, pair))?;
        let cycles = |count: Option<u64>| {
            let count = count.unwrap_or(known);
            u32::try_from(count).map_err(|_| BenchError::TooLong {
                layer: name(),
                level,
                count,
            })
        };
        let cycles = Cycles {
            flash: cycles(flash)?,
            ram: cycles(ram)?,
        };
        let mut items = measured.network.prices.rows[layer].iter_mut();
        if let Some(item) = items.find(|item| item.level == level) {
            item.cycles = cycles;
        }
        Ok(())
    }

    /// Why neither place has a count.
    fn no_room(&self, layer: String, level: Level, pair: &Pair) -> BenchError {
        let least = [&pair.flash, &pair.ram]
            .into_iter()
            .find_map(|counted| match counted {
                Counted::NoRoom(no_room) => Some(*no_room),
                Counted::Layers(_) | Counted::NotMapped => None,
            });
        let (needed_bytes, arena_bytes) =
            least.map_or((0, 0), |least| (least.needed_bytes, least.arena_bytes));
        BenchError::NoRoom {
            layer,
            level,
            needed_bytes,
            arena_bytes,
            board: self.board.clone(),
        }
    }
}

/// The items with which a layer, and those tied to it, are at a level, and all others at their smallest.
fn items_alone(network: &HostNetwork, layer: usize, level: Level) -> Vec<u8> {
    let prices = &network.prices;
    let near = items_near(network, level);
    let mut smallest: Vec<u8> = prices
        .rows
        .iter()
        .map(|row| {
            let items = row.iter().enumerate();
            let least = items.min_by_key(|(_, item)| item.bytes);
            least.map_or(0, |(at, _)| at as u8)
        })
        .collect();
    for tied in prices.followers(prices.leader(layer)) {
        smallest[tied] = near[tied];
    }
    smallest
}

#[cfg(test)]
mod tests {
    use bitbudget_core::quant::{Rounding, Width};

    use super::super::cases;
    use super::*;

    #[test]
    fn a_layer_is_alone_with_those_tied_to_it() {
        let bytes = cases::network().image().expect("an image");
        let image = HostImage::parse(&bytes).expect("an image");
        let mut network = Box::new(image.network().clone());
        network.prices.ties.push([2, 4]).expect("room");
        let [fp32, int8, int2] = [
            Level::Fp32,
            Level::Int(Width::Int8, Rounding::Nearest),
            Level::Int(Width::Int2, Rounding::Nearest),
        ];
        let levels = |items: &[u8]| network.levels_at(items);
        let alone = levels(&items_alone(&network, 4, fp32));
        for (layer, level) in alone.iter().enumerate() {
            let expected = match layer {
                2 | 4 => Some(fp32),
                7 => None,
                _ => Some(int2),
            };
            assert_eq!(*level, expected, "layer {layer}");
        }
        network.prices.rows[3].retain(|item| item.level != int8);
        let near = network.levels_at(&items_near(&network, int8));
        let fp16 = Some(Level::Fp16);
        assert_eq!(near[2..4], [Some(int8), fp16]);
    }
}

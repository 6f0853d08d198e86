//! Boards: what a microcontroller's memories hold, and what reading weights from them takes.
//!
//! A board is a TOML file. Those that the program knows lie in `host/boards`; another's can be as short as
//!
//! ```toml
//! name = "my-board"
//! core = "Cortex-M4F"
//! cycle_model = "cortex-m4" # left out where no model fits: cycles are unknown then
//! clock_hz = 84_000_000
//! flash = { bytes = 524_288, cycles_per_word = 0.75 }
//! ram = { bytes = 98_304, cycles_per_word = 0 }
//! ```
//!
//! A figure is a number, or a table of its `value` and its `source`. `title` says more than the name. The RAM
//! is the longest contiguous one that an arena can lie in. `cycles_per_word` is the time that a 32-bit word of
//! constant weights takes in excess of a memory without wait states, in cycles of the core, a decimal
//! number: weights are read in order, so that what a cache line takes is divided by its words. No word is
//! taken to be cached from one pass over the weights to the next, and the program itself is taken to run
//! without waiting.

mod error;
mod figure;

use std::path::Path;
use std::str;

use bitbudget_core::level::Level;
use bitbudget_core::network::{Layer, Network};
use bitbudget_core::place::{Cycles, Place};
use bitbudget_core::price::PriceItem;
use serde::{Deserialize, Serialize};

use crate::file;
use crate::latency::{self, Core, weight_words};
pub use error::{BoardError, CyclesError, NoCycleModel};
pub use figure::Figure;

/// The names and files of the boards that the program knows.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../boards/", $name, ".toml")))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "nucleo-f446re",
    "nucleo-h743zi",
    "nucleo-l476rg",
    "nrf52840-dk",
    "raspberry-pi-pico",
    "pico-2",
    "esp32-c3",
    "mps2-an383",
    "mps2-an385",
    "mps2-an386",
    "mps2-an500",
    "mps2-an505",
    "riscv32-virt",
];

/// A board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// The name in commands.
    #[serde(deserialize_with = "figure::name")]
    pub name: String,
    /// The name in full; may be empty.
    #[serde(default)]
    pub title: String,
    /// The core's name.
    #[serde(deserialize_with = "figure::name")]
    pub core: String,
    /// The model of the core's cycles; `None` where none fits.
    #[serde(default)]
    pub cycle_model: Option<Core>,
    /// The core's clock, from 1 kHz to 10 GHz.
    #[serde(deserialize_with = "figure::hertz")]
    pub clock_hz: Figure<u64>,
    /// The mapped memory that an image lies in.
    pub flash: Memory,
    /// The memory that an arena lies in.
    pub ram: Memory,
}

/// A memory of a board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The size, at most 4 GiB.
    #[serde(deserialize_with = "figure::bytes")]
    pub bytes: Figure<u64>,
    /// Cycles of a 32-bit word of constant weights, in excess of a memory without wait states; from 0 to
    /// 10,000.
    #[serde(deserialize_with = "figure::cycles")]
    pub cycles_per_word: Figure<f64>,
}

impl Board {
    /// The names of the boards that the program knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FILES.iter().map(|(name, _)| *name)
    }

    /// The boards that the program knows.
    ///
    /// # Errors
    /// None: the files are the program's own.
    pub fn all() -> Result<Vec<Self>, BoardError> {
        let boards = FILES.iter();
        let boards = boards.map(|(name, text)| Self::parse(Path::new(name), text));
        boards.collect()
    }

    /// The board of this name that the program knows.
    ///
    /// # Errors
    /// [`BoardError::Unknown`].
    pub fn named(name: &str) -> Result<Self, BoardError> {
        let found = FILES.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| BoardError::Unknown {
            name: name.to_owned(),
            known: Self::names().collect(),
        })?;
        Self::parse(Path::new(name), text)
    }

    /// The board in a file.
    ///
    /// # Errors
    /// [`BoardError::File`]; [`BoardError::Malformed`] with the first fault.
    pub fn load(path: &Path) -> Result<Self, BoardError> {
        let bytes = file::read(path)?;
        let text = str::from_utf8(&bytes).map_err(|_| BoardError::Malformed {
            path: path.into(),
            line: 1,
            key: String::new(),
            reason: "it is not a text".to_owned(),
        })?;
        Self::parse(path, text)
    }

    /// The board that a command's argument names: one that the program knows, else one in a file.
    ///
    /// # Errors
    /// [`BoardError`]; [`BoardError::Unknown`] where the argument does not look like a file.
    pub fn find(name_or_path: &str) -> Result<Self, BoardError> {
        let path = Path::new(name_or_path);
        let is_path = || {
            let has_folder = path.components().count() > 1;
            has_folder || path.extension().is_some_and(|it| it == "toml") || path.exists()
        };
        match Self::named(name_or_path) {
            Err(BoardError::Unknown { .. }) if is_path() => Self::load(path),
            found => found,
        }
    }

    /// The board in the text of a file that was read from `path`.
    ///
    /// # Errors
    /// [`BoardError::Malformed`] with the first fault.
    pub fn parse(path: &Path, text: &str) -> Result<Self, BoardError> {
        let malformed = |key: String, error: &toml::de::Error| {
            let end = error.span().map_or(text.len(), |span| span.start);
            let before = text.as_bytes().get(..end).unwrap_or_default();
            BoardError::Malformed {
                path: path.into(),
                line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
                key,
                reason: error.message().to_owned(),
            }
        };
        let document = toml::Deserializer::parse(text);
        let document = document.map_err(|error| malformed(String::new(), &error))?;
        serde_path_to_error::deserialize(document).map_err(|error| {
            let key = error.path().to_string();
            let is_whole = key == "." || key.contains('?');
            malformed(if is_whole { String::new() } else { key }, error.inner())
        })
    }

    /// The memory of a place.
    #[must_use]
    pub const fn memory(&self, place: Place) -> &Memory {
        match place {
            Place::Ram => &self.ram,
            Place::Flash => &self.flash,
        }
    }

    /// The cycles that a layer of a network takes at a level, with its weights in a place: those of the core,
    /// and the time that it waits for weights.
    ///
    /// # Errors
    /// [`NoCycleModel`] where the board has none.
    pub fn cycles<const N: usize, const K: usize>(
        &self,
        network: &Network<N, K>,
        layer: usize,
        level: Level,
        place: Place,
    ) -> Result<u64, NoCycleModel> {
        let core = self.core_model()?;
        Ok(self.cycles_with(core, network, layer, level, place))
    }

    /// As [`cycles`](Self::cycles), with a core's model.
    pub(crate) fn cycles_with<const N: usize, const K: usize>(
        &self,
        core: Core,
        network: &Network<N, K>,
        layer: usize,
        level: Level,
        place: Place,
    ) -> u64 {
        let Layer { op, output, .. } = &network.layers[layer];
        let input = network.input_shape(layer);
        let running = latency::instructions(op, input, *output, level).cycles(core);
        let words = weight_words(op, input, *output, level);
        let waiting = words * self.memory(place).cycles_per_word.value;
        (running + waiting).round() as u64
    }

    /// Gives every item of a network the cycles that its layer takes on this board.
    ///
    /// # Errors
    /// [`CyclesError`], with the network as it was.
    pub fn give_cycles<const N: usize, const K: usize>(
        &self,
        network: &mut Network<N, K>,
    ) -> Result<(), CyclesError> {
        let core = self.core_model()?;
        let of = |layer: usize, level: Level| {
            let at = |place| self.cycles_with(core, network, layer, level, place);
            [at(Place::Flash), at(Place::Ram)]
        };
        let rows = network.prices.rows.iter().enumerate();
        let row = |(layer, row): (usize, &heapless::Vec<PriceItem, K>)| -> Vec<[u64; 2]> {
            row.iter().map(|item| of(layer, item.level)).collect()
        };
        let rows: Vec<Vec<[u64; 2]>> = rows.map(row).collect();
        let slowest = |row: &Vec<[u64; 2]>| row.iter().flatten().copied().max().unwrap_or(0);
        let cycles = rows.iter().map(slowest).sum::<u64>();
        if u32::try_from(cycles).is_err() {
            let board = self.name.clone();
            return Err(CyclesError::TooMany { board, cycles });
        }
        let items = network.prices.rows.iter_mut().flatten();
        for (item, [flash, ram]) in items.zip(rows.into_iter().flatten()) {
            // in range: their sum is
            let (flash, ram) = (flash as u32, ram as u32);
            item.cycles = Cycles { flash, ram };
        }
        Ok(())
    }

    /// The model of the core's cycles.
    ///
    /// # Errors
    /// [`NoCycleModel`] where the board has none.
    pub fn core_model(&self) -> Result<Core, NoCycleModel> {
        self.cycle_model.ok_or_else(|| {
            let boards = Self::all().unwrap_or_default().into_iter();
            let modelled = boards.filter(|board| board.cycle_model.is_some());
            NoCycleModel {
                board: self.name.clone(),
                core: self.core.clone(),
                modelled: modelled.map(|board| board.name).collect(),
            }
        })
    }

    /// The time of so many cycles in milliseconds.
    #[must_use]
    pub fn milliseconds(&self, cycles: u64) -> f64 {
        1e3 * cycles as f64 / self.clock_hz.value as f64
    }
}

#[cfg(test)]
mod tests;

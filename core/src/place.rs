//! Where a layer's weights lie while it runs.

use serde::{Deserialize, Serialize};

/// Where the weights of a layer lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Place {
    /// They are copied to RAM.
    Ram,
    /// They are read where the image lies, which must be in memory; they take no RAM.
    Flash,
}

/// Where the layers of a plan may have their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Places {
    /// All of them in RAM.
    #[default]
    Ram,
    /// All of them in flash.
    Flash,
    /// Each where it is best: in RAM if that saves cycles and there is room, else in flash.
    Best,
}

/// Cycles of a layer at one level, by the place of its weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Cycles {
    /// With its weights in flash.
    pub flash: u32,
    /// With its weights in RAM.
    pub ram: u32,
}

impl Cycles {
    /// The cycles with the weights in this place.
    #[must_use]
    pub const fn at(self, place: Place) -> u32 {
        match place {
            Place::Ram => self.ram,
            Place::Flash => self.flash,
        }
    }
}

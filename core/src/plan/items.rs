//! The solver's items: levels, or levels and places.

use crate::place::Place;

/// What the items of the solver's groups stand for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Items {
    /// The levels of a layer, with the weights in this place.
    In(Place),
    /// The levels of a layer, each in flash and in RAM.
    Either,
}

impl Items {
    /// The number of items of a layer of so many levels.
    pub(super) const fn count(self, levels: usize) -> usize {
        match self {
            Self::In(_) => levels,
            Self::Either => 2 * levels,
        }
    }

    /// The level, by its place in its row, and the place of an item.
    pub(super) const fn of(self, item: usize) -> (usize, Place) {
        match self {
            Self::In(place) => (item, place),
            Self::Either if item.is_multiple_of(2) => (item / 2, Place::Flash),
            Self::Either => (item / 2, Place::Ram),
        }
    }

    /// The item of a level where it takes least RAM.
    pub(super) const fn smallest(self, level: u8) -> u8 {
        match self {
            Self::In(_) => level,
            Self::Either => 2 * level,
        }
    }
}

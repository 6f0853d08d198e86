//! Limits: what a plan may take.

use core::fmt;

use serde::{Deserialize, Serialize};

/// What a plan takes of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Measure {
    /// Bytes of all the RAM that the engine takes: blocks whose place is RAM, and the activation arena.
    Ram,
    /// Cycles of an inference, as the image knows them.
    Cycles,
    /// Bytes of the chosen blocks, wherever they lie.
    Weights,
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 3] = [Self::Ram, Self::Cycles, Self::Weights];
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ram => "bytes of RAM",
            Self::Cycles => "cycles",
            Self::Weights => "bytes of weights",
        })
    }
}

/// The most that a plan may take of each measure; `None`: anything.
///
/// ```
/// use bitbudget_core::Limits;
/// use bitbudget_core::plan::Measure;
///
/// let limits = Limits::ram(48 << 10).with(Measure::Cycles, 20_000_000);
/// assert_eq!(limits.cycles, Some(20_000_000));
/// assert_eq!(limits.to_string(), "49152 bytes of RAM and 20000000 cycles");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// Bytes of RAM.
    pub ram_bytes: Option<u64>,
    /// Cycles of an inference.
    pub cycles: Option<u64>,
    /// Bytes of the chosen blocks.
    pub weight_bytes: Option<u64>,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Self = Self {
        ram_bytes: None,
        cycles: None,
        weight_bytes: None,
    };

    /// At most so many bytes of RAM.
    #[must_use]
    pub const fn ram(bytes: u64) -> Self {
        Self::NONE.with(Measure::Ram, bytes)
    }

    /// At most so many bytes of weights.
    #[must_use]
    pub const fn weights(bytes: u64) -> Self {
        Self::NONE.with(Measure::Weights, bytes)
    }

    /// These limits with another one on this measure.
    #[must_use]
    pub const fn with(mut self, measure: Measure, amount: u64) -> Self {
        match measure {
            Measure::Ram => self.ram_bytes = Some(amount),
            Measure::Cycles => self.cycles = Some(amount),
            Measure::Weights => self.weight_bytes = Some(amount),
        }
        self
    }

    /// The limit on this measure.
    #[must_use]
    pub const fn get(&self, measure: Measure) -> Option<u64> {
        match measure {
            Measure::Ram => self.ram_bytes,
            Measure::Cycles => self.cycles,
            Measure::Weights => self.weight_bytes,
        }
    }

    /// The measures that are limited, in the order of [`Measure::ALL`], with their limits.
    pub fn iter(&self) -> impl Iterator<Item = (Measure, u64)> + '_ {
        let all = Measure::ALL.into_iter();
        all.filter_map(|measure| Some((measure, self.get(measure)?)))
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (measure, amount) in self.iter() {
            write!(f, "{separator}{amount} {measure}")?;
            separator = " and ";
        }
        match separator {
            "" => f.write_str("no limit"),
            _ => Ok(()),
        }
    }
}

/// No plan is within the limits, or none is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LimitsTooSmall {
    /// The limits.
    pub limits: Limits,
    /// For each measure that is limited, the least that a plan is known to take, whatever it takes of the
    /// others.
    pub smallest: Limits,
    /// With one limit: whether it is proven that no plan takes less than that. With several: whether it is
    /// proven that no plan is within all of them.
    pub proven: bool,
}

impl LimitsTooSmall {
    /// The limit of the first measure that is limited, and the least that is known of it.
    #[must_use]
    pub fn smallest(&self) -> Option<(Measure, u64)> {
        self.smallest.iter().next()
    }
}

impl fmt::Display for LimitsTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (no_layout, known) = match self.proven {
            true => ("no layout", ""),
            false => ("no layout that is known", " known"),
        };
        let (limits, smallest) = (self.limits, self.smallest);
        match smallest.iter().count() {
            0 | 1 => write!(
                f,
                "{no_layout} fits {limits}; the smallest{known} takes {smallest}"
            ),
            _ => write!(
                f,
                "{no_layout} fits {limits}; the least{known} of each by itself is {smallest}"
            ),
        }
    }
}

impl core::error::Error for LimitsTooSmall {}

/// A planner has no room for a plan of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CapacityError {
    /// More measures are limited.
    Limits {
        /// How many are.
        found: u8,
        /// How many can be.
        limit: u8,
    },
    /// A layer has more items: with a limit on cycles and free places its levels count twice.
    Items {
        /// The layer.
        layer: u16,
        /// Its items.
        found: u16,
        /// How many it may have.
        limit: u16,
    },
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limits { found, limit } => {
                write!(f, "{found} limits at once, a plan keeps to {limit}")
            }
            Self::Items {
                layer,
                found,
                limit,
            } => write!(
                f,
                "layer {layer} has {found} levels in flash and in RAM, the planner has room for {limit}"
            ),
        }
    }
}

impl core::error::Error for CapacityError {}

//! The levels that an image stores: those with which the network does best within its flash.
//!
//! An image is made for a few operating points of its device. Of all sets of levels whose image is small
//! enough, [`choose`] takes one for which the losses of the best plans at these points add up to the least.

mod plans;
mod search;

use bitbudget_core::place::Places;
use bitbudget_core::plan::{CapacityError, Limits, LimitsTooSmall};

use crate::capacity::{HostNetwork, HostPlan};
use crate::search::Effort;
use crate::size::{Items, Sizes};
use plans::Planning;
use search::{NoChoice, within};

/// The most nodes of each search for the smallest image.
const SMALLEST_NODES: u64 = 2_000;

/// A state of the device that an image is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// What a plan may take.
    pub limits: Limits,
    /// Where its weights may lie.
    pub places: Places,
}

impl Point {
    /// Weights in flash, and no limits.
    pub const FREE: Self = Self {
        limits: Limits::NONE,
        places: Places::Flash,
    };
}

/// Levels to store, and the plans that are made of them.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The items of every layer; none for layers that are tied to an earlier one.
    items: Vec<Items>,
    /// The best plan at every point.
    pub plans: Vec<HostPlan>,
    /// Bytes of the image, without stored plans.
    pub image_bytes: u64,
    /// Sum of the plans' prices, in units of the price matrix.
    pub price: i64,
    /// Proven lower bound on that sum for every image that is small enough.
    pub bound: i64,
}

impl Choice {
    /// Whether it is proven that no other levels do better.
    #[must_use]
    pub const fn is_optimal(&self) -> bool {
        self.price == self.bound
    }

    /// Takes all other levels away from the network that they were chosen for.
    pub fn keep(&self, network: &mut HostNetwork) {
        keep(network, |leader, at| self.items[leader] >> at & 1 == 1);
    }
}

/// Takes items away, from layers that are tied to a leader those that the leader loses.
fn keep(network: &mut HostNetwork, keeps: impl Fn(usize, usize) -> bool) {
    for layer in 0..network.prices.rows.len() {
        let leader = network.prices.leader(layer);
        let mut places = 0..;
        let row = &mut network.prices.rows[layer];
        row.retain(|_| places.next().is_some_and(|at| keeps(leader, at)));
    }
}

/// Why no levels could be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChoiceError {
    /// The planner has no room for the limits of a point.
    #[error("{source}")]
    Capacity {
        /// The point, from 0 on.
        point: usize,
        /// Why.
        source: CapacityError,
    },
    /// No plan is within the limits of a point, or none is known to be, however large the image.
    #[error("{source}")]
    Limits {
        /// The point, from 0 on.
        point: usize,
        /// Why.
        source: LimitsTooSmall,
    },
    /// No image that is small enough has a plan at every point, or none is known to have.
    #[error(
        "no image{} of {flash} bytes has a plan within all limits; the smallest{0} takes {smallest}",
        if *proven { "" } else { " that is known" }
    )]
    Flash {
        /// The most bytes that it may have.
        flash: u64,
        /// Bytes of the smallest image that has.
        smallest: u64,
        /// Whether it is proven that there is no smaller one.
        proven: bool,
    },
}

/// The levels with which the network does best at `points` in an image of at most `flash` bytes, without
/// stored plans; where these are not limited, the levels that the best plans have.
///
/// No points are one without limits. `names` are the layers'. The effort is that of the search over sets of
/// levels, and of every plan on its way.
///
/// # Errors
/// [`ChoiceError`] with the least that would do.
pub fn choose(
    network: &HostNetwork,
    names: &[String],
    points: &[Point],
    flash: Option<u64>,
    effort: &Effort<'_>,
) -> Result<Choice, ChoiceError> {
    let points = match points {
        [] => &[Point::FREE],
        points => points,
    };
    let sizes = Sizes::of(network, names);
    let mut planning = Planning::new(network, &sizes, points, effort);
    planning.check()?;
    let alone = planning.without_limit()?;
    let Some(flash) = flash.filter(|flash| alone.image_bytes > *flash) else {
        return Ok(alone);
    };
    let proven = match sizes.room(flash).map(|room| within(&mut planning, room)) {
        Some(Ok(choice)) => return Ok(choice),
        Some(Err(NoChoice { proven })) => proven,
        None => true,
    };
    let known = (alone.image_bytes, proven);
    let (smallest, proven) = smallest(network, &sizes, points, (flash, known), effort);
    Err(ChoiceError::Flash {
        flash,
        smallest,
        proven,
    })
}

/// The bytes of the smallest image with a plan at every point, and whether they are proven to be.
///
/// `flash` bytes do not do, or are not known to; `known` ones do. `proven` says which is the case.
fn smallest(
    network: &HostNetwork,
    sizes: &Sizes,
    points: &[Point],
    (flash, (known, proven)): (u64, (u64, bool)),
    effort: &Effort<'_>,
) -> (u64, bool) {
    // all layouts are as good, so that a search ends with the first one that it finds
    let mut network = Box::new(network.clone());
    for item in network.prices.rows.iter_mut().flatten() {
        item.price = 0;
    }
    let effort = Effort {
        node_limit: effort.node_limit.min(SMALLEST_NODES),
        ..*effort
    };
    let mut planning = Planning::new(&network, sizes, points, &effort);
    // images have multiples of four bytes
    let (mut least, mut known, mut proven) = (flash / 4 * 4 + 4, known, proven);
    while least < known {
        let middle = u64::midpoint(least, known - 4) / 4 * 4;
        match sizes.room(middle).map(|room| within(&mut planning, room)) {
            Some(Ok(choice)) => known = choice.image_bytes,
            Some(Err(NoChoice { proven: none })) => {
                proven &= none;
                least = middle + 4;
            }
            None => least = middle + 4,
        }
    }
    (known, proven)
}

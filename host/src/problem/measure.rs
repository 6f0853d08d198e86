//! The price and the costs of a layout problem, and the integers that a search counts them in.

use super::{Group, MAX_COST, Problem};

/// Values of a layer differ by at most this many units, also once they are rounded.
const UNITS: f64 = i32::MAX as f64;

/// The price or a cost, by group and item.
#[derive(Clone, Debug)]
pub(super) struct Measure {
    pub(super) name: String,
    pub(super) values: Vec<Vec<f64>>,
}

/// The items of every group that a search may choose, rising.
pub(super) type Kept = Vec<Vec<usize>>;

impl Measure {
    pub(super) fn new(problem: &Problem, groups: &[Group], name: &str) -> Self {
        let value = |group: &Group, level: &String| {
            let items = group
                .layers
                .iter()
                .flat_map(|layer| &problem.layers[*layer].items);
            let items = items.filter(|item| item.level == *level);
            let value = |item: &super::Item| match item.costs.get(name) {
                // exact: below 2^53
                Some(cost) => *cost as f64,
                None => item.price,
            };
            items.map(value).sum::<f64>()
        };
        let row = |group: &Group| {
            group
                .levels
                .iter()
                .map(|level| value(group, level))
                .collect()
        };
        Self {
            name: name.to_owned(),
            values: groups.iter().map(row).collect(),
        }
    }

    /// The sum of the least values of all groups.
    pub(super) fn least_sum(&self) -> f64 {
        let least = |row: &Vec<f64>| row.iter().copied().fold(f64::INFINITY, f64::min);
        self.values.iter().map(least).sum()
    }

    /// The sum over the chosen items.
    pub(super) fn sum(&self, choice: &[usize]) -> f64 {
        let chosen = self.values.iter().zip(choice);
        chosen.map(|(row, item)| row[*item]).sum()
    }

    /// Leaves out the items that are above the least of their group by more than `room`; whether any was.
    pub(super) fn narrow(&self, scale: &Scale, room: f64, kept: &mut Kept) -> bool {
        let mut is_narrower = false;
        for (group, kept) in kept.iter_mut().enumerate() {
            let before = kept.len();
            kept.retain(|item| self.values[group][*item] - scale.least[group] <= room);
            is_narrower |= kept.len() < before;
        }
        is_narrower
    }
}

/// How a search counts a measure of some items: in whole units above the least of each group.
#[derive(Debug)]
pub(super) struct Scale {
    /// The least of every group.
    pub(super) least: Vec<f64>,
    /// The most that an item is above the least of its group.
    pub(super) widest: f64,
    /// The greatest common divisor of whole differences that fit, else a power of two.
    pub(super) unit: f64,
    /// Whether every difference is a whole number of units, and no sum is rounded.
    pub(super) is_exact: bool,
    /// The most that rounding adds up to in a comparison of two sums.
    pub(super) tolerance: f64,
}

impl Scale {
    pub(super) fn new(measure: &Measure, kept: &Kept) -> Self {
        let rows = || {
            let rows = measure.values.iter().zip(kept);
            rows.map(|(row, kept)| kept.iter().map(|item| row[*item]))
        };
        let least: Vec<f64> = rows()
            .map(|row| row.fold(f64::INFINITY, f64::min))
            .collect();
        let spreads = || {
            let rows = rows().zip(&least);
            rows.flat_map(|(row, least)| row.map(move |value| value - least))
        };
        let widest = spreads().fold(0.0, f64::max);
        let magnitudes: f64 = rows().flatten().map(f64::abs).sum();
        // that no sum reaches which is rounded
        let most = MAX_COST as f64;
        let is_whole = magnitudes < most && rows().flatten().all(|value| value.fract() == 0.0);
        let divisor = match is_whole {
            true => spreads().map(|spread| spread as u64).fold(0, gcd).max(1) as f64,
            false => 1.0,
        };
        let mut unit = divisor;
        let mut is_rounded = !is_whole;
        let mut is_exact = widest == 0.0 || is_whole && widest / divisor <= UNITS;
        if !is_exact {
            unit = 1.0;
            while widest / unit > UNITS {
                unit *= 2.0;
            }
            while widest > 0.0 && widest / unit <= UNITS / 2.0 && unit > f64::MIN_POSITIVE {
                unit /= 2.0;
            }
            // as of fractions of a power of two
            let are_multiples = rows().flatten().all(|value| (value / unit).fract() == 0.0);
            is_exact = are_multiples && magnitudes / unit < most;
            is_rounded &= !is_exact;
        }
        Self {
            least,
            widest,
            unit,
            is_exact,
            tolerance: match is_rounded {
                true => magnitudes * f64::EPSILON,
                false => 0.0,
            },
        }
    }

    /// The sum of the least of all groups.
    pub(super) fn least_sum(&self) -> f64 {
        self.least.iter().sum()
    }

    /// A value of a group in units.
    pub(super) fn units(&self, group: usize, value: f64) -> u32 {
        ((value - self.least[group]) / self.unit).round() as u32
    }

    /// The most that the sum of units of a layout is off.
    pub(super) fn slack(&self) -> f64 {
        match self.is_exact {
            true => 0.0,
            false => self.least.len() as f64 / 2.0,
        }
    }
}

/// The greatest common divisor; that of 0 and a number is the number.
fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A limit on a measure; a strict one must not be reached.
#[derive(Clone, Copy)]
pub(super) struct Limit<'a> {
    pub(super) measure: &'a Measure,
    pub(super) most: f64,
    pub(super) strict: bool,
}

impl Limit<'_> {
    /// Whether a choice is within it.
    pub(super) fn allows(&self, scale: &Scale, choice: &[usize]) -> bool {
        let sum = self.measure.sum(choice);
        if self.strict {
            sum < self.most - scale.tolerance
        } else {
            sum <= self.most + scale.tolerance
        }
    }

    /// The most units that a layout within the limit has, rounding included; `None` where that is negative.
    pub(super) fn units(&self, scale: &Scale) -> Option<u64> {
        let units = (self.most - scale.least_sum()) / scale.unit;
        let units = match (scale.is_exact, self.strict) {
            (true, true) => units.ceil() - 1.0,
            (true, false) => units.floor(),
            (false, _) => units.floor() + 2.0 * scale.slack(),
        };
        (units >= 0.0).then_some(units as u64)
    }

    /// Leaves out the items that no layout within the limit has; whether any was.
    fn narrow(&self, kept: &mut Kept) -> bool {
        let scale = Scale::new(self.measure, kept);
        let room = self.most + scale.tolerance - scale.least_sum();
        self.measure.narrow(&scale, room, kept)
    }
}

/// The items that layouts within the limits can have; `None` where some group has none.
pub(super) fn within(groups: &[Vec<f64>], limits: &[Limit<'_>]) -> Option<Kept> {
    let mut kept: Kept = groups.iter().map(|row| (0..row.len()).collect()).collect();
    let mut is_narrower = true;
    while is_narrower {
        is_narrower = false;
        for limit in limits {
            is_narrower |= limit.narrow(&mut kept);
            if kept.iter().any(Vec::is_empty) {
                return None;
            }
        }
    }
    Some(kept)
}

//! Lower bounds of the loss that the groups which are still open will add.
//!
//! Groups `depth..` of the search order have to share `left`. For any multiplier mu ≥ -lambda,
//!
//! Σ reduced + lambda · (left - Σ cost) ≥ Σ min (reduced + mu · cost) - mu · left,
//!
//! because mu + lambda ≥ 0 and Σ cost ≤ left. The sum on the right does not depend on `left`: it is
//! tabulated for a few multipliers. The right side is concave in mu (Fisher 1981), so the best of
//! the tabulated multipliers is found by climbing. Where the best mu falls between two of them, the
//! search asks for a better one (`refine`) and another one makes room for it.

use super::problem::Problem;
use super::relaxation::{FAR, Relaxation};

/// The number of multipliers.
const COLUMNS: usize = 16;
/// The first multipliers are negative, the next one is 0, the others are positive.
const ZERO: usize = 7;
/// The positive multipliers reach up to lambda times 2 to this power.
const REACH_SHIFT: u32 = 3;
/// How often the interval around the best multiplier is halved.
const REFINE_HALVINGS: u32 = 8;
/// No multiplier times the sum of all costs is larger.
const PRODUCT_LIMIT: i64 = 1 << 61;

/// The groups that the search decides, in its order, with the choices that it allows.
pub(super) struct Core<'a, const N: usize, const K: usize> {
    pub(super) problem: &'a Problem<N, K>,
    pub(super) relaxation: &'a Relaxation<N, K>,
    pub(super) order: &'a [u16],
    /// The largest reduced price of a choice that is allowed.
    pub(super) gap: i64,
}

impl<const N: usize, const K: usize> Core<'_, N, K> {
    /// Returns reduced price and cost of the choices of a group of the order. There is always one:
    /// the group's best.
    pub(super) fn choices(&self, depth: usize) -> impl DoubleEndedIterator<Item = (i64, i64)> {
        let group = usize::from(self.order[depth]);
        let choices = self.problem.groups[group].choices().iter();
        choices
            .zip(&self.relaxation.reduced[group])
            .filter(|&(_, &reduced)| reduced <= self.gap)
            .map(|(choice, &reduced)| (reduced, i64::from(choice.cost)))
    }
}

/// A lower bound, and where it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) loss: i64,
    pub(super) column: u8,
}

#[derive(Clone, Debug)]
pub(super) struct Table<const N: usize> {
    lambda: i64,
    /// Rising.
    multipliers: [i64; COLUMNS],
    /// When the column last had the best bound.
    used: [i64; COLUMNS],
    clock: i64,
    /// Σ min (reduced + mu · cost), by depth and column; the first `depths` rows are in use.
    sums: [[i64; COLUMNS]; N],
    depths: usize,
}

impl<const N: usize> Table<N> {
    pub(super) const fn new() -> Self {
        Self {
            lambda: 0,
            multipliers: [0; COLUMNS],
            used: [0; COLUMNS],
            clock: 0,
            sums: [[0; COLUMNS]; N],
            depths: 0,
        }
    }

    /// Chooses the first multipliers: -lambda, halved towards 0, then doubled away from it.
    pub(super) fn begin(&mut self, lambda: i64, useful_spare: i64) {
        let limit = PRODUCT_LIMIT / useful_spare.max(1);
        self.lambda = lambda;
        self.used = [0; COLUMNS];
        self.clock = 0;
        for (column, mu) in self.multipliers.iter_mut().enumerate() {
            let exact = match column {
                ..ZERO => -(lambda >> column),
                ZERO => 0,
                _ => (lambda << REACH_SHIFT) >> (COLUMNS - 1 - column),
            };
            *mu = exact.clamp(-limit, limit);
        }
    }

    /// Tabulates the sums.
    pub(super) fn fill<const K: usize>(&mut self, core: &Core<'_, N, K>) {
        self.depths = core.order.len();
        for column in 0..COLUMNS {
            self.fill_column(core, column);
        }
    }

    fn fill_column<const K: usize>(&mut self, core: &Core<'_, N, K>, column: usize) {
        let mu = self.multipliers[column];
        let mut sum = 0;
        for depth in (0..self.depths).rev() {
            let values = core
                .choices(depth)
                .map(|(reduced, cost)| reduced + mu * cost);
            sum += values.min().unwrap_or(0);
            self.sums[depth][column] = sum;
        }
    }

    /// Returns the largest bound for groups `depth..`; the climb begins at column `start`.
    pub(super) fn bound(&mut self, depth: usize, left: i64, start: u8) -> Bound {
        if depth == self.depths {
            // No group is open: this is the loss itself, but for values that are too large anyway.
            return Bound {
                loss: self.lambda.saturating_mul(left).min(FAR),
                column: start,
            };
        }
        let value = |column: u8| {
            let column = usize::from(column);
            self.sums[depth][column] - self.multipliers[column] * left
        };
        let mut best = Bound {
            loss: value(start),
            column: start,
        };
        // Equal values do not end the climb, for two multipliers may be equal.
        for column in start + 1..COLUMNS as u8 {
            let loss = value(column);
            if loss < best.loss {
                break;
            }
            best = Bound { loss, column };
        }
        for column in (0..start).rev() {
            let loss = value(column);
            if loss < best.loss {
                break;
            }
            best = Bound { loss, column };
        }
        self.clock += 1;
        self.used[usize::from(best.column)] = self.clock;
        best
    }

    /// Tabulates the best multiplier for groups `depth..`, instead of the one that has not been the
    /// best for longest. The smallest and the largest one stay.
    pub(super) fn refine<const K: usize>(
        &mut self,
        core: &Core<'_, N, K>,
        depth: usize,
        left: i64,
    ) {
        let mu = self.best_multiplier(core, depth, left);
        let mut place = self.multipliers.partition_point(|&other| other < mu);
        if self.multipliers.get(place).is_none_or(|&next| next == mu) {
            return;
        }
        let victim = (1..COLUMNS - 1)
            .min_by_key(|&column| self.used[column])
            .unwrap_or(ZERO);
        if victim < place {
            place -= 1;
        }
        self.move_column(victim, place);
        self.multipliers[place] = mu;
        self.used[place] = self.clock;
        debug_assert!(self.multipliers.is_sorted());
        self.fill_column(core, place);
    }

    /// Returns the multiplier of the best bound, nearly: the bound rises with mu as long as the
    /// choices that attain the minimum cost more than `left` (Fisher 1981).
    fn best_multiplier<const K: usize>(
        &mut self,
        core: &Core<'_, N, K>,
        depth: usize,
        left: i64,
    ) -> i64 {
        let column = usize::from(self.bound(depth, left, ZERO as u8).column);
        let mut low = self.multipliers[column.saturating_sub(1)];
        let mut high = self.multipliers[(column + 1).min(COLUMNS - 1)];
        for _ in 0..REFINE_HALVINGS {
            let middle = low + (high - low) / 2;
            let cost = |depth| {
                let values = core
                    .choices(depth)
                    .map(|(reduced, cost)| (reduced + middle * cost, cost));
                values.min().map_or(0, |(_, cost)| cost)
            };
            if (depth..self.depths).map(cost).sum::<i64>() > left {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// Moves a column, and those between the two places by one.
    fn move_column(&mut self, from: usize, to: usize) {
        let shift = |row: &mut [i64; COLUMNS]| {
            if from < to {
                row[from..=to].rotate_left(1);
            } else {
                row[to..=from].rotate_right(1);
            }
        };
        shift(&mut self.multipliers);
        shift(&mut self.used);
        self.sums[..self.depths].iter_mut().for_each(shift);
    }
}

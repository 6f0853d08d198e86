//! Lower bounds of the loss that the groups which are still open will add.
//!
//! Groups `depth..` of the search order have to share `left`. For any multipliers mu ≥ -lambda, one
//! per limit,
//!
//! Σ reduced + lambda · (left - Σ cost) ≥ Σ min (reduced + mu · cost) - mu · left,
//!
//! because mu + lambda ≥ 0 and Σ cost ≤ left. The sum on the right does not depend on `left`: it is
//! tabulated for a few multipliers, the *columns*. The right side is concave in mu (Fisher 1981): with
//! one limit the best column is found by climbing, with several all are tried. Where a better mu lies
//! between the columns, the search asks for it (`refine`) and another one makes room for it.
//!
//! # Range
//!
//! Let S be a limit's `cost_span`: no layout costs more. A limit leaves far more than S where most of
//! it is meant for a surcharge, so `left` is cut into its *usable* part, at most S, and the rest, of
//! which no group can make use: the rest adds lambda · rest to the bound, whatever mu is. Let D be the
//! number of limits in whose costs layouts differ (`dims`). Every multiplier is at most 2^61 / (S · D) in
//! magnitude ([`reach`]); hence Σ mu · cost over any groups and mu · usable are at most 2^61 / D for each
//! limit and 2^61 for all of them, a minimum's sum lies between those of its costs and 2^55 more (the
//! gap), and no sum or difference reaches 2^63.
//! lambda · left is at most 2^58 (see `relaxation`).

use super::problem::Problem;
use super::relaxation::Relaxation;

/// The number of columns.
const COLUMNS: usize = 16;
/// With one limit the first multipliers are negative, the next one is 0, the others are positive.
const ZERO: usize = 7;
/// The positive multipliers reach up to lambda times 2 to this power.
const REACH_SHIFT: u32 = 3;
/// How often the interval around the best multiplier is halved.
const REFINE_HALVINGS: u32 = 8;
/// No multiplier times the sum of all costs is larger.
const PRODUCT_LIMIT: i64 = 1 << 61;

/// Returns the largest magnitude of a limit's multipliers.
fn reach<const N: usize, const K: usize, const D: usize>(
    problem: &Problem<N, K, D>,
    d: usize,
) -> i64 {
    PRODUCT_LIMIT / problem.cost_span[d].max(1) / problem.dims() as i64
}

/// The groups that the search decides, in its order, with the choices that it allows.
pub(super) struct Core<'a, const N: usize, const K: usize, const D: usize> {
    pub(super) problem: &'a Problem<N, K, D>,
    pub(super) relaxation: &'a Relaxation<N, K, D>,
    pub(super) order: &'a [u16],
    /// The largest reduced price of a choice that is allowed.
    pub(super) gap: i64,
}

impl<const N: usize, const K: usize, const D: usize> Core<'_, N, K, D> {
    /// Returns reduced price and costs of the choices of a group of the order. There is always one:
    /// the group's best.
    pub(super) fn choices(&self, depth: usize) -> impl Iterator<Item = (i64, &[u32; D])> {
        let group = usize::from(self.order[depth]);
        let choices = self.problem.groups[group].choices().iter();
        choices
            .zip(&self.relaxation.reduced[group])
            .filter(|&(_, &reduced)| reduced <= self.gap)
            .map(|(choice, &reduced)| (reduced, &choice.cost))
    }

    /// Returns the smallest reduced + mu · cost of a group of the order, and the costs where it is.
    fn smallest(&self, depth: usize, mu: &[i64; D]) -> (i64, &[u32; D]) {
        let dims = self.problem.dims();
        let group = usize::from(self.order[depth]);
        let choices = self.problem.groups[group].choices().iter();
        let mut smallest: Option<(i64, &[u32; D])> = None;
        // a plain loop: this is what a search does most
        for (choice, &reduced) in choices.zip(&self.relaxation.reduced[group]) {
            if reduced <= self.gap {
                let value = reduced + product(mu, &choice.cost, dims);
                if smallest.is_none_or(|(least, _)| value < least) {
                    smallest = Some((value, &choice.cost));
                }
            }
        }
        // none once the gap is below 0
        smallest.unwrap_or((0, &[0; D]))
    }
}

/// Returns mu · costs over the first `dims` limits; there are no costs of the others.
#[inline(always)]
fn product<const D: usize, C: Copy + Into<i64>>(mu: &[i64; D], costs: &[C; D], dims: usize) -> i64 {
    let first = mu[0] * costs[0].into();
    if dims == 1 {
        return first;
    }
    let others = mu.iter().zip(costs).skip(1);
    first + others.map(|(mu, cost)| mu * (*cost).into()).sum::<i64>()
}

/// A lower bound, and where it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) loss: i64,
    pub(super) column: u8,
}

#[derive(Clone, Debug)]
pub(super) struct Table<const N: usize, const D: usize> {
    lambda: [i64; D],
    /// The smallest multipliers: -lambda, as far as the range allows.
    least: [i64; D],
    /// The largest multipliers.
    largest: [i64; D],
    /// Rising, with one limit; with several the first one is 0.
    multipliers: [[i64; D]; COLUMNS],
    /// When the column last had the best bound.
    used: [i64; COLUMNS],
    clock: i64,
    /// Σ min (reduced + mu · cost), by depth and column; the first `depths` rows are in use.
    sums: [[i64; COLUMNS]; N],
    depths: usize,
    /// The columns that are tabulated, by bit.
    filled: u16,
}

impl<const N: usize, const D: usize> Table<N, D> {
    pub(super) const fn new() -> Self {
        Self {
            lambda: [0; D],
            least: [0; D],
            largest: [0; D],
            multipliers: [[0; D]; COLUMNS],
            used: [0; COLUMNS],
            clock: 0,
            sums: [[0; COLUMNS]; N],
            depths: 0,
            filled: 0,
        }
    }

    /// Chooses the first multipliers. With one limit: -lambda, halved towards 0, then doubled away
    /// from it. With several: 0, then for every limit in turn -lambda, lambda, and halves of them.
    pub(super) fn begin<const K: usize>(
        &mut self,
        problem: &Problem<N, K, D>,
        relaxation: &Relaxation<N, K, D>,
    ) {
        self.lambda = relaxation.lambda;
        self.used = [0; COLUMNS];
        self.clock = 0;
        let all_prices = problem.price_span << problem.shift;
        let dims = problem.dims();
        for d in 0..D {
            let limit = reach(problem, d);
            let lambda = self.lambda[d];
            let largest = (lambda << REACH_SHIFT).max(all_prices / problem.cost_span[d].max(1));
            self.least[d] = -lambda.min(limit);
            self.largest[d] = match problem.cost_span[d] {
                0 => 0,
                _ => largest.min(limit),
            };
            for (column, mu) in self.multipliers.iter_mut().enumerate() {
                let exact = if problem.is_single {
                    match column {
                        ..ZERO => -(lambda >> column),
                        ZERO => 0,
                        _ => largest >> (COLUMNS - 1 - column),
                    }
                } else {
                    let place = column.wrapping_sub(1);
                    let halves = place / (2 * dims);
                    match place % (2 * dims) {
                        _ if column == 0 => 0,
                        at if at == d => -(lambda >> halves),
                        at if at == d + dims => lambda >> halves,
                        _ => 0,
                    }
                };
                mu[d] = exact.clamp(-limit, limit);
            }
        }
    }

    /// Begins with other sums; each column is tabulated when it is needed.
    pub(super) const fn clear(&mut self, depths: usize) {
        self.depths = depths;
        self.filled = 0;
    }

    fn fill_column<const K: usize>(&mut self, core: &Core<'_, N, K, D>, column: usize) {
        self.filled |= 1 << column;
        let mu = self.multipliers[column];
        let mut sum = 0;
        for depth in (0..self.depths).rev() {
            sum += core.smallest(depth, &mu).0;
            self.sums[depth][column] = sum;
        }
    }

    /// Returns the bound of one column, without what the rest of `left` adds.
    fn value<const K: usize>(
        &mut self,
        core: &Core<'_, N, K, D>,
        depth: usize,
        usable: &[i64; D],
        column: u8,
    ) -> i64 {
        let column = usize::from(column);
        if self.filled & 1 << column == 0 {
            self.fill_column(core, column);
        }
        self.sums[depth][column] - product(&self.multipliers[column], usable, core.problem.dims())
    }

    /// Returns the largest bound for groups `depth..`; with one limit the climb begins at column
    /// `start`.
    pub(super) fn bound<const K: usize>(
        &mut self,
        core: &Core<'_, N, K, D>,
        depth: usize,
        left: &[i64; D],
        start: u8,
    ) -> Bound {
        // no group is open: what is left is the loss itself
        let spans = match depth == self.depths {
            true => &[0; D],
            false => &core.problem.cost_span,
        };
        let mut usable = *left;
        let mut rest = 0;
        for d in 0..core.problem.dims() {
            usable[d] = left[d].min(spans[d]);
            rest += self.lambda[d] * (left[d] - usable[d]);
        }
        if depth == self.depths {
            return Bound {
                loss: rest,
                column: start,
            };
        }
        let mut best = Bound {
            loss: self.value(core, depth, &usable, start),
            column: start,
        };
        // Equal values do not end the climb, for two multipliers may be equal.
        for column in start + 1..COLUMNS as u8 {
            let loss = self.value(core, depth, &usable, column);
            if loss >= best.loss {
                best = Bound { loss, column };
            } else if core.problem.is_single {
                break;
            }
        }
        for column in (0..start).rev() {
            let loss = self.value(core, depth, &usable, column);
            if loss >= best.loss {
                best = Bound { loss, column };
            } else if core.problem.is_single {
                break;
            }
        }
        best.loss += rest;
        self.clock += 1;
        self.used[usize::from(best.column)] = self.clock;
        best
    }

    /// Tabulates the best multipliers for groups `depth..`, instead of those that have not been the
    /// best for longest. The smallest and the largest one stay; with several limits 0 stays.
    pub(super) fn refine<const K: usize>(
        &mut self,
        core: &Core<'_, N, K, D>,
        depth: usize,
        left: &[i64; D],
    ) {
        let mu = self.best_multipliers(core, depth, left);
        if self.multipliers.contains(&mu) {
            return;
        }
        let last = COLUMNS - usize::from(core.problem.is_single);
        let victim = (1..last)
            .min_by_key(|&column| self.used[column])
            .unwrap_or(ZERO);
        let mut place = victim;
        if core.problem.is_single {
            place = self.multipliers.partition_point(|&other| other < mu);
            if place == COLUMNS {
                return;
            }
            if victim < place {
                place -= 1;
            }
            self.move_column(victim, place);
        }
        self.multipliers[place] = mu;
        self.used[place] = self.clock;
        debug_assert!(!core.problem.is_single || self.multipliers.is_sorted());
        self.fill_column(core, place);
    }

    /// Returns the multipliers of the best bound, nearly, one after the other: the bound rises with
    /// mu as long as the choices that attain the minimum cost more than `left` (Fisher 1981).
    fn best_multipliers<const K: usize>(
        &mut self,
        core: &Core<'_, N, K, D>,
        depth: usize,
        left: &[i64; D],
    ) -> [i64; D] {
        let column = usize::from(self.bound(core, depth, left, ZERO as u8).column);
        let mut mu = self.multipliers[column];
        for d in 0..D {
            let (mut low, mut high) = if core.problem.is_single {
                (
                    self.multipliers[column.saturating_sub(1)][d],
                    self.multipliers[(column + 1).min(COLUMNS - 1)][d],
                )
            } else {
                (self.least[d], self.largest[d])
            };
            for _ in 0..REFINE_HALVINGS * if core.problem.is_single { 1 } else { 2 } {
                mu[d] = low + (high - low) / 2;
                let cost = |depth| i64::from(core.smallest(depth, &mu).1[d]);
                if (depth..self.depths).map(cost).sum::<i64>() > left[d] {
                    low = mu[d];
                } else {
                    high = mu[d];
                }
            }
            mu[d] = high;
        }
        mu
    }

    /// Moves a column, and those between the two places by one.
    fn move_column(&mut self, from: usize, to: usize) {
        fn shift<T>(row: &mut [T; COLUMNS], from: usize, to: usize) {
            for at in from..to {
                row.swap(at, at + 1);
            }
            for at in (to..from).rev() {
                row.swap(at, at + 1);
            }
        }
        shift(&mut self.multipliers, from, to);
        shift(&mut self.used, from, to);
        for row in &mut self.sums[..self.depths] {
            shift(row, from, to);
        }
        let mut filled: [bool; COLUMNS] = core::array::from_fn(|i| self.filled >> i & 1 == 1);
        shift(&mut filled, from, to);
        self.filled = (0..COLUMNS).fold(0, |bits, i| bits | u16::from(filled[i]) << i);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mckp::Item;

    /// Once no better layout can be, the gap is below 0 and no choice is left: there is nothing to add up.
    #[test]
    fn a_gap_that_allows_no_choice_leaves_sums_of_nothing() {
        let item = |cost, price| Item {
            cost: [cost],
            price,
            class: 0,
        };
        let groups = [[item(1, 9), item(5, 0)], [item(2, 7), item(4, 1)]];
        let mut problem = Problem::<2, 2, 1>::empty();
        let set = problem.set_groups(groups.iter().map(|group| group.iter().copied()));
        assert!(set.is_ok());
        let mut relaxation = Relaxation::new();
        relaxation.solve(&problem, [6]);
        let core = |gap| Core {
            problem: &problem,
            relaxation: &relaxation,
            order: &[0, 1],
            gap,
        };
        let sum = |gap: i64| {
            let mut table = Table::<2, 1>::new();
            table.begin(&problem, &relaxation);
            table.clear(2);
            table.fill_column(&core(gap), ZERO);
            table.sums[0][ZERO]
        };
        assert_eq!(core(-1).smallest(0, &[1]), (0, &[0]));
        assert_eq!(sum(-1), 0);
        // the best choices of the relaxation have a reduced price of 0
        assert_eq!(core(0).smallest(0, &[0]).0, 0);
        assert_eq!(sum(0), 0);
        assert_eq!(core(i64::MAX).choices(0).count(), 2);
    }
}

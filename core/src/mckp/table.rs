//! Lower bounds of what the groups that are still open add to the loss.
//!
//! For groups `depth..` of the search order, with `left` capacity to share, and any multiplier
//! mu ≥ -lambda, the Lagrangian relaxation of the remaining problem gives
//!
//! Σ reduced + lambda · (left - Σ cost) ≥ Σ min (reduced + mu · cost) - mu · left
//!
//! because mu + lambda ≥ 0 and the costs fit into `left`. The sums do not depend on `left`, so they
//! are tabulated for a few multipliers. The right side is concave in mu (Fisher 1981), hence the
//! best of the tabulated ones is found by climbing.

use super::problem::Problem;
use super::relaxation::Relaxation;

/// The number of multipliers.
const MULTIPLIERS: usize = 16;
/// No |multiplier| times a sum of costs is larger.
const PRODUCT_LIMIT: i64 = 1 << 60;

#[derive(Clone, Debug)]
pub(super) struct Table<const N: usize> {
    lambda: i64,
    /// Rising.
    multipliers: [i64; MULTIPLIERS],
    /// By depth; the first `depths` are in use.
    rest: [[i64; MULTIPLIERS]; N],
    depths: usize,
}

impl<const N: usize> Table<N> {
    pub(super) const fn new() -> Self {
        Self {
            lambda: 0,
            multipliers: [0; MULTIPLIERS],
            rest: [[0; MULTIPLIERS]; N],
            depths: 0,
        }
    }

    /// Chooses the multipliers, around 0 and down to -lambda.
    pub(super) fn set_multipliers(&mut self, lambda: i64, useful_spare: i64) {
        let limit = PRODUCT_LIMIT / useful_spare.max(1);
        self.lambda = lambda;
        for (t, mu) in self.multipliers.iter_mut().enumerate() {
            *mu = match t {
                0..8 => -(lambda >> t),
                8 => 0,
                _ => lambda >> (15 - t),
            }
            .clamp(-limit, limit);
        }
    }

    /// Tabulates the bounds for the groups in `order`, choices with a reduced price above `gap`
    /// left out.
    pub(super) fn fill<const K: usize>(
        &mut self,
        problem: &Problem<N, K>,
        relaxation: &Relaxation<N, K>,
        order: &[u16],
        gap: i64,
    ) {
        let mut sums = [0; MULTIPLIERS];
        for (depth, &group) in order.iter().enumerate().rev() {
            let group = usize::from(group);
            let reduced = &relaxation.reduced[group];
            for (sum, &mu) in sums.iter_mut().zip(&self.multipliers) {
                let choices = problem.groups[group].choices().iter().zip(reduced);
                let values = choices
                    .filter(|&(_, &reduced)| reduced <= gap)
                    .map(|(choice, reduced)| reduced + mu * i64::from(choice.cost));
                *sum += values.min().unwrap_or(0);
            }
            self.rest[depth] = sums;
        }
        self.depths = order.len();
    }

    /// Returns the largest bound, and the index of its multiplier; the climb begins at `start`.
    pub(super) fn bound(&self, depth: usize, left: i64, start: usize) -> (i64, usize) {
        if depth >= self.depths {
            return (self.lambda.saturating_mul(left), start);
        }
        let value = |t: usize| self.rest[depth][t] - self.multipliers[t] * left;
        let mut best = (value(start), start);
        for t in start + 1..MULTIPLIERS {
            let value = value(t);
            if value < best.0 {
                break;
            }
            best = (value, t);
        }
        for t in (0..start).rev() {
            let value = value(t);
            if value < best.0 {
                break;
            }
            best = (value, t);
        }
        best
    }
}

//! The Lagrangian relaxation at some limits, and the first incumbent.
//!
//! Let lambda be a multiplier per limit and v = price + lambda · cost. Then for every layout, exactly,
//!
//! price = (Σ min v - lambda · capacity) + Σ (v - min v) + lambda · (capacity - cost)
//!       =             base              +   Σ reduced   +     lambda · left.
//!
//! The last two terms are the *loss* of the layout. For a layout that fits neither is negative, so
//! `base` is a lower bound, whatever lambda ≥ 0 is (Kellerer, Pferschy & Pisinger 2004, sec. 11.2).
//! With one limit it is highest for the slope of the first step that does not fit; for several
//! limits see `multipliers`.
//!
//! # Range
//!
//! Every lambda · capacity is at most 2^58 ([`MOST_USE`]); the sum over several limits is at most
//! D · 2^54, for `multipliers` keeps each of them below 2^54. A choice that fits costs no more than the
//! capacity, so its v is below 2^59; where v reaches `FAR`, the choice does not fit, and it is
//! treated as one that is not allowed. Σ min v is at most that of the smallest layout that is allowed,
//! all prices and lambda · capacity, or there is a group of which nothing fits, and `base` may be
//! anything from there on up to `FAR`. So losses, `base` and the loss of the incumbent are all below
//! 2^61 in magnitude.

use super::multipliers::multipliers;
use super::problem::{FAR, Layout, Problem, priced};

/// No multiplier times its capacity is larger. With the exact slope of the first step that does not fit
/// it would be less than 2^54 where everything is allowed: `base`, the value of the relaxation, is not
/// negative then. Where the smallest choices are not allowed, the slope may be too steep for the costs
/// of those that are.
const MOST_USE: i64 = 1 << 58;

#[derive(Clone, Debug)]
pub(super) struct Relaxation<const N: usize, const K: usize, const D: usize> {
    /// Units per cost; at most 2^54.
    pub(super) lambda: [i64; D],
    /// In units.
    pub(super) base: i64,
    /// Above the sum of the groups' smallest costs.
    pub(super) capacity: [i64; D],
    /// By group and choice, in units: from 0 (the best choice that is allowed) to `FAR` (for what is
    /// not allowed).
    pub(super) reduced: [[i64; K]; N],
}

impl<const N: usize, const K: usize, const D: usize> Relaxation<N, K, D> {
    pub(super) const fn new() -> Self {
        Self {
            lambda: [0; D],
            base: 0,
            capacity: [0; D],
            reduced: [[0; K]; N],
        }
    }

    /// Solves the relaxation for the allowed choices and returns an incumbent, if it finds one.
    pub(super) fn solve(
        &mut self,
        problem: &Problem<N, K, D>,
        capacity: [i64; D],
    ) -> Option<Layout<N>> {
        self.capacity = capacity;
        let mut layout = problem.smallest_layout();
        if problem.is_single {
            self.take_steps(problem, &mut layout);
        } else {
            self.lambda = multipliers(problem, capacity);
        }
        self.reduce(problem);
        if !problem.is_single {
            let groups = problem.groups.iter().zip(&self.reduced);
            for (item, (group, reduced)) in layout.items.iter_mut().zip(groups) {
                let mut reduced = reduced[..group.choices().len()].iter();
                *item = reduced.position(|&value| value == 0).unwrap_or(0) as u8;
            }
        }
        problem.filled(&layout.items, &self.capacity)
    }

    /// Takes the steps that fit, by falling slope. The first that does not fit gives lambda
    /// (Zemel 1980); its slope is rounded up, so the groups' best choices fit together.
    fn take_steps(&mut self, problem: &Problem<N, K, D>, layout: &mut Layout<N>) {
        let mut left = self.capacity[0] - problem.cost(&layout.items)[0];
        self.lambda = [0; D];
        for step in problem.steps() {
            let group = &problem.groups[usize::from(step.group)];
            let item = &mut layout.items[usize::from(step.group)];
            let slope = group.slope(step.from, step.to);
            if *item != step.from || !group.choice(step.to).allowed {
                continue;
            }
            if i64::from(slope.cost) <= left {
                *item = step.to;
                left -= i64::from(slope.cost);
            } else if self.lambda[0] == 0 {
                let gain = u64::from(slope.gain) << problem.shift;
                self.lambda[0] = gain.div_ceil(slope.cost.into()).cast_signed();
            }
        }
        self.lambda[0] = self.lambda[0].min(MOST_USE / self.capacity[0].max(1));
    }

    /// Sets the reduced prices and the base.
    fn reduce(&mut self, problem: &Problem<N, K, D>) {
        self.base = 0;
        for (lambda, capacity) in self.lambda.iter().zip(self.capacity) {
            self.base -= lambda * capacity;
        }
        for (group, reduced) in problem.groups.iter().zip(&mut self.reduced) {
            let reduced = &mut reduced[..group.choices().len()];
            let mut smallest = FAR;
            for (value, choice) in reduced.iter_mut().zip(group.choices()) {
                *value = match choice.allowed {
                    true => priced(problem, &self.lambda, choice),
                    false => FAR,
                };
                smallest = smallest.min(*value);
            }
            for value in reduced {
                *value = if *value == FAR {
                    FAR
                } else {
                    *value - smallest
                };
            }
            // As much as this proves that no layout fits.
            self.base = self.base.saturating_add(smallest).min(FAR);
        }
    }

    /// Returns a lower bound of the relative prices, in units, of all layouts, allowed or not, that
    /// have `less` of the first capacity.
    pub(super) fn base_without(&self, problem: &Problem<N, K, D>, less: i64) -> i64 {
        let mut base = self.lambda[0].saturating_mul(less);
        for (lambda, capacity) in self.lambda.iter().zip(self.capacity) {
            base -= lambda * capacity;
        }
        for group in &problem.groups {
            let choices = group.choices().iter();
            let values = choices.map(|choice| priced(problem, &self.lambda, choice));
            base = base.saturating_add(values.min().unwrap_or(0));
        }
        base.min(FAR)
    }
}

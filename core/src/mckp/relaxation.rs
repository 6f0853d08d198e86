//! The linear relaxation at one capacity, and the first incumbent.
//!
//! Let lambda be a multiplier and v = price + lambda · cost. Then for every layout, exactly,
//!
//! price = (Σ min v - lambda · capacity) + Σ (v - min v) + lambda · (capacity - cost)
//!       =             base              +   Σ reduced   +     lambda · left.
//!
//! The last two terms are the *loss* of the layout. For a layout that fits neither is negative, so
//! `base` is a lower bound, whatever lambda ≥ 0 is (Kellerer, Pferschy & Pisinger 2004, sec. 11.2).
//! It is highest for the slope of the first step that does not fit.

use super::problem::{Layout, Problem};

/// More than any loss that matters, and little enough to be added to others.
pub(super) const FAR: i64 = 1 << 60;

#[derive(Clone, Debug)]
pub(super) struct Relaxation<const N: usize, const K: usize> {
    /// Units per cost; at least 1, less than 2^54.
    pub(super) lambda: i64,
    /// In units; less than 2^54, and more than -2^48.
    pub(super) base: i64,
    /// Above the sum of the groups' smallest costs.
    pub(super) capacity: i64,
    /// By group and choice, in units: from 0 (the group's best choice) to `FAR`.
    pub(super) reduced: [[i64; K]; N],
}

impl<const N: usize, const K: usize> Relaxation<N, K> {
    pub(super) const fn new() -> Self {
        Self {
            lambda: 0,
            base: 0,
            capacity: 0,
            reduced: [[0; K]; N],
        }
    }

    /// Solves the relaxation and returns an incumbent. `spare` is the capacity above the smallest
    /// cost, and less than the useful one.
    pub(super) fn solve(&mut self, problem: &Problem<N, K>, spare: i64) -> Layout<N> {
        self.capacity = spare;
        let mut layout = self.take_steps(problem);
        self.reduce(problem);
        fill(problem, &mut layout);
        layout
    }

    /// Takes the steps that fit, by falling slope. The first that does not fit gives lambda
    /// (Zemel 1980); its slope is rounded up, so the groups' best choices fit together.
    fn take_steps(&mut self, problem: &Problem<N, K>) -> Layout<N> {
        let mut layout = problem.smallest_layout(self.capacity);
        self.lambda = 0;
        for step in problem.steps() {
            let item = &mut layout.items[usize::from(step.group)];
            let slope = problem.groups[usize::from(step.group)].slope(step.from, step.to);
            if *item == step.from && i64::from(slope.cost) <= layout.left {
                *item = step.to;
                layout.left -= i64::from(slope.cost);
                layout.price -= i64::from(slope.gain);
            } else if self.lambda == 0 {
                let gain = u64::from(slope.gain) << problem.shift;
                self.lambda = gain.div_ceil(slope.cost.into()).cast_signed();
            }
        }
        layout
    }

    /// Sets the reduced prices and the base.
    ///
    /// Nothing overflows: the first choice of a group has v = price, so Σ min v < 2^54. With the
    /// exact slope, base would be the value of the relaxation, which is not negative; rounding the
    /// slope up by less than one unit takes less than one unit per cost from it. Hence
    /// lambda · capacity < 2^54 + 2^48.
    fn reduce(&mut self, problem: &Problem<N, K>) {
        self.base = -self.lambda * self.capacity;
        for (group, reduced) in problem.groups.iter().zip(&mut self.reduced) {
            let reduced = &mut reduced[..group.choices().len()];
            for (value, choice) in reduced.iter_mut().zip(group.choices()) {
                let price = i64::from(choice.price) << problem.shift;
                *value = self
                    .lambda
                    .saturating_mul(choice.cost.into())
                    .saturating_add(price);
            }
            let smallest = reduced.iter().copied().min().unwrap_or(0);
            for value in reduced {
                *value = (*value - smallest).min(FAR);
            }
            self.base += smallest;
        }
    }
}

/// Gives every group in turn the best choice that fits. Choices only become more expensive, so
/// afterwards no exchange of a single choice lowers the price.
fn fill<const N: usize, const K: usize>(problem: &Problem<N, K>, layout: &mut Layout<N>) {
    for (item, group) in layout.items.iter_mut().zip(&problem.groups) {
        let old = group.choice(*item);
        *item = group.best_within(layout.left + i64::from(old.cost));
        let new = group.choice(*item);
        layout.left -= i64::from(new.cost - old.cost);
        layout.price -= i64::from(old.price - new.price);
    }
}

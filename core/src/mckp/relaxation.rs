//! The linear relaxation at one capacity, and the first incumbent.
//!
//! With a multiplier lambda for the capacity, and v = price + lambda · cost, every layout satisfies
//!
//! price = Σ min v - lambda · capacity + Σ (v - min v) + lambda · (capacity - cost)
//!       =            base             +  Σ reduced    +     lambda · left
//!
//! exactly. The last two terms are the *loss* of the layout: both are non-negative for layouts that
//! fit, so `base` is a lower bound, for every lambda ≥ 0 (Kellerer, Pferschy & Pisinger 2004,
//! sec. 11.2). It is best at the slope of the first step that does not fit.

use heapless::Vec;

use super::problem::{Layout, Problem};

/// A reduced price that is larger than every gap, and small enough to be added to others.
pub(super) const FAR: i64 = 1 << 61;
/// How many groups the exchange of pairs looks at.
const PAIR_GROUPS: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Relaxation<const N: usize, const K: usize> {
    /// Price per cost, rounded up, in units.
    pub(super) lambda: i64,
    /// The lower bound of the relative price, in units.
    pub(super) base: i64,
    pub(super) capacity: i64,
    /// By group and item; from 0 (the group's best item) to `FAR`.
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
    /// cost; it is less than the useful one.
    pub(super) fn solve(&mut self, problem: &Problem<N, K>, spare: i64) -> Layout<N> {
        self.capacity = spare;
        let mut layout = self.fill(problem);
        self.reduce(problem);
        while improve_one(problem, &mut layout) || self.improve_pair(problem, &mut layout) {}
        layout
    }

    /// Takes the steps by falling slope while they fit, which solves the linear relaxation
    /// (Zemel 1980), and goes on with the later ones that still fit.
    fn fill(&mut self, problem: &Problem<N, K>) -> Layout<N> {
        let mut layout = problem.smallest_layout(self.capacity);
        self.lambda = 0;
        for step in problem.steps() {
            let group = usize::from(step.group);
            let slope = problem.groups[group].slope(step.from, step.to);
            if layout.item[group] == step.from && i64::from(slope.cost) <= layout.left {
                layout.item[group] = step.to;
                layout.left -= i64::from(slope.cost);
                layout.price -= i64::from(slope.gain);
            } else if self.lambda == 0 {
                // A gain is part of the prices, so this is below 2^54.
                self.lambda = (i64::from(slope.gain) << problem.shift)
                    .unsigned_abs()
                    .div_ceil(slope.cost.into()) as i64;
            }
        }
        layout
    }

    /// Sets the reduced prices and the bound.
    ///
    /// The first item of a group has v = price, so min v and Σ min v stay below 2^54. The exact
    /// slope would give a base ≥ 0; rounding it up by less than one unit lowers the base by less
    /// than one unit per unit of capacity, so lambda · capacity is below 2^54 + 2^48 too.
    fn reduce(&mut self, problem: &Problem<N, K>) {
        let mut sum = 0;
        for (group, reduced) in problem.groups.iter().zip(&mut self.reduced) {
            let mut smallest = i64::MAX;
            for (value, choice) in reduced.iter_mut().zip(group.choices()) {
                let price = i64::from(choice.price) << problem.shift;
                *value = self
                    .lambda
                    .saturating_mul(choice.cost.into())
                    .saturating_add(price);
                smallest = smallest.min(*value);
            }
            for value in &mut reduced[..group.choices().len()] {
                *value = (*value - smallest).min(FAR);
            }
            sum += smallest;
        }
        self.base = sum - self.lambda * self.capacity;
    }

    /// Makes the best exchange of two items of two groups, among the groups that lose least by
    /// leaving their best item; false if none lowers the price.
    fn improve_pair(&self, problem: &Problem<N, K>, layout: &mut Layout<N>) -> bool {
        let near = self.nearest(problem);
        let mut best = (0, [(0, 0); 2]);
        for (position, &first) in near.iter().enumerate() {
            for &second in &near[position + 1..] {
                let (a, b) = (&problem.groups[first], &problem.groups[second]);
                let old = [a.choice(layout.item[first]), b.choice(layout.item[second])];
                let price = i64::from(old[0].price) + i64::from(old[1].price);
                let room = layout.left + i64::from(old[0].cost) + i64::from(old[1].cost);
                for (item, choice) in a.choices().iter().enumerate() {
                    if i64::from(choice.cost) > room {
                        break;
                    }
                    let other = b.best_within(room - i64::from(choice.cost));
                    let gain = price - i64::from(choice.price) - i64::from(b.choice(other).price);
                    if gain > best.0 {
                        best = (gain, [(first, item as u8), (second, other)]);
                    }
                }
            }
        }
        let (gain, exchange) = best;
        if gain > 0 {
            for (group, item) in exchange {
                layout.replace(problem, group, item);
            }
        }
        gain > 0
    }

    /// Returns the groups whose second smallest reduced price is smallest.
    fn nearest(&self, problem: &Problem<N, K>) -> Vec<usize, PAIR_GROUPS> {
        let mut near: Vec<(i64, usize), PAIR_GROUPS> = Vec::new();
        for (index, group) in problem.groups.iter().enumerate() {
            let reduced = &self.reduced[index][..group.choices().len()];
            let Some(second) = second_smallest(reduced) else {
                continue;
            };
            let position = near.partition_point(|&(value, _)| value <= second);
            if position < PAIR_GROUPS {
                if near.is_full() {
                    near.pop();
                }
                // There is room now.
                let _ = near.insert(position, (second, index));
            }
        }
        near.iter().map(|&(_, index)| index).collect()
    }
}

/// Returns the second smallest value, which may equal the smallest.
fn second_smallest(values: &[i64]) -> Option<i64> {
    let (mut first, mut second) = (i64::MAX, i64::MAX);
    for &value in values {
        second = second.min(value.max(first));
        first = first.min(value);
    }
    (values.len() > 1).then_some(second)
}

/// Makes the best exchange of one item; false if none lowers the price.
///
/// Prices fall as costs rise, so a group's best item is the last that fits.
fn improve_one<const N: usize, const K: usize>(
    problem: &Problem<N, K>,
    layout: &mut Layout<N>,
) -> bool {
    let mut best = (0, 0, 0);
    for (index, group) in problem.groups.iter().enumerate() {
        let old = group.choice(layout.item[index]);
        let item = group.best_within(layout.left + i64::from(old.cost));
        let gain = old.price - group.choice(item).price;
        if gain > best.0 {
            best = (gain, index, item);
        }
    }
    let (gain, index, item) = best;
    if gain > 0 {
        layout.replace(problem, index, item);
    }
    gain > 0
}

impl<const N: usize> Layout<N> {
    /// Chooses another item in a group.
    fn replace<const K: usize>(&mut self, problem: &Problem<N, K>, group: usize, item: u8) {
        let old = problem.groups[group].choice(self.item[group]);
        let new = problem.groups[group].choice(item);
        self.item[group] = item;
        self.left += i64::from(old.cost) - i64::from(new.cost);
        self.price += i64::from(new.price) - i64::from(old.price);
    }
}

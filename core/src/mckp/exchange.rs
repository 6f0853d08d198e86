//! Dominance between partial layouts by the exchange of two choices.
//!
//! A partial layout with choice a in one group and b in another is not needed if the two groups
//! have choices a' and b' that together cost no more and are better. *Better* means a lower price; at
//! equal price lower costs, the first one first; at equal costs too, a costlier choice in the group
//! that is decided first. The exchange keeps every completion feasible and makes it better. Layouts can
//! be ordered by price, then by costs, then by the first costs of their choices as the groups are
//! decided, from high to low. No exchange improves the first layout in this order: it is never cut, and
//! it is optimal. Groups of equal costs make this worthwhile: of all permutations of their choices few
//! survive.
//!
//! # Classes
//!
//! A completion's surcharge must not rise. It does not where both groups keep their classes. Its lower
//! bound does not either where one group at most gets a class that can raise it, and what that adds stays
//! within what the partial layout has anyhow.

use core::cmp::Reverse;

use super::Surcharge;
use super::problem::{Choice, Group, Problem};

/// Which classes an exchange may end with.
pub(super) struct Exchange<'a, const N: usize> {
    pub(super) surcharge: &'a dyn Surcharge<N>,
    /// The least surcharge of the partial layout.
    pub(super) at_least: u32,
}

impl<const N: usize> Exchange<'_, N> {
    /// Whether the groups can change from some classes to others without raising the surcharge, or its
    /// lower bound, of any completion. `classes` are those of the groups that are decided.
    fn raises_nothing(
        &self,
        groups: [usize; 2],
        old: [u8; 2],
        new: [u8; 2],
        classes: &mut [u8; N],
    ) -> bool {
        let can_raise = |i: usize| new[i] != old[i] && self.surcharge.can_raise(groups[i], new[i]);
        let group = match [can_raise(0), can_raise(1)] {
            [false, false] => return true,
            [true, true] => return false,
            [first, _] => groups[usize::from(!first)],
        };
        let before = groups.map(|group| classes[group]);
        for (group, new) in groups.into_iter().zip(new) {
            classes[group] = new;
        }
        let within = self.surcharge.keeps_within(self.at_least, group, classes);
        for (group, before) in groups.into_iter().zip(before) {
            classes[group] = before;
        }
        within
    }

    /// Whether two groups may have these choices instead of their own.
    pub(super) fn allows<const D: usize>(
        &self,
        groups: [usize; 2],
        own: [&Choice<D>; 2],
        new: [&Choice<D>; 2],
        classes: &mut [u8; N],
    ) -> bool {
        let class = |choice: &Choice<D>| choice.class;
        !self.surcharge.tells_classes_apart()
            || own.map(class) == new.map(class)
            || new.iter().all(|choice| choice.allowed)
                && self.raises_nothing(groups, own.map(class), new.map(class), classes)
    }
}

/// Returns whether two groups, decided in this order, have better choices than these two, of those that
/// are allowed; of the same classes alone if `by_class`.
pub(super) fn improves<const K: usize, const D: usize>(
    first: &Group<K, D>,
    item: u8,
    second: &Group<K, D>,
    choice: Choice<D>,
    by_class: bool,
    mut allows: impl FnMut(&Choice<D>, &Choice<D>) -> bool,
) -> bool {
    let sum = |a: u32, b: u32| u64::from(a) + u64::from(b);
    let old = first.choice(item);
    let price = sum(old.price, choice.price);
    let costs: [u64; D] = core::array::from_fn(|d| sum(old.cost[d], choice.cost[d]));
    for a in first.choices() {
        let is_other = by_class && a.class != old.class;
        if is_other || u64::from(a.price) > price || u64::from(a.cost[0]) > costs[0] {
            continue;
        }
        for b in second.choices() {
            if sum(a.cost[0], b.cost[0]) > costs[0] {
                break;
            }
            let new_price = sum(a.price, b.price);
            if new_price > price || by_class && b.class != choice.class {
                continue;
            }
            let new: [u64; D] = core::array::from_fn(|d| sum(a.cost[d], b.cost[d]));
            let fits = (1..D).all(|d| new[d] <= costs[d]);
            let better =
                (new_price, new, Reverse(a.cost[0])) < (price, costs, Reverse(old.cost[0]));
            if fits && better && (by_class || allows(a, b)) {
                return true;
            }
        }
    }
    false
}

/// Returns the exchange of the choices of two of these groups, for others of their classes if `by_class`,
/// that lowers the price of a layout most and costs no more than there is room; none if no exchange
/// lowers it.
pub(super) fn best_exchange<const N: usize, const K: usize, const D: usize>(
    problem: &Problem<N, K, D>,
    groups: &[u16],
    items: &[u8; N],
    room: &[i64; D],
    by_class: bool,
) -> Option<[(usize, u8); 2]> {
    let mut best = None;
    let mut best_gain = 0;
    for (at, &first) in groups.iter().enumerate() {
        let first = usize::from(first);
        let others = problem.groups[first].alike(items[first], by_class);
        for (item, with_first, gain) in others {
            let room: [i64; D] = core::array::from_fn(|d| room[d] - with_first[d]);
            for &second in &groups[at + 1..] {
                let second = usize::from(second);
                for (other, with_second, more) in
                    problem.groups[second].alike(items[second], by_class)
                {
                    let fits = (0..D).all(|d| with_second[d] <= room[d]);
                    if fits && gain + more > best_gain {
                        best_gain = gain + more;
                        best = Some([(first, item), (second, other)]);
                    }
                }
            }
        }
    }
    best
}

//! Dominance between partial layouts by the exchange of two choices.
//!
//! A partial layout with choice a in one group and b in another is not needed if the two groups
//! have choices a' and b' of the same classes (of any, where classes make no difference) that together
//! cost no more and are better. *Better*
//! means a lower price; at equal price lower costs, the first one first; at equal costs too, a
//! cheaper choice in the group that is decided first. The exchange keeps every completion feasible
//! and makes it better. Layouts can be ordered by price, then by costs, then by the first costs of
//! their choices as the groups are decided. No exchange improves the first layout in this order: it
//! is never cut, and it is optimal. Groups of equal costs make this worthwhile: of all permutations
//! of their choices few survive.

use super::problem::{Choice, Group, Problem};

/// Returns whether two groups, decided in this order, have better choices than these two; `by_class`
/// says whether they must be of the same classes.
pub(super) fn improves<const K: usize, const D: usize>(
    first: &Group<K, D>,
    item: u8,
    second: &Group<K, D>,
    choice: Choice<D>,
    by_class: bool,
) -> bool {
    let sum = |a: u32, b: u32| u64::from(a) + u64::from(b);
    let old = first.choice(item);
    let price = sum(old.price, choice.price);
    let costs: [u64; D] = core::array::from_fn(|d| sum(old.cost[d], choice.cost[d]));
    for a in first.choices() {
        let alike = !by_class || a.class == old.class;
        if u64::from(a.price) > price || u64::from(a.cost[0]) > costs[0] || !alike {
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
            if fits && (new_price, new, a.cost[0]) < (price, costs, old.cost[0]) {
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

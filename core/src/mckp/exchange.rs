//! Dominance between partial layouts by the exchange of two choices.
//!
//! A partial layout with choice a in one group and b in another is not needed if the two groups
//! have choices a' and b' that together cost no more and are better. *Better* means a lower price;
//! at equal price a lower cost; at equal cost too, a cheaper choice in the group that is decided
//! first. The exchange keeps every completion feasible and makes it better. Layouts can be ordered
//! by price, then by cost, then by the costs of their choices as the groups are decided. No
//! exchange improves the first layout in this order: it is never cut, and it is optimal. Groups of
//! equal costs make this worthwhile: of all permutations of their choices few survive.

use super::problem::{Choice, Group};

/// Returns whether two groups, decided in this order, have better choices than these two.
pub(super) fn improves<const K: usize>(
    first: &Group<K>,
    item: u8,
    second: &Group<K>,
    choice: Choice,
) -> bool {
    let sum = |a: u32, b: u32| u64::from(a) + u64::from(b);
    let rank = |a: Choice, b: Choice| (sum(a.price, b.price), sum(a.cost, b.cost), a.cost);
    let chosen = rank(first.choice(item), choice);
    let mut fitting = second.choices();
    for &a in first.choices() {
        // Prices fall as costs rise, so the best partner is the last one that fits.
        while let [cheaper @ .., last] = fitting
            && sum(a.cost, last.cost) > chosen.1
        {
            fitting = cheaper;
        }
        let Some(&b) = fitting.last() else { break };
        if rank(a, b) < chosen {
            return true;
        }
    }
    false
}

//! Sorting with little code, since a device holds one copy of it for each type that is sorted.

/// Sorts by bottom-up heapsort (Wegener 1993): in place, O(n log n), not stable.
///
/// `less` says whether the first of two comes before the second.
pub(crate) fn sort_by<T>(items: &mut [T], mut less: impl FnMut(&T, &T) -> bool) {
    for root in (0..items.len() / 2).rev() {
        sift(items, root, &mut less);
    }
    for end in (1..items.len()).rev() {
        swap(items, 0, end);
        sift(&mut items[..end], 0, &mut less);
    }
}

/// Moves the root down to where no child comes after it; the heaps of its children are in order.
fn sift<T>(items: &mut [T], root: usize, less: &mut impl FnMut(&T, &T) -> bool) {
    let mut at = root;
    while 2 * at + 1 < items.len() {
        let child = 2 * at + 1;
        let right = child + 1 < items.len() && less(&items[child], &items[child + 1]);
        at = child + usize::from(right);
    }
    while less(&items[at], &items[root]) {
        at = (at - 1) / 2;
    }
    // the path's items move up by one, the root takes the last one's place
    while at > root {
        swap(items, root, at);
        at = (at - 1) / 2;
    }
}

/// As `slice::swap` for two different items: it tells the compiler that they are, so that a program needs no
/// routine for bytes that overlap.
fn swap<T>(items: &mut [T], a: usize, b: usize) {
    if let Ok([a, b]) = items.get_disjoint_mut([a, b]) {
        core::mem::swap(a, b);
    }
}

#[cfg(test)]
mod tests {
    use super::sort_by;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn everything_is_in_order_afterwards() {
        let mut rng = SmallRng::seed_from_u64(5);
        for len in (0..200).chain([1_000]) {
            let mut items: Vec<u16> = (0..len).map(|_| rng.random_range(0..300)).collect();
            let mut expected = items.clone();
            expected.sort_unstable();
            sort_by(&mut items, |a, b| a < b);
            assert_eq!(items, expected);
        }
    }
}

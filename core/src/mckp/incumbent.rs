//! The incumbent: where layouts come from that are good before the search is through.

use super::exchange::best_exchange;
use super::problem::{Layout, Problem};
use super::search::Run;
use super::surcharge::OPEN;

/// How many groups take part in a polish.
const POLISH_GROUPS: usize = 64;
/// How often a layout is changed to fit with its true surcharge.
const FITS: usize = 4;

impl<const N: usize, const K: usize, const D: usize> Problem<N, K, D> {
    /// Gives every group in turn the best choice that fits beside the others; none if the costs are
    /// still above the capacity then. Within the limits choices only become better, so afterwards no
    /// exchange of a single choice lowers the price.
    pub(super) fn filled(&self, items: &[u8; N], capacity: &[i64; D]) -> Option<Layout<N>> {
        let mut items = *items;
        let mut cost = self.cost(&items);
        for (item, group) in items.iter_mut().zip(&self.groups) {
            let old = group.choice(*item);
            let others: [i64; D] = core::array::from_fn(|d| cost[d] - i64::from(old.cost[d]));
            let room = core::array::from_fn(|d| capacity[d] - others[d]);
            if let Some(best) = group.best_within(&room) {
                *item = best;
            }
            let new = group.choice(*item);
            cost = core::array::from_fn(|d| others[d] + i64::from(new.cost[d]));
        }
        let fits = (0..D).all(|d| cost[d] <= capacity[d]);
        let price = self.price(&items);
        fits.then_some(Layout { items, price })
    }

    /// Returns a layout of these choices that is within the capacity after the one change that raises the
    /// price least, if one suffices, and improved then.
    fn fitted(&self, items: &[u8; N], capacity: &[i64; D]) -> Option<Layout<N>> {
        let cost = self.cost(items);
        let room: [i64; D] = core::array::from_fn(|d| capacity[d] - cost[d]);
        let groups = self.groups.iter().zip(items).enumerate();
        let changes = groups.flat_map(|(index, (group, &item))| {
            let others = group.alike(item, false);
            let enough = others.filter(|(item, more, _)| {
                group.choice(*item).allowed && (0..D).all(|d| more[d] <= room[d])
            });
            enough.map(move |(item, _, gain)| (gain, index, item))
        });
        let mut items = *items;
        if let Some((_, index, item)) = changes.max_by_key(|(gain, ..)| *gain) {
            items[index] = item;
        }
        self.filled(&items, capacity)
    }
}

impl<const N: usize, const K: usize, const D: usize> Run<'_, N, K, D> {
    /// Takes a layout for the incumbent, if it fits and is better.
    pub(super) fn suggest(&mut self, choice: &[u8]) {
        if let Some(layout) = self.problem.layout_of(choice)
            && layout.price < self.search.best.price
            && let Ok(surcharge) = self.fitting_surcharge(&layout, &self.search.spare)
        {
            self.search.best = layout;
            self.search.best_surcharge = Some(surcharge);
            self.set_limit();
        }
    }

    /// Takes a layout for the incumbent, if it is better. One that does not fit with its surcharge is
    /// changed first.
    pub(super) fn fit_incumbent(&mut self, mut layout: Layout<N>) {
        for _ in 0..FITS {
            if layout.price >= self.search.best.price {
                return;
            }
            let mut capacity = self.search.spare;
            match self.fitting_surcharge(&layout, &capacity) {
                Ok(surcharge) => {
                    self.search.best = layout;
                    self.search.best_surcharge = Some(surcharge);
                    return;
                }
                Err(surcharge) => capacity[0] -= i64::from(surcharge),
            }
            let Some(smaller) = self.problem.fitted(&layout.items, &capacity) else {
                return;
            };
            layout = smaller;
        }
    }

    /// Returns the layout's surcharge, if it is within the limits with it; else what the layout has as a
    /// surcharge at least.
    pub(super) fn fitting_surcharge(
        &self,
        layout: &Layout<N>,
        spare: &[i64; D],
    ) -> Result<u32, u32> {
        let cost = self.problem.cost(&layout.items);
        let classes = self.classes(layout);
        let at_least = self.surcharge.at_least(&classes);
        let fits = |surcharge: u32| cost[0] + i64::from(surcharge) <= spare[0];
        if !fits(at_least) || (1..D).any(|d| cost[d] > spare[d]) {
            return Err(at_least);
        }
        let surcharge = self.surcharge.of(&classes);
        if fits(surcharge) {
            Ok(surcharge)
        } else {
            Err(surcharge)
        }
    }

    fn classes(&self, layout: &Layout<N>) -> [u8; N] {
        let mut classes = [OPEN; N];
        let chosen = self.problem.groups.iter().zip(&layout.items);
        for (class, (group, &item)) in classes.iter_mut().zip(chosen) {
            *class = group.choice(item).class;
        }
        classes
    }

    pub(super) fn surcharge_of(&self, layout: &Layout<N>) -> u32 {
        self.surcharge.of(&self.classes(layout))
    }

    /// Improves the incumbent by exchanging the choices of two groups for others that leave the
    /// surcharge as it is, as long as that helps.
    pub(super) fn polish(&mut self) {
        let Some(surcharge) = self.search.best_surcharge else {
            return;
        };
        // other groups at every power of two
        let windows = self.search.order.len().div_ceil(POLISH_GROUPS).max(1);
        let window = self.search.nodes.trailing_zeros() as usize % windows;
        let mut best = self.search.best.clone();
        let mut room = self.problem.cost(&best.items);
        for (d, room) in room.iter_mut().enumerate() {
            let surcharge = if d == 0 { i64::from(surcharge) } else { 0 };
            *room = self.search.spare[d] - surcharge - *room;
        }
        let groups = self.search.order.rchunks(POLISH_GROUPS).nth(window);
        let groups = groups.unwrap_or(&[]);
        let by_class = self.surcharge.tells_classes_apart();
        while let Some([first, second]) =
            best_exchange(self.problem, groups, &best.items, &room, by_class)
        {
            for (group, item) in [first, second] {
                let old = self.problem.groups[group].choice(best.items[group]);
                let new = self.problem.groups[group].choice(item);
                for (d, room) in room.iter_mut().enumerate() {
                    *room += i64::from(old.cost[d]) - i64::from(new.cost[d]);
                }
                best.items[group] = item;
            }
        }
        best.price = self.problem.price(&best.items);
        if best.price < self.search.best.price {
            self.search.best = best;
            self.set_limit();
        }
    }
}

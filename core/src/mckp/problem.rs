//! What does not depend on the limits: undominated items and the steps of the convex hulls.

use core::cmp::Ordering;

use heapless::Vec;

use super::{Item, ProblemError};
use crate::sort::sort_by;

/// All prices together take at most this many bits, in the units of the relaxation.
///
/// More bits make the multipliers finer; fewer let the table reach for larger ones.
const PRICE_BITS: u32 = 54;

/// More than any loss that matters, in the units of the relaxation, and little enough to be added to
/// others.
pub(super) const FAR: i64 = 1 << 60;

/// An item that no other item of its group and class dominates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<const D: usize> {
    /// Above the smallest costs of the group.
    pub(super) cost: [u32; D],
    /// Above the smallest price of the group.
    pub(super) price: u32,
    pub(super) class: u8,
    /// Whether the search may choose it.
    pub(super) allowed: bool,
    /// The item's index as given.
    index: u8,
}

impl<const D: usize> Choice<D> {
    /// Returns whether the costs fit into `room`.
    pub(super) fn fits(&self, room: &[i64; D]) -> bool {
        let mut costs = self.cost.iter().zip(room);
        costs.all(|(&cost, &room)| i64::from(cost) <= room)
    }
}

/// The undominated items of a group by rising first cost, those of equal costs by rising price.
///
/// There is at least one; a group without items gets one of no cost and no price.
#[derive(Clone, Debug)]
pub(super) struct Group<const K: usize, const D: usize> {
    smallest_cost: [u32; D],
    smallest_price: i32,
    choices: Vec<Choice<D>, K>,
}

impl<const K: usize, const D: usize> Group<K, D> {
    /// Drops the dominated items (Sinha & Zoltners 1979); of equal ones the first is kept.
    fn new(mut items: Vec<(Item<D>, u8), K>) -> Self {
        if items.is_empty() {
            // There is room, for K is not 0.
            let _ = items.push((Item::default(), 0));
        }
        let key = |&(item, index): &(Item<D>, u8)| (item.cost, item.price, index);
        sort_by(&mut items, |a, b| key(a) < key(b));
        let mut kept: Vec<(Item<D>, u8), K> = Vec::new();
        for new in items {
            // What dominates an item stands before it.
            if !kept.iter().any(|(item, _)| item.dominates(&new.0)) {
                let _ = kept.push(new);
            }
        }
        let (mut smallest_cost, mut smallest_price) = ([u32::MAX; D], i32::MAX);
        for (item, _) in &kept {
            smallest_price = smallest_price.min(item.price);
            for (smallest, cost) in smallest_cost.iter_mut().zip(item.cost) {
                *smallest = cost.min(*smallest);
            }
        }
        let relative = |&(item, index): &(Item<D>, u8)| Choice {
            cost: core::array::from_fn(|d| item.cost[d] - smallest_cost[d]),
            price: item.price.abs_diff(smallest_price),
            class: item.class,
            allowed: true,
            index,
        };
        Self {
            smallest_cost,
            smallest_price,
            choices: kept.iter().map(relative).collect(),
        }
    }

    pub(super) fn choices(&self) -> &[Choice<D>] {
        &self.choices
    }

    #[inline(always)]
    pub(super) fn choice(&self, item: u8) -> Choice<D> {
        self.choices[usize::from(item)]
    }

    /// Returns the allowed item of smallest price that fits into `room`; none if none does.
    pub(super) fn best_within(&self, room: &[i64; D]) -> Option<u8> {
        let fitting = |choice: &Choice<D>| choice.allowed && choice.fits(room);
        let choices = self.choices.iter().zip(0..);
        let fitting = choices.filter(|(choice, _)| fitting(choice));
        Some(fitting.min_by_key(|(choice, _)| choice.price)?.1)
    }

    /// Returns the items of the same class as this one, or of all if not `by_class`, itself too: what each
    /// costs more, and how much lower its price is.
    pub(super) fn alike(
        &self,
        item: u8,
        by_class: bool,
    ) -> impl Iterator<Item = (u8, [i64; D], i64)> {
        let old = self.choice(item);
        let choices = (0..).zip(&self.choices);
        let alike = choices.filter(move |(_, new)| !by_class || new.class == old.class);
        alike.map(move |(place, new)| {
            let more = |d: usize| i64::from(new.cost[d]) - i64::from(old.cost[d]);
            let gain = i64::from(old.price) - i64::from(new.price);
            (place, core::array::from_fn(more), gain)
        })
    }

    /// Returns the allowed item of smallest first cost.
    fn smallest(&self) -> u8 {
        let allowed = self.choices.iter().position(|choice| choice.allowed);
        allowed.unwrap_or(0) as u8
    }

    /// Returns the corners of the lower convex hull of prices over first costs: the items that no
    /// mixture of two others dominates (Sinha & Zoltners 1979).
    fn hull(&self) -> Vec<u8, K> {
        let mut hull: Vec<u8, K> = Vec::new();
        for new in 0..self.choices.len() as u8 {
            let cheaper = |&last: &u8| self.choice(new).price < self.choice(last).price;
            if !hull.last().is_none_or(cheaper) {
                continue;
            }
            while let [.., first, middle] = hull[..]
                && self
                    .slope(middle, new)
                    .compare(self.slope(first, middle))
                    .is_ge()
            {
                hull.pop();
            }
            // There is room, for there are not more corners than items.
            let _ = hull.push(new);
        }
        hull
    }

    pub(super) fn slope(&self, from: u8, to: u8) -> Slope {
        let (from, to) = (self.choice(from), self.choice(to));
        Slope {
            gain: from.price - to.price,
            cost: to.cost[0] - from.cost[0],
        }
    }
}

/// How much lower a price becomes for how much more cost; only the cost can be 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slope {
    pub(super) gain: u32,
    pub(super) cost: u32,
}

impl Slope {
    /// Compares the quotients gain / cost, exactly: 32 by 32 bits fit into 64.
    fn compare(self, other: Self) -> Ordering {
        let this = u64::from(self.gain) * u64::from(other.cost);
        this.cmp(&(u64::from(other.gain) * u64::from(self.cost)))
    }
}

/// One edge of a group's convex hull: a lower price for more cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) group: u16,
    pub(super) from: u8,
    pub(super) to: u8,
}

/// One item per group, and what they are worth.
#[derive(Clone, Debug)]
pub(super) struct Layout<const N: usize> {
    /// By group; an index into the group's choices.
    pub(super) items: [u8; N],
    /// Above the sum of the groups' smallest prices.
    pub(super) price: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Problem<const N: usize, const K: usize, const D: usize> {
    pub(super) groups: Vec<Group<K, D>, N>,
    /// Whether the first costs are the only ones that layouts differ in: the other limits are none then.
    pub(super) is_single: bool,
    /// By falling slope; flattened, and the first `step_count` are in use. Only if `is_single`.
    steps: [[Step; K]; N],
    step_count: usize,
    pub(super) smallest_cost: [u64; D],
    pub(super) smallest_price: i64,
    /// The largest price of any layout, above the smallest prices.
    pub(super) price_span: i64,
    /// The largest costs of any layout, above the smallest ones.
    pub(super) cost_span: [i64; D],
    /// The relaxation counts prices in units of 2^-shift.
    pub(super) shift: u32,
}

impl<const N: usize, const K: usize, const D: usize> Problem<N, K, D> {
    /// A problem without groups.
    pub(super) const fn empty() -> Self {
        const {
            assert!(N <= u16::MAX as usize, "groups are counted in 16 bits");
            assert!(K > 0 && K <= 256, "items are counted in 8 bits");
            assert!(D > 0, "something is limited");
        }
        Self {
            groups: Vec::new(),
            is_single: false,
            steps: [[Step {
                group: 0,
                from: 0,
                to: 0,
            }; K]; N],
            step_count: 0,
            smallest_cost: [0; D],
            smallest_price: 0,
            price_span: 0,
            cost_span: [0; D],
            shift: 0,
        }
    }

    /// Replaces the groups.
    pub(super) fn set_groups(
        &mut self,
        groups: impl IntoIterator<Item = impl IntoIterator<Item = Item<D>>>,
    ) -> Result<(), ProblemError> {
        self.groups.clear();
        self.step_count = 0;
        self.smallest_cost = [0; D];
        self.cost_span = [0; D];
        (self.smallest_price, self.price_span) = (0, 0);
        for (group, given) in groups.into_iter().enumerate() {
            let mut items = Vec::new();
            for (index, item) in given.into_iter().enumerate() {
                items
                    .push((item, index as u8))
                    .map_err(|_| ProblemError::TooManyItems { group, limit: K })?;
            }
            self.push(Group::new(items))?;
        }
        self.is_single = self.cost_span.iter().skip(1).all(|span| *span == 0);
        if self.is_single {
            self.list_steps();
            self.sort_steps();
        }
        let bits = u64::BITS - self.price_span.cast_unsigned().leading_zeros();
        self.shift = PRICE_BITS - bits;
        Ok(())
    }

    fn push(&mut self, group: Group<K, D>) -> Result<(), ProblemError> {
        for (sum, cost) in self.smallest_cost.iter_mut().zip(group.smallest_cost) {
            *sum += u64::from(cost);
        }
        self.smallest_price += i64::from(group.smallest_price);
        let prices = group.choices().iter().map(|choice| choice.price);
        self.price_span += prices.max().map_or(0, i64::from);
        for (d, span) in self.cost_span.iter_mut().enumerate() {
            let costs = group.choices().iter().map(|choice| choice.cost[d]);
            *span += costs.max().map_or(0, i64::from);
        }
        self.groups
            .push(group)
            .map_err(|_| ProblemError::TooManyGroups { limit: N })
    }

    fn list_steps(&mut self) {
        for (index, group) in self.groups.iter().enumerate() {
            for edge in group.hull().windows(2) {
                let step = Step {
                    group: index as u16,
                    from: edge[0],
                    to: edge[1],
                };
                self.steps.as_flattened_mut()[self.step_count] = step;
                self.step_count += 1;
            }
        }
    }

    /// Sorts the steps by falling slope, and those of equal slope by group.
    ///
    /// Slopes fall strictly along a hull, so the steps of one group keep their order.
    fn sort_steps(&mut self) {
        let groups = &self.groups;
        let slope = |step: &Step| groups[usize::from(step.group)].slope(step.from, step.to);
        let steps = &mut self.steps.as_flattened_mut()[..self.step_count];
        sort_by(steps, |a, b| {
            let falling = slope(b).compare(slope(a));
            falling.then_with(|| a.group.cmp(&b.group)).is_lt()
        });
    }

    /// Returns the number of limits, the first ones, behind which no costs differ between layouts. The search
    /// depends on these alone, not on `D`.
    pub(super) const fn dims(&self) -> usize {
        let mut dims = D;
        while dims > 2 && self.cost_span[dims - 1] == 0 {
            dims -= 1;
        }
        if self.is_single { 1 } else { dims }
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps.as_flattened()[..self.step_count]
    }

    /// Allows the choices of these groups and classes, and no others; at least one of each group.
    pub(super) fn allow(&mut self, allowed: impl Fn(usize, u8) -> bool) {
        for (index, group) in self.groups.iter_mut().enumerate() {
            for choice in &mut group.choices {
                choice.allowed = allowed(index, choice.class);
            }
        }
    }

    /// Returns whether the smallest costs of what is allowed fit into `capacity`, each by itself.
    pub(super) fn has_room(&self, capacity: &[i64; D]) -> bool {
        (0..D).all(|d| {
            let smallest = self.groups.iter().map(|group| {
                let allowed = group.choices.iter().filter(|choice| choice.allowed);
                allowed.map(|choice| i64::from(choice.cost[d])).min()
            });
            smallest.flatten().sum::<i64>() <= capacity[d]
        })
    }

    /// Returns the allowed layout of smallest first cost.
    pub(super) fn smallest_layout(&self) -> Layout<N> {
        self.layout(Group::smallest)
    }

    /// Returns the layout of smallest price.
    pub(super) fn best_layout(&self) -> Layout<N> {
        self.layout(|group| {
            let choices = group.choices().iter().zip(0..);
            choices
                .min_by_key(|(choice, _)| choice.price)
                .map_or(0, |(_, item)| item)
        })
    }

    pub(super) fn layout(&self, choose: impl Fn(&Group<K, D>) -> u8) -> Layout<N> {
        let mut items = [0; N];
        for (item, group) in items.iter_mut().zip(&self.groups) {
            *item = choose(group);
        }
        Layout {
            price: self.price(&items),
            items,
        }
    }

    /// Returns the costs of a layout, above the smallest ones.
    pub(super) fn cost(&self, items: &[u8; N]) -> [i64; D] {
        let mut sums = [0; D];
        for (group, &item) in self.groups.iter().zip(items) {
            for (sum, cost) in sums.iter_mut().zip(&group.choice(item).cost) {
                *sum += i64::from(*cost);
            }
        }
        sums
    }

    /// Returns the layout of these indices; none if one is of a dominated item.
    pub(super) fn layout_of(&self, indices: &[u8]) -> Option<Layout<N>> {
        if indices.len() != self.groups.len() {
            return None;
        }
        let mut items = [0; N];
        let groups = self.groups.iter().zip(indices);
        for (item, (group, &index)) in items.iter_mut().zip(groups) {
            let place = group
                .choices
                .iter()
                .position(|choice| choice.index == index);
            *item = place? as u8;
        }
        Some(Layout {
            price: self.price(&items),
            items,
        })
    }

    pub(super) fn price(&self, items: &[u8; N]) -> i64 {
        let chosen = self.groups.iter().zip(items);
        chosen
            .map(|(group, &item)| i64::from(group.choice(item).price))
            .sum()
    }

    /// Returns the indices of a layout's items as the caller knows them.
    pub(super) fn indices(&self, items: &[u8; N]) -> Vec<u8, N> {
        let chosen = self.groups.iter().zip(items);
        chosen
            .map(|(group, &item)| group.choice(item).index)
            .collect()
    }
}

/// Returns price + lambda · cost in units; `FAR` at most.
pub(super) fn priced<const N: usize, const K: usize, const D: usize>(
    problem: &Problem<N, K, D>,
    lambda: &[i64; D],
    choice: &Choice<D>,
) -> i64 {
    let mut value = i64::from(choice.price) << problem.shift;
    for (lambda, cost) in lambda.iter().zip(&choice.cost) {
        // most limits are none, and a product that saturates takes its time
        if *lambda != 0 {
            value = value.saturating_add(lambda.saturating_mul((*cost).into()));
        }
    }
    value.min(FAR)
}

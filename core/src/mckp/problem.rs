//! What does not depend on the capacity: undominated items and the steps of the convex hulls.

use heapless::Vec;

use super::{Item, ProblemError, Solution, Status};

/// Bits that the prices of all groups together may take, in the units of the relaxation.
const PRICE_BITS: u32 = 54;
/// Finer units than this would gain nothing: costs have 32 bits.
const MAX_SHIFT: u32 = 32;

/// An item that no other of its group dominates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// Above the smallest cost of the group.
    pub(super) cost: u32,
    /// Above the smallest price of the group.
    pub(super) price: u32,
    /// Where the caller had it.
    index: u8,
}

/// The undominated items of a group: costs rise strictly, prices fall strictly.
///
/// The first item costs 0 and the last has price 0, since both are relative to the group's smallest.
/// A group without items has the single item (0, 0).
#[derive(Clone, Debug)]
pub(super) struct Group<const K: usize> {
    smallest_cost: u32,
    smallest_price: i32,
    choices: Vec<Choice, K>,
}

/// One edge of a group's lower convex hull: paying more cost for a lower price.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) group: u16,
    pub(super) from: u8,
    pub(super) to: u8,
}

/// One item per group, as an index into the undominated ones, with its sums.
#[derive(Clone, Debug)]
pub(super) struct Layout<const N: usize> {
    pub(super) item: [u8; N],
    /// Capacity that is not used.
    pub(super) left: i64,
    /// Above the sum of the groups' smallest prices.
    pub(super) price: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Problem<const N: usize, const K: usize> {
    pub(super) groups: Vec<Group<K>, N>,
    /// By falling slope; the first `step_count` of the flattened array.
    steps: [[Step; K]; N],
    step_count: usize,
    pub(super) smallest_cost: u64,
    /// Capacity above `smallest_cost` with which every group can have its best price.
    pub(super) useful_spare: i64,
    smallest_price: i64,
    /// The relaxation counts prices in units of 2^-shift.
    pub(super) shift: u32,
}

impl<const K: usize> Group<K> {
    fn new(mut items: Vec<(Item, u8), K>) -> Self {
        if items.is_empty() {
            // There is room: K is not zero.
            let _ = items.push((Item { cost: 0, price: 0 }, 0));
        }
        items.sort_unstable_by_key(|&(item, index)| (item.cost, item.price, index));
        let mut lowest = i64::MAX;
        items.retain(|&(item, _)| {
            let undominated = i64::from(item.price) < lowest;
            if undominated {
                lowest = item.price.into();
            }
            undominated
        });
        let smallest_cost = items.first().map_or(0, |(item, _)| item.cost);
        let smallest_price = items.last().map_or(0, |(item, _)| item.price);
        let choices = items
            .iter()
            .map(|&(item, index)| Choice {
                cost: item.cost - smallest_cost,
                price: item.price.abs_diff(smallest_price),
                index,
            })
            .collect();
        Self {
            smallest_cost,
            smallest_price,
            choices,
        }
    }

    pub(super) fn choices(&self) -> &[Choice] {
        &self.choices
    }

    fn last(&self) -> Choice {
        self.choices[self.choices.len() - 1]
    }

    pub(super) fn choice(&self, item: u8) -> Choice {
        self.choices()[usize::from(item)]
    }

    /// Returns the last item that costs at most `cost`, which must not be negative.
    pub(super) fn best_within(&self, cost: i64) -> u8 {
        // At least one item passes: the first costs nothing.
        (self
            .choices()
            .partition_point(|choice| i64::from(choice.cost) <= cost)
            - 1) as u8
    }

    /// Returns the corners of the lower convex hull, as indices (LP dominance, Sinha & Zoltners
    /// 1979, prop. 2).
    fn hull(&self) -> Vec<u8, K> {
        let mut hull: Vec<u8, K> = Vec::new();
        for new in 0..self.choices.len() {
            let new = new as u8;
            while let [.., first, middle] = hull[..]
                && self.slope(middle, new).not_below(self.slope(first, middle))
            {
                hull.pop();
            }
            // As many corners as items at most, and those fit.
            let _ = hull.push(new);
        }
        hull
    }

    pub(super) fn slope(&self, from: u8, to: u8) -> Slope {
        let (from, to) = (self.choice(from), self.choice(to));
        Slope {
            gain: from.price - to.price,
            cost: to.cost - from.cost,
        }
    }
}

/// What a step gains in price for what it costs; `cost` is not zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slope {
    pub(super) gain: u32,
    pub(super) cost: u32,
}

impl Slope {
    /// The products of 32 by 32 bits are exact.
    fn compare(self, other: Self) -> core::cmp::Ordering {
        let this = u64::from(self.gain) * u64::from(other.cost);
        this.cmp(&(u64::from(other.gain) * u64::from(self.cost)))
    }

    fn not_below(self, other: Self) -> bool {
        self.compare(other).is_ge()
    }
}

impl<const N: usize, const K: usize> Problem<N, K> {
    pub(super) fn new(
        groups: impl IntoIterator<Item = impl IntoIterator<Item = Item>>,
    ) -> Result<Self, ProblemError> {
        const {
            assert!(N <= u16::MAX as usize, "groups are counted in 16 bits");
            assert!(K > 0 && K <= 256, "items are counted in 8 bits");
        }
        let mut problem = Self {
            groups: Vec::new(),
            steps: [[Step {
                group: 0,
                from: 0,
                to: 0,
            }; K]; N],
            step_count: 0,
            smallest_cost: 0,
            useful_spare: 0,
            smallest_price: 0,
            shift: 0,
        };
        for (group, given) in groups.into_iter().enumerate() {
            let mut items = Vec::new();
            for (index, item) in given.into_iter().enumerate() {
                items
                    .push((item, index as u8))
                    .map_err(|_| ProblemError::TooManyItems { group, limit: K })?;
            }
            problem.push(Group::new(items))?;
        }
        problem.sort_steps();
        problem.choose_unit();
        Ok(problem)
    }

    fn push(&mut self, group: Group<K>) -> Result<(), ProblemError> {
        self.smallest_cost += u64::from(group.smallest_cost);
        self.smallest_price += i64::from(group.smallest_price);
        self.useful_spare += i64::from(group.last().cost);
        let index = self.groups.len() as u16;
        if index as usize == N {
            return Err(ProblemError::TooManyGroups { limit: N });
        }
        for edge in group.hull().windows(2) {
            self.steps.as_flattened_mut()[self.step_count] = Step {
                group: index,
                from: edge[0],
                to: edge[1],
            };
            self.step_count += 1;
        }
        // There is room: checked above.
        let _ = self.groups.push(group);
        Ok(())
    }

    /// Sorts the steps by falling slope, those of one slope as their groups were given.
    ///
    /// The slopes of one group fall strictly, so its steps stay in the order of their costs.
    fn sort_steps(&mut self) {
        let groups = &self.groups;
        let slope = |step: &Step| groups[usize::from(step.group)].slope(step.from, step.to);
        self.steps.as_flattened_mut()[..self.step_count].sort_unstable_by(|a, b| {
            slope(b)
                .compare(slope(a))
                .then_with(|| a.group.cmp(&b.group))
        });
    }

    /// Chooses the finest unit in which all prices together stay below 2^PRICE_BITS.
    fn choose_unit(&mut self) {
        let spans = self
            .groups
            .iter()
            .map(|group| u64::from(group.choices()[0].price));
        let bits = u64::BITS - spans.sum::<u64>().leading_zeros();
        self.shift = (PRICE_BITS - bits).min(MAX_SHIFT);
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps.as_flattened()[..self.step_count]
    }

    /// Returns the layout of smallest cost, with `spare` left.
    pub(super) fn smallest_layout(&self, spare: i64) -> Layout<N> {
        let price = self
            .groups
            .iter()
            .map(|group| i64::from(group.choices()[0].price))
            .sum();
        Layout {
            item: [0; N],
            left: spare,
            price,
        }
    }

    /// Returns the layout of smallest price, with nothing left.
    pub(super) fn best_layout(&self) -> Layout<N> {
        let mut layout = Layout {
            item: [0; N],
            left: 0,
            price: 0,
        };
        for (item, group) in layout.item.iter_mut().zip(&self.groups) {
            *item = (group.choices().len() - 1) as u8;
        }
        layout
    }

    /// Returns the layout in the caller's terms; `bound` is relative like the layout's price.
    pub(super) fn solution(&self, layout: &Layout<N>, bound: i64, nodes: u64) -> Solution<N> {
        let chosen = || {
            self.groups
                .iter()
                .zip(&layout.item)
                .map(|(group, &item)| group.choice(item))
        };
        let cost: u64 = chosen().map(|choice| u64::from(choice.cost)).sum();
        Solution {
            choice: chosen().map(|choice| choice.index).collect(),
            cost: self.smallest_cost + cost,
            price: self.smallest_price + layout.price,
            bound: self.smallest_price + bound,
            nodes,
            status: if bound == layout.price {
                Status::Optimal
            } else {
                Status::NodeLimit
            },
        }
    }
}

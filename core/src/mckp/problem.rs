//! What does not depend on the capacity: undominated items and the steps of the convex hulls.

use core::cmp::Ordering;

use heapless::Vec;

use super::sort::sort_by;
use super::{Item, ProblemError, Solution, Status};

/// All prices together take at most this many bits, in the units of the relaxation.
///
/// More bits make the multipliers finer; fewer let the table reach for larger ones.
const PRICE_BITS: u32 = 54;

/// An item that no other item of its group dominates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// Above the smallest cost of the group.
    pub(super) cost: u32,
    /// Above the smallest price of the group.
    pub(super) price: u32,
    /// The item's index as given.
    index: u8,
}

/// The undominated items of a group: costs rise strictly, prices fall strictly.
///
/// So the first one has the smallest cost (relative: 0) and the last one the smallest price
/// (relative: 0). There is at least one; a group without items gets one of no cost and no price.
#[derive(Clone, Debug)]
pub(super) struct Group<const K: usize> {
    smallest_cost: u32,
    smallest_price: i32,
    choices: Vec<Choice, K>,
}

impl<const K: usize> Group<K> {
    /// Drops the dominated items (Sinha & Zoltners 1979); of equal ones the first is kept.
    fn new(mut items: Vec<(Item, u8), K>) -> Self {
        if items.is_empty() {
            // There is room, for K is not 0.
            let _ = items.push((Item { cost: 0, price: 0 }, 0));
        }
        let key = |&(item, index): &(Item, u8)| (item.cost, item.price, index);
        sort_by(&mut items, |a, b| key(a) < key(b));
        let mut lowest = i64::MAX;
        items.retain(|(item, _)| {
            let undominated = i64::from(item.price) < lowest;
            lowest = lowest.min(item.price.into());
            undominated
        });
        let smallest_cost = items[0].0.cost;
        let smallest_price = items[items.len() - 1].0.price;
        let relative = |&(item, index): &(Item, u8)| Choice {
            cost: item.cost - smallest_cost,
            price: item.price.abs_diff(smallest_price),
            index,
        };
        Self {
            smallest_cost,
            smallest_price,
            choices: items.iter().map(relative).collect(),
        }
    }

    pub(super) fn choices(&self) -> &[Choice] {
        &self.choices
    }

    pub(super) fn choice(&self, item: u8) -> Choice {
        self.choices[usize::from(item)]
    }

    /// Returns the item of smallest price that costs at most `room`, which is not negative.
    pub(super) fn best_within(&self, room: i64) -> u8 {
        // At least the first one fits.
        (self
            .choices
            .partition_point(|choice| i64::from(choice.cost) <= room)
            - 1) as u8
    }

    fn last(&self) -> u8 {
        (self.choices.len() - 1) as u8
    }

    /// Returns the corners of the lower convex hull: the items that no mixture of two others
    /// dominates (Sinha & Zoltners 1979).
    fn hull(&self) -> Vec<u8, K> {
        let mut hull: Vec<u8, K> = Vec::new();
        for new in 0..=self.last() {
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
            cost: to.cost - from.cost,
        }
    }
}

/// How much lower a price becomes for how much more cost; neither is 0.
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

/// One item per group, with what they leave and what they are worth.
#[derive(Clone, Debug)]
pub(super) struct Layout<const N: usize> {
    /// By group; an index into the group's choices.
    pub(super) items: [u8; N],
    /// Capacity that is not used.
    pub(super) left: i64,
    /// Above the sum of the groups' smallest prices.
    pub(super) price: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Problem<const N: usize, const K: usize> {
    pub(super) groups: Vec<Group<K>, N>,
    /// By falling slope; flattened, and the first `step_count` are in use.
    steps: [[Step; K]; N],
    step_count: usize,
    pub(super) smallest_cost: u64,
    smallest_price: i64,
    /// The cost above `smallest_cost` for which every group has its smallest price.
    pub(super) useful_spare: i64,
    /// The relaxation counts prices in units of 2^-shift.
    pub(super) shift: u32,
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
            smallest_price: 0,
            useful_spare: 0,
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
        let index = self.groups.len() as u16;
        let hull = group.hull();
        self.smallest_cost += u64::from(group.smallest_cost);
        self.smallest_price += i64::from(group.smallest_price);
        self.useful_spare += i64::from(group.choice(group.last()).cost);
        self.groups
            .push(group)
            .map_err(|_| ProblemError::TooManyGroups { limit: N })?;
        for edge in hull.windows(2) {
            let step = Step {
                group: index,
                from: edge[0],
                to: edge[1],
            };
            self.steps.as_flattened_mut()[self.step_count] = step;
            self.step_count += 1;
        }
        Ok(())
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

    fn choose_unit(&mut self) {
        let spans = self
            .groups
            .iter()
            .map(|group| u64::from(group.choice(0).price));
        let bits = u64::BITS - spans.sum::<u64>().leading_zeros();
        self.shift = PRICE_BITS - bits;
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps.as_flattened()[..self.step_count]
    }

    /// Returns the layout of smallest cost.
    pub(super) fn smallest_layout(&self, spare: i64) -> Layout<N> {
        let price = self
            .groups
            .iter()
            .map(|group| i64::from(group.choice(0).price))
            .sum();
        Layout {
            items: [0; N],
            left: spare,
            price,
        }
    }

    /// Returns the layout of smallest price, with a capacity that it uses up.
    pub(super) fn best_layout(&self) -> Layout<N> {
        let mut layout = Layout {
            items: [0; N],
            left: 0,
            price: 0,
        };
        for (item, group) in layout.items.iter_mut().zip(&self.groups) {
            *item = group.last();
        }
        layout
    }

    /// Returns the layout as the caller knows it; `bound` is relative, as the layout's price is.
    pub(super) fn solution(&self, layout: &Layout<N>, bound: i64, nodes: u64) -> Solution<N> {
        let groups = self.groups.iter().zip(&layout.items);
        let chosen = groups.map(|(group, &item)| group.choice(item));
        let cost: u64 = chosen.clone().map(|choice| u64::from(choice.cost)).sum();
        Solution {
            choice: chosen.map(|choice| choice.index).collect(),
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

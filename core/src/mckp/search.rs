//! Depth-first search with a deepening gap.
//!
//! A round looks for layouts that are better than the incumbent among those whose loss is at most
//! `gap`. Only few groups have more than one item with a reduced price within the gap: the *core*
//! (Pisinger 1995). A round that ends without an improvement proves that the optimum's loss is
//! above its gap; the gaps grow until they reach the incumbent's own loss. An interrupted search
//! keeps what its finished rounds have proved.

use heapless::Vec;

use super::problem::{Layout, Problem};
use super::relaxation::Relaxation;
use super::table::Table;

/// The first gap is the incumbent's loss divided by 2 to this power …
const FIRST_GAP_SHIFT: u32 = 6;
/// … and each further one is 2 to this power times wider.
const GAP_GROWTH_SHIFT: u32 = 2;

#[derive(Clone, Debug)]
pub(super) struct Search<const N: usize, const K: usize> {
    /// The core: its groups in the order in which the search fixes them.
    order: Vec<u16, N>,
    table: Table<N>,
    frames: [Frame<K>; N],
}

/// An open partial layout, with its children that are still to be visited.
#[derive(Clone, Copy, Debug)]
struct Frame<const K: usize> {
    /// Sum of the reduced prices so far.
    loss: i64,
    /// Capacity for the groups that are still open, above their smallest costs.
    left: i64,
    /// The multiplier of the best bound.
    multiplier: u8,
    next: u16,
    len: u16,
    /// The children by rising bound.
    items: [u8; K],
    bounds: [i64; K],
}

impl<const N: usize, const K: usize> Search<N, K> {
    pub(super) const fn new() -> Self {
        Self {
            order: Vec::new(),
            table: Table::new(),
            frames: [Frame::EMPTY; N],
        }
    }

    /// Returns the best layout, a lower bound of the optimal relative price, and the number of
    /// nodes.
    pub(super) fn run(
        &mut self,
        problem: &Problem<N, K>,
        relaxation: &Relaxation<N, K>,
        incumbent: Layout<N>,
        node_limit: u64,
    ) -> (Layout<N>, i64, u64) {
        let mut round = Round {
            problem,
            relaxation,
            current: incumbent.item,
            limit: 0,
            gap: 0,
            best: incumbent,
            nodes: 0,
            node_limit,
        };
        round.set_limit();
        self.table
            .set_multipliers(relaxation.lambda, problem.useful_spare);
        // No layout has a negative loss.
        let mut proven = -1;
        let mut gap = round.limit >> FIRST_GAP_SHIFT;
        while proven < round.limit {
            round.gap = gap.min(round.limit);
            if !self.round(&mut round) {
                break;
            }
            proven = gap;
            gap = ((gap + 1) << GAP_GROWTH_SHIFT).max(1);
        }
        // Every layout of smaller loss has been seen.
        let unit = 1 << problem.shift;
        let price = (relaxation.base + proven + unit).div_euclid(unit);
        let bound = price.min(round.best.price);
        (round.best, bound, round.nodes)
    }

    /// Searches all layouts with a loss of at most `gap`; false if the node limit was reached
    /// before.
    fn round(&mut self, round: &mut Round<'_, N, K>) -> bool {
        let left = self.select_core(round);
        self.table
            .fill(round.problem, round.relaxation, &self.order, round.gap);
        if self.order.is_empty() {
            let loss = round.relaxation.lambda.saturating_mul(left);
            if left >= 0 && loss <= round.gap {
                round.improve(loss, left);
            }
            return true;
        }
        if !self.open(round, 0, 0, left, 0) {
            return false;
        }
        let mut depth = 0;
        loop {
            let frame = &mut self.frames[depth];
            if frame.next == frame.len || frame.bounds[usize::from(frame.next)] > round.gap {
                if depth == 0 {
                    return true;
                }
                depth -= 1;
                continue;
            }
            let child = usize::from(frame.next);
            frame.next += 1;
            let group = usize::from(self.order[depth]);
            let item = frame.items[child];
            let left = frame.left - i64::from(round.problem.groups[group].choice(item).cost);
            round.current[group] = item;
            if depth + 1 == self.order.len() {
                round.improve(frame.bounds[child], left);
            } else {
                let loss = frame.loss + round.relaxation.reduced[group][usize::from(item)];
                let start = frame.multiplier.into();
                if !self.open(round, depth + 1, loss, left, start) {
                    return false;
                }
                depth += 1;
            }
        }
    }

    /// Opens a node: lists its children that may lead to an improvement. False if the node limit
    /// forbids it.
    fn open(
        &mut self,
        round: &mut Round<'_, N, K>,
        depth: usize,
        loss: i64,
        left: i64,
        start: usize,
    ) -> bool {
        if round.nodes == round.node_limit {
            return false;
        }
        round.nodes += 1;
        let group = usize::from(self.order[depth]);
        let frame = &mut self.frames[depth];
        frame.loss = loss;
        frame.left = left;
        frame.next = 0;
        frame.len = 0;
        let reduced = &round.relaxation.reduced[group];
        let choices = round.problem.groups[group].choices().iter().zip(reduced);
        let mut start = start;
        for (item, (choice, reduced)) in choices.enumerate() {
            let (loss, left) = (loss + reduced, left - i64::from(choice.cost));
            if left < 0 {
                break;
            }
            if loss > round.gap {
                continue;
            }
            let (bound, t) = self.table.bound(depth + 1, left, start);
            start = t;
            if loss + bound <= round.gap {
                frame.insert(item as u8, loss + bound);
            }
        }
        frame.multiplier = start as u8;
        true
    }

    /// Chooses the core of the round, by falling spread of cost, and returns the capacity that the
    /// other groups leave for it.
    fn select_core(&mut self, round: &mut Round<'_, N, K>) -> i64 {
        let mut left = round.relaxation.capacity;
        self.order.clear();
        for (index, group) in round.problem.groups.iter().enumerate() {
            let reduced = &round.relaxation.reduced[index][..group.choices().len()];
            if reduced
                .iter()
                .filter(|&&reduced| reduced <= round.gap)
                .count()
                > 1
            {
                // As many as groups at most.
                let _ = self.order.push(index as u16);
            } else {
                let item = reduced
                    .iter()
                    .position(|&reduced| reduced == 0)
                    .unwrap_or(0);
                round.current[index] = item as u8;
                left -= i64::from(group.choices()[item].cost);
            }
        }
        let spread = |&group: &u16| round.spread(group.into());
        self.order
            .sort_unstable_by_key(|group| (core::cmp::Reverse(spread(group)), *group));
        left
    }
}

struct Round<'a, const N: usize, const K: usize> {
    problem: &'a Problem<N, K>,
    relaxation: &'a Relaxation<N, K>,
    /// The items of the partial layout.
    current: [u8; N],
    best: Layout<N>,
    /// The largest loss that is still an improvement of `best`.
    limit: i64,
    /// The largest loss that the round looks at; at most `limit`.
    gap: i64,
    nodes: u64,
    node_limit: u64,
}

impl<const N: usize, const K: usize> Round<'_, N, K> {
    /// Prices are whole, so an improvement is one of at least 1.
    fn set_limit(&mut self) {
        self.limit = ((self.best.price - 1) << self.problem.shift) - self.relaxation.base;
    }

    /// Makes the current layout, which has this loss, the best.
    fn improve(&mut self, loss: i64, left: i64) {
        self.best.item = self.current;
        self.best.left = left;
        self.best.price = (self.relaxation.base + loss) >> self.problem.shift;
        self.set_limit();
        self.gap = self.gap.min(self.limit);
    }

    /// Returns the difference between the largest and the smallest cost within the gap.
    fn spread(&self, group: usize) -> u32 {
        let choices = self.problem.groups[group].choices().iter();
        let mut costs = choices
            .zip(&self.relaxation.reduced[group])
            .filter(|&(_, &reduced)| reduced <= self.gap)
            .map(|(choice, _)| choice.cost);
        let first = costs.next().unwrap_or(0);
        costs.next_back().unwrap_or(first) - first
    }
}

impl<const K: usize> Frame<K> {
    const EMPTY: Self = Self {
        loss: 0,
        left: 0,
        multiplier: 0,
        next: 0,
        len: 0,
        items: [0; K],
        bounds: [0; K],
    };

    /// Inserts a child behind those of the same bound.
    fn insert(&mut self, item: u8, bound: i64) {
        let mut place = usize::from(self.len);
        while place > 0 && self.bounds[place - 1] > bound {
            self.items[place] = self.items[place - 1];
            self.bounds[place] = self.bounds[place - 1];
            place -= 1;
        }
        self.items[place] = item;
        self.bounds[place] = bound;
        self.len += 1;
    }
}

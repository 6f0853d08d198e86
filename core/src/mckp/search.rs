//! Depth-first search with a deepening gap.
//!
//! A round looks for better layouts than the incumbent among those whose loss is at most `gap`. No
//! choice with a larger reduced price can be part of one, so most groups have but one choice left;
//! the others are the *core* (Pisinger 1995). A round without success proves that the optimum's
//! loss is larger than all that the round accepted. The gaps grow until they reach the incumbent's
//! loss; an interrupted search keeps what the finished rounds have proved.
//!
//! A partial layout is cut if no better layout can come from it (see `table`), or if an exchange
//! improves it (see `exchange`).

use core::cmp::Reverse;

use heapless::Vec;

use super::exchange::improves;
use super::frame::{Frame, Node};
use super::problem::{Layout, Problem};
use super::relaxation::{FAR, Relaxation};
use super::sort::sort_by;
use super::table::{Core, Table};

/// The first gap is the incumbent's loss divided by 2 to this power.
const FIRST_GAP_SHIFT: u32 = 6;
/// With how many of the groups decided last a choice is tried for exchanges.
const EXCHANGE_GROUPS: usize = 16;
/// After how many nodes the table gets a new multiplier.
const REFINE_NODES: u64 = 32;

#[derive(Clone, Debug)]
pub(super) struct Search<const N: usize, const K: usize> {
    /// The groups of the core, in the order in which the search decides them.
    order: Vec<u16, N>,
    table: Table<N>,
    /// By depth: the partial layouts that are open.
    frames: [Frame<K>; N],
    /// By group: the choices of the partial layout, and of the groups outside the core.
    items: [u8; N],
}

/// What a search found.
pub(super) struct Outcome<const N: usize> {
    pub(super) layout: Layout<N>,
    /// A lower bound of all relative prices.
    pub(super) bound: i64,
    pub(super) nodes: u64,
}

/// What the rounds of a search share.
struct Run<'a, const N: usize, const K: usize> {
    problem: &'a Problem<N, K>,
    relaxation: &'a Relaxation<N, K>,
    best: Layout<N>,
    /// The largest loss of a layout that is better than `best`.
    limit: i64,
    /// The largest loss that the round accepts.
    gap: i64,
    /// The smallest loss, or bound of one, that the round rejected.
    rejected: i64,
    nodes: u64,
    node_limit: u64,
}

impl<const N: usize, const K: usize> Search<N, K> {
    pub(super) const fn new() -> Self {
        Self {
            order: Vec::new(),
            table: Table::new(),
            frames: [Frame::EMPTY; N],
            items: [0; N],
        }
    }

    /// Searches for a better layout than the incumbent until there is none, or until `node_limit`
    /// nodes are open.
    pub(super) fn run(
        &mut self,
        problem: &Problem<N, K>,
        relaxation: &Relaxation<N, K>,
        incumbent: Layout<N>,
        node_limit: u64,
    ) -> Outcome<N> {
        let mut run = Run {
            problem,
            relaxation,
            best: incumbent,
            limit: 0,
            gap: 0,
            rejected: 0,
            nodes: 0,
            node_limit,
        };
        run.set_limit();
        self.table.begin(relaxation.lambda, problem.useful_spare);
        let mut gap = run.limit >> FIRST_GAP_SHIFT;
        // There is no better layout than the best with a loss of at most this.
        let mut proven = -1;
        while proven < run.limit {
            run.gap = gap.min(run.limit);
            run.rejected = FAR;
            if !self.round(&mut run) {
                break;
            }
            proven = gap.max(run.rejected - 1);
            gap = proven + proven / 2 + 1;
        }
        let bound = run.price_of(proven + 1).min(run.best.price);
        Outcome {
            layout: run.best,
            bound,
            nodes: run.nodes,
        }
    }

    /// Visits all layouts that the gap allows; false if the node limit was reached before.
    fn round(&mut self, run: &mut Run<'_, N, K>) -> bool {
        let left = self.select_core(run);
        self.table.fill(&run.core(&self.order));
        let root = Node {
            loss: 0,
            left,
            column: 0,
        };
        if self.order.is_empty() {
            let loss = self.table.bound(0, left, 0).loss;
            run.offer(&self.items, loss, left);
            return true;
        }
        if !self.open(run, 0, root) {
            return false;
        }
        let mut depth = 0;
        loop {
            let frame = &mut self.frames[depth];
            let Some((item, bound)) = frame.next_child(run.gap) else {
                if depth == 0 {
                    return true;
                }
                depth -= 1;
                continue;
            };
            let group = usize::from(self.order[depth]);
            self.items[group] = item;
            let node = Node {
                loss: frame.node.loss + run.relaxation.reduced[group][usize::from(item)],
                left: frame.node.left - i64::from(run.problem.groups[group].choice(item).cost),
                column: frame.node.column,
            };
            if depth + 1 == self.order.len() {
                run.offer(&self.items, bound, node.left);
            } else if self.open(run, depth + 1, node) {
                depth += 1;
            } else {
                return false;
            }
        }
    }

    /// Selects the groups with more than one choice that the gap allows, and returns the capacity
    /// that the others leave. The wider a group's costs spread, the earlier it is decided: what is
    /// left is then filled up by ever finer grains.
    fn select_core(&mut self, run: &mut Run<'_, N, K>) -> i64 {
        let mut left = run.relaxation.capacity;
        self.order.clear();
        for (index, group) in run.problem.groups.iter().enumerate() {
            let reduced = &run.relaxation.reduced[index][..group.choices().len()];
            let (mut allowed, mut best) = (0, 0);
            for (item, &loss) in reduced.iter().enumerate().rev() {
                if loss > run.gap {
                    run.rejected = run.rejected.min(loss);
                } else {
                    allowed += 1;
                }
                if loss == 0 {
                    best = item as u8;
                }
            }
            if allowed > 1 {
                // There is room for all groups.
                let _ = self.order.push(index as u16);
            } else {
                self.items[index] = best;
                left -= i64::from(group.choice(best).cost);
            }
        }
        let spread = |&group: &u16| {
            let order = [group];
            let core = run.core(&order);
            let mut costs = core.choices(0).map(|(_, cost)| cost);
            let smallest = costs.next().unwrap_or(0);
            (
                Reverse(costs.next_back().unwrap_or(smallest) - smallest),
                group,
            )
        };
        sort_by(&mut self.order, |a, b| spread(a) < spread(b));
        left
    }

    /// Lists the children of a node that may lead to a better layout; false if the node limit does
    /// not allow it.
    fn open(&mut self, run: &mut Run<'_, N, K>, depth: usize, node: Node) -> bool {
        if run.nodes == run.node_limit {
            return false;
        }
        run.nodes += 1;
        if run.nodes.is_multiple_of(REFINE_NODES) {
            self.refine(run, depth);
        }
        let index = usize::from(self.order[depth]);
        let problem = run.problem;
        let group = &problem.groups[index];
        let decided = &self.order[depth.saturating_sub(EXCHANGE_GROUPS)..depth];
        let can_exchange = |choice| {
            decided.iter().rev().any(|&other| {
                let other = usize::from(other);
                improves(&problem.groups[other], self.items[other], group, choice)
            })
        };
        let frame = &mut self.frames[depth];
        frame.reset(node);
        for (item, &choice) in group.choices().iter().enumerate() {
            let left = node.left - i64::from(choice.cost);
            if left < 0 {
                break;
            }
            let loss = node.loss + run.relaxation.reduced[index][item];
            let mut total = loss;
            if loss <= run.gap {
                let bound = self.table.bound(depth + 1, left, frame.node.column);
                frame.node.column = bound.column;
                total += bound.loss;
            }
            if total > run.gap {
                run.rejected = run.rejected.min(total);
            } else if !can_exchange(choice) {
                frame.insert(item as u8, total);
            }
        }
        true
    }

    /// Refines the table for the shallowest open node for which that has not been done.
    fn refine(&mut self, run: &Run<'_, N, K>, depth: usize) {
        let Some(above) = (1..depth).find(|&above| !self.frames[above].refined) else {
            return;
        };
        self.frames[above].refined = true;
        let left = self.frames[above].node.left;
        self.table.refine(&run.core(&self.order), above, left);
    }
}

impl<'a, const N: usize, const K: usize> Run<'a, N, K> {
    fn core(&self, order: &'a [u16]) -> Core<'a, N, K> {
        Core {
            problem: self.problem,
            relaxation: self.relaxation,
            order,
            gap: self.gap,
        }
    }

    /// Returns the smallest relative price that a layout of at least this loss can have: prices are
    /// whole.
    fn price_of(&self, loss: i64) -> i64 {
        let unit = 1 << self.problem.shift;
        (self.relaxation.base + loss + unit - 1) >> self.problem.shift
    }

    /// Sets the limit to the loss of a layout that is better than the best by 1.
    fn set_limit(&mut self) {
        self.limit = ((self.best.price - 1) << self.problem.shift) - self.relaxation.base;
    }

    /// Makes the layout with this loss the best, if the round accepts it.
    fn offer(&mut self, items: &[u8; N], loss: i64, left: i64) {
        if loss > self.gap {
            self.rejected = self.rejected.min(loss);
            return;
        }
        self.best = Layout {
            items: *items,
            left,
            price: self.price_of(loss),
        };
        self.set_limit();
        self.gap = self.gap.min(self.limit);
    }
}

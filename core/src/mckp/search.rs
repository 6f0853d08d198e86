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
//!
//! # Surcharges
//!
//! Every class of a group has a least surcharge, and a layout's surcharge is at least the largest of
//! its classes'. So the layouts fall into parts by this largest one, the *threshold*: in each part the
//! first limit is lower by the threshold, and the classes above it are not allowed. The parts are
//! searched one after the other, each with the incumbent of those before; most end with their
//! relaxation. Within a part, a surcharge above the threshold counts as soon as the classes decided
//! so far imply it, and a layout is accepted by its true surcharge.
//!
//! Exchanges between classes hold for layouts that fit by the bound of their surcharge. A part is searched
//! with them at first. If a layout turns up that fits by the bound alone, a *misfit*, nothing above
//! its loss is proven, and the rest of the part is searched without them.

use core::cmp::Reverse;

use heapless::Vec;

use super::exchange::{Exchange, improves};
use super::frame::{Frame, Node};
use super::grain::Grain;
use super::problem::{FAR, Layout, Problem};
use super::relaxation::Relaxation;
use super::surcharge::{OPEN, Surcharge};
use super::table::{Bound, Core, Table};
use crate::sort::sort_by;

/// The first gap is the incumbent's loss divided by 2 to this power.
const FIRST_GAP_SHIFT: u32 = 2;
/// With how many of the groups decided last a choice is tried for exchanges.
const EXCHANGE_GROUPS: usize = 16;
/// In a core of so few groups choices are exchanged for those of the same class only: to look at all
/// exchanges takes longer than to visit what they save.
const CLASS_GROUPS: usize = 12;
/// For so many classes an exchange is not asked twice whether it may end with a pair of them.
const FEW_CLASSES: u8 = 4;
/// After how many nodes the table gets new multipliers, with one limit and with several.
const REFINE_NODES: [u32; 2] = [32, 8];
/// Before so many it gets none with several limits: small problems end sooner without.
const REFINE_FROM: u32 = 64;
/// From so many nodes on, at every power of two, the incumbent is polished.
const POLISH_NODES: u64 = 256;

/// What a search does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing: the incumbent is optimal, or there is no layout.
    Done,
    /// Enter the part of the threshold.
    Enter(Part),
    /// Begin a round.
    Round,
    /// Go on from the frame of this depth.
    Walk(u16),
}

/// Which part a search enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The one that every search begins with.
    First,
    /// One behind it, which counts as a node.
    Next,
}

#[derive(Clone, Debug)]
pub(super) struct Search<const N: usize, const K: usize, const D: usize> {
    /// The groups of the core, in the order in which the search decides them.
    pub(super) order: Vec<u16, N>,
    table: Table<N, D>,
    /// That of the first limit; the others are used up to theirs from the root on.
    grain: Grain,
    /// By depth: the partial layouts that are open.
    frames: [Frame<K, D>; N],
    /// By group: the choices of the partial layout, and of the groups outside the core.
    items: [u8; N],
    /// By group: their classes; `OPEN` where nothing is decided.
    classes: [u8; N],
    stage: Stage,
    /// The limits above the smallest costs.
    pub(super) spare: [i64; D],
    threshold: u32,
    /// Whether choices are exchanged for those of other classes: until the part has a misfit.
    exchanges_classes: bool,
    /// Whether the round met a layout that fits by the bound of its surcharge, but not with the surcharge.
    has_misfit: bool,
    /// The one of the next part.
    next_threshold: Option<u32>,
    /// The incumbent; its price is above all others' as long as there is none.
    pub(super) best: Layout<N>,
    pub(super) best_surcharge: Option<u32>,
    /// The largest loss of a layout that is better than `best`.
    limit: i64,
    /// The gap with which the next round begins, or the present one began.
    next_gap: i64,
    /// The largest loss that the round accepts.
    gap: i64,
    /// The smallest loss, or bound of one, that the round rejected.
    rejected: i64,
    /// The part has no layout that is better than the best with a loss of at most this.
    proven: i64,
    /// No layout has a smaller relative price.
    floor: i64,
    pub(super) nodes: u64,
}

impl<const N: usize, const K: usize, const D: usize> Search<N, K, D> {
    /// All zeros, as everything that a solver begins with: such a value needs no place in a program,
    /// and no copy on the way to its own.
    pub(super) const fn new() -> Self {
        Self {
            order: Vec::new(),
            table: Table::new(),
            grain: Grain::NONE,
            frames: [Frame::EMPTY; N],
            items: [0; N],
            classes: [0; N],
            stage: Stage::Done,
            spare: [0; D],
            threshold: 0,
            exchanges_classes: false,
            has_misfit: false,
            next_threshold: None,
            best: Layout {
                items: [0; N],
                price: 0,
            },
            best_surcharge: None,
            limit: 0,
            next_gap: 0,
            gap: 0,
            rejected: 0,
            proven: 0,
            floor: 0,
            nodes: 0,
        }
    }

    /// Forgets what was searched.
    pub(super) const fn reset(&mut self) {
        self.stage = Stage::Done;
        self.best_surcharge = None;
        self.nodes = 0;
    }

    /// The best layout so far, and its surcharge.
    pub(super) fn incumbent(&self) -> Option<(&Layout<N>, u32)> {
        Some((&self.best, self.best_surcharge?))
    }

    pub(super) const fn nodes(&self) -> u64 {
        self.nodes
    }

    /// Whether the search has ended: the incumbent is optimal, or there is no layout at all.
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }
}

/// A search with what it searches.
pub(super) struct Run<'a, const N: usize, const K: usize, const D: usize> {
    pub(super) problem: &'a mut Problem<N, K, D>,
    pub(super) relaxation: &'a mut Relaxation<N, K, D>,
    pub(super) search: &'a mut Search<N, K, D>,
    pub(super) surcharge: &'a dyn Surcharge<N>,
}

impl<const N: usize, const K: usize, const D: usize> Run<'_, N, K, D> {
    /// Begins a search within limits, given above the smallest costs.
    pub(super) fn start(&mut self, spare: [i64; D]) {
        let threshold = self.first_threshold();
        let best = self.problem.best_layout();
        let surcharge = self.fitting_surcharge(&best, &spare).ok();
        let search = &mut *self.search;
        search.spare = spare;
        search.nodes = 0;
        search.floor = 0;
        search.threshold = threshold;
        search.best = best;
        search.best_surcharge = surcharge;
        search.stage = Stage::Done;
        if surcharge.is_none() {
            search.best.price = self.problem.price_span + 1;
            search.stage = Stage::Enter(Part::First);
        }
    }

    /// Searches until it is done, or until `node_limit` nodes are open.
    pub(super) fn advance(&mut self, node_limit: u64) {
        loop {
            let goes_on = match self.search.stage {
                Stage::Done => return,
                Stage::Enter(Part::First) => self.enter(),
                // a part's relaxation takes about as long as a node
                Stage::Enter(Part::Next) if self.search.nodes == node_limit => return,
                Stage::Enter(Part::Next) => {
                    self.search.nodes += 1;
                    self.enter()
                }
                Stage::Round => self.begin_round(node_limit),
                Stage::Walk(depth) => self.walk(depth.into(), node_limit),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Returns a lower bound of the relative price of every layout.
    pub(super) fn bound(&self) -> i64 {
        let search = &*self.search;
        match search.stage {
            Stage::Done => search.best.price,
            Stage::Enter(_) => search.floor,
            Stage::Round | Stage::Walk(_) => {
                let part = self.price_of(search.proven + 1);
                let bound = part.min(self.bound_of_rest()).min(search.best.price);
                bound.max(search.floor)
            }
        }
    }

    /// Returns a lower bound of the relative price in the parts behind this one.
    fn bound_of_rest(&self) -> i64 {
        self.search.next_threshold.map_or(FAR, |next| {
            let less = i64::from(next - self.search.threshold);
            self.rounded(self.relaxation.base_without(self.problem, less))
        })
    }

    /// The least surcharge that allows a class in every group.
    pub(super) fn first_threshold(&self) -> u32 {
        let groups = self.problem.groups.iter().enumerate();
        let least = groups.map(|(index, group)| {
            let classes = group.choices().iter().map(|choice| choice.class);
            classes
                .map(|class| self.surcharge.of_class(index, class))
                .min()
        });
        least.flatten().max().unwrap_or(0)
    }

    /// The least surcharge of a class that is larger than a threshold.
    pub(super) fn next_threshold(&self, threshold: u32) -> Option<u32> {
        let groups = self.problem.groups.iter().enumerate();
        let all = groups.flat_map(|(index, group)| {
            let classes = group.choices().iter().map(|choice| choice.class);
            classes.map(move |class| self.surcharge.of_class(index, class))
        });
        all.filter(|&value| value > threshold).min()
    }

    /// Allows the choices whose classes have at most this surcharge.
    pub(super) fn allow_up_to(&mut self, threshold: u32) {
        let surcharge = self.surcharge;
        self.problem
            .allow(|group, class| surcharge.of_class(group, class) <= threshold);
    }

    /// Enters the part of the threshold: solves its relaxation and improves the incumbent.
    fn enter(&mut self) -> bool {
        let threshold = self.search.threshold;
        self.search.exchanges_classes = true;
        self.search.has_misfit = false;
        self.allow_up_to(threshold);
        self.search.next_threshold = self.next_threshold(threshold);
        let mut capacity = self.search.spare;
        capacity[0] -= i64::from(threshold);
        if !self.problem.has_room(&capacity) {
            return self.leave();
        }
        let incumbent = self.relaxation.solve(self.problem, capacity);
        let smallest = self.problem.smallest_layout();
        for layout in incumbent.into_iter().chain([smallest]) {
            self.fit_incumbent(layout);
        }
        self.set_limit();
        self.search.proven = -1;
        self.search.next_gap = self.search.limit >> FIRST_GAP_SHIFT;
        self.search.table.begin(self.problem, self.relaxation);
        self.search.stage = Stage::Round;
        true
    }

    /// Leaves a part that is searched: goes on to the next one, if there may be anything better.
    fn leave(&mut self) -> bool {
        let has_relaxation = !matches!(self.search.stage, Stage::Enter(_));
        if has_relaxation {
            let rest = self.bound_of_rest();
            if rest >= self.search.best.price {
                self.search.stage = Stage::Done;
                return true;
            }
            self.search.floor = self.search.floor.max(rest);
        }
        self.search.stage = match self.search.next_threshold {
            Some(next) if i64::from(next) <= self.search.spare[0] => {
                self.search.threshold = next;
                Stage::Enter(Part::Next)
            }
            _ => Stage::Done,
        };
        true
    }

    /// Begins the next round, if there is anything left to prove; false if the node limit does not
    /// allow it.
    fn begin_round(&mut self, node_limit: u64) -> bool {
        if self.search.proven >= self.search.limit {
            return self.leave();
        }
        self.search.gap = self.search.next_gap.min(self.search.limit);
        self.search.rejected = FAR;
        let root = self.select_core();
        self.search.table.clear(self.search.order.len());
        let Some(root) = root else {
            return self.end_round();
        };
        if self.search.order.is_empty() {
            let loss = root.loss + self.table_bound(0, &root.left, 0).loss;
            self.offer(loss, &root);
            return self.end_round();
        }
        if self.search.nodes == node_limit {
            return false;
        }
        self.open(0, root);
        self.search.stage = Stage::Walk(0);
        true
    }

    fn end_round(&mut self) -> bool {
        let search = &mut *self.search;
        search.stage = Stage::Round;
        if core::mem::take(&mut search.has_misfit) {
            // the same gap again, without the exchanges that hold for the bound alone
            search.exchanges_classes = false;
            search.proven = search.proven.max(search.rejected - 1);
            return true;
        }
        search.proven = search.next_gap.max(search.rejected - 1);
        search.next_gap = 2 * search.proven + 1;
        true
    }

    /// Visits all layouts that the gap allows; false if the node limit was reached before.
    fn walk(&mut self, mut depth: usize, node_limit: u64) -> bool {
        loop {
            let group = usize::from(self.search.order[depth]);
            let Some((item, bound)) = self.search.frames[depth].child(self.search.gap) else {
                self.search.classes[group] = OPEN;
                if depth == 0 {
                    return self.end_round();
                }
                depth -= 1;
                continue;
            };
            let is_leaf = depth + 1 == self.search.order.len();
            if !is_leaf && self.search.nodes == node_limit {
                self.search.stage = Stage::Walk(depth as u16);
                return false;
            }
            self.search.frames[depth].pop();
            self.search.items[group] = item;
            let choice = self.problem.groups[group].choice(item);
            self.search.classes[group] = choice.class;
            let surcharge = self.least_surcharge(depth, choice.class);
            let mut node = self.search.frames[depth].node;
            node.loss += self.relaxation.reduced[group][usize::from(item)];
            for d in 0..self.problem.dims() {
                node.left[d] -= i64::from(choice.cost[d]);
            }
            self.add_surcharge(&mut node, surcharge);
            if is_leaf {
                self.offer(bound, &node);
            } else {
                self.open(depth + 1, node);
                depth += 1;
            }
        }
    }

    /// The least surcharge of the node of a depth once its group has this class.
    fn least_surcharge(&mut self, depth: usize, class: u8) -> u32 {
        let search = &mut *self.search;
        let group = usize::from(search.order[depth]);
        let frame = &mut search.frames[depth];
        if frame.raising == class {
            return frame.raised;
        }
        if !self.surcharge.can_raise(group, class) {
            return frame.node.surcharge;
        }
        search.classes[group] = class;
        let surcharge = self.surcharge.at_least(&search.classes);
        (frame.raising, frame.raised) = (class, surcharge);
        surcharge
    }

    /// Makes a node allow for a surcharge of at least this.
    fn add_surcharge(&self, node: &mut Node<D>, surcharge: u32) {
        let more = surcharge.saturating_sub(node.surcharge);
        if more > 0 {
            let grain = self.search.grain;
            let lost = grain.lost(surcharge) - grain.lost(node.surcharge);
            self.take(node, 0, i64::from(more) + lost);
            node.surcharge = surcharge;
        }
    }

    /// Takes `more` of what a limit leaves, without a choice.
    fn take(&self, node: &mut Node<D>, d: usize, more: i64) {
        let loss = self.relaxation.lambda[d].saturating_mul(more);
        node.loss = node.loss.saturating_add(loss).min(FAR);
        node.left[d] -= more;
    }

    /// Selects the groups with more than one choice that the gap allows, and returns the root: what
    /// the others leave; none if they leave nothing. The wider a group's costs spread, the earlier it
    /// is decided: what is left is then filled up by ever finer grains. Not inlined: its memory is on the stack.
    #[inline(never)]
    fn select_core(&mut self) -> Option<Node<D>> {
        let search = &mut *self.search;
        let mut left = self.relaxation.capacity;
        search.order.clear();
        search.classes = [OPEN; N];
        for (index, group) in self.problem.groups.iter().enumerate() {
            let reduced = &self.relaxation.reduced[index][..group.choices().len()];
            let (mut allowed, mut best) = (0, 0);
            for (item, &loss) in reduced.iter().enumerate().rev() {
                if loss > search.gap {
                    search.rejected = search.rejected.min(loss);
                } else {
                    allowed += 1;
                }
                if loss == 0 {
                    best = item as u8;
                }
            }
            if allowed > 1 {
                // There is room for all groups.
                let _ = search.order.push(index as u16);
            } else {
                search.items[index] = best;
                let choice = group.choice(best);
                search.classes[index] = choice.class;
                for (left, cost) in left.iter_mut().zip(&choice.cost) {
                    *left -= i64::from(*cost);
                }
            }
        }
        let (problem, relaxation, surcharge) = (&*self.problem, &*self.relaxation, self.surcharge);
        let gap = search.gap;
        let spread = |index: usize| {
            let choices = problem.groups[index].choices().iter();
            let allowed = choices.zip(&relaxation.reduced[index]);
            let allowed = allowed.filter(|(_, reduced)| **reduced <= gap);
            let (mut low, mut high) = ([u64::MAX; D], [0; D]);
            for (choice, _) in allowed {
                let first = surcharge.of_class(index, choice.class);
                for d in 0..D {
                    let more = if d == 0 { first } else { 0 };
                    let cost = u64::from(choice.cost[d]) + u64::from(more);
                    low[d] = low[d].min(cost);
                    high[d] = high[d].max(cost);
                }
            }
            // Several costs are compared by their multipliers.
            let weight = |d: usize| match problem.is_single {
                true => 1,
                false => relaxation.lambda[d].cast_unsigned(),
            };
            let width = |d: usize| (high[d] - low[d]).saturating_mul(weight(d));
            (0..D).map(width).fold(0, u64::saturating_add)
        };
        let mut spreads = [0; N];
        for &group in &search.order {
            spreads[usize::from(group)] = spread(group.into());
        }
        let key = |group: &u16| (Reverse(spreads[usize::from(*group)]), *group);
        sort_by(&mut search.order, |a, b| key(a) < key(b));
        let core = Core {
            problem: self.problem,
            relaxation: self.relaxation,
            order: &self.search.order,
            gap,
        };
        let threshold = self.search.threshold;
        let surcharge = |d: usize| if d == 0 { threshold } else { 0 };
        let grains: [Grain; D] =
            core::array::from_fn(|d| Grain::new(&core, d, left[d] + i64::from(surcharge(d))));
        let mut root = Node {
            loss: 0,
            left,
            surcharge: threshold,
            column: 0,
        };
        for (d, grain) in grains.iter().enumerate() {
            self.take(&mut root, d, grain.lost(surcharge(d)));
        }
        self.search.grain = grains[0];
        let surcharge = self.surcharge.at_least(&self.search.classes);
        self.add_surcharge(&mut root, surcharge);
        root.left.iter().all(|&left| left >= 0).then_some(root)
    }

    /// Lists the children of a node that may lead to a better layout.
    fn open(&mut self, depth: usize, node: Node<D>) {
        self.search.nodes += 1;
        // its lower bits say it
        let nodes = self.search.nodes as u32;
        let (every, first) = match self.problem.is_single {
            true => (REFINE_NODES[0], 0),
            false => (REFINE_NODES[1], REFINE_FROM),
        };
        if nodes & (every - 1) == 0 && nodes >= first {
            self.refine(depth);
        }
        if self.search.nodes >= POLISH_NODES && self.search.nodes.is_power_of_two() {
            self.polish();
        }
        let search = &mut *self.search;
        let index = usize::from(search.order[depth]);
        search.frames[depth].reset(node);
        let dims = self.problem.dims();
        for item in 0..self.problem.groups[index].choices().len() {
            let choice = self.problem.groups[index].choices()[item];
            let reduced = self.relaxation.reduced[index][item];
            let fits = |d: usize| i64::from(choice.cost[d]) <= node.left[d];
            if !choice.allowed || !(0..dims).all(fits) {
                continue;
            }
            let mut child = node;
            child.loss += reduced;
            let mut total = child.loss;
            if child.loss <= self.search.gap {
                let surcharge = self.least_surcharge(depth, choice.class);
                for d in 0..dims {
                    child.left[d] -= i64::from(choice.cost[d]);
                }
                self.add_surcharge(&mut child, surcharge);
                if child.left[0] < 0 {
                    continue;
                }
                let column = self.search.frames[depth].node.column;
                let bound = self.table_bound(depth + 1, &child.left, column);
                self.search.frames[depth].node.column = bound.column;
                total = child.loss.saturating_add(bound.loss);
            }
            if total > self.search.gap {
                self.search.rejected = self.search.rejected.min(total);
            } else if !self.can_exchange(depth, index, item as u8, child.surcharge) {
                self.search.frames[depth].insert(item as u8, total);
            }
        }
        self.search.classes[index] = OPEN;
    }

    fn table_bound(&mut self, depth: usize, left: &[i64; D], start: u8) -> Bound {
        let core = Core {
            problem: self.problem,
            relaxation: self.relaxation,
            order: &self.search.order,
            gap: self.search.gap,
        };
        self.search.table.bound(&core, depth, left, start)
    }

    /// Whether an exchange with one of the groups decided last makes a choice needless that comes with
    /// this surcharge at least.
    fn can_exchange(&mut self, depth: usize, index: usize, item: u8, surcharge: u32) -> bool {
        let search = &mut *self.search;
        let groups = &self.problem.groups;
        let choice = groups[index].choice(item);
        let exchanges_classes = search.exchanges_classes && search.order.len() > CLASS_GROUPS;
        let by_class = self.surcharge.tells_classes_apart() && !exchanges_classes;
        let exchange = Exchange {
            surcharge: self.surcharge,
            at_least: surcharge,
        };
        let decided = &search.order[depth.saturating_sub(EXCHANGE_GROUPS)..depth];
        decided.iter().rev().any(|&other| {
            let other = usize::from(other);
            let (first, second) = (&groups[other], &groups[index]);
            let item = search.items[other];
            // pairs of classes with which no exchange may end, by bit
            let mut refused = 0_u16;
            improves(first, item, second, choice, by_class, |a, b| {
                let own = [&first.choice(item), &choice];
                let is_allowed = a.allowed && b.allowed;
                let [x, y] = [a.class, b.class];
                let is_few = is_allowed && x.max(y) < FEW_CLASSES;
                let pair = if is_few {
                    1 << (x * FEW_CLASSES + y)
                } else {
                    0
                };
                if refused & pair != 0 {
                    return false;
                }
                let allows = exchange.allows([other, index], own, [a, b], &mut search.classes);
                refused |= if allows { 0 } else { pair };
                allows
            })
        })
    }

    /// Refines the table for the shallowest open node for which that has not been done.
    fn refine(&mut self, depth: usize) {
        let search = &mut *self.search;
        let Some(above) = (1..depth).find(|&above| !search.frames[above].refined) else {
            return;
        };
        search.frames[above].refined = true;
        let core = Core {
            problem: self.problem,
            relaxation: self.relaxation,
            order: &search.order,
            gap: search.gap,
        };
        let left = search.frames[above].node.left;
        search.table.refine(&core, above, &left);
    }

    /// Returns the smallest relative price that a layout of at least this loss can have.
    fn price_of(&self, loss: i64) -> i64 {
        self.rounded(self.relaxation.base.saturating_add(loss))
    }

    /// Returns units as a price: prices are whole.
    fn rounded(&self, units: i64) -> i64 {
        let unit = 1 << self.problem.shift;
        units.saturating_add(unit - 1) >> self.problem.shift
    }

    /// Sets the limit to the loss of a layout that is better than the best by 1; the gap is no larger.
    #[inline(never)]
    pub(super) fn set_limit(&mut self) {
        let better = (self.search.best.price - 1) << self.problem.shift;
        self.search.limit = better - self.relaxation.base;
        self.search.gap = self.search.gap.min(self.search.limit);
    }

    /// Makes the layout of a node without open groups the best, if the round accepts its loss and its
    /// true surcharge fits.
    fn offer(&mut self, loss: i64, node: &Node<D>) {
        if loss > self.search.gap {
            self.search.rejected = self.search.rejected.min(loss);
            return;
        }
        let surcharge = self.surcharge.of(&self.search.classes);
        let left = node.left[0] + self.search.grain.lost(node.surcharge);
        if i64::from(surcharge.saturating_sub(node.surcharge)) > left {
            if self.search.exchanges_classes {
                self.search.has_misfit = true;
                self.search.rejected = self.search.rejected.min(loss);
                self.search.gap = self.search.gap.min(loss - 1);
            }
            return;
        }
        self.search.best = Layout {
            items: self.search.items,
            price: self.price_of(loss),
        };
        self.search.best_surcharge = Some(surcharge);
        self.set_limit();
    }
}

//! Best-first branch and bound over the items of all layers: each is stored, barred, or open.
//!
//! A node's bound is the sum over the points of the best plan by itself: without barred items, and where an
//! item takes what its layer does with it beside those that are stored for sure. Where these plans' items are
//! small enough together, they are the node's answer. Else an item that some plans have and others have not
//! is stored or barred; where there is none, each plan by itself takes as much of the image as all of them.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::Rc;

use bitbudget_core::plan::LimitsTooSmall;

use super::Choice;
use super::plans::{Decided, Planning};
use crate::search::Progress;
use crate::size::{Items, items_of};

/// Of every so many nodes one is asked for an image, to have a good one early.
const TRY_NODES: u64 = 16;

/// No image that is small enough has a plan at every point, or none was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoChoice {
    /// Whether it is proven that there is none.
    pub(super) proven: bool,
}

/// What is kept of the best plan at a point.
#[derive(Debug)]
struct Best {
    /// Its item of every layer.
    items: Vec<Items>,
    /// No plan has a lower price.
    bound: i64,
}

/// Decisions, and the best plans at every point under them, which are too large for an image together.
#[derive(Debug)]
struct Node {
    decided: Decided,
    plans: Vec<Rc<Best>>,
    /// No image of these decisions does better.
    bound: i64,
    /// The layer and the item to decide next.
    open: (usize, u32),
    /// Decisions so far.
    depth: usize,
}

impl Ord for Node {
    /// The least bound comes first, then the most decisions.
    fn cmp(&self, other: &Self) -> Ordering {
        let bounds = other.bound.cmp(&self.bound);
        bounds.then(self.depth.cmp(&other.depth))
    }
}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Node {}

/// The best levels whose items and blocks take at most `room` bytes of an image.
pub(super) fn within(planning: &mut Planning<'_>, room: u64) -> Result<Choice, NoChoice> {
    let mut search = Search {
        planning,
        room,
        best: None,
        lost: i64::MAX,
        nodes: 0,
    };
    search.run();
    match search.best {
        Some(best) => Ok(Choice {
            bound: best.price.min(search.lost),
            ..best
        }),
        None => Err(NoChoice {
            proven: search.lost == i64::MAX,
        }),
    }
}

/// The search in one room.
struct Search<'s, 'a> {
    planning: &'s mut Planning<'a>,
    room: u64,
    best: Option<Choice>,
    /// The least bound of what was given up.
    lost: i64,
    nodes: u64,
}

impl Search<'_, '_> {
    fn run(&mut self) {
        let plans = vec![None; self.planning.points.len()];
        let root = self.node(self.planning.nothing(), plans, (i64::MIN, 0));
        let mut open = BinaryHeap::new();
        open.extend(root);
        while let Some(node) = open.pop() {
            let best = self.best.as_ref().map(|best| best.price);
            if best.is_some_and(|best| best <= node.bound) {
                // so it is for all others
                return;
            }
            let loss = |gap: i64| self.planning.network.prices.to_loss(gap);
            let progress = Progress {
                nodes: self.nodes,
                gap: best.map(|best| loss(best - node.bound)),
            };
            let effort = self.planning.effort;
            if self.nodes >= effort.node_limit || !(effort.watch)(progress) {
                self.lost = self.lost.min(node.bound);
                return;
            }
            open.extend(self.branches(&node));
        }
    }

    /// The nodes in which the open item of this one is stored, and barred.
    fn branches(&mut self, node: &Node) -> Vec<Node> {
        let (layer, at) = node.open;
        let mut branches = Vec::new();
        for is_stored in [true, false] {
            let mut decided = node.decided.clone();
            let items = match is_stored {
                true => &mut decided.stored,
                false => &mut decided.barred,
            };
            items[layer] |= 1 << at;
            // a plan stays the best if what it has is stored, or what it has not is barred
            let plans = node.plans.iter().map(|plan| {
                let has = plan.items[layer] >> at & 1 == 1;
                (has == is_stored).then(|| Rc::clone(plan))
            });
            let plans = plans.collect();
            branches.extend(self.node(decided, plans, (node.bound, node.depth + 1)));
        }
        branches
    }

    /// The node of these decisions, with the plans that are known; `None` where it has no image, or its best
    /// one is known. `above` is the bound of the node before.
    fn node(
        &mut self,
        decided: Decided,
        known: Vec<Option<Rc<Best>>>,
        (above, depth): (i64, usize),
    ) -> Option<Node> {
        self.nodes += 1;
        let mut plans = Vec::new();
        for (point, known) in known.into_iter().enumerate() {
            let plan = known.map_or_else(|| self.plan(point, &decided), Ok);
            match plan {
                Ok(plan) => plans.push(plan),
                Err(NoChoice { proven }) => {
                    if !proven {
                        self.lost = self.lost.min(above);
                    }
                    return None;
                }
            }
        }
        let bound = plans.iter().map(|plan| plan.bound).sum();
        let Some(open) = self.open_item(&decided, &plans) else {
            self.offer(&plans);
            if self.best.as_ref().is_none_or(|best| bound < best.price) {
                self.lost = self.lost.min(bound);
            }
            return None;
        };
        if self.nodes % TRY_NODES == 1 {
            self.try_in_turn(&decided, &plans);
        }
        Some(Node {
            decided,
            plans,
            bound,
            open,
            depth,
        })
    }

    fn plan(&mut self, point: usize, decided: &Decided) -> Result<Rc<Best>, NoChoice> {
        match self.planning.plan(point, Some(self.room), decided) {
            Ok(plan) => Ok(Rc::new(Best {
                items: items_of(self.planning.network, &plan),
                bound: plan.bound,
            })),
            Err(LimitsTooSmall { proven, .. }) => Err(NoChoice { proven }),
        }
    }

    /// The largest item that some of the plans have and others have not; `None` where the image has room for
    /// all of the plans together, as it has where there is no such item.
    fn open_item(&self, decided: &Decided, plans: &[Rc<Best>]) -> Option<(usize, u32)> {
        let sizes = self.planning.sizes;
        let (mut bytes, mut largest) = (0, None);
        for (layer, stored) in decided.stored.iter().enumerate() {
            let items = plans.iter().map(|plan| plan.items[layer]);
            let any = items.clone().fold(0, |any, item| any | item);
            let every = items.fold(!0, |every, item| every & item);
            bytes += u64::from(sizes.layer(layer, any | stored));
            let open = any & !every & !stored;
            for at in (0..Items::BITS).filter(|at| open >> at & 1 == 1) {
                let with = sizes.layer(layer, stored | 1 << at);
                let more = with - sizes.layer(layer, *stored);
                largest = largest.max(Some((more, (layer, at))));
            }
        }
        let (_, open) = largest?;
        (bytes > self.room).then_some(open)
    }

    /// Makes images that store one point's plan, then the best one of the next point beside it, and so on.
    fn try_in_turn(&mut self, decided: &Decided, plans: &[Rc<Best>]) {
        for first in 0..plans.len() {
            let mut decided = decided.clone();
            let mut found = plans.to_vec();
            for turn in 0..plans.len() {
                let point = (first + turn) % plans.len();
                if turn > 0 {
                    let Ok(plan) = self.plan(point, &decided) else {
                        break;
                    };
                    found[point] = plan;
                }
                for (stored, own) in decided.stored.iter_mut().zip(&found[point].items) {
                    *stored |= own;
                }
                if turn + 1 == plans.len() {
                    self.offer(&found);
                }
            }
        }
    }

    /// Takes the levels of plans that an image has room for, if they are the best so far.
    fn offer(&mut self, plans: &[Rc<Best>]) {
        let layers = 0..self.planning.network.layers.len();
        let all = |layer: usize| plans.iter().fold(0, |all, plan| all | plan.items[layer]);
        let items: Vec<Items> = layers.map(all).collect();
        let Some(choice) = self.planning.with_items(&items) else {
            return;
        };
        let best = self.best.as_ref();
        if best.is_none_or(|best| choice.price < best.price) {
            self.best = Some(choice);
        }
    }
}

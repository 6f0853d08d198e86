//! Plans at operating points, from images of which something is decided.

use std::rc::Rc;

use bitbudget_core::plan::LimitsTooSmall;

use super::{Choice, ChoiceError, Point, keep};
use crate::capacity::{self, HostNetwork, HostPlan, HostPlanner};
use crate::search::{self, Effort, Progress};
use crate::size::{Items, Sizes};

/// What is decided about every layer's items; those of layers that are tied to an earlier one are not.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    /// The image has these.
    pub(super) stored: Vec<Items>,
    /// It does not have these.
    pub(super) barred: Vec<Items>,
}

/// Makes plans of one network at the points of an image.
pub(super) struct Planning<'a> {
    pub(super) network: &'a HostNetwork,
    pub(super) sizes: &'a Sizes,
    pub(super) points: &'a [Point],
    pub(super) effort: &'a Effort<'a>,
    planner: Box<HostPlanner>,
}

impl<'a> Planning<'a> {
    pub(super) fn new(
        network: &'a HostNetwork,
        sizes: &'a Sizes,
        points: &'a [Point],
        effort: &'a Effort<'a>,
    ) -> Self {
        Self {
            network,
            sizes,
            points,
            effort,
            planner: capacity::planner(Point::FREE.places, network),
        }
    }

    /// Whether there is room for the limits of all points.
    pub(super) fn check(&mut self) -> Result<(), ChoiceError> {
        for (point, Point { limits, places }) in self.points.iter().enumerate() {
            self.planner.set_places(*places);
            let checked = self.planner.check(self.network, limits);
            checked.map_err(|source| ChoiceError::Capacity { point, source })?;
        }
        Ok(())
    }

    /// Decisions about nothing.
    pub(super) fn nothing(&self) -> Decided {
        let none = vec![0; self.network.layers.len()];
        Decided {
            stored: none.clone(),
            barred: none,
        }
    }

    /// The levels of the best plans in an image of any size.
    pub(super) fn without_limit(&mut self) -> Result<Choice, ChoiceError> {
        let nothing = self.nothing();
        let mut plans = Vec::new();
        for point in 0..self.points.len() {
            let plan = self.plan(point, None, &nothing);
            let plan = plan.map_err(|source| ChoiceError::Limits { point, source })?;
            plans.push(Rc::new(plan));
        }
        let bound = plans.iter().map(|plan| plan.bound).sum();
        Ok(Choice {
            bound,
            ..self.choice(&plans)
        })
    }

    /// The best plan at a point without barred items, if those that are stored and its own take at most
    /// `room` bytes of an image.
    pub(super) fn plan(
        &mut self,
        point: usize,
        room: Option<u64>,
        decided: &Decided,
    ) -> Result<HostPlan, LimitsTooSmall> {
        let Point { limits, places } = self.points[point];
        let mut network = Box::new(self.network.clone());
        keep(&mut network, |layer, at| {
            decided.barred[layer] >> at & 1 == 0
        });
        self.planner.set_network(&network, places);
        match room {
            None => self.planner.start(&network, limits),
            Some(room) => self
                .planner
                .start_within(&network, limits, room, |layer, at| {
                    let own = nth_kept(decided.barred[layer], at);
                    self.sizes.layer(layer, decided.stored[layer] | own)
                }),
        }
        let watch = self.effort.watch;
        let effort = Effort {
            node_limit: self.effort.node_limit,
            watch: &|_| {
                watch(Progress {
                    nodes: 0,
                    gap: None,
                })
            },
        };
        search::finish(&network, &mut self.planner, &effort)
    }

    /// The item of a plan in a layer; none where the layer has none, or is tied to an earlier one.
    pub(super) fn item(&self, plan: &HostPlan, layer: usize) -> Items {
        let prices = &self.network.prices;
        if prices.leader(layer) != layer {
            return 0;
        }
        let is_chosen = |level| Some(level) == plan.levels[layer];
        let mut row = prices.rows[layer].iter();
        let at = row.position(|item| is_chosen(item.level));
        at.map_or(0, |at| 1 << at)
    }

    /// The items of plans, by layer.
    pub(super) fn items(&self, plans: &[Rc<HostPlan>]) -> Vec<Items> {
        let of = |layer| {
            plans
                .iter()
                .fold(0, |all, plan| all | self.item(plan, layer))
        };
        (0..self.network.layers.len()).map(of).collect()
    }

    /// The levels of plans, and the best plans with them at every point; nothing better is known.
    pub(super) fn choice(&mut self, plans: &[Rc<HostPlan>]) -> Choice {
        let decided = Decided {
            stored: self.items(plans),
            barred: self.items(plans).iter().map(|items| !items).collect(),
        };
        let again = plans.iter().enumerate().map(|(point, plan)| {
            let again = self.plan(point, None, &decided).ok();
            let better = again.filter(|again| again.price <= plan.price);
            better.map_or_else(|| Rc::clone(plan), Rc::new)
        });
        let plans: Vec<Rc<HostPlan>> = again.collect();
        let items = self.items(&plans);
        let price = plans.iter().map(|plan| plan.price).sum();
        Choice {
            image_bytes: self.sizes.image(&items),
            items,
            plans: plans.iter().map(|plan| HostPlan::clone(plan)).collect(),
            price,
            bound: price,
        }
    }
}

/// The item that is at a place among those that are not barred.
fn nth_kept(barred: Items, place: usize) -> Items {
    let kept = (0..Items::BITS).map(|at| 1 << at);
    let mut kept = kept.filter(|item| barred & item == 0);
    kept.nth(place).unwrap_or(0)
}

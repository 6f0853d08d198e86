//! Plans at operating points, from images of which something is decided.

use bitbudget_core::plan::LimitsTooSmall;

use super::{Choice, ChoiceError, Point, keep};
use crate::capacity::{self, HostNetwork, HostPlan, HostPlanner};
use crate::search::{self, Effort, Progress};
use crate::size::{Items, Sizes, items_of};

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
        let plans = (0..self.points.len()).map(|point| {
            let plan = self.plan(point, None, &nothing);
            plan.map_err(|source| ChoiceError::Limits { point, source })
        });
        let plans = plans.collect::<Result<Vec<_>, _>>()?;
        let bound = plans.iter().map(|plan| plan.bound).sum();
        Ok(Choice {
            bound,
            ..self.choice(plans)
        })
    }

    /// The best plans of an image with these items; `None` where the effort does not find them.
    pub(super) fn with_items(&mut self, items: &[Items]) -> Option<Choice> {
        let decided = Decided {
            stored: items.to_vec(),
            barred: items.iter().map(|items| !items).collect(),
        };
        let plans = (0..self.points.len()).map(|point| self.plan(point, None, &decided).ok());
        let plans = plans.collect::<Option<Vec<_>>>()?;
        Some(self.choice(plans))
    }

    /// The levels of plans, as if no others could do better.
    fn choice(&self, plans: Vec<HostPlan>) -> Choice {
        let mut items = vec![0; self.network.layers.len()];
        for plan in &plans {
            for (all, own) in items.iter_mut().zip(items_of(self.network, plan)) {
                *all |= own;
            }
        }
        let price = plans.iter().map(|plan| plan.price).sum();
        Choice {
            image_bytes: self.sizes.image(&items),
            items,
            plans,
            price,
            bound: price,
        }
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
}

/// The item that is at a place among those that are not barred.
fn nth_kept(barred: Items, place: usize) -> Items {
    let kept = (0..Items::BITS).map(|at| 1 << at);
    let mut kept = kept.filter(|item| barred & item == 0);
    kept.nth(place).unwrap_or(0)
}

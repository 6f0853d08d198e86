//! The host's capacities, and the core's types with them.

use bitbudget_core::engine::Engine;
use bitbudget_core::image::Image;
use bitbudget_core::level::Level;
use bitbudget_core::network::Network;
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Measure, Plan, Planner};

/// The most layers of a network on the host.
pub const MAX_LAYERS: usize = 256;
/// The most levels of a layer on the host: all that there are.
pub const MAX_LEVELS: usize = Level::ALL.len();
/// A network with the host's capacities.
pub type HostNetwork = Network<MAX_LAYERS, MAX_LEVELS>;
/// The most items of a layer on the host: every level in flash and in RAM.
pub const MAX_ITEMS: usize = 2 * MAX_LEVELS;
/// The most limits of a plan on the host: one on every measure, and one of the caller's.
pub const MAX_LIMITS: usize = Measure::ALL.len() + 1;
/// A planner with the host's capacities.
pub type HostPlanner = Planner<MAX_LAYERS, MAX_ITEMS, MAX_LIMITS>;
/// An image with the host's capacities.
pub type HostImage<'a> = Image<'a, MAX_LAYERS, MAX_LEVELS>;
/// An engine with the host's capacities.
pub type HostEngine<'a> = Engine<'a, MAX_LAYERS, MAX_LEVELS>;
/// A plan with the host's capacities.
pub type HostPlan = Plan<MAX_LAYERS>;

/// The planner of a network whose weights may lie in these places, made on the heap: it is large.
#[must_use]
pub fn planner(places: Places, network: &HostNetwork) -> Box<HostPlanner> {
    let mut planner = Box::new(const { HostPlanner::empty() });
    planner.set_network(network, places);
    planner
}

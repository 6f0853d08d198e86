//! The host's capacities, and the core's types with them.

use bitbudget_core::engine::Engine;
use bitbudget_core::image::Image;
use bitbudget_core::network::Network;
use bitbudget_core::plan::{Plan, Planner};

/// The most layers of a network on the host.
pub const MAX_LAYERS: usize = 256;
/// The most levels of a layer on the host.
pub const MAX_LEVELS: usize = 16;
/// A network with the host's capacities.
pub type HostNetwork = Network<MAX_LAYERS, MAX_LEVELS>;
/// A planner with the host's capacities.
pub type HostPlanner = Planner<MAX_LAYERS, MAX_LEVELS>;
/// An image with the host's capacities.
pub type HostImage<'a> = Image<'a, MAX_LAYERS, MAX_LEVELS>;
/// An engine with the host's capacities.
pub type HostEngine<'a> = Engine<'a, MAX_LAYERS, MAX_LEVELS>;
/// A plan with the host's capacities.
pub type HostPlan = Plan<MAX_LAYERS>;

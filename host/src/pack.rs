//! Packs a profile and its model's weights into one image.

use bitbudget_core::image::{ImageError, emit};
use bitbudget_core::level::Level;
use bitbudget_core::network::Layer;
use bitbudget_core::place::Cycles;
use bitbudget_core::price::PriceItem;

use crate::capacity::{HostImage, HostNetwork, HostPlan, MAX_LEVELS};
use crate::encode::Encoder;
use crate::graph::{Graph, GraphLayer, Weights, graph_fingerprint};
use crate::profile::Profile;

/// Why an image could not be packed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum PackError {
    /// The profile was made from another model.
    #[error(
        "the profile was made from another model ({profiled}): its fingerprint is {expected:016x}, this one's {found:016x}"
    )]
    #[diagnostic(help("give the model that was profiled, or profile this one"))]
    OtherModel {
        /// The profiled model's name.
        profiled: String,
        /// Its fingerprint.
        expected: u64,
        /// The given model's.
        found: u64,
    },
    /// The layers of a model are not those of an image.
    #[error("the model's layers are not those of the image")]
    #[diagnostic(help("give the model that the image was packed from"))]
    OtherNetwork,
    /// The image could not be written.
    #[error("the image could not be written")]
    Emit(#[from] bitbudget_core::image::EmitError),
    /// The packed image does not parse.
    #[error("the packed image does not pass its own checks")]
    Check(#[from] ImageError),
}

/// The image of `profile`, with the weights of `graph`, as bytes that
/// [`Image::parse`](bitbudget_core::image::Image::parse) takes; `plans` are those that a device may look
/// up ([`crate::search::staircase`]), or none.
///
/// # Errors
/// [`PackError`].
pub fn pack(graph: &Graph, profile: &Profile, plans: &[HostPlan]) -> Result<Vec<u8>, PackError> {
    let (expected, found) = (profile.origin.model_fingerprint, graph_fingerprint(graph));
    if expected != found {
        return Err(PackError::OtherModel {
            profiled: profile.origin.model.clone(),
            expected,
            found,
        });
    }
    let network = &profile.network;
    let mut blocks = Vec::new();
    for (at, (layer, grids)) in graph.layers.iter().zip(&profile.grids).enumerate() {
        let Some(Weights { weight, bias }) = &layer.weights else {
            continue;
        };
        let encoder = Encoder::of_layer(network, at, weight, bias);
        for format in network.weight_formats(at) {
            blocks.extend(encoder.block(format, grids));
        }
    }
    let names: Vec<&str> = profile.names.iter().map(String::as_str).collect();
    write(network, &names, plans, &blocks)
}

/// The image of `network` with the weights of `graph`, all at FP32: the baseline of an evaluation of an
/// image that has no such blocks itself.
///
/// # Errors
/// [`PackError::OtherNetwork`] where the graph is not that network's, and the others.
pub fn fp32(network: &HostNetwork, graph: &Graph) -> Result<Vec<u8>, PackError> {
    let mut network = Box::new(network.clone());
    let alike = |(layer, own): (&GraphLayer, &Layer)| {
        let inputs = own.inputs.iter().map(|tensor| usize::from(*tensor));
        (layer.op, layer.output) == (own.op, own.output)
            && layer.activation == own.activation
            && layer.inputs.iter().copied().eq(inputs)
    };
    let same_len = graph.layers.len() == network.layers.len();
    if !same_len || !graph.layers.iter().zip(&network.layers).all(alike) {
        return Err(PackError::OtherNetwork);
    }
    let mut blocks = Vec::new();
    for (at, layer) in graph.layers.iter().enumerate() {
        let Some(Weights { weight, bias }) = &layer.weights else {
            continue;
        };
        let item = PriceItem {
            level: Level::Fp32,
            bytes: network.block_bytes(at, Level::Fp32).unwrap_or(u32::MAX),
            price: 0,
            cycles: Cycles::default(),
        };
        network.prices.rows[at] = [item].into_iter().collect();
        blocks.extend(Encoder::of_layer(&network, at, weight, bias).float(false));
    }
    let names: Vec<&str> = graph
        .layers
        .iter()
        .map(|layer| layer.name.as_str())
        .collect();
    write(&network, &names, &[], &blocks)
}

/// The image of `network`, which is that of `image` but for its cycles: with the same names, stored plans
/// and blocks.
///
/// # Errors
/// [`PackError::Emit`]; [`PackError::Check`] where the cycles of all layers together exceed 32 bits.
pub fn with_cycles(image: &HostImage<'_>, network: &HostNetwork) -> Result<Vec<u8>, PackError> {
    let layers = 0..network.layers.len();
    let names: Vec<&str> = layers.map(|layer| image.name(layer)).collect();
    write(network, &names, &stored_plans(image), image.blocks())
}

/// The plans that an image carries, by rising bytes.
fn stored_plans(image: &HostImage<'_>) -> Vec<HostPlan> {
    let stored = image.stored_plans();
    let mut plans = Vec::new();
    let mut most = Some(u64::MAX);
    while let (Some(stored), Some(bytes)) = (stored, most) {
        let Ok(plan) = stored.within(bytes) else {
            break;
        };
        most = plan.ram_bytes().checked_sub(1);
        // of the schedules of one plan the smallest counts
        if plans
            .last()
            .is_some_and(|last: &HostPlan| last.levels == plan.levels)
        {
            plans.pop();
        }
        plans.push(plan);
    }
    plans.reverse();
    plans
}

/// An image of these parts; `blocks` is its blocks section.
pub(crate) fn write(
    network: &HostNetwork,
    names: &[&str],
    plans: &[HostPlan],
    blocks: &[u8],
) -> Result<Vec<u8>, PackError> {
    const { assert!(Level::ALL.len() <= MAX_LEVELS) };
    let text: usize = names.iter().map(|name| name.len() + 8).sum();
    // a layer's parameters and prices take some hundred bytes, its change from plan to plan seven
    let layers = network.layers.len();
    let sections = 1024 * (1 + layers) + text + plans.len() * (8 + 7 * layers);
    let mut image = vec![0; blocks.len() + sections];
    let len = emit(network, names.iter().copied(), plans, blocks, &mut image)?;
    image.truncate(len);
    HostImage::parse(&image)?;
    Ok(image)
}

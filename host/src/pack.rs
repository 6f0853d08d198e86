//! Packs a profile and its model's weights into one image.

use bitbudget_core::image::{ImageError, emit};
use bitbudget_core::level::Level;
use bitbudget_core::price::PriceItem;

use crate::capacity::{HostImage, HostNetwork, HostPlan, MAX_LEVELS};
use crate::graph::{Graph, graph_fingerprint};
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
    let mut weights = Vec::new();
    for (at, (layer, grids)) in graph.layers.iter().zip(&profile.grids).enumerate() {
        if let Some(own) = &layer.weights {
            // rules may have left fewer widths than were profiled
            let grids = grids.iter().filter(|grid| {
                let mut widths = profile.network.widths(at);
                widths.any(|width| width == grid.width)
            });
            let grids = grids.flat_map(|grid| [&grid.scales, &grid.bias]);
            for part in [&own.weight, &own.bias].into_iter().chain(grids) {
                weights.extend(part.iter().flat_map(|x| x.to_le_bytes()));
            }
        }
    }
    let names: Vec<&str> = profile.names.iter().map(String::as_str).collect();
    write(&profile.network, &names, plans, &weights)
}

/// This image with the level `fp32` on offer for every layer, at price 0: the baseline of an
/// evaluation.
///
/// # Errors
/// [`PackError`].
pub fn with_fp32(image: &HostImage<'_>) -> Result<Vec<u8>, PackError> {
    let mut network = Box::new(image.network().clone());
    for layer in 0..network.layers.len() {
        let row = &network.prices.rows[layer];
        if row.is_empty() || row.iter().any(|item| item.level == Level::Fp32) {
            continue;
        }
        let bytes = network.resident_bytes(layer, Level::Fp32);
        let item = PriceItem {
            level: Level::Fp32,
            bytes: bytes.unwrap_or(u32::MAX),
            price: 0,
        };
        // a row has room for every level there is
        let _ = network.prices.rows[layer].push(item);
    }
    let names: Vec<&str> = (0..network.layers.len()).map(|i| image.name(i)).collect();
    write(&network, &names, &[], image.weights())
}

/// An image of these parts; `weights` is its weights section.
pub(crate) fn write(
    network: &HostNetwork,
    names: &[&str],
    plans: &[HostPlan],
    weights: &[u8],
) -> Result<Vec<u8>, PackError> {
    const { assert!(Level::ALL.len() <= MAX_LEVELS) };
    let text: usize = names.iter().map(|name| name.len() + 8).sum();
    // a layer's parameters and prices take some hundred bytes, its change from plan to plan seven
    let layers = network.layers.len();
    let sections = 1024 * (1 + layers) + text + plans.len() * (8 + 7 * layers);
    let mut image = vec![0; weights.len() + sections];
    let len = emit(network, names.iter().copied(), plans, weights, &mut image)?;
    image.truncate(len);
    HostImage::parse(&image)?;
    Ok(image)
}

//! Packs a profile and its model's weights into one image.

use bitbudget_core::image::{Image, ImageError, emit};

use crate::graph::Graph;
use crate::profile::{MAX_LAYERS, MAX_LEVELS, Profile, graph_fingerprint};

/// An image with the host's capacities.
pub type HostImage<'a> = Image<'a, MAX_LAYERS, MAX_LEVELS>;

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
    /// What was written is not a usable image.
    #[error("the packed image does not pass its own checks")]
    Check(#[from] ImageError),
}

/// The image of `profile`, with the weights of `graph`, as bytes that [`Image::parse`] takes.
///
/// # Errors
/// [`PackError`].
pub fn pack(graph: &Graph, profile: &Profile) -> Result<Vec<u8>, PackError> {
    let (expected, found) = (profile.origin.model_fingerprint, graph_fingerprint(graph));
    if expected != found {
        return Err(PackError::OtherModel {
            profiled: profile.origin.model.clone(),
            expected,
            found,
        });
    }
    let mut weights = Vec::new();
    for (layer, scales) in graph.layers.iter().zip(&profile.scales) {
        if let Some(own) = &layer.weights {
            for part in [&own.weight, &own.bias, scales] {
                weights.extend(part.iter().flat_map(|x| x.to_le_bytes()));
            }
        }
    }
    let names = || profile.names.iter().map(String::as_str);
    let text: usize = names().map(|name| name.len() + 8).sum();
    // a layer's parameters and prices take some hundred bytes
    let sections = 1024 * (1 + profile.network.layers.len()) + text;
    let mut image = vec![0; weights.len() + sections];
    let len = emit(&profile.network, names(), &weights, &mut image)?;
    image.truncate(len);
    HostImage::parse(&image)?;
    Ok(image)
}

//! Errors of profiling.

use std::path::PathBuf;

use bitbudget_core::level::Level;
use bitbudget_core::network::NetworkError;

use crate::dataset::DataError;
use crate::file::FileError;
use crate::loss::{Loss, LossError};

/// Why a model could not be profiled.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum ProfileError {
    /// The data cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Data(#[from] DataError),
    /// The model has more layers than the host's capacity.
    #[error("the model has {found} layers, at most {limit} can be profiled")]
    TooManyLayers {
        /// The model's.
        found: usize,
        /// The capacity.
        limit: usize,
    },
    /// The model has no layer with weights.
    #[error(
        "the model has no convolution and no fully connected layer: there is nothing to quantize"
    )]
    NoWeights,
    /// No level, or one twice.
    #[error("the list of levels is empty or names a level twice")]
    #[diagnostic(help("for example --levels fp32,int8"))]
    Levels,
    /// Mean, std or scale do not suit the model's input.
    #[error(
        "mean and std have {mean} and {std} values for {channels} channels, and scale and std must be positive"
    )]
    #[diagnostic(help(
        "give one value, or one per channel: --mean 0.49,0.48,0.45 --std 0.25,0.24,0.26"
    ))]
    Preprocess {
        /// Values of the mean.
        mean: usize,
        /// Values of the standard deviation.
        std: usize,
        /// The input's channels.
        channels: u16,
    },
    /// A first-order metric and a loss that has its least value at the FP32 model.
    #[error(
        "the metric tangent sees no change of the loss {loss}, whose gradient is zero at the FP32 model"
    )]
    #[diagnostic(help("give labels, or use another metric"))]
    FlatLoss {
        /// The loss.
        loss: Loss,
    },
    /// The FP32 model gives no finite loss.
    #[error("the FP32 model's loss on image {image} is not finite")]
    #[diagnostic(help(
        "check --scale, --mean and --std: the model expects inputs as it was trained on"
    ))]
    Loss {
        /// The image.
        image: usize,
    },
    /// The outputs cannot have that loss.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Objective(#[from] LossError),
    /// A tensor of the FP32 model is not finite.
    #[error("layer {layer} of the FP32 model gives a number that is not finite on image {image}")]
    #[diagnostic(help(
        "check --scale, --mean and --std: the model expects inputs as it was trained on"
    ))]
    Tensor {
        /// The layer.
        layer: String,
        /// The image, or the first of a few that were computed together.
        image: usize,
    },
    /// The outputs do not depend on the inputs.
    #[error("the model gives the same outputs for all {images} images, though these differ")]
    #[diagnostic(help(
        "the network may be dead (a ReLU that is always 0): check the weights, --scale, --mean and --std"
    ))]
    Constant {
        /// Images of the calibration set.
        images: usize,
    },
    /// No level of any layer changes the loss.
    #[error(
        "no level of any layer changes the loss on these {images} image(s): there is nothing to price"
    )]
    #[diagnostic(help(
        "the network may be dead (a ReLU that is always 0), or the images too few: check the weights, the images, --scale,          --mean and --std"
    ))]
    Unmoved {
        /// Images of the calibration set.
        images: usize,
    },
    /// The loss with one layer quantized is not finite.
    #[error("the price of layer {layer} at {level} is not finite")]
    #[diagnostic(help("check --scale, --mean and --std, or leave the level out of --levels"))]
    Price {
        /// The layer.
        layer: String,
        /// The level.
        level: Level,
    },
    /// The loss of a layout is not finite.
    #[error("the loss with several layers quantized is not finite")]
    #[diagnostic(help("give fewer --levels, or do not measure layouts: --refine 0"))]
    LayoutLoss,
    /// The network that came out cannot run.
    #[error("internal error: the calibrated network is inconsistent")]
    Network(#[from] NetworkError),
    /// candle failed.
    #[error("the float model failed")]
    Float(#[from] candle_core::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
    /// The user interrupted it.
    #[error("interrupted; {done} of {total} batches are kept in {}", partial.display())]
    #[diagnostic(help("the same command goes on from there"))]
    Interrupted {
        /// Batches measured.
        done: usize,
        /// Batches in all.
        total: usize,
        /// The file that keeps them.
        partial: PathBuf,
    },
}

//! What can go wrong while a model is profiled.

use std::path::PathBuf;

use bitbudget_core::network::NetworkError;

use crate::dataset::DataError;
use crate::file::FileError;
use crate::loss::Loss;

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
    /// The network that came out cannot run.
    #[error("the calibrated network does not hold together")]
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
        /// Where they are kept.
        partial: PathBuf,
    },
}

//! The arguments that say where data is.

use std::path::{Path, PathBuf};

use bitbudget::dataset::{self, DataError, Dataset, Format, LoadOptions};
use bitbudget_core::shape::Shape;
use clap::Args;

/// Labelled images.
#[derive(Args, Debug)]
pub(crate) struct Data {
    /// Images: .npy or .npz, a CIFAR-10 binary batch, an MNIST IDX file, or a folder of class folders
    #[arg(long, value_name = "PATH")]
    pub(crate) data: PathBuf,
    /// Format of the images
    #[arg(long, default_value = "auto", value_parser = ["auto", "npy", "cifar10", "idx", "folder"])]
    format: String,
    /// Labels, when they are not found beside the images (X_images.npy, X_labels.npy) or within
    #[arg(long, value_name = "PATH")]
    labels: Option<PathBuf>,
    /// Use N images, chosen by --seed
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Which images --limit takes
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Data {
    /// The images, for a model of this input.
    pub(crate) fn load(&self, input: Shape) -> Result<Dataset, DataError> {
        self.load_from(&self.data, self.labels.as_deref(), input)
    }

    /// Other images that are read the same way, with labels beside or within.
    pub(crate) fn load_other(&self, path: &Path, input: Shape) -> Result<Dataset, DataError> {
        self.load_from(path, None, input)
    }

    fn load_from(
        &self,
        path: &Path,
        labels: Option<&Path>,
        input: Shape,
    ) -> Result<Dataset, DataError> {
        dataset::load(
            path,
            &LoadOptions {
                format: Format::parse_or_auto(&self.format)?,
                labels,
                input: dims(input),
                limit: self.limit,
                seed: self.seed,
            },
        )
    }
}

/// `[H, W, C]`.
pub(crate) fn dims(shape: Shape) -> [usize; 3] {
    [shape.h, shape.w, shape.c].map(usize::from)
}

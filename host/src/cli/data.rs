//! The arguments that say where data is.

use std::path::{Path, PathBuf};

use bitbudget::dataset::{self, DataError, Dataset, LoadOptions};
use bitbudget_core::shape::Shape;
use clap::{Args, ValueEnum};

/// Labelled images.
#[derive(Args, Debug)]
pub(crate) struct Data {
    /// Images: .npy or .npz, a CIFAR-10 binary batch, an MNIST IDX file, or a folder of PNG and JPEG
    /// files, in a sub-folder for each class where they have labels
    ///
    /// Class folders named 0, 1, 2, ... keep their number as the class, whichever of them there are;
    /// other names are numbered in sorted order, and there must be one (it may be empty) for each
    /// output of the model. Color becomes grey as in Pillow and torchvision (ITU-R BT.601), alpha is
    /// dropped, of 16 bits the upper 8 are kept, an EXIF orientation is not applied.
    #[arg(long, value_name = "PATH")]
    pub(crate) data: PathBuf,
    /// Format of the images
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    /// Label file [default: X_labels.npy next to X_images.npy, or labels inside the data file]
    #[arg(long, value_name = "PATH")]
    labels: Option<PathBuf>,
    /// Use a random subset of N images (see --seed)
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Which images --limit takes
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Auto,
    Npy,
    Cifar10,
    Idx,
    Folder,
}

impl Format {
    const fn asked(self) -> Option<dataset::Format> {
        match self {
            Self::Auto => None,
            Self::Npy => Some(dataset::Format::Npy),
            Self::Cifar10 => Some(dataset::Format::Cifar10),
            Self::Idx => Some(dataset::Format::Idx),
            Self::Folder => Some(dataset::Format::Folder),
        }
    }
}

impl Data {
    /// The files that are read.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Path> {
        let labels = self.labels.as_deref();
        [self.data.as_path()].into_iter().chain(labels)
    }

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
                format: self.format.asked(),
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

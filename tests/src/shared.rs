//! Larger models and data beside the repository, where there are any.

use std::path::{Path, PathBuf};

use bitbudget::dataset::Dataset;
use bitbudget::graph::Graph;
use bitbudget::import;
use bitbudget_core::network::Preprocess;

use crate::digits;

/// The folder; `None`, and a word about it, where it is not.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let there = folder.join("models").is_dir() && folder.join("data/cifar10").is_dir();
    if !there {
        eprintln!("skipped: no models and data in {}", folder.display());
    }
    there.then_some(folder)
}

/// A model for CIFAR-10 (Krizhevsky 2009) and some calibration images.
///
/// # Panics
/// When they cannot be read.
#[must_use]
pub fn cifar10(folder: &Path, model: &str, limit: usize) -> (Graph, Dataset) {
    let graph = import::load(&folder.join(format!("models/{model}.onnx"))).expect("the model");
    let images = folder.join("data/cifar10/calib_batch.bin");
    let data = digits::load(&images, &graph, Some(limit));
    (graph, data)
}

/// The preprocessing with which the models for CIFAR-10 were trained.
///
/// # Panics
/// Never.
#[must_use]
pub fn cifar10_preprocess() -> Preprocess {
    let stats = |values: &[f32]| heapless::Vec::from_slice(values).expect("three");
    Preprocess {
        scale: 1.0 / 255.0,
        mean: stats(&[0.4914, 0.4822, 0.4465]),
        std: stats(&[0.2470, 0.2435, 0.2616]),
    }
}

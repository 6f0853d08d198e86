//! The demo's digits, through the library.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use bitbudget::dataset::{self, Dataset, LoadOptions};
use bitbudget::graph::Graph;
use bitbudget::import;
use bitbudget::profile::{Control, Options, Profile, profile};
use bitbudget_core::network::Preprocess;

/// Images for a model.
///
/// # Panics
/// When they cannot be read.
#[must_use]
pub fn load(path: &Path, graph: &Graph, limit: Option<usize>) -> Dataset {
    let input = [graph.input.h, graph.input.w, graph.input.c].map(usize::from);
    let options = LoadOptions {
        format: None,
        labels: None,
        input,
        limit,
        seed: 1,
    };
    dataset::load(path, &options).expect("the images")
}

/// The demo's model, its calibration images, and the options that suit them.
///
/// # Panics
/// When they cannot be read.
#[must_use]
pub fn model() -> (Graph, Dataset, Options) {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/demo");
    let graph = import::load(&demo.join("digits_resnet8.onnx")).expect("the model");
    let data = load(&demo.join("calib_images.npy"), &graph, None);
    let options = Options {
        preprocess: Preprocess {
            scale: 0.0625,
            ..Preprocess::default()
        },
        ..Options::default()
    };
    (graph, data, options)
}

/// The profile of a model.
///
/// # Panics
/// When there is an error.
#[must_use]
pub fn profiled(graph: Graph, data: &Dataset, options: &Options) -> Profile {
    let control = Control {
        progress: &|_, _, _| (),
        stop: &AtomicBool::new(false),
        output: None,
    };
    profile(graph, data, options, &control).expect("a profile")
}

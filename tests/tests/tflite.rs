//! Models as TensorFlow's converter writes them give what TensorFlow's interpreter gives.
//!
//! `tests/models/make.py` has made the files, and the outputs that are expected.

use std::fs;
use std::path::{Path, PathBuf};

use bitbudget::graph::{FloatModel, Graph};
use bitbudget::import::tflite::TfliteError;
use bitbudget::import::{ImportError, Sizes, load, tflite};
use serde::Deserialize;

/// Largest difference from the interpreter, of the largest magnitude: both sum in FP32, in other orders.
const TOLERANCE: f32 = 1e-5;

/// An input and what the interpreter gives for it, both in the model's order.
#[derive(Deserialize)]
struct Case {
    input: Vec<f32>,
    output: Vec<f32>,
}

fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models")
}

fn output(graph: Graph, input: Vec<f32>) -> Vec<f32> {
    let model = FloatModel::new(graph).expect("a model");
    let input = model.input(input).expect("an input");
    let tensors = model.forward(input).expect("a forward pass");
    let last = tensors.last().expect("an output");
    let flat = last.flatten_all().and_then(|t| t.to_vec1());
    flat.expect("numbers")
}

fn assert_as_the_interpreter(path: &Path) {
    let cases = fs::read(path.with_extension("json")).expect("the cases");
    let cases: Vec<Case> = serde_json::from_slice(&cases).expect("cases");
    let graph = load(path).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
    for case in cases {
        let found = output(graph.clone(), case.input);
        assert_eq!(found.len(), case.output.len(), "{}", path.display());
        let largest = case.output.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        for (found, expected) in found.iter().zip(&case.output) {
            let off = (found - expected).abs();
            let name = path.display();
            assert!(
                off <= TOLERANCE * largest,
                "{name}: {found}, expected {expected}"
            );
        }
    }
}

#[test]
fn models_of_floats_and_integers_give_what_the_interpreter_gives() {
    let entries = fs::read_dir(models()).expect("part of the source");
    let paths = entries.map(|entry| entry.expect("a file").path());
    let is_model = |path: &PathBuf| path.extension().is_some_and(|e| e == "tflite");
    let paths: Vec<PathBuf> = paths.filter(is_model).collect();
    assert_eq!(paths.len(), 21);
    for path in paths {
        assert_as_the_interpreter(&path);
    }
}

#[test]
fn files_that_are_cut_off_are_refused() {
    let bytes = fs::read(models().join("cnn.int8.tflite")).expect("a model");
    for len in 0..bytes.len() {
        let parsed = tflite::parse(&bytes[..len], &Sizes::None);
        // the tables are written from the end: the last bytes may be padding
        assert!(parsed.is_err() || len + 8 > bytes.len(), "{len} bytes");
    }
}

#[test]
fn layers_have_the_names_of_the_models() {
    let graph = load(&models().join("cnn.int8.tflite")).expect("a model");
    let names: Vec<&str> = graph.layers.iter().map(|l| l.name.as_str()).collect();
    let named = |name: &str| names.iter().any(|n| n.ends_with(name));
    assert!(
        named("conv2d_1") && named("depthwise_conv2d_1"),
        "{names:?}"
    );
}

#[test]
fn a_model_is_told_by_its_bytes_and_its_errors_by_its_operators() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.bin");
    let mut bytes = fs::read(models().join("blocks.float.tflite")).expect("a model");
    fs::write(&path, &bytes).expect("a file");
    assert!(load(&path).is_ok());
    // of operator code 117, HARD_SWISH, both fields become 109, UNIQUE's neighbour CEIL's number 104
    let hard_swish = bytes.iter().enumerate().filter(|(_, byte)| **byte == 117);
    let positions: Vec<usize> = hard_swish.map(|(i, _)| i).collect();
    for position in positions {
        bytes[position] = 104;
    }
    fs::write(&path, &bytes).expect("a file");
    let error = load(&path).expect_err("an operator that there is not");
    let ImportError::Tflite { source, .. } = error else {
        panic!("{error:?}");
    };
    let TfliteError::Unsupported { nodes } = source else {
        panic!("{source:?}");
    };
    assert!(nodes.iter().all(|node| node.op == "CEIL"), "{nodes:?}");
}

//! The trained models, where they lie beside the repository.

use std::path::PathBuf;

use super::check;
use crate::graph::Graph;
use crate::import::load;

/// The model of that name; `None`, with a note, where it is not there.
fn model(name: &str) -> Option<Graph> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/models"));
    let path = folder.join(name);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    let graph = load(&path).unwrap();
    check(&graph);
    Some(graph)
}

/// One line for each layer: name, operator, inputs, output.
fn lines(graph: &Graph) -> Vec<String> {
    let line = |layer: &crate::graph::GraphLayer| {
        format!(
            "{} {} {:?} {}",
            layer.name,
            layer.op.name(),
            layer.inputs,
            layer.output
        )
    };
    graph.layers.iter().map(line).collect()
}

fn weight_count(graph: &Graph) -> usize {
    let weights = graph
        .layers
        .iter()
        .filter_map(|layer| layer.weights.as_ref());
    weights.map(|weights| weights.weight.len()).sum()
}

#[test]
fn resnet8() {
    let Some(graph) = model("resnet8_plain.onnx") else {
        return;
    };
    assert_eq!(graph.input.to_string(), "32x32x3");
    assert_eq!(weight_count(&graph), 74_800);
    let expected = [
        "stem.0 conv2d [0] 32x32x16",
        "convs.0.0 conv2d [1] 32x32x16",
        "convs.1.0 conv2d [2] 32x32x16",
        "convs.2.0 conv2d [3] 16x16x32",
        "convs.3.0 conv2d [4] 16x16x32",
        "convs.4.0 conv2d [5] 8x8x64",
        "convs.5.0 conv2d [6] 8x8x64",
        "avg-pool1 avg-pool [7] 1x1x64",
        "fc dense [8] 1x1x10",
    ];
    assert_eq!(lines(&graph), expected);
}

#[test]
fn resnet8_on_digits() {
    let Some(graph) = model("digits_resnet8.onnx") else {
        return;
    };
    assert_eq!(graph.input.to_string(), "8x8x1");
    assert_eq!(weight_count(&graph), 74_512);
    assert_eq!(graph.layers.len(), 9);
}

#[test]
fn resnet8_with_skips() {
    let Some(graph) = model("resnet8_residual.onnx") else {
        return;
    };
    // in the file, `down` stands behind the branch beside it
    let expected = [
        "stem.0 conv2d [0] 32x32x16",
        "convs.0.0 conv2d [1] 32x32x16",
        "convs.1.0 conv2d [2] 32x32x16",
        "add1 add [3, 1] 32x32x16",
        "convs.2.0 conv2d [4] 16x16x32",
        "down.1 conv2d [4] 16x16x32",
        "convs.3.0 conv2d [5] 16x16x32",
        "add2 add [7, 6] 16x16x32",
        "convs.4.0 conv2d [8] 8x8x64",
        "down.2 conv2d [8] 8x8x64",
        "convs.5.0 conv2d [9] 8x8x64",
        "add3 add [11, 10] 8x8x64",
        "avg-pool1 avg-pool [12] 1x1x64",
        "fc dense [13] 1x1x10",
    ];
    assert_eq!(lines(&graph), expected);
}

#[test]
fn both_exporters_give_the_same_layers() {
    for (newer, older, count) in [
        ("resnet8_plain.onnx", "resnet8_plain_bn.onnx", 9),
        ("resnet14_plain.onnx", "resnet14_plain_bn.onnx", 15),
    ] {
        let (Some(newer), Some(older)) = (model(newer), model(older)) else {
            return;
        };
        assert_eq!(lines(&newer), lines(&older));
        assert_eq!(newer.layers.len(), count);
        for (a, b) in newer.layers.iter().zip(&older.layers) {
            assert_eq!((a.op, a.activation), (b.op, b.activation));
            let (Some(a), Some(b)) = (&a.weights, &b.weights) else {
                continue;
            };
            let pairs = a.weight.iter().zip(&b.weight);
            for (a, b) in pairs.chain(a.bias.iter().zip(&b.bias)) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }
}

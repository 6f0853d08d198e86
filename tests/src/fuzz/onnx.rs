//! ONNX models through the import and one forward pass.

use bitbudget::graph::{FloatModel, Graph, graph_fingerprint};
use bitbudget::import::onnx;
use bitbudget_core::shape::Shape;

/// The most products of a forward pass, and elements of a tensor.
const MOST_MACS: u64 = 1 << 16;
const MOST_LEN: usize = 1 << 14;

pub(super) fn run(bytes: &[u8]) -> bool {
    let parsed = onnx::parse(bytes);
    let is_model = parsed.is_ok();
    match parsed {
        Ok(graph) => forward(graph),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    is_model
}

/// A graph's layers fit one another, and it runs.
pub(super) fn forward(graph: Graph) {
    for layer in &graph.layers {
        let shapes: Vec<Shape> = layer.inputs.iter().map(|t| graph.shape(*t)).collect();
        let checked = layer.op.check(&shapes, layer.output);
        checked.unwrap_or_else(|error| panic!("{}: {error}", layer.name));
    }
    let _ = graph_fingerprint(&graph);
    let shapes = (0..=graph.layers.len()).map(|tensor| graph.shape(tensor));
    if shapes.map(Shape::len).max() > Some(MOST_LEN) {
        return;
    }
    let input = vec![0.5; graph.input.len()];
    let output = graph.shape(graph.layers.len());
    let model = FloatModel::new(graph).expect("as many weights as its shapes say");
    if model.macs() < MOST_MACS {
        let input = model.input(input).expect("a sample");
        let tensors = model.forward(input).expect("it runs");
        let last = tensors.last().expect("at least the input");
        assert_eq!(last.elem_count(), output.len());
    }
}

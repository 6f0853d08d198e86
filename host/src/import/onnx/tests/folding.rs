//! Nodes that are folded into the layer before, and nodes that must not be.

use super::*;

const STATISTICS: [&str; 4] = ["scale", "shift", "mean", "variance"];

fn batch_norm(model: Model, input: &str, output: &str) -> Model {
    let inputs = [&[input], &STATISTICS[..]].concat();
    model
        .tensor(floats("scale", &[2], &[0.5, -2.0]))
        .tensor(floats("shift", &[2], &[1.0, 3.0]))
        .tensor(floats("mean", &[2], &[0.25, -1.0]))
        .tensor(floats("variance", &[2], &[4.0, 0.01]))
        .node(
            "BatchNormalization",
            &inputs,
            output,
            &[("epsilon", F(0.001))],
        )
}

/// Batch normalization by its definition.
fn normalized(x: f64, channel: usize) -> f64 {
    let [scale, shift] = [[0.5, -2.0][channel], [1.0, 3.0][channel]];
    let [mean, variance] = [[0.25, -1.0][channel], [4.0, 0.01][channel]];
    scale * (x - mean) / f64::sqrt(variance + 0.001) + shift
}

fn conv(output: &str) -> Model {
    Model::new(&[2, 3, 3])
        .tensor(floats("w", &[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]))
        .tensor(floats("b", &[2], &[0.5, -0.5]))
        .node("Conv", &["x", "w", "b"], output, &[])
}

#[test]
fn batch_norm_goes_into_a_convolution() {
    let graph = batch_norm(conv("c"), "c", "n")
        .node("Relu", &["n"], "y", &[])
        .import();
    assert_eq!(outline(&graph), ["conv1 conv2d relu"]);
    let weights = graph.layers[0].weights.as_ref().unwrap();
    for (o, [row, bias]) in [[[1.0, 2.0], [0.5; 2]], [[3.0, 4.0], [-0.5; 2]]]
        .iter()
        .enumerate()
    {
        let origin = normalized(0.0, o);
        let found: Vec<f64> = weights.weight[2 * o..][..2]
            .iter()
            .map(|w| f64::from(*w))
            .collect();
        assert_close(&found, &row.map(|w| normalized(w, o) - origin));
        assert_close(&[f64::from(weights.bias[o])], &[normalized(bias[0], o)]);
    }
}

#[test]
fn batch_norm_goes_into_a_dense_layer() {
    let model = Model::new(&[3])
        .random("w", &[3, 2])
        .node("Gemm", &["x", "w"], "c", &[]);
    let plain = rename(&model, "y").import();
    let folded = batch_norm(model, "c", "y").import();
    assert_eq!(outline(&folded), ["dense1 dense"]);
    let expected: Vec<f64> = sample(&plain)
        .1
        .into_iter()
        .enumerate()
        .map(norm_at)
        .collect();
    assert_close(&sample(&folded).1, &expected);
}

fn norm_at((channel, x): (usize, f64)) -> f64 {
    normalized(x, channel)
}

/// The model with its last node's output renamed.
fn rename(model: &Model, output: &str) -> Model {
    let mut copy = Model(ModelProto::parse_buf(&model.bytes()).unwrap());
    copy.graph().node.last_mut().unwrap().output[0] = output.to_owned();
    copy
}

#[test]
fn batch_norm_alone_is_a_depthwise_convolution() {
    let graph = batch_norm(Model::new(&[2, 3, 3]), "x", "y").import();
    assert_eq!(outline(&graph), ["conv1 conv2d"]);
    let window = Window::square(1, 1, 0);
    assert_eq!(graph.layers[0].op, Op::Conv2d { window, groups: 2 });
    let (input, output) = sample(&graph);
    let expected: Vec<f64> = input
        .iter()
        .enumerate()
        .map(|(i, x)| norm_at((i / 9, *x)))
        .collect();
    assert_close(&output, &channels_last(&expected, graph.input));
}

#[test]
fn batch_norm_stays_where_others_read_or_an_activation_is_between() {
    let shared = batch_norm(conv("c"), "c", "n")
        .node("Add", &["c", "n"], "y", &[])
        .import();
    assert_eq!(
        outline(&shared),
        ["conv1 conv2d", "conv2 conv2d", "add1 add"]
    );
    let after_relu = conv("c").node("Relu", &["c"], "r", &[]);
    let after_relu = batch_norm(after_relu, "r", "y").import();
    assert_eq!(outline(&after_relu), ["conv1 conv2d relu", "conv2 conv2d"]);
}

#[test]
fn batch_norm_in_training_mode_is_unsupported() {
    let inputs = [&["x"], &STATISTICS[..]].concat();
    let mut model = Model::new(&[2, 3, 3]);
    for name in STATISTICS {
        model = model.random(name, &[2]);
    }
    let model = model.node(
        "BatchNormalization",
        &inputs,
        "y",
        &[("training_mode", I(1))],
    );
    assert!(model.reason().contains("training mode"));
}

#[test]
fn constants_for_each_channel_go_into_a_convolution() {
    for (op, constant_first, expected) in [
        ("Add", false, [[1.0, 2.0, 2.5], [3.0, 4.0, 3.5]]),
        ("Add", true, [[1.0, 2.0, 2.5], [3.0, 4.0, 3.5]]),
        ("Sub", false, [[1.0, 2.0, -1.5], [3.0, 4.0, -4.5]]),
        ("Sub", true, [[-1.0, -2.0, 1.5], [-3.0, -4.0, 4.5]]),
        ("Mul", false, [[2.0, 4.0, 1.0], [12.0, 16.0, -2.0]]),
        ("Mul", true, [[2.0, 4.0, 1.0], [12.0, 16.0, -2.0]]),
        ("Div", false, [[0.5, 1.0, 0.25], [0.75, 1.0, -0.125]]),
    ] {
        for dims in [&[2, 1, 1][..], &[1, 2, 1, 1]] {
            let inputs = if constant_first {
                ["k", "c"]
            } else {
                ["c", "k"]
            };
            let graph = conv("c")
                .tensor(floats("k", dims, &[2.0, 4.0]))
                .node(op, &inputs, "y", &[])
                .import();
            assert_eq!(outline(&graph), ["conv1 conv2d"]);
            let weights = graph.layers[0].weights.as_ref().unwrap();
            for (o, [a, b, bias]) in expected.into_iter().enumerate() {
                assert_eq!(weights.weight[2 * o..][..2], [a, b], "{op}");
                assert_eq!(weights.bias[o], bias, "{op}");
            }
        }
    }
}

#[test]
fn a_constant_after_a_matmul_is_its_bias() {
    let graph = Model::new(&[3])
        .random("w", &[3, 2])
        .tensor(floats("b", &[2], &[5.0, 6.0]))
        .node("MatMul", &["x", "w"], "m", &[])
        .node("Add", &["b", "m"], "y", &[])
        .import();
    assert_eq!(outline(&graph), ["dense1 dense"]);
    assert_eq!(graph.layers[0].weights.as_ref().unwrap().bias, [5.0, 6.0]);
}

#[test]
fn neutral_constants_vanish() {
    let graph = Model::new(&[2, 3, 3])
        .tensor(floats("zero", &[], &[0.0]))
        .tensor(floats("one", &[1], &[1.0]))
        .node("Add", &["x", "zero"], "a", &[])
        .node("Sub", &["a", "zero"], "b", &[])
        .node("Mul", &["one", "b"], "c", &[])
        .node("Div", &["c", "one"], "d", &[])
        .node("Relu", &["d"], "y", &[])
        .import();
    assert_eq!(outline(&graph), ["reshape1 reshape relu"]);
}

#[test]
fn activations_go_into_the_layer_before() {
    let clip = |model: Model, input: &str, output: &str| {
        model
            .tensor(floats("low", &[], &[0.0]))
            .tensor(floats("high", &[], &[6.0]))
            .node("Clip", &[input, "low", "high"], output, &[])
    };
    let relu6 = clip(conv("c"), "c", "y").import();
    assert_eq!(outline(&relu6), ["conv1 conv2d relu6"]);
    let both = clip(conv("c").node("Relu", &["c"], "r", &[]), "r", "s");
    let both = both.node("Relu", &["s"], "y", &[]).import();
    assert_eq!(outline(&both), ["conv1 conv2d relu6"]);

    let attributes = conv("c")
        .opset(10)
        .node("Clip", &["c"], "y", &[("min", F(0.0)), ("max", F(6.0))])
        .import();
    assert_eq!(outline(&attributes), ["conv1 conv2d relu6"]);

    let relu = conv("c")
        .tensor(floats("low", &[], &[0.0]))
        .node("Clip", &["c", "low"], "y", &[])
        .import();
    assert_eq!(outline(&relu), ["conv1 conv2d relu"]);

    let open = conv("c").node("Clip", &["c"], "y", &[]).import();
    assert_eq!(outline(&open), ["conv1 conv2d"]);
}

#[test]
fn activations_of_a_shared_tensor_are_layers() {
    let graph = conv("c")
        .node("Identity", &["c"], "i", &[])
        .node("Relu", &["i"], "r", &[])
        .node("Add", &["c", "r"], "y", &[])
        .import();
    assert_eq!(
        outline(&graph),
        ["conv1 conv2d", "reshape1 reshape relu", "add1 add"]
    );
    assert_eq!(graph.layers[2].inputs, [1, 2]);

    // The other reader comes first.
    let graph = conv("c")
        .node("Conv", &["c", "w"], "d", &[])
        .node("Relu", &["c"], "r", &[])
        .node("Add", &["d", "r"], "y", &[])
        .import();
    let expected = [
        "conv1 conv2d",
        "conv2 conv2d",
        "reshape1 reshape relu",
        "add1 add",
    ];
    assert_eq!(outline(&graph), expected);
}

#[test]
fn padding_goes_into_the_next_window() {
    let pads = [0, 0, 1, 0, 0, 0, 0, 1];
    let padded = |opset| {
        let model = Model::new(&[2, 4, 4]).opset(opset);
        match opset {
            10 => model.node("Pad", &["x"], "p", &[("pads", Is(&pads))]),
            _ => model
                .tensor(ints("pads", &[8], &pads))
                .node("Pad", &["x", "pads"], "p", &[]),
        }
    };
    for opset in [10, 17] {
        let graph = padded(opset)
            .random("w", &[1, 2, 3, 3])
            .node("Conv", &["p", "w"], "y", &[("pads", Is(&[1, 0, 0, 0]))])
            .import();
        let Op::Conv2d { window, .. } = graph.layers[0].op else {
            panic!("{:?}", graph.layers[0].op);
        };
        assert_eq!(window.padding, [2, 0, 0, 1]);
        assert_eq!(graph.layers[0].output, Shape::new(4, 3, 1));
    }
    let kernel = || ("kernel_shape", Is(&[2, 2]));
    let graph = padded(17)
        .node("AveragePool", &["p"], "y", &[kernel()])
        .import();
    let window = Window {
        kernel: [2, 2],
        stride: [1, 1],
        padding: [1, 0, 0, 1],
    };
    let count_padding = true;
    let op = Op::AvgPool {
        window,
        count_padding,
    };
    assert_eq!(graph.layers[0].op, op);

    let mixed = [kernel(), ("pads", Is(&[0, 1, 0, 0]))];
    assert!(
        padded(17)
            .node("AveragePool", &["p"], "y", &mixed)
            .reason()
            .contains("zeros of Pad")
    );
    assert!(
        padded(17)
            .node("MaxPool", &["p"], "y", &[kernel()])
            .reason()
            .contains("padded")
    );
    let narrow = padded(17).random("w", &[1, 2, 1, 1]);
    assert!(
        narrow
            .node("Conv", &["p", "w"], "y", &[])
            .reason()
            .contains("not smaller")
    );
}

#[test]
fn padding_with_the_lowest_goes_into_a_maximum() {
    let pads = [0, 0, 1, 0, 0, 0, 0, 1];
    let kernel = || ("kernel_shape", Is(&[2, 2]));
    let padded = |fill: f32| {
        Model::new(&[2, 4, 4])
            .tensor(ints("pads", &[8], &pads))
            .tensor(floats("fill", &[], &[fill]))
            .node("Pad", &["x", "pads", "fill"], "p", &[])
    };
    let attribute = Model::new(&[2, 4, 4]).opset(10).node(
        "Pad",
        &["x"],
        "p",
        &[("pads", Is(&pads)), ("value", F(f32::NEG_INFINITY))],
    );
    for model in [padded(f32::NEG_INFINITY), padded(f32::MIN), attribute] {
        let own = ("pads", Is(&[0, 1, 0, 0]));
        let graph = model
            .node("MaxPool", &["p"], "y", &[kernel(), own])
            .import();
        let window = Window {
            kernel: [2, 2],
            stride: [1, 1],
            padding: [1, 1, 0, 1],
        };
        assert_eq!(graph.layers[0].op, Op::MaxPool { window });
        assert_eq!(graph.layers[0].output, Shape::new(4, 5, 2));
    }
    let lowest = || padded(f32::NEG_INFINITY);
    for (reader, attributes) in [("AveragePool", vec![kernel()]), ("Relu", vec![])] {
        let model = lowest().node(reader, &["p"], "y", &attributes);
        assert!(model.reason().contains("padded with -inf"), "{reader}");
    }
    let both = lowest().node("Pad", &["p", "pads"], "q", &[]);
    let both = both.node("MaxPool", &["q"], "y", &[kernel()]);
    assert!(both.reason().contains("padded with -inf"));
    for fill in [1.0, f32::INFINITY, f32::NAN] {
        let model = padded(fill).node("MaxPool", &["p"], "y", &[kernel()]);
        assert!(model.reason().contains("it pads with"), "{fill}");
    }
}

#[test]
fn padding_by_nothing_vanishes() {
    let graph = Model::new(&[2, 4, 4])
        .tensor(ints("pads", &[8], &[0; 8]))
        .node("Pad", &["x", "pads"], "p", &[("mode", S("constant"))])
        .node("MaxPool", &["p"], "y", &[("kernel_shape", Is(&[2, 2]))])
        .import();
    assert_eq!(outline(&graph), ["max-pool1 max-pool"]);
}

#[test]
fn identities_and_dead_nodes_vanish() {
    let graph = Model::new(&[2, 3, 3])
        .node("Sigmoid", &["x"], "unused", &[])
        .node("Identity", &["x"], "a", &[])
        .node("Dropout", &["a"], "b", &[("ratio", F(0.5))])
        .node("Cast", &["b"], "c", &[("to", I(1))])
        .node("MaxPool", &["c"], "y", &[("kernel_shape", Is(&[2, 2]))])
        .import();
    assert_eq!(outline(&graph), ["max-pool1 max-pool"]);
}

#[test]
fn layers_whose_shape_alone_is_used_are_dropped() {
    let graph = conv("c")
        .node("Shape", &["c"], "s", &[])
        .node("Reshape", &["x", "s"], "r", &[])
        .node("MaxPool", &["r"], "y", &[("kernel_shape", Is(&[2, 2]))])
        .import();
    assert_eq!(outline(&graph), ["max-pool1 max-pool"]);
    assert_eq!(graph.layers[0].inputs, [0]);
}

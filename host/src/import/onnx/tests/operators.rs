//! The import of each operator.

use super::*;

fn window_of(graph: &Graph) -> Window {
    match graph.layers[0].op {
        Op::Conv2d { window, .. } | Op::MaxPool { window } | Op::AvgPool { window, .. } => window,
        Op::Dense
        | Op::Add
        | Op::Reshape
        | Op::Softmax { .. }
        | Op::Unary(_)
        | Op::Mul
        | Op::Concat
        | Op::Rearrange(_) => {
            panic!("no window")
        }
    }
}

fn conv(attributes: &[(&str, Attr<'_>)]) -> Model {
    Model::new(&[2, 8, 7])
        .random("w", &[4, 2, 3, 2])
        .node("Conv", &["x", "w"], "y", attributes)
}

fn pool(op: &str, attributes: &[(&str, Attr<'_>)]) -> Model {
    Model::new(&[2, 8, 7]).node(op, &["x"], "y", attributes)
}

/// The convolution by its definition, all in `[C, H, W]`.
fn direct_conv(
    x: &[f64],
    [c, h, w]: [usize; 3],
    filters: &[f32],
    [o, kh, kw]: [usize; 3],
    (groups, stride, pad): (usize, usize, usize),
) -> Vec<f64> {
    let (rows, columns) = (
        (h + 2 * pad - kh) / stride + 1,
        (w + 2 * pad - kw) / stride + 1,
    );
    let inner = c / groups;
    let mut output = Vec::new();
    for filter in 0..o {
        for at in 0..rows * columns {
            let (top, left) = (at / columns * stride, at % columns * stride);
            let mut sum = 0.0;
            for i in 0..inner * kh * kw {
                let (ky, kx) = (i / kw % kh, i % kw);
                let (y, x_) = ((top + ky).wrapping_sub(pad), (left + kx).wrapping_sub(pad));
                if y < h && x_ < w {
                    let channel = filter / (o / groups) * inner + i / (kh * kw);
                    let weight = f64::from(filters[filter * inner * kh * kw + i]);
                    sum += weight * x[(channel * h + y) * w + x_];
                }
            }
            output.push(sum);
        }
    }
    output
}

#[test]
fn convolution_permutes_its_weights() {
    let values: Vec<f32> = (0..12_u8).map(f32::from).collect();
    let graph = Model::new(&[2, 4, 4])
        .tensor(floats("w", &[1, 2, 2, 3], &values))
        .node("Conv", &["x", "w"], "y", &[])
        .import();
    let weights = graph.layers[0].weights.as_ref().unwrap();
    let expected = [0.0, 6.0, 1.0, 7.0, 2.0, 8.0, 3.0, 9.0, 4.0, 10.0, 5.0, 11.0];
    assert_eq!(weights.weight, expected);
    assert_eq!(weights.bias, [0.0]);
}

#[test]
fn convolutions_compute_what_onnx_says() {
    for (groups, stride, pad) in [(1, 1, 0), (1, 2, 1), (2, 1, 1), (4, 2, 0), (4, 1, 2)] {
        let inner = 4 / groups;
        let attributes = [
            ("group", I(groups)),
            ("strides", Is(&[stride; 2])),
            ("pads", Is(&[pad; 4])),
            ("kernel_shape", Is(&[3, 3])),
        ];
        let graph = Model::new(&[4, 6, 5])
            .random("w", &[8, inner, 3, 3])
            .node("Conv", &["x", "w"], "y", &attributes)
            .import();
        let (input, output) = sample(&graph);
        let filters = noise_of("w", 8 * inner * 9);
        let hyper = (groups as usize, stride as usize, pad as usize);
        let expected = direct_conv(&input, [4, 6, 5], &filters, [8, 3, 3], hyper);
        assert_close(&output, &channels_last(&expected, graph.layers[0].output));
    }
}

/// The numbers of the random initializer of that name.
fn noise_of(name: &str, len: i64) -> Vec<f32> {
    let model = Model::new(&[1]).random(name, &[len]);
    model.0.graph.unwrap().initializer[0].float_data.clone()
}

#[test]
fn biases_are_kept() {
    let graph = Model::new(&[1, 2, 2])
        .tensor(floats("w", &[2, 1, 1, 1], &[1.0, 2.0]))
        .tensor(floats("b", &[2], &[3.0, 4.0]))
        .node("Conv", &["x", "w", "b"], "y", &[])
        .import();
    let weights = graph.layers[0].weights.as_ref().unwrap();
    assert_eq!(weights.weight, [1.0, 2.0]);
    assert_eq!(weights.bias, [3.0, 4.0]);
}

#[test]
fn explicit_padding() {
    let pads = ("pads", Is(&[0, 1, 2, 0]));
    let graph = conv(&[pads, ("strides", Is(&[2, 1]))]).import();
    let window = window_of(&graph);
    assert_eq!(window.kernel, [3, 2]);
    assert_eq!(window.stride, [2, 1]);
    assert_eq!(window.padding, [0, 1, 2, 0]);
    assert_eq!(graph.layers[0].output, Shape::new(4, 7, 4));
}

#[test]
fn automatic_padding() {
    let stride = || ("strides", Is(&[2, 3]));
    for (auto, padding) in [
        ("SAME_UPPER", [0, 0, 1, 1]),
        ("SAME_LOWER", [1, 1, 0, 0]),
        ("VALID", [0, 0, 0, 0]),
        ("NOTSET", [0, 0, 0, 0]),
    ] {
        let model = Model::new(&[2, 8, 7]).random("w", &[4, 2, 3, 2]).node(
            "Conv",
            &["x", "w"],
            "y",
            &[("auto_pad", S(auto)), stride()],
        );
        assert_eq!(window_of(&model.import()).padding, padding, "{auto}");
    }
    let upper = conv(&[("auto_pad", S("SAME_UPPER"))]).import();
    assert_eq!(upper.layers[0].output, Shape::new(8, 7, 4));
    assert_eq!(window_of(&upper).padding, [1, 0, 1, 1]);
}

#[test]
fn pools() {
    let kernel = || ("kernel_shape", Is(&[3, 2]));
    let graph = pool("MaxPool", &[kernel(), ("strides", Is(&[2, 2]))]).import();
    assert_eq!(outline(&graph), ["max-pool1 max-pool"]);
    assert_eq!(graph.layers[0].output, Shape::new(3, 3, 2));

    for (counts, pads, expected) in [(0, 0, false), (1, 0, false), (0, 1, false), (1, 1, true)] {
        let counted = ("count_include_pad", I(counts));
        let graph = pool(
            "AveragePool",
            &[kernel(), counted, ("pads", Is(&[pads; 4]))],
        )
        .import();
        let Op::AvgPool { count_padding, .. } = graph.layers[0].op else {
            panic!("{:?}", graph.layers[0].op);
        };
        assert_eq!(count_padding, expected, "{counts} {pads}");
    }
}

#[test]
fn ceil_mode_extends_the_padding() {
    for (len, kernel, stride, pad, steps, after) in [
        // Fits exactly; one more window; one that would start in the padding.
        (8, 2, 2, 0, 4, 0),
        (7, 2, 2, 0, 4, 1),
        (7, 3, 2, 1, 4, 1),
        (8, 3, 2, 1, 5, 2),
        (9, 2, 3, 0, 3, 0),
        (7, 2, 4, 1, 2, 1),
    ] {
        let attributes = [
            ("kernel_shape", Is(&[kernel; 2])),
            ("strides", Is(&[stride; 2])),
            ("pads", Is(&[pad; 4])),
            ("ceil_mode", I(1)),
        ];
        for op in ["MaxPool", "AveragePool"] {
            let graph = Model::new(&[1, len, len])
                .node(op, &["x"], "y", &attributes)
                .import();
            let window = window_of(&graph);
            assert_eq!(
                graph.layers[0].output.h, steps,
                "{op} {len} {kernel} {stride} {pad}"
            );
            assert_eq!(window.padding, [pad as u16, pad as u16, after, after]);
        }
    }
    let counting = [
        ("kernel_shape", Is(&[3, 3])),
        ("strides", Is(&[2, 2])),
        ("pads", Is(&[1; 4])),
        ("ceil_mode", I(1)),
        ("count_include_pad", I(1)),
    ];
    assert!(
        pool("AveragePool", &counting)
            .reason()
            .contains("ceil_mode")
    );
}

/// The size of a pool's output by PyTorch's `pooling_output_shape`, which ONNX follows; `None` where the
/// pool is refused.
fn pytorch_steps(len: i64, kernel: i64, stride: i64, [before, after]: [i64; 2]) -> Option<i64> {
    let room = len + before + after - kernel + stride - 1;
    let mut steps = room.div_euclid(stride) + 1;
    // the last window starts inside the input or the padding before it
    if (steps - 1) * stride >= len + before {
        steps -= 1;
    }
    (steps > 0).then_some(steps)
}

#[test]
fn ceil_mode_has_the_sizes_of_pytorch() {
    let mut larger_than_their_input = 0;
    for len in 1..=6 {
        for (kernel, stride) in [
            (1, 2),
            (2, 1),
            (2, 3),
            (3, 1),
            (3, 2),
            (3, 3),
            (4, 3),
            (5, 2),
        ] {
            for pads in [[0, 0], [1, 0], [0, 1], [1, 1]] {
                if pads[0].max(pads[1]) * 2 > kernel {
                    continue;
                }
                let attributes = [
                    ("kernel_shape", Is(&[kernel; 2])),
                    ("strides", Is(&[stride; 2])),
                    ("pads", Is(&[pads[0], pads[0], pads[1], pads[1]])),
                    ("ceil_mode", I(1)),
                ];
                let model = Model::new(&[1, len, len]).node("MaxPool", &["x"], "y", &attributes);
                let case = format!("{len} {kernel} {stride} {pads:?}");
                let Some(steps) = pytorch_steps(len, kernel, stride, pads) else {
                    assert!(model.reason().contains("does not fit"), "{case}");
                    continue;
                };
                let overhang = (steps - 1) * stride + kernel - len - pads[0];
                if overhang >= kernel {
                    assert!(model.reason().contains("not smaller"), "{case}");
                    continue;
                }
                let graph = model.import();
                assert_eq!(i64::from(graph.layers[0].output.h), steps, "{case}");
                larger_than_their_input += usize::from(len + pads[0] + pads[1] < kernel);
                // every window by hand
                let (input, output) = sample(&graph);
                let inside = |step: i64| {
                    let start = step * stride - pads[0];
                    (start.max(0)..(start + kernel).min(len)).map(|i| i as usize)
                };
                let (len, steps) = (len as usize, steps as usize);
                for (at, found) in output.iter().enumerate() {
                    let (y, x) = ((at / steps) as i64, (at % steps) as i64);
                    let rows = inside(y).flat_map(|y| inside(x).map(move |x| (y, x)));
                    let values = rows.map(|(y, x)| input[y * len + x]);
                    assert_eq!(*found, values.fold(f64::NEG_INFINITY, f64::max), "{case}");
                }
            }
        }
    }
    assert!(larger_than_their_input > 5);
}

#[test]
fn global_pools() {
    let window = Window {
        kernel: [8, 7],
        stride: [1, 1],
        padding: [0; 4],
    };
    let mean = Op::AvgPool {
        window,
        count_padding: false,
    };
    let max = Op::MaxPool { window };
    let keep = |keep| ("keepdims", I(keep));
    let models = [
        (pool("GlobalAveragePool", &[]), mean),
        (pool("GlobalMaxPool", &[]), max),
        (pool("ReduceMean", &[("axes", Is(&[2, 3]))]), mean),
        (
            pool("ReduceMean", &[("axes", Is(&[-1, -2])), keep(0)]),
            mean,
        ),
        (pool("ReduceMax", &[("axes", Is(&[2, 3])), keep(0)]), max),
        (
            Model::new(&[2, 8, 7])
                .tensor(ints("axes", &[2], &[-2, -1]))
                .node("ReduceMean", &["x", "axes"], "y", &[keep(0)]),
            mean,
        ),
    ];
    for (model, op) in models {
        let graph = model.import();
        assert_eq!(graph.layers.len(), 1);
        assert_eq!(graph.layers[0].op, op);
        assert_eq!(graph.layers[0].output, Shape::vector(2));
    }
}

#[test]
fn a_global_pool_over_one_pixel_vanishes() {
    let graph = pool("GlobalAveragePool", &[]);
    let graph = rename_output(graph, "a")
        .node("GlobalAveragePool", &["a"], "b", &[])
        .node("Relu", &["b"], "y", &[])
        .import();
    assert_eq!(outline(&graph), ["avg-pool1 avg-pool relu"]);
}

/// Renames what the last node gives.
fn rename_output(mut model: Model, name: &str) -> Model {
    model.graph().node.last_mut().unwrap().output[0] = name.to_owned();
    model
}

#[test]
fn dense_layers() {
    let matrix = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let attributes = [("transB", I(1)), ("alpha", F(2.0)), ("beta", F(0.5))];
    let graph = Model::new(&[3])
        .tensor(floats("w", &[2, 3], &matrix))
        .tensor(floats("b", &[1, 2], &[4.0, 8.0]))
        .node("Gemm", &["x", "w", "b"], "y", &attributes)
        .import();
    let weights = graph.layers[0].weights.as_ref().unwrap();
    assert_eq!(weights.weight, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
    assert_eq!(weights.bias, [2.0, 4.0]);

    for op in ["Gemm", "MatMul"] {
        let graph = Model::new(&[3])
            .tensor(floats("w", &[3, 2], &matrix))
            .node(op, &["x", "w"], "y", &[])
            .import();
        let weights = graph.layers[0].weights.as_ref().unwrap();
        assert_eq!(weights.weight, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
        assert_eq!(weights.bias, [0.0, 0.0]);
    }
}

#[test]
fn a_scalar_bias_is_spread() {
    let graph = Model::new(&[3])
        .random("w", &[3, 2])
        .tensor(floats("b", &[1], &[4.0]))
        .node("Gemm", &["x", "w", "b"], "y", &[])
        .import();
    assert_eq!(graph.layers[0].weights.as_ref().unwrap().bias, [4.0, 4.0]);
}

#[test]
fn a_flattened_image_keeps_its_order() {
    let graph = Model::new(&[3, 2, 4])
        .random("w", &[24, 5])
        .node("Flatten", &["x"], "f", &[])
        .node("MatMul", &["f", "w"], "y", &[])
        .import();
    assert_eq!(outline(&graph), ["dense1 dense"]);
    let (input, output) = sample(&graph);
    let matrix = noise_of("w", 120);
    let expected: Vec<f64> = (0..5)
        .map(|o| {
            (0..24)
                .map(|i| input[i] * f64::from(matrix[i * 5 + o]))
                .sum()
        })
        .collect();
    assert_close(&output, &expected);
}

#[test]
fn softmax() {
    for (opset, axis) in [
        (11, None),
        (11, Some(1)),
        (13, None),
        (13, Some(1)),
        (17, Some(-1)),
    ] {
        let attributes: Vec<(&str, Attr<'_>)> = axis.map(|a| ("axis", I(a))).into_iter().collect();
        let graph = Model::new(&[6])
            .opset(opset)
            .node("Softmax", &["x"], "y", &attributes)
            .import();
        assert_eq!(outline(&graph), ["softmax1 softmax"]);
    }
    let log = Model::new(&[6])
        .node("LogSoftmax", &["x"], "y", &[])
        .import();
    assert_eq!(outline(&log), ["log-softmax1 log-softmax"]);
    let (input, output) = sample(&log);
    let total: f64 = input.iter().map(|x| x.exp()).sum();
    let expected: Vec<f64> = input.iter().map(|x| x - total.ln()).collect();
    assert_close(&output, &expected);
}

/// Along the channels, along the last of dimensions that stand as the tensor's own, over all elements.
#[test]
fn softmax_of_each_pixel() {
    let of = |x: &[f64]| -> Vec<f64> {
        let total: f64 = x.iter().map(|x| x.exp()).sum();
        x.iter().map(|x| x.exp() / total).collect()
    };
    let over = |axis: i64| [("axis", I(axis))];
    let channels = Model::new(&[3, 2, 2]).node("Softmax", &["x"], "y", &over(1));
    let last = Model::new(&[3, 2, 2])
        .node("Transpose", &["x"], "t", &[("perm", Is(&[0, 2, 3, 1]))])
        .node("Softmax", &["t"], "y", &over(-1));
    for model in [channels, last] {
        let graph = model.import();
        assert_eq!(graph.layers[0].op, Op::Softmax { log: false });
        let (input, output) = sample(&graph);
        let input = channels_last(&input, graph.input);
        let expected: Vec<f64> = input.chunks(3).flat_map(of).collect();
        assert_close(&output, &expected);
    }
    // boxes of four numbers in every pixel's eight
    let graph = Model::new(&[8, 2, 2])
        .tensor(ints("boxes", &[3], &[-1, 8, 4]))
        .node("Transpose", &["x"], "t", &[("perm", Is(&[0, 2, 3, 1]))])
        .node("Reshape", &["t", "boxes"], "b", &[])
        .node("Softmax", &["b"], "y", &over(2))
        .import();
    let (input, output) = sample(&graph);
    let input = channels_last(&input, graph.input);
    let expected: Vec<f64> = input.chunks(4).flat_map(of).collect();
    assert_close(&output, &expected);
    // all elements, in whichever order
    let graph = Model::new(&[3, 2, 2])
        .tensor(ints("image", &[4], &[0, 3, 2, 2]))
        .node("Flatten", &["x"], "f", &[])
        .node("Softmax", &["f"], "s", &over(1))
        .node("Reshape", &["s", "image"], "y", &[])
        .import();
    let (input, output) = sample(&graph);
    let input = channels_last(&input, graph.input);
    assert_close(&output, &of(&input));
    let rows = Model::new(&[3, 2, 2]).node("Softmax", &["x"], "y", &over(2));
    assert!(rows.reason().contains("those of each pixel"));
    let none = Model::new(&[1])
        .tensor(ints("one", &[1], &[1]))
        .node("Squeeze", &["x", "one"], "s", &[])
        .node("Softmax", &["s"], "y", &over(-1));
    assert!(none.reason().contains("along dimension 0"));
    let old = rows.opset(11);
    assert!(old.reason().contains("along dimension 2"));
}

#[test]
fn additions() {
    let graph = Model::new(&[2, 3, 3])
        .random("w", &[2, 2, 1, 1])
        .node("Conv", &["x", "w"], "c", &[])
        .node("Add", &["c", "x"], "s", &[])
        .node("Relu", &["s"], "y", &[])
        .import();
    assert_eq!(outline(&graph), ["conv1 conv2d", "add1 add relu"]);
    assert_eq!(graph.layers[1].inputs, [1, 0]);

    let graph = Model::new(&[4]).node("Add", &["x", "x"], "y", &[]).import();
    assert_eq!(graph.layers[0].inputs, [0, 0]);
}

#[test]
fn layers_are_named_after_their_parameters_or_their_path() {
    let graph = Model::new(&[2, 8, 8])
        .random("features.0.weight", &[2, 2, 1, 1])
        .random("onnx::Conv_12", &[2, 2, 1, 1])
        .random("val_3", &[2, 2, 1, 1])
        .random("onnx::MatMul_9", &[128, 3])
        .random("head.bias", &[3])
        .named("node_Conv_1", "Conv", &["x", "features.0.weight"], "a", &[])
        .named("Conv_2", "Conv", &["a", "features.0.weight"], "b", &[])
        .named(
            "/l1/l1.0/l1.0.2/Conv",
            "Conv",
            &["b", "onnx::Conv_12"],
            "c",
            &[],
        )
        .named(
            "/l1/l1.0/conv1/Conv_1",
            "Conv",
            &["c", "onnx::Conv_12"],
            "d",
            &[],
        )
        .named("node_conv2d_7", "Conv", &["d", "val_3"], "e", &[])
        .node("Flatten", &["e"], "f", &[])
        .named("MatMul_3", "MatMul", &["f", "onnx::MatMul_9"], "g", &[])
        .named("Add_4", "Add", &["g", "head.bias"], "y", &[])
        .import();
    let names: Vec<&str> = graph
        .layers
        .iter()
        .map(|layer| layer.name.as_str())
        .collect();
    let expected = [
        "features.0",
        "features.0-2",
        "l1.0.2",
        "l1.0.conv1",
        "conv1",
        "head",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_number_that_a_name_has_taken_is_left_out() {
    let graph = Model::new(&[2, 8, 8])
        .random("conv1.weight", &[2, 2, 1, 1])
        .random("w", &[2, 2, 1, 1])
        .node("Conv", &["x", "w"], "a", &[])
        .node("Conv", &["a", "conv1.weight"], "y", &[])
        .import();
    assert_eq!(outline(&graph), ["conv2 conv2d", "conv1 conv2d"]);
}

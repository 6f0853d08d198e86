//! Shapes that are computed, and views of tensors.

use super::*;

/// A model that reshapes a 3 x 2 x 4 input to `target` (made by `nodes`) and multiplies.
fn reshaped(nodes: impl Fn(Model) -> Model) -> Graph {
    nodes(Model::new(&[3, 2, 4]))
        .random("w", &[24, 5])
        .node("Reshape", &["x", "target"], "f", &[])
        .node("Gemm", &["f", "w"], "y", &[])
        .import()
}

#[test]
fn constant_targets() {
    for target in [[0, -1], [-1, 24], [0, 24]] {
        let graph = reshaped(|model| model.tensor(ints("target", &[2], &target)));
        assert_eq!(outline(&graph), ["dense1 dense"]);
    }
}

#[test]
fn a_fixed_batch_may_be_named() {
    let model = |batch| {
        let mut model = Model::new(&[3, 2, 4])
            .random("w", &[24, 5])
            .tensor(ints("target", &[2], &[2, -1]))
            .node("Reshape", &["x", "target"], "f", &[])
            .node("Gemm", &["f", "w"], "y", &[]);
        model.graph().input[0] = info("x", &[batch, 3, 2, 4]);
        model
    };
    assert_eq!(outline(&model(2).import()), ["dense1 dense"]);
    for other in [-1, 1] {
        assert!(model(other).reason().contains("to [2, -1]"));
    }
}

#[test]
fn targets_from_the_shape() {
    // x.view(x.size(0), -1) as exported until operator set 12.
    let older = |model: Model| {
        model
            .opset(11)
            .node("Shape", &["x"], "s", &[])
            .node(
                "Constant",
                &[],
                "zero",
                &[("value", T(ints("", &[], &[0]).into()))],
            )
            .node("Gather", &["s", "zero"], "n", &[("axis", I(0))])
            .node(
                "Constant",
                &[],
                "rest",
                &[("value", T(ints("", &[], &[-1]).into()))],
            )
            .node("Unsqueeze", &["n"], "n1", &[("axes", Is(&[0]))])
            .node("Unsqueeze", &["rest"], "rest1", &[("axes", Is(&[0]))])
            .node("Concat", &["n1", "rest1"], "target", &[("axis", I(0))])
    };
    // The parts of Shape, and a product of sizes.
    let newer = |model: Model| {
        model
            .node("Shape", &["x"], "n", &[("start", I(0)), ("end", I(1))])
            .node("Shape", &["x"], "chw", &[("start", I(1))])
            .node("Constant", &[], "starts", &[("value_ints", Is(&[0, 1]))])
            .node("Constant", &[], "one", &[("value_ints", Is(&[1]))])
            .node("Constant", &[], "last", &[("value_int", I(-1))])
            .tensor(ints("begin", &[1], &[0]))
            .node("Slice", &["chw", "begin", "one"], "c", &[])
            .node("Slice", &["chw", "one"], "hw", &[])
            .node("Slice", &["chw", "one", "two"], "h", &[])
            .tensor(ints("two", &[1], &[2]))
            .node("Gather", &["chw", "last"], "w_", &[])
            .node("Mul", &["c", "h"], "ch", &[])
            .node("Mul", &["ch", "w_"], "chw_", &[])
            .node("Cast", &["chw_"], "features", &[("to", I(7))])
            .node("Concat", &["n", "features"], "target", &[("axis", I(0))])
    };
    let newer = |model: Model| {
        let mut model = newer(model);
        // Slice without ends is not ONNX; nothing reads it.
        model.graph().node.retain(|node| node.output[0] != "hw");
        model
    };
    assert_eq!(outline(&reshaped(older)), ["dense1 dense"]);
    assert_eq!(outline(&reshaped(newer)), ["dense1 dense"]);
}

#[test]
fn integers_are_computed() {
    for (op, left, right, target) in [
        ("Add", 20, 4, 24),
        ("Sub", 26, 2, 24),
        ("Mul", 6, 4, 24),
        ("Div", 49, 2, 24),
    ] {
        let graph = reshaped(|model| {
            model
                .tensor(ints("left", &[], &[left]))
                .tensor(ints("right", &[1], &[right]))
                .tensor(ints("n", &[1], &[0]))
                .node(op, &["left", "right"], "f_", &[])
                .node("Concat", &["n", "f_"], "target", &[("axis", I(0))])
        });
        assert_eq!(
            graph.layers[0].weights.as_ref().unwrap().weight.len(),
            target * 5
        );
    }
}

#[test]
fn a_shape_that_mixes_samples_is_unsupported() {
    let model = Model::new(&[3, 2, 4])
        .tensor(ints("two", &[1], &[2]))
        .tensor(ints("rest", &[1], &[-1]))
        .node("Shape", &["x"], "n", &[("end", I(1))])
        .node("Mul", &["n", "two"], "n2", &[])
        .node("Concat", &["n2", "rest"], "target", &[("axis", I(0))])
        .node("Reshape", &["x", "target"], "y", &[]);
    assert!(model.reason().contains("batch size"));
}

#[test]
fn ones_come_and_go() {
    let graph = Model::new(&[3, 1, 1])
        .tensor(ints("axes", &[2], &[-1, 2]))
        .tensor(ints("target", &[2], &[-1, 3]))
        .random("w", &[3, 3])
        .random("v", &[2, 3, 1, 1])
        .node("Squeeze", &["x", "axes"], "a", &[])
        .node("Gemm", &["a", "w"], "b", &[])
        .node("Unsqueeze", &["b", "axes"], "c", &[])
        .node("Transpose", &["c"], "d", &[("perm", Is(&[0, 2, 3, 1]))])
        .node("Reshape", &["d", "target"], "e", &[])
        .node("Gemm", &["e", "w"], "f", &[])
        .node("Unsqueeze", &["f"], "g", &[("axes", Is(&[2, 3]))])
        .node("Conv", &["g", "v"], "h", &[])
        .node("Squeeze", &["h"], "i", &[("axes", Is(&[3]))])
        .node("Flatten", &["i"], "y", &[("axis", I(-2))])
        .import();
    assert_eq!(
        outline(&graph),
        ["dense1 dense", "dense2 dense", "conv1 conv2d"]
    );
}

#[test]
fn constants_are_reshaped() {
    let matrix = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let graph = Model::new(&[2])
        .tensor(floats("w", &[1, 6], &matrix))
        .tensor(ints("target", &[2], &[3, -1]))
        .tensor(ints("axis", &[1], &[0]))
        .node("Unsqueeze", &["w", "axis"], "a", &[])
        .node("Squeeze", &["a", "axis"], "b", &[])
        .node("Reshape", &["b", "target"], "c", &[])
        .node("Transpose", &["c"], "d", &[])
        .node("Identity", &["d"], "e", &[])
        .node("MatMul", &["x", "e"], "y", &[])
        .import();
    assert_eq!(graph.layers[0].weights.as_ref().unwrap().weight, matrix);
}

#[test]
fn a_vector_may_become_an_image_where_the_order_stays() {
    let image = |dims: &[i64]| {
        Model::new(&[12])
            .tensor(ints("target", &[4], dims))
            .node("Reshape", &["x", "target"], "i", &[])
            .node("MaxPool", &["i"], "y", &[("kernel_shape", Is(&[1, 1]))])
    };
    let graph = image(&[0, 1, 3, 4]).import();
    assert_eq!(outline(&graph), ["reshape1 reshape", "max-pool1 max-pool"]);
    assert_eq!(graph.layers[0].output, Shape::new(3, 4, 1));
    assert!(image(&[0, 2, 3, 2]).reason().contains("order"));
}

#[test]
fn a_flattened_image_has_few_readers() {
    let flat = || Model::new(&[2, 2, 2]).node("Flatten", &["x"], "f", &[]);
    let graph = flat()
        .random("w", &[8, 3])
        .node("Relu", &["f"], "r", &[])
        .node("Add", &["r", "f"], "s", &[])
        .node("Gemm", &["s", "w"], "y", &[])
        .import();
    assert_eq!(
        outline(&graph),
        ["reshape1 reshape relu", "add1 add", "dense1 dense"]
    );
    assert_eq!(graph.layers[0].output, Shape::new(2, 2, 2));

    let with_dense = flat()
        .random("w", &[8, 8])
        .node("Gemm", &["f", "w"], "g", &[])
        .node("Add", &["f", "g"], "y", &[]);
    assert!(with_dense.reason().contains("2x2x2"));
    let output = Model::new(&[2, 2, 2]).node("Flatten", &["x"], "y", &[]);
    assert!(output.reason().contains("order"));
}

#[test]
fn one_channel_may_be_flattened_anywhere() {
    let graph = Model::new(&[1, 2, 3])
        .node("Relu", &["x"], "r", &[])
        .node("Flatten", &["r"], "y", &[])
        .import();
    assert_eq!(graph.layers.last().unwrap().output, Shape::vector(6));
}

#[test]
fn views_that_cannot_be() {
    let x = || Model::new(&[2, 3, 4]);
    for (model, reason) in [
        (
            x().node("Flatten", &["x"], "y", &[("axis", I(2))]),
            "axis is 2",
        ),
        (x().node("Squeeze", &["x"], "y", &[]), "no axes"),
        (
            x().node("Squeeze", &["x"], "y", &[("axes", Is(&[1]))]),
            "dimension 1",
        ),
        (
            x().node("Squeeze", &["x"], "y", &[("axes", Is(&[9]))]),
            "no dimension 9",
        ),
        (
            x().node("Unsqueeze", &["x"], "y", &[("axes", Is(&[0]))]),
            "before the batch",
        ),
        (
            x().node("Transpose", &["x"], "y", &[("perm", Is(&[0, 1, 3, 2]))]),
            "permutes",
        ),
        (x().node("Transpose", &["x"], "y", &[]), "permutes"),
        (x().node("ReduceMean", &["x"], "y", &[]), "no axes"),
        (
            x().node("ReduceMean", &["x"], "y", &[("axes", Is(&[1]))]),
            "axes are [1]",
        ),
        (
            x().node("Concat", &["x", "x"], "y", &[("axis", I(2))]),
            "only along the channels",
        ),
        (
            x().node("Cast", &["x"], "y", &[("to", I(7))]),
            "casts to INT64",
        ),
    ] {
        let found = model.reason();
        assert!(found.contains(reason), "{found}");
    }
}

#[test]
fn constants_come_in_many_forms() {
    for (name, value) in [
        ("value", T(floats("", &[], &[3.0]).into())),
        ("value_float", F(3.0)),
        ("value_floats", Fs(&[3.0])),
    ] {
        let graph = Model::new(&[1, 2, 2])
            .random("w", &[1, 1, 1, 1])
            .node("Constant", &[], "k", &[(name, value)])
            .node("Conv", &["x", "w"], "c", &[])
            .node("Add", &["c", "k"], "y", &[])
            .import();
        assert_eq!(graph.layers[0].weights.as_ref().unwrap().bias, [3.0]);
    }
}

#[test]
fn weights_come_in_many_types() {
    let bytes = |values: &[&[u8]]| values.concat();
    let single = raw(
        "w",
        &[2, 1],
        DataType::FLOAT,
        bytes(&[&1.5_f32.to_le_bytes(), &(-2.0_f32).to_le_bytes()]),
    );
    let double = raw(
        "w",
        &[2, 1],
        DataType::DOUBLE,
        bytes(&[&1.5_f64.to_le_bytes(), &(-2.0_f64).to_le_bytes()]),
    );
    let half = raw(
        "w",
        &[2, 1],
        DataType::FLOAT16,
        vec![0x00, 0x3e, 0x00, 0xc0],
    );
    let brain = raw(
        "w",
        &[2, 1],
        DataType::BFLOAT16,
        vec![0xc0, 0x3f, 0x00, 0xc0],
    );
    for tensor in [single, double, half, brain] {
        let graph = Model::new(&[2])
            .tensor(tensor)
            .node("MatMul", &["x", "w"], "y", &[])
            .import();
        assert_eq!(
            graph.layers[0].weights.as_ref().unwrap().weight,
            [1.5, -2.0]
        );
    }
}

/// As PyTorch's older exporter writes `F.pad(x, (left, right, top, bottom))`.
#[test]
fn paddings_that_are_computed() {
    let model = |given: &[i64]| {
        Model::new(&[2, 6, 7])
            .random("w", &[3, 2, 4, 5])
            .tensor(ints("given", &[given.len() as i64], given))
            .tensor(ints("twice_rank", &[], &[8]))
            .tensor(ints("zero", &[], &[0]))
            .tensor(ints("pairs", &[2], &[-1, 2]))
            .tensor(ints("flat", &[1], &[-1]))
            .tensor(ints("last", &[1], &[-1]))
            .tensor(ints("before", &[1], &[i64::MIN + 1]))
            .tensor(ints("first", &[1], &[0]))
            .node("Shape", &["given"], "1", &[])
            .node("Gather", &["1", "zero"], "2", &[("axis", I(0))])
            .node("Sub", &["twice_rank", "2"], "3", &[])
            .node("Unsqueeze", &["3"], "4", &[("axes", Is(&[0]))])
            .node(
                "ConstantOfShape",
                &["4"],
                "5",
                &[("value", T(ints("", &[1], &[0]).into()))],
            )
            .node("Concat", &["given", "5"], "6", &[("axis", I(0))])
            .node("Reshape", &["6", "pairs"], "7", &[])
            .node("Slice", &["7", "last", "before", "first", "last"], "8", &[])
            .node("Transpose", &["8"], "9", &[("perm", Is(&[1, 0]))])
            .node("Reshape", &["9", "flat"], "10", &[])
            .node("Cast", &["10"], "pads", &[("to", I(7))])
            .node("Pad", &["x", "pads"], "p", &[])
            .node("Conv", &["p", "w"], "y", &[])
            .opset(11)
    };
    for (given, [left, right, top, bottom]) in [
        (&[1, 2, 3, 0][..], [1, 2, 3, 0]),
        (&[2, 1], [2, 1, 0, 0]),
        (&[0, 4, 1, 1, 0, 0, 0, 0], [0, 4, 1, 1]),
    ] {
        let graph = model(given).import();
        let Op::Conv2d { window, .. } = graph.layers[0].op else {
            panic!("{given:?}");
        };
        assert_eq!(window.padding, [top, left, bottom, right]);
    }
}

#[test]
fn slices_of_integers() {
    let sliced = |dims: &[i64], [start, end, step]: [i64; 3]| {
        let len = dims.iter().product();
        let all: Vec<i64> = (1..=len).collect();
        let graph = Model::new(&[2, 64, 64])
            .tensor(ints("all", dims, &all))
            .tensor(ints("s", &[1], &[start]))
            .tensor(ints("e", &[1], &[end]))
            .tensor(ints("a", &[1], &[0]))
            .tensor(ints("t", &[1], &[step]))
            .tensor(ints("flat", &[1], &[-1]))
            .tensor(ints("axes", &[2], &[2, 3]))
            .random("w", &[1, 2, 20, 20])
            .node("Slice", &["all", "s", "e", "a", "t"], "1", &[])
            .node("Reshape", &["1", "flat"], "2", &[])
            .node("Pad", &["x", "2", "", "axes"], "p", &[])
            .node("Conv", &["p", "w"], "y", &[])
            .opset(18)
            .import();
        let Op::Conv2d { window, .. } = graph.layers[0].op else {
            panic!("{start} {end} {step}");
        };
        window.padding
    };
    // the four that are left are top, left, bottom and right
    for (dims, slice, expected) in [
        (&[9][..], [2, 6, 1], [3, 4, 5, 6]),
        (&[9], [-4, i64::MAX, 1], [6, 7, 8, 9]),
        (&[9], [1, 9, 2], [2, 4, 6, 8]),
        (&[9], [8, 4, -1], [9, 8, 7, 6]),
        (&[8], [100, i64::MIN, -2], [8, 6, 4, 2]),
        (&[3, 4], [2, 1, -2], [9, 10, 11, 12]),
        (&[3, 2], [-1, 0, -1], [5, 6, 3, 4]),
        (&[2, 2], [0, 2, 1], [1, 2, 3, 4]),
    ] {
        assert_eq!(sliced(dims, slice), expected, "{dims:?} {slice:?}");
    }
}

//! Models that are refused, and the messages.

use super::*;
use crate::import::{ImportError, load};

/// A convolution over 2 x 4 x 4, with those initializers.
fn conv(tensors: Vec<TensorProto>) -> Model {
    let mut model = Model::new(&[2, 4, 4]);
    model.graph().initializer = tensors;
    let inputs = ["x", "w", "b"];
    let inputs = &inputs[..=model.graph().initializer.len().min(2)];
    model.named("first", "Conv", inputs, "y", &[])
}

fn matmul(tensor: TensorProto) -> Model {
    Model::new(&[2])
        .tensor(tensor)
        .named("last", "MatMul", &["x", "w"], "y", &[])
}

/// The text of the error has those parts.
#[track_caller]
fn says(error: &OnnxError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text}");
    }
}

/// A model of `count` dense layers, one after the other, that read one matrix of `size` x `size`.
fn shared(count: usize, size: i64) -> Model {
    let names: Vec<String> = (1..count).map(|i| format!("t{i}")).collect();
    let tensors: Vec<&str> = std::iter::once("x")
        .chain(names.iter().map(String::as_str))
        .chain(["y"])
        .collect();
    let model = Model::new(&[size]).random("w", &[size, size]);
    let pairs = tensors.windows(2);
    pairs.fold(model, |model, pair| {
        model.node("Gemm", &[pair[0], "w"], pair[1], &[])
    })
}

#[test]
fn layers_are_counted_while_they_are_made() {
    assert_eq!(shared(256, 4).import().layers.len(), 256);
    let error = shared(257, 4).error();
    assert!(matches!(error, OnnxError::TooManyLayers { limit: 256 }));
}

#[test]
fn one_matrix_for_many_layers_does_not_fill_the_memory() {
    // 4 MiB each: 16 layers have 64 MiB
    assert_eq!(shared(16, 1024).import().layers.len(), 16);
    let error = shared(100, 1024).error();
    let OnnxError::TooManyWeights {
        layers,
        bytes,
        limit,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((layers, bytes, limit), (17, 17 << 22, 64 << 20));
}

#[test]
fn all_that_is_unsupported_is_listed_at_once() {
    let model = Model::new(&[2, 8, 8])
        .random("w", &[2, 2, 3, 3])
        .random("w3", &[2, 2, 3, 3, 3])
        .named("a", "Conv", &["x", "w"], "a", &[("dilations", Is(&[2, 2]))])
        .named("b", "Selu", &["a"], "b", &[])
        .named("c", "Relu", &["b"], "c", &[])
        .named("d", "Conv", &["c", "w"], "d", &[("dilations", Is(&[3, 1]))])
        .named("e", "Conv", &["d", "w3"], "e", &[])
        .named("f", "Clip", &["e"], "f", &[("min", F(-1.0))])
        .named("g", "Hardmax", &["f"], "y", &[]);
    let error = model.error();
    let OnnxError::Unsupported { nodes, .. } = &error else {
        panic!("{error}");
    };
    let found: Vec<(&str, &str)> = nodes
        .iter()
        .map(|n| (n.node.as_str(), n.op.as_str()))
        .collect();
    let expected = [
        ("a", "Conv"),
        ("b", "Selu"),
        ("d", "Conv"),
        ("e", "Conv"),
        ("g", "Hardmax"),
    ];
    assert_eq!(found, expected);
    let parts = [
        "5 nodes (3 Conv, 1 Hardmax, 1 Selu)",
        "a (Conv): its dilation is 2x2",
        "3x1",
        "3-dimensional",
    ];
    says(&error, &parts);
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("bitbudget operators") && help.contains("torch.onnx.export"));
}

#[test]
fn reasons_say_what_is_supported() {
    let x = || Model::new(&[2, 4, 4]);
    let w = || x().random("w", &[2, 2, 3, 3]);
    for (model, reason) in [
        (x().node("Selu", &["x"], "y", &[]), "no such activation"),
        (x().node("QuantizeLinear", &["x"], "y", &[]), "FP32"),
        (x().node("LSTM", &["x"], "y", &[]), "feed-forward"),
        (x().node("Einsum", &["x"], "y", &[]), "no such operator"),
        (
            x().node("Div", &["x", "x"], "y", &[]),
            "divides by a computed",
        ),
        (w().node("Conv", &["x", "x"], "y", &[]), "not a constant"),
        (w().node("Relu", &["w"], "y", &[]), "is a constant"),
        (
            w().node("Conv", &["x", "w"], "y", &[("pads", Is(&[3; 4]))]),
            "not smaller",
        ),
        (
            w().node("Conv", &["x", "w"], "y", &[("pads", Is(&[-1; 4]))]),
            "negative",
        ),
        (
            w().node("Conv", &["x", "w"], "y", &[("strides", Is(&[1]))]),
            "1 dimensions",
        ),
        (
            x().node("MaxPool", &["x"], "y", &[("kernel_shape", Is(&[5, 5]))]),
            "does not fit",
        ),
        (
            x().node("Pad", &["x"], "y", &[("mode", S("reflect"))]),
            "reflect",
        ),
        (
            x().random("w", &[4, 2])
                .node("MatMul", &["x", "w"], "y", &[]),
            "flatten",
        ),
        (
            x().random("k", &[4]).node("Add", &["x", "k"], "y", &[]),
            "one number for each channel",
        ),
        (
            x().node("GlobalMaxPool", &["x"], "g", &[])
                .node("Add", &["x", "g"], "y", &[]),
            "broadcasting",
        ),
        (
            Model::new(&[40_000])
                .random("w", &[40_000, 1])
                .node("MatMul", &["x", "w"], "y", &[]),
            "40000 products",
        ),
        (
            Model::new(&[1])
                .random("w", &[1, 70_000])
                .node("MatMul", &["x", "w"], "y", &[]),
            "70000",
        ),
        (
            x().random("w", &[2, 2, 1, 1])
                .node("Gemm", &["x", "w"], "y", &[("transA", I(1))]),
            "transA",
        ),
    ] {
        let found = model.reason();
        assert!(found.contains(reason), "{found}");
    }
}

#[test]
fn other_domains_are_unsupported() {
    let mut model = Model::new(&[2, 4, 4]).node("Conv", &["x"], "y", &[]);
    model.graph().node[0].domain = Some("com.microsoft".to_owned());
    assert_eq!(model.unsupported()[0].op, "com.microsoft.Conv");
}

#[test]
fn further_outputs_are_unsupported() {
    let kernel = ("kernel_shape", Is(&[2, 2]));
    let mut model = Model::new(&[2, 4, 4]).node("MaxPool", &["x"], "unused", &[kernel]);
    model.graph().node[0].output.push("y".to_owned());
    assert!(model.reason().contains("output 1"));
}

#[test]
fn weights_that_are_not_finite() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = [0.5; 16];
        values[3] = value;
        let error = conv(vec![floats("w", &[8, 2, 1, 1], &values)]).error();
        says(&error, &["first", "`w`", "element 3", &value.to_string()]);
        let tensors = vec![
            floats("w", &[1, 2, 1, 1], &[1.0; 2]),
            floats("b", &[1], &[value]),
        ];
        says(&conv(tensors).error(), &["first", "`b`", "element 0"]);
    }
    let overflowing = Model::new(&[1, 2, 2])
        .tensor(floats("w", &[1, 1, 1, 1], &[3e38]))
        .tensor(floats("k", &[], &[10.0]))
        .node("Conv", &["x", "w"], "c", &[])
        .named("times", "Mul", &["c", "k"], "y", &[]);
    says(&overflowing.error(), &["times", "folded weights", "inf"]);
}

#[test]
fn a_variance_that_is_not_positive() {
    let mut model = Model::new(&[2, 4, 4]);
    for name in ["s", "b", "m"] {
        model = model.random(name, &[2]);
    }
    let inputs = ["x", "s", "b", "m", "v"];
    let model = model.tensor(floats("v", &[2], &[1.0, -1.0])).named(
        "norm",
        "BatchNormalization",
        &inputs,
        "y",
        &[],
    );
    says(&model.error(), &["norm", "`v`", "element 1", "-1"]);
}

#[test]
fn weights_of_the_wrong_shape() {
    let w = |dims: &[i64]| {
        let len: i64 = dims.iter().product();
        floats("w", dims, &vec![0.5; len as usize])
    };
    says(
        &conv(vec![w(&[4, 3, 1, 1])]).error(),
        &["first", "`w`", "[4, 3, 1, 1]", "[4, 2, 1, 1]"],
    );
    let tensors = vec![w(&[4, 2, 1, 1]), floats("b", &[3], &[0.0; 3])];
    says(&conv(tensors).error(), &["`b`", "[3]", "[4]"]);
    says(
        &conv(vec![w(&[0, 2, 1, 1])]).error(),
        &["`w`", "[0, 2, 1, 1]"],
    );
    says(&matmul(w(&[3, 2])).error(), &["last", "`w`", "2 inputs"]);
    let kernel = Model::new(&[2, 4, 4]).tensor(w(&[4, 2, 1, 1])).named(
        "first",
        "Conv",
        &["x", "w"],
        "y",
        &[("kernel_shape", Is(&[3, 3]))],
    );
    says(
        &kernel.error(),
        &["first", "kernel_shape", "kernel of its weights"],
    );
}

#[test]
fn tensors_with_the_wrong_amount_of_data() {
    let short = floats("w", &[2, 2], &[1.0; 3]);
    says(&matmul(short).error(), &["`w`", "has 3", "expected 4"]);
    let odd = raw("w", &[2, 1], DataType::FLOAT, vec![0; 7]);
    says(&matmul(odd).error(), &["`w`", "has 7", "expected 8"]);
    let huge = floats("w", &[i64::MAX, i64::MAX], &[1.0]);
    says(&matmul(huge).error(), &["`w`", "impossible"]);
    let wide = floats("w", &[1 << 40, 2], &[1.0]);
    says(&matmul(wide).error(), &["`w`", "expected 2199023255552"]);
    let negative = floats("w", &[-2, -1], &[1.0; 2]);
    says(&matmul(negative).error(), &["`w`", "impossible"]);
}

#[test]
fn tensors_of_the_wrong_type() {
    says(
        &matmul(ints("w", &[2, 1], &[1, 2])).error(),
        &["last", "`w`", "integer"],
    );
    let strings = raw("w", &[2, 1], DataType::STRING, vec![]);
    says(&matmul(strings).error(), &["last", "`w`", "STRING"]);
    let reshape = Model::new(&[2])
        .random("w", &[2])
        .node("Reshape", &["x", "w"], "y", &[]);
    says(&reshape.error(), &["node 0", "`w`", "INT64"]);
}

#[test]
fn external_data() {
    let mut tensor = floats("w", &[2, 1], &[]);
    tensor.data_location = Some(rten_onnx::onnx::DataLocation::EXTERNAL);
    tensor.external_data = vec![rten_onnx::onnx::StringStringEntryProto {
        key: Some("location".to_owned()),
        value: Some("weights.data".to_owned()),
    }];
    says(&matmul(tensor).error(), &["`w`", "`weights.data`"]);
}

#[test]
fn attributes_that_cannot_be() {
    let w = || Model::new(&[2, 4, 4]).random("w", &[2, 2, 1, 1]);
    for (name, attribute) in [
        ("group", I(0)),
        ("group", F(1.0)),
        ("strides", Is(&[0, 1])),
        ("strides", Is(&[1 << 40, 1])),
        ("auto_pad", S("SOME")),
        ("pads", Is(&[0, 0, 0, 1 << 40])),
    ] {
        let error = w()
            .named("first", "Conv", &["x", "w"], "y", &[(name, attribute)])
            .error();
        says(&error, &["first", name]);
    }
    let error = Model::new(&[2, 4, 4])
        .node("MaxPool", &["x"], "y", &[])
        .error();
    says(&error, &["node 0", "kernel_shape"]);
}

#[test]
fn tensors_that_are_not_there() {
    let missing = Model::new(&[2, 4, 4]).named("first", "Conv", &["x", "w"], "y", &[]);
    says(&missing.error(), &["first", "`w`", "which no node"]);
    let no_input = Model::new(&[2, 4, 4]).named("first", "Conv", &["x"], "y", &[]);
    says(&no_input.error(), &["first (Conv) lacks its input 1"]);
    let no_output = Model::new(&[2, 4, 4]).node("Relu", &["x"], "z", &[]);
    says(&no_output.error(), &["the output `y`", "which no node"]);
    let late = Model::new(&[2])
        .named("reader", "Relu", &["a"], "y", &[])
        .node("Relu", &["x"], "a", &[]);
    says(&late.error(), &["reader", "`a`", "before"]);
    let cycle = Model::new(&[2])
        .named("reader", "Add", &["a", "x"], "y", &[])
        .node("Relu", &["y"], "a", &[]);
    says(&cycle.error(), &["reader", "`a`", "before"]);
    let twice = Model::new(&[2])
        .node("Relu", &["x"], "y", &[])
        .node("Relu", &["x"], "y", &[]);
    says(&twice.error(), &["`y`", "more than once"]);
}

#[test]
fn models_that_compute_nothing() {
    let identity = Model::new(&[2]).node("Identity", &["x"], "y", &[]);
    assert!(matches!(identity.error(), OnnxError::NoLayers { .. }));
    let constant = Model::new(&[2]).random("y", &[2]);
    assert!(constant.reason().contains("constant"));
}

#[test]
fn inputs_and_outputs() {
    let mut two = Model::new(&[2]).node("Add", &["x", "z"], "y", &[]);
    two.graph().input.push(info("z", &[-1, 2]));
    says(&two.error(), &["2 inputs", "x, z"]);
    let mut none = Model::new(&[2]);
    none.graph().input.clear();
    says(&none.error(), &["0 inputs"]);
    let mut outputs = Model::new(&[2]).node("Relu", &["x"], "y", &[]);
    outputs.graph().output.push(info("z", &[]));
    says(&outputs.error(), &["z"]);
    // Until IR version 4, initializers were inputs as well.
    let mut old = Model::new(&[2])
        .random("w", &[2, 2])
        .node("MatMul", &["x", "w"], "y", &[]);
    old.graph().input.push(info("w", &[2, 2]));
    assert_eq!(old.import().layers.len(), 1);
}

#[test]
fn input_shapes() {
    let with_input = |dims: &[i64]| {
        let mut model = Model::new(&[2]).node("Relu", &["x"], "y", &[]);
        model.graph().input[0] = info("x", dims);
        model
    };
    says(
        &with_input(&[-1, 3, -1, 4]).error(),
        &["dimension H of the input `x`", "dynamic (`n`)"],
    );
    says(&with_input(&[-1, -1, 4, 4]).error(), &["dimension C"]);
    says(
        &with_input(&[-1, 3, 4, 0]).error(),
        &["dimension W", "is 0"],
    );
    says(&with_input(&[1, 70_000]).error(), &["dimension F", "70000"]);
    says(
        &with_input(&[1, 65_535, 65_535, 2]).error(),
        &["too many elements"],
    );
    says(
        &with_input(&[3, 4, 5, 6, 7]).error(),
        &["[3, 4, 5, 6, 7]", "[N, C, H, W], [N, C, L] or [N, F]"],
    );
    says(&with_input(&[-1, 3, -1]).error(), &["dimension L"]);
    says(&with_input(&[]).error(), &["[N, C, L] or [N, F]"]);
    let mut bytes = with_input(&[1, 2]);
    let tensor = bytes.graph().input[0].r#type.as_mut().unwrap();
    tensor.tensor_type.as_mut().unwrap().elem_type = Some(DataType::UINT8);
    says(&bytes.error(), &["`x`", "UINT8"]);
    bytes.graph().input[0].r#type = None;
    says(&bytes.error(), &["`x`", "unknown"]);
}

#[test]
fn operator_sets() {
    let model = || Model::new(&[2]).node("Relu", &["x"], "y", &[]);
    says(
        &model().opset(6).error(),
        &["operator set 6", "7 is the oldest"],
    );
    assert_eq!(model().opset(7).import().layers.len(), 1);
    let mut none = model();
    none.0.opset_import.clear();
    says(&none.error(), &["no operator set"]);
    let mut empty = model();
    empty.0.graph = None;
    says(&empty.error(), &["no graph"]);
}

#[test]
fn files_that_are_not_onnx() {
    assert!(matches!(parse(b""), Err(OnnxError::Empty)));
    for (bytes, text) in [
        (
            &b"version https://git-lfs.github.com/spec/v1\n"[..],
            "Git LFS",
        ),
        (b"PK\x03\x04\x00\x00", "ZIP"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
        (b"hello, this is a text\n", "text"),
    ] {
        says(&parse(bytes).unwrap_err(), &[text]);
    }
    assert!(matches!(
        parse(&[0xff; 40]),
        Err(OnnxError::Malformed { .. })
    ));
}

#[test]
fn truncated_models() {
    let bytes = Model::new(&[2, 4, 4])
        .random("w", &[2, 2, 3, 3])
        .node("Conv", &["x", "w"], "y", &[])
        .bytes();
    assert!(parse(&bytes).is_ok());
    for len in 0..bytes.len() {
        assert!(parse(&bytes[..len]).is_err(), "{len}");
    }
    let Err(OnnxError::Malformed { offset, reason, .. }) = parse(&bytes[..bytes.len() / 2]) else {
        panic!();
    };
    assert!(offset < bytes.len() && reason.contains("beyond the end"));
}

#[test]
fn damaged_models_do_not_panic() {
    let bytes = Model::new(&[2, 4, 4])
        .random("w", &[2, 2, 3, 3])
        .tensor(ints("target", &[2], &[0, -1]))
        .node(
            "Conv",
            &["x", "w"],
            "c",
            &[("pads", Is(&[1; 4])), ("group", I(1))],
        )
        .node(
            "MaxPool",
            &["c"],
            "p",
            &[("kernel_shape", Is(&[2, 2])), ("ceil_mode", I(1))],
        )
        .node("Reshape", &["p", "target"], "f", &[])
        .random("v", &[18, 2])
        .node("Gemm", &["f", "v"], "y", &[("alpha", F(0.5))])
        .bytes();
    assert!(parse(&bytes).is_ok());
    for at in 0..bytes.len() {
        for value in [
            0,
            1,
            0x7f,
            0x80,
            0xff,
            bytes[at] ^ 1,
            bytes[at].wrapping_add(1),
        ] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            if let Ok(graph) = parse(&damaged) {
                check(&graph);
            }
        }
    }
}

#[test]
fn lengths_and_nesting_are_checked_before_anything_is_allocated() {
    // A graph of 2^62 bytes; a varint without an end; a group.
    let huge = [0x3a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    for bytes in [&huge[..], &[0x08, 0xff, 0xff], &[0xff; 12], &[0x13]] {
        assert!(matches!(parse(bytes), Err(OnnxError::Malformed { .. })));
    }
    // A graph in an attribute of a node of a graph ….
    let mut nested: Vec<u8> = Vec::new();
    let levels = std::iter::repeat_n([6, 5, 1], 2_000).flatten();
    for field in levels.chain([7]) {
        let mut outer = vec![field << 3 | 2];
        let mut len = nested.len();
        while len > 0x7f {
            outer.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        outer.push(len as u8);
        outer.append(&mut nested);
        nested = outer;
    }
    let Err(OnnxError::Malformed { reason, .. }) = parse(&nested) else {
        panic!();
    };
    assert_eq!(reason, "messages nest too deeply");
}

#[test]
fn files_are_told_by_name_or_content() {
    let folder = std::env::temp_dir().join(format!("bitbudget-import-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let model = Model::new(&[2]).node("Relu", &["x"], "y", &[]).bytes();
    assert!(load(&write("model.ONNX", &model)).is_ok());
    assert!(load(&write("model", &model)).is_ok());
    let text = load(&write("notes.txt", b"notes"));
    assert!(matches!(text, Err(ImportError::Format { .. })));
    let error = load(&write("text.onnx", b"notes")).unwrap_err();
    assert!(error.to_string().contains("text.onnx"));
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("torch.onnx.export"), "{help}");
    assert!(matches!(
        load(&folder.join("none.onnx")),
        Err(ImportError::Read { .. })
    ));
    assert!(matches!(load(&folder), Err(ImportError::Read { .. })));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn sizes_that_a_model_leaves_open_can_be_given() {
    let model = |dims: &[i64]| {
        let mut model = Model::new(&[3])
            .random("w", &[2, 3, 3, 3])
            .node("Conv", &["x", "w"], "c", &[])
            .node("Shape", &["c"], "s", &[("start", I(2))])
            .node("Relu", &["c"], "y", &[]);
        model.graph().input[0] = info("x", dims);
        model
    };
    let given = |dims: &[i64], sizes: &Sizes| parse_in(&model(dims).bytes(), None, sizes);
    let shape = |text: &str| Sizes::Given(text.parse().unwrap());
    let input = Shape::new(5, 6, 3);
    for (dims, sizes) in [
        (&[-1, 3, -1, -1][..], shape("1x3x5x6")),
        (&[-1, 3, -1, 6], shape("x=9x3x5x6")),
        (&[-1, -1, -1, -1], shape("1x3x5x6")),
        (&[1, 3, 5, 6], shape("8x3x5x6")),
        (&[-1, 3, -1, -1], Sizes::Of(input)),
        (&[1, 3, 5, 6], Sizes::Of(Shape::new(7, 8, 9))),
    ] {
        let graph = given(dims, &sizes).unwrap();
        assert_eq!(graph.input, input, "{dims:?} {sizes:?}");
        assert_eq!(graph.layers[0].output, Shape::new(3, 4, 2));
    }
    for (dims, sizes) in [
        (&[-1, 3, -1, 6][..], shape("1x3x5x7")),
        (&[-1, 3, -1, -1], shape("1x4x5x6")),
        (&[-1, 3, -1, -1], shape("1x3x5")),
        (&[-1, 3, -1, -1], shape("image=1x3x5x6")),
    ] {
        let error = given(dims, &sizes).expect_err("another shape");
        says(&error, &["the input `x` is [dynamic (`n`), 3, ", "x5"]);
    }
    let error = given(&[-1, 3, -1, -1], &Sizes::None).expect_err("no size");
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("--input-shape"));
}

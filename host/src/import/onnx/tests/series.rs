//! Models of series `[N, C, L]`, and of images without a dimension for their one channel.

use super::*;

/// A series `[C, L]` with `pad` zeros before it and behind it.
fn padded(series: &[Vec<f64>], pad: [usize; 2]) -> Vec<Vec<f64>> {
    let zeros = |len| std::iter::repeat_n(0.0, len);
    let row = |row: &Vec<f64>| {
        let all = zeros(pad[0]).chain(row.iter().copied());
        all.chain(zeros(pad[1])).collect()
    };
    series.iter().map(row).collect()
}

/// A convolution by its definition (ONNX's Conv of one dimension): weights `[O, I, K]`.
fn conv(
    series: &[Vec<f64>],
    weights: &[f32],
    [outputs, inner, kernel]: [usize; 3],
    (stride, pad): (usize, [usize; 2]),
) -> Vec<Vec<f64>> {
    let groups = series.len() / inner;
    let x = padded(series, pad);
    let len = (x[0].len() - kernel) / stride + 1;
    let output = |o: usize| {
        let first = o / (outputs / groups) * inner;
        let at = |l: usize| {
            let mut sum = 0.0;
            for i in 0..inner {
                for k in 0..kernel {
                    let weight = weights[(o * inner + i) * kernel + k];
                    sum += x[first + i][l * stride + k] * f64::from(weight);
                }
            }
            sum
        };
        (0..len).map(at).collect()
    };
    (0..outputs).map(output).collect()
}

fn relu(series: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let row = |row: Vec<f64>| row.into_iter().map(|x| x.max(0.0)).collect();
    series.into_iter().map(row).collect()
}

/// The sample of the graph as `[C, L]`, and the graph's output for it.
fn series(graph: &Graph) -> (Vec<Vec<f64>>, Vec<f64>) {
    let (input, output) = sample(graph);
    let rows = input.chunks(usize::from(graph.input.h));
    (rows.map(<[f64]>::to_vec).collect(), output)
}

/// Largest or mean of each window of three, of which the first and the last hang over.
fn pool(series: &[Vec<f64>], reduce: fn(&[f64]) -> f64) -> Vec<Vec<f64>> {
    let row = |row: &Vec<f64>| {
        let last = row.len();
        let at = |i: usize| reduce(&row[i.saturating_sub(1)..(i + 2).min(last)]);
        (0..last).map(at).collect()
    };
    series.iter().map(row).collect()
}

fn largest(x: &[f64]) -> f64 {
    x.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

#[test]
fn a_network_of_a_series_computes_what_its_definition_says() {
    let weights = [
        noise(1, 6 * 3 * 5),
        noise(2, 6 * 4),
        noise(3, 8 * 6),
        noise(4, 2 * 8 * 8),
    ];
    let three: &[(&str, Attr<'_>)] = &[("kernel_shape", Is(&[3])), ("pads", Is(&[1, 1]))];
    let model = Model::new(&[3, 20])
        .tensor(floats("a", &[6, 3, 5], &weights[0]))
        .tensor(floats("b", &[6, 1, 4], &weights[1]))
        .tensor(floats("c", &[8, 6, 1], &weights[2]))
        .tensor(floats("d", &[2, 8 * 8], &weights[3]))
        .tensor(floats("scale", &[6, 1], &[2.0, 1.0, 0.5, 1.0, -1.0, 1.0]))
        .tensor(ints("pads", &[6], &[0, 0, 1, 0, 0, 0]))
        .node("Pad", &["x", "pads"], "0", &[])
        .node(
            "Conv",
            &["0", "a"],
            "1",
            &[("kernel_shape", Is(&[5])), ("pads", Is(&[0, 2]))],
        )
        .node("Relu", &["1"], "2", &[])
        .node("Mul", &["2", "scale"], "3", &[])
        .node(
            "Conv",
            &["3", "b"],
            "4",
            &[("group", I(6)), ("strides", Is(&[2]))],
        )
        .node("Conv", &["4", "c"], "5", &[("auto_pad", S("SAME_UPPER"))])
        .node("MaxPool", &["5"], "6", three)
        .node("AveragePool", &["6"], "7", three)
        .node("Flatten", &["7"], "8", &[])
        .node("Gemm", &["8", "d"], "y", &[("transB", I(1))]);
    let graph = model.import();
    assert_eq!(graph.input, Shape::new(20, 1, 3));
    let (x, output) = series(&graph);
    let mut x = relu(conv(&x, &weights[0], [6, 3, 5], (1, [1, 2])));
    for (row, scale) in x.iter_mut().zip([2.0, 1.0, 0.5, 1.0, -1.0, 1.0]) {
        row.iter_mut().for_each(|x| *x *= scale);
    }
    let x = conv(&x, &weights[1], [6, 1, 4], (2, [0, 0]));
    let x = conv(&x, &weights[2], [8, 6, 1], (1, [0, 0]));
    let x = pool(&pool(&x, largest), mean).concat();
    let product = |row: &[f32]| x.iter().zip(row).map(|(x, w)| x * f64::from(*w)).sum();
    let expected: Vec<f64> = weights[3].chunks(64).map(product).collect();
    assert_close(&output, &expected);
}

#[test]
fn a_series_is_reduced_over_its_length() {
    for (op, axes) in [
        ("ReduceMean", &[2][..]),
        ("ReduceMean", &[-1]),
        ("ReduceMax", &[2]),
    ] {
        let graph = Model::new(&[3, 20])
            .opset(11)
            .node("Relu", &["x"], "r", &[])
            .node(op, &["r"], "y", &[("axes", Is(axes)), ("keepdims", I(0))])
            .import();
        let (x, output) = series(&graph);
        let reduce = if op == "ReduceMax" { largest } else { mean };
        let expected: Vec<f64> = relu(x).iter().map(|row| reduce(row)).collect();
        assert_close(&output, &expected);
    }
}

/// As tf2onnx has series: the channels are last but for convolutions.
#[test]
fn a_series_may_have_its_channels_last() {
    let weights = noise(6, 4 * 3 * 3);
    let graph = Model::new(&[20, 3])
        .tensor(floats("w", &[4, 3, 3], &weights))
        .node("Transpose", &["x"], "t", &[("perm", Is(&[0, 2, 1]))])
        .node("Conv", &["t", "w"], "c", &[])
        .node("Transpose", &["c"], "b", &[("perm", Is(&[0, 2, 1]))])
        .node("Relu", &["b"], "r", &[])
        .node(
            "ReduceMean",
            &["r"],
            "y",
            &[("axes", Is(&[1])), ("keepdims", I(0))],
        )
        .opset(11)
        .import();
    let (x, output) = series(&graph);
    let x = relu(conv(&x, &weights, [4, 3, 3], (1, [0, 0])));
    let expected: Vec<f64> = x.iter().map(|row| mean(row)).collect();
    assert_close(&output, &expected);
    let same = Model::new(&[20, 3])
        .node("Transpose", &["x"], "t", &[("perm", Is(&[0, 2, 1]))])
        .node("Relu", &["t"], "r", &[])
        .node("Transpose", &["r"], "y", &[("perm", Is(&[0, 2, 1]))])
        .import();
    let (x, output) = series(&same);
    let last = (0..20).flat_map(|l| x.iter().map(move |row| row[l].max(0.0)));
    assert_close(&output, &last.collect::<Vec<f64>>());
}

#[test]
fn an_image_may_lack_a_dimension_for_its_one_channel() {
    let weights = noise(8, 4 * 5 * 2);
    let graph = Model::new(&[4, 5])
        .tensor(floats("w", &[20, 2], &weights))
        .node("Flatten", &["x"], "f", &[])
        .node("MatMul", &["f", "w"], "y", &[])
        .import();
    assert_eq!(graph.input, Shape::new(4, 5, 1));
    let (x, output) = sample(&graph);
    let sum = |o: usize| {
        x.iter()
            .zip(weights.chunks(2))
            .map(|(x, w)| x * f64::from(w[o]))
            .sum()
    };
    assert_close(&output, &[sum(0), sum(1)]);
    let image = Model::new(&[4, 5])
        .random("w", &[2, 1, 3, 3])
        .node("Unsqueeze", &["x"], "u", &[("axes", Is(&[1]))])
        .opset(11)
        .node("Conv", &["u", "w"], "y", &[])
        .import();
    assert_eq!(image.input, Shape::new(4, 5, 1));
    assert_eq!(image.layers[0].output, Shape::new(2, 3, 2));
}

#[test]
fn windows_of_other_dimensions_than_their_input_are_told() {
    let conv = |input: &[i64], w: &[i64], attributes: &[(&str, Attr<'_>)]| {
        let model = Model::new(input).random("w", w);
        model.node("Conv", &["x", "w"], "y", attributes).reason()
    };
    let reason = conv(&[3, 20], &[4, 3, 3, 3], &[]);
    assert!(
        reason.contains("[N, 3, 20], expected [N, C, H, W]"),
        "{reason}"
    );
    let reason = conv(&[3, 20, 20], &[4, 3, 3], &[]);
    assert!(reason.contains("expected [N, C, L]"), "{reason}");
    let reason = conv(&[3, 20], &[4, 3, 3], &[("strides", Is(&[2, 2]))]);
    assert!(reason.contains("strides are for 2 dimensions"), "{reason}");
    let reason = conv(&[3, 20], &[4, 3, 3], &[("pads", Is(&[1, 1, 1, 1]))]);
    assert!(reason.contains("pads are for 2 dimensions"), "{reason}");
    let dilated = |dilation, stride| {
        let attributes = [("dilations", Is(dilation)), ("strides", Is(stride))];
        conv(&[3, 20], &[4, 3, 3], &attributes)
    };
    let reason = dilated(&[3], &[1]);
    assert!(reason.contains("divides the length of 20"), "{reason}");
    let reason = dilated(&[2], &[2]);
    assert!(reason.contains("at stride 1"), "{reason}");
}

/// Against one with zeros between the weights, as temporal convolutional networks have them (Bai et al. 2018).
#[test]
fn dilated_convolutions_over_a_series_are_those_of_its_steps_taken_in_turn() {
    let weights = noise(13, 4 * 3 * 3);
    for (dilation, pads) in [
        (2, [0, 0]),
        (2, [4, 0]),
        (4, [4, 4]),
        (5, [0, 5]),
        (10, [10, 0]),
        (4, [8, 0]),
    ] {
        let reach = 2 * dilation + 1;
        let mut spread = vec![0.0; 4 * 3 * reach];
        for (i, weight) in weights.iter().enumerate() {
            spread[i / 3 * reach + i % 3 * dilation] = *weight;
        }
        let padding = pads.map(|pad| pad as i64);
        let attributes = [
            ("dilations", Is(&[dilation as i64])),
            ("pads", Is(&padding)),
        ];
        let model = || Model::new(&[3, 20]).tensor(floats("w", &[4, 3, 3], &weights));
        let graph =
            model()
                .node("Conv", &["x", "w"], "c", &attributes)
                .node("Relu", &["c"], "y", &[]);
        let graph = graph.import();
        let (x, output) = series(&graph);
        let x = relu(conv(&x, &spread, [4, 3, reach], (1, pads)));
        let last = (0..x[0].len()).flat_map(|l| x.iter().map(move |row| row[l]));
        assert_close(&output, &last.collect::<Vec<f64>>());
        // padded by a node of its own
        let pad = [0, 0, padding[0], 0, 0, padding[1]];
        let before = model()
            .tensor(ints("p", &[6], &pad))
            .node("Pad", &["x", "p"], "b", &[])
            .node("Conv", &["b", "w"], "c", &attributes[..1])
            .node("Relu", &["c"], "y", &[]);
        let before = before.import();
        assert_eq!(before.layers.len(), graph.layers.len());
        assert_close(&series(&before).1, &output);
    }
}

/// As tf2onnx writes Keras' Conv1D: the series is an image of one row while windows slide over it.
#[test]
fn a_series_may_become_an_image_of_one_row() {
    let weights = [noise(11, 4 * 3 * 5), noise(12, 2 * 4 * 3)];
    let model = |axes: bool| {
        let model = Model::new(&[20, 3])
            .tensor(floats("a", &[4, 3, 1, 5], &weights[0]))
            .tensor(floats("b", &[2, 4, 1, 3], &weights[1]))
            .tensor(ints("one", &[1], &[1]))
            .tensor(ints("two", &[1], &[2]));
        let model = if axes {
            model.node("Unsqueeze", &["x"], "u", &[("axes", Is(&[1]))])
        } else {
            model.node("Unsqueeze", &["x", "one"], "u", &[])
        };
        let two = || [("axes", Is(&[2]))];
        let model = model
            .node("Transpose", &["u"], "t", &[("perm", Is(&[0, 3, 1, 2]))])
            .node("Conv", &["t", "a"], "c", &[]);
        let model = if axes {
            model.node("Squeeze", &["c"], "s", &two())
        } else {
            model.node("Squeeze", &["c", "two"], "s", &[])
        };
        let model = model.node("Relu", &["s"], "r", &[]);
        let model = if axes {
            model.opset(11).node("Unsqueeze", &["r"], "v", &two())
        } else {
            model.node("Unsqueeze", &["r", "two"], "v", &[])
        };
        let model = model.node("Conv", &["v", "b"], "d", &[]);
        let model = if axes {
            model.node("Squeeze", &["d"], "e", &two())
        } else {
            model.node("Squeeze", &["d", "two"], "e", &[])
        };
        model.node("Transpose", &["e"], "y", &[("perm", Is(&[0, 2, 1]))])
    };
    for axes in [true, false] {
        let graph = model(axes).import();
        assert_eq!(graph.input, Shape::new(20, 1, 3));
        let (x, output) = series(&graph);
        let x = relu(conv(&x, &weights[0], [4, 3, 5], (1, [0, 0])));
        let x = conv(&x, &weights[1], [2, 4, 3], (1, [0, 0]));
        let last = (0..x[0].len()).flat_map(|l| x.iter().map(move |row| row[l]));
        assert_close(&output, &last.collect::<Vec<f64>>());
    }
    // an image of one channel that gets its dimension at the end
    let image = Model::new(&[5, 6])
        .random("w", &[2, 1, 3, 3])
        .node("Unsqueeze", &["x"], "u", &[("axes", Is(&[3]))])
        .opset(11)
        .node("Transpose", &["u"], "t", &[("perm", Is(&[0, 3, 1, 2]))])
        .node("Conv", &["t", "w"], "y", &[])
        .import();
    assert_eq!(image.input, Shape::new(5, 6, 1));
}

//! Models with the channels last, as TensorFlow has them, beside the same models with the channels first.

use super::*;

const TO_FIRST: &[i64] = &[0, 3, 1, 2];
const TO_LAST: &[i64] = &[0, 2, 3, 1];

impl Model {
    fn transposed(self, input: &str, output: &str, perm: &[i64]) -> Self {
        self.node("Transpose", &[input], output, &[("perm", Is(perm))])
    }
}

/// Operators, weights and shapes of the layers, without names.
fn layers(graph: &Graph) -> Vec<String> {
    let of = graph.layers.iter().map(|layer| {
        let (op, inputs) = (&layer.op, &layer.inputs);
        let (activation, output, weights) = (layer.activation, layer.output, &layer.weights);
        format!("{op:?} {inputs:?} {activation:?} {output:?} {weights:?}")
    });
    of.collect()
}

/// Both are the same network.
#[track_caller]
fn same(last: &Model, first: &Model) {
    let (last, first) = (last.import(), first.import());
    assert_eq!(last.input, first.input);
    assert_eq!(layers(&last), layers(&first));
}

/// Rows of a matrix in the order of `[H, W, C]` for those in the order of `[C, H, W]`.
fn rows_last(values: &[f32], [c, h, w]: [usize; 3]) -> Vec<f32> {
    let columns = values.len() / (c * h * w);
    let row = |f: usize| values[f * columns..][..columns].iter().copied();
    let order = (0..h * w).flat_map(|pixel| (0..c).map(move |c| c * h * w + pixel));
    order.flat_map(row).collect()
}

#[test]
fn images_transposed_to_the_first_layer_and_back_before_flattening_are_the_same_network() {
    let dense = noise(5, 4 * 5 * 6 * 7);
    let first = Model::new(&[3, 5, 6])
        .random("w", &[4, 3, 1, 1])
        .tensor(floats("d", &[4 * 5 * 6, 7], &dense))
        .node("Conv", &["x", "w"], "c", &[])
        .node("Relu", &["c"], "r", &[])
        .node("Flatten", &["r"], "f", &[])
        .node("MatMul", &["f", "d"], "y", &[]);
    let last = |flat: &str| {
        let model = Model::new(&[5, 6, 3])
            .random("w", &[4, 3, 1, 1])
            .tensor(floats("d", &[4 * 5 * 6, 7], &rows_last(&dense, [4, 5, 6])))
            .tensor(ints("flat", &[2], &[-1, 4 * 5 * 6]))
            .transposed("x", "t", TO_FIRST)
            .node("Conv", &["t", "w"], "c", &[])
            .transposed("c", "b", TO_LAST)
            .node("Relu", &["b"], "r", &[]);
        let flattened = match flat {
            "Flatten" => model.node("Flatten", &["r"], "f", &[]),
            _ => model.node("Reshape", &["r", "flat"], "f", &[]),
        };
        flattened.node("MatMul", &["f", "d"], "y", &[])
    };
    same(&last("Flatten"), &first);
    same(&last("Reshape"), &first);
}

#[test]
fn images_of_one_channel_are_reshaped() {
    let first = Model::new(&[1, 5, 6])
        .random("w", &[4, 1, 3, 3])
        .node("Conv", &["x", "w"], "c", &[])
        .node("GlobalAveragePool", &["c"], "y", &[]);
    let last = Model::new(&[5, 6, 1])
        .random("w", &[4, 1, 3, 3])
        .tensor(ints("image", &[4], &[-1, 1, 5, 6]))
        .node("Reshape", &["x", "image"], "t", &[])
        .node("Conv", &["t", "w"], "c", &[])
        .node("GlobalAveragePool", &["c"], "y", &[]);
    same(&last, &first);
}

#[test]
fn sums_and_means_with_the_channels_last_are_those_with_them_first() {
    let conv = |model: Model| {
        model
            .random("v", &[4, 3, 1, 1])
            .random("w", &[4, 4, 1, 1])
            .random("d", &[4, 2])
    };
    let first = conv(Model::new(&[3, 5, 6]))
        .node("Conv", &["x", "v"], "a", &[])
        .node("Conv", &["a", "w"], "b", &[])
        .node("Add", &["b", "a"], "s", &[])
        .node(
            "ReduceMean",
            &["s"],
            "m",
            &[("axes", Is(&[2, 3])), ("keepdims", I(0))],
        )
        .node("MatMul", &["m", "d"], "y", &[]);
    for keep in [0, 1] {
        let last = conv(Model::new(&[5, 6, 3]))
            .tensor(ints("flat", &[2], &[-1, 4]))
            .transposed("x", "t", TO_FIRST)
            .node("Conv", &["t", "v"], "a", &[])
            .transposed("a", "al", TO_LAST)
            .node("Conv", &["a", "w"], "b", &[])
            .transposed("b", "bl", TO_LAST)
            .node("Add", &["bl", "al"], "s", &[])
            .node(
                "ReduceMean",
                &["s"],
                "m",
                &[("axes", Is(&[1, 2])), ("keepdims", I(keep))],
            )
            .node("Reshape", &["m", "flat"], "f", &[])
            .node("MatMul", &["f", "d"], "y", &[]);
        same(&last, &first);
    }
}

#[test]
fn outputs_may_have_the_channels_last() {
    let first =
        Model::new(&[3, 5, 6])
            .random("w", &[4, 3, 1, 1])
            .node("Conv", &["x", "w"], "y", &[]);
    let last = |output: &str| {
        Model::new(&[5, 6, 3])
            .random("w", &[4, 3, 1, 1])
            .transposed("x", "t", TO_FIRST)
            .node("Conv", &["t", "w"], "c", &[])
            .transposed("c", output, TO_LAST)
    };
    same(&last("y"), &first);
    let flat = last("b").node("Flatten", &["b"], "y", &[]).import();
    assert_eq!(flat.shape(2), Shape::vector(4 * 5 * 6));
    let (Op::Reshape, input) = (&flat.layers[1].op, noise(3, 90)) else {
        panic!("{:?}", flat.layers[1].op);
    };
    let input: Vec<f64> = input.into_iter().map(f64::from).collect();
    // elements keep the order of the graph's tensors
    let unflat = last("y").import();
    assert_eq!(run(&flat, &input), run(&unflat, &input));
}

#[test]
fn operators_that_need_the_channels_first_say_so() {
    let last = Model::new(&[5, 6, 3])
        .random("w", &[4, 3, 1, 1])
        .transposed("x", "t", TO_FIRST)
        .node("Conv", &["t", "w"], "c", &[])
        .transposed("c", "b", TO_LAST);
    let reason = last.node("MaxPool", &["b"], "y", &[("kernel_shape", Is(&[2, 2]))]);
    let reason = reason.reason();
    assert!(
        reason.contains("[N, 5, 6, 4] with the channels last"),
        "{reason}"
    );
    let mixed = Model::new(&[4, 4, 4])
        .transposed("x", "t", TO_FIRST)
        .transposed("t", "b", TO_LAST)
        .node("Add", &["t", "b"], "y", &[]);
    let reason = mixed.reason();
    assert!(reason.contains("channels first and one"), "{reason}");
}

/// As Keras' Rescaling and Normalization stand before the first convolution, and scales behind one.
#[test]
fn constants_may_be_added_and_multiplied_with_the_channels_last() {
    let constants = |model: Model, mean: &[i64], scale: &[i64]| {
        model
            .random("v", &[4, 3, 2, 2])
            .random("w", &[2, 4, 1, 1])
            .tensor(floats("step", &[], &[127.5]))
            .tensor(floats("one", &[1], &[1.0]))
            .tensor(floats("mean", mean, &[0.25, -0.5, 0.75]))
            .tensor(floats("scale", scale, &[2.0, 0.5, 1.0, -1.5]))
            .node("Div", &["x", "step"], "1", &[])
            .node("Sub", &["1", "one"], "2", &[])
            .node("Add", &["2", "mean"], "3", &[])
    };
    let first = constants(Model::new(&[3, 5, 6]), &[3, 1, 1], &[4, 1, 1])
        .node("Conv", &["3", "v"], "c", &[])
        .node("Relu", &["c"], "r", &[])
        .node("Mul", &["r", "scale"], "s", &[])
        .node("Conv", &["s", "w"], "d", &[])
        .node("GlobalAveragePool", &["d"], "y", &[]);
    let last = constants(Model::new(&[5, 6, 3]), &[3], &[1, 1, 1, 4])
        .transposed("3", "t", TO_FIRST)
        .node("Conv", &["t", "v"], "c", &[])
        .transposed("c", "cl", TO_LAST)
        .node("Relu", &["cl"], "r", &[])
        .node("Mul", &["scale", "r"], "sl", &[])
        .transposed("sl", "s", TO_FIRST)
        .node("Conv", &["s", "w"], "d", &[])
        .node("GlobalAveragePool", &["d"], "y", &[]);
    same(&last, &first);
    // one number for each column
    let reason = Model::new(&[4, 4, 3])
        .random("v", &[4, 3, 2, 2])
        .random("columns", &[1, 4, 1])
        .node("Mul", &["x", "columns"], "1", &[])
        .transposed("1", "t", TO_FIRST)
        .node("Conv", &["t", "v"], "y", &[])
        .reason();
    assert!(reason.contains("one number for each channel"), "{reason}");
}

/// Of one channel, both orders are the same.
#[test]
fn an_output_of_one_channel_may_have_it_last() {
    let conv = |model: Model| {
        model
            .random("w", &[1, 2, 1, 1])
            .node("Conv", &["t", "w"], "c", &[])
    };
    let last = conv(Model::new(&[4, 5, 2]).transposed("x", "t", TO_FIRST));
    let last = last.transposed("c", "y", TO_LAST);
    let first = conv(Model::new(&[2, 4, 5]).node("Identity", &["x"], "t", &[]));
    same(&last, &first.node("Identity", &["c"], "y", &[]));
}

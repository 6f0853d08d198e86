//! Functions of every element, products and concatenations, against their definitions.

use super::*;

/// `[C, H, W]` of a sample, and what the graph makes of it, `[C, H, W]`.
fn images(graph: &Graph) -> (Vec<f64>, Vec<f64>) {
    let (input, output) = sample(graph);
    let shape = graph.shape(graph.layers.len());
    let channels = usize::from(shape.c);
    let pixels = output.len() / channels;
    let first = (0..channels).flat_map(|c| (0..pixels).map(move |pixel| pixel * channels + c));
    (input, first.map(|i| output[i]).collect())
}

/// A model of one operator, and its definition.
#[track_caller]
fn gives(model: &Model, outline_of: &[&str], of: impl Fn(f64) -> f64) {
    let graph = model.import();
    assert_eq!(outline(&graph), outline_of);
    let (input, output) = images(&graph);
    let expected: Vec<f64> = input.into_iter().map(of).collect();
    assert_close(&output, &expected);
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn functions_of_every_element() {
    let x = || Model::new(&[3, 4, 5]);
    let node = |op: &str, attributes: &[(&str, Attr<'_>)]| x().node(op, &["x"], "y", attributes);
    gives(&node("Sigmoid", &[]), &["sigmoid1 sigmoid"], sigmoid);
    gives(&node("Tanh", &[]), &["tanh1 tanh"], f64::tanh);
    gives(&node("Exp", &[]), &["exp1 exp"], f64::exp);
    gives(&node("Abs", &[]), &["abs1 abs"], f64::abs);
    gives(&node("Softplus", &[]), &["softplus1 softplus"], |x| {
        x.exp().ln_1p()
    });
    let hard = |x: f64, alpha: f64, beta: f64| (alpha * x + beta).clamp(0.0, 1.0);
    let name = ["hard-sigmoid1 hard-sigmoid"];
    gives(&node("HardSigmoid", &[]), &name, |x| hard(x, 0.2, 0.5));
    let own = [("alpha", F(0.75)), ("beta", F(0.25))];
    gives(&node("HardSigmoid", &own), &name, |x| hard(x, 0.75, 0.25));
    let hard_swish = |x: f64| x * (x + 3.0).clamp(0.0, 6.0) / 6.0;
    gives(
        &node("HardSwish", &[]),
        &["hard-swish1 hard-swish"],
        hard_swish,
    );
    let leaky = |alpha: f64| move |x: f64| if x < 0.0 { alpha * x } else { x };
    let name = ["leaky-relu1 leaky-relu"];
    gives(&node("LeakyRelu", &[]), &name, leaky(0.01));
    gives(&node("LeakyRelu", &[("alpha", F(0.5))]), &name, leaky(0.5));
    let elu = |alpha: f64| move |x: f64| if x < 0.0 { alpha * x.exp_m1() } else { x };
    gives(&node("Elu", &[]), &["elu1 elu"], elu(1.0));
    gives(&node("Elu", &[("alpha", F(0.5))]), &["elu1 elu"], elu(0.5));
    let mish = |x: f64| x * x.exp().ln_1p().tanh();
    gives(&node("Mish", &[]), &["mish1 mish"], mish);
    gives(&node("Swish", &[]), &["silu1 silu"], |x| x * sigmoid(x));
    let clip = x()
        .tensor(floats("low", &[], &[-0.25]))
        .tensor(floats("high", &[], &[0.5]))
        .node("Clip", &["x", "low", "high"], "y", &[]);
    gives(&clip, &["clip1 clip"], |x| x.clamp(-0.25, 0.5));
    let above = x()
        .tensor(floats("low", &[], &[-0.25]))
        .node("Clip", &["x", "low"], "y", &[]);
    gives(&above, &["clip1 clip"], |x| x.max(-0.25));
    let at_least =
        x().tensor(floats("low", &[1, 1], &[-0.25]))
            .node("Max", &["x", "low"], "y", &[]);
    gives(&at_least, &["clip1 clip"], |x| x.max(-0.25));
    let at_most = x()
        .tensor(floats("high", &[], &[0.25]))
        .node("Min", &["high", "x"], "y", &[]);
    gives(&at_most, &["clip1 clip"], |x| x.min(0.25));
    let tangent = |x: f64| {
        let z = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
        x / 2.0 * (1.0 + z.tanh())
    };
    let gelu = node("Gelu", &[("approximate", S("tanh"))]);
    gives(&gelu, &["gelu1 gelu"], tangent);
    // before operator set 20, in the orders in which exporters write it
    // its series at 0
    let erf = |x: f64| {
        let mut term = 2.0 / std::f64::consts::PI.sqrt() * x;
        let mut sum = term;
        for n in 1..60 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum
    };
    let exact = |x: f64| x / 2.0 * (1.0 + erf(x / std::f64::consts::SQRT_2));
    let numbers = || {
        let numbers = [("root", 2.0_f32.sqrt()), ("one", 1.0), ("half", 0.5)];
        let add =
            |model: Model, (name, value): (&str, f32)| model.tensor(floats(name, &[], &[value]));
        numbers.into_iter().fold(x(), add)
    };
    let sum = || {
        numbers()
            .node("Div", &["x", "root"], "d", &[])
            .node("Erf", &["d"], "e", &[])
            .node("Add", &["e", "one"], "s", &[])
    };
    let after = sum()
        .node("Mul", &["x", "s"], "p", &[])
        .node("Mul", &["p", "half"], "y", &[]);
    gives(&after, &["gelu1 gelu"], exact);
    let before = sum()
        .node("Mul", &["half", "x"], "h", &[])
        .node("Mul", &["h", "s"], "y", &[]);
    gives(&before, &["gelu1 gelu"], exact);
    let between = sum()
        .node("Mul", &["s", "half"], "h", &[])
        .node("Mul", &["h", "x"], "y", &[]);
    gives(&between, &["gelu1 gelu"], exact);
    let other = sum()
        .node("Mul", &["x", "s"], "p", &[])
        .node("Mul", &["p", "one"], "y", &[]);
    assert!(other.reason().contains("no such activation"));
    assert!(
        node("Swish", &[("alpha", F(2.0))])
            .reason()
            .contains("alpha")
    );
    let bad = x()
        .tensor(floats("low", &[], &[f32::NAN]))
        .node("Clip", &["x", "low"], "y", &[]);
    assert!(bad.reason().contains("finite"));
    assert!(
        node("Elu", &[("alpha", F(f32::NAN))])
            .reason()
            .contains("finite")
    );
}

/// Slopes of channels, and differences: of sums.
#[test]
fn slopes_and_differences_are_sums() {
    let slopes = [0.25, -0.5];
    let model = || Model::new(&[2, 3, 4]);
    let prelu =
        model()
            .tensor(floats("a", &[2, 1, 1], &slopes))
            .node("PRelu", &["x", "a"], "y", &[]);
    let graph = prelu.import();
    let (input, output) = images(&graph);
    let of = |(i, x): (usize, &f64)| {
        let slope = f64::from(slopes[i / 12]);
        if *x < 0.0 { slope * x } else { *x }
    };
    let expected: Vec<f64> = input.iter().enumerate().map(of).collect();
    assert_close(&output, &expected);
    let one =
        model()
            .tensor(floats("a", &[2, 1, 1], &[0.25, 0.25]))
            .node("PRelu", &["x", "a"], "y", &[]);
    let leaky = |x: f64| if x < 0.0 { 0.25 * x } else { x };
    gives(&one, &["leaky-relu1 leaky-relu"], leaky);
    let wrong = model()
        .tensor(floats("a", &[3, 1], &[0.25, 0.5, 0.75]))
        .node("PRelu", &["x", "a"], "y", &[]);
    assert!(wrong.reason().contains("[3, 1]"));
    let difference = model()
        .node("Abs", &["x"], "a", &[])
        .node("Exp", &["x"], "e", &[])
        .node("Sub", &["a", "e"], "y", &[])
        .import();
    let (input, output) = images(&difference);
    let expected: Vec<f64> = input.iter().map(|x| x.abs() - x.exp()).collect();
    assert_close(&output, &expected);
    // into the weights of the layer that gives it
    let folded = model()
        .random("w", &[2, 2, 1, 1])
        .node("Conv", &["x", "w"], "c", &[])
        .node("Sub", &["x", "c"], "y", &[])
        .import();
    assert_eq!(folded.layers.len(), 2);
    let negative = model()
        .random("w", &[2, 2, 1, 1])
        .node("Conv", &["x", "w"], "c", &[])
        .node("Add", &["x", "c"], "y", &[])
        .import();
    let (input, sum) = images(&negative);
    let (_, output) = images(&folded);
    for ((x, sum), difference) in input.iter().zip(sum).zip(output) {
        assert!((difference + sum - 2.0 * x).abs() < 1e-5);
    }
    let same = model().node("Sub", &["x", "x"], "y", &[]);
    assert!(same.reason().contains("from itself"));
}

/// A product with a function of the same tensor is one function, unless something else reads that.
#[test]
fn products_of_a_tensor_and_its_function() {
    let x = || Model::new(&[2, 3, 4]);
    for inputs in [["x", "s"], ["s", "x"]] {
        let silu = x()
            .node("Sigmoid", &["x"], "s", &[])
            .node("Mul", &inputs, "y", &[]);
        gives(&silu, &["silu1 silu"], |x| x * sigmoid(x));
    }
    let sixth = [("alpha", F(1.0 / 6.0)), ("beta", F(0.5))];
    let hard = x()
        .node("HardSigmoid", &["x"], "s", &sixth)
        .node("Mul", &["x", "s"], "y", &[]);
    gives(&hard, &["hard-swish1 hard-swish"], |x| {
        x * (x + 3.0).clamp(0.0, 6.0) / 6.0
    });
    let mish = x()
        .node("Softplus", &["x"], "p", &[])
        .node("Tanh", &["p"], "t", &[])
        .node("Mul", &["x", "t"], "y", &[]);
    gives(&mish, &["mish1 mish"], |x| x * x.exp().ln_1p().tanh());
    let other = x()
        .node("Sigmoid", &["x"], "s", &[])
        .node("Mul", &["x", "s"], "m", &[])
        .node("Add", &["m", "s"], "y", &[]);
    let lines = ["sigmoid1 sigmoid", "mul1 mul", "add1 add"];
    gives(&other, &lines, |x| x * sigmoid(x) + sigmoid(x));
    // [N, 4, 1] by [N, 1, 4] is no product of elements at the same place
    let outer = Model::new(&[4])
        .tensor(ints("one", &[1], &[1]))
        .tensor(ints("two", &[1], &[2]))
        .node("Sigmoid", &["x"], "s", &[])
        .node("Unsqueeze", &["x", "two"], "c", &[])
        .node("Unsqueeze", &["s", "one"], "r", &[])
        .node("Mul", &["c", "r"], "y", &[]);
    assert!(outer.reason().contains("[N, 4, 1] by [N, 1, 4]"));
    // others may read what is inside of a function
    let inner = x()
        .node("Softplus", &["x"], "p", &[])
        .node("Tanh", &["p"], "t", &[])
        .node("Mul", &["x", "t"], "m", &[])
        .node("Add", &["m", "p"], "y", &[]);
    let lines = ["softplus1 softplus", "mish1 mish", "add1 add"];
    gives(&inner, &lines, |x| {
        let softplus = x.exp().ln_1p();
        x * softplus.tanh() + softplus
    });
    let square = x().node("Mul", &["x", "x"], "y", &[]);
    gives(&square, &["mul1 mul"], |x| x * x);
}

/// Squeeze and excitation: channels times a function of their means, channels first and last.
#[test]
fn channels_are_scaled() {
    let [c, pixels] = [3, 20];
    for swapped in [false, true] {
        let inputs = if swapped { ["s", "x"] } else { ["x", "s"] };
        let graph = Model::new(&[3, 4, 5])
            .node("GlobalAveragePool", &["x"], "g", &[])
            .node("Sigmoid", &["g"], "s", &[])
            .node("Mul", &inputs, "y", &[])
            .import();
        let (input, output) = images(&graph);
        let scaled = (0..c).flat_map(|c| {
            let channel = &input[c * pixels..][..pixels];
            let mean = channel.iter().sum::<f64>() / pixels as f64;
            channel.iter().map(move |x| x * sigmoid(mean))
        });
        assert_close(&output, &scaled.collect::<Vec<_>>());
    }
    let to_first = [("perm", Is(&[0, 3, 1, 2]))];
    let means = [("axes", Is(&[1, 2])), ("keepdims", I(1))];
    let graph = Model::new(&[4, 5, 3])
        .random("w", &[3, 3, 1, 1])
        .node("Transpose", &["x"], "t", &to_first)
        .node("Conv", &["t", "w"], "c", &[])
        .node("Transpose", &["c"], "l", &[("perm", Is(&[0, 2, 3, 1]))])
        .node("ReduceMean", &["l"], "g", &means)
        .node("Mul", &["l", "g"], "m", &[])
        .node("Transpose", &["m"], "y", &to_first)
        .import();
    let lines = ["conv1 conv2d", "avg-pool1 avg-pool", "mul1 mul"];
    assert_eq!(outline(&graph), lines);
    // the factor of a row is none of a channel
    let reason = Model::new(&[3, 4, 5])
        .node("MaxPool", &["x"], "r", &[("kernel_shape", Is(&[1, 5]))])
        .node("Mul", &["x", "r"], "y", &[])
        .reason();
    assert!(reason.contains("[N, 3, 4, 5] by [N, 3, 4, 1]"), "{reason}");
}

/// Layers that read all before them share what they join.
#[test]
fn channels_are_joined() {
    let axis = || [("axis", I(1))];
    let graph = Model::new(&[2, 3, 4])
        .node("Tanh", &["x"], "a", &[])
        .node("Exp", &["a"], "b", &[])
        .node("Concat", &["x", "a", "b"], "y", &axis())
        .import();
    let lines = ["tanh1 tanh", "exp1 exp", "concat1 concat", "concat2 concat"];
    assert_eq!(outline(&graph), lines);
    let (input, output) = images(&graph);
    let each = |f: fn(f64) -> f64| input.iter().copied().map(f);
    let parts = each(|x| x)
        .chain(each(f64::tanh))
        .chain(each(|x| x.tanh().exp()));
    assert_close(&output, &parts.collect::<Vec<_>>());

    let dense = Model::new(&[2, 3, 4])
        .random("w", &[1, 4, 1, 1])
        .node("Tanh", &["x"], "a", &[])
        .node("Concat", &["x", "a"], "j", &axis())
        .node("Conv", &["j", "w"], "b", &[])
        .node("Concat", &["x", "a", "b"], "y", &[("axis", I(-3))])
        .import();
    let lines = [
        "tanh1 tanh",
        "concat1 concat",
        "conv1 conv2d",
        "concat2 concat",
    ];
    assert_eq!(outline(&dense), lines);
    assert_eq!(dense.layers[3].inputs, [2, 3]);

    let vectors = Model::new(&[5])
        .node("Tanh", &["x"], "a", &[])
        .node("Concat", &["a", "x"], "y", &axis())
        .import();
    let (input, output) = images(&vectors);
    let both = input.iter().map(|x| x.tanh()).chain(input.iter().copied());
    assert_close(&output, &both.collect::<Vec<_>>());

    let flat = Model::new(&[2, 4, 4])
        .node("Flatten", &["x"], "f", &[])
        .node("Concat", &["x", "f"], "y", &axis());
    assert!(flat.reason().contains("[N, 2, 4, 4] and [N, 32]"));
    let scalar = Model::new(&[1])
        .tensor(ints("one", &[1], &[1]))
        .node("Squeeze", &["x", "one"], "s", &[])
        .node("Concat", &["x", "s"], "y", &axis());
    assert!(scalar.reason().contains("it joins"));
    let reason = Model::new(&[2, 4, 4])
        .node("MaxPool", &["x"], "p", &[("kernel_shape", Is(&[2, 2]))])
        .node("Concat", &["x", "p"], "y", &axis())
        .reason();
    assert!(reason.contains("[N, 2, 4, 4] and [N, 2, 3, 3]"), "{reason}");
}

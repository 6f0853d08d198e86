//! Several outputs: one vector, one behind the other.

use bitbudget_core::op::Function;

use super::*;

impl Model {
    fn giving(mut self, outputs: &[&str]) -> Self {
        self.graph().output = outputs.iter().map(|name| info(name, &[])).collect();
        self
    }
}

fn outputs(graph: &Graph) -> Vec<(&str, Shape)> {
    let each = graph.outputs.iter();
    each.map(|output| (output.name.as_str(), output.shape))
        .collect()
}

#[test]
fn one_output_has_its_name_and_shape() {
    let graph = Model::new(&[3, 4, 5])
        .node("Relu", &["x"], "y", &[])
        .import();
    assert_eq!(outputs(&graph), [("y", Shape::new(4, 5, 3))]);
}

/// Two heads over one trunk, as detectors have them, of which one is read again, and the trunk itself.
#[test]
fn several_outputs_are_one_behind_the_other() {
    let graph = Model::new(&[2, 3, 3])
        .node("Tanh", &["x"], "trunk", &[])
        .random("b.weight", &[4, 2, 1, 1])
        .node("Conv", &["trunk", "b.weight"], "boxes", &[])
        .node("GlobalAveragePool", &["boxes"], "g", &[])
        .node("Flatten", &["g"], "f", &[])
        .random("s.weight", &[3, 4])
        .node("Gemm", &["f", "s.weight"], "scores", &[("transB", I(1))])
        .giving(&["scores", "boxes", "trunk"])
        .import();
    let shapes = [Shape::vector(3), Shape::new(3, 3, 4), Shape::new(3, 3, 2)];
    let names = ["scores", "boxes", "trunk"];
    assert_eq!(
        outputs(&graph),
        [0, 1, 2].map(|i| (names[i], shapes[i])).to_vec()
    );
    let last = graph.layers.last().unwrap();
    assert_eq!((last.op, last.output), (Op::Concat, Shape::vector(57)));

    // what the layers of that name and operator give, in an order of their own
    let (input, output) = sample(&graph);
    let input = channels_last(&input, graph.input);
    let of = |is: &dyn Fn(&crate::graph::GraphLayer) -> bool| {
        let at = graph.layers.iter().position(is).unwrap();
        let up_to = Graph {
            layers: graph.layers[..=at].to_vec(),
            ..graph.clone()
        };
        run(&up_to, &input)
    };
    let trunk = of(&|layer| layer.op == Op::Unary(Function::Tanh));
    let (boxes, scores) = (
        of(&|layer| layer.name == "b"),
        of(&|layer| layer.name == "s"),
    );
    assert_eq!(output, [scores, boxes, trunk].concat());
}

#[test]
fn an_output_may_be_the_input_or_another_one_again() {
    let graph = Model::new(&[3])
        .node("Tanh", &["x"], "y", &[])
        .giving(&["y", "x", "y"])
        .import();
    let (input, output) = sample(&graph);
    let tanh: Vec<f64> = input
        .iter()
        .map(|x| f64::from((*x as f32).tanh()))
        .collect();
    assert_close(&output, &[tanh.clone(), input, tanh].concat());
}

#[test]
fn faults_of_outputs_are_told() {
    let none = Model::new(&[3]).node("Tanh", &["x"], "y", &[]).giving(&[]);
    assert!(none.error().to_string().contains("output"));
    let missing = Model::new(&[3])
        .node("Tanh", &["x"], "y", &[])
        .giving(&["y", "z"]);
    assert!(missing.error().to_string().contains('z'));
    let long = Model::new(&[40, 40, 40])
        .node("Tanh", &["x"], "y", &[])
        .giving(&["y", "x"]);
    let reason = long.reason();
    assert!(reason.contains("65535"), "{reason}");
    // of both heads, though one is behind the other
    let both = Model::new(&[3])
        .named("a", "Selu", &["x"], "y", &[])
        .named("b", "Hardmax", &["y"], "z", &[])
        .giving(&["z", "y"]);
    assert_eq!(both.unsupported().len(), 2);
}

/// Boxes of four numbers from two grids, as detectors flatten and join them.
#[test]
fn heads_are_joined_along_their_first_dimension() {
    let flat = |model: Model, from: &str, to: &str| {
        let transposed = format!("{to}t");
        model
            .node(
                "Transpose",
                &[from],
                &transposed,
                &[("perm", Is(&[0, 2, 3, 1]))],
            )
            .node("Reshape", &[&transposed, "boxes"], to, &[])
    };
    let window = [("kernel_shape", Is(&[2, 2])), ("strides", Is(&[2, 2]))];
    let model = Model::new(&[8, 4, 4])
        .tensor(ints("boxes", &[3], &[0, -1, 4]))
        .node("Tanh", &["x"], "fine", &[])
        .node("MaxPool", &["x"], "coarse", &window)
        .node("GlobalMaxPool", &["x"], "one", &[]);
    let model = flat(flat(flat(model, "fine", "a"), "coarse", "b"), "one", "c");
    let graph = model
        .node("Concat", &["a", "b", "c"], "y", &[("axis", I(1))])
        .import();
    let (input, output) = sample(&graph);
    let input = channels_last(&input, graph.input);
    let tanh = |x: &f64| f64::from((*x as f32).tanh());
    let fine: Vec<f64> = input.iter().map(tanh).collect();
    let most = |pixels: &[usize]| -> Vec<f64> {
        let of = |c: usize| pixels.iter().map(|p| input[8 * p + c]).fold(-9.0, f64::max);
        (0..8).map(of).collect()
    };
    let coarse = [0, 2, 8, 10]
        .map(|p| most(&[p, p + 1, p + 4, p + 5]))
        .concat();
    let one = most(&(0..16).collect::<Vec<_>>());
    assert_close(&output, &[fine, coarse, one].concat());
}

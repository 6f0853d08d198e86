use bitbudget_core::op::{Activation, Op};
use bitbudget_core::shape::{Shape, Window};

use super::*;
use crate::graph::{FloatModel, Weights};
use crate::random::Random;

/// A graph that grows; every method that adds a layer gives its tensor.
struct Builder {
    graph: Graph,
    random: Random,
}

impl Builder {
    fn new(seed: u64, input: Shape) -> Self {
        Self {
            graph: Graph {
                input,
                layers: Vec::new(),
                outputs: Vec::new(),
            },
            random: Random::new(seed),
        }
    }

    fn below(&mut self, end: usize) -> usize {
        (self.random.bits() % end as u64) as usize
    }

    fn push(&mut self, op: Op, inputs: &[usize], output: Shape) -> usize {
        let shapes: Vec<Shape> = inputs.iter().map(|t| self.graph.shape(*t)).collect();
        op.check(&shapes, output).expect("a layer that fits");
        let mut draw = |len: usize| (0..len).map(|_| self.random.signed()).collect();
        let weights = op.has_weights().then(|| Weights {
            weight: draw(op.weight_count(shapes[0], output)),
            bias: draw(output.c.into()),
        });
        self.graph.layers.push(GraphLayer {
            name: format!("{} {}", op.name(), self.graph.layers.len()),
            op,
            inputs: inputs.to_vec(),
            activation: Activation::Relu,
            output,
            weights,
        });
        self.graph.layers.len()
    }

    fn conv(&mut self, input: usize, kernel: u16, stride: u16, channels: u16) -> usize {
        let shape = self.graph.shape(input);
        let window = Window::square(kernel, stride, kernel / 2);
        let [h, w] = window.output(shape.h, shape.w).expect("a window that fits");
        let op = Op::Conv2d { window, groups: 1 };
        self.push(op, &[input], Shape::new(h, w, channels))
    }

    fn add(&mut self, inputs: [usize; 2]) -> usize {
        self.push(Op::Add, &inputs, self.graph.shape(inputs[0]))
    }

    fn dense(&mut self, input: usize, channels: u16) -> usize {
        self.push(Op::Dense, &[input], Shape::vector(channels))
    }

    /// A sum of twice as many channels and of what is made of four times as many, and a convolution back to the
    /// channels of the input: less is held when the wide branch runs first.
    fn block(&mut self, input: usize, is_wide_first: bool) -> usize {
        let channels = self.graph.shape(input).c;
        let wide = |builder: &mut Self| {
            let wide = builder.conv(input, 3, 1, 4 * channels);
            builder.conv(wide, 3, 1, 2 * channels)
        };
        let narrow = |builder: &mut Self| builder.conv(input, 1, 1, 2 * channels);
        let branches = match is_wide_first {
            true => [wide(self), narrow(self)],
            false => {
                let narrow = narrow(self);
                [wide(self), narrow]
            }
        };
        let sum = self.add(branches);
        self.conv(sum, 1, 1, channels)
    }

    /// Adds a random layer that reads a random tensor of the last ones.
    fn push_any(&mut self) {
        let count = self.graph.layers.len() + 1;
        let input = count - 1 - self.below(count.min(3));
        let shape = self.graph.shape(input);
        let channels = 1 + self.below(9) as u16;
        let same = (0..count).filter(|t| *t != input && self.graph.shape(*t) == shape);
        let same: Vec<usize> = same.collect();
        match self.below(6) {
            0 | 1 => self.conv(input, 1, 1, channels),
            2 => self.conv(input, 3, 2, channels),
            3 => {
                let window = Window::square(2, 1, 1);
                let [h, w] = window.output(shape.h, shape.w).expect("a window that fits");
                let output = Shape::new(h, w, shape.c);
                self.push(Op::MaxPool { window }, &[input], output)
            }
            4 | 5 if !same.is_empty() => {
                let other = same[self.below(same.len())];
                self.add([input, other])
            }
            _ => self.conv(input, 3, 1, channels),
        };
    }

    /// A random graph of some layers, and those that sum up what nothing else reads.
    fn random(seed: u64, layers: usize) -> Graph {
        let mut builder = Self::new(seed, Shape::new(6, 5, 2));
        (0..layers).for_each(|_| builder.push_any());
        let is_read = |t: &usize| builder.graph.layers.iter().any(|l| l.inputs.contains(t));
        let ends: Vec<usize> = (1..=layers).filter(|t| !is_read(t)).collect();
        let ends: Vec<usize> = ends.into_iter().map(|t| builder.dense(t, 3)).collect();
        let _ = ends.into_iter().reduce(|a, b| builder.add([a, b]));
        builder.graph
    }
}

/// Layers in an order, by name: which layer reads which ones is looked up by name too.
fn in_order(graph: &Graph, names: &[&str]) -> Graph {
    let layer = |name: &&str| {
        let layer = graph.layers.iter().find(|layer| layer.name == *name);
        let mut layer = layer.expect("a layer of that name").clone();
        for input in layer.inputs.iter_mut().filter(|t| **t > 0) {
            let read = &graph.layers[*input - 1].name;
            *input = 1 + names.iter().position(|name| name == read).expect("before");
        }
        layer
    };
    Graph {
        input: graph.input,
        layers: names.iter().map(layer).collect(),
        outputs: Vec::new(),
    }
}

/// The names of a graph's layers in every order that can run.
fn all_orders<'a>(graph: &'a Graph, before: &[&'a str], all: &mut Vec<Vec<&'a str>>) {
    if before.len() == graph.layers.len() {
        all.push(before.to_vec());
    }
    for layer in &graph.layers {
        let mut inputs = layer.inputs.iter().filter(|t| **t > 0);
        let can_run = inputs.all(|t| before.contains(&graph.layers[*t - 1].name.as_str()));
        if can_run && !before.contains(&layer.name.as_str()) {
            all_orders(graph, &[before, &[&layer.name]].concat(), all);
        }
    }
}

/// The smallest arena at INT8, and that of whole tensors.
fn arenas(graph: &Graph) -> [u32; 2] {
    let network = graph.network(&[LEVEL], |_| Q);
    network.check().expect("a network");
    let lifetimes = Lifetimes::new(&network);
    let forms = network.forms(&vec![LEVEL; graph.layers.len()]);
    let whole = lifetimes.place(&forms, &Schedule::WHOLE);
    [lifetimes.smallest(&forms).1.bytes(), whole.bytes()]
}

fn names(graph: &Graph) -> Vec<&str> {
    graph
        .layers
        .iter()
        .map(|layer| layer.name.as_str())
        .collect()
}

/// The output for one sample.
fn output(graph: &Graph) -> Vec<f32> {
    let len = graph.input.len();
    let sample = (0..len).map(|i| i as f32 / len as f32 - 0.3).collect();
    let model = FloatModel::new(graph.clone()).expect("a model");
    let tensors = model.forward(model.input(sample).expect("a sample"));
    let last = tensors.expect("tensors").pop().expect("an output");
    let output = last.flatten_all().and_then(|t| t.to_vec1());
    output.expect("values")
}

/// Checks that a graph is the same as another one but for the order, and takes no more.
fn assert_reordered(after: &Graph, before: &Graph) {
    let last = |graph: &Graph| graph.layers.last().map(|layer| layer.name.clone());
    assert_eq!(after, &in_order(before, &names(after)));
    assert_eq!(after.layers.len(), before.layers.len());
    assert_eq!(last(after), last(before));
    assert!(arenas(after) <= arenas(before));
    assert_eq!(output(after), output(before));
}

#[test]
fn chains_stay_as_they_are() {
    let mut builder = Builder::new(1, Shape::new(8, 8, 2));
    let a = builder.conv(0, 3, 1, 8);
    let b = builder.conv(a, 3, 2, 4);
    let c = builder.conv(b, 3, 1, 4);
    let d = builder.add([b, c]);
    builder.dense(d, 3);
    let graph = builder.graph;
    assert_eq!(by_least_ram(graph.clone()), graph);
}

#[test]
fn graphs_that_no_network_can_be_stay_as_they_are() {
    let mut builder = Builder::new(1, Shape::new(2, 2, 1));
    let mut at = 0;
    while builder.graph.layers.len() <= MAX_LAYERS {
        at = builder.block(at, false);
    }
    let graph = builder.graph;
    assert_eq!(by_least_ram(graph.clone()), graph);

    let mut builder = Builder::new(1, Shape::new(8192, 8192, 1));
    let [a, b] = [builder.conv(0, 1, 1, 1), builder.conv(0, 1, 1, 1)];
    let mut at = builder.add([a, b]);
    while builder.graph.layers.len() < 64 {
        at = builder.conv(at, 1, 1, 1);
    }
    let graph = builder.graph;
    assert_eq!(by_least_ram(graph.clone()), graph);
}

#[test]
fn the_branch_that_takes_more_runs_first() {
    let [bad, good] = [false, true].map(|is_wide_first| {
        let mut builder = Builder::new(1, Shape::new(8, 8, 2));
        let sum = builder.block(0, is_wide_first);
        builder.dense(sum, 3);
        builder.graph
    });
    let graph = by_least_ram(bad.clone());
    assert_reordered(&graph, &bad);
    assert_eq!(arenas(&graph), arenas(&good));
    assert_eq!(names(&graph)[..3], ["conv2d 1", "conv2d 2", "conv2d 0"]);
    assert!(arenas(&good)[1] < arenas(&bad)[1]);
    assert_eq!(by_least_ram(good.clone()), good);
}

#[test]
fn random_graphs_take_the_least_of_all_orders() {
    let mut gained = [0, 0];
    let mut checked = 0;
    for seed in 0..600 {
        let graph = Builder::random(seed, 3 + seed as usize % 4);
        let mut orders = Vec::new();
        all_orders(&graph, &[], &mut orders);
        if orders.len() > 200 {
            continue;
        }
        checked += 1;
        let orders = orders.iter().map(|names| in_order(&graph, names));
        // of equal ones the first
        let best = orders.min_by_key(arenas).expect("an order");
        let found = by_least_ram(graph.clone());
        assert_eq!(found, best, "seed {seed}");
        assert_reordered(&found, &graph);
        for (gained, i) in gained.iter_mut().zip(0..) {
            *gained += usize::from(arenas(&found)[i] < arenas(&graph)[i]);
        }
    }
    println!("{checked} graphs, {gained:?} take less");
    assert!(
        checked > 300 && gained.iter().all(|count| *count > 20),
        "{checked} {gained:?}"
    );
}

#[test]
fn with_few_orders_tried_none_takes_more_than_the_files() {
    let mut gained = 0;
    for seed in 0..200 {
        let graph = Builder::random(seed, 5 + seed as usize % 12);
        let found = by_least_ram_of(graph.clone(), seed as usize % 120);
        assert_reordered(&found, &graph);
        gained += usize::from(arenas(&found) < arenas(&graph));
    }
    println!("{gained} take less");
    assert!(gained > 60, "{gained}");
}

#[test]
fn equal_blocks_are_put_in_order_one_by_one() {
    let [bad, good] = [false, true].map(|is_wide_first| {
        let mut builder = Builder::new(1, Shape::new(8, 8, 2));
        let mut at = 0;
        for _ in 0..4 {
            at = builder.block(at, is_wide_first);
        }
        builder.dense(at, 3);
        builder.graph
    });
    // 3 of each block, 81 of all
    for most in [40, 81] {
        let graph = by_least_ram_of(bad.clone(), most);
        assert_reordered(&graph, &bad);
        assert_eq!(arenas(&graph), arenas(&good), "{most}");
    }
    assert!(arenas(&good)[1] < arenas(&bad)[1]);
}

#[test]
fn blocks_where_nothing_is_gained_keep_the_files_order() {
    let mut builder = Builder::new(1, Shape::new(8, 8, 2));
    let mut at = builder.block(0, false);
    let large = builder.graph.layers.len();
    at = builder.conv(at, 3, 2, 2);
    for _ in 0..3 {
        at = builder.block(at, false);
    }
    builder.dense(at, 3);
    let graph = builder.graph;
    for most in [40, 81] {
        let found = by_least_ram_of(graph.clone(), most);
        assert_ne!(names(&found)[..large], names(&graph)[..large]);
        assert_eq!(names(&found)[large..], names(&graph)[large..], "{most}");
    }
}

//! Models built layer by layer, with random parameters and weights.

use bitbudget_core::level::Level;
use bitbudget_core::network::{Layer, MAX_STATS, Network, Preprocess};
use bitbudget_core::op::{Activation, Function, Op, Rearrangement};
use bitbudget_core::place::Cycles;
use bitbudget_core::price::{PriceItem, PriceMatrix};
use bitbudget_core::quant::{QParams, Rounding, Width};
use bitbudget_core::shape::{Shape, Window};
use heapless::Vec as Fixed;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::model::{Model, Weights};

/// Which numbers a model is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Any.
    Real,
    /// Scales are powers of two, weights have few bits: most FP32 sums are exact in any order, so
    /// that mixed networks can be compared bit for bit.
    Dyadic,
}

/// Levels few enough to try all layouts of a few layers.
pub const FEW: [Level; 4] = [
    Level::Fp32,
    Level::Int(Width::Int8, Rounding::Nearest),
    Level::Int(Width::Int8, Rounding::Floor),
    Level::Int(Width::Int8, Rounding::Ceil),
];

/// Builds a model; every method that adds a layer returns the layer's output tensor.
#[derive(Debug)]
pub struct Builder {
    /// Source of all random choices.
    pub rng: SmallRng,
    /// The levels of every layer with weights.
    pub levels: Vec<Level>,
    style: Style,
    model: Model,
    /// The typical magnitude of each tensor's elements.
    magnitudes: Vec<f32>,
}

impl Builder {
    /// A model without layers whose input is raw bytes of this shape.
    #[must_use]
    pub fn new(seed: u64, style: Style, input: Shape) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let network = Network {
            input,
            input_q: qparams(&mut rng, style, 2.0),
            preprocess: preprocess(&mut rng, style, input.c),
            layers: Fixed::new(),
            prices: PriceMatrix {
                unit: rng.random_range(1e-9..1.0),
                rows: Fixed::new(),
                ties: Fixed::new(),
            },
        };
        Self {
            rng,
            levels: FEW.to_vec(),
            style,
            model: Model {
                network,
                names: Vec::new(),
                weights: Vec::new(),
            },
            magnitudes: vec![2.0],
        }
    }

    /// The number of layers so far, which is also the newest tensor.
    #[must_use]
    pub fn len(&self) -> usize {
        self.model.network.layers.len()
    }

    /// Whether there is no layer yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of a tensor.
    #[must_use]
    pub fn shape(&self, tensor: usize) -> Shape {
        self.model.network.shape(tensor)
    }

    /// A convolution to `channels` channels.
    ///
    /// # Panics
    /// When the window does not fit.
    pub fn conv(&mut self, input: usize, window: Window, groups: u16, channels: u16) -> usize {
        let output = windowed(window, self.shape(input), channels);
        self.push(Op::Conv2d { window, groups }, &[input], output)
    }

    /// A fully connected layer of `channels` outputs.
    pub fn dense(&mut self, input: usize, channels: u16) -> usize {
        self.push(Op::Dense, &[input], Shape::vector(channels))
    }

    /// The sum of two tensors.
    pub fn add(&mut self, a: usize, b: usize) -> usize {
        self.push(Op::Add, &[a, b], self.shape(a))
    }

    /// A max pool.
    ///
    /// # Panics
    /// When the window does not fit.
    pub fn max_pool(&mut self, input: usize, window: Window) -> usize {
        let shape = self.shape(input);
        let output = windowed(window, shape, shape.c);
        self.push(Op::MaxPool { window }, &[input], output)
    }

    /// An average pool.
    ///
    /// # Panics
    /// When the window does not fit.
    pub fn avg_pool(&mut self, input: usize, window: Window, count_padding: bool) -> usize {
        let shape = self.shape(input);
        let output = windowed(window, shape, shape.c);
        let op = Op::AvgPool {
            window,
            count_padding,
        };
        self.push(op, &[input], output)
    }

    /// A reshape: these elements under another shape.
    pub fn reshape(&mut self, input: usize, output: Shape) -> usize {
        self.push(Op::Reshape, &[input], output)
    }

    /// A softmax, or its logarithm.
    pub fn softmax(&mut self, input: usize, log: bool) -> usize {
        self.push(Op::Softmax { log }, &[input], self.shape(input))
    }

    /// A function of every element.
    pub fn unary(&mut self, input: usize, function: Function) -> usize {
        self.push(Op::Unary(function), &[input], self.shape(input))
    }

    /// The product of two tensors, of which the second one may have an element for each channel.
    pub fn mul(&mut self, a: usize, b: usize) -> usize {
        self.push(Op::Mul, &[a, b], self.shape(a))
    }

    /// The channels of two tensors.
    pub fn concat(&mut self, a: usize, b: usize) -> usize {
        let (left, right) = (self.shape(a), self.shape(b));
        let c = left.c + right.c;
        self.push(Op::Concat, &[a, b], Shape { c, ..left })
    }

    /// Elements of a tensor in another order.
    pub fn rearrange(&mut self, input: usize, of: Rearrangement, output: Shape) -> usize {
        self.push(Op::Rearrange(of), &[input], output)
    }

    /// A layer with a random activation and random parameters.
    ///
    /// # Panics
    /// When there are too many layers or inputs.
    pub fn push(&mut self, op: Op, inputs: &[usize], output: Shape) -> usize {
        let len = op.reduction_len(self.shape(inputs[0]));
        let magnitude = self.magnitudes[inputs[0]];
        let (weights, magnitude) = if op.has_weights() {
            self.weights(len, usize::from(output.c), magnitude)
        } else {
            (Weights::default(), magnitude)
        };
        let activation = match self.rng.random_range(0..4) {
            0 => Activation::Relu,
            1 => Activation::Relu6,
            _ => Activation::None,
        };
        let layer = Layer {
            op,
            inputs: inputs.iter().map(|t| *t as u16).collect(),
            activation,
            output,
            output_q: qparams(&mut self.rng, self.style, magnitude),
        };
        self.model.network.layers.push(layer).expect("room");
        self.model
            .names
            .push(format!("{}.{}", op.name(), self.len()));
        self.model.weights.push(weights);
        self.magnitudes.push(magnitude);
        self.len()
    }

    /// Weights of `channels` channels, and the typical magnitude of what they give.
    fn weights(&mut self, len: usize, channels: usize, input: f32) -> (Weights, f32) {
        let rng = &mut self.rng;
        let real = self.style == Style::Real;
        let (largest, quantum) = if real {
            (rng.random_range(-4.0_f32..2.0).exp2(), 0.0)
        } else {
            (1.0, 0.25)
        };
        let output = input * largest * (len as f32).sqrt();
        let draw = |rng: &mut SmallRng, largest: f32, quantum: f32| {
            let x = rng.random_range(-largest..=largest);
            if quantum > 0.0 {
                (x / quantum).round() * quantum
            } else {
                x
            }
        };
        let mut weights = Weights::default();
        for _ in 0..channels {
            let extreme = rng.random_bool(0.1);
            weights.weight.extend((0..len).map(|_| {
                let w = draw(rng, largest, quantum);
                if extreme { largest.copysign(w) } else { w }
            }));
            weights.bias.push(draw(rng, output, quantum / 16.0));
            let bias = weights.bias[weights.bias.len() - 1];
            for (at, width) in Width::ALL.into_iter().enumerate() {
                weights.scale[at].push(if real {
                    largest / f32::from(width.max()) * rng.random_range(0.5..1.5)
                } else {
                    (rng.random_range(-8..0) as f32).exp2()
                });
                let moved = if rng.random() { quantum / 16.0 } else { 0.0 };
                weights.corrected[at].push(bias + moved);
            }
        }
        (weights, output)
    }

    /// The model, with all levels priced at random.
    ///
    /// # Panics
    /// When there is no layer.
    #[must_use]
    pub fn finish(mut self) -> Model {
        assert!(!self.is_empty());
        for layer in 0..self.len() {
            let network = &mut self.model.network;
            let mut row = Fixed::new();
            if network.layers[layer].op.has_weights() {
                for level in self.levels.clone() {
                    let bytes = network.block_bytes(layer, level).expect("few");
                    let price = self.rng.random_range(-1000..=1000);
                    let item = PriceItem {
                        level,
                        bytes,
                        price,
                        cycles: Cycles::default(),
                    };
                    row.push(item).expect("room");
                }
            }
            network.prices.rows.push(row).expect("room");
        }
        self.model
    }
}

fn windowed(window: Window, input: Shape, c: u16) -> Shape {
    let [h, w] = window.output(input.h, input.w).expect("a window that fits");
    Shape { h, w, c }
}

fn qparams(rng: &mut SmallRng, style: Style, magnitude: f32) -> QParams {
    let scale = magnitude / 64.0 * rng.random_range(-1.5_f32..1.5).exp2();
    let zero_point = match rng.random_range(0..8) {
        0 => -128,
        1 => 127,
        2 => 0,
        _ => rng.random(),
    };
    QParams {
        scale: match style {
            Style::Real => scale,
            Style::Dyadic => scale.log2().round().exp2(),
        },
        zero_point,
    }
}

fn preprocess(rng: &mut SmallRng, style: Style, channels: u16) -> Preprocess {
    match style {
        Style::Dyadic => Preprocess {
            scale: 1.0 / 64.0,
            mean: Fixed::from_iter([2.0]),
            std: Fixed::new(),
        },
        Style::Real => {
            let mut stats = |low, high| {
                let count = [0, 1, usize::from(channels)][rng.random_range(0..3)];
                let count = if count > MAX_STATS { 1 } else { count };
                (0..count).map(|_| rng.random_range(low..high)).collect()
            };
            Preprocess {
                mean: stats(0.0, 2.0),
                std: stats(0.7, 1.4),
                scale: rng.random_range(0.01..0.02),
            }
        }
    }
}

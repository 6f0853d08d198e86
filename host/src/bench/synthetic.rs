//! Networks of random weights, layer by layer.

use bitbudget_core::level::Level;
use bitbudget_core::network::{Layer, Network, Preprocess};
use bitbudget_core::op::{Activation, Op};
use bitbudget_core::place::Cycles;
use bitbudget_core::price::{PriceItem, PriceMatrix};
use bitbudget_core::quant::{QParams, Width};
use bitbudget_core::shape::{Shape, Window};

use crate::capacity::HostNetwork;
use crate::encode::Encoder;
use crate::graph::Weights;
use crate::grid::Grid;
use crate::pack::{self, PackError};
use crate::random::Random;

/// The input's range, and in round numbers every tensor's: weights keep the magnitude.
const RANGE: f32 = 3.0;
/// The largest price of a layer: that of the narrowest level.
const PRICE: f64 = (1_u32 << 28) as f64;

/// A network that grows; every method that adds a layer gives its output tensor.
pub(super) struct Synthetic {
    network: Box<HostNetwork>,
    names: Vec<String>,
    blocks: Vec<u8>,
    random: Random,
}

impl Synthetic {
    /// A network without layers, whose samples are bytes.
    pub(super) fn new(input: Shape) -> Self {
        let network = Network {
            input,
            input_q: QParams::from_range(-RANGE, RANGE),
            preprocess: Preprocess {
                scale: RANGE / 128.0,
                mean: [RANGE].into_iter().collect(),
                std: heapless::Vec::new(),
            },
            layers: heapless::Vec::new(),
            prices: PriceMatrix {
                unit: 1.0 / PRICE,
                rows: heapless::Vec::new(),
                ties: heapless::Vec::new(),
            },
        };
        Self {
            network: Box::new(network),
            names: Vec::new(),
            blocks: Vec::new(),
            random: Random::new(1),
        }
    }

    /// A convolution with ReLU behind it.
    pub(super) fn conv(
        &mut self,
        input: usize,
        window: Window,
        groups: u16,
        channels: u16,
        levels: &[Level],
    ) -> usize {
        let op = Op::Conv2d { window, groups };
        let output = windowed(window, self.shape(input), channels);
        self.push(op, &[input], Activation::Relu, output, levels)
    }

    /// A layer without an activation; it has levels where it has weights.
    pub(super) fn plain(
        &mut self,
        op: Op,
        inputs: &[usize],
        output: Shape,
        levels: &[Level],
    ) -> usize {
        self.push(op, inputs, Activation::None, output, levels)
    }

    /// A layer of a few products, which reads a tensor as its level asks for it.
    pub(super) fn reader(&mut self, input: usize, levels: &[Level]) -> usize {
        let Shape { h, w, .. } = self.shape(input);
        let window = Window {
            kernel: [1; 2],
            stride: [h, w],
            padding: [0; 4],
        };
        self.conv(input, window, 1, 1, levels)
    }

    fn push(
        &mut self,
        op: Op,
        inputs: &[usize],
        activation: Activation,
        output: Shape,
        levels: &[Level],
    ) -> usize {
        let low = match activation {
            Activation::None => -RANGE,
            Activation::Relu | Activation::Relu6 => 0.0,
        };
        let shape = self.shape(inputs[0]);
        let mut output_q = QParams::from_range(low, RANGE);
        if matches!(op, Op::Concat | Op::Rearrange(_)) {
            // as calibration has it where nothing else reads the inputs
            output_q = self.network.qparams(inputs[0]);
        }
        let layer = Layer {
            op,
            inputs: inputs.iter().map(|tensor| *tensor as u16).collect(),
            activation,
            output,
            output_q,
        };
        let at = self.names.len();
        self.names.push(format!("{}.{at}", op.name()));
        // the networks here are far smaller than the host's capacities, and `image` checks them
        let _ = self.network.layers.push(layer);
        let mut row = heapless::Vec::new();
        if op.has_weights() {
            let (len, channels) = (op.reduction_len(shape), usize::from(output.c));
            let weights = self.draw_weights(len, channels);
            for level in levels {
                let _ = row.push(self.item(at, *level));
            }
            let _ = self.network.prices.rows.push(row);
            self.push_blocks(at, len, &weights);
        } else {
            let _ = self.network.prices.rows.push(row);
        }
        at + 1
    }

    /// The weights of `channels` channels of `len` weights each.
    fn draw_weights(&mut self, len: usize, channels: usize) -> Weights {
        let largest = largest(len);
        let mut draw =
            |factor: f32, count: usize| (0..count).map(|_| factor * self.random.signed()).collect();
        Weights {
            weight: draw(largest, channels * len),
            bias: draw(0.25, channels),
        }
    }

    /// Appends the blocks of a layer whose channels have `len` weights each.
    fn push_blocks(&mut self, layer: usize, len: usize, Weights { weight, bias }: &Weights) {
        let rows = weight.chunks_exact(len);
        let most = rows.map(|row| {
            row.iter()
                .fold(largest(len) / 8.0, |max, w| max.max(w.abs()))
        });
        let most: Vec<f32> = most.collect();
        let grids = Width::ALL.map(|width| {
            let scales = most.iter().map(|max| max / f32::from(width.max()));
            Grid::nearest(weight, width, scales.collect(), bias.clone())
        });
        let encoder = Encoder::of_layer(&self.network, layer, weight, bias);
        for format in self.network.weight_formats(layer) {
            self.blocks.extend(encoder.block(format, &grids));
        }
    }

    /// A level at a price that falls like 4^-bits, with noise.
    fn item(&mut self, layer: usize, level: Level) -> PriceItem {
        let bits = match level {
            Level::Fp32 => 32,
            Level::Fp16 => 12,
            Level::Int(width, _) => width.bits() as i32,
        };
        let noise = 1.0 + f64::from(self.random.signed()) / 2.0;
        PriceItem {
            level,
            bytes: self.network.block_bytes(layer, level).unwrap_or(0),
            price: (PRICE * noise * 4_f64.powi(2 - bits)) as i32,
            cycles: Cycles::default(),
        }
    }

    /// The shape of a tensor.
    pub(super) fn shape(&self, tensor: usize) -> Shape {
        self.network.shape(tensor)
    }

    /// The image.
    pub(super) fn image(&self) -> Result<Vec<u8>, PackError> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        pack::write(&self.network, &names, &[], &self.blocks)
    }
}

/// The largest weight of a channel of `len`, so that sums keep the magnitude of the input.
fn largest(len: usize) -> f32 {
    (6.0 / len as f32).sqrt().min(1.0)
}

/// The output of a window with `c` channels; a shape of nothing, which no image has, where it does not
/// fit.
pub(super) fn windowed(window: Window, input: Shape, c: u16) -> Shape {
    let [h, w] = window.output(input.h, input.w).unwrap_or_default();
    Shape { h, w, c }
}

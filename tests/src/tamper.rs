//! Networks with something wrong: extreme and inconsistent values, and what makes the rest fit them.

use bitbudget_core::level::Level;
use bitbudget_core::network::Preprocess;
use bitbudget_core::op::{Activation, Function, Op, Rearrangement};
use bitbudget_core::quant::{Rounding, Width};
use bitbudget_core::shape::{Shape, Window};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::generate::{function, window};
use crate::model::Model;

/// Puts one extreme or inconsistent value into a network.
pub fn tamper(rng: &mut SmallRng, model: &mut Model) {
    const SIZES: [u16; 10] = [0, 1, 2, 3, 7, 64, 1 << 10, 1 << 13, 1 << 15, u16::MAX];
    const SCALES: [f32; 8] = [1e-15, 1e15, 1e-7, 1.0, 0.0, f32::NAN, 1e-38, 1e38];
    const PRICES: [i32; 4] = [i32::MIN, i32::MAX, 0, 1];
    let size = SIZES[rng.random_range(0..SIZES.len())];
    let scale = SCALES[rng.random_range(0..SCALES.len())];
    let count = model.network.layers.len();
    let layer = rng.random_range(0..count);
    let activation = [Activation::None, Activation::Relu, Activation::Relu6];
    let network = &mut model.network;
    let input = network.input_shape(layer);
    let any = window(rng, input.h.clamp(1, 50), input.w.clamp(1, 50));
    let chosen = &mut network.layers[layer];
    match rng.random_range(0..18) {
        0 => chosen.output.h = size,
        1 => chosen.output.w = size,
        2 => chosen.output.c = size,
        3 => network.input.c = size,
        4 => network.input.h = size,
        5 => chosen.output_q.scale = scale,
        6 => network.input_q.scale = scale,
        7 => chosen.inputs[0] = rng.random_range(0..=count as u16),
        8 => chosen.activation = activation[rng.random_range(0..3)],
        9 => {
            chosen.op = match rng.random_range(0..10) {
                0 => Op::Reshape,
                1 => Op::Softmax {
                    log: size.is_multiple_of(2),
                },
                2 => Op::MaxPool { window: any },
                3 => Op::AvgPool {
                    window: any,
                    count_padding: true,
                },
                4 => Op::Conv2d {
                    window: any,
                    groups: size,
                },
                5 => Op::Add,
                6 => Op::Mul,
                7 => Op::Concat,
                8 => Op::Rearrange(Rearrangement {
                    start: 0,
                    step: rng.random_range(0..3),
                    repeats: rng.random_range(0..4),
                    phase: rng.random_range(0..3),
                    offset: rng.random_range(0..3),
                    counts: [1, size],
                    strides: [0, 0, rng.random_range(0..3)],
                }),
                _ => Op::Unary(function(rng)),
            };
        }
        10 => network.prices.rows[layer].clear(),
        11 => {
            for item in network.prices.rows.iter_mut().flatten() {
                item.price = PRICES[rng.random_range(0..4)];
            }
        }
        12 => network.prices.rows[layer]
            .retain(|item| item.level == Level::Int(Width::Int8, Rounding::Ceil)),
        13 => {
            network.preprocess = Preprocess {
                scale,
                mean: [scale; 3]
                    .into_iter()
                    .take(rng.random_range(0..3))
                    .collect(),
                std: [scale; 3]
                    .into_iter()
                    .take(rng.random_range(0..3))
                    .collect(),
            };
        }
        14 => model.weights[layer].weight.fill(-3e38),
        15 => model.weights[layer].bias.fill(3e38),
        16 => {
            let at = rng.random_range(0..3);
            model.weights[layer].scale[at].fill(scale);
        }
        _ => set_window(&mut chosen.op, size, rng),
    }
}

fn set_window(op: &mut Op, size: u16, rng: &mut SmallRng) {
    match op {
        Op::Conv2d { window, .. } | Op::MaxPool { window } | Op::AvgPool { window, .. } => {
            let at = rng.random_range(0..2);
            match rng.random_range(0..3) {
                0 => window.kernel[at] = size,
                1 => window.stride[at] = size,
                _ => window.padding[at + 2] = size,
            }
        }
        Op::Unary(function) => {
            *function = Function::Elu {
                alpha: [f32::NAN, f32::INFINITY, 3e38][rng.random_range(0..3)],
            };
        }
        Op::Dense | Op::Add | Op::Reshape | Op::Softmax { .. } | Op::Mul | Op::Concat => {}
        Op::Rearrange(of) => match rng.random_range(0..4) {
            0 => of.repeats = rng.random_range(0..9),
            1 => of.counts[1] = size,
            2 => of.strides[1] = size,
            _ => of.start = size,
        },
    }
}

/// Makes shapes, weights and price items consistent again, as far as the operators allow.
pub fn repair(model: &mut Model) {
    for layer in 0..model.network.layers.len() {
        let network = &mut model.network;
        let before = |t: &u16| usize::from(*t) <= layer;
        if !network.layers[layer].inputs.iter().all(before) {
            return;
        }
        let input = network.input_shape(layer);
        let other = network.layers[layer].inputs.last();
        let other = network.shape(other.map_or(0, |t| usize::from(*t)));
        let chosen = &mut network.layers[layer];
        let fitted = |window: Window, c| {
            let [h, w] = window.output(input.h, input.w)?;
            Some(Shape::new(h, w, c))
        };
        chosen.output = match chosen.op {
            Op::Conv2d { window, .. } => fitted(window, chosen.output.c),
            Op::MaxPool { window } | Op::AvgPool { window, .. } => fitted(window, input.c),
            Op::Dense => Some(Shape::vector(chosen.output.c)),
            Op::Add | Op::Softmax { .. } | Op::Unary(_) | Op::Mul => Some(input),
            Op::Concat => Some(Shape {
                c: input.c.saturating_add(other.c),
                ..input
            }),
            Op::Reshape | Op::Rearrange(_) => Some(chosen.output),
        }
        .unwrap_or(chosen.output);
        let (has_weights, channels) = (chosen.op.has_weights(), usize::from(chosen.output.c));
        let count = if has_weights {
            network.weight_count(layer)
        } else {
            0
        };
        for item in 0..network.prices.rows[layer].len() {
            let level = network.prices.rows[layer][item].level;
            let bytes = network.block_bytes(layer, level).unwrap_or(0);
            network.prices.rows[layer][item].bytes = bytes;
        }
        let channels = if has_weights { channels } else { 0 };
        if count < 1 << 14 {
            let weights = &mut model.weights[layer];
            weights.weight.resize(count, 0.5);
            weights.bias.resize(channels, -1.0);
            for at in 0..3 {
                weights.scale[at].resize(channels, 0.01);
                weights.corrected[at].resize(channels, -1.0);
            }
        }
        if !has_weights {
            network.prices.rows[layer].clear();
        }
    }
}

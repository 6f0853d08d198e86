//! Networks of equal layers, whose layouts are hard to tell apart.

use bitbudget::capacity::HostNetwork;
use bitbudget_core::level::Level;
use bitbudget_core::network::{Layer, Network, Preprocess};
use bitbudget_core::op::{Activation, Op};
use bitbudget_core::place::Cycles;
use bitbudget_core::price::{PriceItem, PriceMatrix};
use bitbudget_core::quant::{QParams, Rounding, Width};
use bitbudget_core::shape::{Shape, Window};
use heapless::Vec;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A [`chain`] of 16 channels on 8 x 8 pixels.
///
/// # Panics
/// When there are more layers than fit.
#[must_use]
pub fn convolutions(count: usize, noise: f64, seed: u64) -> HostNetwork {
    chain(count, Shape::new(8, 8, 16), noise, seed)
}

/// A chain of `count` equal convolutions that keep this shape and whose prices fall like 4^-bits. Those
/// of a level differ from layer to layer by this part of them at most.
///
/// # Panics
/// When there are more layers than fit.
#[must_use]
pub fn chain(count: usize, shape: Shape, noise: f64, seed: u64) -> HostNetwork {
    let mut rng = SmallRng::seed_from_u64(seed);
    let q = QParams {
        scale: 0.1,
        zero_point: 0,
    };
    let layer = |i: usize| Layer {
        op: Op::Conv2d {
            window: Window::square(3, 1, 1),
            groups: 1,
        },
        inputs: Vec::from_iter([i as u16]),
        activation: Activation::Relu,
        output: shape,
        output_q: q,
    };
    let mut network = Network {
        input: shape,
        input_q: q,
        preprocess: Preprocess::default(),
        layers: (0..count).map(layer).collect(),
        prices: PriceMatrix {
            unit: 1e-9,
            rows: Vec::new(),
            ties: Vec::new(),
        },
    };
    let int = |width: Width| Level::Int(width, Rounding::Nearest);
    let levels = [
        (Level::Fp32, 0.0),
        (int(Width::Int8), 4_f64.powi(-8)),
        (int(Width::Int4), 4_f64.powi(-4)),
        (int(Width::Int2), 4_f64.powi(-2)),
    ];
    // the same for all layers
    let common = levels.map(|(_, price)| price * rng.random_range(0.6..1.4));
    for at in 0..count {
        let item = |((level, _), price): ((Level, f64), f64)| PriceItem {
            level,
            bytes: network.block_bytes(at, level).expect("few"),
            price: (price * (1.0 + noise * rng.random_range(-1.0..=1.0)) * 1e9) as i32,
            cycles: Cycles::default(),
        };
        let row = levels.into_iter().zip(common).map(item).collect();
        network.prices.rows.push(row).expect("room");
    }
    network
}

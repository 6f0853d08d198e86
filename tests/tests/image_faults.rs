//! Damaged and hostile images never panic: not in parsing, and where they parse, not in planning or
//! inference.

use bitbudget_core::engine::{Engine, EngineError, Input};
use bitbudget_core::image::ImageError;
use bitbudget_core::level::{Level, Rounding, Width};
use bitbudget_core::network::Preprocess;
use bitbudget_core::op::{Activation, Op};
use bitbudget_core::plan::Budget;
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::arena::Arena;
use bitbudget_tests::builder::{Builder, Style};
use bitbudget_tests::generate::{self, window};
use bitbudget_tests::model::{Model, TestImage, seal};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// An image of some hundred bytes.
fn small() -> Vec<u8> {
    let mut builder = Builder::new(1, Style::Real, Shape::new(2, 2, 1));
    let a = builder.conv(0, Window::square(1, 1, 0), 1, 1);
    let b = builder.add(a, 0);
    builder.dense(b, 2);
    builder.finish().emit()
}

/// Does everything that one does with an image, within reason; whether it ran.
fn exercise(bytes: &[u8], arena: &mut Arena) -> Result<bool, ImageError> {
    const MOST_MACS: u64 = 1 << 16;
    const MOST_NODES: u64 = 1000;
    let image = TestImage::parse(bytes)?;
    let network = image.network();
    for layer in 0..network.layers.len() {
        let _ = (image.name(layer), image.master(layer));
    }
    let mut engine = Engine::new(&image, arena.lend()).expect("an aligned arena");
    let mut ran = false;
    for budget in [u64::MAX, 0, 1 << 14] {
        let planned = match engine.replan(Budget::Total(budget), MOST_NODES) {
            Err(EngineError::Budget(refused)) => {
                let smallest = Budget::Total(refused.smallest_bytes);
                engine.replan(smallest, MOST_NODES).map(drop)
            }
            other => other.map(drop),
        };
        match planned {
            Ok(()) => {}
            Err(EngineError::ArenaTooSmall { .. }) => continue,
            Err(error) => panic!("{error}"),
        }
        let work = |(layer, l): (usize, &bitbudget_core::network::Layer)| {
            let taps = match l.op {
                Op::MaxPool { window } | Op::AvgPool { window, .. } => window.taps() as u64,
                Op::Conv2d { .. } | Op::Dense | Op::Add | Op::Reshape | Op::Softmax => 1,
            };
            let input = network.input_shape(layer);
            l.op.macs(input, l.output)
                .saturating_add(taps.saturating_mul(l.output.len() as u64))
        };
        let work = network.layers.iter().enumerate().map(work);
        if work.fold(0, u64::saturating_add) > MOST_MACS {
            continue;
        }
        let len = network.input.len();
        for value in [0, 255] {
            engine
                .infer(Input::U8(&vec![value; len]))
                .expect("a plan and an input that fits");
        }
        for value in [f32::NAN, f32::INFINITY, -1e38, 1e-45] {
            engine
                .infer(Input::F32(&vec![value; len]))
                .expect("a plan and an input that fits");
        }
        ran = true;
    }
    Ok(ran)
}

#[test]
fn every_truncation_and_extension_is_an_error() {
    let mut bytes = small();
    for len in 0..bytes.len() {
        assert!(TestImage::parse(&bytes[..len]).is_err(), "{len}");
    }
    for more in 1..16 {
        bytes.push(0);
        assert!(TestImage::parse(&bytes).is_err(), "{more}");
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    let mut bytes = small();
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(TestImage::parse(&bytes).is_err(), "{bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(TestImage::parse(&bytes).is_ok());
}

/// Every value of every byte outside the weights, with a checksum that belongs to it.
#[test]
fn every_byte_can_be_anything() {
    let sound = small();
    let mut arena = Arena::new(1 << 16);
    let mut ran = 0;
    for at in 0..sound.len() - 4 {
        for value in 0..=255 {
            let mut bytes = sound.clone();
            bytes[at] = value;
            seal(&mut bytes);
            ran += usize::from(exercise(&bytes, &mut arena) == Ok(true));
        }
    }
    assert!(ran > 1000, "{ran}");
}

/// Several bytes of larger images changed, removed or inserted.
#[test]
fn bytes_at_random() {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut arena = Arena::new(1 << 17);
    let mut ran = 0;
    for seed in 0..100 {
        let sound = generate::model(seed, Style::Real, rng.random_range(1..10)).emit();
        let network_len = usize::from(sound[12]) + 256 * usize::from(sound[13]);
        for _ in 0..300 {
            let mut bytes = sound.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(28..28 + network_len);
                match rng.random_range(0..6) {
                    0 => bytes[at] = [0, 0x7f, 0x80, 0xff][rng.random_range(0..4)],
                    1 => bytes[at] ^= 1 << rng.random_range(0..8),
                    2 => bytes[at] = bytes[at].wrapping_add(1),
                    3 => bytes[at] = bytes[at].wrapping_sub(1),
                    4 => bytes[at] = bytes[rng.random_range(28..28 + network_len)],
                    // the lengths stay the same
                    _ => bytes[28..28 + network_len].rotate_left(1),
                }
            }
            seal(&mut bytes);
            ran += usize::from(exercise(&bytes, &mut arena) == Ok(true));
        }
    }
    assert!(ran > 1000, "{ran}");
}

/// Puts one extreme or inconsistent value into a network.
fn tamper(rng: &mut SmallRng, model: &mut Model) {
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
            chosen.op = match rng.random_range(0..6) {
                0 => Op::Reshape,
                1 => Op::Softmax,
                2 => Op::MaxPool { window: any },
                3 => Op::AvgPool {
                    window: any,
                    count_padding: true,
                },
                4 => Op::Conv2d {
                    window: any,
                    groups: size,
                },
                _ => Op::Add,
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
        Op::Dense | Op::Add | Op::Reshape | Op::Softmax => {}
    }
}

/// Makes shapes, weights and price items consistent again, as far as the operators allow.
fn repair(model: &mut Model) {
    for layer in 0..model.network.layers.len() {
        let network = &mut model.network;
        let before = |t: &u16| usize::from(*t) <= layer;
        if !network.layers[layer].inputs.iter().all(before) {
            return;
        }
        let input = network.input_shape(layer);
        let chosen = &mut network.layers[layer];
        let fitted = |window: Window, c| {
            let [h, w] = window.output(input.h, input.w)?;
            Some(Shape::new(h, w, c))
        };
        chosen.output = match chosen.op {
            Op::Conv2d { window, .. } => fitted(window, chosen.output.c),
            Op::MaxPool { window } | Op::AvgPool { window, .. } => fitted(window, input.c),
            Op::Dense => Some(Shape::vector(chosen.output.c)),
            Op::Add | Op::Softmax => Some(input),
            Op::Reshape => Some(chosen.output),
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
            let bytes = network.resident_bytes(layer, level).unwrap_or(0);
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

#[test]
fn networks_that_were_tampered_with() {
    let mut rng = SmallRng::seed_from_u64(2);
    let mut arena = Arena::new(1 << 18);
    let (mut ran, mut refused) = (0, 0);
    for seed in 0..300 {
        let sound = generate::model(seed, Style::Real, rng.random_range(1..10));
        for _ in 0..80 {
            let mut model = sound.clone();
            for _ in 0..rng.random_range(1..4) {
                tamper(&mut rng, &mut model);
            }
            if rng.random_bool(0.8) {
                repair(&mut model);
            }
            match exercise(&model.emit(), &mut arena) {
                Ok(true) => ran += 1,
                Ok(false) => {}
                Err(_) => refused += 1,
            }
        }
    }
    assert!(ran > 3000 && refused > 3000, "{ran} {refused}");
}

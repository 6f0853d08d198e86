//! The host's float model, candle's own operators and the core's FP32 engine agree.

use bitbudget::evaluate::ArenaMemory;
use bitbudget::graph::FloatModel;
use bitbudget_core::engine::{Engine, Input};
use bitbudget_core::image::Image;
use bitbudget_core::level::Level;
use bitbudget_core::op::{Activation, FP32_TOLERANCE};
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::builder::{Builder, Style};
use bitbudget_tests::generate;
use bitbudget_tests::model::{LAYERS, LEVELS, Model, plan_of};
use candle_core::{Device, Tensor};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// The core's output at FP32 for raw values.
fn core_output(model: &Model, raw: &[f32]) -> Vec<f32> {
    let bytes = model.emit();
    let image = Image::<LAYERS, LEVELS>::parse(&bytes).expect("a usable image");
    let mut memory = ArenaMemory::new(1 << 22);
    let mut engine = Engine::new(&image, memory.lend()).expect("an engine");
    let plan = plan_of(&model.all_at(Level::Fp32));
    engine.load(plan).expect("room for the plan");
    engine.infer(Input::F32(raw)).expect("an output").to_vec()
}

/// The float model's output for raw values.
fn float_output(model: &Model, raw: &[f32]) -> Vec<f32> {
    let channels = usize::from(model.network.input.c);
    let real = raw.iter().enumerate();
    let real = real.map(|(i, x)| model.network.preprocess.real(*x, i % channels));
    let float = FloatModel::new(model.graph()).expect("a model");
    let input = float.input(real.collect()).expect("an input");
    let tensors = float.forward(input).expect("a forward pass");
    let last = &tensors[tensors.len() - 1];
    last.flatten_all()
        .and_then(|t| t.to_vec1())
        .expect("an output")
}

/// Fails unless both are equal within `tolerance` of the largest magnitude.
fn assert_close(a: &[f32], b: &[f32], tolerance: f32, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let largest = a.iter().fold(1e-3_f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let off = (a - b).abs();
        assert!(
            off <= tolerance * largest,
            "{what}: element {i}: {a} {b} of {largest}"
        );
    }
}

#[test]
fn random_networks_give_the_same_in_candle_and_in_core() {
    let mut rng = SmallRng::seed_from_u64(11);
    for seed in 0..400 {
        let model = generate::model(seed, Style::Real, 1 + seed as usize % 8);
        let raw: Vec<f32> = generate::sample(&mut rng, &model)
            .iter()
            .map(|x| f32::from(*x))
            .collect();
        let (float, core) = (float_output(&model, &raw), core_output(&model, &raw));
        // errors grow with the layers that they pass
        let tolerance = FP32_TOLERANCE * 4.0 * model.network.layers.len() as f32;
        assert_close(&float, &core, tolerance, &format!("network {seed}"));
    }
}

/// `[H, W, C]` values as candle's `[1, C, H, W]`.
fn planes(values: &[f32], shape: Shape) -> Tensor {
    let [h, w, c] = [shape.h, shape.w, shape.c].map(usize::from);
    let pixels = Tensor::from_slice(values, (1, h, w, c), &Device::Cpu);
    let planes = pixels.and_then(|t| t.permute((0, 3, 1, 2)));
    planes.and_then(|t| t.contiguous()).expect("planes")
}

/// candle's `[1, C, H, W]` as `[H, W, C]` values.
fn pixels(planes: &Tensor) -> Vec<f32> {
    let pixels = planes.permute((0, 2, 3, 1)).and_then(|t| t.contiguous());
    let flat = pixels.and_then(|t| t.flatten_all());
    flat.and_then(|t| t.to_vec1()).expect("pixels")
}

/// One operator over a random input of this shape: the model, and the input's real values.
fn single(seed: u64, input: Shape, push: impl FnOnce(&mut Builder)) -> (Model, Vec<f32>, Vec<f32>) {
    let mut builder = Builder::new(seed, Style::Real, input);
    push(&mut builder);
    let mut model = builder.finish();
    for layer in &mut model.network.layers {
        layer.activation = Activation::None;
    }
    let mut rng = SmallRng::seed_from_u64(seed);
    let raw: Vec<f32> = (0..input.len())
        .map(|_| rng.random_range(0.0..255.0))
        .collect();
    let channels = usize::from(input.c);
    let real = raw.iter().enumerate();
    let real = real
        .map(|(i, x)| model.network.preprocess.real(*x, i % channels))
        .collect();
    (model, raw, real)
}

#[test]
fn convolutions_equal_candles_own() {
    for seed in 0..200_u64 {
        let mut rng = SmallRng::seed_from_u64(1000 + seed);
        let groups = [1, 1, 2, 4][rng.random_range(0..4)];
        let depth = groups * rng.random_range(1..=3);
        let input = Shape::new(rng.random_range(5..10), rng.random_range(5..10), depth);
        let kernel = rng.random_range(1..=4);
        let window = Window::square(kernel, rng.random_range(1..=2), rng.random_range(0..kernel));
        let channels = groups * rng.random_range(1..=4);
        let (model, raw, real) = single(seed, input, |builder| {
            builder.conv(0, window, groups, channels);
        });
        let weights = &model.weights[0];
        let [o, g] = [channels, groups].map(usize::from);
        let [k, i] = [usize::from(kernel), usize::from(depth) / g];
        let kernels = Tensor::from_slice(&weights.weight, (o, k, k, i), &Device::Cpu)
            .and_then(|t| t.permute((0, 3, 1, 2)))
            .and_then(|t| t.contiguous())
            .expect("kernels");
        let (padding, stride) = (
            usize::from(window.padding[0]),
            usize::from(window.stride[0]),
        );
        let bias = Tensor::from_slice(&weights.bias, (1, o, 1, 1), &Device::Cpu).expect("a bias");
        let own = planes(&real, input)
            .conv2d(&kernels, padding, stride, 1, g)
            .and_then(|t| t.broadcast_add(&bias))
            .expect("a convolution");
        let what = format!("{window:?} over {input}");
        assert_close(
            &pixels(&own),
            &float_output(&model, &raw),
            2.0 * FP32_TOLERANCE,
            &what,
        );
        assert_close(
            &pixels(&own),
            &core_output(&model, &raw),
            2.0 * FP32_TOLERANCE,
            &what,
        );
    }
}

#[test]
fn dense_pools_add_and_softmax_equal_candles_own() {
    for seed in 0..50_u64 {
        let mut rng = SmallRng::seed_from_u64(2000 + seed);
        let input = Shape::new(
            rng.random_range(4..9),
            rng.random_range(4..9),
            rng.random_range(1..6),
        );
        let kernel = rng.random_range(1..=3);
        let window = Window::square(kernel, rng.random_range(1..=3), 0);
        let sizes = (usize::from(kernel), usize::from(window.stride[0]));
        let check =
            |what: &str, push: &dyn Fn(&mut Builder), own: &dyn Fn(&Model, &[f32]) -> Vec<f32>| {
                let (model, raw, real) = single(seed, input, push);
                let own = own(&model, &real);
                assert_close(
                    &own,
                    &float_output(&model, &raw),
                    2.0 * FP32_TOLERANCE,
                    what,
                );
                assert_close(&own, &core_output(&model, &raw), 2.0 * FP32_TOLERANCE, what);
            };
        check(
            "max pool",
            &|b| {
                b.max_pool(0, window);
            },
            &|_, real| {
                let pooled = planes(real, input).max_pool2d_with_stride(sizes.0, sizes.1);
                pixels(&pooled.expect("a pool"))
            },
        );
        check(
            "average pool",
            &|b| {
                b.avg_pool(0, window, false);
            },
            &|_, real| {
                let pooled = planes(real, input).avg_pool2d_with_stride(sizes.0, sizes.1);
                pixels(&pooled.expect("a pool"))
            },
        );
        check(
            "dense",
            &|b| {
                b.dense(0, 7);
            },
            &|model, real| {
                let own = &model.weights[0];
                let weight = Tensor::from_slice(&own.weight, (7, real.len()), &Device::Cpu);
                let x = Tensor::from_slice(real, (real.len(), 1), &Device::Cpu).expect("a column");
                let y = weight
                    .and_then(|w| w.matmul(&x))
                    .and_then(|y| y.flatten_all());
                let y: Vec<f32> = y.and_then(|y| y.to_vec1()).expect("a product");
                y.iter().zip(&own.bias).map(|(y, b)| y + b).collect()
            },
        );
        check(
            "add",
            &|b| {
                b.add(0, 0);
            },
            &|_, real| {
                let x = planes(real, input);
                pixels(&(&x + &x).expect("a sum"))
            },
        );
        for log in [false, true] {
            let softmax = |pixel: &[f32]| -> Vec<f32> {
                let exp: Vec<f64> = pixel.iter().map(|x| f64::from(*x).exp()).collect();
                let sum: f64 = exp.iter().sum();
                let each = exp.iter().map(|exp| match log {
                    true => (exp / sum).ln(),
                    false => exp / sum,
                });
                each.map(|x| x as f32).collect()
            };
            check(
                if log { "log-softmax" } else { "softmax" },
                &|b| {
                    b.softmax(0, log);
                },
                &|_, real| {
                    let pixels = real.chunks(usize::from(input.c));
                    pixels.flat_map(softmax).collect()
                },
            );
        }
    }
}

#[test]
fn every_operator_is_compared() {
    let networks = (0..400).map(|seed| generate::model(seed, Style::Real, 1 + seed as usize % 8));
    let mut names: Vec<&str> = networks
        .flat_map(|model| model.network.layers.to_vec())
        .map(|layer| layer.op.name())
        .collect();
    names.sort_unstable();
    names.dedup();
    // eleven, and every function under its own name
    assert_eq!(names.len(), 23, "{names:?}");
}

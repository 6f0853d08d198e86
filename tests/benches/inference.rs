//! Images per second of the engine, all-INT8 and in FP32, beside candle's FP32 forward pass of the same
//! network (a plain ResNet8 of 12.2 million multiplications, random weights) on the same threads.
//!
//! `cargo bench -p bitbudget-tests --bench inference`; `-- int8` runs one of them.

use std::thread;
use std::time::Instant;

use bitbudget::graph::FloatModel;
use bitbudget_core::engine::{Engine, Input};
use bitbudget_core::level::{Level, Rounding, Width};
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::arena::Arena;
use bitbudget_tests::builder::{Builder, Style};
use bitbudget_tests::generate::global;
use bitbudget_tests::model::{Model, TestImage, plan_of};

const ROUNDS: usize = 10;
const IMAGES: usize = 2_000;
/// Images that candle takes at a time.
const BATCH: usize = 50;

fn resnet8() -> Model {
    let mut builder = Builder::new(1, Style::Real, Shape::new(32, 32, 3));
    builder.levels = Level::ALL.to_vec();
    let mut tensor = 0;
    for (channels, stride) in [
        (16, 1),
        (16, 1),
        (16, 1),
        (32, 2),
        (32, 1),
        (64, 2),
        (64, 1),
    ] {
        tensor = builder.conv(tensor, Window::square(3, stride, 1), 1, channels);
    }
    let pooled = builder.avg_pool(tensor, global(builder.shape(tensor)), false);
    builder.dense(pooled, 10);
    builder.finish()
}

/// Runs `each` on every thread and gives the seconds that it took.
fn seconds(threads: usize, each: impl Fn() + Sync) -> f64 {
    let start = Instant::now();
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(&each))));
    start.elapsed().as_secs_f64()
}

fn main() {
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| name.contains(only));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let model = resnet8();
    let bytes = model.emit();
    let sample: Vec<u8> = (0..model.network.input.len())
        .map(|i| (i * 37) as u8)
        .collect();
    let images = IMAGES / threads;
    let engine = |level: Level| {
        let (model, bytes, sample) = (&model, &bytes, &sample);
        move || {
            let image = TestImage::parse(bytes).expect("a sound image");
            let levels = model.all_at(level);
            let mut arena = Arena::new(model.total_bytes(&levels) as usize);
            let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
            engine.load(plan_of(&levels)).expect("room enough");
            for _ in 0..images {
                engine.infer(Input::U8(sample)).expect("an output");
            }
        }
    };
    let float = FloatModel::new(model.graph()).expect("a model");
    let candle = || {
        for _ in 0..images / BATCH {
            let input = vec![0.5; BATCH * sample.len()];
            let input = float.input(input).expect("inputs");
            float.forward(input).expect("outputs");
        }
    };
    let int8 = engine(Level::Int(Width::Int8, Rounding::Nearest));
    let fp32 = engine(Level::Fp32);
    let runs: [(&str, &(dyn Fn() + Sync)); 3] = [
        ("engine int8", &int8),
        ("engine fp32", &fp32),
        ("candle fp32", &candle),
    ];
    let mut best = [f64::INFINITY; 3];
    // in turn, so that all see the same disturbances
    for _ in 0..ROUNDS {
        for ((name, run), best) in runs.iter().zip(&mut best) {
            if wanted(name) {
                *best = best.min(seconds(threads, run));
            }
        }
    }
    println!("{threads} threads, the best of {ROUNDS} rounds:");
    for ((name, _), best) in runs.iter().zip(best) {
        if wanted(name) {
            println!("{name}: {:.0} images/s", (images * threads) as f64 / best);
        }
    }
}

//! Images per second of an evaluation, all-INT8 and in FP32, beside the FP32 forward passes of candle and,
//! where `python3` has it, of PyTorch: the same network (a plain ResNet8 of 12.2 million multiplications,
//! random weights) on the same threads.
//!
//! `cargo bench -p bitbudget-tests --bench inference`; `-- int8` runs one of them.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bitbudget::capacity::{HostImage, HostPlan};
use bitbudget::dataset::{Dataset, Pixels};
use bitbudget::evaluate::{Against, evaluate};
use bitbudget::graph::FloatModel;
use bitbudget::loss::Loss;
use bitbudget_core::level::Level;
use bitbudget_core::quant::{Rounding, Width};
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::builder::{Builder, Style};
use bitbudget_tests::generate::global;
use bitbudget_tests::model::{Model, plan_of};

const ROUNDS: usize = 5;
const IMAGES: usize = 10_000;
const PAUSE: Duration = Duration::from_millis(300);
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

/// Images, and labels that nobody has to be right about.
fn images(input: Shape) -> Dataset {
    Dataset {
        height: input.h.into(),
        width: input.w.into(),
        channels: input.c.into(),
        len: IMAGES,
        pixels: Pixels::U8((0..IMAGES * input.len()).map(|i| (i * 37) as u8).collect()),
        labels: Some(vec![0; IMAGES]),
        class_names: Vec::new(),
    }
}

/// An evaluation of all layers at one level.
fn engine<'a>(model: &Model, image: &'a HostImage<'_>, data: &'a Dataset, level: Level) -> Run<'a> {
    let levels = model.all_at(level);
    let plan = HostPlan {
        weight_bytes: model.weight_bytes(&levels) as u32,
        arena_bytes: model.arena_bytes(&levels) as u32,
        ..plan_of(&levels)
    };
    let against = Against {
        loss: Loss::Labels,
        fp32: None,
        data_path: Path::new(""),
    };
    Box::new(move || {
        let start = Instant::now();
        evaluate(image, &plan, data, against, &|_| ()).expect("an evaluation");
        start.elapsed().as_secs_f64()
    })
}

/// candle's forward passes, some threads side by side.
fn candle(model: FloatModel, input: Shape, threads: usize) -> Run<'static> {
    let batch = vec![0.5; BATCH * input.len()];
    let forward = move || {
        for _ in 0..IMAGES / threads / BATCH {
            let input = model.input(batch.clone()).expect("inputs");
            model.forward(input).expect("outputs");
        }
    };
    Box::new(move || {
        let start = Instant::now();
        thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(&forward))));
        start.elapsed().as_secs_f64()
    })
}

/// PyTorch's forward passes in a process of their own, and what it says of them. `None` without PyTorch.
fn pytorch(threads: usize) -> Option<(String, Run<'static>)> {
    let mut child = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/inference.py"))
        .args([threads, IMAGES].map(|n| n.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut ask = child.stdin.take()?;
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    let name = lines.next()?.ok()?;
    let run = move || {
        writeln!(ask, "run").expect("PyTorch to run");
        let line = lines.next().expect("an answer").expect("an answer");
        line.parse().expect("seconds")
    };
    Some((name, Box::new(run)))
}

/// Runs all images and gives the seconds that it took.
type Run<'a> = Box<dyn FnMut() -> f64 + 'a>;

fn main() {
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| name.contains(only));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let model = resnet8();
    let bytes = model.emit();
    let image = HostImage::parse(&bytes).expect("a sound image");
    let input = model.network.input;
    let data = images(input);
    let float = FloatModel::new(model.graph()).expect("a model");
    let int8 = Level::Int(Width::Int8, Rounding::Nearest);
    let mut runs = vec![
        ("eval int8".to_owned(), engine(&model, &image, &data, int8)),
        (
            "eval fp32".to_owned(),
            engine(&model, &image, &data, Level::Fp32),
        ),
        ("candle fp32".to_owned(), candle(float, input, threads)),
    ];
    if wanted("PyTorch") {
        match pytorch(threads) {
            Some(run) => runs.push(run),
            None => println!("PyTorch is not measured: python3 does not have it"),
        }
    }
    runs.retain(|(name, _)| wanted(name));
    let mut best = vec![f64::INFINITY; runs.len()];
    // in turn, so that all see the same disturbances
    for _ in 0..ROUNDS {
        for ((_, run), best) in runs.iter_mut().zip(&mut best) {
            // until the threads of the one before no longer spin
            thread::sleep(PAUSE);
            *best = best.min(run());
        }
    }
    println!("{threads} threads, the best of {ROUNDS} rounds:");
    for ((name, _), best) in runs.iter().zip(best) {
        println!("{name}: {:.0} images/s", IMAGES as f64 / best);
    }
}

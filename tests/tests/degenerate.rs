//! Profiles of models and data that say little: prices stay finite, or the reason is told.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use bitbudget::capacity::{HostImage, HostPlanner};
use bitbudget::dataset::{Dataset, Pixels};
use bitbudget::evaluate::{Against, EvaluateError, evaluate};
use bitbudget::file::FileError;
use bitbudget::graph::{Graph, GraphLayer, Weights};
use bitbudget::loss::{Loss, LossError};
use bitbudget::metric::Metric;
use bitbudget::pack::pack;
use bitbudget::profile::{Control, Options, Profile, ProfileError, profile};
use bitbudget_core::level::Level;
use bitbudget_core::op::{Activation, Op};
use bitbudget_core::place::Place;
use bitbudget_core::plan::{Limits, Plan};
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::digits;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

fn draw(rng: &mut SmallRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A layer of random weights that reads tensor `input`.
fn layer(rng: &mut SmallRng, op: Op, input: usize, len: usize, output: Shape) -> GraphLayer {
    GraphLayer {
        name: format!("layer{input}"),
        op,
        inputs: vec![input],
        activation: Activation::None,
        output,
        weights: op.has_weights().then(|| Weights {
            weight: draw(rng, len),
            bias: draw(rng, usize::from(output.c)),
        }),
    }
}

/// Two convolutions over `size` x `size` pixels, three channels and then `classes`.
fn pixelwise(rng: &mut SmallRng, size: u16, classes: u16) -> Graph {
    let conv = |window| Op::Conv2d { window, groups: 1 };
    let wide = conv(Window::square(3, 1, 1));
    let narrow = conv(Window::square(1, 1, 0));
    Graph {
        input: Shape::new(size, size, 1),
        layers: vec![
            layer(rng, wide, 0, 27, Shape::new(size, size, 3)),
            layer(
                rng,
                narrow,
                1,
                3 * usize::from(classes),
                Shape::new(size, size, classes),
            ),
        ],
        outputs: Vec::new(),
    }
}

/// A mean over all pixels, and a dense layer of `outputs` behind it.
fn with_head(rng: &mut SmallRng, mut graph: Graph, outputs: u16) -> Graph {
    let last = graph.layers.len();
    let shape = graph.shape(last);
    let window = Window {
        kernel: [shape.h, shape.w],
        stride: [1, 1],
        padding: [0; 4],
    };
    let mean = Op::AvgPool {
        window,
        count_padding: false,
    };
    graph
        .layers
        .push(layer(rng, mean, last, 0, Shape::vector(shape.c)));
    let len = usize::from(shape.c) * usize::from(outputs);
    graph
        .layers
        .push(layer(rng, Op::Dense, last + 1, len, Shape::vector(outputs)));
    graph
}

fn images(rng: &mut SmallRng, shape: Shape, len: usize) -> Dataset {
    Dataset {
        height: shape.h.into(),
        width: shape.w.into(),
        channels: shape.c.into(),
        len,
        pixels: Pixels::F32(draw(rng, len * shape.len())),
        labels: None,
        class_names: Vec::new(),
    }
}

fn run(graph: &Graph, data: &Dataset, options: &Options) -> Result<Profile, ProfileError> {
    let control = Control {
        progress: &|_, _, _| (),
        stop: &AtomicBool::new(false),
        output: None,
    };
    profile(graph.clone(), data, options, &control)
}

fn assert_finite(profile: &Profile) {
    assert_finite_estimates(profile);
    let network = &profile.network;
    // the least price is not that of the smallest levels: these cost something
    let mut planner = Box::new(HostPlanner::new(network));
    let plan = planner.plan(network, Limits::ram(u64::MAX), u64::MAX);
    let plan = plan.expect("a plan");
    let is_int2 = |level: &Option<Level>| level.is_some_and(|l| l.name().starts_with("int2"));
    let weighted = plan.levels.iter().flatten().count();
    assert!(plan.levels.iter().filter(|l| is_int2(l)).count() < weighted);
}

/// As [`assert_finite`], of a network whose smallest levels may cost less than a step of the prices.
fn assert_finite_estimates(profile: &Profile) {
    for estimate in profile.estimates.iter().flatten() {
        assert!(estimate.price.is_finite() && estimate.standard_error.is_finite());
    }
    // the smallest levels are not free
    let rows = profile.network.prices.rows.iter();
    let items = rows
        .zip(&profile.estimates)
        .flat_map(|(row, of_row)| row.iter().zip(of_row));
    let mut of_int2 = items.filter(|(item, _)| item.level.name().starts_with("int2"));
    assert!(of_int2.any(|(_, estimate)| estimate.price > 0.0));
}

#[test]
fn one_sample_and_equal_samples_have_finite_prices() {
    let (graph, data, options) = digits::model();
    let options = Options {
        refine: 2,
        ..options
    };
    let one = data.first(1);
    let profile = run(&graph, &one, &options).expect("a profile");
    assert_finite(&profile);
    // a variance needs two samples: nothing is fitted
    assert_eq!(profile.origin.refine, 0);
    let alone = Options {
        refine: 0,
        ..options.clone()
    };
    let unrefined = run(&graph, &one, &alone).expect("a profile");
    assert_eq!(profile.estimates, unrefined.estimates);

    let Pixels::U8(pixels) = &one.pixels else {
        panic!("the digits are bytes");
    };
    let equal = Dataset {
        len: 20,
        pixels: Pixels::U8(pixels.repeat(20)),
        labels: one.labels.as_ref().map(|labels| labels.repeat(20)),
        ..one.clone()
    };
    assert_finite(&run(&graph, &equal, &options).expect("a profile"));
    assert_finite(&run(&graph, &data.first(9), &options).expect("a profile"));
}

#[test]
fn samples_of_large_activations_have_a_variance() {
    let mut rng = SmallRng::seed_from_u64(4);
    // 1 + 3 + 2 MiB times 4 for each sample: a batch has one
    let graph = pixelwise(&mut rng, 1024, 2);
    let graph = with_head(&mut rng, graph, 5);
    let data = images(&mut rng, graph.input, 3);
    let options = Options {
        levels: ["fp32", "int8", "int2"]
            .map(|name| name.parse().expect("a level"))
            .to_vec(),
        refine: 1,
        ..Options::default()
    };
    let profile = run(&graph, &data, &options).expect("a profile");
    assert_eq!(profile.origin.refine, 1);
    assert_finite_estimates(&profile);
}

#[test]
fn models_with_one_output_have_the_squared_difference() {
    let mut rng = SmallRng::seed_from_u64(5);
    let graph = pixelwise(&mut rng, 6, 2);
    let graph = with_head(&mut rng, graph, 1);
    let data = images(&mut rng, graph.input, 24);
    let options = Options {
        refine: 2,
        ..Options::default()
    };
    let found = run(&graph, &data, &options).expect("a profile");
    assert_eq!(found.origin.loss, Loss::Mse);
    assert_finite(&found);
    assert!(found.unseen.is_empty());
}

#[test]
fn models_with_one_output_tell_yes_from_no() {
    let mut rng = SmallRng::seed_from_u64(5);
    let graph = pixelwise(&mut rng, 6, 2);
    let graph = with_head(&mut rng, graph, 1);
    let mut data = images(&mut rng, graph.input, 24);
    data.labels = Some((0..24).map(|i| i % 2).collect());
    for metric in Metric::ALL {
        let options = Options {
            metric,
            refine: 2,
            ..Options::default()
        };
        let found = run(&graph, &data, &options).expect("a profile");
        assert_eq!(found.origin.loss, Loss::Calibrated);
        assert_finite(&found);
        assert!(found.fp32_raw_loss > 0.0);
    }
    data.labels = Some(vec![2; 24]);
    let found = run(&graph, &data, &Options::default()).expect("a profile");
    assert_eq!(found.origin.loss, Loss::Mse);
    let asked = Options {
        loss: Some(Loss::Labels),
        ..Options::default()
    };
    let refused = run(&graph, &data, &asked).expect_err("a label of no class");
    assert!(matches!(refused, ProfileError::Data(_)), "{refused}");
}

#[test]
fn a_dead_network_is_told_as_such() {
    let mut rng = SmallRng::seed_from_u64(6);
    let graph = pixelwise(&mut rng, 6, 2);
    let mut graph = with_head(&mut rng, graph, 3);
    let data = images(&mut rng, graph.input, 24);
    graph.layers[0].activation = Activation::Relu;
    // deep below 0 whatever the input
    let weights = graph.layers[0].weights.as_mut().expect("weights");
    weights.bias = vec![-1e3; 3];
    for metric in Metric::ALL {
        for loss in [Loss::Kl, Loss::Mse] {
            let options = Options {
                metric,
                loss: Some(loss),
                refine: 2,
                levels: ["fp32", "int8", "int2"]
                    .map(|name| name.parse().expect("a level"))
                    .to_vec(),
                ..Options::default()
            };
            match run(&graph, &data, &options) {
                Err(ProfileError::Constant { images: 24 }) => {}
                Err(ProfileError::FlatLoss { .. }) if metric == Metric::Tangent => {}
                other => panic!("{metric} {loss}: {other:?}"),
            }
        }
    }
    // equal images have equal outputs
    let equal = Dataset {
        pixels: Pixels::F32(vec![0.5; 36 * 24]),
        ..data
    };
    let weights = graph.layers[0].weights.as_mut().expect("weights");
    weights.bias = vec![1.0; 3];
    let options = Options {
        refine: 1,
        ..Options::default()
    };
    assert_finite(&run(&graph, &equal, &options).expect("a profile"));
}

#[test]
fn profiles_with_prices_that_are_not_finite_are_refused() {
    let (graph, data, options) = digits::model();
    let options = Options {
        refine: 0,
        ..options
    };
    let whole = run(&graph, &data.first(16), &options).expect("a profile");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.profile");
    let decoded = |profile: &Profile| {
        profile.save(&path).expect("a file");
        Profile::decode(&path, &std::fs::read(&path).expect("a file"))
    };
    assert!(decoded(&whole).is_ok());
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut bad = whole.clone();
        let layer = bad.names.len() - 1;
        bad.estimates[layer][2].price = value;
        let Err(FileError::Damaged { reason, .. }) = decoded(&bad) else {
            panic!("taken: {value}");
        };
        let level = bad.network.prices.rows[layer][2].level.to_string();
        assert!(
            reason.contains(&bad.names[layer]) && reason.contains(&level),
            "{reason}"
        );
        let mut bad = whole.clone();
        bad.fp32_loss = value;
        assert!(decoded(&bad).is_err());
        let mut bad = whole.clone();
        bad.network.prices.unit = value;
        assert!(decoded(&bad).is_err());
    }
}

/// The mean over all pixels of the divergence of the softmax over each pixel's classes, and the part of the
/// pixels whose largest output is the same.
fn by_pixel(outputs: &[f32], want: &[f32], classes: usize) -> (f64, f64) {
    let softmax = |x: &[f32]| -> Vec<f64> {
        let exp: Vec<f64> = x.iter().map(|x| f64::from(*x).exp()).collect();
        let sum: f64 = exp.iter().sum();
        exp.into_iter().map(|e| e / sum).collect()
    };
    let largest = |x: &[f32]| (0..x.len()).rev().max_by(|a, b| x[*a].total_cmp(&x[*b]));
    let pixels = outputs.len() / classes;
    let (mut divergence, mut alike) = (0.0, 0);
    for pixel in 0..pixels {
        let [q, p] = [outputs, want].map(|x| &x[pixel * classes..][..classes]);
        alike += usize::from(largest(q) == largest(p));
        let pairs = softmax(p).into_iter().zip(softmax(q));
        divergence += pairs.map(|(p, q)| p * (p / q).ln()).sum::<f64>();
    }
    (divergence / pixels as f64, alike as f64 / pixels as f64)
}

#[test]
fn outputs_with_pixels_are_compared_pixel_by_pixel() {
    let mut rng = SmallRng::seed_from_u64(8);
    let graph = pixelwise(&mut rng, 8, 4);
    let data = images(&mut rng, graph.input, 12);
    let options = Options {
        refine: 0,
        ..Options::default()
    };
    let profile = run(&graph, &data, &options).expect("a profile");
    assert_eq!(profile.origin.loss, Loss::Kl);
    let bytes = pack(&graph, &profile, &[]).expect("an image");
    let image = HostImage::parse(&bytes).expect("an image");
    let evaluated = |name: &str, fp32| {
        let level: Level = name.parse().expect("a level");
        let plan = Plan::of_levels(
            image.network(),
            [Some(level); 2].into_iter().collect(),
            Place::Ram,
        );
        let against = Against {
            loss: Loss::Kl,
            fp32,
            data_path: Path::new("the images"),
        };
        evaluate(&image, &plan, &data, against, &|_| ()).expect("an evaluation")
    };
    let fp32 = evaluated("fp32", None);
    assert!(fp32.loss.abs() < 1e-9 && fp32.accuracy == 1.0);
    for name in ["int8", "int2"] {
        let found = evaluated(name, Some(&fp32));
        let (divergence, alike) = by_pixel(&found.outputs, &fp32.outputs, 4);
        assert!((found.loss - divergence).abs() < 1e-6, "{name}");
        assert!((found.accuracy - alike).abs() < 1e-9, "{name}");
        assert!(alike > 0.3 && divergence > 0.0);
    }

    let labelled = Dataset {
        labels: Some(vec![1; 12]),
        ..data.clone()
    };
    for loss in [None, Some(Loss::Labels)] {
        let asked = Options {
            loss,
            ..options.clone()
        };
        let refused = run(&graph, &labelled, &asked);
        assert!(matches!(
            refused,
            Err(ProfileError::Objective(LossError::LabelOfPixels { .. }))
        ));
    }
    let plan = Plan::of_levels(
        image.network(),
        [Some(Level::Fp32); 2].into_iter().collect(),
        Place::Ram,
    );
    let against = Against {
        loss: Loss::Labels,
        fp32: None,
        data_path: Path::new("the images"),
    };
    let refused = evaluate(&image, &plan, &labelled, against, &|_| ());
    assert!(matches!(
        refused,
        Err(EvaluateError::Loss(LossError::LabelOfPixels { .. }))
    ));
}

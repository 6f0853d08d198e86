//! The estimators of prices: against differences, against closed forms, against whole layouts.

use bitbudget::batches::{Batches, rows};
use bitbudget::capacity::{HostImage, HostPlanner};
use bitbudget::dataset::{Dataset, Pixels};
use bitbudget::evaluate::{Against, evaluate};
use bitbudget::graph::{FloatModel, Graph, GraphLayer, Weights};
use bitbudget::grid::{self, Rule, WeightRounding};
use bitbudget::layout;
use bitbudget::loss::Loss;
use bitbudget::metric::{Metric, Probe, Replay};
use bitbudget::pack::pack;
use bitbudget::profile::{Options, Profile};
use bitbudget::simulate::{self, Mean};
use bitbudget_core::level::Level;
use bitbudget_core::network::Preprocess;
use bitbudget_core::op::{Activation, Op};
use bitbudget_core::place::Place;
use bitbudget_core::plan::{Limits, Plan};
use bitbudget_core::shape::Shape;
use bitbudget_tests::builder::Style;
use bitbudget_tests::digits;
use bitbudget_tests::generate;
use candle_core::{Tensor, Var};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::path::Path;

/// A network of one dense layer, its samples and their labels.
fn dense(seed: u64, inputs: u16, classes: u16, samples: usize) -> (Graph, Dataset) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let len = usize::from(inputs) * usize::from(classes);
    let weights = Weights {
        weight: draw(len),
        bias: draw(usize::from(classes)),
    };
    let pixels = draw(usize::from(inputs) * samples);
    let layer = GraphLayer {
        name: "fc".into(),
        op: Op::Dense,
        inputs: vec![0],
        activation: Activation::None,
        output: Shape::vector(classes),
        weights: Some(weights),
    };
    let graph = Graph {
        input: Shape::vector(inputs),
        layers: vec![layer],
        outputs: Vec::new(),
    };
    let data = Dataset {
        height: 1,
        width: 1,
        channels: usize::from(inputs),
        len: samples,
        pixels: Pixels::F32(pixels),
        labels: Some(
            (0..samples)
                .map(|i| i as u32 % u32::from(classes))
                .collect(),
        ),
        class_names: Vec::new(),
    };
    (graph, data)
}

fn options(metric: Metric) -> Options {
    Options {
        metric,
        levels: Level::ALL.to_vec(),
        refine: 0,
        ..digits::model().2
    }
}

/// Prices by layer and level.
fn prices(profile: &Profile) -> impl Iterator<Item = (usize, Level, f64)> + '_ {
    let rows = profile.network.prices.rows.iter().enumerate();
    rows.flat_map(|(layer, row)| {
        let pairs = row.iter().zip(&profile.estimates[layer]);
        pairs.map(move |(item, estimate)| (layer, item.level, estimate.price))
    })
}

#[test]
fn backward_passes_are_differences_of_forward_passes() {
    let mut rng = SmallRng::seed_from_u64(21);
    for seed in 0..150 {
        let model = generate::model(seed, Style::Real, 1 + seed as usize % 6);
        let float = FloatModel::new(model.graph()).expect("a model");
        let len = model.network.input.len();
        let x: Vec<f32> = (0..len).map(|_| rng.random_range(-2.0..2.0)).collect();
        let direction: Vec<f32> = (0..len).map(|_| rng.random_range(-1.0..1.0)).collect();
        let outputs = |x: Vec<f32>| {
            let tensors = float.forward(float.input(x).expect("an input"));
            tensors.expect("tensors").pop().expect("an output")
        };
        let seeds: Vec<f32> = (0..model.network.output_shape().len())
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let weighted = |output: &Tensor| -> f64 {
            let output: Vec<f32> = output
                .flatten_all()
                .and_then(|t| t.to_vec1())
                .expect("values");
            output
                .iter()
                .zip(&seeds)
                .map(|(y, s)| f64::from(*y) * f64::from(*s))
                .sum()
        };
        let var = Var::from_tensor(&float.input(x.clone()).expect("an input")).expect("a variable");
        let output = float
            .forward(var.as_tensor().clone())
            .expect("tensors")
            .pop();
        let output = output.expect("an output");
        let by = Tensor::from_slice(&seeds, output.shape(), output.device()).expect("seeds");
        let sum = (&output * by).and_then(|t| t.sum_all()).expect("a sum");
        let gradient = sum.backward().expect("a backward pass");
        let gradient: Vec<f32> = match gradient.get(&var) {
            Some(gradient) => gradient
                .flatten_all()
                .and_then(|t| t.to_vec1())
                .expect("values"),
            None => vec![0.0; len],
        };
        let slope: f64 = gradient
            .iter()
            .zip(&direction)
            .map(|(g, d)| f64::from(g * d))
            .sum();
        // kinks may lie on one side: one of both differences is then off, not both
        let differences = [1e-3_f32, -1e-3].map(|step| {
            let moved = x
                .iter()
                .zip(&direction)
                .map(|(x, d)| x + step * d)
                .collect();
            (weighted(&outputs(moved)) - weighted(&output)) / f64::from(step)
        });
        let [a, b] = differences;
        let scale = a
            .abs()
            .max(b.abs())
            .max(slope.abs())
            .max(weighted(&output).abs())
            .max(1e-3);
        let off = (slope - a)
            .abs()
            .min((slope - b).abs())
            .min((slope - (a + b) / 2.0).abs());
        assert!(
            off < 0.03 * scale,
            "network {seed}: {slope} {differences:?}"
        );
    }
}

#[test]
fn a_profile_runs_the_suffixes_that_its_metric_needs() {
    let (graph, data, _) = digits::model();
    let float = FloatModel::new(graph.clone()).expect("a model");
    // the digits' network is a chain: a perturbation of a layer changes that layer and all behind it
    let suffix = |layer: usize| -> f64 {
        let macs: u64 = (layer..graph.layers.len())
            .map(|i| float.layer_macs(i))
            .sum();
        macs as f64 / float.macs() as f64
    };
    let weighted = || (0..graph.layers.len()).filter(|i| graph.layers[*i].weights.is_some());
    for (metric, probes) in [
        (Metric::Measured, 10.0),
        (Metric::Tangent, 0.0),
        (Metric::Hawq2, 0.0),
    ] {
        let profile = digits::profiled(graph.clone(), &data, &options(metric));
        let mut want = 1.0 + probes * weighted().map(suffix).sum::<f64>();
        match metric {
            Metric::Tangent => {
                // one pass for the gradients, and the layer alone for each way to store its weights
                let alone: f64 = weighted().map(|i| float.layer_macs(i) as f64).sum();
                want += 1.0 + 10.0 * alone / float.macs() as f64;
            }
            // one pass a probing vector for the pattern, two for the gradients
            Metric::Hawq2 => want += 1.5 * profile.effort.backward_passes,
            Metric::Measured | Metric::Secant => {}
        }
        let off = (profile.effort.forward_passes - want).abs();
        assert!(
            off < 1e-6 * want,
            "{metric}: {} {want}",
            profile.effort.forward_passes
        );
        let backward = profile.effort.backward_passes;
        match metric {
            Metric::Measured | Metric::Secant => assert_eq!(backward, 0.0),
            Metric::Tangent => assert_eq!(backward, 1.0),
            Metric::Hawq2 => assert!((4.0..=200.0).contains(&backward)),
        }
    }
}

#[test]
fn tangents_are_the_losses_slopes() {
    // a small step of the weights of one dense layer: the loss is nearly linear
    let (graph, data) = dense(3, 6, 3, 40);
    let options = Options {
        preprocess: Preprocess::default(),
        loss: Some(Loss::Labels),
        rule: Rule {
            bias_correction: false,
            ..Rule::default()
        },
        ..options(Metric::Tangent)
    };
    let tangent = digits::profiled(graph.clone(), &data, &options);
    let measured = Options {
        metric: Metric::Measured,
        ..options
    };
    let measured = digits::profiled(graph, &data, &measured);
    for (a, b) in prices(&tangent).zip(prices(&measured)) {
        let (level, tangent, measured) = (a.1, a.2, b.2);
        let fine = matches!(level.name(), "fp16" | "int8" | "int8-floor" | "int8-ceil");
        if fine {
            assert!(
                (tangent - measured).abs() < 2e-5,
                "{level}: {tangent} {measured}"
            );
        }
    }
    let floor = prices(&tangent).find(|price| price.1.name() == "int8-floor");
    assert!(floor.expect("a price").2.abs() > 1e-5);
}

#[test]
fn traces_are_those_of_the_closed_form() {
    // logits z = W x: the Hessian's trace is the mean of Σ_c p_c (1 − p_c) · |x|²
    let (graph, data) = dense(5, 8, 4, 64);
    let options = Options {
        preprocess: Preprocess::default(),
        loss: Some(Loss::Labels),
        ..options(Metric::Hawq2)
    };
    let profile = digits::profiled(graph.clone(), &data, &options);
    let float = FloatModel::new(graph.clone()).expect("a model");
    let batches = Batches::new(&float, &data, &profile.network.preprocess, Loss::Labels);
    let mut trace = 0.0;
    for batch in 0..batches.count() {
        let tensors = batches.forward(batch).expect("tensors");
        let inputs = rows(&tensors[0]).expect("inputs");
        for (x, z) in inputs.iter().zip(rows(&tensors[1]).expect("logits")) {
            let exp: Vec<f64> = z.iter().map(|z| f64::from(*z).exp()).collect();
            let total: f64 = exp.iter().sum();
            let spread: f64 = exp.iter().map(|e| e / total * (1.0 - e / total)).sum();
            trace += spread * x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        }
    }
    let mean_trace = trace / data.len as f64 / 32.0;
    let weights = graph.layers[0].weights.as_ref().expect("weights");
    for (at, (_, level, price)) in prices(&profile).enumerate() {
        if level == Level::Fp32 {
            continue;
        }
        let scale = profile.network.qparams(0).scale;
        let real = grid::dequantized(weights, &profile.grids[0], level.weight_format(), scale);
        let pairs = real.weight.iter().zip(&weights.weight);
        let squared: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let se = profile.estimates[0][at].standard_error;
        let want = mean_trace * squared;
        assert!(
            (price - want).abs() < 4.0 * se + 1e-3 * want,
            "{level}: {price} {want} {se}"
        );
        assert!(se < 0.3 * want);
    }
}

/// A last layer whose outputs all move alike under any common shift: a softmax does not see it.
#[test]
fn a_secant_does_not_see_a_shift_of_all_logits() {
    let (mut graph, data) = dense(7, 6, 3, 50);
    let mut last = graph.layers[0].clone();
    last.name = "last".into();
    last.inputs = vec![1];
    // every row has the same sum, and one scale serves all: neither shift tells classes apart
    let rows = [[1.0, -0.5, 0.25], [-0.5, 0.25, 1.0], [0.25, 1.0, -0.5]];
    last.weights = Some(Weights {
        weight: rows.concat(),
        bias: vec![0.1, -0.2, 0.0],
    });
    graph.layers.push(last);
    let base = Options {
        preprocess: Preprocess::default(),
        loss: Some(Loss::Labels),
        rule: Rule {
            per_tensor: true,
            bias_correction: false,
            ..Rule::default()
        },
        ..options(Metric::Secant)
    };
    let secant = digits::profiled(graph.clone(), &data, &base);
    assert_eq!(secant.unseen, [1]);
    for (layer, level, price) in prices(&secant) {
        assert!(layer == 0 || price.abs() < 1e-6, "{level}: {price}");
    }
    let measured = Options {
        metric: Metric::Measured,
        ..base
    };
    let measured = digits::profiled(graph, &data, &measured);
    assert!(measured.unseen.is_empty());
    let int2 = prices(&measured).find(|(layer, level, _)| *layer == 1 && level.name() == "int2");
    assert!(int2.expect("a price").2.abs() > 1e-3);
}

#[test]
fn layouts_are_measured_alike_alone_together_and_by_the_engine() {
    let (graph, data, _) = digits::model();
    let data = data.first(60);
    let profile = digits::profiled(graph.clone(), &data, &options(Metric::Hawq2));
    let float = FloatModel::new(graph.clone()).expect("a model");
    let replay = Replay::new(&float, &profile.network, &profile.grids).expect("a replay");
    let batches = Batches::new(&float, &data, &profile.network.preprocess, Loss::Labels);
    let layouts = layout::random_layouts(&profile.network, 40, 3);
    let together: Vec<Mean> =
        simulate::measure(&batches, &replay, &layouts, &|_| ()).expect("losses");

    let image = pack(&graph, &profile, &[]).expect("an image");
    let image = HostImage::parse(&image).expect("an image");
    for (layout, together) in layouts.iter().zip(&together) {
        let levels: Vec<(usize, Level)> = layout.iter().copied().enumerate().collect();
        let mut alone = 0.0;
        for batch in 0..batches.count() {
            let tensors = batches.forward(batch).expect("tensors");
            let base = rows(&tensors[tensors.len() - 1]).expect("outputs");
            let output = replay.probe(&tensors, &Probe::Levels(levels.clone()));
            let outputs = rows(&output.expect("an output")).expect("outputs");
            let scores = batches.score(batch, &outputs, &base);
            alone += scores.iter().map(|score| score.loss).sum::<f64>();
        }
        assert!((alone / 60.0 - together.loss()).abs() < 1e-9);
        let layers = profile.network.layers.iter().zip(layout);
        let levels = layers.map(|(layer, level)| layer.op.has_weights().then_some(*level));
        let plan = Plan::of_levels(&profile.network, levels.collect(), Place::Ram);
        let against = Against {
            loss: Loss::Labels,
            fp32: None,
            data_path: Path::new("digits"),
        };
        let engine = evaluate(&image, &plan, &data, against, &|_| ()).expect("an evaluation");
        // the simulation rounds in floats where the engine rounds in integers
        let off = (engine.loss - together.loss()).abs();
        assert!(
            off < 0.04 * together.loss().max(0.1),
            "{} {}",
            engine.loss,
            together.loss()
        );
    }
}

#[test]
fn refined_prices_add_up_and_choose_layouts_that_do_no_worse() {
    let (graph, data, _) = digits::model();
    let float = FloatModel::new(graph.clone()).expect("a model");
    let levels = ["fp32", "int8", "int4", "int2"].map(|name| name.parse().expect("a level"));
    let (mut losses, mut errors, mut passes) = (Vec::new(), Vec::new(), Vec::new());
    for refine in [0, 4] {
        let options = Options {
            refine,
            levels: levels.to_vec(),
            // the nearest codes make more noise, by which layers interact
            rule: Rule {
                rounding: WeightRounding::Nearest,
                ..Rule::default()
            },
            ..options(Metric::Measured)
        };
        let profile = digits::profiled(graph.clone(), &data, &options);
        let network = &profile.network;
        let mut planner = Box::new(HostPlanner::new(network));
        let budgets = (8..=40).step_by(2);
        let plans = budgets.map(|part| {
            let bytes = network.fp32_weight_bytes() * part / 100;
            planner.plan(network, Limits::weights(bytes), u64::MAX)
        });
        let layouts: Vec<_> = plans
            .map(|plan| layout::layout_of(&plan.expect("room").levels))
            .collect();
        let replay = Replay::new(&float, network, &profile.grids).expect("a replay");
        let mut batches = Batches::new(&float, &data, &network.preprocess, Loss::Calibrated);
        batches.labels = None;
        let measured: Vec<Mean> =
            simulate::measure(&batches, &replay, &layouts, &|_| ()).expect("losses");
        let off = layouts.iter().zip(&measured).map(|(layout, mean)| {
            let predicted = layout::bytes_and_price(network, layout).1;
            (predicted - mean.loss()).abs()
        });
        errors.push(off.sum::<f64>());
        losses.push(measured.iter().map(Mean::loss).sum::<f64>());
        passes.push(profile.effort.forward_passes);
    }
    // which of nearly equal layouts is chosen depends on the last bits of float sums
    assert!(losses[1] < 1.01 * losses[0], "{losses:?}");
    assert!(errors[1] < 0.5 * errors[0], "{errors:?}");
    assert!(passes[1] > passes[0] + 10.0, "{passes:?}");
}

#[test]
fn without_labels_the_loss_is_the_distance_from_fp32() {
    let (graph, mut data, _) = digits::model();
    data.labels = None;
    for loss in [None, Some(Loss::Mse)] {
        let options = Options {
            loss,
            ..options(Metric::Measured)
        };
        let profile = digits::profiled(graph.clone(), &data, &options);
        assert_eq!(profile.origin.loss, loss.unwrap_or(Loss::Kl));
        assert!(profile.fp32_loss.abs() < 1e-9);
        assert_eq!(profile.fp32_accuracy, 1.0);
        for (_, level, price) in prices(&profile) {
            assert!(price >= -1e-9, "{level}: {price}");
        }
        let int2: f64 = prices(&profile)
            .filter(|p| p.1.name() == "int2")
            .map(|p| p.2)
            .sum();
        let int8: f64 = prices(&profile)
            .filter(|p| p.1.name() == "int8")
            .map(|p| p.2)
            .sum();
        assert!(int2 > 10.0 * int8 && int8 > 0.0, "{int2} {int8}");
    }
}

#[test]
fn calibrated_prices_do_not_change_with_the_scale_of_the_logits() {
    let (graph, data, _) = digits::model();
    let options = options(Metric::Measured);
    let scaled = |factor: f32| {
        let mut graph = graph.clone();
        let last = graph.layers.last_mut().expect("layers");
        let weights = last.weights.as_mut().expect("weights");
        let all = weights.weight.iter_mut().chain(&mut weights.bias);
        all.for_each(|x| *x *= factor);
        digits::profiled(graph, &data, &options)
    };
    // surer and surer of itself; powers of two change no code
    let (own, four, eight) = (scaled(1.0), scaled(4.0), scaled(8.0));
    assert_eq!(own.origin.loss, Loss::Calibrated);
    assert_eq!(own.temperature, 1.0);
    assert!(four.temperature > 2.0);
    assert!((eight.temperature / four.temperature - 2.0).abs() < 1e-6);
    assert!((four.fp32_loss - eight.fp32_loss).abs() < 1e-6);
    assert!(four.fp32_loss < four.fp32_raw_loss && four.fp32_raw_loss < eight.fp32_raw_loss);
    for ((layer, level, price), (.., other)) in prices(&four).zip(prices(&eight)) {
        assert!(
            (price - other).abs() < 1e-6,
            "{layer} {level}: {price} {other}"
        );
    }
}

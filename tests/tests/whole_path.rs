//! From a trained model to the core's outputs, through the library.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bitbudget::capacity::{HostEngine, HostImage, HostPlanner};
use bitbudget::dataset::{Dataset, real_inputs};
use bitbudget::evaluate::{Against, ArenaMemory, evaluate, sample};
use bitbudget::graph::FloatModel;
use bitbudget::loss::Loss;
use bitbudget::pack::pack;
use bitbudget::profile::{Control, Options, Phase, Profile, ProfileError, profile};
use bitbudget_core::level::Level;
use bitbudget_core::place::Place;
use bitbudget_core::plan::{Limits, Plan};
use bitbudget_tests::{digits, shared};

/// The profile that runs come to of which each but the last is interrupted when it is that far.
fn resumed(data: &Dataset, stops: &[(Phase, usize)]) -> Vec<u8> {
    let (graph, _, options) = digits::model();
    let options = Options {
        refine: 2,
        ..options
    };
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("digits.profile");
    let partial = folder.path().join("digits.profile.partial");
    let mut kept = 0;
    for &(at, count) in stops {
        let stop = AtomicBool::new(false);
        let interrupt = |phase, done, _| {
            if phase == at && done >= count {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let control = Control {
            progress: &interrupt,
            stop: &stop,
            output: Some(&output),
        };
        let stopped = profile(graph.clone(), data, &options, &control);
        let Err(ProfileError::Interrupted { done, total, .. }) = stopped else {
            panic!("not interrupted at {at:?} {count}");
        };
        assert!(!output.exists());
        match at {
            Phase::Calibrate | Phase::Round => assert_eq!(done, 0),
            Phase::Measure => {
                assert!((count..=total).contains(&done), "{done} of {total}");
                kept = done;
            }
            Phase::Curvature | Phase::Refine => {
                assert_eq!(done, total);
                kept = done;
            }
        }
        assert_eq!(partial.exists(), kept > 0);
    }
    let measured = AtomicUsize::new(0);
    let count = |phase, _, total| {
        if phase == Phase::Measure {
            measured.fetch_add(1, Ordering::Relaxed);
            assert_eq!(total, data.len.div_ceil(8));
        }
    };
    let control = Control {
        progress: &count,
        stop: &AtomicBool::new(false),
        output: Some(&output),
    };
    let profile = profile(graph, data, &options, &control).expect("a profile");
    assert_eq!(measured.into_inner(), data.len.div_ceil(8) - kept);
    assert!(!partial.exists());
    profile.save(&output).expect("a file");
    fs::read(&output).expect("a profile")
}

#[test]
fn an_interrupted_profile_goes_on_to_the_same_file() {
    let (_, data, _) = digits::model();
    let data = data.first(60);
    let want = resumed(&data, &[]);
    let path = Path::new("digits.profile");
    let profile = Profile::decode(path, &want).expect("a profile");
    assert!(profile.effort.forward_passes > 10.0);
    for stops in [
        &[(Phase::Calibrate, 1)][..],
        &[(Phase::Round, 1)],
        &[(Phase::Measure, 1)],
        &[(Phase::Measure, 6)],
        &[(Phase::Measure, 2), (Phase::Measure, 5)],
        &[(Phase::Refine, 1)],
        &[(Phase::Measure, 4), (Phase::Refine, 20)],
    ] {
        assert!(resumed(&data, stops) == want, "{stops:?}");
    }
}

#[test]
fn prices_predict_what_the_engine_measures_for_each_layer_alone() {
    let (graph, data, options) = digits::model();
    let options = Options {
        loss: Some(Loss::Labels),
        refine: 0,
        ..options
    };
    let profile = digits::profiled(graph.clone(), &data, &options);
    let image = pack(&graph, &profile, &[]).expect("an image");
    let image = HostImage::parse(&image).expect("an image");
    let network = image.network();
    let planner = |level: Option<(usize, Level)>| {
        let levels = network.prices.rows.iter().enumerate().map(|(i, row)| {
            let alone = level.filter(|(layer, _)| *layer == i);
            let level = alone.map_or(Level::Fp32, |(_, level)| level);
            (!row.is_empty()).then_some(level)
        });
        let plan = Plan::of_levels(network, levels.collect(), Place::Ram);
        let against = Against {
            loss: Loss::Labels,
            fp32: None,
            data_path: Path::new("digits"),
        };
        evaluate(&image, &plan, &data, against, &|_| ()).expect("an evaluation")
    };
    let fp32 = planner(None);
    assert!((fp32.loss - profile.fp32_loss).abs() < 1e-6);
    for (layer, row) in network.prices.rows.iter().enumerate() {
        for (item, estimate) in row.iter().zip(&profile.estimates[layer]) {
            let measured = planner(Some((layer, item.level))).loss - fp32.loss;
            // the simulation rounds in floats where the engine rounds in integers
            let off = (measured - estimate.price).abs();
            assert!(
                off < 1e-4,
                "{} {}: {measured} {}",
                profile.names[layer],
                item.level,
                estimate.price
            );
        }
    }
}

#[test]
fn residual_and_plain_networks_go_the_whole_path() {
    let Some(folder) = shared::folder() else {
        return;
    };
    let options = Options {
        preprocess: shared::cifar10_preprocess(),
        levels: vec![Level::Fp32, Level::ALL[2]],
        ..Options::default()
    };
    for name in [
        "resnet8_plain",
        "resnet8_plain_bn",
        "resnet8_residual",
        "resnet14_plain",
    ] {
        let (graph, data) = shared::cifar10(&folder, name, 24);
        let profile = digits::profiled(graph.clone(), &data, &options);
        let image = pack(&graph, &profile, &[]).expect("an image");
        let image = HostImage::parse(&image).expect("an image");
        let mut memory = ArenaMemory::new(2 << 20);
        let mut engine = HostEngine::new(&image, memory.lend()).expect("an engine");
        let mut planner = Box::new(HostPlanner::new(image.network()));
        let fp32 = Limits::weights(u64::from(u32::MAX));
        let mut plan = engine.replan(&mut planner, fp32).expect("a plan").clone();
        for level in plan.levels.iter_mut().flatten() {
            *level = Level::Fp32;
        }
        engine.load(plan).expect("room");
        let float = FloatModel::new(graph).expect("a model");
        for i in 0..4 {
            let input = float.input(real_inputs(&data, &options.preprocess, i..i + 1));
            let tensors = float
                .forward(input.expect("an input"))
                .expect("a forward pass");
            let want: Vec<f32> = tensors[tensors.len() - 1]
                .flatten_all()
                .and_then(|t| t.to_vec1())
                .expect("outputs");
            let got = engine.infer(sample(&data, i, 3072)).expect("outputs");
            for (a, b) in want.iter().zip(got) {
                assert!((a - b).abs() < 1e-4, "{name}: {a} {b}");
            }
        }
        let small = engine.replan(&mut planner, Limits::weights(100 * 1024));
        let bytes = small.map(|plan| plan.weight_bytes);
        if name != "resnet14_plain" {
            assert!(bytes.expect("a plan") <= 100 * 1024);
        }
    }
}

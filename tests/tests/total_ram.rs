//! Plans for all the RAM, arena and all, against every layout of real networks.

use std::collections::HashMap;

use bitbudget::capacity::{HostImage, HostNetwork, MAX_LAYERS, MAX_LEVELS};
use bitbudget::dataset::Dataset;
use bitbudget::graph::Graph;
use bitbudget::layout::{self, Bytes};
use bitbudget::pack::pack;
use bitbudget::profile::{Options, Profile};
use bitbudget::search::{Effort, staircase};
use bitbudget_core::arena::Lifetimes;
use bitbudget_core::engine::{Engine, EngineError};
use bitbudget_core::form::Form;
use bitbudget_core::plan::{Limits, Measure, Planner};
use bitbudget_core::shape::Shape;
use bitbudget_tests::arena::Arena;
use bitbudget_tests::{digits, equal, shared};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// The digits network, then larger ones where they are, each profiled on a few images.
fn profiles() -> Vec<(Graph, Profile)> {
    let profiled = |graph: Graph, data: &Dataset, options: Options| {
        let options = Options {
            refine: 0,
            ..options
        };
        let profile = digits::profiled(graph.clone(), data, &options);
        (graph, profile)
    };
    let (graph, data, options) = digits::model();
    let mut profiles = vec![profiled(graph, &data, options)];
    if let Some(folder) = shared::folder() {
        for name in ["resnet8_plain", "resnet8_residual"] {
            let (graph, data) = shared::cifar10(&folder, name, 24);
            let options = Options {
                preprocess: shared::cifar10_preprocess(),
                ..Options::default()
            };
            profiles.push(profiled(graph, &data, options));
        }
    }
    profiles
}

/// Total bytes and price of every layout, by rising bytes, with the least price so far.
fn all_layouts(network: &HostNetwork) -> Vec<(u64, i64)> {
    let lifetimes = Lifetimes::new(network);
    let price = |layout: &layout::Layout| -> i64 {
        let rows = network.prices.rows.iter().zip(layout);
        let items = rows.filter_map(|(row, level)| row.iter().find(|item| item.level == *level));
        items.map(|item| i64::from(item.price)).sum()
    };
    // by the forms in which the layers read
    let mut arenas: HashMap<Vec<Form>, u64> = HashMap::new();
    let mut total = |layout: &layout::Layout| {
        let forms = layout.iter().map(|level| level.input_form()).collect();
        let arena = arenas
            .entry(forms)
            .or_insert_with(|| Bytes::of(network, &lifetimes, layout).arena);
        layout::bytes_and_price(network, layout).0 + *arena
    };
    let layouts = layout::all_layouts(network);
    let mut all: Vec<_> = layouts.iter().map(|l| (total(l), price(l))).collect();
    all.sort_unstable();
    let mut least = i64::MAX;
    for (_, price) in &mut all {
        least = least.min(*price);
        *price = least;
    }
    all
}

#[test]
fn plans_equal_exhaustive_search() {
    let mut rng = SmallRng::seed_from_u64(1);
    for (_, profile) in profiles() {
        let network = &profile.network;
        let all = all_layouts(network);
        let (smallest, largest) = (all[0].0, all[all.len() - 1].0);
        let mut planner = Box::new(Planner::<MAX_LAYERS, MAX_LEVELS>::new(network));
        let mut most_nodes = 0;
        for _ in 0..1_000 {
            let bytes = rng.random_range(smallest..=largest);
            let plan = planner.plan(network, Limits::ram(bytes), u64::MAX);
            let plan = plan.expect("it fits");
            let fitting = all.partition_point(|(total, _)| *total <= bytes);
            assert_eq!(plan.price, all[fitting - 1].1, "{bytes} bytes");
            assert!(plan.is_optimal() && plan.ram_bytes() <= bytes);
            most_nodes = most_nodes.max(plan.nodes);
        }
        let refused = planner.plan(network, Limits::ram(smallest - 1), u64::MAX);
        assert_eq!(
            refused
                .expect_err("too small")
                .smallest()
                .expect("a limit")
                .1,
            smallest
        );
        println!("{} layouts, at most {most_nodes} nodes", all.len());
    }
}

#[test]
fn plans_of_equal_layers_equal_exhaustive_search() {
    let mut rng = SmallRng::seed_from_u64(3);
    let shapes = [(6, 2), (3, 5), (2, 9)].map(|(side, channels)| Shape::new(side, side, channels));
    for (seed, shape) in (0..).zip(shapes) {
        for noise in [0.0, 0.02, 0.3] {
            let network = equal::chain(7, shape, noise, seed);
            let all = all_layouts(&network);
            let mut planner = Box::new(Planner::<MAX_LAYERS, MAX_LEVELS>::new(&network));
            for _ in 0..300 {
                let bytes = all[rng.random_range(0..all.len())].0 + rng.random_range(0..40);
                let plan = planner.plan(&network, Limits::ram(bytes), u64::MAX);
                let plan = plan.expect("it fits");
                let fitting = all.partition_point(|(total, _)| *total <= bytes);
                assert_eq!(plan.price, all[fitting - 1].1, "{shape:?} {bytes} bytes");
                assert!(plan.is_optimal() && plan.ram_bytes() <= bytes);
            }
        }
    }
}

#[test]
fn an_arena_of_the_plans_bytes_suffices_and_one_byte_less_does_not() {
    let mut rng = SmallRng::seed_from_u64(2);
    for (graph, profile) in profiles() {
        let bytes = pack(&graph, &profile, &[]).expect("an image");
        let image = HostImage::parse(&bytes).expect("a sound image");
        let network = image.network();
        let mut planner = Box::new(Planner::<MAX_LAYERS, MAX_LEVELS>::new(network));
        let all = (Limits::NONE, Measure::Ram);
        let plans = staircase(network, &mut planner, all, &Effort::UNLIMITED).plans;
        for _ in 0..12 {
            let plan = &plans[rng.random_range(0..plans.len())];
            let needed = plan.ram_bytes() as usize;
            let mut exact = Arena::new(needed);
            let mut engine = Box::new(Engine::new(&image, exact.lend()).expect("an engine"));
            assert_eq!(engine.load(plan.clone()), Ok(plan));
            assert!(engine.spare().is_empty());
            let mut short = Arena::new(needed - 1);
            let mut engine = Box::new(Engine::new(&image, short.lend()).expect("an engine"));
            let expected = EngineError::ArenaTooSmall {
                needed_bytes: needed as u64,
                arena_bytes: needed - 1,
            };
            assert_eq!(engine.load(plan.clone()), Err(expected));
        }
    }
}

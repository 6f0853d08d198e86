//! Planning takes a bounded number of nodes, whatever the network.

use std::fs;
use std::path::Path;

use bitbudget::capacity::{HostImage, HostNetwork, HostPlanner};
use bitbudget_core::plan::{Limits, Planner, SMALLEST_NODES};
use bitbudget_core::shape::Shape;
use bitbudget_tests::builder::Style;
use bitbudget_tests::model::{LAYERS, LEVELS};
use bitbudget_tests::{equal, generate};

#[test]
fn preparing_and_planning_keep_to_their_nodes_on_large_random_graphs() {
    let mut unproven = 0;
    for seed in 0..60 {
        let model = generate::model(seed, Style::Real, 14 + seed as usize % 6);
        let network = &model.network;
        let mut planner = Box::new(Planner::<LAYERS, LEVELS>::new(network));
        let smallest = planner.find_smallest(network).clone();
        assert!(smallest.nodes <= SMALLEST_NODES && smallest.bound <= smallest.total);
        let proven = smallest.bound == smallest.total;
        unproven += usize::from(!proven);
        let total = |planner: &mut Planner<LAYERS, LEVELS>, bytes, nodes| {
            planner.plan(network, Limits::ram(bytes), nodes)
        };
        // the smallest layout that is known can be had, with few nodes, too
        for nodes in [0, 10, 200] {
            let plan = total(&mut planner, smallest.total, nodes).expect("it is known to fit");
            assert!(plan.nodes <= nodes && plan.ram_bytes() <= smallest.total);
        }
        let error = total(&mut planner, smallest.bound - 1, 200).expect_err("too small");
        assert_eq!(
            (error.smallest().expect("a limit").1, error.proven),
            (smallest.total, proven)
        );
        assert_eq!(error.to_string().contains("known"), !proven);
        for part in [30, 60] {
            let more = network.fp32_weight_bytes() * part / 100;
            let plan = total(&mut planner, smallest.total + more, 200).expect("it fits");
            assert!(plan.nodes <= 200);
        }
    }
    println!("{unproven} of 60 smallest totals are not proven");
}

#[test]
fn a_budget_on_weights_needs_no_smallest_total() {
    let network = equal::convolutions(20, 0.0, 1);
    let mut planner = Box::new(HostPlanner::new(&network));
    let plan = planner
        .plan(&network, Limits::weights(u64::MAX), 0)
        .expect("it fits");
    assert!(plan.is_optimal());
    let error = planner
        .plan(&network, Limits::weights(1), 0)
        .expect_err("too small");
    assert!(error.proven);
    let fits = planner.plan(
        &network,
        Limits::weights(error.smallest().expect("a limit").1),
        0,
    );
    assert_eq!(
        u64::from(fits.expect("it fits").weight_bytes),
        error.smallest().expect("a limit").1
    );
}

#[test]
fn images_whose_every_arena_is_above_its_bound_are_planned() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/image");
    for name in ["hang_22", "hang_26", "hang_30"] {
        let bytes = fs::read(folder.join(name)).expect("the corpus");
        let image = HostImage::parse(&bytes).expect("a sound image");
        let network = image.network();
        let mut planner = Box::new(HostPlanner::new(network));
        let smallest = planner.find_smallest(network).clone();
        assert!(smallest.nodes <= SMALLEST_NODES);
        println!("{name}: {} to {} bytes", smallest.bound, smallest.total);
        let plan = planner.plan(network, Limits::ram(smallest.total), 1_000);
        assert!(plan.expect("it is known to fit").nodes <= 1_000);
    }
}

/// A budget of this part of the bytes of FP32: the weights', or all the RAM.
fn part(network: &HostNetwork, percent: u64, all: bool) -> Limits {
    let weights = network.fp32_weight_bytes();
    match all {
        true => Limits::ram((weights + network.fp32_arena_bytes()) * percent / 100),
        false => Limits::weights(weights * percent / 100),
    }
}

/// Plans equal convolutions of some sides and channels for 20 to 90 % of the bytes in so many nodes, and returns
/// how many plans were not proven, and the largest gap as a part of the price range.
fn unproven(shapes: &[(u16, u16)], all: bool, nodes: u64) -> (u32, f64) {
    let (mut count, mut worst) = (0, 0.0_f64);
    for (seed, &(side, channels)) in (0..).zip(shapes) {
        let network = equal::chain(60, Shape::new(side, side, channels), 0.0, seed);
        let mut planner = Box::new(HostPlanner::new(&network));
        let rows = network.prices.rows.iter();
        let range: i64 = rows.map(|row| i64::from(row[3].price)).sum();
        for percent in 20..=90 {
            let budget = part(&network, percent, all);
            let plan = planner.plan(&network, budget, nodes).expect("it fits");
            count += u32::from(!plan.is_optimal());
            worst = worst.max((plan.price - plan.bound) as f64 / range as f64);
        }
    }
    (count, worst)
}

#[test]
fn equal_convolutions_are_planned_in_a_thousand_nodes() {
    let shapes = [(8, 16), (8, 16), (8, 16), (5, 8), (10, 24), (3, 40)];
    assert_eq!(unproven(&shapes, false, 1_000).0, 0);
    let (count, worst) = unproven(&shapes, true, 1_000);
    println!("{count} of 426 not proven, {worst:e} of the price range");
    assert!(count <= 12 && worst < 1e-4, "{count} {worst}");
    // an arena that is large beside the weights leaps by more than a layer's levels differ
    let (count, worst) = unproven(&[(12, 10), (16, 16), (14, 8)], true, 2_000);
    println!("large arenas: {count} of 213 not proven, {worst:e} of the price range");
    assert!(count <= 100 && worst < 1e-3, "{count} {worst}");
}

#[test]
fn nearly_equal_convolutions_are_planned_nearly_in_a_thousand_nodes() {
    let shapes = [(8, 16), (6, 12), (11, 8)];
    let mut worst = 0.0_f64;
    for (seed, (side, channels)) in (0..).zip(shapes) {
        for noise in [0.01, 0.03, 0.1] {
            let network = equal::chain(120, Shape::new(side, side, channels), noise, seed);
            let mut planner = Box::new(HostPlanner::new(&network));
            let rows = network.prices.rows.iter();
            let range: i64 = rows.map(|row| i64::from(row[3].price)).sum();
            for all in [false, true] {
                for percent in (23..=90).step_by(6) {
                    let budget = part(&network, percent, all);
                    let plan = planner.plan(&network, budget, 1_000).expect("it fits");
                    let gap = (plan.price - plan.bound) as f64 / range as f64;
                    assert!(all || plan.is_optimal(), "seed {seed}, {budget:?}");
                    worst = worst.max(gap);
                }
            }
        }
    }
    println!("gap of at most {worst:e} of the price range");
    assert!(worst < 1e-4, "{worst}");
}

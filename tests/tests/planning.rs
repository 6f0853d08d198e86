//! Plans held against every layout there is.

use bitbudget::search::{Effort, staircase};
use bitbudget_core::arena::Lifetimes;
use bitbudget_core::engine::{Engine, EngineError};
use bitbudget_core::level::Level;
use bitbudget_core::plan::{Limits, LimitsTooSmall, Measure};
use bitbudget_core::quant::{Rounding, Width};
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::arena::Arena;
use bitbudget_tests::builder::{Builder, FEW, Style};
use bitbudget_tests::generate;
use bitbudget_tests::model::{LAYERS, LEVELS, Model, TestImage, TestPlanner};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

type TestEngine<'a> = Engine<'a, LAYERS, LEVELS>;

/// Two convolutions and a dense layer, with a pool between.
fn small(seed: u64) -> Model {
    let mut builder = Builder::new(seed, Style::Real, Shape::new(5, 4, 2));
    let a = builder.conv(0, Window::square(3, 1, 1), 1, 3);
    let b = builder.max_pool(a, Window::square(2, 1, 0));
    let c = builder.conv(b, Window::square(1, 1, 0), 1, 2);
    builder.dense(c, 3);
    builder.finish()
}

/// The bytes of a layout that count under a budget of this kind.
fn taken(model: &Model, of: fn(u64) -> Limits, levels: &[Option<Level>]) -> u64 {
    match of(0).ram_bytes {
        None => model.weight_bytes(levels),
        Some(_) => model.total_bytes(levels),
    }
}

/// Checks every budget around the size of every layout, at most `most` of either kind.
fn check_budgets(rng: &mut SmallRng, model: &Model, most: usize) {
    let bytes = model.emit();
    let image = TestImage::parse(&bytes).expect("a sound image");
    let layouts = model.layouts();
    let totals = layouts.iter().map(|levels| model.whole_bytes(levels));
    let mut arena = Arena::new(totals.max().unwrap_or(0) as usize);
    let mut planner = Box::new(TestPlanner::new(image.network()));
    let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
    let kinds: [fn(u64) -> Limits; 2] = [Limits::weights, Limits::ram];
    for of in kinds {
        let sizes = layouts.iter().map(|levels| taken(model, of, levels));
        let mut sizes: Vec<(u64, i64)> = sizes
            .zip(layouts.iter().map(|levels| model.price(levels)))
            .collect();
        sizes.sort_unstable();
        let smallest = sizes[0].0;
        let mut around: Vec<u64> = sizes
            .iter()
            .flat_map(|(size, _)| [size - 1, *size, size + 1])
            .collect();
        around.dedup();
        while around.len() > most {
            around.swap_remove(rng.random_range(3..around.len()));
        }
        for bytes in around {
            let fit = sizes.iter().take_while(|(size, _)| *size <= bytes);
            if let Some(least) = fit.map(|(_, price)| *price).min() {
                check_plans(&mut engine, &mut planner, model, of(bytes), least);
                continue;
            }
            assert_eq!(bytes, smallest - 1);
            let error = LimitsTooSmall {
                limits: of(bytes),
                smallest: of(smallest),
                proven: true,
            };
            let refused = engine.replan(&mut planner, of(bytes));
            assert_eq!(refused, Err(EngineError::Limits(error)));
        }
    }
}

/// Checks the plans that few nodes and then many give, where `least` is the optimal price.
fn check_plans(
    engine: &mut TestEngine<'_>,
    planner: &mut TestPlanner,
    model: &Model,
    limits: Limits,
    least: i64,
) {
    for nodes in [0, 1, 2, 5, u64::MAX] {
        let plan = engine
            .replan_within(planner, limits, nodes)
            .expect("some layout fits");
        assert!(plan.bound <= least && least <= plan.price);
        assert_eq!(plan.is_optimal(), plan.bound == plan.price);
        assert_eq!(plan.price, model.price(&plan.levels));
        assert_eq!(
            u64::from(plan.weight_bytes),
            model.weight_bytes(&plan.levels)
        );
        let ram = model.ram_bytes(&plan.levels, &plan.schedule);
        assert_eq!(plan.ram_bytes(), ram);
        assert!(plan.is_within(&limits));
        assert!(plan.is_optimal() || nodes < u64::MAX);
    }
}

#[test]
fn plans_are_optimal_at_every_budget() {
    let mut rng = SmallRng::seed_from_u64(1);
    for seed in 0..40 {
        let mut model = small(seed);
        if seed % 4 == 0 {
            for item in model.network.prices.rows.iter_mut().flatten() {
                item.price = [i32::MIN, -1, 0, 7, i32::MAX][rng.random_range(0..5)];
            }
        }
        check_budgets(&mut rng, &model, usize::MAX);
    }
}

#[test]
fn plans_of_random_graphs_are_optimal() {
    let mut rng = SmallRng::seed_from_u64(2);
    let mut graphs = 0;
    for seed in 0..100 {
        let model = generate::model_at(seed, Style::Real, 7, &FEW);
        let choices = model.layouts().len();
        if (2..=1 << 10).contains(&choices) {
            check_budgets(&mut rng, &model, 40);
            graphs += 1;
        }
    }
    assert!(graphs > 50, "{graphs}");
}

#[test]
fn budgets_below_everything_name_the_smallest() {
    let mut unproven = 0;
    for seed in 0..50 {
        let model = generate::model(seed, Style::Real, 8);
        let bytes = model.emit();
        let image = TestImage::parse(&bytes).expect("a sound image");
        let mut arena = Arena::new(model.whole_bytes(&model.all_at(Level::Fp32)) as usize);
        let mut planner = Box::new(TestPlanner::new(image.network()));
        let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
        for of in [Limits::ram, Limits::weights] {
            let refused = match engine.replan(&mut planner, of(0)) {
                // nothing to be resident
                Ok(plan) => {
                    assert_eq!((plan.weight_bytes, of(0)), (0, Limits::weights(0)));
                    continue;
                }
                Err(EngineError::Limits(refused)) => refused,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(refused.limits, of(0));
            let smallest = refused.smallest().expect("a limit").1;
            engine
                .replan_within(&mut planner, of(smallest), 0)
                .expect("the smallest");
            if !refused.proven {
                unproven += 1;
                continue;
            }
            let short = engine.replan(&mut planner, of(smallest - 1));
            let error = LimitsTooSmall {
                limits: of(smallest - 1),
                smallest: of(smallest),
                proven: true,
            };
            assert_eq!(short, Err(EngineError::Limits(error)));
        }
    }
    assert!(unproven <= 2, "{unproven}");
}

/// Four to six convolutions of a large input, and a dense layer after a pool.
fn on_large_input(seed: u64, pixels: u16) -> Model {
    let mut builder = Builder::new(seed, Style::Real, Shape::new(pixels, pixels, 3));
    builder.levels = [Width::Int8, Width::Int4, Width::Int2]
        .map(|width| Level::Int(width, Rounding::Nearest))
        .into();
    builder.levels.insert(0, Level::Fp32);
    let mut tensor = 0;
    for _ in 0..builder.rng.random_range(4..=6) {
        let stride = builder.rng.random_range(1..=2);
        let channels = builder.rng.random_range(2..=8);
        tensor = builder.conv(tensor, Window::square(3, stride, 1), 1, channels);
    }
    let pooled = builder.avg_pool(tensor, generate::global(builder.shape(tensor)), false);
    builder.dense(pooled, 3);
    let mut model = builder.finish();
    for item in model.network.prices.rows.iter_mut().flatten() {
        // prices as fine as those of a profile
        item.price <<= 20;
    }
    model
}

#[test]
fn staircases_of_large_inputs_equal_exhaustive_search() {
    for pixels in [256, 512, 1024] {
        for seed in 0..12 {
            let model = on_large_input(seed, pixels);
            let layouts = model.layouts().into_iter();
            let lifetimes = Lifetimes::new(&model.network);
            let total = |levels: &[Option<Level>]| {
                let arena = lifetimes.smallest(&model.forms(levels)).1.bytes();
                model.weight_bytes(levels) + u64::from(arena)
            };
            let mut all: Vec<(u64, i64)> = layouts
                .map(|levels| (total(&levels), model.price(&levels)))
                .collect();
            all.sort_unstable();
            // from the smallest up: those of lower price than all smaller ones
            let mut steps: Vec<(u64, i64)> = Vec::new();
            for (bytes, price) in all {
                if steps.last().is_none_or(|last| price < last.1) {
                    steps.push((bytes, price));
                }
            }
            let mut planner = Box::new(TestPlanner::new(&model.network));
            let all = (Limits::NONE, Measure::Ram);
            let found = staircase(&model.network, &mut planner, all, &Effort::UNLIMITED);
            assert!(found.proven);
            let found = found.plans.iter();
            let found: Vec<_> = found.map(|plan| (plan.ram_bytes(), plan.price)).collect();
            assert_eq!(found, steps, "{pixels} pixels, seed {seed}");
        }
    }
}

/// A softmax keeps its input in FP32: then an INT8 reader of the same tensor adds to it.
#[test]
fn tensors_that_a_softmax_reads_as_well_are_counted() {
    let mut rng = SmallRng::seed_from_u64(92);
    let levels = [Level::Fp32, Level::Int(Width::Int8, Rounding::Nearest)];
    for seed in 0..12 {
        let mut builder = Builder::new(seed, Style::Real, Shape::new(4, 4, 2));
        builder.levels = levels.to_vec();
        let mut tensor = 0;
        while builder.len() < 16 {
            let channels = builder.shape(tensor).c;
            let conv = builder.conv(tensor, Window::square(1, 1, 0), 1, channels);
            tensor = match builder.rng.random_range(0..4) {
                0 => {
                    let softmax = builder.softmax(tensor, false);
                    builder.add(conv, softmax)
                }
                _ => conv,
            };
        }
        let model = builder.finish();
        let lifetimes = Lifetimes::new(&model.network);
        let total = |levels: &Vec<Option<Level>>| {
            let arena = lifetimes.smallest(&model.forms(levels)).1.bytes();
            (
                model.weight_bytes(levels) + u64::from(arena),
                model.price(levels),
            )
        };
        let all: Vec<(u64, i64)> = model.layouts().iter().map(total).collect();
        let mut planner = Box::new(TestPlanner::new(&model.network));
        for _ in 0..40 {
            let bytes = all[rng.random_range(0..all.len())].0;
            let within = all.iter().filter(|(total, _)| *total <= bytes);
            let least = within.map(|(_, price)| *price).min();
            let plan = planner.plan(&model.network, Limits::ram(bytes), u64::MAX);
            let plan = plan.expect("it fits");
            assert_eq!(
                (Some(plan.price), plan.is_optimal()),
                (least, true),
                "seed {seed}"
            );
        }
    }
}

//! Plans under rules, the smallest plans for a price, and stored plans, against every layout there is.

use bitbudget::search::{self, Effort};
use bitbudget_core::image::{ImageError, emit};
use bitbudget_core::level::Level;
use bitbudget_core::network::NetworkError;
use bitbudget_core::plan::{Limits, Measure, Plan, Planner};
use bitbudget_core::rules::RuleError;
use bitbudget_tests::builder::{FEW, Style};
use bitbudget_tests::generate::{self, small};
use bitbudget_tests::model::{LAYERS, LEVELS, Model, TestImage};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

type TestPlanner = Planner<LAYERS, LEVELS>;
type Levels = Vec<Option<Level>>;

/// Random models with layers enough for rules and not too many layouts.
fn models() -> impl Iterator<Item = (Model, SmallRng)> {
    let seeds = 0..140;
    let models = seeds.map(|seed| {
        let model = generate::model_at(seed, Style::Real, 7, &FEW);
        (model, SmallRng::seed_from_u64(seed))
    });
    models.filter(|(model, _)| (4..=1 << 10).contains(&model.layouts().len()))
}

/// The layers of a model with more than one level.
fn choosers(model: &Model) -> Vec<usize> {
    let rows = model.network.prices.rows.iter().enumerate();
    let rows = rows.filter(|(_, row)| row.len() > 1);
    rows.map(|(layer, _)| layer).collect()
}

/// Applies random rules to a copy of the network; the second is the layouts that obey them.
fn ruled(model: &Model, rng: &mut SmallRng) -> (Model, Vec<Levels>) {
    let mut ruled = model.clone();
    let mut layouts = model.layouts();
    for _ in 0..rng.random_range(1..4) {
        let layers = choosers(&ruled);
        let Some(&layer) = layers.choose(rng) else {
            break;
        };
        let row = &ruled.network.prices.rows[layer];
        let level = row[rng.random_range(0..row.len())].level;
        match rng.random_range(0..3) {
            0 => {
                ruled.network.pin(layer, level).expect("a level of it");
                layouts.retain(|levels| levels[layer] == Some(level));
            }
            1 => {
                ruled.network.forbid(layer, level).expect("one of two");
                layouts.retain(|levels| levels[layer] != Some(level));
            }
            _ => {
                let other = layers[rng.random_range(0..layers.len())];
                let tied = ruled.network.tie(layer, other);
                let before = layouts.len();
                layouts.retain(|levels| levels[layer] == levels[other]);
                if let Err(error) = tied {
                    let layers = [layer, other];
                    assert_eq!(error, RuleError::NothingInCommon { layers });
                    assert!(layouts.is_empty() && before > 0);
                    return (model.clone(), model.layouts());
                }
            }
        }
    }
    assert_eq!(ruled.network.check(), Ok(()));
    (ruled, layouts)
}

const MEASURES: [Measure; 2] = [Measure::Weights, Measure::Ram];

/// Bytes of a kind and price of every layout.
fn taken(model: &Model, measure: Measure, layouts: &[Levels]) -> Vec<(u64, i64)> {
    let taken = layouts.iter().map(|levels| {
        let bytes = match measure {
            Measure::Ram => model.total_bytes(levels),
            Measure::Cycles | Measure::Weights => model.weight_bytes(levels),
        };
        (bytes, model.price(levels))
    });
    taken.collect()
}

fn check_plan(plan: &Plan<LAYERS>, layouts: &[Levels]) {
    assert!(layouts.iter().any(|levels| levels[..] == plan.levels[..]));
    assert!(plan.is_optimal());
}

#[test]
fn plans_under_rules_are_the_best_that_obey_them() {
    let mut count = 0;
    for (model, mut rng) in models() {
        for _ in 0..6 {
            let (model, layouts) = ruled(&model, &mut rng);
            let mut planner = Box::new(TestPlanner::new(&model.network));
            for measure in MEASURES {
                let of = |amount| Limits::NONE.with(measure, amount);
                let all = taken(&model, measure, &layouts);
                for _ in 0..8 {
                    let bytes = all[rng.random_range(0..all.len())].0;
                    let fitting = all.iter().filter(|(size, _)| *size <= bytes);
                    let least = fitting.map(|(_, price)| *price).min();
                    let plan = planner.plan(&model.network, of(bytes), u64::MAX);
                    let plan = plan.expect("some layout fits");
                    check_plan(&plan, &layouts);
                    assert_eq!(Some(plan.price), least);
                    assert!(plan.is_within(&of(bytes)));
                    count += 1;
                }
                let smallest = all.iter().map(|(size, _)| *size).min().unwrap_or(0);
                if let Some(less) = smallest.checked_sub(1) {
                    let refused = planner.plan(&model.network, of(less), u64::MAX);
                    let refused = refused.expect_err("too small");
                    assert_eq!(refused.smallest().expect("a limit").1, smallest);
                }
            }
        }
    }
    assert!(count > 5_000, "{count}");
}

#[test]
fn the_cheapest_plan_for_a_price_is_the_smallest_layout_with_it() {
    for (model, mut rng) in models() {
        let (model, layouts) = ruled(&model, &mut rng);
        let mut planner = Box::new(TestPlanner::new(&model.network));
        for measure in MEASURES {
            let all = taken(&model, measure, &layouts);
            let most = all[rng.random_range(0..all.len())].0;
            for _ in 0..6 {
                let price = all[rng.random_range(0..all.len())].1 - rng.random_range(0..2);
                let good = || {
                    let all = all.iter();
                    all.filter(|(size, own)| *own <= price && *size <= most)
                };
                let effort = Effort::UNLIMITED;
                let limits = (Limits::NONE.with(measure, most), measure);
                let plan = search::cheapest(&model.network, &mut planner, limits, price, &effort);
                assert!(plan.as_ref().is_none_or(|(_, proven)| *proven));
                let plan = plan.map(|(plan, _)| plan);
                let smallest = good().map(|(size, _)| *size).min();
                assert_eq!(plan.as_ref().map(|plan| plan.amount(measure)), smallest);
                if let Some(plan) = plan {
                    check_plan(&plan, &layouts);
                    let of_size = good().filter(|(size, _)| Some(*size) == smallest);
                    assert_eq!(Some(plan.price), of_size.map(|(_, own)| *own).min());
                }
            }
        }
    }
}

/// The image of a model with all its optimal plans, and those plans.
fn with_plans(model: &Model) -> (Vec<u8>, Vec<Plan<LAYERS>>) {
    let network = &model.network;
    let mut planner = Box::new(TestPlanner::new(network));
    let all = (Limits::NONE, Measure::Ram);
    let plans = search::staircase(network, &mut planner, all, &Effort::UNLIMITED).plans;
    let section = model.section();
    let mut buffer = vec![0; section.len() + 256 * 1024];
    let names = model.names.iter().map(String::as_str);
    let len = emit(network, names, &plans, &section, &mut buffer).expect("room enough");
    buffer.truncate(len);
    (buffer, plans)
}

#[test]
fn stored_plans_are_those_that_a_search_finds() {
    let mut bytes_per_plan = Vec::new();
    for (model, mut rng) in models() {
        let (model, layouts) = ruled(&model, &mut rng);
        let (bytes, plans) = with_plans(&model);
        let image = TestImage::parse(&bytes).expect("a sound image");
        assert_eq!(image.network(), &model.network);
        let stored = image.stored_plans().expect("plans");
        assert_eq!(stored.count(), plans.len());
        let mut planner = Box::new(TestPlanner::new(image.network()));
        for plan in &plans {
            let total = plan.ram_bytes();
            for budget in [total, total + 1, total.saturating_sub(1)] {
                let searched = planner.plan(image.network(), Limits::ram(budget), u64::MAX);
                match stored.within(budget) {
                    Ok(found) => {
                        let searched = searched.expect("it fits");
                        assert_eq!(found.price, searched.price);
                        assert_eq!(found.price, model.price(&found.levels));
                        assert_eq!(
                            found.ram_bytes(),
                            model.ram_bytes(&found.levels, &found.schedule)
                        );
                        assert!(found.ram_bytes() <= budget);
                        check_plan(&found, &layouts);
                    }
                    Err(refused) => assert_eq!(searched, Err(refused)),
                }
            }
        }
        bytes_per_plan.push((bytes.len() - model.emit().len()) as f64 / plans.len() as f64);
    }
    let mean = bytes_per_plan.iter().sum::<f64>() / bytes_per_plan.len() as f64;
    println!("{mean:.1} bytes per plan");
    let without = small().emit();
    let image = TestImage::parse(&without).expect("a sound image");
    assert!(image.stored_plans().is_none());
}

#[test]
fn faults_of_stored_plans_are_found() {
    let mut stored = models().map(|(model, _)| (with_plans(&model), model));
    let ((bytes, plans), model) = stored
        .find(|((_, plans), _)| plans.len() > 3)
        .expect("a trade-off");
    let network = &model.network;
    let section = model.section();
    let written = |plans: &[Plan<LAYERS>]| {
        let mut buffer = vec![0; bytes.len() + 1024];
        let names = model.names.iter().map(String::as_str);
        let len = emit(network, names, plans, &section, &mut buffer).expect("room enough");
        TestImage::parse(&buffer[..len]).err()
    };
    assert_eq!(written(&plans), None);
    let mut equal = plans.clone();
    equal[1] = equal[0].clone();
    assert_eq!(written(&equal), Some(ImageError::Plans));
    // fewer bytes in all than the weights alone
    let mut few = plans.clone();
    let weights = few[0].weight_bytes;
    (few[0].ram_weight_bytes, few[0].arena_bytes) = (weights - 1, 0);
    assert_eq!(written(&few[..1]), Some(ImageError::Plans));
    // a device must not trust any byte of them
    let from = 28 + word(&bytes, 12) + word(&bytes, 16);
    let to = from + word(&bytes, 20);
    let mut rejected = 0;
    for at in from..to {
        for bit in 0..8 {
            let mut faulty = bytes.clone();
            faulty[at] ^= 1 << bit;
            bitbudget_tests::model::seal(&mut faulty);
            match TestImage::parse(&faulty) {
                Ok(image) => {
                    let plans = image.stored_plans();
                    let _ = plans.map(|plans| plans.within(u64::MAX).is_ok());
                }
                Err(error) => {
                    assert_eq!(error, ImageError::Plans);
                    rejected += 1;
                }
            }
        }
    }
    assert!(rejected > (to - from), "{rejected}");
}

fn word(bytes: &[u8], at: usize) -> usize {
    let word = bytes[at..at + 4].try_into().expect("four bytes");
    u32::from_le_bytes(word) as usize
}

#[test]
fn rules_that_cannot_be_obeyed_are_told() {
    let model = small();
    let layers = choosers(&model);
    let (first, second) = (layers[0], layers[1]);
    let levels = |network: &bitbudget_tests::model::TestNetwork, layer: usize| -> Vec<Level> {
        let row = network.prices.rows[layer].iter();
        row.map(|item| item.level).collect()
    };
    let mut network = model.network.clone();
    let layer = (0..network.layers.len()).find(|i| !network.layers[*i].op.has_weights());
    let layer = layer.expect("a layer without weights");
    let fp32 = Level::Fp32;
    assert_eq!(network.pin(layer, fp32), Err(RuleError::NoLevels { layer }));
    assert_eq!(
        network.pin(99, fp32),
        Err(RuleError::NoLevels { layer: 99 })
    );
    assert_eq!(
        network.tie(first, layer),
        Err(RuleError::NoLevels { layer })
    );
    let own = levels(&network, first);
    for level in &own[1..] {
        assert_eq!(network.forbid(first, *level), Ok(()));
        assert_eq!(
            network.forbid(first, *level),
            Err(RuleError::NoSuchLevel {
                layer: first,
                level: *level
            })
        );
    }
    assert_eq!(
        network.forbid(first, own[0]),
        Err(RuleError::LastLevel {
            layer: first,
            level: own[0]
        })
    );
    let other = levels(&network, second)
        .into_iter()
        .find(|level| *level != own[0]);
    let other = other.expect("another level");
    assert_eq!(network.pin(second, other), Ok(()));
    assert_eq!(
        network.tie(first, second),
        Err(RuleError::NothingInCommon {
            layers: [first, second]
        })
    );
    assert_eq!(network.check(), Ok(()));
}

#[test]
fn ties_that_cannot_be_are_found_in_images() {
    let mut model = small();
    let layers = choosers(&model);
    let (first, second) = (layers[0] as u16, layers[1] as u16);
    model
        .network
        .tie(layers[0], layers[1])
        .expect("levels in common");
    assert_eq!(model.network.check(), Ok(()));
    for layers in [[second, first], [first, first], [first, 99], [99, first]] {
        let mut faulty = model.clone();
        faulty.network.prices.ties[0] = layers;
        let error = NetworkError::Tie { layers };
        assert_eq!(faulty.network.check(), Err(error));
    }
    let layers = [first, second];
    let error = Err(NetworkError::Tie { layers });
    let mut other_order = model.clone();
    other_order.network.prices.rows[usize::from(second)].reverse();
    assert_eq!(other_order.network.check(), error);
    let mut too_much = model.clone();
    for layer in [first, second] {
        too_much.network.prices.rows[usize::from(layer)][0].price = i32::MAX;
    }
    assert_eq!(too_much.network.check(), error);
    // prices that are large together are made smaller together
    let mut large = small();
    for item in large.network.prices.rows.iter_mut().flatten() {
        item.price = (1 << 30) - 1;
    }
    let unit = large.network.prices.unit;
    large
        .network
        .tie(layers[0].into(), layers[1].into())
        .expect("levels in common");
    assert_eq!(large.network.check(), Ok(()));
    assert_eq!(large.network.prices.unit, 2.0 * unit);
    assert_eq!(
        large.network.prices.rows[usize::from(first)][0].price,
        (1 << 29) - 1
    );
}

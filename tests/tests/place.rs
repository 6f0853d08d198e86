//! Weights that are read where the image lies: plans, memory and outputs.

use bitbudget_core::engine::{Engine, EngineError, Input};
use bitbudget_core::image::Image;
use bitbudget_core::level::Level;
use bitbudget_core::plan::{Budget, BudgetTooSmall, Place, Plan, Planner};
use bitbudget_core::storage::Mapped;
use bitbudget_tests::arena::Arena;
use bitbudget_tests::builder::Style;
use bitbudget_tests::generate;
use bitbudget_tests::model::{LAYERS, LEVELS, Model, TestImage};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const FEW: [Level; 3] = {
    use bitbudget_core::quant::{Rounding, Width};
    [
        Level::Fp32,
        Level::Int(Width::Int8, Rounding::Nearest),
        Level::Int(Width::Int4, Rounding::Floor),
    ]
};

fn bits(outputs: &[f32]) -> Vec<u32> {
    outputs.iter().map(|x| x.to_bits()).collect()
}

/// The least price of any layout whose activations fit, by going through all of them.
fn least_price(model: &Model, bytes: u64) -> Option<i64> {
    let layouts = model.layouts().into_iter();
    let fitting = layouts.filter(|levels| model.arena_bytes(levels) <= bytes);
    fitting.map(|levels| model.price(&levels)).min()
}

#[test]
fn plans_are_optimal_and_take_the_activations_alone() {
    let mut rng = SmallRng::seed_from_u64(61);
    let (mut planned, mut refused) = (0, 0);
    for seed in 0..60 {
        let model = generate::model_at(seed, Style::Real, 7, &FEW);
        if model.layouts().len() > 1 << 10 {
            continue;
        }
        let network = &model.network;
        let mut planner = Box::new(Planner::<LAYERS, LEVELS>::with_weights_in(
            Place::Flash,
            network,
        ));
        let most = model.arena_bytes(&model.all_at(Level::Fp32));
        for _ in 0..12 {
            let bytes = rng.random_range(most / 8..=most + 4);
            match (
                planner.plan(network, Budget::Total(bytes), u64::MAX),
                least_price(&model, bytes),
            ) {
                (Ok(plan), Some(price)) => {
                    assert_eq!((plan.price, plan.is_optimal()), (price, true));
                    assert_eq!(plan.total_bytes(), model.arena_bytes(&plan.levels));
                    let weights = u64::from(plan.weight_bytes);
                    assert_eq!(weights, model.weight_bytes(&plan.levels));
                    assert_eq!(plan.ram_weight_bytes(), 0);
                    planned += 1;
                }
                (Err(BudgetTooSmall { smallest_bytes, .. }), None) => {
                    assert!(smallest_bytes > bytes);
                    refused += 1;
                }
                (plan, price) => panic!("{bytes}: {plan:?} {price:?}"),
            }
            // the weights' own limit counts them wherever they lie
            let whole = network.fp32_weight_bytes();
            let budget = Budget::Weights(rng.random_range(0..=whole));
            let mut in_ram = Box::new(Planner::<LAYERS, LEVELS>::new(network));
            let same = in_ram.plan(network, budget, u64::MAX);
            let found = planner.plan(network, budget, u64::MAX);
            match (found, same) {
                (Ok(found), Ok(same)) => assert_eq!(found.price, same.price),
                (found, same) => assert_eq!(found.err(), same.err()),
            }
        }
    }
    assert!(planned > 300 && refused > 50, "{planned} {refused}");
}

/// The place changes no bit, whatever it was before, and an arena of the plan's bytes is enough.
#[test]
fn outputs_do_not_depend_on_the_place() {
    let mut rng = SmallRng::seed_from_u64(62);
    for seed in 0..150 {
        let model = generate::model_at(seed, Style::Real, 6, &Level::ALL);
        let bytes = aligned(&model.emit());
        let image = TestImage::parse(bytes.bytes()).expect("an image");
        let network = image.network();
        let mut roomy = Arena::new(1 << 20);
        let mut moving = Engine::new(&image, roomy.lend()).expect("an engine");
        for _ in 0..6 {
            let pick = |row: &heapless::Vec<_, LEVELS>, at: usize| match row.len() {
                0 => 0,
                len => (at % len) as u8,
            };
            let rows = network.prices.rows.iter();
            let items: Vec<u8> = rows
                .map(|row| pick(row, rng.random_range(0..1_000)))
                .collect();
            let levels = network.levels_at(&items);
            let [flash, ram] = [Place::Flash, Place::Ram]
                .map(|place| Plan::of_levels(network, levels.clone(), place));
            assert_eq!(
                flash.total_bytes() + u64::from(ram.weight_bytes),
                ram.total_bytes()
            );
            let sample = generate::sample(&mut rng, &model);
            let mut outputs = Vec::new();
            for plan in [&flash, &ram] {
                let mut exact = Arena::new(plan.total_bytes() as usize);
                let mut fresh = Engine::new(&image, exact.lend()).expect("an engine");
                assert_eq!(fresh.load(plan.clone()), Ok(plan));
                outputs.push(bits(fresh.infer(Input::U8(&sample)).expect("outputs")));
            }
            let plan = if rng.random() { flash } else { ram };
            let spare = plan.total_bytes();
            moving.load(plan).expect("room");
            outputs.push(bits(moving.infer(Input::U8(&sample)).expect("outputs")));
            assert_eq!(moving.spare().len() as u64, (1 << 20) - spare);
            assert!(outputs.iter().all(|other| *other == outputs[0]));
        }
    }
}

/// Bytes at an address that is a multiple of 8.
fn aligned(bytes: &[u8]) -> Aligned {
    let mut arena = Arena::new(bytes.len());
    arena.lend().copy_from_slice(bytes);
    Aligned(arena)
}

struct Aligned(Arena);

impl Aligned {
    fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

#[test]
fn an_image_that_cannot_be_read_in_place_is_refused() {
    let bytes = generate::small().emit();
    let mut memory = Arena::new(bytes.len() + 2);
    memory.lend_off(2).copy_from_slice(&bytes);
    let image = Image::<LAYERS, LEVELS>::parse(&memory.bytes()[2..]).expect("an image");
    let mut arena = Arena::new(1 << 16);
    let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
    assert_eq!(
        engine.keep_weights_in(Place::Flash),
        Err(EngineError::NotMapped)
    );
    let all = Budget::Total(u64::MAX);
    let plan = engine
        .replan(all, u64::MAX)
        .expect("copies need no alignment");
    let in_flash = Plan {
        place: Place::Flash,
        ..plan.clone()
    };
    assert_eq!(engine.load(in_flash), Err(EngineError::NotMapped));
    assert!(engine.plan().is_some());

    let mut meta = vec![0; 1 << 14];
    let mut storage = Mapped(&bytes);
    let opened = TestImage::open(&mut storage, &mut meta).expect("an image");
    let mut arena = Arena::new(1 << 16);
    let mut engine = Engine::with_storage(&opened, storage, arena.lend()).expect("an engine");
    let refused = engine.keep_weights_in(Place::Flash);
    assert_eq!(refused, Err(EngineError::NotMapped));
}

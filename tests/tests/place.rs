//! Where weights lie: plans, memory, cycles and outputs.

use bitbudget::board::Board;
use bitbudget::capacity;
use bitbudget::layout;
use bitbudget::profile::Options;
use bitbudget_core::arena::Lifetimes;
use bitbudget_core::engine::{Engine, EngineError, Input};
use bitbudget_core::image::Image;
use bitbudget_core::level::Level;
use bitbudget_core::place::{Place, Places};
use bitbudget_core::plan::{Limits, LimitsTooSmall, Measure, Plan, Planner, TURN_CYCLES};
use bitbudget_core::quant::{Rounding, Width};
use bitbudget_core::storage::Mapped;
use bitbudget_tests::arena::Arena;
use bitbudget_tests::builder::Style;
use bitbudget_tests::model::{LAYERS, LEVELS, TestImage, TestPlanner};
use bitbudget_tests::whole::{Whole, all, give_cycles};
use bitbudget_tests::{digits, generate, whole};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const FEW: [Level; 3] = [
    Level::Fp32,
    Level::Int(Width::Int8, Rounding::Nearest),
    Level::Int(Width::Int4, Rounding::Floor),
];

fn bits(outputs: &[f32]) -> Vec<u32> {
    outputs.iter().map(|x| x.to_bits()).collect()
}

/// A planner with room for limits on everything.
type WidePlanner = Planner<LAYERS, { 2 * LEVELS }, 3>;

/// Least loss, and at its levels fewest cycles, then least RAM, under every kind of limits; and the same plan
/// from planners with room for more limits than there are.
#[test]
fn plans_equal_exhaustive_search_over_levels_and_places() {
    let mut rng = SmallRng::seed_from_u64(61);
    let (mut planned, mut refused, mut apart) = (0, 0, 0);
    for seed in 0..120 {
        let mut model = generate::model_at(seed, Style::Real, 6, &FEW);
        if model.layouts().len() > 1 << 8 {
            continue;
        }
        if !whole::are_placed_closest(&model) {
            apart += 1;
            continue;
        }
        give_cycles(&mut model, &mut rng);
        let network = &model.network;
        for places in [Places::Ram, Places::Flash, Places::Best] {
            let all = all(&model, places);
            let mut planner = Box::new(WidePlanner::with_places(places, network));
            let mut narrow = Box::new(TestPlanner::with_places(places, network));
            for _ in 0..18 {
                let some = &all[rng.random_range(0..all.len())];
                let other = &all[rng.random_range(0..all.len())];
                let limits = match rng.random_range(0..8) {
                    0 => Limits::ram(some.ram),
                    1 => Limits::ram(some.ram).with(Measure::Cycles, some.cycles),
                    2 => Limits::ram(some.ram).with(Measure::Cycles, other.cycles),
                    3 => Limits::NONE.with(Measure::Cycles, some.cycles),
                    4 => Limits::weights(some.weights).with(Measure::Cycles, other.cycles),
                    5 => Limits::ram(other.ram).with(Measure::Weights, some.weights),
                    6 => Limits::ram(some.ram)
                        .with(Measure::Cycles, some.cycles)
                        .with(Measure::Weights, some.weights),
                    _ => Limits::ram(some.ram)
                        .with(Measure::Cycles, other.cycles)
                        .with(Measure::Weights, some.weights.midpoint(other.weights)),
                };
                let within = || all.iter().filter(|whole| whole.is_within(&limits));
                let best = within().map(|whole| whole.price).min();
                let plan = planner.plan(network, limits, u64::MAX);
                if narrow.check(network, &limits).is_ok() {
                    assert_eq!(narrow.plan(network, limits, u64::MAX), plan);
                }
                let Some(price) = best else {
                    let error = plan.expect_err("nothing fits");
                    assert!(error.proven && error.limits == limits);
                    refused += 1;
                    continue;
                };
                let plan = plan.expect("it fits");
                assert!(plan.is_optimal() && plan.is_within(&limits));
                assert_eq!(plan.price, price, "seed {seed}, {limits}");
                let mut alike: Vec<_> = within().collect();
                alike.retain(|whole| whole.levels[..] == plan.levels[..]);
                let best = alike.iter().map(|whole| whole.effort()).min();
                assert_eq!(best, Some(plan.effort()), "seed {seed} {limits}");
                assert_eq!(plan.cycles_bound, plan.cycles);
                planned += 1;
            }
        }
    }
    assert!(
        planned > 2_000 && refused > 30 && apart <= 5,
        "{planned} {refused} {apart}"
    );
}

/// A trained network on a board with slow flash, all of it: here no two layouts are as good as each other, so
/// the plan is the one of fewest cycles of all that are as good.
#[test]
fn plans_of_the_digits_equal_exhaustive_search() {
    let (graph, data, options) = digits::model();
    let options = Options {
        refine: 0,
        ..options
    };
    let mut network = digits::profiled(graph, &data, &options).network;
    let board = Board::named("nucleo-l476rg").expect("a board");
    board.give_cycles(&mut network).expect("modelled");
    for row in &mut network.prices.rows {
        let few = [Width::Int8, Width::Int4].map(|width| Level::Int(width, Rounding::Nearest));
        row.retain(|item| item.level == Level::Fp32 || few.contains(&item.level));
    }
    let lifetimes = Lifetimes::new(&network);
    let schedules = whole::schedules(&network, 1 << 10);
    // by the forms of tensors
    let mut arenas: Vec<(_, Vec<(u64, u32)>)> = Vec::new();
    // bytes in RAM and cycles of a choice of places
    type Set = (u64, u64);
    // price, index of the arenas, every choice of places
    let mut all: Vec<(i64, usize, Vec<Set>)> = Vec::new();
    for levels in layout::all_layouts(&network) {
        let rows = network.prices.rows.iter().zip(&levels);
        let items = rows.filter_map(|(row, level)| row.iter().find(|item| item.level == *level));
        let items: Vec<_> = items.collect();
        let price = items.iter().map(|item| i64::from(item.price)).sum();
        let forms = network.forms(&levels);
        let known = arenas.iter().position(|(of, _)| *of == forms);
        let known = known.unwrap_or_else(|| {
            let of_forms = whole::arenas(&lifetimes, &schedules, &forms);
            arenas.push((forms, of_forms));
            arenas.len() - 1
        });
        let sets = 0..1_u32 << items.len();
        let sets = sets.map(|set| {
            let (mut ram, mut cycles) = (0, 0);
            for (bit, item) in items.iter().enumerate() {
                let place = match set >> bit & 1 {
                    0 => Place::Flash,
                    _ => Place::Ram,
                };
                cycles += u64::from(item.cycles.at(place));
                ram += u64::from(if place == Place::Ram { item.bytes } else { 0 });
            }
            (ram, cycles)
        });
        all.push((price, known, sets.collect()));
    }
    let mut planner = capacity::planner(Places::Best, &network);
    let mut rng = SmallRng::seed_from_u64(65);
    let mut planned = 0;
    for round in 0..60 {
        let (_, known, sets) = &all[rng.random_range(0..all.len())];
        let (ram, cycles) = sets[rng.random_range(0..sets.len())];
        let arenas_of = &arenas[*known].1;
        let ram = ram + arenas_of[rng.random_range(0..arenas_of.len())].0;
        let limits = match round % 3 {
            0 => Limits::ram(ram),
            1 => Limits::ram(ram).with(Measure::Cycles, cycles),
            _ => Limits::NONE.with(Measure::Cycles, cycles),
        };
        let mut best: Option<(i64, u64)> = None;
        for (price, known, sets) in &all {
            if best.is_some_and(|(least, _)| least < *price) {
                continue;
            }
            for (bytes, cycles) in sets {
                for (arena, turns) in &arenas[*known].1 {
                    let within = limits.ram_bytes.is_none_or(|ram| bytes + arena <= ram)
                        && limits.cycles.is_none_or(|most| *cycles <= most);
                    let found = (*price, cycles + u64::from(*turns) * TURN_CYCLES);
                    if within && best.is_none_or(|best| found < best) {
                        best = Some(found);
                    }
                }
            }
        }
        let plan = planner.plan(&network, limits, u64::MAX).ok();
        planned += u32::from(plan.is_some());
        let found = plan.map(|plan| (plan.price, plan.effort()));
        assert_eq!(found, best, "{limits}");
    }
    assert!(planned > 40, "{planned}");
}

#[test]
fn limits_below_everything_name_the_smallest() {
    let mut rng = SmallRng::seed_from_u64(63);
    for seed in 0..40 {
        let mut model = generate::model_at(seed, Style::Real, 6, &FEW);
        give_cycles(&mut model, &mut rng);
        let network = &model.network;
        if model.layouts().len() == 1 || model.layouts().len() > 1 << 8 {
            continue;
        }
        for places in [Places::Ram, Places::Flash, Places::Best] {
            let all = all(&model, places);
            let mut planner = Box::new(TestPlanner::with_places(places, network));
            let least = |of: fn(&Whole) -> u64| all.iter().map(of).min().expect("some");
            let smallest = Limits::ram(least(|w| w.ram)).with(Measure::Cycles, least(|w| w.cycles));
            let refused = planner.plan(network, Limits::ram(0), u64::MAX);
            let LimitsTooSmall { smallest: ram, .. } = refused.expect_err("too small");
            assert_eq!(ram.ram_bytes, smallest.ram_bytes);
            let none = Limits::ram(0).with(Measure::Cycles, 0);
            let refused = planner.plan(network, none, u64::MAX);
            assert_eq!(refused.expect_err("too small").smallest, smallest);
        }
    }
}

/// More RAM never costs loss, and where it buys none it costs no cycles.
#[test]
fn more_ram_never_makes_a_plan_worse() {
    let mut rng = SmallRng::seed_from_u64(64);
    let mut faster = 0;
    for seed in 0..30 {
        let mut model = generate::model_at(seed, Style::Real, 10, &FEW);
        give_cycles(&mut model, &mut rng);
        let network = &model.network;
        let mut planner = Box::new(TestPlanner::with_places(Places::Best, network));
        let most = model.total_bytes(&model.all_at(Level::Fp32));
        let mut before: Option<Plan<LAYERS>> = None;
        for part in 0..=20 {
            let limits = Limits::ram(most * part / 20);
            let Ok(plan) = planner.plan(network, limits, u64::MAX) else {
                assert!(before.is_none());
                continue;
            };
            if let Some(before) = before {
                assert!(plan.price <= before.price);
                assert!(plan.price < before.price || plan.effort() <= before.effort());
                faster += u32::from(plan.price == before.price && plan.effort() < before.effort());
            }
            before = Some(plan);
        }
    }
    assert!(faster > 30, "{faster}");
}

/// Places change no bit, whatever was resident before, and an arena of the plan's bytes is enough.
#[test]
fn outputs_do_not_depend_on_the_places() {
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
                flash.ram_bytes() + u64::from(ram.weight_bytes),
                ram.ram_bytes()
            );
            let mut mixed = flash.clone();
            for (layer, place) in mixed.places.iter_mut().enumerate() {
                if levels[layer].is_some() && rng.random() {
                    *place = Place::Ram;
                    let item = network.item_at(layer, levels[layer]);
                    mixed.ram_weight_bytes += item.expect("its level").bytes;
                }
            }
            let sample = generate::sample(&mut rng, &model);
            let mut outputs = Vec::new();
            for plan in [&flash, &ram, &mixed] {
                let mut exact = Arena::new(plan.ram_bytes() as usize);
                let mut fresh = Engine::new(&image, exact.lend()).expect("an engine");
                assert_eq!(fresh.load(plan.clone()), Ok(plan));
                outputs.push(bits(fresh.infer(Input::U8(&sample)).expect("outputs")));
            }
            let plan = [flash, ram, mixed][rng.random_range(0..3)].clone();
            let taken = plan.ram_bytes();
            moving.load(plan).expect("room");
            outputs.push(bits(moving.infer(Input::U8(&sample)).expect("outputs")));
            assert_eq!(moving.spare().len() as u64, (1 << 20) - taken);
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
    let mut planner = Box::new(TestPlanner::new(image.network()));
    let mut arena = Arena::new(1 << 16);
    let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
    assert!(!engine.is_mapped());
    let in_ram = engine.replan(&mut planner, Limits::NONE);
    let in_ram = in_ram.expect("copies need no alignment").clone();
    planner.set_places(Places::Flash);
    let refused = engine.replan(&mut planner, Limits::NONE);
    assert_eq!(refused, Err(EngineError::NotMapped));
    assert_eq!(engine.plan(), Some(&in_ram));

    let mut meta = vec![0; 1 << 14];
    let mut storage = Mapped(&bytes);
    let opened = TestImage::open(&mut storage, &mut meta).expect("an image");
    let mut arena = Arena::new(1 << 16);
    let mut engine = Engine::with_storage(&opened, storage, arena.lend()).expect("an engine");
    assert!(!engine.is_mapped());
    let refused = engine.replan(&mut planner, Limits::NONE);
    assert_eq!(refused, Err(EngineError::NotMapped));
}

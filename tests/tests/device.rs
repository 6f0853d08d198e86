//! The firmware in QEMU: the same plans and outputs as the host, in the RAM that the plan says.
//!
//! Without QEMU or the target these tests say so and pass; `./setup.sh` installs both.

use bitbudget::capacity::{HostImage, HostPlanner};
use bitbudget::device::{
    self, Answer, BOARDS, DeviceError, FirmwareError, HARDWARE, Sample, Session, Unit,
};
use bitbudget::evaluate::sample;
use bitbudget::pack;
use bitbudget_core::cascade::Schedule;
use bitbudget_core::engine::{Engine, EngineError, Input};
use bitbudget_core::place::{Place, Places};
use bitbudget_core::plan::{CapacityError, Limits, Measure, Plan};
use bitbudget_core::protocol::Refusal;
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::arena::Arena;
use bitbudget_tests::builder::{Builder, FEW, Style};
use bitbudget_tests::emulated::{
    DIGIT_LEN, client, digits, digits_image, emulator, planner, range,
};
use bitbudget_tests::generate;
use bitbudget_tests::model::Model;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// The RAM that the firmware takes beside the plan, whatever the plan: statics, and stack at its
/// deepest.
const RAM_BESIDE_PLAN: u32 = 111 * 1024;

#[test]
fn outputs_for_64_digits_at_five_budgets_are_the_hosts() {
    let Some(emulator) = emulator(BOARDS[0]) else {
        return;
    };
    let (bytes, data) = (digits_image(), digits());
    let image = HostImage::parse(&bytes).expect("an image");
    let samples: Vec<_> = (0..64).map(|i| sample(&data, i, DIGIT_LEN)).collect();
    let (smallest, largest) = range(&image);
    let mut planner = planner(&image);
    let mut session =
        Session::begin(emulator, Unit::Instructions, &image, &bytes, &|_| {}).expect("a session");
    // down and up again
    for part in [4, 0, 3, 1, 2] {
        let budget = Limits::ram(smallest + (largest - smallest) * part / 4);
        let host = planner.plan(image.network(), budget, u64::MAX);
        let answer = session
            .run(budget, Places::Ram, u64::MAX, &host, &samples)
            .expect("an answer");
        assert!(answer.matches(), "{budget:?}: {answer:?}");
        let Answer::Run(row) = answer else {
            panic!("{budget:?}: {answer:?}");
        };
        assert!(row.infer > Some(1_000) && row.copy > 1_000);
    }
}

/// The same instructions but for a few, and no RAM for weights.
#[test]
fn weights_in_flash_give_the_same_outputs_in_as_many_instructions() {
    let Some(mut client) = client() else {
        return;
    };
    let (bytes, data) = (digits_image(), digits());
    let image = HostImage::parse(&bytes).expect("an image");
    let network = image.network();
    let mut planner = Box::new(HostPlanner::with_places(Places::Flash, network));
    client.info().expect("an answer");
    client.load(&bytes, &|_| {}).expect("room for it");
    for budget in [Limits::ram(u64::MAX), Limits::ram(2_048)] {
        let host = planner.plan(network, budget, u64::MAX).expect("it fits");
        let device = client.replan(budget, Places::Flash, u64::MAX);
        let device = device.expect("a plan").plan;
        assert_eq!(device, host);
        assert_eq!(device.ram_bytes(), u64::from(device.arena_bytes));
        let rows = network.prices.rows.iter().zip(&device.levels);
        let items = rows.map(|(row, level)| {
            let item = row.iter().position(|item| Some(item.level) == *level);
            item.unwrap_or(0) as u8
        });
        let items: Vec<u8> = items.collect();
        for i in 0..4 {
            let sample = Sample::from(sample(&data, i, DIGIT_LEN));
            let [(flash, in_flash), (ram, in_ram)] = [Place::Flash, Place::Ram].map(|place| {
                client.choose(place, &items).expect("room");
                client.infer(&sample).expect("an output")
            });
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&flash), bits(&ram));
            assert!(
                in_flash.abs_diff(in_ram) * 100 <= in_ram,
                "{in_flash} {in_ram}"
            );
        }
    }
}

#[test]
fn plans_for_200_random_budgets_are_the_hosts() {
    let Some(mut client) = client() else {
        return;
    };
    let bytes = digits_image();
    let image = HostImage::parse(&bytes).expect("an image");
    let (smallest, largest) = range(&image);
    let mut planner = planner(&image);
    let mut rng = SmallRng::seed_from_u64(17);
    client.info().expect("an answer");
    let mut planned_count = 0;
    for _ in 0..200 {
        let bytes = rng.random_range(smallest - smallest / 20..=largest + 100);
        let budget = if rng.random() {
            Limits::ram(bytes)
        } else {
            Limits::weights(bytes - smallest / 20)
        };
        let node_limit = if rng.random() { u64::MAX } else { 1 };
        let host = planner.plan(image.network(), budget, node_limit);
        match (client.replan(budget, Places::Ram, node_limit), host) {
            (Ok(device), Ok(host)) => {
                assert_eq!(device.plan, host, "{budget:?}");
                planned_count += 1;
            }
            (
                Err(DeviceError::Refused(Refusal::Engine(EngineError::Limits(device)))),
                Err(host),
            ) => {
                assert_eq!(device, host);
            }
            (device, host) => panic!("{budget:?}: device {device:?}, host {host:?}"),
        }
    }
    assert!(planned_count > 100);
}

/// The linked image with the cycles of a board whose flash is slower than its RAM.
fn digits_with_cycles() -> Vec<u8> {
    let bytes = digits_image();
    let image = HostImage::parse(&bytes).expect("an image");
    let mut network = Box::new(image.network().clone());
    let board = bitbudget::board::Board::named("nucleo-f446re").expect("a board");
    board.give_cycles(&mut network).expect("modelled");
    pack::with_cycles(&image, &network).expect("an image")
}

/// Random limits of RAM, and of cycles as well, with places that are free: the host's plans and bits.
#[test]
fn plans_over_levels_and_places_are_the_hosts() {
    let Some(mut client) = client() else {
        return;
    };
    let (bytes, data) = (digits_with_cycles(), digits());
    let image = HostImage::parse(&bytes).expect("an image");
    let network = image.network();
    let mut planner = Box::new(HostPlanner::with_places(Places::Best, network));
    let all = planner.plan(network, Limits::NONE, u64::MAX);
    let all = all.expect("it fits");
    let mut arena = Arena::new(all.ram_bytes() as usize);
    let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
    let mut rng = SmallRng::seed_from_u64(29);
    client.info().expect("an answer");
    client.load(&bytes, &|_| {}).expect("room for it");
    let mut ticks: [Vec<u64>; 2] = [Vec::new(), Vec::new()];
    for round in 0..120 {
        let mut limits = Limits::ram(rng.random_range(1_900..=all.ram_bytes()));
        let is_timed = rng.random();
        if is_timed {
            limits = limits.with(Measure::Cycles, rng.random_range(1_200_000..2_400_000));
        }
        let node_limit = if rng.random() { u64::MAX } else { 100 };
        let host = planner.plan(network, limits, node_limit);
        match (client.replan(limits, Places::Best, node_limit), host) {
            (Ok(device), Ok(host)) => {
                assert_eq!(device.plan, host, "{limits}");
                ticks[usize::from(is_timed)].push(device.solve_ticks + device.copy_ticks);
                engine.load(host).expect("room");
                if round % 8 == 0 {
                    let sample = sample(&data, round, DIGIT_LEN);
                    let (output, _) = client.infer(&Sample::from(sample)).expect("an output");
                    let expected = engine.infer(sample).expect("an output");
                    let bits = |values: &[f32]| -> Vec<u32> {
                        values.iter().map(|x| x.to_bits()).collect()
                    };
                    assert_eq!(bits(&output), bits(expected), "{limits}");
                }
            }
            (
                Err(DeviceError::Refused(Refusal::Engine(EngineError::Limits(device)))),
                Err(host),
            ) => assert_eq!(device, host),
            (device, host) => panic!("{limits}: device {device:?}, host {host:?}"),
        }
    }
    for (ticks, what) in ticks.iter_mut().zip(["RAM", "RAM and cycles"]) {
        ticks.sort_unstable();
        assert!(ticks.len() > 20);
        println!(
            "limits of {what}: re-plan of {} ticks at the median, {:?} at most",
            ticks[ticks.len() / 2],
            ticks.last()
        );
    }
    let three = Limits::ram(1 << 20)
        .with(Measure::Cycles, 1 << 30)
        .with(Measure::Weights, 1 << 20);
    let refused = client.replan(three, Places::Best, 1);
    assert!(matches!(
        refused,
        Err(DeviceError::Refused(Refusal::Planner(
            CapacityError::Limits { found: 3, limit: 2 }
        )))
    ));
}

/// The instruction set's own loops, on shapes with every remainder, against the host's.
#[test]
fn outputs_of_random_networks_are_the_hosts() {
    let Some(mut client) = client() else {
        return;
    };
    client.info().expect("an answer");
    let mut rng = SmallRng::seed_from_u64(23);
    for seed in 0..100 {
        let model = if seed % 4 == 0 {
            generate::model_at(seed, Style::Real, 1 + seed as usize % 9, &FEW)
        } else {
            one_convolution(seed, &mut rng)
        };
        let bytes = model.emit();
        let image = HostImage::parse(&bytes).expect("an image");
        client.load(&bytes, &|_| {}).expect("room for it");
        let mut planner = planner(&image);
        let all = planner.plan(image.network(), Limits::ram(u64::MAX), u64::MAX);
        let all = all.expect("it fits").ram_bytes();
        let mut arena = Arena::new(all as usize);
        let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
        let smallest = planner.plan(image.network(), Limits::ram(0), u64::MAX);
        let smallest = smallest.map_or_else(
            |error| error.smallest().expect("a limit").1,
            |plan| plan.ram_bytes(),
        );
        for budget in [all, smallest] {
            let host = engine.replan(&mut planner, Limits::ram(budget)).cloned();
            let device = client.replan(Limits::ram(budget), Places::Ram, u64::MAX);
            assert_eq!(device.expect("a plan").plan, host.expect("a plan"));
            let raw = generate::sample(&mut rng, &model);
            let (output, _) = client
                .infer(&Sample::from(Input::U8(&raw)))
                .expect("an output");
            let expected = engine.infer(Input::U8(&raw)).expect("an output");
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&output), bits(expected), "{seed}: {:?}", model.network);
        }
    }
}

/// Random graphs, levels and limits of RAM that layers must run row by row for: the host's plans, and the bits
/// that its engine gives of whole tensors.
#[test]
fn cascades_of_random_graphs_are_the_hosts() {
    let Some(mut client) = client() else {
        return;
    };
    client.info().expect("an answer");
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let mut rng = SmallRng::seed_from_u64(31);
    let mut by_rows = 0;
    for seed in 0..200 {
        let model = generate::model_at(seed, Style::Real, 4 + seed as usize % 15, &FEW);
        let bytes = model.emit();
        let image = HostImage::parse(&bytes).expect("an image");
        let network = image.network();
        client.load(&bytes, &|_| {}).expect("room for it");
        let mut planner = Box::new(HostPlanner::with_places(Places::Flash, network));
        let least = planner.find_smallest(network).total;
        let all = planner.plan(network, Limits::NONE, u64::MAX);
        let all = all.expect("it fits").ram_bytes();
        let most = rng.random_range(least..=all.max(least));
        let limits = Limits::ram(if seed % 2 == 0 { least } else { most });
        let host = planner.plan(network, limits, u64::MAX).expect("a plan");
        let device = client.replan(limits, Places::Flash, u64::MAX);
        assert_eq!(device.expect("a plan").plan, host, "seed {seed}");
        by_rows += u32::from(!host.schedule.is_whole());
        let raw = generate::sample(&mut rng, &model);
        let output = client.infer(&Sample::from(Input::U8(&raw)));
        let (output, _) = output.expect("an output");
        let mut arena = Arena::new(1 << 20);
        let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
        let whole = Plan {
            schedule: Schedule::WHOLE,
            ..host
        };
        engine.load(whole).expect("room");
        let expected = engine.infer(Input::U8(&raw)).expect("an output");
        assert_eq!(bits(&output), bits(expected), "seed {seed}");
    }
    println!("{by_rows} plans with cascades");
    assert!(by_rows > 100, "{by_rows}");
}

/// A convolution with integer weights, of all channels or of groups, and what it does to borders.
fn one_convolution(seed: u64, rng: &mut SmallRng) -> Model {
    let mut sides = || rng.random_range(1..10);
    let shape = Shape::new(sides(), sides(), sides());
    let window = generate::window(rng, shape.h, shape.w);
    let levels = [
        ["int8", "int4"],
        ["int8-floor", "int2"],
        ["int8-ceil", "int8"],
        ["int8", "fp16"],
    ];
    let levels = levels[seed as usize % 4].map(|name| name.parse().expect("a level"));
    let mut builder = Builder::new(seed, Style::Real, shape);
    builder.levels = levels.to_vec();
    let groups = if seed.is_multiple_of(5) { shape.c } else { 1 };
    let channels = groups * rng.random_range(1..if groups == 1 { 12 } else { 3 });
    let first = builder.conv(0, window, groups, channels);
    builder.conv(first, Window::square(1, 1, 0), 1, 3);
    builder.finish()
}

#[test]
fn ram_is_the_plan_and_a_constant() {
    let Some(mut client) = client() else {
        return;
    };
    let bytes = digits_image();
    let image = HostImage::parse(&bytes).expect("an image");
    let (smallest, largest) = range(&image);
    let input = Sample::from(sample(&digits(), 0, DIGIT_LEN));
    client.info().expect("an answer");
    for part in 0..=4 {
        // the arena is painted when an image is loaded
        client.load_linked().expect("an image");
        let budget = Limits::ram(smallest + (largest - smallest) * part / 4);
        let plan = client
            .replan(budget, Places::Ram, u64::MAX)
            .expect("a plan");
        client.infer(&input).expect("an output");
        let stats = client.stats().expect("statistics");
        let used = u64::from(stats.arena_used_bytes);
        assert!(used <= plan.plan.ram_bytes(), "{stats:?}");
        assert!(used > u64::from(plan.plan.weight_bytes), "{stats:?}");
        let beside = stats.static_bytes + stats.stack_used_bytes;
        assert!(beside <= RAM_BESIDE_PLAN, "{stats:?}");
    }
}

#[test]
fn the_other_boards_run_or_build() {
    let (bytes, data) = (digits_image(), digits());
    let image = HostImage::parse(&bytes).expect("an image");
    let samples = [sample(&data, 5, DIGIT_LEN)];
    for board in &BOARDS[1..] {
        let Some(emulator) = emulator(*board) else {
            continue;
        };
        let unit = Unit::Instructions;
        let mut session = Session::begin(emulator, unit, &image, &bytes, &|_| {}).expect("begun");
        assert_eq!(session.board(), board.name);
        for budget in [u64::MAX, range(&image).0].map(Limits::ram) {
            let host = planner(&image).plan(image.network(), budget, u64::MAX);
            let answer = session
                .run(budget, Places::Ram, u64::MAX, &host, &samples)
                .expect("an answer");
            assert!(answer.matches(), "{}: {answer:?}", board.name);
        }
    }
    match device::build(HARDWARE) {
        Ok(_) | Err(FirmwareError::NoTarget { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
}

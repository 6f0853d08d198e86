//! Layers that run row by row: the bits of whole tensors, in an arena of exactly as many bytes as the plan says.

use bitbudget::capacity::HostPlan;
use bitbudget::memory::Memory;
use bitbudget_core::arena::Lifetimes;
use bitbudget_core::cascade::Schedule;
use bitbudget_core::engine::{Engine, EngineError, Input};
use bitbudget_core::level::Level;
use bitbudget_core::plan::Plan;
use bitbudget_core::quant::{Rounding, Width};
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::arena::Arena;
use bitbudget_tests::builder::{Builder, Style};
use bitbudget_tests::generate::{self, levels, sample};
use bitbudget_tests::model::{LAYERS, LEVELS, Model, TestImage, plan_of};
use bitbudget_tests::{networks, whole};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

type TestEngine<'a> = Engine<'a, LAYERS, LEVELS>;

const INT8: Level = Level::Int(Width::Int8, Rounding::Nearest);

/// The output's bits in a schedule, and all tensors' that are whole, in an arena of exactly the plan's bytes, of
/// which one byte less is too few.
fn run(
    image: &TestImage<'_>,
    levels: &[Option<Level>],
    schedule: &Schedule<LAYERS>,
    sample: &[u8],
) -> Vec<u32> {
    let plan = Plan {
        schedule: schedule.clone(),
        ..plan_of(levels)
    };
    let mut large = Arena::new(1 << 20);
    let mut engine = TestEngine::new(image, large.lend()).expect("an engine");
    let needed = engine.load(plan.clone()).expect("room enough").ram_bytes() as usize;
    let mut arena = Arena::new(needed);
    let mut engine = TestEngine::new(image, arena.lend()).expect("an engine");
    engine.load(plan.clone()).expect("room enough");
    let mut outputs = Vec::new();
    // the second time what the first one left is there
    for _ in 0..2 {
        let output = engine.infer(Input::U8(sample)).expect("an output");
        outputs.push(output.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
    }
    assert_eq!(outputs[0], outputs[1]);
    // and row by row, as a camera has it
    let row_len = sample.len() / usize::from(image.network().input.h);
    let mut rows = sample.chunks_exact(row_len).enumerate();
    let output = engine.infer_rows(|row, to| {
        let (expected, pixels) = rows.next().expect("as many as there are");
        assert_eq!(usize::from(row), expected);
        to.copy_from_slice(pixels);
    });
    let output = output.expect("an output");
    let bits = output.iter().map(|x| x.to_bits());
    assert!(bits.eq(outputs[0].iter().copied()), "{schedule:?}");
    // the last rows of a band may be such as no layer reads
    assert!(rows.next().is_none() || schedule.is_band(0));
    let mut short = Arena::new(needed - 1);
    let mut engine = TestEngine::new(image, short.lend()).expect("an engine");
    let refused = EngineError::ArenaTooSmall {
        needed_bytes: needed as u64,
        arena_bytes: needed - 1,
    };
    assert_eq!(engine.load(plan), Err(refused));
    outputs.swap_remove(0)
}

fn lifetimes(model: &Model) -> Lifetimes<LAYERS> {
    Lifetimes::new(&model.network)
}

#[test]
fn cascades_of_a_thousand_random_graphs_give_the_bits_of_whole_tensors() {
    let mut rng = SmallRng::seed_from_u64(90);
    let (mut cascades, mut summed) = (0, 0);
    for seed in 0..1_000 {
        let model = generate::model(seed, Style::Real, 4 + seed as usize % 15);
        let lifetimes = lifetimes(&model);
        let bytes = model.emit();
        let image = TestImage::parse(&bytes).expect("a sound image");
        let (levels, sample) = (levels(&mut rng, &model), sample(&mut rng, &model));
        let forms = model.forms(&levels);
        let expected = run(&image, &levels, &Schedule::WHOLE, &sample);
        let (smallest, placed) = lifetimes.smallest(&forms);
        let whole = lifetimes.place(&forms, &Schedule::WHOLE).bytes();
        let between = rng.random_range(placed.bytes()..=whole.max(placed.bytes()));
        let within = lifetimes.within(&forms, between).map(|(schedule, placed)| {
            assert!(placed.bytes() <= between);
            schedule
        });
        let all = whole::schedules(&model.network, 64);
        let random = all.choose(&mut rng).expect("a schedule").clone();
        for schedule in [Some(smallest), within, Some(random)].into_iter().flatten() {
            assert_eq!(
                run(&image, &levels, &schedule, &sample),
                expected,
                "seed {seed}, {schedule:?}"
            );
            let bands = lifetimes.bands(&schedule);
            let bands = bands.as_view();
            summed += bands.layers.iter().filter(|band| band.sums).count();
            cascades += schedule.cascades().count();
        }
    }
    println!("{cascades} cascades, {summed} sums of rows");
    assert!(cascades > 2_000 && summed > 60, "{cascades} {summed}");
}

/// Pixels of inputs so large are looked up in tables.
#[test]
fn rows_of_large_inputs_are_those_of_the_whole_input() {
    let mut rng = SmallRng::seed_from_u64(93);
    for seed in 0..60 {
        let channels = 1 + seed as u16 % 6;
        let mut builder = Builder::new(seed, Style::Real, Shape::new(18, 17, channels));
        builder.levels = Level::ALL.to_vec();
        let a = builder.conv(0, Window::square(3, 1, 1), 1, 4);
        let b = builder.conv(a, Window::square(3, 2, 1), 1, 5);
        let c = builder.avg_pool(b, generate::global(builder.shape(b)), false);
        builder.dense(c, 3);
        let model = builder.finish();
        let bytes = model.emit();
        let image = TestImage::parse(&bytes).expect("a sound image");
        let (levels, sample) = (levels(&mut rng, &model), sample(&mut rng, &model));
        let (schedule, _) = lifetimes(&model).smallest(&model.forms(&levels));
        assert!(schedule.is_band(0));
        let expected = run(&image, &levels, &Schedule::WHOLE, &sample);
        assert_eq!(
            run(&image, &levels, &schedule, &sample),
            expected,
            "seed {seed}"
        );
    }
}

#[test]
fn schedules_equal_exhaustive_search() {
    let mut rng = SmallRng::seed_from_u64(91);
    let (mut smaller, mut larger, mut more, mut checked) = (0, 0, 0, 0);
    for seed in 0..300 {
        let model = generate::model(seed, Style::Real, 3 + seed as usize % 6);
        let lifetimes = lifetimes(&model);
        let forms = model.forms(&levels(&mut rng, &model));
        let all: Vec<(u32, u32)> = whole::schedules(&model.network, 1 << 12)
            .iter()
            .map(|schedule| {
                let bytes = lifetimes.place(&forms, schedule).bytes();
                (bytes, lifetimes.turns(schedule))
            })
            .collect();
        let least = all.iter().map(|(bytes, _)| *bytes).min().expect("one");
        let whole = lifetimes.place(&forms, &Schedule::WHOLE).bytes();
        let (schedule, placed) = lifetimes.smallest(&forms);
        // blocks may fit closer in a schedule that was not placed
        assert!(placed.bytes() >= least, "seed {seed}");
        larger += u32::from(placed.bytes() > least);
        assert!(lifetimes.allows(&schedule) && lifetimes.live_bytes(&forms) <= least);
        smaller += u32::from(least < whole);
        for _ in 0..8 {
            let most = rng.random_range(least - 1..=whole.max(least));
            let fitting = all.iter().filter(|(bytes, _)| *bytes <= most);
            let fewest = fitting.map(|(_, turns)| *turns).min();
            let found = lifetimes.within(&forms, most);
            if let Some((schedule, placed)) = &found {
                assert!(
                    placed.bytes() <= most && lifetimes.turns(schedule) >= fewest.expect("one")
                );
            }
            let turns = found.map(|(schedule, _)| lifetimes.turns(&schedule));
            more += u32::from(turns != fewest);
            checked += 1;
        }
    }
    println!(
        "{smaller} smaller; {larger} not the smallest; {more} of {checked} not of fewest turns"
    );
    assert!(
        smaller > 150 && larger <= 6 && more <= 24,
        "{smaller} {larger} {more}"
    );
}

#[test]
fn schedules_that_would_lose_rows_are_refused() {
    // the input is read by the sum, which is behind the cascade
    let model = generate::small();
    let bytes = model.emit();
    let image = TestImage::parse(&bytes).expect("a sound image");
    let levels = model.all_at(INT8);
    let load = |bands: &[usize]| {
        let mut arena = Arena::new(1 << 16);
        let mut engine = TestEngine::new(&image, arena.lend()).expect("an engine");
        let plan = Plan {
            schedule: Schedule::of_bands(bands.iter().copied()),
            ..plan_of(&levels)
        };
        engine.load(plan).map(|_| ())
    };
    assert_eq!(load(&[0, 1]), Ok(()));
    for bands in [&[0][..], &[0, 2], &[4], &[100], &[3, 4]] {
        assert_eq!(load(bands), Err(EngineError::Schedule), "{bands:?}");
    }
}

/// Arena and turns of a network at INT8: all whole, and the smallest.
fn arenas<const N: usize, const K: usize>(
    network: &bitbudget_core::network::Network<N, K>,
) -> [u32; 2] {
    let lifetimes = Lifetimes::new(network);
    let forms = network.forms(&vec![INT8; network.layers.len()]);
    let (schedule, placed) = lifetimes.smallest(&forms);
    println!("{} turns", lifetimes.turns(&schedule));
    let whole = lifetimes.place(&forms, &Schedule::WHOLE);
    [whole.bytes(), placed.bytes()]
}

#[test]
fn networks_of_microcontrollers_run_in_a_fraction_of_the_ram() {
    let networks = [
        ("ResNet8", networks::resnet8_plain(), 11_776),
        ("ResNet8 with skips", networks::resnet8_residual(), 15_360),
        ("DS-CNN 49x10", networks::keyword_spotting(), 6_656),
        (
            "MobileNetV1 0.25 96x96",
            networks::visual_wake_words(),
            17_408,
        ),
        (
            "MobileNetV2 0.35 96x96",
            networks::mobilenet_v2(35, 96),
            18_432,
        ),
        (
            "MobileNetV2 1.0 224x224",
            networks::mobilenet_v2(100, 224),
            163_840,
        ),
    ];
    for (name, network, most) in networks {
        let [whole, smallest] = arenas(&network);
        println!("{name}: {whole} bytes whole, {smallest} row by row");
        assert!(smallest <= most && 2 * smallest < whole, "{name}");
    }
}

/// What a picture of the memory says: what is alive together lies apart, and within the arena.
#[test]
fn memory_is_told_as_it_is() {
    let mut replaced = 0;
    for network in [networks::resnet8_residual(), networks::mobilenet_v2(35, 96)] {
        let levels = network.layers.iter();
        let levels = levels.map(|layer| layer.op.has_weights().then_some(INT8));
        let levels: Vec<_> = levels.collect();
        let lifetimes = Lifetimes::new(&network);
        let forms = network.forms(&vec![INT8; network.layers.len()]);
        for schedule in [Schedule::WHOLE, lifetimes.smallest(&forms).0] {
            let plan = HostPlan {
                schedule,
                ..plan_of(&levels)
            };
            let memory = Memory::of(&network, &plan);
            for (i, block) in memory.blocks.iter().enumerate() {
                let end = block.offset + block.bytes;
                assert!(end <= memory.arena_bytes);
                for other in &memory.blocks[..i] {
                    let together = block.made[0] <= other.made[1] && other.made[0] <= block.made[1];
                    let apart = end <= other.offset || other.offset + other.bytes <= block.offset;
                    assert!(!together || apart);
                    let follows = other.made[1] + 1 == block.made[0];
                    replaced += usize::from(follows && other.offset == block.offset);
                }
            }
            let steps = memory.steps.iter();
            let most = steps.map(|step| step.bytes()).max();
            assert_eq!(most.max(Some(lifetimes.live_bytes(&forms))), most);
            assert!(most <= Some(memory.arena_bytes));
        }
    }
    assert!(replaced > 8, "{replaced} in place");
}

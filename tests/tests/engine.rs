//! The engine's use of the arena, and its errors.

use bitbudget_core::engine::{Engine, EngineError, Input};
use bitbudget_core::level::Level;
use bitbudget_core::plan::Limits;
use bitbudget_core::quant::{Rounding, Width};
use bitbudget_tests::arena::Arena;
use bitbudget_tests::builder::Style;
use bitbudget_tests::generate::{self, levels, sample, small};
use bitbudget_tests::model::{LAYERS, LEVELS, Model, TestImage, TestPlanner, plan_of};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

type TestEngine<'a> = Engine<'a, LAYERS, LEVELS>;

fn infer(engine: &mut TestEngine<'_>, sample: &[u8]) -> Vec<u32> {
    let output = engine.infer(Input::U8(sample)).expect("an input that fits");
    output.iter().map(|x| x.to_bits()).collect()
}

/// The output of an engine that never had another plan.
fn fresh(model: &Model, levels: &[Option<Level>], sample: &[u8]) -> Vec<u32> {
    let bytes = model.emit();
    let image = TestImage::parse(&bytes).expect("a sound image");
    let mut arena = Arena::new(model.whole_bytes(levels) as usize);
    let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
    engine.load(plan_of(levels)).expect("room enough");
    infer(&mut engine, sample)
}

/// Writes a pattern into all that the plan leaves; `salt` makes it another one.
fn mark(engine: &mut TestEngine<'_>, salt: u8) {
    let spare = engine.spare();
    for (i, byte) in spare.iter_mut().rev().enumerate() {
        *byte = (i * 37) as u8 ^ salt;
    }
}

/// Whether the last `len` bytes of the arena still have the pattern.
fn is_marked(engine: &mut TestEngine<'_>, len: usize, salt: u8) -> bool {
    let mut end = engine.spare().iter().rev().take(len).enumerate();
    end.all(|(i, byte)| *byte == (i * 37) as u8 ^ salt)
}

/// One random change of plan; errors leave the plan of before.
fn change(
    rng: &mut SmallRng,
    engine: &mut TestEngine<'_>,
    planner: &mut TestPlanner,
    model: &Model,
) {
    let most = model.whole_bytes(&model.all_at(Level::Fp32));
    let nodes = if rng.random_bool(0.2) { 3 } else { u64::MAX };
    let before = engine.plan().cloned();
    let changed = match rng.random_range(0..4) {
        0 => engine.load(plan_of(&levels(rng, model))).cloned(),
        1 => engine
            .replan_within(planner, Limits::weights(rng.random_range(0..=most)), nodes)
            .cloned(),
        _ => engine
            .replan_within(planner, Limits::ram(rng.random_range(0..=most)), nodes)
            .cloned(),
    };
    match changed {
        Ok(plan) => assert_eq!(engine.plan(), Some(&plan)),
        // several forms of one tensor can take more than FP32 alone
        Err(EngineError::Limits(_) | EngineError::ArenaTooSmall { .. }) => {
            assert_eq!(engine.plan(), before.as_ref());
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn plans_leave_no_trace_of_the_plans_before() {
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..120 {
        let style = if rng.random() {
            Style::Real
        } else {
            Style::Dyadic
        };
        let model = generate::model(rng.random(), style, rng.random_range(1..=10));
        let bytes = model.emit();
        let image = TestImage::parse(&bytes).expect("a sound image");
        let most = model.whole_bytes(&model.all_at(Level::Fp32)) as usize;
        let len = most + rng.random_range(0..200);
        let mut arena = Arena::new(len);
        let mut planner = Box::new(TestPlanner::new(image.network()));
        let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
        assert_eq!(engine.spare().len(), len);
        let sample = sample(&mut rng, &model);
        for step in 0..200 {
            mark(&mut engine, step);
            let unused = engine.spare().len();
            change(&mut rng, &mut engine, &mut planner, &model);
            // what neither the old nor the new plan takes
            let unused = unused.min(engine.spare().len());
            assert!(is_marked(&mut engine, unused, step));
            let Some(plan) = engine.plan().cloned() else {
                continue;
            };
            assert_eq!(engine.spare().len(), len - plan.ram_bytes() as usize);
            let ram = model.ram_bytes(&plan.levels, &plan.schedule);
            assert_eq!(plan.ram_bytes(), ram);
            mark(&mut engine, !step);
            let output = infer(&mut engine, &sample);
            assert_eq!(output, fresh(&model, &plan.levels, &sample), "step {step}");
            assert_eq!(output, infer(&mut engine, &sample));
            assert!(is_marked(&mut engine, usize::MAX, !step));
        }
    }
}

#[test]
fn a_plan_takes_all_its_bytes_and_no_more() {
    let mut rng = SmallRng::seed_from_u64(2);
    for seed in 0..200 {
        let model = generate::model(seed, Style::Real, 8);
        let (low, high) = (
            model.all_at(Level::Int(Width::Int8, Rounding::Nearest)),
            model.all_at(Level::Fp32),
        );
        let [least, most] = [&low, &high].map(|levels| model.whole_bytes(levels));
        if least == most {
            continue;
        }
        let bytes = model.emit();
        let image = TestImage::parse(&bytes).expect("a sound image");
        let sample = sample(&mut rng, &model);

        let mut exact = Arena::new(most as usize);
        let mut engine = Engine::new(&image, exact.lend()).expect("an engine");
        engine.load(plan_of(&high)).expect("room enough");
        assert!(engine.spare().is_empty());
        assert_eq!(infer(&mut engine, &sample), fresh(&model, &high, &sample));

        let mut short = Arena::new(most as usize - 1);
        let mut engine = Engine::new(&image, short.lend()).expect("an engine");
        let plan = engine.load(plan_of(&low)).expect("room enough").clone();
        assert_eq!(plan.ram_bytes(), least);
        let expected = EngineError::ArenaTooSmall {
            needed_bytes: most,
            arena_bytes: most as usize - 1,
        };
        assert_eq!(engine.load(plan_of(&high)), Err(expected));
        assert_eq!(engine.plan(), Some(&plan));
        assert_eq!(infer(&mut engine, &sample), fresh(&model, &low, &sample));
    }
}

/// The high-water mark: the last byte of the activations is needed by some layout.
#[test]
fn activations_reach_the_end_of_the_arena() {
    let mut rng = SmallRng::seed_from_u64(3);
    let mut reached = 0;
    for seed in 0..100 {
        let model = generate::model(seed, Style::Real, 6);
        let high = model.all_at(Level::Fp32);
        let bytes = model.emit();
        let image = TestImage::parse(&bytes).expect("a sound image");
        let mut arena = Arena::new(model.whole_bytes(&high) as usize);
        let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
        engine.load(plan_of(&high)).expect("room enough");
        let sample = sample(&mut rng, &model);
        infer(&mut engine, &sample);
        drop(engine);
        // an arena is lent as NaN
        let last = arena.lend().last_chunk::<4>().copied();
        reached += usize::from(last != Some([0xff; 4]));
    }
    assert!(reached > 60, "{reached}");
}

#[test]
fn an_arena_too_small_for_the_budget_is_an_error() {
    let model = small();
    let bytes = model.emit();
    let image = TestImage::parse(&bytes).expect("a sound image");
    let mut arena = Arena::new(16);
    let mut planner = Box::new(TestPlanner::new(image.network()));
    let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
    let Err(EngineError::ArenaTooSmall {
        needed_bytes,
        arena_bytes: 16,
    }) = engine.replan(&mut planner, Limits::ram(u64::MAX))
    else {
        panic!("16 bytes are too few");
    };
    assert!(needed_bytes > 16);
    assert_eq!(engine.plan(), None);
    let raw = vec![0; model.network.input.len()];
    assert_eq!(engine.infer(Input::U8(&raw)), Err(EngineError::NoPlan));
    assert!(engine.tensor(0).is_none());
    assert_eq!(engine.spare().len(), 16);
}

#[test]
fn arenas_and_inputs_that_do_not_fit_are_errors() {
    let model = small();
    let bytes = model.emit();
    let image = TestImage::parse(&bytes).expect("a sound image");
    let mut arena = Arena::new(4096);
    for off in 1..8 {
        let misaligned = Engine::new(&image, arena.lend_off(off));
        assert_eq!(misaligned.err(), Some(EngineError::Misaligned));
    }
    let mut planner = Box::new(TestPlanner::new(image.network()));
    let mut engine = Engine::new(&image, arena.lend_off(8)).expect("an aligned arena");
    engine
        .replan(&mut planner, Limits::ram(4096))
        .expect("room");
    let expected = model.network.input.len();
    for found in [0, expected - 1, expected + 1] {
        let error = Err(EngineError::InputLen { expected, found });
        assert_eq!(engine.infer(Input::U8(&vec![0; found])), error);
        assert_eq!(engine.infer(Input::F32(&vec![0.0; found])), error);
    }
    let raw: Vec<u8> = (0..expected).map(|i| i as u8).collect();
    let floats: Vec<f32> = raw.iter().map(|x| f32::from(*x)).collect();
    let output = infer(&mut engine, &raw);
    let same = engine.infer(Input::F32(&floats)).expect("as many floats");
    assert!(same.iter().map(|x| x.to_bits()).eq(output));
    assert!(engine.tensor(model.network.tensor_count()).is_none());
}

#[test]
fn levels_that_a_layer_does_not_have_are_errors() {
    let mut model = small();
    model.network.prices.rows[3].retain(|item| item.level != Level::Fp32);
    let bytes = model.emit();
    let image = TestImage::parse(&bytes).expect("a sound image");
    let mut arena = Arena::new(4096);
    let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
    let sound = model.all_at(Level::Int(Width::Int8, Rounding::Floor));
    let plan = engine.load(plan_of(&sound)).expect("room enough").clone();
    let raw = vec![77; model.network.input.len()];
    let output = infer(&mut engine, &raw);

    let absent = model.all_at(Level::Fp32);
    let (mut none, mut few) = (sound.clone(), sound.clone());
    none[3] = None;
    few.truncate(3);
    for (levels, level) in [(absent, Some(Level::Fp32)), (none, None), (few, None)] {
        let error = EngineError::NoSuchLevel { layer: 3, level };
        assert_eq!(engine.load(plan_of(&levels)), Err(error));
        assert_eq!(engine.plan(), Some(&plan));
        assert_eq!(infer(&mut engine, &raw), output);
    }
}

#[test]
fn a_watched_inference_is_the_same_step_by_step() {
    let model = generate::model(5, Style::Real, 8);
    let bytes = model.emit();
    let image = TestImage::parse(&bytes).expect("a sound image");
    let mut arena = Arena::new(1 << 16);
    let mut planner = Box::new(TestPlanner::new(image.network()));
    let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
    engine
        .replan(&mut planner, Limits::ram(u64::MAX))
        .expect("room enough");
    let sample = sample(&mut SmallRng::seed_from_u64(5), &model);
    let expected = infer(&mut engine, &sample);
    let mut tensors = Vec::new();
    let output = engine.infer_watched(Input::U8(&sample), |tensor, step| {
        tensors.push(tensor);
        step();
    });
    let output = output.expect("an input that fits").iter();
    assert!(output.map(|x| x.to_bits()).eq(expected));
    assert!(tensors.into_iter().eq(0..=model.network.layers.len()));
}

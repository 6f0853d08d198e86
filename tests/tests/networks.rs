//! Whole graphs at mixed levels, held against the reference.

use bitbudget_core::engine::Input;
use bitbudget_core::form::Form;
use bitbudget_core::level::Level;
use bitbudget_core::quant::{Rounding, Width};
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::builder::{Builder, Style};
use bitbudget_tests::check::{Compared, check};
use bitbudget_tests::generate::{self, levels, sample};
use bitbudget_tests::model::Model;
use bitbudget_tests::oracle;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Checks every layout of a model on a few samples.
fn check_all(rng: &mut SmallRng, model: &Model, compared: &mut Compared) {
    for levels in model.layouts() {
        let sample = sample(rng, model);
        check(model, &levels, Input::U8(&sample), compared);
    }
}

#[test]
fn random_graphs_at_random_levels() {
    let mut rng = SmallRng::seed_from_u64(1);
    for (style, least) in [(Style::Dyadic, 0.6), (Style::Real, 0.15)] {
        let mut compared = Compared::default();
        for _ in 0..3000 {
            let layers = rng.random_range(1..=14);
            let model = generate::model(rng.random(), style, layers);
            for is_signed in [false, true] {
                let levels = levels(&mut rng, &model);
                let sample = sample(&mut rng, &model);
                let signed: Vec<i8> = sample.iter().map(|x| x.cast_signed()).collect();
                let input = if is_signed {
                    Input::I8(&signed)
                } else {
                    Input::U8(&sample)
                };
                check(&model, &levels, input, &mut compared);
            }
        }
        assert!(compared.exact_part() > least, "{style:?} {compared:?}");
    }
}

#[test]
fn random_graphs_in_integers_alone() {
    let mut rng = SmallRng::seed_from_u64(2);
    let mut compared = Compared::default();
    for _ in 0..1000 {
        let model = generate::model(rng.random(), Style::Real, rng.random_range(1..=18));
        let integers = rng.random_range(2..Level::ALL.len());
        let levels = model.all_at(Level::ALL[integers]);
        let sample = sample(&mut rng, &model);
        check(&model, &levels, Input::U8(&sample), &mut compared);
    }
    assert!(compared.exact_part() > 0.3, "{compared:?}");
    // a softmax in the middle
    assert!(compared.unknown < 22, "{compared:?}");
}

/// INT8 → FP32 → INT8 and every other order.
#[test]
fn a_chain_at_all_layouts() {
    let mut rng = SmallRng::seed_from_u64(3);
    let mut compared = Compared::default();
    for seed in 0..12 {
        let mut builder = Builder::new(seed, Style::Dyadic, Shape::new(6, 5, 2));
        builder.levels = vec![
            Level::Fp32,
            Level::Fp16,
            Level::Int(Width::Int8, Rounding::Nearest),
            Level::Int(Width::Int4, Rounding::Floor),
            Level::Int(Width::Int2, Rounding::Ceil),
        ];
        let a = builder.conv(0, Window::square(3, 1, 1), 1, 4);
        let b = builder.conv(a, Window::square(2, 2, 0), 1, 3);
        let c = builder.max_pool(b, Window::square(2, 1, 0));
        builder.dense(c, 5);
        check_all(&mut rng, &builder.finish(), &mut compared);
    }
    assert!(compared.exact_part() > 0.9, "{compared:?}");
}

/// One tensor that three layers read, each at a level of its own, and an operator that follows.
#[test]
fn readers_of_different_levels() {
    let mut rng = SmallRng::seed_from_u64(4);
    let mut compared = Compared::default();
    let mut most_forms = 0;
    for seed in 0..6 {
        let mut builder = Builder::new(seed, Style::Dyadic, Shape::new(4, 3, 3));
        let point = Window::square(1, 1, 0);
        let read = builder.conv(0, Window::square(3, 1, 1), 3, 3);
        let a = builder.conv(read, point, 1, 3);
        let b = builder.conv(read, point, 3, 3);
        let c = builder.conv(read, point, 1, 3);
        let d = builder.avg_pool(read, Window::square(3, 1, 1), true);
        let left = builder.add(a, b);
        let right = builder.add(d, c);
        builder.add(left, right);
        let model = builder.finish();
        for levels in model.layouts() {
            let forms = oracle::forms(&model, &levels, read);
            assert!(!forms.contains(&Form::F32) || forms[0] == Form::F32);
            most_forms = most_forms.max(forms.len());
        }
        check_all(&mut rng, &model, &mut compared);
    }
    assert_eq!(most_forms, 3);
    assert!(compared.exact_part() > 0.9, "{compared:?}");
}

/// Tensors that only operators without weights read are INT8 when what follows is.
#[test]
fn operators_without_weights_follow_their_readers() {
    let mut rng = SmallRng::seed_from_u64(5);
    let mut compared = Compared::default();
    for seed in 0..30 {
        let mut builder = Builder::new(seed, Style::Dyadic, Shape::new(6, 6, 2));
        let a = builder.max_pool(0, Window::square(2, 2, 0));
        let b = builder.conv(a, Window::square(3, 1, 1), 1, 2);
        let c = builder.add(a, b);
        let d = builder.reshape(c, Shape::new(3, 2, 3));
        let e = builder.avg_pool(d, Window::square(2, 1, 0), false);
        builder.dense(e, 3);
        check_all(&mut rng, &builder.finish(), &mut compared);
    }
    assert!(compared.exact_part() > 0.9, "{compared:?}");
}

//! Every operator on its own, held against the reference: INT8 bit for bit, FP32 within its
//! tolerance.

use bitbudget_core::arena::Lifetimes;
use bitbudget_core::cascade::Schedule;
use bitbudget_core::engine::Input;
use bitbudget_core::level::Level;
use bitbudget_core::op::Activation;
use bitbudget_core::quant::{QParams, Rounding, Width};
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::builder::{Builder, Style};
use bitbudget_tests::check::{Compared, check};
use bitbudget_tests::generate::{
    any_conv, any_unweighted, function, gate, global, levels, sample, shape, window,
};
use bitbudget_tests::model::Model;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const ZERO_POINTS: [i8; 5] = [-128, -127, 0, 5, 127];

/// A model of the operator that `add` adds, and a small layer that reads its output.
fn probed(rng: &mut SmallRng, style: Style, add: impl FnOnce(&mut Builder) -> usize) -> Model {
    let mut builder = Builder::new(rng.random(), style, shape(rng));
    builder.levels = Level::ALL.to_vec();
    let output = add(&mut builder);
    builder.dense(output, 1);
    builder.finish()
}

/// Random levels with INT8 inputs for every layer with weights.
fn int8(rng: &mut SmallRng, model: &Model) -> Vec<Option<Level>> {
    let mut levels = model.all_at(Level::Fp32);
    for level in levels.iter_mut().flatten() {
        *level = Level::ALL[rng.random_range(2..Level::ALL.len())];
    }
    levels
}

/// Checks `cases` models of one operator in INT8, each on several samples and layouts.
fn exact_in_int8(seed: u64, cases: usize, add: impl Fn(&mut Builder) -> usize) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut compared = Compared::default();
    for _ in 0..cases {
        let model = probed(&mut rng, Style::Real, &add);
        for _ in 0..3 {
            let levels = int8(&mut rng, &model);
            let sample = sample(&mut rng, &model);
            check(&model, &levels, Input::U8(&sample), &mut compared);
        }
    }
    // the operator's output is INT8; the probe's is FP32
    assert_eq!(compared.unknown, 0);
    assert!(compared.exact >= 3 * cases);
}

/// Checks `cases` models of one operator in FP32.
fn close_in_fp32(seed: u64, cases: usize, add: impl Fn(&mut Builder) -> usize) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut compared = Compared::default();
    for _ in 0..cases {
        for style in [Style::Real, Style::Dyadic] {
            let model = probed(&mut rng, style, &add);
            let sample = sample(&mut rng, &model);
            let float = [Level::Fp32, Level::Fp16][rng.random_range(0..2)];
            let levels = model.all_at(float);
            check(&model, &levels, Input::U8(&sample), &mut compared);
        }
    }
    assert_eq!(compared.unknown, 0);
    assert!(compared.exact > cases / 2 && compared.close > cases / 2);
}

#[test]
fn int8_convolutions_are_exact() {
    exact_in_int8(1, 2000, |builder| any_conv(builder, 0));
}

#[test]
fn int8_dense_layers_are_exact() {
    exact_in_int8(2, 1000, |builder| {
        let channels = builder.rng.random_range(1..=20);
        builder.dense(0, channels)
    });
}

#[test]
fn int8_operators_without_weights_are_exact() {
    exact_in_int8(3, 2000, |builder| any_unweighted(builder, 0));
}

#[test]
fn int8_sums_are_exact() {
    // both terms are INT8 tensors with parameters of their own
    exact_in_int8(4, 1000, |builder| {
        let same = Window::square(1, 1, 0);
        let channels = builder.shape(0).c;
        let other = builder.conv(0, same, 1, channels);
        builder.add(0, other)
    });
    exact_in_int8(5, 300, |builder| builder.add(0, 0));
}

/// The input beside another tensor, the one or the other first.
fn joined(builder: &mut Builder) -> usize {
    let channels = builder.rng.random_range(1..=6);
    let other = builder.conv(0, Window::square(1, 1, 0), 1, channels);
    if builder.rng.random() {
        builder.concat(0, other)
    } else {
        builder.concat(other, 0)
    }
}

#[test]
fn int8_functions_products_and_concatenations_are_exact() {
    exact_in_int8(31, 600, |builder| {
        let function = function(&mut builder.rng);
        builder.unary(0, function)
    });
    exact_in_int8(32, 1000, |builder| gate(builder, 0));
    exact_in_int8(33, 600, joined);
    exact_in_int8(34, 200, |builder| builder.mul(0, 0));
}

/// Sums and reshapes, in place of tensors that are as wide, and elsewhere.
#[test]
fn operators_in_place_give_what_they_give_elsewhere() {
    let mut rng = SmallRng::seed_from_u64(21);
    let mut compared = Compared::default();
    let mut in_place = [0; 3];
    let mut elsewhere = 0;
    for seed in 0..150 {
        let [h, w] = [rng.random_range(7..=12), rng.random_range(9..=13)];
        let channels = rng.random_range(5..=11);
        let mut builder = Builder::new(seed, Style::Dyadic, Shape::new(h, w, channels));
        builder.levels = Level::ALL.to_vec();
        let same = Window::square(1, 1, 0);
        let b = builder.conv(0, same, 1, channels);
        let a = builder.conv(0, same, 1, channels);
        let other = builder.conv(a, same, 1, channels);
        let sum = if rng.random() {
            builder.add(b, a)
        } else {
            builder.add(a, b)
        };
        let again = builder.add(other, sum);
        let last = builder.reshape(again, Shape::new(channels, h, w));
        builder.dense(last, 1);
        let model = builder.finish();
        let levels = levels(&mut rng, &model);
        let forms = model.forms(&levels);
        let blocks = Lifetimes::new(&model.network).blocks(&forms, &Schedule::WHOLE);
        for (count, (made, of)) in in_place
            .iter_mut()
            .zip([(sum, a), (again, sum), (last, again)])
        {
            let is_as_wide = forms[made].bytes(4) == forms[of].bytes(4);
            assert_eq!(blocks[made].of == blocks[of].of, is_as_wide);
            *count += usize::from(is_as_wide);
            elsewhere += usize::from(!is_as_wide);
        }
        let sample = sample(&mut rng, &model);
        check(&model, &levels, Input::U8(&sample), &mut compared);
    }
    let all = in_place.iter().chain([&elsewhere]);
    assert!(
        all.clone().all(|count| *count > 20),
        "{in_place:?} {elsewhere}"
    );
    assert!(compared.exact > 200, "{}", compared.exact);
}

#[test]
fn fp32_operators_are_within_the_tolerance() {
    close_in_fp32(6, 600, |builder| any_conv(builder, 0));
    close_in_fp32(7, 300, |builder| builder.dense(0, 17));
    close_in_fp32(8, 600, |builder| any_unweighted(builder, 0));
    close_in_fp32(9, 300, |builder| builder.add(0, 0));
    close_in_fp32(35, 300, |builder| builder.mul(0, 0));
    close_in_fp32(36, 300, joined);
}

#[test]
fn a_softmax_is_within_the_tolerance() {
    let mut rng = SmallRng::seed_from_u64(10);
    let mut compared = Compared::default();
    for turn in 0..600 {
        let mut builder = Builder::new(rng.random(), Style::Real, shape(&mut rng));
        let logits = match turn % 3 {
            0 => builder.dense(0, 12),
            // of each pixel
            1 => builder.conv(0, Window::square(1, 1, 0), 1, 5),
            _ => 0,
        };
        builder.softmax(logits, turn % 2 == 0);
        let model = builder.finish();
        let sample = sample(&mut rng, &model);
        let levels = levels(&mut rng, &model);
        check(&model, &levels, Input::U8(&sample), &mut compared);
    }
    assert!(compared.close >= 600);
}

/// Sets the zero points of the input and of the first layer's output, and its activation.
fn set(model: &mut Model, zero_points: [i8; 2], activation: Activation) {
    model.network.input_q.zero_point = zero_points[0];
    model.network.layers[0].output_q.zero_point = zero_points[1];
    model.network.layers[0].activation = activation;
}

/// Even and odd kernels with stride 2 and every padding, at the ends of the zero point's range, in
/// every pair of roundings.
#[test]
fn asymmetric_padding_writes_the_zero_point() {
    let mut rng = SmallRng::seed_from_u64(11);
    let mut compared = Compared::default();
    for kernel in [2, 3, 4] {
        for padding in 0..u32::pow(kernel, 4) {
            let side = |i: u32| (padding / u32::pow(kernel, i) % kernel) as u16;
            let window = Window {
                kernel: [kernel as u16; 2],
                stride: [2; 2],
                padding: [side(0), side(1), side(2), side(3)],
            };
            let input = Shape::new(rng.random_range(4..=5), rng.random_range(4..=5), 3);
            let mut builder = Builder::new(rng.random(), Style::Real, input);
            builder.levels = Level::ALL.to_vec();
            match padding % 4 {
                0 => builder.max_pool(0, window),
                1 => builder.avg_pool(0, window, rng.random()),
                2 => builder.conv(0, window, 3, 3),
                _ => builder.conv(0, window, 1, 2),
            };
            builder.dense(1, 1);
            let mut model = builder.finish();
            for zero_point in ZERO_POINTS {
                let mut pick = |from: [i8; 5]| from[rng.random_range(0..5)];
                let zero_points = [zero_point, pick(ZERO_POINTS)];
                set(&mut model, zero_points, Activation::None);
                let levels = int8(&mut rng, &model);
                let sample = sample(&mut rng, &model);
                check(&model, &levels, Input::U8(&sample), &mut compared);
            }
        }
    }
    assert_eq!(compared.unknown, 0);
}

#[test]
fn every_rounding_and_zero_point_of_input_and_output() {
    let mut rng = SmallRng::seed_from_u64(12);
    let mut compared = Compared::default();
    for input in ZERO_POINTS {
        for output in ZERO_POINTS {
            for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
                let mut model = probed(&mut rng, Style::Real, |builder| any_conv(builder, 0));
                set(&mut model, [input, output], activation);
                let sample = sample(&mut rng, &model);
                let width = Width::ALL[rng.random_range(0..3)];
                for read in Rounding::ALL {
                    for written in Rounding::ALL {
                        let levels =
                            [read, written].map(|rounding| Some(Level::Int(width, rounding)));
                        check(&model, &levels, Input::U8(&sample), &mut compared);
                    }
                }
            }
        }
    }
    assert_eq!(compared.unknown, 0);
}

/// Makes the first layer's integer weights and biases as large as they can be.
fn saturate(model: &mut Model, sign: fn(usize) -> f32, bias: f32) {
    let weights = &mut model.weights[0];
    for scale in &mut weights.scale {
        scale.fill(1.0 / 128.0);
    }
    for (i, w) in weights.weight.iter_mut().enumerate() {
        *w = 9.0 * sign(i);
    }
    weights.bias.fill(bias);
    for corrected in &mut weights.corrected {
        corrected.fill(bias);
    }
}

/// The longest sums with the largest elements: accumulators come near the ends of 32 bits.
#[test]
fn accumulators_hold_the_extremes() {
    let mut compared = Compared::default();
    let signs: [fn(usize) -> f32; 3] = [|_| 1.0, |_| -1.0, |i| if i % 2 == 0 { 1.0 } else { -1.0 }];
    let dense = Shape::new(32, 32, 32);
    let padded = Shape::new(2, 2, 32);
    let window = Window {
        kernel: [32; 2],
        stride: [15; 2],
        padding: [31, 30, 29, 31],
    };
    let mut builder = Builder::new(13, Style::Real, padded);
    builder.levels = Level::ALL.to_vec();
    builder.conv(0, window, 1, 1);
    let conv = builder.finish();
    let mut builder = Builder::new(14, Style::Real, dense);
    builder.levels = Level::ALL.to_vec();
    builder.dense(0, 2);
    for mut model in [conv, builder.finish()] {
        model.network.preprocess = Default::default();
        model.network.preprocess.mean.push(127.5).expect("room");
        let len = model.network.input.len();
        for (zero_point, bias) in [(-128, 1e9), (127, -1e9), (-128, -1e9), (127, 1e9), (0, 1e9)] {
            model.network.input_q = QParams {
                scale: 0.5,
                zero_point,
            };
            for sample in [vec![0; len], vec![255; len]] {
                for level in Level::ALL {
                    for sign in signs {
                        saturate(&mut model, sign, bias);
                        let levels = model.all_at(level);
                        check(&model, &levels, Input::U8(&sample), &mut compared);
                    }
                }
            }
        }
    }
    assert_eq!(compared.unknown, 0);
}

/// Raw floats of any size saturate on their way into INT8.
#[test]
fn extreme_inputs_saturate() {
    let mut rng = SmallRng::seed_from_u64(15);
    let mut compared = Compared::default();
    let extremes = [
        0.0,
        -0.0,
        1e-40,
        1e9,
        -1e9,
        1e30,
        -1e30,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    for _ in 0..200 {
        let model = probed(&mut rng, Style::Real, |builder| any_conv(builder, 0));
        let mut raw = || extremes[rng.random_range(0..extremes.len())];
        let raw: Vec<f32> = (0..model.network.input.len()).map(|_| raw()).collect();
        let levels = int8(&mut rng, &model);
        check(&model, &levels, Input::F32(&raw), &mut compared);
    }
    assert_eq!(compared.unknown, 0);
}

/// A pool over everything is a mean of many elements, a pool over one element is none.
#[test]
fn pools_of_one_and_of_all_elements() {
    let mut rng = SmallRng::seed_from_u64(16);
    let mut compared = Compared::default();
    for (h, w) in [(1, 1), (1, 40), (33, 1), (16, 24)] {
        for average in [false, true] {
            for window in [
                Window::square(1, 1, 0),
                global(Shape::new(h, w, 1)),
                window(&mut rng, h, w),
            ] {
                let mut builder = Builder::new(rng.random(), Style::Real, Shape::new(h, w, 3));
                if average {
                    builder.avg_pool(0, window, false);
                } else {
                    builder.max_pool(0, window);
                }
                builder.dense(1, 1);
                let model = builder.finish();
                for _ in 0..20 {
                    let levels = levels(&mut rng, &model);
                    let sample = sample(&mut rng, &model);
                    check(&model, &levels, Input::U8(&sample), &mut compared);
                }
            }
        }
    }
    assert!(compared.exact_part() > 0.4);
}

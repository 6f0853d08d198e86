//! Every fault of a network that an image is refused for.

use bitbudget_core::image::ImageError;
use bitbudget_core::level::Level;
use bitbudget_core::network::NetworkError;
use bitbudget_core::op::{Op, OpError};
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::builder::{Builder, Style};
use bitbudget_tests::generate::{self, small};
use bitbudget_tests::model::{Model, TestImage};

fn error_of(bytes: &[u8]) -> ImageError {
    TestImage::parse(bytes).expect_err("a faulty network")
}

/// The error of a network that `change` was made to.
fn check_error(change: impl FnOnce(&mut Model)) -> NetworkError {
    let mut model = small();
    change(&mut model);
    let fault = error_of(&model.emit());
    let ImageError::Check(error) = fault else {
        panic!("{fault}")
    };
    error
}

/// The error of layer 0's operator in a network that `change` was made to.
fn op_error(change: impl FnOnce(&mut Model)) -> OpError {
    let fault = check_error(change);
    let NetworkError::Op { layer: 0, error } = fault else {
        panic!("{fault}")
    };
    error
}

#[test]
fn faults_of_the_graph() {
    let cyclic = |tensor| NetworkError::InputNotBefore { layer: 1, tensor };
    for tensor in [2, 3, 4, 5, u16::MAX] {
        let error = check_error(|m| m.network.layers[1].inputs[0] = tensor);
        assert_eq!(error, cyclic(tensor));
    }
    let unused = check_error(|m| m.network.layers[1].inputs[1] = 0);
    assert_eq!(unused, NetworkError::Unused { layer: 0 });
    let none = check_error(|m| {
        m.network.layers.clear();
        m.network.prices.rows.clear();
        m.names.clear();
    });
    assert_eq!(none, NetworkError::NoLayers);
    for shape in [
        Shape::new(0, 2, 2),
        Shape::new(3, 2, 0),
        Shape::new(u16::MAX, 1024, 2),
    ] {
        let error = check_error(|m| m.network.input = shape);
        assert_eq!(error, NetworkError::Size { tensor: 0, shape });
        let error = check_error(|m| m.network.layers[2].output = shape);
        assert_eq!(error, NetworkError::Size { tensor: 3, shape });
    }
}

#[test]
fn faults_of_the_parameters() {
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40, 1e30] {
        let error = check_error(|m| m.network.input_q.scale = scale);
        assert_eq!(error, NetworkError::Scale { tensor: 0 });
        let error = check_error(|m| m.network.layers[3].output_q.scale = scale);
        assert_eq!(error, NetworkError::Scale { tensor: 4 });
        if !(scale.is_finite() && scale > 0.0) {
            let error = check_error(|m| m.network.preprocess.scale = scale);
            assert_eq!(error, NetworkError::Preprocess);
            let error = check_error(|m| m.network.preprocess.std = [scale].into_iter().collect());
            assert_eq!(error, NetworkError::Preprocess);
            let error = check_error(|m| m.network.prices.unit = scale.into());
            assert_eq!(error, NetworkError::Unit);
        }
    }
    for mean in [&[f32::NAN][..], &[0.0; 3]] {
        let error = check_error(|m| m.network.preprocess.mean = mean.iter().copied().collect());
        assert_eq!(error, NetworkError::Preprocess);
    }
}

#[test]
fn faults_of_the_prices() {
    let few = check_error(|m| drop(m.network.prices.rows.pop()));
    assert_eq!(few, NetworkError::PriceRows { layers: 4, rows: 3 });
    let empty = check_error(|m| m.network.prices.rows[3].clear());
    assert_eq!(empty, NetworkError::Levels { layer: 3 });
    let unasked = check_error(|m| m.network.prices.rows[1] = m.network.prices.rows[0].clone());
    assert_eq!(unasked, NetworkError::Levels { layer: 1 });
    let twice = check_error(|m| m.network.prices.rows[0][2].level = Level::Fp32);
    assert_eq!(twice, NetworkError::Levels { layer: 0 });
    let expected = small().network.prices.rows[3][0].bytes;
    for found in [0, expected - 1, expected + 4, u32::MAX] {
        let error = check_error(|m| m.network.prices.rows[3][0].bytes = found);
        let wrong = NetworkError::Bytes {
            layer: 3,
            level: Level::Fp32,
            expected,
            found,
        };
        assert_eq!(error, wrong);
    }
}

/// Networks whose memory 32 bits cannot count, with no weights to show for it.
#[test]
fn networks_beyond_32_bits() {
    let huge = |layers: usize| {
        let mut model = small();
        let mut dense = model.network.layers.pop().expect("a dense layer");
        model.network.input = Shape::new(1, 1, 1 << 15);
        dense.output = Shape::vector(1 << 15);
        model.network.layers.clear();
        for i in 0..layers {
            dense.inputs[0] = i as u16;
            model.network.layers.push(dense.clone()).expect("room");
        }
        let row = model.network.prices.rows[3].clone();
        model.network.prices.rows = (0..layers).map(|_| row.clone()).collect();
        model
    };
    let one = huge(1).network.check();
    assert_eq!(one, Err(NetworkError::TooLarge));
    let mut int8 = huge(4).network;
    for layer in 0..4 {
        int8.prices.rows[layer].remove(0);
        for item in 0..3 {
            let level = int8.prices.rows[layer][item].level;
            let bytes = int8.block_bytes(layer, level).expect("a fourth");
            int8.prices.rows[layer][item].bytes = bytes;
        }
    }
    assert_eq!(int8.check(), Err(NetworkError::TooLarge));
    int8.layers.pop();
    int8.prices.rows.pop();
    assert_eq!(int8.check(), Ok(()));
}

/// Every tensor is within its limit, but all of them are alive at once.
#[test]
fn activations_beyond_32_bits() {
    let big = Shape::new(1 << 10, 1 << 10, 1 << 6);
    let mut builder = Builder::new(2, Style::Real, big);
    let copies: Vec<usize> = (0..11).map(|_| builder.reshape(0, big)).collect();
    let mut sum = 0;
    for copy in copies {
        sum = builder.add(sum, copy);
    }
    let bytes = builder.finish().emit();
    assert_eq!(error_of(&bytes), ImageError::Check(NetworkError::TooLarge));
}

fn conv(model: &mut Model, window: Window, groups: u16) {
    model.network.layers[0].op = Op::Conv2d { window, groups };
}

#[test]
fn operators_that_do_not_fit_their_tensors() {
    let input = Shape::new(3, 2, 2);
    let missing = op_error(|m| m.network.layers[0].inputs.clear());
    let (expected, found) = (1, 0);
    assert_eq!(missing, OpError::InputCount { expected, found });
    let second = op_error(|m| m.network.layers[0].inputs.push(0).expect("room"));
    let found = 2;
    assert_eq!(second, OpError::InputCount { expected, found });

    let other = Shape::new(3, 2, 4);
    let sum = check_error(|m| {
        m.network.layers[0].output = other;
    });
    let error = OpError::InputShapes(input, other);
    assert_eq!(sum, NetworkError::Op { layer: 1, error });
    let copy = op_error(|m| {
        m.network.layers[0].op = Op::Reshape;
        m.network.layers[0].output = other;
    });
    assert_eq!(copy, error);

    let point = Window::square(1, 1, 0);
    let windows = [
        Window::square(0, 1, 0),
        Window::square(1, 0, 0),
        Window::square(2, 1, 2),
        Window::square(4, 1, 0),
    ];
    for window in windows {
        let error = op_error(|m| conv(m, window, 2));
        assert_eq!(error, OpError::Window(input));
    }
    for groups in [0, 3, u16::MAX] {
        assert_eq!(
            op_error(|m| conv(m, point, groups)),
            OpError::Groups(groups)
        );
    }
    let found = Shape::new(2, 2, 2);
    let error = op_error(|m| m.network.layers[0].output = found);
    let expected = input;
    assert_eq!(error, OpError::OutputShape { expected, found });
}

#[test]
fn sums_that_could_overflow() {
    let window = Window {
        kernel: [1, 1 << 14],
        stride: [1; 2],
        padding: [0, (1 << 14) - 1, 0, (1 << 14) - 1],
    };
    let mut model = small();
    conv(&mut model, window, 1);
    model.network.input.c = 3;
    model.network.layers[0].output = Shape::new(3, (1 << 14) + 1, 2);
    let reduction = |len| {
        let error = OpError::Reduction(len);
        Err(NetworkError::Op { layer: 0, error })
    };
    assert_eq!(model.network.check(), reduction(3 << 14));
    // more taps than 32 bits count
    let window = Window {
        kernel: [u16::MAX; 2],
        stride: [1; 2],
        padding: [u16::MAX - 3, u16::MAX - 2, 0, 0],
    };
    conv(&mut model, window, 1);
    model.network.layers[0].output = Shape::vector(2);
    let taps = u64::from(u16::MAX) * u64::from(u16::MAX);
    assert_eq!(model.network.check(), reduction(3 * taps));

    let wide = Shape::new(1 << 12, 1 << 12, 1);
    let mut builder = Builder::new(3, Style::Real, wide);
    let mean = builder.avg_pool(0, generate::global(wide), false);
    builder.dense(mean, 1);
    let error = OpError::Pool(1 << 24);
    let error = ImageError::Check(NetworkError::Op { layer: 0, error });
    assert_eq!(error_of(&builder.finish().emit()), error);
}

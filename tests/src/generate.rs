//! Random graphs, levels and samples.

use bitbudget_core::level::Level;
use bitbudget_core::network::Preprocess;
use bitbudget_core::op::{Function, Rearrangement};
use bitbudget_core::price::PriceItem;
use bitbudget_core::shape::{Shape, Window};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::builder::{Builder, Style};
use crate::model::{LAYERS, LEVELS, Model};

/// A random window that fits an input of `h` x `w`.
pub fn window(rng: &mut SmallRng, h: u16, w: u16) -> Window {
    loop {
        let kernel = [rng.random_range(1..=5), rng.random_range(1..=5)];
        let mut padding = || {
            [
                rng.random_range(0..kernel[0]),
                rng.random_range(0..kernel[1]),
            ]
        };
        let ([top, left], [bottom, right]) = (padding(), padding());
        let window = Window {
            kernel,
            stride: [rng.random_range(1..=3), rng.random_range(1..=3)],
            padding: [top, left, bottom, right],
        };
        if window.output(h, w).is_some() {
            return window;
        }
    }
}

/// A window over the whole input.
#[must_use]
pub const fn global(shape: Shape) -> Window {
    Window {
        kernel: [shape.h, shape.w],
        stride: [1; 2],
        padding: [0; 4],
    }
}

/// A random small shape.
pub fn shape(rng: &mut SmallRng) -> Shape {
    let [h, w] = [rng.random_range(1..=8), rng.random_range(1..=8)];
    let c = if rng.random_bool(0.1) {
        rng.random_range(9..=40)
    } else {
        rng.random_range(1..=8)
    };
    Shape::new(h, w, c)
}

/// Adds a convolution with a random window, groups and channels.
pub fn any_conv(builder: &mut Builder, input: usize) -> usize {
    let Shape { h, w, c } = builder.shape(input);
    let rng = &mut builder.rng;
    let window = window(rng, h, w);
    let divisors: Vec<u16> = (1..=c).filter(|groups| c.is_multiple_of(*groups)).collect();
    let groups = match rng.random_range(0..4) {
        0 => c,
        1 => divisors[rng.random_range(0..divisors.len())],
        _ => 1,
    };
    let per_group = rng.random_range(1..=(9 / groups).max(1));
    builder.conv(input, window, groups, groups * per_group)
}

/// A random function that is defined everywhere.
pub fn function(rng: &mut SmallRng) -> Function {
    let mut parameter = || rng.random_range(-1.0_f32..1.0);
    let (alpha, beta) = (parameter(), parameter());
    let functions = [
        Function::Abs,
        Function::Clip {
            low: alpha.min(beta),
            high: alpha.max(beta),
        },
        Function::Elu { alpha },
        Function::Gelu,
        Function::GeluTanh,
        Function::HardSigmoid { alpha, beta },
        Function::HardSwish,
        Function::LeakyRelu { alpha },
        Function::Mish,
        Function::Sigmoid,
        Function::Silu,
        Function::Softplus,
        Function::Tanh,
    ];
    functions[rng.random_range(0..functions.len())]
}

/// A gate: a tensor times a function of the means of its channels (Hu et al. 2018, "Squeeze-and-Excitation
/// Networks"), or of itself.
pub fn gate(builder: &mut Builder, input: usize) -> usize {
    let shape = builder.shape(input);
    let function = function(&mut builder.rng);
    if builder.rng.random() {
        let factor = builder.unary(input, function);
        return if builder.rng.random() {
            builder.mul(input, factor)
        } else {
            builder.mul(factor, input)
        };
    }
    let means = builder.avg_pool(input, global(shape), false);
    let squeezed = builder.conv(means, Window::square(1, 1, 0), 1, 2);
    let excited = builder.conv(squeezed, Window::square(1, 1, 0), 1, shape.c);
    let factor = builder.unary(excited, function);
    builder.mul(input, factor)
}

/// Adds an operator without weights that reads one tensor.
pub fn any_unweighted(builder: &mut Builder, input: usize) -> usize {
    let shape = builder.shape(input);
    let window = window(&mut builder.rng, shape.h, shape.w);
    match builder.rng.random_range(0..10) {
        8 | 9 => rearrangement(builder, input),
        6 | 7 => {
            let function = function(&mut builder.rng);
            builder.unary(input, function)
        }
        0 => builder.max_pool(input, window),
        1 => builder.avg_pool(input, window, false),
        2 => builder.avg_pool(input, window, true),
        3 | 5 => builder.avg_pool(input, global(shape), false),
        _ => {
            let output = Shape::new(shape.c, shape.h, shape.w);
            builder.reshape(input, output)
        }
    }
}

/// Adds a slice, a shuffle, a repetition of pixels or a depth-to-space.
pub fn rearrangement(builder: &mut Builder, input: usize) -> usize {
    let shape = builder.shape(input);
    let rng = &mut builder.rng;
    let dims = [shape.h, shape.w, shape.c];
    let divisors = (1..=shape.c).filter(|n| shape.c.is_multiple_of(*n));
    let divisors: Vec<u16> = divisors.collect();
    let divisor = divisors[rng.random_range(0..divisors.len())];
    let is_small = shape.len() <= 1 << 10;
    let blocks = [[2, 2], [1, 3], [2, 1]].into_iter();
    let mut blocks = blocks.filter(|[y, x]| shape.c.is_multiple_of((y * x).into()));
    let larger =
        |[y, x]: [u8; 2], c: u16| Shape::new(shape.h * u16::from(y), shape.w * u16::from(x), c);
    let (of, output) = match (rng.random_range(0..4), blocks.next()) {
        (0, _) if is_small => {
            let block = [rng.random_range(1..=3), rng.random_range(1..=3)];
            let of = Rearrangement::repeat(shape, block);
            (Some(of), larger(block, shape.c))
        }
        (1, Some(block)) => {
            let of = Rearrangement::depth_to_space(shape, block, rng.random());
            let [y, x] = block.map(u16::from);
            (of, larger(block, shape.c / (y * x)))
        }
        (2, _) => (Rearrangement::shuffle(shape, divisor), shape),
        (_, _) => {
            let starts = dims.map(|size| rng.random_range(0..size));
            let steps = [0; 3].map(|_| rng.random_range(1..=2));
            let left = [0, 1, 2].map(|i| (dims[i] - starts[i]).div_ceil(steps[i]));
            let [h, w, c] = left.map(|most| rng.random_range(1..=most));
            let output = Shape::new(h, w, c);
            (Rearrangement::slice(shape, starts, steps, output), output)
        }
    };
    builder.rearrange(input, of.expect("small numbers"), output)
}

/// Two or three convolutions of one tensor that can have a level each, and their sum.
fn fork(builder: &mut Builder, input: usize) -> usize {
    let stride = builder.rng.random_range(1..=2);
    let channels = builder.rng.random_range(1..=6);
    let wide = builder.conv(input, Window::square(3, stride, 1), 1, channels);
    let narrow = builder.conv(input, Window::square(1, stride, 0), 1, channels);
    let sum = builder.add(wide, narrow);
    if builder.rng.random() {
        return sum;
    }
    let depthwise = builder.conv(input, Window::square(1, stride, 0), 1, channels);
    builder.add(depthwise, sum)
}

/// A branch that keeps the shape, and its sum with what it reads.
fn residual(builder: &mut Builder, input: usize) -> usize {
    let same = Window::square(3, 1, 1);
    let channels = builder.shape(input).c;
    let branch = match builder.rng.random_range(0..4) {
        0 => builder.max_pool(input, same),
        1 => builder.avg_pool(input, same, false),
        2 => builder.conv(input, same, channels, channels),
        _ => {
            let middle = builder.conv(input, Window::square(1, 1, 0), 1, 4);
            builder.conv(middle, same, 1, channels)
        }
    };
    if builder.rng.random() {
        builder.add(input, branch)
    } else {
        builder.add(branch, input)
    }
}

/// A random network of at least `layers` layers: chains, residuals, tensors with several readers,
/// every operator.
///
/// # Panics
/// When there could be more layers than fit.
#[must_use]
pub fn model(seed: u64, style: Style, layers: usize) -> Model {
    model_at(seed, style, layers, &Level::ALL)
}

/// As [`model`], with these levels for every layer with weights.
///
/// # Panics
/// When there could be more layers than fit.
#[must_use]
pub fn model_at(seed: u64, style: Style, layers: usize, levels: &[Level]) -> Model {
    /// The most layers that one step adds, and the last one.
    const STEP: usize = 5 + 1;
    assert!(layers + STEP <= LAYERS + 1);
    let input = shape(&mut SmallRng::seed_from_u64(seed));
    let mut builder = Builder::new(seed, style, input);
    builder.levels = levels.to_vec();
    let mut tensor = 0;
    while builder.len() < layers {
        tensor = match builder.rng.random_range(0..19) {
            16 => gate(&mut builder, tensor),
            17 | 18 => {
                let channels = builder.rng.random_range(1..=6);
                let other = builder.conv(tensor, Window::square(1, 1, 0), 1, channels);
                if builder.rng.random() {
                    builder.concat(tensor, other)
                } else {
                    builder.concat(other, tensor)
                }
            }
            0..=4 => any_conv(&mut builder, tensor),
            5..=7 => any_unweighted(&mut builder, tensor),
            8..=10 => fork(&mut builder, tensor),
            11..=13 => residual(&mut builder, tensor),
            14 => {
                let channels = builder.rng.random_range(1..=20);
                builder.dense(tensor, channels)
            }
            _ => {
                if builder.len() + 1 < layers {
                    continue;
                }
                let log = builder.len().is_multiple_of(2);
                builder.softmax(tensor, log)
            }
        };
    }
    if builder.rng.random_bool(0.7) {
        let channels = builder.rng.random_range(1..=4);
        builder.dense(tensor, channels);
    }
    builder.finish()
}

/// A convolution, its sum with the input, a pool and a dense layer, without preprocessing.
#[must_use]
pub fn small() -> Model {
    let mut builder = Builder::new(1, Style::Real, Shape::new(3, 2, 2));
    let a = builder.conv(0, Window::square(1, 1, 0), 2, 2);
    let b = builder.add(0, a);
    let c = builder.max_pool(b, Window::square(2, 1, 0));
    builder.dense(c, 3);
    let mut model = builder.finish();
    model.network.preprocess = Preprocess::default();
    model
}

/// A random level for every layer with weights.
pub fn levels(rng: &mut SmallRng, model: &Model) -> Vec<Option<Level>> {
    let rows = model.network.prices.rows.iter();
    let level = |row: &heapless::Vec<PriceItem, LEVELS>| {
        (!row.is_empty()).then(|| row[rng.random_range(0..row.len())].level)
    };
    rows.map(level).collect()
}

/// A random sample of raw bytes, sometimes of the extremes only.
pub fn sample(rng: &mut SmallRng, model: &Model) -> Vec<u8> {
    let kind = rng.random_range(0..8);
    let mut byte = || match kind {
        0 => 0,
        1 => 255,
        2 => u8::from(rng.random::<bool>()) * 255,
        _ => rng.random(),
    };
    (0..model.network.input.len()).map(|_| byte()).collect()
}

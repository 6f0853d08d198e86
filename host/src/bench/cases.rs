//! The rows of the table: layers of the shapes that CMSIS-NN was counted with.
//!
//! A layer is counted where it stands in a network, with readers behind it that ask for its output as
//! the next layer of a uniform network would.

use bitbudget_core::level::Level;
use bitbudget_core::op::{Function, Op, Rearrangement};
use bitbudget_core::quant::{Rounding, Width};
use bitbudget_core::shape::{Shape, Window};

use super::synthetic::{Synthetic, windowed};

const INT8: Level = Level::Int(Width::Int8, Rounding::Nearest);
/// The levels of a layer with weights, in the order of the table.
pub(super) const LEVELS: [Level; 5] = [
    INT8,
    Level::Int(Width::Int4, Rounding::Nearest),
    Level::Int(Width::Int2, Rounding::Nearest),
    Level::Fp16,
    Level::Fp32,
];
/// The levels of a layer without weights, whose count does not depend on the weights around it.
pub(super) const FORMS: [Level; 2] = [INT8, Level::Fp32];

/// Layers of the whole network that are rows of the table: name, and the tensor that it makes.
pub(super) const IN_NETWORK: [(&str, usize); 7] = [
    ("conv 32x32x3->16 s1", 1),
    ("conv 32x32x16->16 s1", 2),
    ("conv 32x32x16->32 s2", 4),
    ("conv 16x16x32->32 s1", 5),
    ("conv 16x16x32->64 s2", 6),
    ("conv 8x8x64->64 s1", 7),
    ("global average pool 8x8x64", 8),
];

/// One layer in a network of its own.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// The levels at which it is counted.
    pub(super) levels: &'static [Level],
    input: Shape,
    layer: Kind,
}

enum Kind {
    Depthwise,
    Pointwise,
    Dense,
    Sum,
    MaxPool,
    Function,
    Product,
    Join,
    /// Every second row and column, and half of the channels.
    Slice,
    /// Every pixel four times.
    Repeat,
    /// A tensor of one form becomes one of the other.
    Boundary,
}

/// The layers that are not in the network.
pub(super) const CASES: [Case; 12] = [
    Case {
        name: "depthwise 3x3 24x24x64 s1",
        levels: &LEVELS,
        input: Shape::new(24, 24, 64),
        layer: Kind::Depthwise,
    },
    Case {
        name: "conv 1x1 24x24x64->64",
        levels: &LEVELS,
        input: Shape::new(24, 24, 64),
        layer: Kind::Pointwise,
    },
    Case {
        name: "FC 64->10",
        levels: &LEVELS,
        input: Shape::vector(64),
        layer: Kind::Dense,
    },
    Case {
        name: "elementwise add 32x32x16",
        levels: &FORMS,
        input: Shape::new(32, 32, 16),
        layer: Kind::Sum,
    },
    Case {
        name: "max pool 2x2 32x32x16 s2",
        levels: &FORMS,
        input: Shape::new(32, 32, 16),
        layer: Kind::MaxPool,
    },
    Case {
        name: "hard swish 32x32x16",
        levels: &FORMS,
        input: Shape::new(32, 32, 16),
        layer: Kind::Function,
    },
    Case {
        name: "elementwise mul 32x32x16",
        levels: &FORMS,
        input: Shape::new(32, 32, 16),
        layer: Kind::Product,
    },
    Case {
        name: "concat 32x32x16+16",
        levels: &FORMS,
        input: Shape::new(32, 32, 16),
        layer: Kind::Join,
    },
    Case {
        name: "slice 16x16x16 of 32x32x32",
        levels: &FORMS,
        input: Shape::new(32, 32, 32),
        layer: Kind::Slice,
    },
    Case {
        name: "repeat 2x2 16x16x16",
        levels: &FORMS,
        input: Shape::new(16, 16, 16),
        layer: Kind::Repeat,
    },
    Case {
        name: "quantize 32x32x16",
        levels: &[INT8],
        input: Shape::new(32, 32, 16),
        layer: Kind::Boundary,
    },
    Case {
        name: "dequantize 32x32x16",
        levels: &[Level::Fp32],
        input: Shape::new(32, 32, 16),
        layer: Kind::Boundary,
    },
];

impl Case {
    /// The network, in which every layer with weights offers the same levels or just one, and the
    /// tensor that the counted layer makes.
    pub(super) fn synthetic(&self) -> (Synthetic, usize) {
        let Self { input, levels, .. } = *self;
        // samples are small, and arrive over a slow wire
        let mut network = Synthetic::new(Shape::new(input.h, input.w, 1));
        let point = Window::square(1, 1, 0);
        let mut spread = |levels| network.conv(0, point, 1, input.c, levels);
        let counted = match self.layer {
            Kind::Depthwise => {
                let tensor = spread(levels);
                network.conv(tensor, Window::square(3, 1, 1), input.c, input.c, levels)
            }
            Kind::Pointwise => {
                let tensor = spread(levels);
                network.conv(tensor, point, 1, 64, levels)
            }
            Kind::Dense => {
                let tensor = spread(levels);
                network.plain(Op::Dense, &[tensor], Shape::vector(10), levels)
            }
            Kind::Sum => {
                let tensors = [spread(levels), spread(levels)];
                network.plain(Op::Add, &tensors, input, &[])
            }
            Kind::MaxPool => {
                let window = Window::square(2, 2, 0);
                let tensor = spread(levels);
                let output = windowed(window, input, input.c);
                network.plain(Op::MaxPool { window }, &[tensor], output, &[])
            }
            Kind::Function => {
                let tensor = spread(levels);
                network.plain(Op::Unary(Function::HardSwish), &[tensor], input, &[])
            }
            Kind::Product => {
                let tensors = [spread(levels), spread(levels)];
                network.plain(Op::Mul, &tensors, input, &[])
            }
            Kind::Join => {
                let tensors = [spread(levels), spread(levels)];
                let c = 2 * input.c;
                network.plain(Op::Concat, &tensors, Shape { c, ..input }, &[])
            }
            Kind::Slice => {
                let output = Shape::new(input.h / 2, input.w / 2, input.c / 2);
                let half = [0, 0, output.c];
                let of = Rearrangement::slice(input, half, [2, 2, 1], output);
                let of = of.expect("numbers of 16 bits");
                let tensor = spread(levels);
                network.plain(Op::Rearrange(of), &[tensor], output, &[])
            }
            Kind::Repeat => {
                let of = Rearrangement::repeat(input, [2, 2]);
                let output = Shape::new(2 * input.h, 2 * input.w, input.c);
                let tensor = spread(levels);
                network.plain(Op::Rearrange(of), &[tensor], output, &[])
            }
            Kind::Boundary => return boundary(network, input, levels),
        };
        network.reader(counted, levels);
        (network, counted)
    }
}

/// The levels are those of what reads the result; what gives the input and reads it, too, has the other.
fn boundary(mut network: Synthetic, shape: Shape, levels: &[Level]) -> (Synthetic, usize) {
    let other: &[Level] = if levels == [INT8] {
        &[Level::Fp32]
    } else {
        &[INT8]
    };
    let tensor = network.conv(0, Window::square(1, 1, 0), 1, shape.c, other);
    let before = network.reader(tensor, other);
    let counted = network.plain(Op::Reshape, &[tensor], shape, &[]);
    let behind = network.reader(counted, levels);
    network.plain(Op::Add, &[before, behind], Shape::vector(1), &[]);
    (network, counted)
}

/// The whole network: a plain ResNet8, 12,239,488 multiply-accumulates.
pub(super) fn network() -> Synthetic {
    /// Channels and stride.
    const CONVOLUTIONS: [(u16, u16); 7] = [
        (16, 1),
        (16, 1),
        (16, 1),
        (32, 2),
        (32, 1),
        (64, 2),
        (64, 1),
    ];
    let mut network = Synthetic::new(Shape::new(32, 32, 3));
    let mut tensor = 0;
    for (channels, stride) in CONVOLUTIONS {
        let window = Window::square(3, stride, 1);
        tensor = network.conv(tensor, window, 1, channels, &LEVELS);
    }
    pool_and_classify(&mut network, tensor, 10);
    network
}

/// A depthwise network: DS-CNN for keyword spotting (Zhang et al. 2017), small, as in MLPerf Tiny; 2,656,768
/// multiply-accumulates.
pub(super) fn keyword_spotting() -> Synthetic {
    const CHANNELS: u16 = 64;
    let mut network = Synthetic::new(Shape::new(49, 10, 1));
    let first = Window {
        kernel: [10, 4],
        stride: [2, 2],
        padding: [4, 1, 5, 1],
    };
    let mut tensor = network.conv(0, first, 1, CHANNELS, &LEVELS);
    for _ in 0..4 {
        tensor = network.conv(tensor, Window::square(3, 1, 1), CHANNELS, CHANNELS, &LEVELS);
        tensor = network.conv(tensor, Window::square(1, 1, 0), 1, CHANNELS, &LEVELS);
    }
    pool_and_classify(&mut network, tensor, 12);
    network
}

/// The end of a network: the mean of every channel, and a dense layer.
fn pool_and_classify(network: &mut Synthetic, tensor: usize, classes: u16) {
    let shape = network.shape(tensor);
    let window = Window {
        kernel: [shape.h, shape.w],
        stride: [1; 2],
        padding: [0; 4],
    };
    let op = Op::AvgPool {
        window,
        count_padding: false,
    };
    let mean = network.plain(op, &[tensor], windowed(window, shape, shape.c), &[]);
    network.plain(Op::Dense, &[mean], Shape::vector(classes), &LEVELS);
}

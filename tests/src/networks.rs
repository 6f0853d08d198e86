//! The shapes of networks that people run on microcontrollers, without weights.

use bitbudget::capacity::HostNetwork;
use bitbudget_core::network::{Layer, Network, Preprocess};
use bitbudget_core::op::{Activation, Op};
use bitbudget_core::price::PriceMatrix;
use bitbudget_core::quant::QParams;
use bitbudget_core::shape::{Shape, Window};
use heapless::Vec;

use crate::generate::global;

const Q: QParams = QParams {
    scale: 0.1,
    zero_point: 0,
};

/// A network whose layers follow each other.
struct Chain {
    network: HostNetwork,
    at: usize,
}

impl Chain {
    fn new(input: Shape) -> Self {
        let network = Network {
            input,
            input_q: Q,
            preprocess: Preprocess::default(),
            layers: Vec::new(),
            prices: PriceMatrix {
                unit: 1e-9,
                rows: Vec::new(),
                ties: Vec::new(),
            },
        };
        Self { network, at: 0 }
    }

    fn shape(&self) -> Shape {
        self.network.shape(self.at)
    }

    fn push(&mut self, op: Op, inputs: &[usize], output: Shape) {
        let layer = Layer {
            op,
            inputs: inputs.iter().map(|tensor| *tensor as u16).collect(),
            activation: Activation::Relu,
            output,
            output_q: Q,
        };
        self.network.layers.push(layer).expect("room");
        self.at = self.network.layers.len();
    }

    /// A convolution whose padding keeps `1 / stride` of the rows and columns, as much of it as can be at the
    /// bottom and on the right.
    fn conv(&mut self, kernel: [u16; 2], stride: u16, groups: u16, channels: u16) {
        let shape = self.shape();
        let padding = |len: u16, kernel: u16| {
            let needed = (len.div_ceil(stride) - 1) * stride + kernel;
            needed.saturating_sub(len)
        };
        let [rows, columns] = [padding(shape.h, kernel[0]), padding(shape.w, kernel[1])];
        let window = Window {
            kernel,
            stride: [stride; 2],
            padding: [
                rows / 2,
                columns / 2,
                rows - rows / 2,
                columns - columns / 2,
            ],
        };
        let [h, w] = window.output(shape.h, shape.w).expect("a window that fits");
        let output = Shape::new(h, w, channels);
        self.push(Op::Conv2d { window, groups }, &[self.at], output);
    }

    fn square(&mut self, kernel: u16, stride: u16, channels: u16) {
        self.conv([kernel; 2], stride, 1, channels);
    }

    fn depthwise(&mut self, stride: u16) {
        let channels = self.shape().c;
        self.conv([3; 2], stride, channels, channels);
    }

    fn add(&mut self, other: usize) {
        self.push(Op::Add, &[self.at, other], self.shape());
    }

    fn pool_and_classify(mut self, classes: u16) -> HostNetwork {
        let shape = self.shape();
        let pool = Op::AvgPool {
            window: global(shape),
            count_padding: false,
        };
        self.push(pool, &[self.at], Shape::vector(shape.c));
        self.push(Op::Dense, &[self.at], Shape::vector(classes));
        self.network
    }
}

/// ResNet8 for 32 x 32 colour images without skips.
#[must_use]
pub fn resnet8_plain() -> HostNetwork {
    let mut chain = Chain::new(Shape::new(32, 32, 3));
    chain.square(3, 1, 16);
    for (channels, stride) in [(16, 1), (32, 2), (64, 2)] {
        chain.square(3, stride, channels);
        chain.square(3, 1, channels);
    }
    chain.pool_and_classify(10)
}

/// ResNet8 of MLPerf Tiny (Banbury et al. 2021): every pair of convolutions is skipped, by another convolution
/// where the shape changes.
#[must_use]
pub fn resnet8_residual() -> HostNetwork {
    let mut chain = Chain::new(Shape::new(32, 32, 3));
    chain.square(3, 1, 16);
    for (channels, stride) in [(16, 1), (32, 2), (64, 2)] {
        let before = chain.at;
        if stride > 1 {
            chain.square(1, stride, channels);
        }
        let shortcut = chain.at;
        chain.at = before;
        chain.square(3, stride, channels);
        chain.square(3, 1, channels);
        chain.add(shortcut);
    }
    chain.pool_and_classify(10)
}

/// The depthwise separable network for spoken words (Zhang et al. 2017, "Hello Edge"), as in MLPerf Tiny.
#[must_use]
pub fn keyword_spotting() -> HostNetwork {
    let mut chain = Chain::new(Shape::new(49, 10, 1));
    chain.conv([10, 4], 2, 1, 64);
    for _ in 0..4 {
        chain.depthwise(1);
        chain.square(1, 1, 64);
    }
    chain.pool_and_classify(12)
}

/// `MobileNetV1` 0.25 at 96 x 96 (Howard et al. 2017), the visual wake words network of MLPerf Tiny.
#[must_use]
pub fn visual_wake_words() -> HostNetwork {
    let mut chain = Chain::new(Shape::new(96, 96, 3));
    chain.square(3, 2, 8);
    let blocks = [
        (16, 1),
        (32, 2),
        (32, 1),
        (64, 2),
        (64, 1),
        (128, 2),
        (128, 1),
        (128, 1),
        (128, 1),
        (128, 1),
        (128, 1),
        (256, 2),
        (256, 1),
    ];
    for (channels, stride) in blocks {
        chain.depthwise(stride);
        chain.square(1, 1, channels);
    }
    chain.pool_and_classify(2)
}

/// `MobileNetV2` (Sandler et al. 2018) of some width, in percent, for square colour images of some side.
#[must_use]
pub fn mobilenet_v2(percent: u16, side: u16) -> HostNetwork {
    let wide = |channels: u16| {
        let scaled = f32::from(channels) * f32::from(percent) / 100.0;
        let rounded = (((scaled + 4.0) / 8.0).floor() * 8.0).max(8.0);
        // no more than a tenth is rounded away
        let more = if rounded < 0.9 * scaled { 8 } else { 0 };
        rounded as u16 + more
    };
    let mut chain = Chain::new(Shape::new(side, side, 3));
    chain.square(3, 2, wide(32));
    let stages = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    for (expansion, channels, count, stride) in stages {
        for i in 0..count {
            let (before, inside) = (chain.at, chain.shape().c * expansion);
            if expansion > 1 {
                chain.square(1, 1, inside);
            }
            chain.depthwise(if i == 0 { stride } else { 1 });
            chain.square(1, 1, wide(channels));
            if chain.network.shape(before) == chain.shape() {
                chain.add(before);
            }
        }
    }
    chain.square(1, 1, if percent > 100 { wide(1280) } else { 1280 });
    chain.pool_and_classify(1000)
}

//! The table's rows: one layer each, of shapes that CMSIS-NN was counted with, and a whole network.
//!
//! A layer is counted where it stands in a network of its own, with readers behind it that ask for its
//! output as the next layer of a uniform network would.

use bitbudget_core::level::{Level, Rounding, Width};
use bitbudget_core::op::Op;
use bitbudget_core::shape::{Shape, Window};

use super::draft::{Draft, windowed};

/// The levels of a layer with weights, in the order of the table.
pub(super) const LEVELS: [Level; 5] = [
    INT8,
    Level::Int(Width::Int4, Rounding::Nearest),
    Level::Int(Width::Int2, Rounding::Nearest),
    Level::Fp16,
    Level::Fp32,
];
/// Those of a layer without weights: it works alike whatever the weights around it.
const FORMS: [Level; 2] = [INT8, Level::Fp32];
const INT8: Level = Level::Int(Width::Int8, Rounding::Nearest);

/// Builds the network of a case at a level; gives the tensor that the counted layer makes.
type Build = fn(Case, Level) -> (Draft, usize);

/// One layer.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) levels: &'static [Level],
    input: Shape,
    window: Window,
    channels: u16,
    build: Build,
}

impl Case {
    /// The network, and the tensor that the counted layer makes.
    pub(super) fn draft(self, level: Level) -> (Draft, usize) {
        (self.build)(self, level)
    }

    const fn conv(name: &'static str, input: [u16; 3], stride: u16, channels: u16) -> Self {
        let window = Window::square(3, stride, 1);
        Self::new(name, &LEVELS, input, window, channels, convolution)
    }

    const fn new(
        name: &'static str,
        levels: &'static [Level],
        [h, w, c]: [u16; 3],
        window: Window,
        channels: u16,
        build: Build,
    ) -> Self {
        Self {
            name,
            levels,
            input: Shape::new(h, w, c),
            window,
            channels,
            build,
        }
    }
}

/// Larger inputs are a layer's output: boards have little room for samples.
const LARGEST_SAMPLE: usize = 16 << 10;
const POINT: Window = Window::square(1, 1, 0);

/// All single layers, in the order of the table.
pub(super) const CASES: [Case; 14] = [
    Case::conv("conv 32x32x3->16 s1", [32, 32, 3], 1, 16),
    Case::conv("conv 32x32x16->16 s1", [32, 32, 16], 1, 16),
    Case::conv("conv 32x32x16->32 s2", [32, 32, 16], 2, 32),
    Case::conv("conv 16x16x32->32 s1", [16, 16, 32], 1, 32),
    Case::conv("conv 16x16x32->64 s2", [16, 16, 32], 2, 64),
    Case::conv("conv 8x8x64->64 s1", [8, 8, 64], 1, 64),
    Case::new(
        "depthwise 3x3 24x24x64 s1",
        &LEVELS,
        [24, 24, 64],
        Window::square(3, 1, 1),
        64,
        depthwise,
    ),
    Case::new(
        "conv 1x1 24x24x64->64",
        &LEVELS,
        [24, 24, 64],
        POINT,
        64,
        convolution,
    ),
    Case::new("FC 64->10", &LEVELS, [1, 1, 64], POINT, 10, dense),
    Case::new(
        "elementwise add 32x32x16",
        &FORMS,
        [32, 32, 16],
        POINT,
        16,
        sum,
    ),
    Case::new(
        "max pool 2x2 32x32x16 s2",
        &FORMS,
        [32, 32, 16],
        Window::square(2, 2, 0),
        16,
        max_pool,
    ),
    Case::new(
        "global average pool 8x8x64",
        &FORMS,
        [8, 8, 64],
        Window::square(8, 1, 0),
        64,
        average_pool,
    ),
    Case::new(
        "quantize 32x32x16",
        &[INT8],
        [32, 32, 16],
        POINT,
        16,
        boundary,
    ),
    Case::new(
        "dequantize 32x32x16",
        &[Level::Fp32],
        [32, 32, 16],
        POINT,
        16,
        boundary,
    ),
];

fn convolution(case: Case, level: Level) -> (Draft, usize) {
    grouped(case, level, 1)
}

fn depthwise(case: Case, level: Level) -> (Draft, usize) {
    grouped(case, level, case.input.c)
}

fn grouped(case: Case, level: Level, groups: u16) -> (Draft, usize) {
    let Shape { h, w, c } = case.input;
    let (mut draft, tensor) = if case.input.len() <= LARGEST_SAMPLE {
        (Draft::new(case.input), 0)
    } else {
        let mut draft = Draft::new(Shape::new(h, w, 1));
        let tensor = draft.conv(0, POINT, 1, c, &[level]);
        (draft, tensor)
    };
    let counted = draft.conv(tensor, case.window, groups, case.channels, &[level]);
    draft.reader(counted, level);
    (draft, counted)
}

fn dense(case: Case, level: Level) -> (Draft, usize) {
    let mut draft = Draft::new(case.input);
    let output = Shape::vector(case.channels);
    let counted = draft.plain(Op::Dense, &[0], output, &[level]);
    draft.reader(counted, level);
    (draft, counted)
}

/// Of two tensors with a scale each: the input, and a convolution of it.
fn sum(case: Case, level: Level) -> (Draft, usize) {
    let mut draft = Draft::new(case.input);
    let other = draft.conv(0, POINT, case.input.c, case.channels, &[level]);
    let counted = draft.plain(Op::Add, &[0, other], case.input, &[]);
    draft.reader(counted, level);
    (draft, counted)
}

fn max_pool(case: Case, level: Level) -> (Draft, usize) {
    let window = case.window;
    unweighted(case, level, Op::MaxPool { window })
}

fn average_pool(case: Case, level: Level) -> (Draft, usize) {
    let op = Op::AvgPool {
        window: case.window,
        count_padding: false,
    };
    unweighted(case, level, op)
}

fn unweighted(case: Case, level: Level, op: Op) -> (Draft, usize) {
    let mut draft = Draft::new(case.input);
    let output = windowed(case.window, case.input, case.channels);
    let counted = draft.plain(op, &[0], output, &[]);
    draft.reader(counted, level);
    (draft, counted)
}

/// A tensor of one form becomes one of the other: `level` is what comes of it.
fn boundary(case: Case, level: Level) -> (Draft, usize) {
    let other = match level {
        Level::Fp32 | Level::Fp16 => INT8,
        Level::Int(..) => Level::Fp32,
    };
    let mut draft = Draft::new(case.input);
    let before = draft.reader(0, other);
    let counted = draft.plain(Op::Reshape, &[0], case.input, &[]);
    let behind = draft.reader(counted, level);
    draft.plain(Op::Add, &[before, behind], Shape::vector(1), &[]);
    (draft, counted)
}

/// The whole network: a plain ResNet8, 12,239,488 multiply-accumulates.
pub(super) fn network(levels: &[Level]) -> Draft {
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
    let mut draft = Draft::new(Shape::new(32, 32, 3));
    let mut tensor = 0;
    for (channels, stride) in CONVOLUTIONS {
        tensor = draft.conv(tensor, Window::square(3, stride, 1), 1, channels, levels);
    }
    let shape = draft.shape(tensor);
    let window = Window::square(shape.h, 1, 0);
    let op = Op::AvgPool {
        window,
        count_padding: false,
    };
    tensor = draft.plain(op, &[tensor], windowed(window, shape, shape.c), &[]);
    draft.plain(Op::Dense, &[tensor], Shape::vector(10), levels);
    draft
}

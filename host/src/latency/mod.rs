//! Latency of a layer at a level: a model of the kernels for Cortex-M with DSP instructions.
//!
//! A layer's instructions are counted by class, from its shapes and from the loops of
//! `bitbudget_core::arch`, and weighed with what a core takes for each class. Memory is taken to be as
//! fast as the core; [`weight_words`] counts the reads of weights, for which a [board](crate::board) may
//! take longer.

mod words;

use std::str::FromStr;

use bitbudget_core::level::{Level, WeightFormat};
use bitbudget_core::network::{Layer, Network};
use bitbudget_core::op::Op;
use bitbudget_core::quant::Width;
use bitbudget_core::shape::Shape;
use serde::{Deserialize, Serialize};

use crate::name::{self, UnknownName};
pub use words::weight_words;

/// A core whose cycles are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Core {
    /// Cortex-M4 with FPU: "Cortex-M4 Technical Reference Manual" r0p1, tables 3-1 and 7-1.
    #[default]
    CortexM4,
    /// Any core with DSP instructions and FPU as an emulator counts: one cycle for each instruction.
    Emulated,
}

impl Core {
    /// All cores.
    pub const ALL: [Self; 2] = [Self::CortexM4, Self::Emulated];

    /// Its name in commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CortexM4 => "cortex-m4",
            Self::Emulated => "emulated",
        }
    }

    /// Cycles of one instruction of each class.
    const fn cycles(self) -> Mix {
        match self {
            Self::CortexM4 => Mix {
                alu: 1.0,
                mac: 1.0,
                fmac: 3.0,
                load: 2.0,
                store: 1.0,
                multiple: 1.0,
                words: 1.0,
                branch: 3.0,
            },
            Self::Emulated => Mix {
                alu: 1.0,
                mac: 1.0,
                fmac: 1.0,
                load: 1.0,
                store: 1.0,
                multiple: 1.0,
                words: 0.0,
                branch: 1.0,
            },
        }
    }
}

impl FromStr for Core {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        name::find("cycle model", text, Self::ALL, Self::name)
    }
}

impl TryFrom<String> for Core {
    type Error = UnknownName;

    fn try_from(text: String) -> Result<Self, UnknownName> {
        text.parse()
    }
}

impl From<Core> for &'static str {
    fn from(core: Core) -> Self {
        core.name()
    }
}

/// Instructions by class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mix {
    /// Instructions of one cycle: arithmetic, comparisons, extensions, conversions, additions of floats.
    pub alu: f64,
    /// Products of integers, with or without a sum.
    pub mac: f64,
    /// Products and sums of floats.
    pub fmac: f64,
    /// Loads of one word or less.
    pub load: f64,
    /// Stores of one word or less.
    pub store: f64,
    /// Loads and stores of several registers.
    pub multiple: f64,
    /// The words of those; no instructions.
    pub words: f64,
    /// Branches that are taken.
    pub branch: f64,
}

impl Mix {
    /// The number of instructions.
    #[must_use]
    pub fn instructions(&self) -> f64 {
        self.classes().iter().sum::<f64>() - self.words
    }

    /// The cycles that a core takes.
    #[must_use]
    pub fn cycles(&self, core: Core) -> f64 {
        let each = core.cycles().classes();
        let all = self.classes().into_iter().zip(each);
        all.map(|(count, each)| count * each).sum()
    }

    fn times(self, factor: f64) -> Self {
        Self::of(self.classes().map(|count| count * factor))
    }

    fn and(self, other: Self) -> Self {
        let (a, b) = (self.classes(), other.classes());
        Self::of(std::array::from_fn(|i| a[i] + b[i]))
    }

    /// Instructions of each class, in order.
    const fn classes(&self) -> [f64; 8] {
        [
            self.alu,
            self.mac,
            self.fmac,
            self.load,
            self.store,
            self.multiple,
            self.words,
            self.branch,
        ]
    }

    const fn of([alu, mac, fmac, load, store, multiple, words, branch]: [f64; 8]) -> Self {
        Self {
            alu,
            mac,
            fmac,
            load,
            store,
            multiple,
            words,
            branch,
        }
    }
}

/// Instructions of each class, in the order of [`Mix`].
const fn mix([a, b, c, d, e, f, g, h]: [u32; 8]) -> Mix {
    Mix::of([
        a as f64, b as f64, c as f64, d as f64, e as f64, f as f64, g as f64, h as f64,
    ])
}

/// Instructions of calling an operator.
const CALL: Mix = mix([420, 0, 0, 160, 90, 20, 150, 60]);

/// The instructions of a layer with weights at a level; none of a layer without.
#[must_use]
pub fn instructions(op: &Op, input: Shape, output: Shape, level: Level) -> Mix {
    let taps = op.reduction_len(input) as f64;
    let channels = f64::from(output.c);
    let pixels = output.len() as f64 / channels;
    let inside = inside(op, input, output);
    let layer = match (op, level.weight_format()) {
        (Op::Conv2d { window, groups }, stored) if *groups == input.c && *groups == output.c => {
            let each = match stored {
                WeightFormat::Int(_) => depthwise(taps),
                WeightFormat::F32 | WeightFormat::F16 => {
                    depthwise_float(taps * inside, f64::from(window.kernel[0]))
                }
            };
            let pixel = mix([240, 0, 0, 120, 60, 20, 80, 30]).times((channels / 64.0).ceil());
            each.times(channels).and(pixel).times(pixels)
        }
        (Op::Conv2d { window, groups }, stored) => {
            let groups = f64::from(*groups);
            // contiguous taps of a patch
            let runs = if groups == 1.0 {
                f64::from(window.kernel[0])
            } else {
                window.taps() as f64
            };
            let shape = Sums {
                taps,
                runs,
                channels: channels / groups,
            };
            let each = match stored {
                WeightFormat::Int(width) => shape.of_four(width).times(0.25),
                WeightFormat::F32 | WeightFormat::F16 => shape.floats(stored, inside),
            };
            each.times(pixels * groups)
        }
        (Op::Dense, stored) => {
            let shape = Sums {
                taps,
                runs: 1.0,
                channels,
            };
            match stored {
                WeightFormat::Int(width) => shape.of_one(width),
                WeightFormat::F32 | WeightFormat::F16 => shape.floats(stored, 1.0),
            }
        }
        (
            Op::Add
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::Reshape
            | Op::Softmax { .. }
            | Op::Unary(_)
            | Op::Mul
            | Op::Concat
            | Op::Rearrange(_),
            WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Int(_),
        ) => return Mix::default(),
    };
    layer.and(CALL)
}

/// The cycles that a layer of a network takes at a level.
#[must_use]
pub fn cycles<const N: usize, const K: usize>(
    network: &Network<N, K>,
    layer: usize,
    level: Level,
    core: Core,
) -> u64 {
    let Layer { op, output, .. } = &network.layers[layer];
    let mix = instructions(op, network.input_shape(layer), *output, level);
    mix.cycles(core).round() as u64
}

/// The part of a convolution's taps that lie inside the input, over all pixels.
fn inside(op: &Op, input: Shape, output: Shape) -> f64 {
    let Op::Conv2d { window, .. } = op else {
        return 1.0;
    };
    let rows: usize = (0..output.h.into())
        .map(|y| window.rows(y, input.h).len)
        .sum();
    let columns: usize = (0..output.w.into())
        .map(|x| window.columns(x, input.w).len)
        .sum();
    let all = window.taps() * usize::from(output.h) * usize::from(output.w);
    (rows * columns) as f64 / all as f64
}

/// The sums of some channels of one or four pixels.
struct Sums {
    taps: f64,
    runs: f64,
    channels: f64,
}

impl Sums {
    /// Words of a row of weights.
    fn words(&self, width: Width) -> f64 {
        (self.taps * f64::from(width.bits()) / 32.0).ceil()
    }

    /// Four pixels from INT8 to INT8.
    fn of_four(&self, width: Width) -> Mix {
        let word = match width {
            Width::Int8 => mix([2, 8, 0, 1, 0, 2, 8, 0]),
            Width::Int4 => mix([7, 16, 0, 1, 0, 4, 16, 0]),
            Width::Int2 => mix([15, 32, 0, 1, 2, 8, 32, 0]),
        };
        // its share of the loop
        let word = word.and(mix([1, 0, 0, 0, 0, 0, 0, 1]).times(0.25));
        let start = mix([3, 0, 0, 1, 0, 2, 4, 1]);
        let end = mix([8, 0, 0, 4, 0, 5, 16, 1]);
        let requantized = mix([17, 4, 0, 6, 4, 0, 0, 1]);
        let channel = word.times(self.words(width));
        // words beside whole fours of them, and a part of one
        let single = mix([1, 0, 0, 0, 0, 0, 0, 1]).times(self.words(width) % 4.0);
        let part = self.taps * f64::from(width.bits()) % 32.0;
        let part = mix([4, 0, 0, 2, 0, 1, 2, 0]).times(part.min(1.0));
        let channel = channel
            .and(single)
            .and(part)
            .and(start)
            .and(end)
            .and(requantized);
        let gathered = self.gathered(width).times(4.0);
        let block = mix([150, 0, 0, 60, 40, 20, 100, 20]);
        channel.times(self.channels).and(gathered).and(block)
    }

    /// One pixel from INT8 to INT8.
    fn of_one(&self, width: Width) -> Mix {
        let word = match width {
            // of five channels
            Width::Int8 => mix([12, 10, 0, 6, 0, 0, 0, 0]).times(0.2),
            Width::Int4 => mix([7, 4, 0, 1, 0, 1, 4, 0]),
            Width::Int2 => mix([15, 8, 0, 1, 2, 2, 8, 0]),
        };
        let word = word.and(mix([1, 0, 0, 0, 0, 0, 0, 1]).times(0.25));
        let channels = word.times(self.words(width) * self.channels);
        let requantized = mix([4, 1, 0, 2, 1, 1, 4, 1]).times(self.channels);
        let channels = channels.and(requantized);
        if width == Width::Int8 {
            // inputs are read where they lie
            return channels.and(mix([8, 0, 0, 8, 4, 4, 12, 2]).times(self.channels / 5.0));
        }
        let ends = mix([13, 0, 0, 7, 1, 2, 4, 2]).times(self.channels);
        channels.and(ends).and(self.gathered(width))
    }

    /// The patch of a pixel.
    fn gathered(&self, width: Width) -> Mix {
        let fours = self.taps / 4.0;
        let four = match width {
            Width::Int8 => mix([3, 0, 0, 1, 2, 0, 0, 0]),
            Width::Int4 => mix([5, 0, 0, 3, 4, 0, 0, 0]),
            Width::Int2 => mix([6, 2, 0, 5, 4, 0, 0, 0]),
        };
        let run = mix([4, 0, 0, 0, 0, 0, 0, 2]);
        // runs that end within a word are put together
        let odd = if self.taps % (4.0 * self.runs) == 0.0 {
            Mix::default()
        } else {
            let joined = mix([12, 0, 0, 1, 1, 0, 0, 1]).times(self.runs);
            mix([3, 0, 0, 0, 0, 0, 0, 0]).times(fours).and(joined)
        };
        let pixel = mix([60, 0, 0, 25, 10, 6, 40, 6]);
        four.times(fours)
            .and(run.times(self.runs))
            .and(odd)
            .and(pixel)
    }

    /// One pixel in FP32; `inside` is the part of the taps that are not padding.
    fn floats(&self, stored: WeightFormat, inside: f64) -> Mix {
        let (run, inside) = (self.taps / self.runs, inside.sqrt());
        let (eights, rest) = ((run / 8.0).floor() * inside, run % 8.0 * inside);
        let (eight, one) = if stored == WeightFormat::F16 && self.taps % 2.0 == 0.0 {
            (
                mix([8, 0, 8, 0, 0, 2, 12, 0]),
                mix([3, 0, 1, 1, 0, 1, 1, 1]),
            )
        } else if stored == WeightFormat::F16 {
            (
                mix([12, 0, 8, 4, 0, 1, 8, 0]),
                mix([3, 0, 1, 1, 0, 1, 1, 1]),
            )
        } else {
            (
                mix([0, 0, 8, 0, 0, 2, 16, 0]),
                mix([1, 0, 1, 0, 0, 2, 2, 1]),
            )
        };
        let eight = eight.and(mix([1, 0, 0, 0, 0, 0, 0, 1]).times(0.5));
        let sum = mix([22, 0, 0, 4, 0, 2, 9, 1]);
        let channel = eight.times(eights).and(one.times(rest)).and(sum);
        let call = mix([40, 0, 0, 20, 10, 6, 40, 4]);
        let put = mix([14, 0, 0, 3, 1, 0, 0, 1]);
        let runs = channel
            .times(self.channels)
            .and(call)
            .times(self.runs * inside.sqrt());
        let pixel = mix([80, 0, 0, 40, 20, 8, 60, 10]);
        runs.and(put.times(self.channels)).and(pixel)
    }
}

/// One element of a depthwise convolution from INT8 to INT8.
fn depthwise(taps: f64) -> Mix {
    let four_taps = mix([2, 4, 0, 2, 0, 1, 2, 0]).and(mix([1, 0, 0, 0, 0, 0, 0, 1]).times(0.25));
    let four = four_taps.times(taps).and(mix([7, 0, 0, 1, 2, 3, 10, 2]));
    let pixel = mix([6, 1, 0, 3, 1, 0, 0, 1]);
    four.times(0.25).and(pixel)
}

/// One element of a depthwise convolution in FP32, its taps in so many rows.
fn depthwise_float(taps: f64, rows: f64) -> Mix {
    let eight = mix([2, 0, 8, 0, 0, 2, 16, 1]).times(taps);
    let eight = eight.and(mix([5, 0, 0, 0, 0, 2, 16, 1]).times(rows));
    eight.times(0.125).and(mix([6, 0, 0, 2, 2, 0, 0, 1]))
}

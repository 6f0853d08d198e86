//! The operators: what they are, and one file each for how they run.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::form::{Form, Forms};
use crate::level::Level;
use crate::quant::{QParams, Rounding};
use crate::shape::{Shape, Window};

pub(crate) mod add;
pub(crate) mod concat;
pub(crate) mod conv2d;
pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod direct;
mod function;
pub(crate) mod geometry;
pub(crate) mod memory;
pub(crate) mod mul;
pub(crate) mod pool;
pub(crate) mod rearrange;
pub(crate) mod reshape;
pub(crate) mod rows;
pub(crate) mod softmax;
pub(crate) mod sums;
pub(crate) mod table;
pub mod unary;
pub(crate) mod weights;

pub use self::function::Function;
pub use self::rearrange::Rearrangement;
pub use crate::arch::FP32_TOLERANCE;

/// An operator with its hyper-parameters. A closed set: a new operator is a new arm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Op {
    /// 2-D convolution with weights `[O, KH, KW, I / groups]`; depthwise when `groups` is the
    /// number of input channels.
    Conv2d {
        /// Kernel, stride and padding.
        window: Window,
        /// Output channel `o` reads the input channels of group `o / (O / groups)`.
        groups: u16,
    },
    /// Fully connected over all elements of the input in `[H, W, C]` order, weights `[O, H·W·C]`.
    Dense,
    /// Sum of two tensors of one shape, element by element.
    Add,
    /// Largest element under the window; padding never wins.
    MaxPool {
        /// Kernel, stride and padding.
        window: Window,
    },
    /// Mean of the elements under the window; global when the window is the whole input.
    AvgPool {
        /// Kernel, stride and padding.
        window: Window,
        /// Whether padding counts as zeros (else the mean is over the elements inside).
        count_padding: bool,
    },
    /// Another shape for the elements, kept in `[H, W, C]` order; also carries an activation that
    /// no other operator could take in.
    Reshape,
    /// exp(x) / Σ exp(x) over the channels of each pixel; always reads and computes FP32.
    Softmax {
        /// Whether the logarithm of that.
        log: bool,
    },
    /// A function of every element.
    Unary(Function),
    /// Product of two tensors, element by element; the second one has the shape of the first one, or one element for
    /// each of its channels.
    Mul,
    /// The channels of two tensors of one height and width, one behind the other.
    Concat,
    /// The elements of every row in another order, some of them left out or repeated.
    Rearrange(Rearrangement),
}

/// The activation that follows an operator, on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
}

impl Activation {
    /// `[low, high]` that the real value is clamped to.
    #[must_use]
    pub const fn range(self) -> [f32; 2] {
        match self {
            Self::None => [f32::NEG_INFINITY, f32::INFINITY],
            Self::Relu => [0.0, f32::INFINITY],
            Self::Relu6 => [0.0, 6.0],
        }
    }

    /// The integers that stand for the ends of the range.
    #[must_use]
    pub fn bounds(self, q: QParams, rounding: Rounding) -> [i8; 2] {
        match self {
            Self::None => [i8::MIN, i8::MAX],
            Self::Relu => [q.zero_point, i8::MAX],
            Self::Relu6 => [q.zero_point, q.quantize(6.0, rounding)],
        }
    }

    /// The activation of one value.
    #[must_use]
    pub fn apply(self, x: f32) -> f32 {
        let [low, high] = self.range();
        // one comparison each; what is not a number becomes the lower end
        let x = if x > low { x } else { low };
        if x < high { x } else { high }
    }
}

/// Why an operator cannot take its inputs or give its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum OpError {
    /// The number of inputs is not what the operator takes.
    InputCount {
        /// Inputs that it takes.
        expected: usize,
        /// Inputs that it was given.
        found: usize,
    },
    /// The inputs' shapes do not go together.
    InputShapes(Shape, Shape),
    /// The window does not fit the input, or is empty.
    Window(Shape),
    /// The groups do not divide the input and output channels.
    Groups(u16),
    /// The operator gives another shape than the layer says.
    OutputShape {
        /// The shape that the operator gives.
        expected: Shape,
        /// The shape that the layer says.
        found: Shape,
    },
    /// One output sums more than [`Op::MAX_REDUCTION`] products: 32 bits could overflow.
    Reduction(u64),
    /// One output is the mean of more than [`Op::MAX_POOL`] elements: 32 bits could overflow.
    Pool(u64),
    /// A parameter of a function is not finite, or its lower end is above the upper one.
    Function,
    /// The inputs have more channels together than a tensor may have.
    Channels,
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InputCount { expected, found } => {
                write!(f, "takes {expected} input(s), has {found}")
            }
            Self::InputShapes(a, b) => write!(f, "inputs of shapes {a} and {b} do not go together"),
            Self::Window(shape) => write!(f, "its window does not fit an input of {shape}"),
            Self::Groups(groups) => write!(f, "{groups} groups do not divide its channels"),
            Self::OutputShape { expected, found } => {
                write!(f, "gives {expected}, its output is declared as {found}")
            }
            Self::Reduction(len) => write!(
                f,
                "one output sums {len} products, more than {}",
                Op::MAX_REDUCTION
            ),
            Self::Pool(len) => write!(
                f,
                "one output is the mean of {len} elements, more than {}",
                Op::MAX_POOL
            ),
            Self::Function => f.write_str(
                "a parameter of its function is not finite, or its ends are not in order",
            ),
            Self::Channels => write!(f, "more than {} channels together", u16::MAX),
        }
    }
}

impl core::error::Error for OpError {}

impl Op {
    /// The most products in one output's sum, so that INT8 accumulators cannot overflow: the folded
    /// bias is at most 2^30 + 128·127·2^15 and every partial sum at most 128·127·2^15 in magnitude.
    pub const MAX_REDUCTION: u64 = 1 << 15;

    /// The most elements under the window of an average pool, so that the sum of their distances
    /// from the zero point, at most 255 each, fits 32 bits.
    pub const MAX_POOL: u64 = 1 << 23;

    /// The operator's name in reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv2d",
            Self::Dense => "dense",
            Self::Add => "add",
            Self::MaxPool { .. } => "max-pool",
            Self::AvgPool { .. } => "avg-pool",
            Self::Reshape => "reshape",
            Self::Softmax { log: false } => "softmax",
            Self::Softmax { log: true } => "log-softmax",
            Self::Unary(function) => function.name(),
            Self::Mul => "mul",
            Self::Concat => "concat",
            Self::Rearrange(_) => "rearrange",
        }
    }

    /// Number of tensors that it reads.
    #[must_use]
    pub(crate) const fn input_count(&self) -> usize {
        match self {
            Self::Add | Self::Mul | Self::Concat => 2,
            Self::Conv2d { .. }
            | Self::Dense
            | Self::MaxPool { .. }
            | Self::AvgPool { .. }
            | Self::Reshape
            | Self::Softmax { .. }
            | Self::Unary(_)
            | Self::Rearrange(_) => 1,
        }
    }

    /// Whether it has weights, so that a level is chosen for it.
    #[must_use]
    pub const fn has_weights(&self) -> bool {
        match self {
            Self::Conv2d { .. } | Self::Dense => true,
            Self::Add
            | Self::MaxPool { .. }
            | Self::AvgPool { .. }
            | Self::Reshape
            | Self::Softmax { .. }
            | Self::Unary(_)
            | Self::Mul
            | Self::Concat
            | Self::Rearrange(_) => false,
        }
    }

    /// Whether every element of its output is one of its inputs', before the activation.
    #[must_use]
    pub const fn is_selection(&self) -> bool {
        match self {
            Self::MaxPool { .. } | Self::Reshape | Self::Concat | Self::Rearrange(_) => true,
            Self::Conv2d { .. }
            | Self::Dense
            | Self::Add
            | Self::AvgPool { .. }
            | Self::Softmax { .. }
            | Self::Unary(_)
            | Self::Mul => false,
        }
    }

    /// Whether every element of its output depends on one element of each input alone, that at its own place where the
    /// input has the output's shape.
    #[must_use]
    pub const fn is_elementwise(&self) -> bool {
        match self {
            Self::Add | Self::Reshape | Self::Unary(_) | Self::Mul => true,
            Self::Conv2d { .. }
            | Self::Dense
            | Self::MaxPool { .. }
            | Self::AvgPool { .. }
            | Self::Softmax { .. }
            | Self::Concat
            | Self::Rearrange(_) => false,
        }
    }

    /// Whether its output is an affine function of its inputs, before the activation.
    #[must_use]
    pub const fn is_linear(&self) -> bool {
        match self {
            Self::Conv2d { .. }
            | Self::Dense
            | Self::Add
            | Self::AvgPool { .. }
            | Self::Reshape
            | Self::Concat
            | Self::Rearrange(_) => true,
            Self::MaxPool { .. } | Self::Softmax { .. } | Self::Unary(_) | Self::Mul => false,
        }
    }

    /// The form in which it must read its inputs; `None` where it follows its tensors.
    #[must_use]
    pub const fn input_need(&self, level: Level) -> Option<Form> {
        match self {
            Self::Conv2d { .. } | Self::Dense => Some(level.input_form()),
            Self::Softmax { .. } => Some(Form::F32),
            Self::Add
            | Self::MaxPool { .. }
            | Self::AvgPool { .. }
            | Self::Reshape
            | Self::Unary(_)
            | Self::Mul
            | Self::Concat
            | Self::Rearrange(_) => None,
        }
    }

    /// The form in which it reads an input that is stored in these.
    #[must_use]
    pub(crate) fn reads(&self, level: Level, forms: Forms) -> Form {
        let need = self.input_need(level);
        need.or(forms.widest()).unwrap_or(Form::F32)
    }

    /// Products summed for one output element; 0 without weights, and the largest number where
    /// there are more than fit.
    #[must_use]
    pub const fn reduction_len(&self, input: Shape) -> usize {
        match self {
            Self::Conv2d { window, groups } => {
                let groups = if *groups == 0 { 1 } else { *groups };
                window.taps().saturating_mul((input.c / groups) as usize)
            }
            Self::Dense => input.len(),
            Self::Add
            | Self::MaxPool { .. }
            | Self::AvgPool { .. }
            | Self::Reshape
            | Self::Softmax { .. }
            | Self::Unary(_)
            | Self::Mul
            | Self::Concat
            | Self::Rearrange(_) => 0,
        }
    }

    /// The number of weights, without biases; 0 without weights.
    #[must_use]
    pub const fn weight_count(&self, input: Shape, output: Shape) -> usize {
        self.reduction_len(input) * output.c as usize
    }

    /// Multiply-accumulates of one inference; 0 without weights.
    #[must_use]
    pub const fn macs(&self, input: Shape, output: Shape) -> u64 {
        self.reduction_len(input) as u64 * output.len() as u64
    }

    /// Checks that inputs of these shapes give an output of that shape.
    ///
    /// # Errors
    /// Says what does not fit, with its numbers.
    pub fn check(&self, inputs: &[Shape], output: Shape) -> Result<(), OpError> {
        let expected = self.input_count();
        if inputs.len() != expected {
            let found = inputs.len();
            return Err(OpError::InputCount { expected, found });
        }
        let input = inputs[0];
        let other = *inputs.last().unwrap_or(&input);
        let go_together = match self {
            Self::Mul => [input, Shape::vector(input.c)].contains(&other),
            Self::Concat => [input.h, input.w] == [other.h, other.w],
            Self::Conv2d { .. }
            | Self::Dense
            | Self::Add
            | Self::MaxPool { .. }
            | Self::AvgPool { .. }
            | Self::Reshape
            | Self::Softmax { .. }
            | Self::Unary(_)
            | Self::Rearrange(_) => input == other,
        };
        if !go_together {
            return Err(OpError::InputShapes(input, other));
        }
        let expected = match *self {
            Self::Conv2d { window, groups } => {
                if groups == 0
                    || !input.c.is_multiple_of(groups)
                    || !output.c.is_multiple_of(groups)
                {
                    return Err(OpError::Groups(groups));
                }
                windowed(window, input, output.c)?
            }
            Self::Dense => Shape::vector(output.c),
            Self::Unary(function) if !function.is_usable() => return Err(OpError::Function),
            Self::Add | Self::Softmax { .. } | Self::Unary(_) | Self::Mul => input,
            Self::Concat => Shape {
                c: input.c.checked_add(other.c).ok_or(OpError::Channels)?,
                ..input
            },
            Self::MaxPool { window } | Self::AvgPool { window, .. } => {
                windowed(window, input, input.c)?
            }
            Self::Reshape if input.len() == output.len() => output,
            Self::Rearrange(of) if of.fits(input, output) => output,
            Self::Reshape | Self::Rearrange(_) => {
                return Err(OpError::InputShapes(input, output));
            }
        };
        if expected != output {
            let found = output;
            return Err(OpError::OutputShape { expected, found });
        }
        let reduction = self.reduction_len(input) as u64;
        if reduction > Self::MAX_REDUCTION {
            return Err(OpError::Reduction(reduction));
        }
        if let Self::AvgPool { window, .. } = self {
            let [h, w] = window.kernel;
            let under = u64::from(h.min(input.h)) * u64::from(w.min(input.w));
            if under > Self::MAX_POOL {
                return Err(OpError::Pool(under));
            }
        }
        Ok(())
    }
}

fn windowed(window: Window, input: Shape, c: u16) -> Result<Shape, OpError> {
    let [h, w] = window
        .output(input.h, input.w)
        .ok_or(OpError::Window(input))?;
    Ok(Shape { h, w, c })
}

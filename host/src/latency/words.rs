//! Words of weights that a layer reads.

use bitbudget_core::level::{Level, WeightFormat};
use bitbudget_core::op::Op;
use bitbudget_core::shape::Shape;

use super::inside;

/// Bytes of a channel's bias.
const BIAS_BYTES: f64 = 4.0;
/// Bytes of a channel's multiplier and shift.
const REQUANT_BYTES: f64 = 5.0;

/// The 32-bit words that a layer reads of its block of weights in one inference, from where the block lies;
/// 0 for a layer without weights.
///
/// A word that is read by bytes, or again at once, counts once: bytes of the block that pass by, over four.
/// - Integer convolutions read the whole block once for every four pixels, and for every single pixel that
///   is left: biases, weights, multipliers and shifts.
/// - FP32 and FP16 convolutions read the weights under the part of the window that is inside the input, and
///   the biases, once for every pixel.
/// - Depthwise convolutions copy weights and biases first, so read them once. Those in integers read
///   multipliers and shifts for every pixel.
/// - Fully connected layers read the whole block once.
#[must_use]
pub fn weight_words(op: &Op, input: Shape, output: Shape, level: Level) -> f64 {
    let channels = f64::from(output.c);
    let pixels = f64::from(output.h) * f64::from(output.w);
    let taps = op.reduction_len(input);
    let (row_bytes, requant_bytes) = match level.weight_format() {
        WeightFormat::F32 => (4.0 * taps as f64, None),
        WeightFormat::F16 => (2.0 * taps as f64, None),
        WeightFormat::Int(width) => (width.row_bytes(taps) as f64, Some(REQUANT_BYTES)),
    };
    let bytes_of_channel = match (op, requant_bytes) {
        (Op::Conv2d { groups, .. }, _) if *groups == input.c && *groups == output.c => {
            row_bytes + BIAS_BYTES + pixels * requant_bytes.unwrap_or(0.0)
        }
        (Op::Conv2d { .. }, Some(requant_bytes)) => {
            let passes = (pixels / 4.0).floor() + pixels % 4.0;
            passes * (row_bytes + BIAS_BYTES + requant_bytes)
        }
        (Op::Conv2d { .. }, None) => pixels * (row_bytes * inside(op, input, output) + BIAS_BYTES),
        (Op::Dense, _) => row_bytes + BIAS_BYTES + requant_bytes.unwrap_or(0.0),
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
            _,
        ) => 0.0,
    };
    channels * bytes_of_channel / 4.0
}

#[cfg(test)]
mod tests {
    use bitbudget_core::quant::Width;
    use bitbudget_core::shape::Window;

    use super::*;

    /// The bytes of a block that a convolution or a fully connected layer reads, read by read, as the
    /// kernels for DSP instructions do.
    struct Reads {
        bits: usize,
        is_integer: bool,
        bits_read: usize,
    }

    impl Reads {
        fn new(level: Level) -> Self {
            let (bits, is_integer) = match level.weight_format() {
                WeightFormat::F32 => (32, false),
                WeightFormat::F16 => (16, false),
                WeightFormat::Int(width) => (width.bits() as usize, true),
            };
            Self {
                bits,
                is_integer,
                bits_read: 0,
            }
        }

        fn bias(&mut self) {
            self.bits_read += 32;
        }

        /// A run of weights that begins at a byte.
        fn weights(&mut self, len: usize) {
            self.bits_read += (len * self.bits).next_multiple_of(8);
        }

        fn requant(&mut self) {
            if self.is_integer {
                self.bits_read += 32 + 8;
            }
        }

        fn words(&self) -> f64 {
            self.bits_read as f64 / 32.0
        }
    }

    fn dense(input: Shape, output: Shape, level: Level) -> f64 {
        let mut reads = Reads::new(level);
        for _ in 0..output.len() {
            reads.bias();
            reads.weights(input.len());
            reads.requant();
        }
        reads.words()
    }

    fn depthwise(window: &Window, output: Shape, level: Level) -> f64 {
        let mut reads = Reads::new(level);
        for _ in 0..output.c {
            reads.weights(window.taps());
            reads.bias();
        }
        for _ in 0..output.len() {
            reads.requant();
        }
        reads.words()
    }

    fn integer_convolution(taps: usize, output: Shape, groups: u16, level: Level) -> f64 {
        let mut reads = Reads::new(level);
        let pixels = usize::from(output.h) * usize::from(output.w);
        for _ in 0..groups {
            let mut pixel = 0;
            while pixel < pixels {
                for _ in 0..output.c / groups {
                    reads.bias();
                    reads.weights(taps);
                    reads.requant();
                }
                pixel += if pixels - pixel < 4 { 1 } else { 4 };
            }
        }
        reads.words()
    }

    fn float_convolution(
        window: &Window,
        depth: usize,
        input: Shape,
        output: Shape,
        level: Level,
    ) -> f64 {
        let mut reads = Reads::new(level);
        let [height, width] = window.kernel.map(i32::from);
        let [top, left] = [window.padding[0], window.padding[1]].map(i32::from);
        let [down, right] = window.stride.map(i32::from);
        for y in 0..i32::from(output.h) {
            for x in 0..i32::from(output.w) {
                for _ in 0..output.c {
                    reads.bias();
                    for tap in 0..height * width {
                        let row = y * down - top + tap / width;
                        let column = x * right - left + tap % width;
                        let rows = 0..i32::from(input.h);
                        if rows.contains(&row) && (0..i32::from(input.w)).contains(&column) {
                            reads.weights(depth);
                        }
                    }
                }
            }
        }
        reads.words()
    }

    #[test]
    fn words_are_those_of_the_loops() {
        let levels = ["fp32", "fp16", "int8", "int4", "int2"].map(|name| name.parse().unwrap());
        let (vector, classes) = (Shape::vector(67), Shape::vector(10));
        for level in levels {
            let words = weight_words(&Op::Dense, vector, classes, level);
            assert!(
                (words - dense(vector, classes, level)).abs() < 1e-9,
                "{level}"
            );
        }
        // kernel, stride, padding, groups, input, output channels
        let convolutions = [
            (3, 1, 1, 1, Shape::new(8, 8, 16), 32),
            (3, 2, 1, 1, Shape::new(9, 7, 3), 5),
            (1, 1, 0, 1, Shape::new(5, 5, 8), 70),
            (5, 1, 2, 2, Shape::new(3, 6, 4), 6),
            (3, 2, 1, 8, Shape::new(7, 7, 8), 8),
            (3, 1, 1, 1, Shape::new(6, 5, 1), 1),
        ];
        for (kernel, stride, padding, groups, input, channels) in convolutions {
            let window = Window::square(kernel, stride, padding);
            let op = Op::Conv2d { window, groups };
            let side = |side: u16| (side + 2 * padding - kernel) / stride + 1;
            let output = Shape::new(side(input.h), side(input.w), channels);
            for level in levels {
                let depth = usize::from(input.c / groups);
                let is_depthwise = groups == input.c && groups == channels;
                let counted = match level.weight_format() {
                    _ if is_depthwise => depthwise(&window, output, level),
                    WeightFormat::Int(Width::Int8 | Width::Int4 | Width::Int2) => {
                        integer_convolution(window.taps() * depth, output, groups, level)
                    }
                    WeightFormat::F32 | WeightFormat::F16 => {
                        float_convolution(&window, depth, input, output, level)
                    }
                };
                let words = weight_words(&op, input, output, level);
                assert!((words - counted).abs() < 1e-6 * counted, "{op:?} {level}");
            }
        }
    }

    #[test]
    fn layers_without_weights_read_none() {
        let shape = Shape::new(4, 4, 8);
        let window = Window::square(2, 2, 0);
        for op in [
            Op::Add,
            Op::MaxPool { window },
            Op::Reshape,
            Op::Softmax { log: false },
        ] {
            assert_eq!(weight_words(&op, shape, shape, Level::Fp32), 0.0);
        }
    }
}

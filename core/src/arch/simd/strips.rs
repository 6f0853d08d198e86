//! Direct convolution of INT8: strips of output pixels against vectors of channels.

use core::ops::Range;

use super::backend::Backend;
use super::buffer::Buffer;
use super::epilogue::{Epilogue, RequantVectors, StoreResults, StoreSums};
use super::geometry::{CHANNELS, LANES, TAPS, WEIGHT_BYTES, words};
use super::isa::{Isa, Task};
use super::pack::Pack;
use super::tile::Accumulate;
use crate::arch::im2col::Rows;
use crate::arch::requantize::Requants;
use crate::arch::strips::{KernelRows, OutputGrid, Padding, Strip, Strips};

/// Bytes of inputs, which take one or two each.
const INPUT_BYTES: usize = 64 << 10;

/// Copied inputs, packed weights, and the sums of a strip.
#[derive(Clone, Debug)]
pub(crate) struct SimdStrips {
    operands: Operands,
    requants: RequantVectors,
    sums: Buffer<{ CHANNELS * Strip::PIXELS * size_of::<i32>() }>,
}

impl SimdStrips {
    /// Empty buffers for an instruction set.
    const fn on(backend: Backend) -> Self {
        Self {
            operands: Operands {
                backend,
                inputs: Buffer::new(),
                weights: Buffer::new(),
                bias: Lanes([0; _]),
                shape: KernelRows { count: 0, len: 0 },
                channels: 0,
            },
            requants: RequantVectors::new(),
            sums: Buffer::new(),
        }
    }
}

impl Strips for SimdStrips {
    #[inline(always)]
    fn new() -> Option<Self> {
        Some(Self::on(Backend::best()))
    }

    #[cfg(test)]
    fn on_each(mut test: impl FnMut(Self)) {
        Backend::on_each(|backend| test(Self::on(backend)));
    }

    fn capacity(&self) -> usize {
        INPUT_BYTES / self.operands.backend.input_bytes() - TAPS
    }

    fn room(&self, shape: KernelRows) -> usize {
        let taps = size_of::<u32>() / self.operands.backend.input_bytes();
        let words = shape.count.saturating_mul(words(shape, taps));
        let lane = words.saturating_mul(size_of::<u32>());
        if lane == 0 {
            return 0;
        }
        (WEIGHT_BYTES / lane / LANES * LANES).min(CHANNELS)
    }

    fn pack(&mut self, rows: &Rows<'_>, channels: Range<usize>, shape: KernelRows, bias: &[i32]) {
        assert!(channels.len() <= self.room(shape), "room for the weights");
        let operands = &mut self.operands;
        let (packed, rest) = operands.bias.0.split_at_mut(channels.len());
        packed.copy_from_slice(&bias[channels.clone()]);
        rest.fill(0);
        operands.shape = shape;
        operands.channels = channels.len();
        operands.backend.run(Pack {
            rows,
            channels,
            shape,
            weights: &mut operands.weights,
            bias: &mut operands.bias.0,
        });
    }

    fn copy_inputs(&mut self, from: &[i8], padding: Padding, value: i8) {
        self.operands.backend.run(CopyInputs {
            inputs: &mut self.operands.inputs,
            from,
            padding,
            value,
        });
    }

    fn pitch(&self) -> usize {
        self.operands.channels.next_multiple_of(LANES)
    }

    fn sums(&mut self, strip: Strip) -> &[i32] {
        let pitch = self.pitch();
        let len = strip.pixels.saturating_mul(pitch * size_of::<i32>());
        let to = bytemuck::cast_slice_mut(self.sums.grow(len));
        let row = OutputGrid {
            strip,
            rows: 1,
            step: 0,
        };
        self.operands.accumulate(row, StoreSums { to, pitch });
        to
    }

    fn set_requants(&mut self, requants: &Requants<'_>) {
        self.requants.set(requants);
    }

    fn results(&self, grid: OutputGrid, to: &mut [i8], pitch: usize) {
        let epilogue = StoreResults {
            requants: &self.requants,
            channels: self.operands.channels,
            to,
            pitch,
        };
        self.operands.accumulate(grid, epilogue);
    }
}

/// Inputs, weights and biases as tiles read them.
#[derive(Clone, Debug)]
struct Operands {
    backend: Backend,
    inputs: Buffer<INPUT_BYTES>,
    weights: Buffer<WEIGHT_BYTES>,
    bias: Lanes,
    shape: KernelRows,
    channels: usize,
}

/// Biases of channels.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Lanes([i32; CHANNELS]);

impl Operands {
    fn accumulate(&self, grid: OutputGrid, epilogue: impl Epilogue) {
        self.backend.run(Accumulate {
            inputs: self.inputs.bytes(),
            weights: self.weights.bytes(),
            bias: &self.bias.0,
            shape: self.shape,
            channels: self.channels,
            grid,
            epilogue,
        });
    }
}

/// Copies inputs with padding around.
struct CopyInputs<'a> {
    inputs: &'a mut Buffer<INPUT_BYTES>,
    from: &'a [i8],
    padding: Padding,
    value: i8,
}

impl Task for CopyInputs<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "a task")]
    unsafe fn run<I: Isa>(self) {
        let padding = self.padding;
        let pitch = padding.pitch();
        // the last word ends behind the inputs
        let len = padding.len(self.from.len()).saturating_add(TAPS);
        let inputs = self.inputs.reset(len, I::input(self.value));
        let rows = inputs.chunks_mut(pitch.max(1)).skip(padding.top);
        for (to, from) in rows.zip(self.from.chunks(padding.row.max(1))) {
            let to = to[padding.left..].iter_mut();
            to.zip(from).for_each(|(to, tap)| *to = I::input(*tap));
        }
    }
}

//! Direct convolution: its shapes, and what an instruction set offers that has it.
//!
//! A *strip* is a run of neighbouring output pixels that share each load of weights. Every sum is over the
//! rows of the kernel: contiguous taps each, whose inputs lie a pitch behind those of the kernel row above.
//!
//! ```text
//!   inputs, padding included            kernel: 3 rows of 3 pixels' channels
//!   . . . . . . . . . .  <- top
//!   . a a a a a a a a .      at -> [a a a]          the next pixel's inputs are
//!   . b b b b b b b b .    pitch v [b b b]          `step` further to the right
//!   . c c c c c c c c .            [c c c]
//!   ^ left            ^ right
//! ```

use core::ops::Range;

use super::im2col::Rows;
use super::requantize::Requants;

/// The taps of one sum: rows of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelRows {
    /// Number of rows.
    pub(crate) count: usize,
    /// Taps of each.
    pub(crate) len: usize,
}

/// Padding around rows of inputs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Padding {
    /// Inputs of a row.
    pub(crate) row: usize,
    /// Rows above.
    pub(crate) top: usize,
    /// Inputs to the left.
    pub(crate) left: usize,
    /// Rows below.
    pub(crate) bottom: usize,
    /// Inputs to the right.
    pub(crate) right: usize,
}

impl Padding {
    /// From a row to the next; saturates.
    #[must_use]
    pub(crate) const fn pitch(self) -> usize {
        self.left
            .saturating_add(self.row)
            .saturating_add(self.right)
    }

    /// The length of `inputs` inputs, padding included; saturates.
    #[must_use]
    pub(crate) const fn len(self, inputs: usize) -> usize {
        match inputs.checked_div(self.row) {
            Some(rows) => {
                let rows = self.top.saturating_add(rows).saturating_add(self.bottom);
                rows.saturating_mul(self.pitch())
            }
            None => 0,
        }
    }
}

/// Output pixels and where their inputs lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strip {
    /// The first pixel's first input.
    pub(crate) at: usize,
    /// From the inputs of a kernel row to the next kernel row's.
    pub(crate) pitch: usize,
    /// From the inputs of a pixel to the next pixel's.
    pub(crate) step: usize,
    /// Number of pixels.
    pub(crate) pixels: usize,
}

impl Strip {
    /// The most pixels whose sums are held at a time.
    pub(crate) const PIXELS: usize = 32;
}

/// Rows of output pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputGrid {
    /// The first row, of any number of pixels.
    pub(crate) strip: Strip,
    /// Number of rows.
    pub(crate) rows: usize,
    /// From the inputs of a row to the next row's.
    pub(crate) step: usize,
}

/// Direct convolution of INT8: inputs that lie side by side with their padding, read as often as they are
/// needed, and weights packed for vectors of channels.
pub(crate) trait Strips: Sized {
    /// Empty buffers; `None` where the instruction set has no direct convolution.
    fn new() -> Option<Self>;

    /// Calls `test` with buffers for each instruction set that the processor may turn out to have.
    #[cfg(test)]
    fn on_each(test: impl FnMut(Self));

    /// The most inputs, padding included.
    fn capacity(&self) -> usize;

    /// For how many channels the packed weights have room; 0 where not even for a few.
    fn room(&self, shape: KernelRows) -> usize;

    /// Packs the weights and biases of some channels, [`room`](Self::room) at most: a row's first weights
    /// are those of the first kernel row, and so on.
    ///
    /// # Panics
    /// When there is no room, or a row ends early.
    fn pack(&mut self, rows: &Rows<'_>, channels: Range<usize>, shape: KernelRows, bias: &[i32]);

    /// Copies inputs, whole rows of them, with `value` as padding around.
    ///
    /// # Panics
    /// When there are more, padding included, than the capacity.
    fn copy_inputs(&mut self, from: &[i8], padding: Padding, value: i8);

    /// From the sums of a pixel to those of the next.
    fn pitch(&self) -> usize;

    /// The sums of a strip, biases included: pixel by pixel, [`pitch`](Self::pitch) apart.
    ///
    /// # Panics
    /// When there are more pixels than [`Strip::PIXELS`], or the inputs end early.
    fn sums(&mut self, strip: Strip) -> &[i32];

    /// Sets multipliers, shifts and clamp of the packed channels.
    ///
    /// # Panics
    /// When there are more than channels have room.
    fn set_requants(&mut self, requants: &Requants<'_>);

    /// Writes the requantized sums of all pixels, biases included: row by row, pixel by pixel, `pitch`
    /// apart.
    ///
    /// # Panics
    /// When there is no room for the results, or the inputs end early.
    fn results(&self, grid: OutputGrid, to: &mut [i8], pitch: usize);
}

/// Direct convolution of FP32, in the order of additions of
/// [`dots_f32`](crate::arch::portable::dots_f32), of which each kernel row is one.
pub(crate) trait FloatStrips: Sized {
    /// Empty buffers; `None` where the instruction set has no direct convolution.
    fn new() -> Option<Self>;

    /// Calls `test` with buffers for each instruction set that the processor may turn out to have.
    #[cfg(test)]
    fn on_each(test: impl FnMut(Self));

    /// For how many channels the packed weights have room; 0 where not even for a few.
    fn room(&self, shape: KernelRows) -> usize;

    /// Packs the biases and weights of some channels, [`room`](Self::room) at most: rows of weights, of
    /// the first kernel row first, which `real` makes real numbers of.
    ///
    /// # Panics
    /// When there is no room, or a row ends early.
    fn pack<T: Copy>(
        &mut self,
        bias: &[f32],
        rows: &[T],
        shape: KernelRows,
        real: impl Fn(T) -> f32,
    );

    /// From the sums of a pixel to those of the next.
    fn pitch(&self) -> usize;

    /// The sums of a strip over some of the kernel rows and some taps of each, biases included: pixel by
    /// pixel, [`pitch`](Self::pitch) apart. The strip begins at the first of these inputs.
    ///
    /// # Panics
    /// When there are more pixels than [`Strip::PIXELS`], there are not so many kernel rows or taps, or
    /// the inputs end early.
    fn sums(
        &mut self,
        inputs: &[f32],
        strip: Strip,
        kernel_rows: Range<usize>,
        taps: Range<usize>,
    ) -> &[f32];
}

/// No direct convolution: there is none of these.
#[derive(Debug)]
pub(crate) enum NoStrips {}

impl Strips for NoStrips {
    fn new() -> Option<Self> {
        None
    }

    #[cfg(test)]
    fn on_each(_: impl FnMut(Self)) {}

    fn capacity(&self) -> usize {
        match *self {}
    }

    fn room(&self, _: KernelRows) -> usize {
        match *self {}
    }

    fn pack(&mut self, _: &Rows<'_>, _: Range<usize>, _: KernelRows, _: &[i32]) {
        match *self {}
    }

    fn copy_inputs(&mut self, _: &[i8], _: Padding, _: i8) {
        match *self {}
    }

    fn pitch(&self) -> usize {
        match *self {}
    }

    fn sums(&mut self, _: Strip) -> &[i32] {
        match *self {}
    }

    fn set_requants(&mut self, _: &Requants<'_>) {
        match *self {}
    }

    fn results(&self, _: OutputGrid, _: &mut [i8], _: usize) {
        match *self {}
    }
}

impl FloatStrips for NoStrips {
    fn new() -> Option<Self> {
        None
    }

    #[cfg(test)]
    fn on_each(_: impl FnMut(Self)) {}

    fn room(&self, _: KernelRows) -> usize {
        match *self {}
    }

    fn pack<T: Copy>(&mut self, _: &[f32], _: &[T], _: KernelRows, _: impl Fn(T) -> f32) {
        match *self {}
    }

    fn pitch(&self) -> usize {
        match *self {}
    }

    fn sums(&mut self, _: &[f32], _: Strip, _: Range<usize>, _: Range<usize>) -> &[f32] {
        match *self {}
    }
}

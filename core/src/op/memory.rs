//! What kernels work in.

use crate::arch::pixels::Pixels;
use crate::arch::{Int, IntKernels};

/// Channels whose sums are held at a time.
pub(crate) const CHANNELS: usize = 64;

/// Taps of fours of channels that a depthwise convolution holds at a time.
pub(crate) const FOURS: usize = 160;

/// The memory of the kernels of integers. What is in it tells nothing: it is made once for an inference, since
/// zeroing it takes as long as a small layer.
#[derive(Debug)]
pub(crate) struct KernelMemory<'m> {
    pub(crate) im2col: &'m mut <Int as IntKernels>::Im2col,
    pub(crate) sums: &'m mut [i32; CHANNELS * Pixels::MOST],
    pub(crate) fours: &'m mut [[i16; 4]; FOURS],
}

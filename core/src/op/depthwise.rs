//! Depthwise convolution: every channel has weights of its own.

use bytemuck::cast_slice_mut;

use crate::arch::pixels::Pixels;
use crate::arch::{Float, FloatKernels, Int, IntKernels, portable};
use crate::op::Activation;
use crate::op::geometry::Geometry;
use crate::op::memory::{self, KernelMemory};
use crate::op::weights::{FloatWeights, IntOutput, IntWeights};
use crate::quant::Width;
use crate::tensor::ViewMut;

/// The most taps that are taken here.
pub(crate) const MAX_TAPS: usize = 64;

/// Fours of channels that are worked on at a time, if their weights have room.
const FOURS: usize = 16;
const _: () = assert!(
    4 * FOURS + memory::FOURS <= memory::CHANNELS * Pixels::MOST,
    "sums and patch lie side by side"
);

/// Channels of an eight.
const EIGHT: usize = 8;
/// Eights of FP32 channels that are worked on at a time, if their weights have room.
const EIGHTS: usize = 8;
/// Room for the weights of eights of channels.
const FLOATS: usize = 72;

/// Convolves each FP32 channel with its floats, a block of channels after the other. There are at most
/// [`MAX_TAPS`] taps.
#[inline(never)]
pub(crate) fn float(
    geometry: &Geometry,
    input: &[f32],
    weights: &FloatWeights<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    let width = usize::from(geometry.window.kernel[1]);
    let taps = geometry.window.taps();
    let channels = weights.bias.len();
    let pitch = usize::from(geometry.input.w) * channels;
    let mut eights = [[0.0; EIGHT]; FLOATS];
    let mut sums = [[0.0; EIGHT]; EIGHTS];
    let block = EIGHT * EIGHTS.min(FLOATS / taps);
    for first in (0..channels).step_by(block) {
        let len = block.min(channels - first);
        let (whole, rest) = (len / EIGHT, len % EIGHT);
        let of_channel = |channel: usize| {
            let row = (first + channel) * taps;
            (row..row + taps).map(|i| weights.rows.get(i))
        };
        spread(len, taps, of_channel, &mut eights);
        let mut bias = [[0.0; EIGHT]; EIGHTS];
        bias.as_flattened_mut()[..len].copy_from_slice(&weights.bias[first..first + len]);
        geometry.for_each(|pixel, rows, columns| {
            let sums = &mut sums[..len.div_ceil(EIGHT)];
            sums.copy_from_slice(&bias[..sums.len()]);
            for row in 0..rows.len {
                let at = (rows.start + row) * pitch + columns.start * channels + first;
                let tap = (rows.tap + row) * width + columns.tap;
                let (sums, last) = sums.split_at_mut(whole);
                let of_taps = (channels, columns.len);
                Float::depthwise_f32(&input[at..], of_taps, &eights[tap..], taps, sums);
                if rest == 0 {
                    continue;
                }
                for column in 0..columns.len {
                    let inputs = &input[at + column * channels + whole * EIGHT..][..rest];
                    let weights = &eights[whole * taps + tap + column];
                    let products = inputs.iter().zip(weights);
                    for (sum, (x, w)) in last.as_flattened_mut().iter_mut().zip(products) {
                        *sum += x * w;
                    }
                }
            }
            let sums = &sums.as_flattened()[..len];
            output.put(pixel * channels + first, sums, activation);
        });
    }
}

/// Convolves each INT8 channel with its integers in 32 bits, a block of channels after the other; padding
/// is the input's zero point. There are at most [`MAX_TAPS`] taps.
#[inline(never)]
pub(crate) fn int(
    geometry: &Geometry,
    (input, zero_point): (&[i8], i8),
    weights: &IntWeights<'_>,
    output: &mut IntOutput<'_, '_>,
    memory: &mut KernelMemory<'_>,
) {
    let fours = &mut memory.fours[..];
    let (sums, patch) = memory.sums.split_at_mut(4 * FOURS);
    let sums = sums.as_chunks_mut::<4>().0;
    // the inputs under a window that lies in part on the padding
    let patch: &mut [i8] = cast_slice_mut(patch);
    let [height, width] = geometry.window.kernel.map(usize::from);
    let taps = height * width;
    let channels = weights.bias.len();
    let pitch = usize::from(geometry.input.w) * channels;
    let mut inside = [0; MAX_TAPS];
    for (tap, offset) in inside[..taps].iter_mut().enumerate() {
        *offset = (tap / width * pitch + tap % width * channels) as u32;
    }
    let block = 4 * FOURS.min(memory::FOURS / taps);
    for first in (0..channels).step_by(block) {
        let len = block.min(channels - first);
        let side = len.next_multiple_of(4);
        let fours = &mut fours[..side / 4 * taps];
        if side > len {
            fours.fill([0; 4]);
        }
        let row = |channel: usize| weights.rows.row(first + channel, taps);
        match weights.rows.width {
            Width::Int8 => {
                let of_channel = |channel| row(channel).iter().map(|w| w.cast_signed().into());
                spread(len, taps, of_channel, fours);
            }
            width @ (Width::Int4 | Width::Int2) => {
                let of_channel = |channel| {
                    let row = row(channel);
                    (0..taps).map(move |tap| portable::weight(row, tap, width).into())
                };
                spread(len, taps, of_channel, fours);
            }
        }
        let mut bias = [[0; 4]; FOURS];
        bias.as_flattened_mut()[..len].copy_from_slice(&weights.bias[first..first + len]);
        // of taps that were copied side by side
        let mut copied = [0; MAX_TAPS];
        for (tap, offset) in copied[..taps].iter_mut().enumerate() {
            *offset = (tap * side) as u32;
        }
        geometry.for_each(|pixel, rows, columns| {
            let sums = &mut sums[..side / 4];
            let at = rows.start * pitch + columns.start * channels + first;
            if rows.len * columns.len == taps && side == len {
                Int::depthwise(&input[at..], &inside[..taps], fours, &bias, sums);
            } else {
                patch[..taps * side].fill(zero_point);
                for row in 0..rows.len {
                    for column in 0..columns.len {
                        let tap = (rows.tap + row) * width + columns.tap + column;
                        let from = &input[at + row * pitch + column * channels..][..len];
                        patch[tap * side..][..len].copy_from_slice(from);
                    }
                }
                Int::depthwise(patch, &copied[..taps], fours, &bias, sums);
            }
            output.put(pixel, Pixels::One, first, &sums.as_flattened()[..len]);
        });
    }
}

/// Writes the weights of `len` channels, which `weights` gives for each, by blocks of channels, then by tap.
fn spread<T, I: Iterator<Item = T>, const N: usize>(
    len: usize,
    taps: usize,
    weights: impl Fn(usize) -> I,
    blocks: &mut [[T; N]],
) {
    for channel in 0..len {
        let of_channel = blocks[channel / N * taps..][..taps].iter_mut();
        for (block, weight) in of_channel.zip(weights(channel)) {
            block[channel % N] = weight;
        }
    }
}

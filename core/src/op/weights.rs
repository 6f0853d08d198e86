//! Resident weights as the operators read them: rows, one for each output channel.

use core::ops::Range;

use heapless::Vec;

use crate::arch::im2col::Rows;
use crate::arch::pixels::Pixels;
use crate::arch::requantize::{Clamp, Requants, saturating_shl, split_shift};
use crate::arch::{Float, FloatKernels, Int, IntKernels, portable};
use crate::op::Activation;
use crate::quant::{QParams, Requant};
use crate::tensor::{Requantizer, ViewMut};

/// Weights of a layer that computes in FP32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FloatWeights<'a> {
    /// `[O]`.
    pub(crate) bias: &'a [f32],
    /// `[O, …]`.
    pub(crate) rows: FloatRows<'a>,
}

/// `[O, …]` floats.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FloatRows<'a> {
    /// 32-bit.
    F32(&'a [f32]),
    /// IEEE 754 binary16, all finite.
    F16(&'a [u16]),
}

impl FloatRows<'_> {
    /// Adds to each of `sums` the products of `input` and of a channel's weights: the first channel's
    /// from index `first` on, those of the others each `pitch` further.
    ///
    /// # Panics
    /// When there are fewer weights.
    pub(crate) fn dots(&self, input: &[f32], first: usize, pitch: usize, sums: &mut [f32]) {
        match self {
            Self::F32(weights) => Float::dots_f32(input, &weights[first..], pitch, sums),
            Self::F16(weights) => Float::dots_f16(input, &weights[first..], pitch, sums),
        }
    }

    /// Weight `i`.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub(crate) fn get(&self, i: usize) -> f32 {
        match self {
            Self::F32(weights) => weights[i],
            Self::F16(weights) => portable::half(weights[i]),
        }
    }

    /// The number of weights.
    #[must_use]
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::F32(weight) => weight.len(),
            Self::F16(weight) => weight.len(),
        }
    }
}

/// Calls `each` with the first channel of each block of channels and their accumulators, initialised to the
/// biases.
pub(crate) fn for_each_block(bias: &[f32], mut each: impl FnMut(usize, &mut [f32])) {
    const CHANNELS: usize = 64;
    let mut sums = Vec::<f32, CHANNELS>::new();
    for (block, bias) in bias.chunks(CHANNELS).enumerate() {
        sums.clear();
        // a chunk is no longer than there is room
        let _ = sums.extend_from_slice(bias);
        each(block * CHANNELS, &mut sums);
    }
}

/// Weights of a layer that computes in integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntWeights<'a> {
    /// `[O]`, in units of input scale · weight scale, with −zero_point · Σ weight folded in.
    pub(crate) bias: &'a [i32],
    /// `[O]`, [`Requant::multiplier`] of input scale · weight scale / output scale.
    pub(crate) multiplier: &'a [i32],
    /// `[O]`, [`Requant::shift`] of the same.
    pub(crate) shift: &'a [u8],
    /// The weights, row by row, packed as [`block`](crate::block) says.
    pub(crate) rows: Rows<'a>,
}

impl IntWeights<'_> {
    /// Multipliers, shifts and clamp of some channels.
    fn requants(&self, channels: Range<usize>, clamp: Clamp) -> Requants<'_> {
        Requants {
            multiplier: &self.multiplier[channels.clone()],
            shift: &self.shift[channels],
            clamp,
        }
    }

    /// Real value of one accumulator step per channel: `multiplier / 2^shift * output scale`.
    fn steps(&self, channels: Range<usize>, scale: f32) -> impl ExactSizeIterator<Item = f32> {
        let multiplier = &self.multiplier[channels.clone()];
        let both = multiplier.iter().zip(&self.shift[channels]);
        both.map(move |(multiplier, shift)| {
            let factor = Requant {
                multiplier: *multiplier,
                shift: *shift,
            };
            factor.to_real() * scale
        })
    }
}

/// Destination of the sums of an integer layer.
#[derive(Debug)]
pub(crate) struct IntOutput<'w, 'o> {
    weights: &'w IntWeights<'w>,
    activation: Activation,
    target: Target<'o>,
}

#[derive(Debug)]
enum Target<'o> {
    /// With the scale of the output as INT8.
    F32(&'o mut [f32], f32),
    /// As INT8, where [`IntKernels::requantize`] takes all shifts.
    Short(&'o mut [i8], Clamp),
    /// As INT8 in any other way.
    Any(&'o mut [i8], Requantizer),
}

impl<'w, 'o> IntOutput<'w, 'o> {
    /// The way into `output`, whose tensor has the parameters `output_q` when it is INT8.
    #[inline(never)]
    #[must_use]
    pub(crate) fn new(
        weights: &'w IntWeights<'w>,
        output_q: QParams,
        activation: Activation,
        output: &'o mut ViewMut<'_>,
    ) -> Self {
        let target = match output {
            ViewMut::F32(data) => Target::F32(data, output_q.scale),
            ViewMut::I8(data, q, rounding) => {
                let requantizer = Requantizer::new(*q, *rounding, activation);
                // negative if any shift is below 33
                let beyond = |all, shift: &u8| all | (i32::from(*shift) - 33);
                let is_short = || weights.shift.iter().fold(0, beyond) >= 0;
                if !requantizer.up && is_short() {
                    Target::Short(data, requantizer.clamp)
                } else {
                    Target::Any(data, requantizer)
                }
            }
        };
        Self {
            weights,
            activation,
            target,
        }
    }

    /// Stores the sums of `pixels` from `pixel` on, in the channels from `channel` on; by channel,
    /// then by pixel. The output has as many channels as the weights.
    pub(crate) fn put(&mut self, pixel: usize, pixels: Pixels, channel: usize, sums: &[i32]) {
        let weights = self.weights;
        let all = weights.bias.len();
        let channels = channel..channel + sums.len() / pixels.count();
        let first = pixel * all + channel;
        match &mut self.target {
            Target::Short(data, clamp) => {
                let requants = weights.requants(channels, *clamp);
                Int::requantize(sums, &requants, pixels, &mut data[first..], all);
            }
            Target::Any(data, requantizer) => {
                let requants = weights.requants(channels, requantizer.clamp);
                requantize_any(sums, &requants, requantizer.up, &mut data[first..], all);
            }
            Target::F32(data, scale) => {
                let steps = weights.steps(channels, *scale);
                dequantize(sums, steps, self.activation, &mut data[first..], all);
            }
        }
    }

    /// Multipliers, shifts and clamp of some channels, and the results of all pixels from the first of these
    /// channels on; `None` where [`IntKernels::requantize`] does not take them.
    pub(crate) fn results(&mut self, channels: Range<usize>) -> Option<(Requants<'w>, &mut [i8])> {
        let Target::Short(data, clamp) = &mut self.target else {
            return None;
        };
        let requants = self.weights.requants(channels.clone(), *clamp);
        Some((requants, &mut data[channels.start..]))
    }
}

/// Writes the activations of sums times steps, one for each channel; in the order of [`IntOutput::put`]. Not
/// inlined, as below.
#[inline(never)]
fn dequantize(
    sums: &[i32],
    steps: impl ExactSizeIterator<Item = f32>,
    activation: Activation,
    to: &mut [f32],
    pitch: usize,
) {
    let pixels = sums.len() / steps.len();
    for (channel, (step, sums)) in steps.zip(sums.chunks_exact(pixels)).enumerate() {
        let to = to[channel..].iter_mut().step_by(pitch);
        to.zip(sums)
            .for_each(|(to, sum)| *to = activation.apply(*sum as f32 * step));
    }
}

/// As [`IntKernels::requantize`] for shifts of 0 to 62, and for results that are rounded
/// [up](Requantizer::up). Not inlined, so that its memory is not on the stack where it is not needed.
#[inline(never)]
fn requantize_any(sums: &[i32], requants: &Requants<'_>, up: bool, to: &mut [i8], pitch: usize) {
    /// Sums that are worked on at a time.
    const SUMS: usize = 64;
    let pixels = Pixels::of(sums.len() / requants.multiplier.len());
    let count = pixels.count();
    let len = SUMS / count;
    let mut all = [0; SUMS];
    let mut shifts = [0; SUMS];
    let chunks = requants
        .multiplier
        .chunks(len)
        .zip(requants.shift.chunks(len));
    for (i, ((multiplier, shift), sums)) in chunks.zip(sums.chunks(SUMS)).enumerate() {
        let channels = all.chunks_exact_mut(count).zip(&mut shifts);
        let sums = sums.chunks_exact(count);
        for (((all, to), sums), shift) in channels.zip(sums).zip(shift) {
            let (left, right) = split_shift(*shift);
            *to = right as u8 + 33;
            for (all, sum) in all.iter_mut().zip(sums) {
                *all = saturating_shl(if up { -*sum } else { *sum }, left);
            }
        }
        let requants = Requants {
            shift: &shifts[..shift.len()],
            multiplier,
            clamp: requants.clamp,
        };
        let to = &mut to[i * len..];
        Int::requantize(&all, &requants, pixels, to, pitch);
        if up {
            for pixel in 0..count {
                let results = &mut to[pixel * pitch..][..shift.len()];
                results.iter_mut().for_each(|x| *x = !*x);
            }
        }
    }
}

//! Resident weights as the operators read them: rows, one for each output channel.

use core::ops::Range;

use heapless::Vec;

use crate::arch::requantize::{Bounds, raised, split};
use crate::arch::{self, Factors, Pixels, Rows};
use crate::op::Activation;
use crate::quant::{QParams, Requant};
use crate::tensor::{Int8Sink, ViewMut};

/// Weights of a layer that computes in FP32.
#[derive(Clone, Copy, Debug)]
pub struct FloatWeights<'a> {
    /// `[O]`.
    pub bias: &'a [f32],
    /// `[O, …]`.
    pub rows: FloatRows<'a>,
}

/// `[O, …]` floats.
#[derive(Clone, Copy, Debug)]
pub enum FloatRows<'a> {
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
    pub fn dots(&self, input: &[f32], first: usize, pitch: usize, sums: &mut [f32]) {
        match self {
            Self::F32(weights) => arch::dots_f32(input, &weights[first..], pitch, sums),
            Self::F16(weights) => arch::dots_f16(input, &weights[first..], pitch, sums),
        }
    }

    /// Weight `i`.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn get(&self, i: usize) -> f32 {
        match self {
            Self::F32(weights) => weights[i],
            Self::F16(weights) => arch::half(weights[i]),
        }
    }

    /// The number of weights.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::F32(weight) => weight.len(),
            Self::F16(weight) => weight.len(),
        }
    }

    /// Whether there is no weight.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Calls `each` with the first channel of each block of channels and their sums, which are the biases
/// yet.
pub fn for_each_block(bias: &[f32], mut each: impl FnMut(usize, &mut [f32])) {
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
pub struct IntWeights<'a> {
    /// `[O]`, in units of input scale · weight scale, with −zero_point · Σ weight folded in.
    pub bias: &'a [i32],
    /// `[O]`, [`Requant::multiplier`] of input scale · weight scale / output scale.
    pub multiplier: &'a [i32],
    /// `[O]`, [`Requant::shift`] of the same.
    pub shift: &'a [u8],
    /// The weights, row by row, packed as [`resident`](crate::resident) says.
    pub rows: Rows<'a>,
}

impl IntWeights<'_> {
    /// The factors of some channels, and what becomes of the products.
    fn factors(&self, channels: Range<usize>, bounds: Bounds) -> Factors<'_> {
        Factors {
            multiplier: &self.multiplier[channels.clone()],
            shift: &self.shift[channels],
            bounds,
        }
    }

    /// What a sum of each of some channels is worth in real units, at the scale of the output as INT8.
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

/// Where the sums of an integer layer go.
#[derive(Debug)]
pub struct IntOutput<'w, 'o> {
    weights: &'w IntWeights<'w>,
    activation: Activation,
    target: Target<'o>,
}

#[derive(Debug)]
enum Target<'o> {
    /// With the scale of the output as INT8.
    F32(&'o mut [f32], f32),
    /// Where [`arch::requantize`](arch::requantize()) does for all channels.
    Short(&'o mut [i8], Bounds),
    /// As INT8 in any other way.
    Any(&'o mut [i8], Int8Sink),
}

impl<'w, 'o> IntOutput<'w, 'o> {
    /// The way into `output`, whose tensor has the parameters `output_q` when it is INT8.
    #[must_use]
    pub fn new(
        weights: &'w IntWeights<'w>,
        output_q: QParams,
        activation: Activation,
        output: &'o mut ViewMut<'_>,
    ) -> Self {
        let target = match output {
            ViewMut::F32(data) => Target::F32(data, output_q.scale),
            ViewMut::I8(data, q, rounding) => {
                let sink = Int8Sink::new(*q, *rounding, activation);
                // the sign of any difference
                let beyond = |all, shift: &u8| all | (i32::from(*shift) - 33);
                let is_short = || weights.shift.iter().fold(0, beyond) >= 0;
                if !sink.up && is_short() {
                    Target::Short(data, sink.bounds)
                } else {
                    Target::Any(data, sink)
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
    pub fn put(&mut self, pixel: usize, pixels: Pixels, channel: usize, sums: &[i32]) {
        let weights = self.weights;
        let all = weights.bias.len();
        let channels = channel..channel + sums.len() / pixels.count();
        let first = pixel * all + channel;
        match &mut self.target {
            Target::Short(data, bounds) => {
                let factors = weights.factors(channels, *bounds);
                arch::requantize(sums, &factors, pixels, &mut data[first..], all);
            }
            Target::Any(data, sink) => {
                let factors = weights.factors(channels, sink.bounds);
                requantize_any(sums, &factors, sink.up, &mut data[first..], all);
            }
            Target::F32(data, scale) => {
                let steps = weights.steps(channels, *scale);
                dequantize(sums, steps, self.activation, &mut data[first..], all);
            }
        }
    }

    /// Where [`arch::requantize`](arch::requantize()) may write the results of some channels of all pixels,
    /// and with which factors. `None` where that does not do.
    #[cfg(wide)]
    pub fn results(&mut self, channels: Range<usize>) -> Option<(Factors<'w>, &mut [i8])> {
        let Target::Short(data, bounds) = &mut self.target else {
            return None;
        };
        let factors = self.weights.factors(channels.clone(), *bounds);
        Some((factors, &mut data[channels.start..]))
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

/// As [`arch::requantize`](arch::requantize()) for shifts of 0 to 62, and for results that are rounded
/// [up](Int8Sink::up). Not inlined, so that its memory is not on the stack where it is not needed.
#[inline(never)]
fn requantize_any(sums: &[i32], factors: &Factors<'_>, up: bool, to: &mut [i8], pitch: usize) {
    /// Sums that are worked on at a time.
    const SUMS: usize = 64;
    let pixels = Pixels::of(sums.len() / factors.multiplier.len());
    let count = pixels.count();
    let len = SUMS / count;
    let mut all = [0; SUMS];
    let mut shifts = [0; SUMS];
    let chunks = factors
        .multiplier
        .chunks(len)
        .zip(factors.shift.chunks(len));
    for (i, ((multiplier, shift), sums)) in chunks.zip(sums.chunks(SUMS)).enumerate() {
        let channels = all.chunks_exact_mut(count).zip(&mut shifts);
        let sums = sums.chunks_exact(count);
        for (((all, to), sums), shift) in channels.zip(sums).zip(shift) {
            let (left, right) = split(*shift);
            *to = right as u8 + 33;
            for (all, sum) in all.iter_mut().zip(sums) {
                *all = raised(if up { -*sum } else { *sum }, left);
            }
        }
        let factors = Factors {
            shift: &shifts[..shift.len()],
            multiplier,
            bounds: factors.bounds,
        };
        let to = &mut to[i * len..];
        arch::requantize(&all, &factors, pixels, to, pitch);
        if up {
            for pixel in 0..count {
                let results = &mut to[pixel * pitch..][..shift.len()];
                results.iter_mut().for_each(|x| *x = !*x);
            }
        }
    }
}

//! Resident weights as the operators read them: rows, one for each output channel.

use core::ops::Range;

use heapless::Vec;

#[cfg(wide)]
use crate::arch::Factors;
use crate::arch::{self, Rows};
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
    /// The factors of some channels.
    fn factors(&self, channels: Range<usize>) -> impl Iterator<Item = Requant> + Clone {
        let multiplier = &self.multiplier[channels.clone()];
        let both = multiplier.iter().zip(&self.shift[channels]);
        both.map(|(multiplier, shift)| Requant {
            multiplier: *multiplier,
            shift: *shift,
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
    /// Whether the upper words of products are enough.
    I8(&'o mut [i8], Int8Sink, bool),
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
                Target::I8(data, sink, sink.is_short(weights.shift))
            }
        };
        Self {
            weights,
            activation,
            target,
        }
    }

    /// Stores the sums of `pixels` pixels from `pixel` on, in the channels from `channel` on; by channel,
    /// then by pixel. The output has as many channels as the weights.
    pub fn put(&mut self, pixel: usize, pixels: usize, channel: usize, sums: &[i32]) {
        let all = self.weights.bias.len();
        let channels = channel..channel + sums.len() / pixels;
        let elements = pixel * all..(pixel + pixels) * all;
        match &mut self.target {
            Target::F32(data, scale) => {
                let data = &mut data[elements];
                let sums = sums.chunks_exact(pixels);
                for ((channel, factor), sums) in channels
                    .clone()
                    .zip(self.weights.factors(channels))
                    .zip(sums)
                {
                    let step = factor.to_real() * *scale;
                    for (pixel, sum) in sums.iter().enumerate() {
                        let real = *sum as f32 * step;
                        data[pixel * all + channel] = self.activation.apply(real);
                    }
                }
            }
            Target::I8(data, sink, is_short) => {
                let weights = self.weights;
                if *is_short {
                    let multiplier = &weights.multiplier[channels.clone()];
                    let factors = sink.factors(multiplier, &weights.shift[channels]);
                    let to = &mut data[elements.start + channel..];
                    return arch::requantize(sums, &factors, pixels, to, all);
                }
                let factors = weights.factors(channels.clone());
                let pixels = data[elements].chunks_exact_mut(all);
                let pixels = pixels.map(|pixel| &mut pixel[channels.clone()]);
                sink.requantize(sums, &factors, pixels);
            }
        }
    }

    /// Where [`arch::requantize`] may write the results of some channels of all pixels, and with which
    /// factors. `None` where that does not do.
    #[cfg(wide)]
    pub fn results(&mut self, channels: Range<usize>) -> Option<(Factors<'w>, &mut [i8])> {
        let Target::I8(data, sink, true) = &mut self.target else {
            return None;
        };
        let IntWeights {
            multiplier, shift, ..
        } = self.weights;
        let to = &mut data[channels.start..];
        Some((
            sink.factors(&multiplier[channels.clone()], &shift[channels]),
            to,
        ))
    }
}

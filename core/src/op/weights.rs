//! Resident weights as the operators read them: rows, one for each output channel.

use bytemuck::cast_slice;

use crate::arch;
use crate::level::Width;
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
    /// Σ input · weight over as many weights as inputs, from index `first` on.
    ///
    /// # Panics
    /// When there are fewer weights.
    #[must_use]
    pub fn dot(&self, input: &[f32], first: usize) -> f32 {
        match self {
            Self::F32(weight) => arch::dot_f32(input, &weight[first..][..input.len()]),
            Self::F16(weight) => arch::dot_f16(input, &weight[first..][..input.len()]),
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

/// Weights of a layer that computes in integers.
#[derive(Clone, Copy, Debug)]
pub struct IntWeights<'a> {
    /// `[O]`, in units of input scale · weight scale, with −zero_point · Σ weight folded in.
    pub bias: &'a [i32],
    /// `[O]`, [`Requant::multiplier`] of input scale · weight scale / output scale.
    pub multiplier: &'a [i32],
    /// `[O]`, [`Requant::shift`] of the same.
    pub shift: &'a [u8],
    /// The weights.
    pub rows: IntRows<'a>,
}

impl IntWeights<'_> {
    #[inline]
    fn requant(&self, channel: usize) -> Requant {
        Requant {
            multiplier: self.multiplier[channel],
            shift: self.shift[channel],
        }
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
    I8(&'o mut [i8], Int8Sink),
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
                Target::I8(data, Int8Sink::new(*q, *rounding, activation))
            }
        };
        Self {
            weights,
            activation,
            target,
        }
    }

    /// The factors of two neighbouring channels, of which `channel` is the first, when their tiles can
    /// be stored the short way.
    #[must_use]
    pub fn factors(&self, channel: usize) -> Option<[Requant; 2]> {
        let factors = [channel, channel + 1].map(|channel| self.weights.requant(channel));
        match &self.target {
            Target::I8(_, sink) if sink.is_short(factors) => Some(factors),
            Target::I8(..) | Target::F32(..) => None,
        }
    }

    /// Stores the sums of two neighbouring channels at two elements; `factors` are
    /// [`Self::factors`].
    #[inline]
    pub fn put_tile(
        &mut self,
        elements: [usize; 2],
        channel: usize,
        factors: Option<[Requant; 2]>,
        sums: [[i32; 2]; 2],
    ) {
        if let (Target::I8(data, sink), Some(factors)) = (&mut self.target, factors) {
            for (element, sums) in elements.into_iter().zip(sums) {
                let pair = [0, 1].map(|i| sink.requantize_short(sums[i], factors[i]));
                data[element..][..2].copy_from_slice(&pair);
            }
        } else {
            self.put_slowly(elements, channel, sums);
        }
    }

    #[cold]
    #[inline(never)]
    fn put_slowly(&mut self, elements: [usize; 2], channel: usize, sums: [[i32; 2]; 2]) {
        for (element, sums) in elements.into_iter().zip(sums) {
            self.put(element, channel, sums[0]);
            self.put(element + 1, channel + 1, sums[1]);
        }
    }

    /// Stores the sum of one element.
    #[inline]
    pub fn put(&mut self, element: usize, channel: usize, sum: i32) {
        let requant = self.weights.requant(channel);
        match &mut self.target {
            Target::F32(data, scale) => {
                let step = requant.to_real() * *scale;
                data[element] = self.activation.apply(sum as f32 * step);
            }
            Target::I8(data, sink) => data[element] = sink.requantize(sum, requant),
        }
    }
}

/// `[O, …]` integers; every row begins at a byte.
#[derive(Clone, Copy, Debug)]
pub struct IntRows<'a> {
    /// Bits of a weight.
    pub width: Width,
    /// Weights in a row.
    pub len: usize,
    /// The rows, packed as [`resident`](crate::resident) says.
    pub bytes: &'a [u8],
}

impl<'a> IntRows<'a> {
    /// All rows, one behind the other, where weights are whole bytes.
    #[must_use]
    pub fn int8(&self) -> Option<&'a [i8]> {
        (self.width == Width::Int8).then(|| cast_slice(self.bytes))
    }

    /// The row of one output channel.
    #[must_use]
    pub fn row(&self, channel: usize) -> IntRow<'a> {
        let bytes = self.width.row_bytes(self.len);
        let bytes = &self.bytes[channel * bytes..][..bytes];
        match self.width {
            Width::Int8 => IntRow::Int8(cast_slice(bytes)),
            Width::Int4 => IntRow::Int4(bytes),
            Width::Int2 => IntRow::Int2(bytes),
        }
    }
}

/// The integer weights of one output channel.
#[derive(Clone, Copy, Debug)]
pub enum IntRow<'a> {
    /// One in a byte.
    Int8(&'a [i8]),
    /// Two in a byte.
    Int4(&'a [u8]),
    /// Four in a byte.
    Int2(&'a [u8]),
}

impl IntRow<'_> {
    /// Σ input · weight over as many weights as inputs, from index `first` on.
    #[must_use]
    pub fn dot(&self, input: &[i8], first: usize) -> i32 {
        match self {
            Self::Int8(row) => arch::dot_i8(input, &row[first..]),
            Self::Int4(row) => arch::dot_i4(input, row, first),
            Self::Int2(row) => arch::dot_i2(input, row, first),
        }
    }

    /// Σ weight over `len` weights from index `first` on.
    #[must_use]
    pub fn sum(&self, first: usize, len: usize) -> i32 {
        match self {
            Self::Int8(row) => arch::sum_i8(&row[first..][..len]),
            Self::Int4(row) => arch::sum_i4(row, first, len),
            Self::Int2(row) => arch::sum_i2(row, first, len),
        }
    }
}

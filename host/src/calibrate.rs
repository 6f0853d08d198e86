//! Calibration: the distribution of every tensor, and the quantizers chosen from it.

use bitbudget_core::clip::{self, Clip};
use bitbudget_core::level::Width;
use bitbudget_core::op::Op;
use bitbudget_core::quant::QParams;

use crate::graph::Graph;
use crate::grid::{self, Grid, Moments, Rule};

/// A histogram that widens as values come: bins of width 2^e from a multiple of it, as narrow as
/// [`Histogram::BINS`] of them over the range of the values allow.
///
/// The result does not depend on the order of the values: bins of one width are pairs of bins of
/// half that width.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    exponent: i32,
    first: i64,
    counts: Vec<u64>,
    min: f32,
    max: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            exponent: -126,
            first: 0,
            counts: Vec::new(),
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
        }
    }
}

impl Histogram {
    /// The most bins.
    pub const BINS: i64 = 4096;

    /// Counts finite values; those that are exactly 0 only widen the range, since every quantizer
    /// represents them exactly.
    pub fn add(&mut self, values: &[f32]) {
        let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
        for x in values {
            (min, max) = (min.min(*x), max.max(*x));
        }
        if !(min.is_finite() && max.is_finite()) {
            return;
        }
        self.cover(min, max);
        let per_unit = 2.0_f64.powi(-self.exponent);
        for x in values.iter().filter(|x| **x != 0.0) {
            let bin = (f64::from(*x) * per_unit).floor() as i64;
            self.counts[(bin - self.first) as usize] += 1;
        }
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if other.counts.is_empty() {
            return;
        }
        self.cover(other.min, other.max);
        self.widen(other.exponent);
        let shift = self.exponent - other.exponent;
        for (i, count) in other.counts.iter().enumerate() {
            let bin = (other.first + i as i64) >> shift;
            self.counts[(bin - self.first) as usize] += count;
        }
    }

    /// Makes room for values from `min` to `max`.
    fn cover(&mut self, min: f32, max: f32) {
        self.min = self.min.min(min);
        self.max = self.max.max(max);
        let mut exponent = self.exponent;
        let exact = |bin: f64| bin.abs() < 2.0_f64.powi(53);
        let fits = |(first, last)| exact(first) && exact(last) && last - first < Self::BINS as f64;
        while !fits(self.span(exponent)) {
            exponent += 1;
        }
        self.widen(exponent);
        let (first, last) = self.span(self.exponent);
        let (first, last) = (first as i64, last as i64);
        let before = (self.first - first).max(0) as usize;
        if self.counts.is_empty() {
            self.first = first;
        } else {
            self.counts.splice(0..0, std::iter::repeat_n(0, before));
            self.first -= before as i64;
        }
        let len = (last - self.first + 1) as usize;
        self.counts.resize(len.max(self.counts.len()), 0);
    }

    /// The bins of the smallest and largest value at a width of 2^exponent.
    fn span(&self, exponent: i32) -> (f64, f64) {
        let bin = |x: f32| (f64::from(x) * 2.0_f64.powi(-exponent)).floor();
        (bin(self.min), bin(self.max))
    }

    fn widen(&mut self, exponent: i32) {
        while self.exponent < exponent {
            if self.counts.is_empty() {
                self.exponent = exponent;
                return;
            }
            let first = self.first >> 1;
            let mut pairs = vec![0; (self.counts.len() >> 1) + 1];
            for (i, count) in self.counts.iter().enumerate() {
                pairs[(((self.first + i as i64) >> 1) - first) as usize] += count;
            }
            (self.first, self.counts) = (first, pairs);
            self.exponent += 1;
        }
    }

    /// The INT8 map that `clip` chooses for this distribution.
    #[must_use]
    pub fn qparams(&self, clip: Clip) -> QParams {
        if self.counts.is_empty() {
            return QParams::from_range(0.0, 0.0);
        }
        let width = 2.0_f64.powi(self.exponent);
        let histogram = clip::Histogram {
            low: (self.first as f64 * width) as f32,
            width: width as f32,
            counts: &self.counts,
            min: self.min,
            max: self.max,
        };
        histogram.qparams(clip)
    }
}

/// The quantizers of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// The INT8 map of every tensor: the input's, then every layer's output.
    pub qparams: Vec<QParams>,
    /// The grids of every layer's integer weights, one for each width; empty for layers without
    /// weights.
    pub grids: Vec<Vec<Grid>>,
}

impl Calibration {
    /// The quantizers that `rule` chooses for these distributions, one for each tensor, and these
    /// moments, those of every layer's input; weights get grids of `widths`.
    ///
    /// # Errors
    /// candle's.
    pub fn new(
        graph: &Graph,
        tensors: &[Histogram],
        moments: &[Vec<Moments>],
        widths: &[Width],
        rule: Rule,
    ) -> candle_core::Result<Self> {
        let mut qparams: Vec<_> = tensors.iter().map(|h| h.qparams(rule.clip)).collect();
        // operators that only pass values on: one map before and after, so that no rounding is added
        for (i, layer) in graph.layers.iter().enumerate().rev() {
            let passes = matches!(layer.op, Op::MaxPool { .. } | Op::Reshape);
            let readers = graph.layers.iter().flat_map(|layer| &layer.inputs);
            if passes && readers.filter(|t| **t == layer.inputs[0]).count() == 1 {
                qparams[layer.inputs[0]] = qparams[i + 1];
            }
        }
        let layers = graph.layers.iter().zip(moments);
        let grids = layers.map(|(layer, moments)| match &layer.weights {
            Some(weights) => {
                let input_scale = qparams[layer.inputs[0]].scale;
                grid::choose(weights, moments, input_scale, widths, rule)
            }
            None => Ok(Vec::new()),
        });
        let grids = grids.collect::<candle_core::Result<_>>()?;
        Ok(Self { qparams, grids })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(seed: u32, len: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.3
        };
        (0..len).map(|i| next() * (1.0 + i as f32)).collect()
    }

    #[test]
    fn the_order_of_the_values_does_not_matter() {
        for seed in 0..50 {
            let values = values(seed, 300);
            let mut whole = Histogram::default();
            whole.add(&values);
            assert_eq!(whole.counts.iter().sum::<u64>(), 300);
            assert!(whole.counts.len() <= Histogram::BINS as usize);
            assert!(whole.counts.len() > Histogram::BINS as usize / 4);
            let mut merged = Histogram::default();
            for part in values.chunks(37).rev() {
                let mut histogram = Histogram::default();
                histogram.add(part);
                merged.merge(&histogram);
            }
            let trimmed = |h: &Histogram| {
                let bins = h.counts.iter().enumerate();
                let filled = bins.filter(|(_, n)| **n > 0);
                let filled = filled.map(|(i, n)| (h.first + i as i64, *n));
                (h.exponent, filled.collect::<Vec<_>>())
            };
            assert_eq!(trimmed(&merged), trimmed(&whole));
            assert_eq!(merged.qparams(Clip::Mse), whole.qparams(Clip::Mse));
        }
    }

    #[test]
    fn degenerate_tensors_have_a_usable_map() {
        for values in [
            &[][..],
            &[0.0],
            &[-3.0],
            &[5.0, 5.0],
            &[1e-30],
            &[3e38, -3e38],
        ] {
            let mut histogram = Histogram::default();
            histogram.add(values);
            assert!(histogram.qparams(Clip::Mse).is_usable(), "{values:?}");
        }
    }
}

//! The distribution of every tensor, and the quantizers chosen from it.

use bitbudget_core::clip::{self, Clip};
use bitbudget_core::quant::QParams;

use crate::graph::Graph;

/// A histogram that widens as values come: bins of width 2^e from a multiple of it, as narrow as
/// [`Histogram::BINS`] of them over the range of the values allow.
///
/// The result does not depend on the order of the values: bins of one width are pairs of bins of
/// half that width.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    exponent: i32,
    first: i64,
    /// Empty before the first value; afterwards the first and the last bin are those of `min` and `max`.
    counts: Vec<u64>,
    /// Values that are exactly 0, which no bin counts: every quantizer represents them exactly.
    zeros: u64,
    min: f32,
    max: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            exponent: -126,
            first: 0,
            counts: Vec::new(),
            zeros: 0,
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
        }
    }
}

/// The bin that `bin` becomes a part of when the exponent grows by `shift`.
fn widened(bin: i64, shift: i32) -> i64 {
    bin >> shift.min(63)
}

impl Histogram {
    /// The most bins.
    pub const BINS: i64 = 4096;

    /// Counts the finite values.
    pub fn add(&mut self, values: &[f32]) {
        let finite = || values.iter().filter(|x| x.is_finite());
        let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
        for x in finite() {
            (min, max) = (min.min(*x), max.max(*x));
        }
        if min > max {
            return;
        }
        self.cover(min, max);
        let per_unit = 2.0_f64.powi(-self.exponent);
        for x in finite() {
            if *x == 0.0 {
                self.zeros += 1;
                continue;
            }
            let bin = (f64::from(*x) * per_unit).floor() as i64;
            self.counts[(bin - self.first) as usize] += 1;
        }
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if other.counts.is_empty() {
            return;
        }
        // as wide as the other's bins at least: a range that holds the other's allows no narrower ones
        self.cover(other.min, other.max);
        self.zeros += other.zeros;
        let shift = self.exponent - other.exponent;
        for (bin, count) in (other.first..).zip(&other.counts) {
            self.counts[(widened(bin, shift) - self.first) as usize] += count;
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
        let (first, last) = self.span(exponent);
        let (first, last) = (first as i64, last as i64);
        let mut counts = vec![0; (last - first + 1) as usize];
        let shift = exponent - self.exponent;
        for (bin, count) in (self.first..).zip(&self.counts) {
            counts[(widened(bin, shift) - first) as usize] += count;
        }
        (self.exponent, self.first, self.counts) = (exponent, first, counts);
    }

    /// The bins of the smallest and largest value at a width of 2^exponent.
    fn span(&self, exponent: i32) -> (f64, f64) {
        let bin = |x: f32| (f64::from(x) * 2.0_f64.powi(-exponent)).floor();
        (bin(self.min), bin(self.max))
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
            zeros: self.zeros,
            min: self.min,
            max: self.max,
        };
        histogram.qparams(clip)
    }
}

/// The INT8 maps that `clip` chooses for tensors of these distributions: the input's, then every layer's
/// output.
#[must_use]
pub fn qparams(graph: &Graph, tensors: &[Histogram], clip: Clip) -> Vec<QParams> {
    let mut qparams: Vec<_> = tensors.iter().map(|h| h.qparams(clip)).collect();
    // selections: one map before and after, so that no rounding is added
    for (i, layer) in graph.layers.iter().enumerate().rev() {
        let readers = graph.layers.iter().flat_map(|layer| &layer.inputs);
        for input in layer.inputs.iter().filter(|_| layer.op.is_selection()) {
            if readers.clone().filter(|t| *t == input).count() == 1 {
                qparams[*input] = qparams[i + 1];
            }
        }
    }
    qparams
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::Random;

    fn below(random: &mut Random, len: usize) -> usize {
        (random.bits() % len as u64) as usize
    }

    /// Values that widen a histogram in different ways.
    fn values(seed: u64, len: usize) -> Vec<f32> {
        let mut random = Random::new(seed);
        let mut unit = move || below(&mut random, 1 << 24) as f32 / (1 << 24) as f32;
        let value = |i: usize| match seed % 8 {
            0 => (unit() - 0.3) * (1.0 + i as f32),
            1 => 5.0,
            2 => 1e-41 * (unit() - 0.5),
            3 => 3.4e38 * (2.0 * unit() - 1.0),
            4 => -7.0 - unit(),
            // one value after the other, each in a bin of its own until they are one too many
            5 => 1.0 - i as f32 / 512.0,
            6 => (200.0 * unit() - 140.0).exp2() * if i.is_multiple_of(2) { 1.0 } else { -1.0 },
            _ => (3.0 * unit() - 1.5).max(0.0),
        };
        (0..len).map(value).collect()
    }

    /// The histogram of `values` in parts, merged in any order and any nesting.
    fn merged(values: &[f32], random: &mut Random) -> Histogram {
        let mut parts = Vec::new();
        let mut rest = values;
        while !rest.is_empty() {
            let len = 1 + below(random, rest.len().min(40));
            let mut part = Histogram::default();
            let (some, others) = rest.split_at(len);
            part.add(some);
            parts.push(part);
            rest = others;
        }
        while parts.len() > 1 {
            let other = parts.swap_remove(below(random, parts.len()));
            let at = below(random, parts.len());
            parts[at].merge(&other);
        }
        let mut histogram = Histogram::default();
        histogram.merge(&parts[0]);
        histogram
    }

    #[test]
    fn any_partition_in_any_order_is_one_pass() {
        for seed in 0..400 {
            let mut random = Random::new(seed);
            let mut values = values(seed, 1 + below(&mut random, 700));
            let mut whole = Histogram::default();
            whole.add(&values);
            let merged_once = merged(&values, &mut random);
            assert_eq!(merged_once, whole, "{seed}");
            for i in (1..values.len()).rev() {
                values.swap(i, below(&mut random, i + 1));
            }
            assert_eq!(merged(&values, &mut random), whole, "{seed}");
            assert_eq!(merged_once.qparams(Clip::Mse), whole.qparams(Clip::Mse));

            let bin = |x: f32| (f64::from(x) / 2.0_f64.powi(whole.exponent)).floor() as i64;
            let min = values.iter().copied().fold(f32::INFINITY, f32::min);
            let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!((whole.min, whole.max), (min, max));
            let zeros = values.iter().filter(|x| **x == 0.0).count();
            assert_eq!(whole.zeros, zeros as u64);
            assert!(whole.counts.len() <= Histogram::BINS as usize);
            let mut counts = BTreeMap::from([(bin(min), 0_u64), (bin(max), 0)]);
            for x in values.iter().filter(|x| **x != 0.0) {
                *counts.entry(bin(*x)).or_default() += 1;
            }
            let bins = whole.first..whole.first + whole.counts.len() as i64;
            assert!(bins.clone().eq(bin(min)..=bin(max)), "{seed}");
            let all: Vec<u64> = bins.map(|bin| counts.remove(&bin).unwrap_or(0)).collect();
            assert_eq!(all, whole.counts, "{seed}");
            // bins of half the width would be too many, too long for a float, or no floats
            let (first, last) = whole.span(whole.exponent - 1);
            let too_long = first.abs().max(last.abs()) >= 2.0_f64.powi(53);
            let too_many = last - first >= Histogram::BINS as f64;
            assert!(too_long || too_many || whole.exponent == -126, "{seed}");
        }
    }

    #[test]
    fn the_percentage_asked_for_is_inside_the_map() {
        let mut random = Random::new(12);
        let mut normal = || (0..12).map(|_| random.signed()).sum::<f32>() / 2.0;
        let whole: Vec<f32> = (0..4000).map(|_| normal()).collect();
        let relu: Vec<f32> = whole.iter().map(|x| x.max(0.0)).collect();
        let sparse = |(i, x): (usize, &f32)| if i % 10 == 0 { *x } else { 0.0 };
        let sparse: Vec<f32> = whole.iter().enumerate().map(sparse).collect();
        let negative: Vec<f32> = relu.iter().map(|x| -x).collect();
        for (values, percent) in [
            (&whole, 90.0),
            (&relu, 90.0),
            (&negative, 90.0),
            (&sparse, 90.0),
            (&sparse, 95.0),
            (&whole, 99.0),
            (&relu, 100.0),
        ] {
            let mut histogram = Histogram::default();
            histogram.add(values);
            let q = histogram.qparams(Clip::Percentile(percent / 100.0));
            let [low, high] = [i8::MIN, i8::MAX].map(|end| q.dequantize(end));
            let step = q.scale;
            let inside = |x: &&f32| (low - step..=high + step).contains(*x);
            let inside = values.iter().filter(inside).count() as f64 / 40.0;
            assert!((inside - percent).abs() < 0.7, "{percent}: {inside}");
        }
    }

    #[test]
    fn values_that_are_not_finite_are_not_counted() {
        let mut histogram = Histogram::default();
        histogram.add(&[f32::NAN, f32::INFINITY]);
        assert_eq!(histogram, Histogram::default());
        histogram.add(&[5.0, f32::NAN, 6.0, f32::NEG_INFINITY]);
        let mut finite = Histogram::default();
        finite.add(&[5.0, 6.0]);
        assert_eq!(histogram, finite);
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

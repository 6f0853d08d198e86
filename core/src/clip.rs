//! Choice of the range that a quantizer keeps; what lies outside is clipped.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::quant::{QParams, Width, quantize_weight};

/// A rule for clip ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Clip {
    /// The range of least squared quantization error, clipping and rounding together, on the
    /// empirical distribution (the objective of Banner, Nahshan and Soudry 2019).
    #[default]
    Mse,
    /// Smallest to largest value.
    MinMax,
    /// The narrowest range that this fraction of all values lies in (0.9999: one in 10,000 is outside),
    /// with as many outside on each side where both sides of 0 have as many.
    Percentile(f64),
    /// ACIQ's closed form (Banner, Nahshan and Soudry 2019, "Post training 4-bit quantization of
    /// convolutional networks for rapid-deployment", equations 6 and 7) for the given density.
    Aciq(Density),
}

/// The density that ACIQ's closed form assumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Density {
    /// Normal with the sample's mean and standard deviation.
    Gauss,
    /// Laplace with the sample's mean and mean absolute deviation.
    Laplace,
    /// Whichever of both has the ratio of mean absolute to standard deviation nearer the sample's
    /// (√(2/π) for Gauss, √½ for Laplace).
    Fitted,
}

impl fmt::Display for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mse => f.write_str("mse"),
            Self::MinMax => f.write_str("minmax"),
            // 99.99, not 99.99000000000001
            Self::Percentile(fraction) => {
                write!(f, "percentile {}", libm::round(fraction * 1e12) / 1e10)
            }
            Self::Aciq(Density::Gauss) => f.write_str("aciq-gauss"),
            Self::Aciq(Density::Laplace) => f.write_str("aciq-laplace"),
            Self::Aciq(Density::Fitted) => f.write_str("aciq"),
        }
    }
}

/// A distribution as equal bins: bin `i` counts values around `low + (i + ½) · width`.
///
/// Values that are exactly 0 are counted apart: every quantizer here represents them exactly.
#[derive(Clone, Copy, Debug)]
pub struct Histogram<'a> {
    /// Lower edge of the first bin.
    pub low: f32,
    /// Width of a bin; positive.
    pub width: f32,
    /// Values in each bin.
    pub counts: &'a [u64],
    /// Values that are exactly 0 and in no bin.
    pub zeros: u64,
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
}

impl Histogram<'_> {
    fn bins(&self) -> impl DoubleEndedIterator<Item = (f64, f64)> + '_ {
        let (low, width) = (f64::from(self.low), f64::from(self.width));
        let counted = self.counts.iter().enumerate().filter(|(_, n)| **n > 0);
        counted.map(move |(i, n)| (low + (i as f64 + 0.5) * width, *n as f64))
    }

    /// Σ (Q(x) − x)² for the INT8 map `q`, rounding to nearest.
    #[must_use]
    pub(crate) fn squared_error(&self, q: QParams) -> f64 {
        let scale = f64::from(q.scale);
        let zero_point = f64::from(q.zero_point);
        let error = |(x, n): (f64, f64)| {
            let steps = libm::floor(x / scale + 0.5) + zero_point;
            let e = (steps.clamp(-128.0, 127.0) - zero_point) * scale - x;
            n * e * e
        };
        self.bins().map(error).sum()
    }

    /// The INT8 map that `clip` chooses for this distribution.
    #[must_use]
    pub fn qparams(&self, clip: Clip) -> QParams {
        let full = [self.min.min(0.0), self.max.max(0.0)];
        let [low, high] = match clip {
            Clip::MinMax => full,
            Clip::Percentile(fraction) => self.percentile(fraction),
            Clip::Aciq(density) => self.aciq(density),
            Clip::Mse => self.least_squares(full),
        };
        QParams::from_range(low.max(full[0]), high.min(full[1]))
    }

    fn percentile(&self, fraction: f64) -> [f32; 2] {
        let half = f64::from(self.width) / 2.0;
        let below = || self.bins().filter(|(x, _)| *x < 0.0);
        let above = || self.bins().rev().filter(|(x, _)| *x > 0.0);
        let negative: f64 = below().map(|(_, n)| n).sum();
        let positive: f64 = above().map(|(_, n)| n).sum();
        let outside = outside(negative + positive + self.zeros as f64, fraction);
        // a side that has less than half of them leaves the rest to the other one
        let half_of_them = libm::floor(outside / 2.0);
        let lower = half_of_them.max(outside - positive).min(negative);
        let low = kept(below(), lower).map(|x| x - half);
        let high = kept(above(), outside - lower).map(|x| x + half);
        if low.is_none() && high.is_none() {
            // enough values are 0; an empty range would be none at all
            let nearest = self
                .bins()
                .reduce(|a, b| if b.0.abs() <= a.0.abs() { b } else { a });
            let x = nearest.map_or(0.0, |(x, _)| x);
            return [(x - half).min(0.0) as f32, (x + half).max(0.0) as f32];
        }
        [low, high].map(|end| end.unwrap_or(0.0) as f32)
    }

    /// Searches each end in turn on a grid that narrows around the best so far.
    fn least_squares(&self, full: [f32; 2]) -> [f32; 2] {
        const STEPS: i32 = 16;
        let error = |range: [f32; 2]| self.squared_error(QParams::from_range(range[0], range[1]));
        let (mut best, mut least) = (full, error(full));
        let mut reach = 1.0;
        for _ in 0..5 {
            for end in [1, 0] {
                let centre = best[end];
                for step in -STEPS..=STEPS {
                    let moved = centre + full[end] * reach * step as f32 / STEPS as f32;
                    let mut range = best;
                    range[end] = moved.clamp(full[0], full[1]);
                    if range[end] * full[end] <= 0.0 {
                        continue;
                    }
                    let e = error(range);
                    if e < least {
                        (best, least) = (range, e);
                    }
                }
            }
            reach *= 0.25;
        }
        best
    }

    fn aciq(&self, density: Density) -> [f32; 2] {
        // after a ReLU the density is one-sided around 0: half the range, so one bit more
        let one_sided = self.min >= 0.0;
        let positive = |(x, _): &(f64, f64)| !one_sided || *x > 0.0;
        let mean_of = |f: &dyn Fn(f64) -> f64| {
            let each = self.bins().filter(positive);
            let (sum, count) = each.fold((0.0, 0.0), |(s, c), (x, n)| (s + n * f(x), c + n));
            if count > 0.0 { sum / count } else { 0.0 }
        };
        let mean = if one_sided { 0.0 } else { mean_of(&|x| x) };
        let b = mean_of(&|x| (x - mean).abs());
        let sigma = libm::sqrt(mean_of(&|x| (x - mean) * (x - mean)));
        let bits = if one_sided { 9 } else { 8 };
        let alpha = closed_form(density, b, sigma, bits);
        let low = if one_sided { 0.0 } else { mean - alpha };
        [low as f32, (mean + alpha) as f32]
    }
}

/// The number of `total` values that may lie outside a range that holds `fraction` of them.
fn outside(total: f64, fraction: f64) -> f64 {
    // 10 · (1 − 0.9) is 1, not a little less
    libm::floor(total * (1.0 - fraction + 1e-12))
}

/// The outermost of `bins`, which are sorted from the outermost on, that is not wholly among the `tail`
/// values to leave out.
fn kept(bins: impl Iterator<Item = (f64, f64)>, tail: f64) -> Option<f64> {
    let mut left_out = 0.0;
    let mut bins = bins.skip_while(|(_, n)| {
        left_out += n;
        left_out <= tail
    });
    bins.next().map(|(x, _)| x)
}

/// ACIQ's distance from the mean to the clip, for mean absolute deviation `b` and deviation `sigma`.
fn closed_form(density: Density, b: f64, sigma: f64, bits: u8) -> f64 {
    let laplace = match density {
        Density::Laplace => true,
        Density::Gauss => false,
        Density::Fitted => {
            let off = |squared: f64| (b - libm::sqrt(squared) * sigma).abs();
            off(0.5) < off(core::f64::consts::FRAC_2_PI)
        }
    };
    if laplace {
        b * laplace_clip(bits)
    } else {
        sigma * gauss_clip(bits)
    }
}

/// The clip of a Laplace density of scale 1 at `bits` bits: t with t = 3 · 4^bits · e^−t, where the
/// derivative of 2 e^−t + t² / (3 · 4^bits) vanishes.
#[must_use]
pub fn laplace_clip(bits: u8) -> f64 {
    let levels = libm::exp2(2.0 * f64::from(bits));
    root(|t| t / (3.0 * levels) - libm::exp(-t))
}

/// The clip of a normal density of deviation 1 at `bits` bits: where the derivative of
/// (t² + 1)(1 − erf(t/√2)) − √(2/π) t e^(−t²/2) + t² / (3 · 4^bits) vanishes.
#[must_use]
pub fn gauss_clip(bits: u8) -> f64 {
    let levels = libm::exp2(2.0 * f64::from(bits));
    let density = libm::sqrt(core::f64::consts::FRAC_2_PI);
    root(|t| {
        let tail = libm::erfc(t * core::f64::consts::FRAC_1_SQRT_2);
        t * tail - density * libm::exp(-t * t / 2.0) + t / (3.0 * levels)
    })
}

/// The root of a function that rises from negative to positive on 0..64, by bisection.
fn root(f: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 64.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if f(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The scale of symmetric weights of this width that share one, by the rule `clip`.
#[must_use]
pub fn weight_scale(weights: &[f32], clip: Clip, width: Width) -> f32 {
    let largest = weights.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
    let bounded = match clip {
        Clip::MinMax => largest,
        Clip::Mse => weight_least_squares(weights, largest, width),
        Clip::Percentile(fraction) => weight_percentile(weights, largest, fraction),
        Clip::Aciq(density) => weight_aciq(weights, largest, density, width),
    };
    scale_of(bounded, width)
}

/// The scale at which the largest weight of this width stands for `bounded`.
fn scale_of(bounded: f32, width: Width) -> f32 {
    QParams::from_range(0.0, bounded / f32::from(width.max()) * 255.0).scale
}

fn weight_least_squares(weights: &[f32], largest: f32, width: Width) -> f32 {
    const STEPS: u16 = 128;
    let error = |clip: f32| -> f64 {
        let scale = scale_of(clip, width);
        let of = |w: &f32| f64::from(f32::from(quantize_weight(*w, scale, width)) * scale - w);
        weights.iter().map(|w| of(w) * of(w)).sum()
    };
    let narrowest = match width {
        Width::Int8 => STEPS / 4,
        Width::Int4 | Width::Int2 => 1,
    };
    let candidates = (narrowest..=STEPS).rev();
    let clips = candidates.map(|step| largest * f32::from(step) / f32::from(STEPS));
    let scored = clips.map(|clip| (clip, error(clip)));
    let best = scored.reduce(|best, next| if next.1 < best.1 { next } else { best });
    best.map_or(largest, |(clip, _)| clip)
}

fn weight_percentile(weights: &[f32], largest: f32, fraction: f64) -> f32 {
    let allowed = outside(weights.len() as f64, fraction);
    let is_enough = |clip: f32| weights.iter().filter(|w| w.abs() > clip).count() as f64 <= allowed;
    // magnitudes are in the order of their bits
    let (mut low, mut high) = (0, largest.to_bits());
    while low < high {
        let middle = low + (high - low) / 2;
        if is_enough(f32::from_bits(middle)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let magnitudes = weights.iter().map(|w| w.abs());
    let clips = magnitudes.filter(|w| *w > 0.0 && w.to_bits() >= high);
    clips.fold(largest, f32::min)
}

fn weight_aciq(weights: &[f32], largest: f32, density: Density, width: Width) -> f32 {
    let n = weights.len().max(1) as f64;
    let mean = weights.iter().map(|w| f64::from(*w)).sum::<f64>() / n;
    let from_mean = weights.iter().map(|w| f64::from(*w) - mean);
    let b = from_mean.clone().map(f64::abs).sum::<f64>() / n;
    let sigma = libm::sqrt(from_mean.map(|d| d * d).sum::<f64>() / n);
    let alpha = closed_form(density, b, sigma, width.bits() as u8);
    ((mean.abs() + alpha) as f32).min(largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    /// A sample's histogram of 4,096 bins.
    fn with_histogram<T>(sample: &[f32], f: impl FnOnce(&Histogram<'_>) -> T) -> T {
        let min = sample.iter().copied().fold(f32::INFINITY, f32::min);
        let max = sample.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // no less, so that the bins reach the largest
        let width = ((max - min) / 4096.0).next_up();
        let mut counts = vec![0; 4096];
        for x in sample {
            counts[(((x - min) / width) as usize).min(4095)] += 1;
        }
        f(&Histogram {
            low: min,
            width,
            counts: &counts,
            zeros: 0,
            min,
            max,
        })
    }

    /// Sums of uniforms with a heavy tail.
    fn sample(seed: u64, one_sided: bool) -> Vec<f32> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut draw = || {
            let sign = if rng.random() { 1.0 } else { -1.0 };
            let x: f32 = -rng.random_range(1e-6_f32..1.0).ln() * sign;
            if one_sided { x.max(0.0) } else { x }
        };
        (0..20_000).map(|_| draw()).collect()
    }

    #[test]
    fn aciq_has_the_published_clips() {
        // Banner et al. 2019, section 4: 2.83, 3.89, 5.03 b for Laplace, 1.71, 2.15, 2.55 σ for Gauss
        for (bits, laplace, gauss) in [(2, 2.83, 1.71), (3, 3.89, 2.15), (4, 5.03, 2.55)] {
            assert!((laplace_clip(bits) - laplace).abs() < 0.01);
            assert!((gauss_clip(bits) - gauss).abs() < 0.02);
        }
    }

    #[test]
    fn least_squares_beats_every_other_rule_and_every_grid_range() {
        // one end at a time: a local minimum, since the zero point is rounded
        const LOCAL: f64 = 1.02;
        for (seed, one_sided) in [(1, true), (2, false), (3, false)] {
            with_histogram(&sample(seed, one_sided), |histogram| {
                let least = histogram.squared_error(histogram.qparams(Clip::Mse));
                for other in [
                    Clip::MinMax,
                    Clip::Percentile(0.9999),
                    Clip::Percentile(0.99),
                    Clip::Aciq(Density::Gauss),
                    Clip::Aciq(Density::Laplace),
                    Clip::Aciq(Density::Fitted),
                ] {
                    let error = histogram.squared_error(histogram.qparams(other));
                    assert!(least <= error * LOCAL, "{other:?}: {least} {error}");
                }
                for low in 0..=20_u8 {
                    for high in 1..=20_u8 {
                        let part = |x: f32, of: u8| x * f32::from(of) / 20.0;
                        let q = QParams::from_range(
                            part(histogram.min, low),
                            part(histogram.max, high),
                        );
                        assert!(least <= histogram.squared_error(q) * LOCAL);
                    }
                }
            });
        }
    }

    #[test]
    fn rules_are_spelled_as_in_commands() {
        let percent = |percent: f64| Clip::Percentile(percent / 100.0).to_string();
        for (value, text) in [
            (99.99, "99.99"),
            (50.0, "50"),
            (99.7, "99.7"),
            (100.0, "100"),
        ] {
            assert_eq!(percent(value), format!("percentile {text}"));
        }
        assert_eq!(Clip::Aciq(Density::Laplace).to_string(), "aciq-laplace");
    }

    #[test]
    fn percentiles_leave_the_tails_outside() {
        let sample: Vec<f32> = (0..10_000).map(|i| i as f32 - 5_000.0).collect();
        with_histogram(&sample, |histogram| {
            let [low, high] = histogram.percentile(0.9);
            assert!((low + 4_500.0).abs() < 10.0 && (high - 4_500.0).abs() < 10.0);
            let [low, high] = histogram.percentile(1.0);
            assert!((low + 5_000.0).abs() < 10.0 && (high - 5_000.0).abs() < 10.0);
        });
    }

    #[test]
    fn the_percentage_asked_for_is_inside() {
        let mut rng = SmallRng::seed_from_u64(3);
        for (seed, zeros, one_sided) in [
            (4, 0, false),
            (5, 0, true),
            (6, 40_000, true),
            (7, 40_000, false),
            (8, 180_000, false),
        ] {
            let mut sample = sample(seed, false);
            if one_sided {
                sample.iter_mut().for_each(|x| *x = x.abs());
            } else {
                // three of four above 0
                let turned = |x: f32, to: u8| if to > 0 { x.abs() } else { x };
                let each = sample.iter_mut();
                each.for_each(|x| *x = turned(*x, rng.random_range(0..2)));
            }
            let total = sample.len() + zeros;
            with_histogram(&sample, |histogram| {
                let histogram = Histogram {
                    zeros: zeros as u64,
                    ..*histogram
                };
                for fraction in [0.5, 0.9, 0.99, 0.999, 1.0] {
                    let [low, high] = histogram.percentile(fraction);
                    assert!(low <= 0.0 && high >= 0.0 && low < high);
                    let inside = |x: &&f32| (low..=high).contains(*x);
                    let inside = zeros + sample.iter().filter(inside).count();
                    let part = inside as f64 / total as f64;
                    let least = fraction.max(zeros as f64 / total as f64);
                    // a bin at each end
                    assert!(part >= least && part < least + 0.008, "{fraction}: {part}");
                    let outside = |x: &&f32| !(low..=high).contains(*x);
                    let below = sample.iter().filter(outside).filter(|x| **x < 0.0);
                    let (below, all) = (below.count(), total - inside);
                    if !one_sided && fraction > 0.9 {
                        assert!(below.abs_diff(all - below) <= 60, "{below} of {all}");
                    }
                }
            });
        }
    }

    #[test]
    fn a_side_without_values_has_no_tail() {
        // ten bins of ten values each, and zeros
        let percentile = |counts: &[u64], low: f32, zeros: u64, fraction: f64| {
            let histogram = Histogram {
                low,
                width: 1.0,
                counts,
                zeros,
                min: low,
                max: low + counts.len() as f32,
            };
            histogram.percentile(fraction)
        };
        let tens = [10; 10];
        assert_eq!(percentile(&tens, 0.0, 0, 0.9), [0.0, 9.0]);
        assert_eq!(percentile(&tens, -10.0, 0, 0.9), [-9.0, 0.0]);
        assert_eq!(percentile(&tens, 0.0, 100, 0.9), [0.0, 8.0]);
        assert_eq!(percentile(&tens, -1.0, 0, 0.6), [0.0, 6.0]);
        assert_eq!(percentile(&tens, -5.0, 0, 0.8), [-4.0, 4.0]);
        assert_eq!(percentile(&tens, -5.0, 0, 1.0), [-5.0, 5.0]);
        // nine of ten are 0: the narrowest range that is one
        assert_eq!(percentile(&tens, -5.0, 900, 0.9), [0.0, 1.0]);
        assert_eq!(percentile(&[1, 0, 3], 1.0, 96, 0.9), [0.0, 2.0]);
    }

    #[test]
    fn weights_percentiles_are_those_of_sorted_magnitudes() {
        let mut rng = SmallRng::seed_from_u64(11);
        for len in 1..200_usize {
            let zeros = rng.random_range(0..=len);
            let mut draw = |i: usize| match i < zeros {
                true => 0.0,
                false => f32::from(rng.random_range(-99_i8..100)) / 8.0,
            };
            let weights: Vec<f32> = (0..len).map(&mut draw).collect();
            let mut sorted: Vec<f32> = weights.iter().map(|w| w.abs()).collect();
            sorted.sort_by(f32::total_cmp);
            let largest = sorted[len - 1];
            for percent in [50, 70, 90, 99, 100] {
                let clip = weight_percentile(&weights, largest, percent as f64 / 100.0);
                let nth = sorted[(len * percent).div_ceil(100).max(1) - 1];
                let nonzero = sorted.iter().copied().find(|w| *w > 0.0);
                assert_eq!(clip, nth.max(nonzero.unwrap_or(0.0)), "{percent} of {len}");
            }
        }
    }

    #[test]
    fn empty_and_constant_distributions_have_a_usable_map() {
        for (min, max) in [(0.0, 0.0), (2.0, 2.0), (-2.0, -2.0)] {
            let histogram = Histogram {
                low: min,
                width: 1.0,
                counts: &[],
                zeros: 0,
                min,
                max,
            };
            for clip in [
                Clip::Mse,
                Clip::MinMax,
                Clip::Percentile(0.99),
                Clip::Aciq(Density::Fitted),
            ] {
                assert!(histogram.qparams(clip).is_usable());
            }
        }
    }

    #[test]
    fn weight_scales_cover_or_clip() {
        let weights = [0.5_f32, -1.27, 0.0, 0.3];
        let int8 = |clip| weight_scale(&weights, clip, Width::Int8);
        assert_eq!(int8(Clip::MinMax), 0.01);
        assert!(int8(Clip::Mse) <= 0.01 * 1.000_001);
        let percentile = int8(Clip::Percentile(0.7));
        assert!((percentile - 0.5 / 127.0).abs() < 1e-8);
        for density in [Density::Gauss, Density::Laplace, Density::Fitted] {
            assert!(int8(Clip::Aciq(density)) <= 0.01 * 1.000_001);
        }
        for width in Width::ALL {
            assert!(weight_scale(&[0.0; 4], Clip::Mse, width) > 0.0);
            assert!(weight_scale(&weights, Clip::Mse, width) <= scale_of(1.27, width));
        }
    }

    #[test]
    fn normal_weights_have_the_published_least_squares_grids() {
        // Max 1960, "Quantizing for minimum distortion", table II: a uniform grid of four values has
        // its least error at steps of 0.9957 σ, so that our odd numbers are at 0.4979 σ
        let mut rng = SmallRng::seed_from_u64(9);
        let mut normal = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
        let weights: Vec<f32> = (0..20_000).map(|_| normal()).collect();
        let scale = weight_scale(&weights, Clip::Mse, Width::Int2);
        assert!((scale - 0.4979).abs() < 0.02, "{scale}");
    }
}

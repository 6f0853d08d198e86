//! The integer weights of least output error.

use bitbudget_core::clip::{self, Clip};
use bitbudget_core::quant::{MAX_BIAS, MAX_SCALE, Width, is_usable_scale};
use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::descent::{Channel, Metric};
use super::{Grid, Moments, Rule, WeightRounding, nearest};
use crate::graph::Weights;

/// The most times that scales are raised for biases. Correction moves a bias by less than half a step for
/// each input, so that it settles at once; what is still out of range then saturates, and is priced so.
const RAISES: usize = 8;

/// The grids of a layer's weights, one for each of `widths`; `moments` are those of its groups, or
/// none where the data did not say, and `input_scale` is the scale of its INT8 input. Where second moments
/// are not known, codes are the nearest ones.
///
/// A bias is stored as a 32-bit multiple of input scale · weight scale. Where a channel's weights are so
/// small that its bias would be out of range, its scale is raised until the bias fits: the error that this
/// adds is at most a 2^-22nd of the bias for each input.
///
/// # Errors
/// candle's.
pub fn choose(
    weights: &Weights,
    moments: &[Moments],
    input_scale: f32,
    widths: &[Width],
    rule: Rule,
) -> Result<Vec<Grid>> {
    let squares = moments
        .iter()
        .map(|m| m.metric(rule.bias_correction))
        .collect::<Result<Vec<_>>>()?;
    let means: Vec<Vec<f64>> = moments.iter().map(Moments::means).collect();
    let mut metrics = Vec::new();
    if rule.rounding == WeightRounding::Descent {
        for (squares, means) in squares.iter().zip(&means) {
            if let Some(squares) = squares {
                metrics.push(Metric::new(squares.flatten_all()?.to_vec1()?, means));
            }
        }
    }
    let layer = Layer {
        weights,
        len: weights.weight.len() / weights.bias.len(),
        group_len: weights.bias.len() / moments.len().max(1),
        means,
        squares,
        metrics,
        rule,
    };
    let grids = widths.iter().map(|width| layer.grid(*width, input_scale));
    grids.collect()
}

/// The scale that codes are sought for.
#[derive(Clone, Copy, Debug)]
enum Scale {
    /// This one.
    Kept(f32),
    /// The best one around this, where codes are not the nearest ones.
    Around(f32),
}

/// A layer whose grids are chosen.
struct Layer<'a> {
    weights: &'a Weights,
    /// Weights of a channel.
    len: usize,
    /// Channels of a group.
    group_len: usize,
    /// By group: the mean inputs.
    means: Vec<Vec<f64>>,
    /// By group: what makes squared output errors of weight errors, where it is known.
    squares: Vec<Option<Tensor>>,
    /// By group: the same for the descent; none where codes are the nearest ones.
    metrics: Vec<Metric>,
    rule: Rule,
}

impl Layer<'_> {
    fn channels(&self) -> usize {
        self.weights.bias.len()
    }

    fn row(&self, channel: usize) -> &[f32] {
        &self.weights.weight[channel * self.len..][..self.len]
    }

    fn grid(&self, width: Width, input_scale: f32) -> Result<Grid> {
        let mut rows = self.scales_and_codes(width)?;
        let mut bias = Vec::new();
        // a raised scale moves the correction, which may ask for a little more
        for _ in 0..RAISES {
            let each = rows.iter().enumerate();
            bias = each.map(|(c, row)| self.corrected(c, row)).collect();
            let least = bias.iter().map(|bias| least_scale(*bias, input_scale));
            let mut least: Vec<f32> = least.collect();
            if self.rule.per_tensor {
                let most = least.iter().copied().fold(0.0, f32::max);
                least.fill(most);
            }
            let mut is_raised = false;
            for (channel, (row, least)) in rows.iter_mut().zip(least).enumerate() {
                if row.0 < least {
                    *row = self.codes(channel, width, Scale::Kept(least));
                    is_raised = true;
                }
            }
            if !is_raised {
                break;
            }
        }
        let (scales, codes): (Vec<f32>, Vec<Vec<i8>>) = rows.into_iter().unzip();
        Ok(Grid {
            width,
            scales,
            codes: codes.concat(),
            bias,
        })
    }

    /// Every channel's scale and codes, whatever its bias.
    fn scales_and_codes(&self, width: Width) -> Result<Vec<(f32, Vec<i8>)>> {
        let channels = (0..self.channels()).into_par_iter();
        if self.rule.per_tensor {
            let scale = self.common_scale(width)?;
            let row = |c| self.codes(c, width, Scale::Kept(scale));
            return Ok(channels.map(row).collect());
        }
        let row = |c| {
            let errors = |scales: &[f32]| self.errors(c, width, scales);
            let scale = scale(self.row(c), self.rule.clip, width, errors)?;
            // other rules for the clip are rules for the scale
            let scale = match self.rule.clip {
                Clip::Mse => Scale::Around(scale),
                Clip::MinMax | Clip::Percentile(_) | Clip::Aciq(_) => Scale::Kept(scale),
            };
            Ok(self.codes(c, width, scale))
        };
        channels.map(row).collect()
    }

    /// The scale that all channels share.
    fn common_scale(&self, width: Width) -> Result<f32> {
        let errors = |scales: &[f32]| -> Result<Vec<f64>> {
            let each = (0..self.channels()).into_par_iter();
            let each = each.map(|c| self.errors(c, width, scales));
            let each = each.collect::<Result<Vec<_>>>()?;
            let sum = |i| each.iter().map(|errors| errors[i]).sum();
            Ok((0..scales.len()).map(sum).collect())
        };
        scale(&self.weights.weight, self.rule.clip, width, errors)
    }

    /// A channel's scale and codes.
    fn codes(&self, channel: usize, width: Width, scale: Scale) -> (f32, Vec<i8>) {
        let row = self.row(channel);
        let (Scale::Kept(first) | Scale::Around(first)) = scale;
        let Some(metric) = self.metrics.get(channel / self.group_len) else {
            return (first, nearest(row, width, first).collect());
        };
        let channel = Channel::new(metric, row, width);
        let fit = match scale {
            Scale::Kept(scale) => channel.at(scale),
            Scale::Around(scale) => channel.around(scale),
        };
        (fit.scale, fit.codes)
    }

    /// A channel's bias, less the mean error of its output where that is asked for.
    fn corrected(&self, channel: usize, (scale, codes): &(f32, Vec<i8>)) -> f32 {
        let bias = self.weights.bias[channel];
        if !self.rule.bias_correction || self.means.is_empty() {
            return bias;
        }
        let pairs = self.row(channel).iter().zip(codes);
        let errors = pairs.map(|(w, code)| error(*code, *scale, *w));
        let means = &self.means[channel / self.group_len];
        let shift = errors.zip(means).map(|(error, mean)| error * mean);
        bias - shift.sum::<f64>() as f32
    }

    /// The squared error of one channel's output with the nearest codes at each candidate scale, or of its
    /// weights where the metric is not known.
    fn errors(&self, channel: usize, width: Width, scales: &[f32]) -> Result<Vec<f64>> {
        let row = self.row(channel);
        let errors = scales.iter().flat_map(|scale| {
            let pairs = nearest(row, width, *scale).zip(row);
            pairs.map(move |(code, w)| error(code, *scale, *w))
        });
        let errors: Vec<f64> = errors.collect();
        let metric = self.squares.get(channel / self.group_len);
        let Some(metric) = metric.and_then(Option::as_ref) else {
            let squares = |d: &[f64]| d.iter().map(|d| d * d).sum();
            return Ok(errors.chunks_exact(row.len()).map(squares).collect());
        };
        let errors = Tensor::from_vec(errors, (scales.len(), row.len()), &Device::Cpu)?;
        (errors.matmul(metric)? * errors)?.sum(1)?.to_vec1()
    }
}

/// The error of a weight.
fn error(code: i8, scale: f32, weight: f32) -> f64 {
    f64::from(f32::from(code) * scale - weight)
}

/// The smallest weight scale at which a bias is in range.
fn least_scale(bias: f32, input_scale: f32) -> f32 {
    // a little more, so that rounding the products of scales does not lead outside
    const MARGIN: f64 = 1.0 + 1e-6;
    let least = f64::from(bias.abs()) / (f64::from(MAX_BIAS) * f64::from(input_scale)) * MARGIN;
    (least as f32).min(MAX_SCALE)
}

/// The scale of weights that share one, by least squares with the given errors of candidates.
fn scale(
    weights: &[f32],
    clip: Clip,
    width: Width,
    errors: impl Fn(&[f32]) -> Result<Vec<f64>>,
) -> Result<f32> {
    const COARSE: u16 = 64;
    const FINE: i16 = 8;
    if clip != Clip::Mse {
        return Ok(clip::weight_scale(weights, clip, width));
    }
    let widest = clip::weight_scale(weights, Clip::MinMax, width);
    let best_of = |scales: Vec<f32>| -> Result<f32> {
        let errors = errors(&scales)?;
        let scored = scales.into_iter().zip(errors);
        let best = scored.reduce(|best, next| if next.1 < best.1 { next } else { best });
        Ok(best.map_or(widest, |(scale, _)| scale))
    };
    let usable = |scale: f32| match is_usable_scale(scale) {
        true => scale,
        false => widest,
    };
    let part = |i: u16| usable(widest * f32::from(i) / f32::from(COARSE));
    let coarse = best_of((1..=COARSE).rev().map(part).collect())?;
    let step = widest / f32::from(COARSE) / f32::from(FINE);
    let around = |i: i16| usable((coarse + step * f32::from(i)).min(widest));
    best_of((-FINE..=FINE).rev().map(around).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn numbers(seed: u64, len: usize) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..len).map(|_| 0.5 * random.signed() + 0.2).collect()
    }

    fn patches(rows: usize, len: usize) -> Vec<f32> {
        let mut patches = numbers(7, rows * len);
        // inputs that go together: the error of one weight can make up for another's
        for row in patches.chunks_exact_mut(len) {
            (1..len).for_each(|k| row[k] += 0.8 * row[k - 1]);
        }
        patches
    }

    /// The mean and the mean square of a channel's output error over all patches.
    fn output_error(patches: &[f32], row: &[f32], codes: &[i8], scale: f32) -> (f64, f64) {
        let errors = row.iter().zip(codes);
        let errors: Vec<f64> = errors.map(|(w, code)| error(*code, scale, *w)).collect();
        let each = patches.chunks_exact(row.len()).map(|patch| {
            let pairs = patch.iter().zip(&errors);
            pairs.map(|(x, error)| f64::from(*x) * error).sum::<f64>()
        });
        let each: Vec<f64> = each.collect();
        let n = each.len() as f64;
        let squares = each.iter().map(|e| e * e).sum::<f64>();
        (each.iter().sum::<f64>() / n, squares / n)
    }

    /// The error that a rule wants little of, with these codes.
    fn total(patches: &[f32], weights: &Weights, grid: &Grid, rule: Rule) -> f64 {
        let len = weights.weight.len() / weights.bias.len();
        let rows = weights.weight.chunks_exact(len).zip(grid.rows());
        let each = rows.zip(&grid.scales).map(|((row, codes), scale)| {
            let (mean, square) = output_error(patches, row, codes, *scale);
            square
                - if rule.bias_correction {
                    mean * mean
                } else {
                    0.0
                }
        });
        each.sum()
    }

    #[test]
    fn grids_are_those_of_least_output_error() {
        let (channels, len) = (3, 12);
        let weights = Weights {
            weight: numbers(4, channels * len),
            bias: vec![0.5; channels],
        };
        let patches = patches(400, len);
        let tensor = Tensor::from_slice(&patches, (400, len), &Device::Cpu).expect("patches");
        let (top, bottom) = (tensor.narrow(0, 0, 150), tensor.narrow(0, 150, 250));
        let mut moments = Moments::of(&top.expect("rows")).expect("moments");
        let more = Moments::of(&bottom.expect("rows").contiguous().expect("rows"));
        moments.merge(&more.expect("moments")).expect("one length");
        let moments = [moments];
        let rules = [false, true].into_iter().flat_map(|per_tensor| {
            [false, true].map(|bias_correction| Rule {
                per_tensor,
                bias_correction,
                ..Rule::default()
            })
        });
        let mut falls = Vec::new();
        for rule in rules {
            let of = |rounding| {
                let rule = Rule { rounding, ..rule };
                choose(&weights, &moments, 0.1, &Width::ALL, rule).expect("grids")
            };
            let nearest = of(WeightRounding::Nearest);
            for (nearest, grid) in nearest.iter().zip(of(WeightRounding::Descent)) {
                let width = grid.width;
                assert!(
                    [nearest, &grid]
                        .iter()
                        .all(|grid| grid.is_sound(channels, channels * len))
                );
                let error = |grid: &Grid| total(&patches, &weights, grid, rule);
                let least = error(nearest);
                for part in 1..=200_u8 {
                    let scales = (0..channels).map(|c| {
                        let row = &weights.weight[c * len..][..len];
                        let row = if rule.per_tensor {
                            &weights.weight
                        } else {
                            row
                        };
                        let widest = clip::weight_scale(row, Clip::MinMax, width);
                        widest * f32::from(part) / 200.0
                    });
                    let weight = &weights.weight;
                    let other = Grid::nearest(weight, width, scales.collect(), vec![0.0; channels]);
                    assert!(least <= error(&other) * 1.25, "{rule:?} {width:?} {part}");
                }
                let fall = error(&grid) / least;
                // the damped error is what does not rise
                assert!(fall < 1.01, "{rule:?} {width:?}: {fall}");
                falls.push(fall);
                for (c, row) in weights.weight.chunks_exact(len).enumerate() {
                    let codes = &grid.codes[c * len..][..len];
                    let (mean, _) = output_error(&patches, row, codes, grid.scales[c]);
                    let want = if rule.bias_correction {
                        0.5 - mean
                    } else {
                        0.5
                    };
                    assert!((f64::from(grid.bias[c]) - want).abs() < 1e-5);
                }
            }
        }
        let mean = falls.iter().sum::<f64>() / falls.len() as f64;
        assert!(mean < 0.8, "{falls:?}");
    }
}

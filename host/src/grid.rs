//! The grids of integer weights: a scale for each output channel, and the bias that goes with them.
//!
//! The rule is that of the clip ranges, least squared error, but of the layer's *output*: with the
//! error d of a channel's weights and the second moments E[x xᵀ] of the inputs that they meet, the
//! output's squared error is dᵀ E[x xᵀ] d (Nagel et al. 2020, "Up or Down? Adaptive Rounding for
//! Post-Training Quantization", section 3.1, where it chooses roundings). Its mean dᵀ `E[x]` can go
//! into the bias (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
//! Correction", section 4.2), which leaves the covariance.

use bitbudget_core::clip::{self, Clip};
use bitbudget_core::level::WeightFormat;
use bitbudget_core::quant::{
    MAX_BIAS, MAX_SCALE, Width, is_usable_scale, quantize_bias, quantize_half, quantize_weight,
};
use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::graph::Weights;

/// The integer weights of one layer at one width, as far as the FP32 weights do not tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// The width.
    pub width: Width,
    /// `[O]`.
    pub scales: Vec<f32>,
    /// `[O]`, the layer's biases, corrected where that is asked for.
    pub bias: Vec<f32>,
}

/// The grid of a width.
///
/// # Panics
/// When there is none.
pub(crate) fn of_width(grids: &[Grid], width: Width) -> &Grid {
    let grid = grids.iter().find(|grid| grid.width == width);
    grid.expect("a grid for every width that is asked for")
}

/// A layer's weights and biases as they are stored, as real numbers: rounded and saturated as the
/// kernels will read them. `input_scale` is the scale of the layer's INT8 input, whose steps the biases
/// of integer weights are counted in.
///
/// # Panics
/// When integer weights have no grid of their width among `grids`.
#[must_use]
pub fn dequantized(
    weights: &Weights,
    grids: &[Grid],
    stored: WeightFormat,
    input_scale: f32,
) -> Weights {
    let width = match stored {
        WeightFormat::F32 => return weights.clone(),
        WeightFormat::F16 => {
            let weight = weights.weight.iter().map(|w| quantize_half(*w).to_f32());
            return Weights {
                weight: weight.collect(),
                bias: weights.bias.clone(),
            };
        }
        WeightFormat::Int(width) => width,
    };
    let grid = of_width(grids, width);
    let rows = weights
        .weight
        .chunks_exact(weights.weight.len() / grid.scales.len());
    let rows = rows.zip(&grid.scales).flat_map(|(row, scale)| {
        let real = move |w: &f32| f32::from(quantize_weight(*w, *scale, width)) * scale;
        row.iter().map(real)
    });
    let biases = grid.bias.iter().zip(&grid.scales);
    let bias = biases.map(|(bias, scale)| {
        let step = input_scale * scale;
        quantize_bias(*bias, step) as f32 * step
    });
    Weights {
        weight: rows.collect(),
        bias: bias.collect(),
    }
}

/// The rule by which grids are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The rule for the clip.
    pub clip: Clip,
    /// One scale for the whole layer in place of one for each output channel.
    pub per_tensor: bool,
    /// Whether the mean error of the output goes into the bias.
    pub bias_correction: bool,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            clip: Clip::Mse,
            per_tensor: false,
            bias_correction: true,
        }
    }
}

/// Sums over the input patches `[K]` that one group of output channels is multiplied with.
#[derive(Clone, Debug)]
pub struct Moments {
    count: f64,
    sum: Vec<f64>,
    /// `[K, K]`; `None` where K exceeds [`Moments::MAX_SQUARED_LEN`].
    products: Option<Tensor>,
}

impl Moments {
    /// The longest patch whose second moments are kept; beyond, the error of the weights themselves
    /// chooses the scale.
    pub const MAX_SQUARED_LEN: usize = 2048;

    /// The moments of these patches, `[rows, K]`.
    ///
    /// # Errors
    /// candle's.
    pub fn of(patches: &Tensor) -> Result<Self> {
        let (rows, len) = patches.dims2()?;
        let ones = Tensor::ones((1, rows), DType::F32, &Device::Cpu)?;
        let sum: Vec<f32> = ones.matmul(patches)?.flatten_all()?.to_vec1()?;
        let products = if len <= Self::MAX_SQUARED_LEN {
            let products = patches.t()?.contiguous()?.matmul(patches)?;
            Some(products.to_dtype(DType::F64)?)
        } else {
            None
        };
        Ok(Self {
            count: rows as f64,
            sum: sum.into_iter().map(f64::from).collect(),
            products,
        })
    }

    /// Adds the moments of other patches.
    ///
    /// # Errors
    /// candle's, when the patches have another length.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.count += other.count;
        for (sum, more) in self.sum.iter_mut().zip(&other.sum) {
            *sum += more;
        }
        self.products = match (&self.products, &other.products) {
            (Some(a), Some(b)) => Some((a + b)?),
            _ => None,
        };
        Ok(())
    }

    fn means(&self) -> Vec<f64> {
        self.sum.iter().map(|sum| sum / self.count).collect()
    }

    /// The matrix that makes squared output errors of weight errors, `[K, K]`: the covariance where the
    /// mean goes into the bias.
    fn metric(&self, bias_correction: bool) -> Result<Option<Tensor>> {
        let Some(products) = &self.products else {
            return Ok(None);
        };
        let second = (products / self.count)?;
        if !bias_correction {
            return Ok(Some(second));
        }
        let mean = Tensor::from_vec(self.means(), (self.sum.len(), 1), &Device::Cpu)?;
        Ok(Some((second - mean.matmul(&mean.t()?)?)?))
    }
}

/// The grids of a layer's weights, one for each of `widths`; `moments` are those of its groups, or
/// none where the data did not say, and `input_scale` is the scale of its INT8 input.
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
    let channels = weights.bias.len();
    let len = weights.weight.len() / channels;
    let group_len = channels / moments.len().max(1);
    let metrics = moments
        .iter()
        .map(|m| m.metric(rule.bias_correction))
        .collect::<Result<Vec<_>>>()?;
    let metric_of = |channel: usize| metrics.get(channel / group_len).and_then(Option::as_ref);
    let row = |channel: usize| &weights.weight[channel * len..][..len];
    let grid = |&width: &Width| {
        let mut scales = if rule.per_tensor {
            let errors = |steps: &[f32]| -> Result<Vec<f64>> {
                let each = (0..channels).into_par_iter();
                let each = each.map(|c| output_errors(row(c), metric_of(c), width, steps));
                let each = each.collect::<Result<Vec<_>>>()?;
                let sum = |i| each.iter().map(|errors| errors[i]).sum();
                Ok((0..steps.len()).map(sum).collect())
            };
            vec![scale(&weights.weight, rule.clip, width, errors)?; channels]
        } else {
            let each = (0..channels).into_par_iter();
            let each = each.map(|c| {
                let errors = |steps: &[f32]| output_errors(row(c), metric_of(c), width, steps);
                scale(row(c), rule.clip, width, errors)
            });
            each.collect::<Result<_>>()?
        };
        let corrected = |channel: usize, scale: f32| {
            let bias = weights.bias[channel];
            if !rule.bias_correction || moments.is_empty() {
                return bias;
            }
            let means = moments[channel / group_len].means();
            let pairs = row(channel).iter().zip(means);
            let shift = pairs.map(|(w, mean)| mean * error(*w, scale, width));
            bias - shift.sum::<f64>() as f32
        };
        let mut bias = Vec::new();
        // a raised scale moves the correction, which may ask for a little more
        for _ in 0..RAISES {
            let each = (0..channels).map(|channel| corrected(channel, scales[channel]));
            bias = each.collect();
            let least = bias.iter().map(|bias| least_scale(*bias, input_scale));
            let mut least: Vec<f32> = least.collect();
            if rule.per_tensor {
                let most = least.iter().copied().fold(0.0, f32::max);
                least.fill(most);
            }
            if scales
                .iter()
                .zip(&least)
                .all(|(scale, least)| scale >= least)
            {
                break;
            }
            for (scale, least) in scales.iter_mut().zip(least) {
                *scale = scale.max(least);
            }
        }
        Ok(Grid {
            width,
            scales,
            bias,
        })
    };
    widths.iter().map(grid).collect()
}

/// The most times that scales are raised for biases. Correction moves a bias by less than half a step for
/// each input, so that it settles at once; what is still out of range then saturates, and is priced so.
const RAISES: usize = 8;

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

fn error(w: f32, scale: f32, width: Width) -> f64 {
    f64::from(f32::from(quantize_weight(w, scale, width)) * scale - w)
}

/// The squared error of one channel's output for each candidate scale, or of its weights where the
/// metric is not known.
fn output_errors(
    row: &[f32],
    metric: Option<&Tensor>,
    width: Width,
    scales: &[f32],
) -> Result<Vec<f64>> {
    let errors = scales
        .iter()
        .flat_map(|scale| row.iter().map(|w| error(*w, *scale, width)));
    let errors: Vec<f64> = errors.collect();
    let Some(metric) = metric else {
        let squares = |d: &[f64]| d.iter().map(|d| d * d).sum();
        return Ok(errors.chunks_exact(row.len()).map(squares).collect());
    };
    let errors = Tensor::from_vec(errors, (scales.len(), row.len()), &Device::Cpu)?;
    (errors.matmul(metric)? * errors)?.sum(1)?.to_vec1()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u32, len: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.3
        };
        (0..len).map(|_| next()).collect()
    }

    fn patches(rows: usize, len: usize) -> Vec<f32> {
        let mut patches = numbers(7, rows * len);
        // inputs that go together: the error of one weight can make up for another's
        for row in patches.chunks_exact_mut(len) {
            let common = row[0];
            row.iter_mut().for_each(|x| *x = 0.2 * *x + common);
        }
        patches
    }

    /// The mean and the mean square of a channel's output error over all patches.
    fn output_error(patches: &[f32], row: &[f32], scale: f32, width: Width) -> (f64, f64) {
        let each = patches.chunks_exact(row.len()).map(|patch| {
            let pairs = patch.iter().zip(row);
            pairs
                .map(|(x, w)| f64::from(*x) * error(*w, scale, width))
                .sum::<f64>()
        });
        let each: Vec<f64> = each.collect();
        let n = each.len() as f64;
        let squares = each.iter().map(|e| e * e).sum::<f64>();
        (each.iter().sum::<f64>() / n, squares / n)
    }

    #[test]
    fn biases_are_simulated_as_they_are_stored() {
        let weights = Weights {
            weight: vec![0.5, 0.25],
            bias: vec![0.3, -9e9],
        };
        let grid = Grid {
            width: Width::Int8,
            scales: vec![0.5, 0.25],
            bias: weights.bias.clone(),
        };
        // steps of 1 and of 0.5
        let stored = dequantized(&weights, &[grid], WeightFormat::Int(Width::Int8), 2.0);
        assert_eq!(stored.bias, [0.0, -0.5 * MAX_BIAS as f32]);
        assert_eq!(stored.weight, weights.weight);
    }

    #[test]
    fn scales_and_biases_are_those_of_least_output_error() {
        let (channels, len) = (3, 12);
        let weights = Weights {
            weight: numbers(3, channels * len),
            bias: vec![0.5; channels],
        };
        let patches = patches(400, len);
        let tensor = Tensor::from_slice(&patches, (400, len), &Device::Cpu).expect("patches");
        let (top, bottom) = (tensor.narrow(0, 0, 150), tensor.narrow(0, 150, 250));
        let mut moments = Moments::of(&top.expect("rows")).expect("moments");
        let more = Moments::of(&bottom.expect("rows").contiguous().expect("rows"));
        moments.merge(&more.expect("moments")).expect("one length");
        let moments = [moments];
        for per_tensor in [false, true] {
            for bias_correction in [false, true] {
                let rule = Rule {
                    per_tensor,
                    bias_correction,
                    ..Rule::default()
                };
                let grids = choose(&weights, &moments, 0.1, &Width::ALL, rule).expect("grids");
                for grid in grids {
                    let total = |scales: &dyn Fn(usize) -> f32| -> f64 {
                        let each = weights.weight.chunks_exact(len).enumerate();
                        let each = each.map(|(c, row)| {
                            let (mean, square) = output_error(&patches, row, scales(c), grid.width);
                            square - if bias_correction { mean * mean } else { 0.0 }
                        });
                        each.sum()
                    };
                    let chosen = total(&|c| grid.scales[c]);
                    for part in 1..=200_u8 {
                        let scales = |c: usize| {
                            let row = &weights.weight[c * len..][..len];
                            let row = if per_tensor { &weights.weight } else { row };
                            let widest = clip::weight_scale(row, Clip::MinMax, grid.width);
                            widest * f32::from(part) / 200.0
                        };
                        assert!(chosen <= total(&scales) * 1.05, "{rule:?} {grid:?} {part}");
                    }
                    for (c, row) in weights.weight.chunks_exact(len).enumerate() {
                        let (mean, _) = output_error(&patches, row, grid.scales[c], grid.width);
                        let want = if bias_correction { 0.5 - mean } else { 0.5 };
                        assert!((f64::from(grid.bias[c]) - want).abs() < 1e-5);
                    }
                }
            }
        }
    }
}

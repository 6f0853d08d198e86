//! Integer weights: a scale for each output channel, a code for each weight, and the bias that goes with them.
//!
//! The rule is that of the clip ranges, least squared error, but of the layer's *output*: with the
//! error d of a channel's weights and the second moments E[x xᵀ] of the inputs that they meet, the
//! output's squared error is dᵀ E[x xᵀ] d (Nagel et al. 2020, "Up or Down? Adaptive Rounding for
//! Post-Training Quantization", section 3.1). Its mean dᵀ `E[x]` can go into the bias (Nagel et al. 2019,
//! "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2), which leaves
//! the covariance.
//!
//! | file | what it does |
//! |---|---|
//! | `moments` | sums over the inputs, of which the squared error is made |
//! | `choose` | scales, codes and biases of a layer |
//! | `descent` | codes of least error at a scale, and the scale that is best for codes |

mod choose;
mod descent;
mod moments;

use bitbudget_core::clip::Clip;
use bitbudget_core::level::WeightFormat;
use bitbudget_core::quant::{
    Width, is_usable_scale, quantize_bias, quantize_half, quantize_weight,
};
use serde::{Deserialize, Serialize};

use crate::graph::Weights;
use crate::name::named;

pub use choose::choose;
pub use moments::Moments;

/// The integer weights of one layer at one width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// The width.
    pub width: Width,
    /// `[O]`.
    pub scales: Vec<f32>,
    /// `[O, …]` as the FP32 weights: a weight is its code times its channel's scale.
    pub codes: Vec<i8>,
    /// `[O]`, the layer's biases, corrected where that is asked for.
    pub bias: Vec<f32>,
}

impl Grid {
    /// The grid with the codes that are nearest to `weights`, `[O, …]`.
    ///
    /// # Panics
    /// When the weights are not as many for each of the scales.
    #[must_use]
    pub fn nearest(weights: &[f32], width: Width, scales: Vec<f32>, bias: Vec<f32>) -> Self {
        assert!(weights.len().is_multiple_of(scales.len()));
        let len = weights.len().checked_div(scales.len()).unwrap_or(0);
        let rows = weights.chunks_exact(len.max(1)).zip(&scales);
        let codes = rows.flat_map(|(row, scale)| nearest(row, width, *scale));
        Self {
            codes: codes.collect(),
            width,
            scales,
            bias,
        }
    }

    /// The codes of every channel.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[i8]> {
        let len = self.codes.len() / self.scales.len().max(1);
        self.codes.chunks_exact(len.max(1))
    }

    /// Whether these are `count` integer weights of so many output channels.
    pub(crate) fn is_sound(&self, channels: usize, count: usize) -> bool {
        let max = self.width.max();
        let is_code = |code: &i8| {
            let is_on_grid = self.width.step() == 1 || code % 2 != 0;
            (-max..=max).contains(code) && is_on_grid
        };
        self.scales.len() == channels
            && self.bias.len() == channels
            && self.codes.len() == count
            && self.scales.iter().all(|scale| is_usable_scale(*scale))
            && self.bias.iter().all(|bias| bias.is_finite())
            && self.codes.iter().all(is_code)
    }
}

/// The codes that are nearest to a channel's weights.
fn nearest(row: &[f32], width: Width, scale: f32) -> impl Iterator<Item = i8> {
    row.iter().map(move |w| quantize_weight(*w, scale, width))
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
    let rows = grid.rows().zip(&grid.scales).flat_map(|(row, scale)| {
        let real = move |code: &i8| f32::from(*code) * scale;
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

/// The rule by which the code of every weight is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WeightRounding {
    /// The nearest code.
    Nearest,
    /// The codes with which the layer's output has least squared error, by coordinate descent from the
    /// nearest ones. Each layer's hold whatever the levels of the others.
    #[default]
    Descent,
}

impl WeightRounding {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nearest, Self::Descent];

    /// The rule's name in commands and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Descent => "descent",
        }
    }
}

named!(WeightRounding, "rounding");

/// The rule by which grids are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The rule for the clip.
    pub clip: Clip,
    /// The rule for the codes.
    pub rounding: WeightRounding,
    /// One scale for the whole layer in place of one for each output channel.
    pub per_tensor: bool,
    /// Whether the mean error of the output goes into the bias.
    pub bias_correction: bool,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            clip: Clip::Mse,
            rounding: WeightRounding::default(),
            per_tensor: false,
            bias_correction: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use bitbudget_core::quant::MAX_BIAS;

    use super::*;

    #[test]
    fn biases_are_simulated_as_they_are_stored() {
        let weights = Weights {
            weight: vec![0.5, 0.25],
            bias: vec![0.3, -9e9],
        };
        let scales = vec![0.5, 0.25];
        let grid = Grid::nearest(&weights.weight, Width::Int8, scales, weights.bias.clone());
        // steps of 1 and of 0.5
        let stored = dequantized(&weights, &[grid], WeightFormat::Int(Width::Int8), 2.0);
        assert_eq!(stored.bias, [0.0, -0.5 * MAX_BIAS as f32]);
        assert_eq!(stored.weight, weights.weight);
    }

    #[test]
    fn codes_are_checked_against_their_grid() {
        let grid = |width, codes: &[i8]| Grid {
            width,
            scales: vec![0.5, 0.25],
            codes: codes.to_vec(),
            bias: vec![0.0; 2],
        };
        assert!(grid(Width::Int8, &[-127, 0, 1, 127]).is_sound(2, 4));
        assert!(grid(Width::Int4, &[-7, 0, 1, 7]).is_sound(2, 4));
        assert!(grid(Width::Int2, &[-3, -1, 1, 3]).is_sound(2, 4));
        for unsound in [
            grid(Width::Int8, &[-128, 0, 1, 127]),
            grid(Width::Int4, &[-8, 0, 1, 7]),
            grid(Width::Int2, &[-3, -1, 0, 3]),
            grid(Width::Int2, &[-3, -1, 1, 5]),
            grid(Width::Int8, &[1, 2, 3]),
        ] {
            assert!(!unsound.is_sound(2, 4), "{unsound:?}");
        }
    }
}

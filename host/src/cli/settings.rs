//! The arguments that say what is priced and how, for every command that profiles.

use std::path::Path;

use bitbudget::clip_rule::ClipRule;
use bitbudget::grid::{Rule, WeightRounding};
use bitbudget::loss::Loss;
use bitbudget::metric::Metric;
use bitbudget::profile::Options;
use bitbudget_core::level::Level;
use bitbudget_core::network::{MAX_STATS, Preprocess};
use clap::Args;
use miette::miette;

/// The loss.
#[derive(Args, Debug)]
pub(crate) struct LossArgs {
    /// Loss: cross-entropy against labels, calibrated (of outputs divided by the temperature that suits the
    /// FP32 model best) or as it is (labels), or the divergence (kl) or squared difference (mse) from the FP32
    /// outputs; without it calibrated where there are labels, else kl, and mse where the outputs are no classes:
    /// several outputs, as many as inputs, or one number
    #[arg(long)]
    pub(crate) loss: Option<Loss>,
}

/// Inputs, levels, loss and quantizers.
#[derive(Args, Debug)]
pub(crate) struct Settings {
    /// Inputs are (raw * scale - mean) / std; for 8-bit pixels often 1/255
    #[arg(long, value_name = "S", default_value = "1", value_parser = fraction)]
    scale: f32,
    /// One value, or one per channel
    #[arg(
        long,
        value_name = "M,..",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    mean: Vec<f32>,
    /// One value, or one per channel
    #[arg(
        long,
        value_name = "S,..",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    std: Vec<f32>,
    /// Precisions to choose from: fp32; fp16 (weights); int8, int4, int2 (weights, with INT8 inputs rounded to
    /// nearest), each also as -floor and -ceil (the rounding of the input)
    #[arg(
        long,
        value_name = "L,..",
        value_delimiter = ',',
        default_value = "fp32,fp16,int8,int4,int2"
    )]
    levels: Vec<Level>,
    /// With --metric measured: rounds in which prices are fitted to the optimal layouts for all budgets,
    /// measured as wholes; ends early when no new layout comes up
    #[arg(long, value_name = "ROUNDS", default_value_t = bitbudget::profile::REFINE)]
    refine: u32,
    #[command(flatten)]
    loss: LossArgs,
    /// Rounding of integer weights: descent (up or down so that the layer's output has least squared error on
    /// the calibration data) or nearest
    #[arg(long, default_value_t = WeightRounding::default())]
    rounding: WeightRounding,
    /// One scale for all integer weights of a layer instead of one for each output channel
    #[arg(long)]
    per_tensor: bool,
    /// Keep the biases as they are instead of folding the mean error of integer weights into them
    #[arg(long)]
    no_bias_correction: bool,
    /// Rule for clip ranges: mse, minmax, percentile, aciq, aciq-gauss or aciq-laplace
    #[arg(long, default_value_t = ClipRule::default())]
    clip: ClipRule,
    /// With --clip percentile: the percentage of values inside the range, zeros among them
    #[arg(long, value_name = "P", default_value_t = 99.99)]
    percentile: f64,
    /// With --metric secant: ignore weight noise in layers whose loss change is below E
    #[arg(long, value_name = "E", default_value_t = bitbudget_core::price::ERROR_MAX)]
    error_max: f64,
}

/// A positive number, or a fraction of two.
fn fraction(text: &str) -> Result<f32, String> {
    let number = |part: &str| part.trim().parse::<f32>().map_err(|e| e.to_string());
    let value = match text.split_once('/') {
        Some((over, under)) => number(over)? / number(under)?,
        None => number(text)?,
    };
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err("not a positive number; examples: 1/255, 0.0625".into())
    }
}

impl Settings {
    /// The options of a profile of `model` on `data` with `metric`.
    pub(crate) fn options(
        &self,
        metric: Metric,
        model: &Path,
        data: &Path,
    ) -> miette::Result<Options> {
        if !(50.0..=100.0).contains(&self.percentile) {
            return Err(miette!(
                "--percentile {} is not in 50..=100",
                self.percentile
            ));
        }
        let stats = |values: &[f32]| {
            heapless::Vec::<f32, MAX_STATS>::from_slice(values)
                .map_err(|_| miette!("more than {MAX_STATS} values for --mean or --std"))
        };
        let name = |path: &Path| path.display().to_string();
        Ok(Options {
            levels: self.levels.clone(),
            metric,
            refine: self.refine,
            loss: self.loss.loss,
            rule: Rule {
                clip: self.clip.with(self.percentile / 100.0),
                rounding: self.rounding,
                per_tensor: self.per_tensor,
                bias_correction: !self.no_bias_correction,
            },
            preprocess: Preprocess {
                scale: self.scale,
                mean: stats(&self.mean)?,
                std: stats(&self.std)?,
            },
            error_max: self.error_max,
            model_name: name(model),
            data_name: name(data),
        })
    }
}

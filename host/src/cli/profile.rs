//! `bitbudget profile`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitbudget::import;
use bitbudget::metric::Metric;
use bitbudget::profile::{self, Control, Options, Phase};
use bitbudget_core::clip::{Clip, Density};
use bitbudget_core::level::Level;
use bitbudget_core::network::{MAX_STATS, Preprocess};
use clap::Args;
use miette::{IntoDiagnostic, miette};
use serde_json::{Value, json};

use super::Outcome;
use super::data::Data;
use super::report::{self, Phases};

/// Measure what every level of every layer costs, on calibration data
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    bitbudget profile resnet8.onnx --data data_batch.bin --scale 1/255 \\\n    \
    --mean 0.4914,0.4822,0.4465 --std 0.2470,0.2435,0.2616 -o resnet8.profile\n\n\
    Ctrl-C keeps what is measured; the same command goes on from there.")]
pub(crate) struct Profile {
    /// Trained model
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    #[command(flatten)]
    data: Data,
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
    /// Levels on offer: fp32, int8, int8-floor, int8-ceil (the rounding of a layer's input)
    #[arg(
        long,
        value_name = "L,..",
        value_delimiter = ',',
        default_value = "fp32,int8,int8-floor,int8-ceil"
    )]
    levels: Vec<Level>,
    /// Estimator of the prices: measured (one layer at a time) or secant (the paper's)
    #[arg(long, default_value = "measured")]
    metric: Metric,
    /// Rule for clip ranges
    #[arg(long, default_value = "mse", value_parser = ["mse", "minmax", "percentile", "aciq", "aciq-gauss", "aciq-laplace"])]
    clip: String,
    /// With --clip percentile: the percentage of values inside the range
    #[arg(long, value_name = "P", default_value_t = 99.99)]
    percentile: f64,
    /// With --metric secant: the change of loss from which on the noise of weights is priced
    #[arg(long, value_name = "E", default_value_t = bitbudget_core::price::ERROR_MAX)]
    error_max: f64,
    /// The profile to write
    #[arg(short, long, value_name = "NAME.profile")]
    output: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
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

impl Profile {
    pub(crate) fn run(self) -> Outcome {
        let options = self.options()?;
        let graph = import::load(&self.model)?;
        let data = self.data.load(graph.input)?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).into_diagnostic()?;
        let phases = Phases::new();
        let control = Control {
            progress: &|phase, done, total| show(&phases, phase, done, total),
            stop: &stop,
            output: Some(&self.output),
        };
        let profile = profile::profile(graph, &data, &options, &control);
        phases.clear();
        let profile = profile?;
        profile.save(&self.output)?;
        if self.json {
            return report::print_json(&json(&profile));
        }
        print(&profile);
        say!("\nwritten: {}", self.output.display());
        Ok(())
    }

    fn options(&self) -> miette::Result<Options> {
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
        let name = |path: &PathBuf| path.display().to_string();
        Ok(Options {
            levels: self.levels.clone(),
            metric: self.metric,
            clip: match self.clip.as_str() {
                "minmax" => Clip::MinMax,
                "percentile" => Clip::Percentile(self.percentile / 100.0),
                "aciq" => Clip::Aciq(Density::Fitted),
                "aciq-gauss" => Clip::Aciq(Density::Gauss),
                "aciq-laplace" => Clip::Aciq(Density::Laplace),
                _ => Clip::Mse,
            },
            clip_name: match self.clip.as_str() {
                "percentile" => format!("percentile {}", self.percentile),
                name => name.into(),
            },
            preprocess: Preprocess {
                scale: self.scale,
                mean: stats(&self.mean)?,
                std: stats(&self.std)?,
            },
            error_max: self.error_max,
            model_name: name(&self.model),
            data_name: name(&self.data.data),
        })
    }
}

/// Shows how far a profile is.
pub(crate) fn show(phases: &Phases, phase: Phase, done: usize, total: usize) {
    match phase {
        Phase::Calibrate => phases.show(0, "calibrating", done, total),
        Phase::Measure => phases.show(1, "measuring", done, total),
    }
}

/// Prints a profile's origin and prices.
pub(crate) fn print(profile: &profile::Profile) {
    let origin = &profile.origin;
    say!(
        "{} on {} samples of {}: FP32 loss {:.6}, accuracy {}",
        origin.model,
        profile.samples,
        origin.data,
        profile.fp32_loss,
        report::percent(profile.fp32_accuracy),
    );
    say!(
        "metric {}, clip {}; prices are changes of the mean loss\n",
        origin.metric,
        origin.clip
    );
    let mut table = report::table(&["layer", "operator", "level", "bytes", "price", "std. error"]);
    for (i, layer) in profile.network.layers.iter().enumerate() {
        let row = &profile.network.prices.rows[i];
        for (item, estimate) in row.iter().zip(&profile.estimates[i]) {
            table.add_row([
                profile.names[i].clone(),
                layer.op.name().to_owned(),
                item.level.to_string(),
                item.bytes.to_string(),
                report::change(estimate.price),
                format!("{:.6}", estimate.standard_error),
            ]);
        }
    }
    report::print_table(&table);
}

/// A profile as JSON.
pub(crate) fn json(profile: &profile::Profile) -> Value {
    let origin = &profile.origin;
    let layers = profile.network.layers.iter().enumerate().map(|(i, layer)| {
        let row = profile.network.prices.rows[i].iter();
        let levels = row.zip(&profile.estimates[i]).map(|(item, estimate)| {
            json!({
                "level": item.level.name(),
                "bytes": item.bytes,
                "price": estimate.price,
                "standard_error": estimate.standard_error,
            })
        });
        json!({
            "name": profile.names[i],
            "operator": layer.op.name(),
            "output": layer.output.to_string(),
            "levels": levels.collect::<Vec<_>>(),
        })
    });
    json!({
        "kind": "profile",
        "model": origin.model,
        "model_fingerprint": format!("{:016x}", origin.model_fingerprint),
        "data": origin.data,
        "data_fingerprint": format!("{:016x}", origin.data_fingerprint),
        "samples": profile.samples,
        "metric": origin.metric.name(),
        "clip": origin.clip,
        "fp32": { "loss": profile.fp32_loss, "accuracy": profile.fp32_accuracy },
        "price_unit": profile.network.prices.unit,
        "layers": layers.collect::<Vec<_>>(),
    })
}

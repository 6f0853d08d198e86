//! `bitbudget profile`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitbudget::dataset::Dataset;
use bitbudget::latency::{self, Core};
use bitbudget::loss::{Head, Loss, MAX_TEMPERATURE};
use bitbudget::metric::Metric;
use bitbudget::profile::{self, Control, Phase};
use bitbudget_core::op::Op;
use clap::Args;
use miette::IntoDiagnostic;
use serde_json::{Value, json};

use super::Outcome;
use super::data::Data;
use super::model::Model;
use super::report::{self, Phases};
use super::settings::Settings;
use super::warnings::{self, Warning};

/// Measure what every level of every layer costs, on calibration data
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    bitbudget profile resnet8.onnx --data data_batch.bin --scale 1/255 \\\n    \
    --mean 0.4914,0.4822,0.4465 --std 0.2470,0.2435,0.2616 -o resnet8.profile\n\n\
    Ctrl-C keeps what is measured; the same command goes on from there.")]
pub(crate) struct Profile {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    data: Data,
    /// Estimator of the prices: measured (one layer at a time), secant (the paper's), tangent (first
    /// order) or hawq2 (mean Hessian trace times squared noise of the weights)
    #[arg(long, default_value = "measured")]
    metric: Metric,
    #[command(flatten)]
    settings: Settings,
    /// The profile to write
    #[arg(short, long, value_name = "NAME.profile")]
    output: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Profile {
    pub(crate) fn run(self) -> Outcome {
        let inputs: Vec<&Path> = self
            .data
            .inputs()
            .chain([self.model.path.as_path()])
            .collect();
        profile::check_output(&self.output, &inputs)?;
        let options = self
            .settings
            .options(self.metric, &self.model.path, &self.data.data)?;
        let graph = self.model.load()?;
        let head = options.loss.is_none().then(|| Head::of_graph(&graph));
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
        let warnings = warnings(&profile, &data);
        if self.json {
            let mut value = json(&profile);
            value["warnings"] = warnings::json(&warnings);
            return report::print_json(&value);
        }
        print(&profile);
        if let Some(head) = head.filter(|_| profile.origin.loss == Loss::Mse) {
            let note = format!(
                "{}; the loss is the squared difference from the FP32 outputs (--loss mse)",
                no_classes(head)
            );
            report::complain("note", &note);
        }
        warnings::tell(&warnings);
        if profile.samples == 1 {
            report::complain(
                "note",
                "one image does not tell how sure its prices are: they have no standard error and are not refined",
            );
        }
        let output = self.output.display().to_string();
        say!("\nwritten: {}", report::printable(&output));
        Ok(())
    }
}

/// What casts doubt on a profile of these data.
fn warnings(profile: &profile::Profile, data: &Dataset) -> Vec<Warning> {
    let mut warnings = Warning::of_doubts(&profile.doubts, data, &profile.network.preprocess);
    if profile.temperature == MAX_TEMPERATURE && warnings.is_empty() {
        warnings.push(Warning {
            kind: "temperature",
            text: "the FP32 outputs say next to nothing about the labels: are the labels, --scale, --mean and --std right?"
                .to_owned(),
        });
    }
    for layer in &profile.unseen {
        let text = format!(
            "metric {} gives no information about layer {} (nothing that it tries there changes the loss on these images, so every level looks free){}",
            profile.origin.metric,
            profile.names[*layer],
            match profile.origin.metric {
                Metric::Measured => "",
                Metric::Secant | Metric::Tangent | Metric::Hawq2 => "; use --metric measured",
            },
        );
        warnings.push(Warning {
            kind: "unseen",
            text,
        });
    }
    warnings
}

/// Why outputs are not taken for classes.
fn no_classes(head: Head) -> &'static str {
    if head.last == Op::Concat {
        "the model has several outputs, which are no classes of one label"
    } else if head.is_of_reals() {
        "the model has as many outputs as inputs, as autoencoders have"
    } else if head.is_probability() {
        "the labels are more than the yes and no of the model's one output"
    } else {
        "the model has outputs of one channel, which are no classes as far as one can tell"
    }
}

/// Shows how far a profile is.
pub(crate) fn show(phases: &Phases, phase: Phase, done: usize, total: usize) {
    match phase {
        Phase::Calibrate => phases.show(0, "calibrating", done, total),
        Phase::Round => phases.show(1, "rounding", done, total),
        Phase::Measure => phases.show(2, "measuring", done, total),
        Phase::Curvature => phases.show(3, "curvature", done, total),
        Phase::Refine => phases.show(4, "refining", done, total),
    }
}

/// Prints a profile's origin and prices.
pub(crate) fn print(profile: &profile::Profile) {
    let origin = &profile.origin;
    let accuracy = match origin.loss.is_of_labels() {
        true => format!(", accuracy {}", report::percent(profile.fp32_accuracy)),
        false => String::new(),
    };
    say!(
        "{} on {} samples of {}: FP32 loss {}{accuracy}",
        report::printable(&origin.model),
        profile.samples,
        report::printable(&origin.data),
        report::fp32_loss(origin.loss, profile.fp32_loss, profile.fp32_raw_loss),
    );
    say!(
        "metric {}, clip {}, rounding {}{}{}; prices are changes of the mean loss ({})",
        origin.metric,
        origin.clip,
        origin.rounding,
        if origin.per_tensor {
            ", one scale per layer"
        } else {
            ""
        },
        if origin.bias_correction {
            ""
        } else {
            ", biases not corrected"
        },
        match origin.loss {
            Loss::Calibrated => {
                let temperature = report::temperature(profile.temperature);
                format!("calibrated, temperature {temperature}")
            }
            loss @ (Loss::Labels | Loss::Kl | Loss::Mse) => loss.to_string(),
        },
    );
    let effort = &profile.effort;
    let seconds = effort.seconds.map(|seconds| format!("; {seconds:.1} s"));
    say!(
        "cost: {:.1} forward passes over the data{}, plus calibration{}\n",
        effort.forward_passes,
        if effort.backward_passes > 0.0 {
            format!(" and {:.1} backward passes", effort.backward_passes)
        } else {
            String::new()
        },
        seconds.unwrap_or_default(),
    );
    let mut table = report::table(&[
        "layer",
        "operator",
        "level",
        "bytes",
        "cycles",
        "price",
        "std. error",
    ]);
    for (i, layer) in profile.network.layers.iter().enumerate() {
        let row = &profile.network.prices.rows[i];
        for (item, estimate) in row.iter().zip(&profile.estimates[i]) {
            table.add_row([
                profile.names[i].clone(),
                layer.op.name().to_owned(),
                item.level.to_string(),
                item.bytes.to_string(),
                latency::cycles(&profile.network, i, item.level, Core::default()).to_string(),
                report::change(estimate.price),
                match profile.samples {
                    0 | 1 => "-".to_owned(),
                    _ => report::loss(estimate.standard_error),
                },
            ]);
        }
    }
    report::print_table(&table);
    say!("\ncycles: modelled for {}", Core::default().name());
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
                "cycles": latency::cycles(&profile.network, i, item.level, Core::default()),
                "price": estimate.price,
                "standard_error": (profile.samples > 1).then_some(estimate.standard_error),
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
        "refine": origin.refine,
        "loss": origin.loss.name(),
        "rounding": origin.rounding.name(),
        "per_tensor": origin.per_tensor,
        "bias_correction": origin.bias_correction,
        "forward_passes": profile.effort.forward_passes,
        "backward_passes": profile.effort.backward_passes,
        "seconds": profile.effort.seconds,
        "clip": origin.clip.to_string(),
        "temperature": profile.temperature,
        "fp32": {
            "loss": profile.fp32_loss,
            "raw_loss": profile.fp32_raw_loss,
            "accuracy": report::accuracy(origin.loss).map(|_| profile.fp32_accuracy),
        },
        "unseen": profile.unseen.iter().map(|i| profile.names[*i].as_str()).collect::<Vec<_>>(),
        "core": Core::default().name(),
        "price_unit": profile.network.prices.unit,
        "layers": layers.collect::<Vec<_>>(),
    })
}

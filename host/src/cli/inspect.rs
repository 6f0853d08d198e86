//! `bitbudget inspect`

use std::path::PathBuf;

use bitbudget::file::{self, FileError};
use bitbudget::latency::{self, Core};
use bitbudget::profile::Profile;
use bitbudget_core::network::Preprocess;
use bitbudget_core::state::stack_bytes;
use clap::Args;
use serde_json::json;

use super::network_file::{Source, parse_image};
use super::target::Target;
use super::{Outcome, profile, report};

/// Show what is in a profile or an image
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  bitbudget inspect resnet8.image")]
pub(crate) struct Inspect {
    /// Profile or image
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(crate) fn run(self) -> Outcome {
        let bytes = file::read(&self.file)?;
        if Profile::matches(&bytes) {
            let profile = Profile::decode(&self.file, &bytes)?;
            if self.json {
                return report::print_json(&profile::json(&profile));
            }
            profile::print(&profile);
            return Ok(());
        }
        if !bytes.starts_with(&bitbudget_core::image::MAGIC) {
            let (path, kind) = (self.file, "profile or image");
            return Err(FileError::Kind { path, kind }.into());
        }
        let source = Source::of_image(&parse_image(&self.file, &bytes)?, &Target::RAM)?;
        if self.json {
            return report::print_json(&image_json(&source, bytes.len()));
        }
        print_image(&source, bytes.len());
        Ok(())
    }
}

fn print_image(source: &Source, image_bytes: usize) {
    let network = &source.network;
    say!(
        "image of {image_bytes} bytes, version {}: input {}, output {}",
        bitbudget_core::image::VERSION,
        network.input,
        network.output_shape(),
    );
    say!("{}", inputs(&network.preprocess));
    say!("{}", source.beside());
    say!(
        "all in FP32: {} bytes of activations, {} of weights\n",
        network.fp32_arena_bytes(),
        network.fp32_weight_bytes()
    );
    let mut table = report::table(&[
        "layer",
        "operator",
        "inputs",
        "output",
        "MACs",
        "scale",
        "zero point",
        "levels: bytes, price",
    ]);
    for (i, layer) in network.layers.iter().enumerate() {
        let inputs = layer
            .inputs
            .iter()
            .map(|t| match usize::from(*t).checked_sub(1) {
                None => "input".to_owned(),
                Some(producer) => source.names[producer].clone(),
            });
        let items = network.prices.rows[i].iter().map(|item| {
            let price = report::change(source.loss(i64::from(item.price)));
            format!("{} {} {price}", item.level, item.bytes)
        });
        table.add_row([
            source.names[i].clone(),
            layer.op.name().to_owned(),
            inputs.collect::<Vec<_>>().join(", "),
            layer.output.to_string(),
            layer
                .op
                .macs(network.input_shape(i), layer.output)
                .to_string(),
            format!("{:.3e}", layer.output_q.scale),
            layer.output_q.zero_point.to_string(),
            items.collect::<Vec<_>>().join("; "),
        ]);
    }
    report::print_table(&table);
}

fn image_json(source: &Source, image_bytes: usize) -> serde_json::Value {
    let network = &source.network;
    let layers = network.layers.iter().enumerate().map(|(i, layer)| {
        let levels = network.prices.rows[i].iter().map(|item| {
            json!({
                "level": item.level.name(),
                "bytes": item.bytes,
                "cycles": latency::cycles(network, i, item.level, Core::default()),
                "price": source.loss(i64::from(item.price)),
            })
        });
        json!({
            "name": source.names[i],
            "operator": layer.op.name(),
            "inputs": layer.inputs.as_slice(),
            "output": layer.output.to_string(),
            "macs": layer.op.macs(network.input_shape(i), layer.output),
            "output_scale": layer.output_q.scale,
            "output_zero_point": layer.output_q.zero_point,
            "levels": levels.collect::<Vec<_>>(),
        })
    });
    json!({
        "kind": "image",
        "version": bitbudget_core::image::VERSION,
        "image_bytes": image_bytes,
        "state_bytes": source.state_bytes(),
        "stack_bytes": stack_bytes(network.layers.len()),
        "input": network.input.to_string(),
        "scale": network.preprocess.scale,
        "mean": network.preprocess.mean.as_slice(),
        "std": network.preprocess.std.as_slice(),
        "fp32_arena_bytes": network.fp32_arena_bytes(),
        "fp32_weight_bytes": network.fp32_weight_bytes(),
        "core": Core::default().name(),
        "price_unit": network.prices.unit,
        "layers": layers.collect::<Vec<_>>(),
    })
}

/// How raw values become inputs, in words.
fn inputs(preprocess: &Preprocess) -> String {
    let list = |values: &[f32]| {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        match &values[..] {
            [value] => value.clone(),
            values => format!("({})", values.join(", ")),
        }
    };
    let mut formula = format!("raw * {}", preprocess.scale);
    if !preprocess.mean.is_empty() {
        formula = format!("{formula} - {}", list(&preprocess.mean));
    }
    if !preprocess.std.is_empty() {
        formula = format!("({formula}) / {}", list(&preprocess.std));
    }
    format!("inputs are {formula}")
}

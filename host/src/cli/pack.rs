//! `bitbudget pack`

use std::path::PathBuf;

use bitbudget::profile::Profile;
use bitbudget::{file, import, pack};
use clap::Args;
use serde_json::json;

use super::{Outcome, report};

/// Pack a model and its profile into one image for the device
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  bitbudget pack resnet8.onnx resnet8.profile -o resnet8.image")]
pub(crate) struct Pack {
    /// The model that was profiled
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Its profile
    #[arg(value_name = "FILE.profile")]
    profile: PathBuf,
    /// The image to write
    #[arg(short, long, value_name = "NAME.image")]
    output: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Pack {
    pub(crate) fn run(self) -> Outcome {
        let profile = Profile::decode(&self.profile, &file::read(&self.profile)?)?;
        let image = pack::pack(&import::load(&self.model)?, &profile)?;
        file::write(&self.output, &image)?;
        if self.json {
            return report::print_json(&json!({
                "image": self.output.display().to_string(),
                "image_bytes": image.len(),
            }));
        }
        say!(
            "{}: {} ({} layers, metric {})",
            self.output.display(),
            report::bytes(image.len() as u64),
            profile.network.layers.len(),
            profile.origin.metric,
        );
        Ok(())
    }
}

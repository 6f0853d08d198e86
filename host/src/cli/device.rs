//! `bitbudget device`

use std::path::PathBuf;
use std::time::Duration;

use bitbudget::device::{self, Unit};
use clap::Args;

use super::Outcome;
use super::data::Data;
use super::on_device::Job;
use super::target::{BudgetArgs, TargetArgs};

/// Run an image in the firmware, on a board at a serial port
///
/// As `bitbudget emulate`, with a board that runs the firmware already.
#[derive(Args, Debug)]
#[command(mut_arg("data", |data| data.required(false)))]
#[command(after_help = "Example:\n  \
    bitbudget device --port /dev/ttyACM0 digits.image --budget 40KiB --data test_images.npy --limit 8")]
pub(crate) struct Device {
    /// Image; sent over the wire unless the firmware has it linked in
    #[arg(value_name = "FILE.image")]
    image: PathBuf,
    /// The serial port, such as /dev/ttyACM0 or COM3
    #[arg(long, value_name = "PATH")]
    port: String,
    /// Its speed
    #[arg(long, default_value_t = 115_200)]
    baud: u32,
    /// Seconds that the board may take for an answer
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    #[command(flatten)]
    data: Option<Data>,
    #[command(flatten)]
    budgets: BudgetArgs,
    #[command(flatten)]
    target: TargetArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Device {
    pub(crate) fn run(self) -> Outcome {
        let job = Job {
            image: &self.image,
            data: self.data.as_ref(),
            budgets: &self.budgets.ram,
            target: self.target.get(),
            unit: Unit::Cycles,
            json: self.json,
        };
        let timeout = Duration::from_secs(self.timeout);
        job.run(|| Ok(device::open_port(&self.port, self.baud, timeout)?))
    }
}

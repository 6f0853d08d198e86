//! `bitbudget device`

use std::path::PathBuf;
use std::time::Duration;

use bitbudget::device::{self, Unit};
use clap::Args;

use super::Outcome;
use super::data::Data;
use super::measure::{MeasureArgs, Measurement};
use super::on_device::Job;
use super::target::{BudgetArgs, TargetArgs};

/// Run an image in the firmware, on a board at a serial port
///
/// As `bitbudget emulate`, with a board that runs the firmware already.
#[derive(Args, Debug)]
#[command(mut_arg("data", |data| data.required(false)))]
#[command(mut_arg("ram", |ram| ram.required(false).required_unless_present("output")))]
#[command(after_help = "Example:\n  \
    bitbudget device --port /dev/ttyACM0 digits.image --budget 40KiB --data test_images.npy --limit 8\n  \
    bitbudget device --port /dev/ttyACM0 digits.image --measure measured.image")]
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
    #[command(flatten)]
    measure: MeasureArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Device {
    pub(crate) fn run(self) -> Outcome {
        let timeout = Duration::from_secs(self.timeout);
        let connect = || Ok(device::open_port(&self.port, self.baud, timeout)?);
        if let Some(output) = &self.measure.output {
            let measurement = Measurement {
                image: &self.image,
                data: self.data.as_ref(),
                firmware: None,
                output,
                unit: Unit::Cycles,
                json: self.json,
            };
            return measurement.run(connect);
        }
        let job = Job {
            image: &self.image,
            data: self.data.as_ref(),
            budgets: &self.budgets.ram,
            target: self.target.get(),
            unit: Unit::Cycles,
            json: self.json,
        };
        job.run(connect)
    }
}

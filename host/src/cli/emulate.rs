//! `bitbudget emulate`

use std::path::{Path, PathBuf};

use bitbudget::device::Unit;
use bitbudget::file::{self, Content};
use clap::Args;
use miette::miette;

use super::Outcome;
use super::board::BoardArgs;
use super::data::Data;
use super::measure::{MeasureArgs, Measurement};
use super::network_file::Source;
use super::on_device::Job;
use super::target::{BudgetArgs, TargetArgs};

/// Run an image in the firmware, on an emulated microcontroller
///
/// The firmware plans for each budget in turn, as it would when its memory comes and goes, and runs the
/// images, if there are any. Plans and outputs are compared with the host's, bit for bit. With --measure it
/// counts what the layers take instead. Needs QEMU.
#[derive(Args, Debug)]
#[command(mut_arg("data", |data| data.required(false)))]
#[command(mut_arg("ram", |ram| ram.required(false).required_unless_present("output")))]
#[command(after_help = "Example:\n  \
    bitbudget emulate digits.image --budget 100%,90KiB,30% --data test_images.npy --limit 8\n  \
    bitbudget emulate digits.image --budget 100%,90KiB,30%\n  \
    bitbudget emulate digits.image --measure measured.image")]
pub(crate) struct Emulate {
    /// Image; sent over the wire unless the firmware has it linked in
    #[arg(value_name = "FILE.image")]
    image: PathBuf,
    #[command(flatten)]
    data: Option<Data>,
    #[command(flatten)]
    budgets: BudgetArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    measure: MeasureArgs,
    #[command(flatten)]
    board: BoardArgs,
    /// Keep the firmware's log in this file; `defmt-print -e ELF < FILE` shows it
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The content that a log may replace: it has no beginning of its own, so only a name that says so tells one.
fn log_content(path: &Path) -> Content {
    let is_log = path.extension().is_some_and(|extension| extension == "log");
    Content {
        name: "a log (*.log)",
        starts: match is_log {
            true => |start| !Source::matches(start) && !start.starts_with(b"\x7fELF"),
            false => |_| false,
        },
    }
}

impl Emulate {
    pub(crate) fn run(self) -> Outcome {
        if let (Some(log), true) = (&self.log, self.log == self.measure.output) {
            return Err(miette!(
                help = "name a file for each",
                "--log and --measure both write {}",
                log.display()
            ));
        }
        if let Some(path) = &self.log {
            let data = self.data.iter().flat_map(Data::inputs);
            let others = [self.image.as_path()]
                .into_iter()
                .chain(self.board.firmware());
            let inputs: Vec<&Path> = data.chain(others).collect();
            file::check_output(path, log_content(path), &inputs)?;
        }
        let start = || self.board.start(self.log.as_deref());
        if let Some(output) = &self.measure.output {
            let measurement = Measurement {
                image: &self.image,
                data: self.data.as_ref(),
                firmware: self.board.firmware(),
                output,
                unit: Unit::Instructions,
                json: self.json,
            };
            return measurement.run(start);
        }
        let job = Job {
            image: &self.image,
            data: self.data.as_ref(),
            budgets: &self.budgets.ram,
            target: self.target.get(),
            unit: Unit::Instructions,
            json: self.json,
        };
        job.run(start)
    }
}

//! What `emulate --measure` and `device --measure` share: an image with the cycles that a board takes.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use bitbudget::bench::{Bench, Measured};
use bitbudget::capacity::HostImage;
use bitbudget::device::Unit;
use bitbudget::evaluate::sample;
use bitbudget::{file, pack};
use bitbudget_core::place::Place;
use clap::Args;
use serde_json::{Value, json};

use super::data::{Data, dims};
use super::network_file::{IMAGE, parse_image, place_name};
use super::{Outcome, report};

/// What is measured rather than run.
#[derive(Args, Debug)]
pub(crate) struct MeasureArgs {
    /// Measure every level of every layer, with the weights in flash and in RAM, and write an image with these
    /// cycles in place of modelled ones
    ///
    /// Plans for that image, wherever they are made, keep to what was measured. In the emulator the counts are
    /// instructions, and flash is as fast as RAM. No budgets are needed; of --data the first image is run,
    /// without it one of random bytes. What the board has no room for in RAM has the cycles that it takes in
    /// flash; what it cannot read in flash has those in RAM.
    #[arg(
        long = "measure",
        value_name = "OUT.image",
        conflicts_with_all = ["ram", "place", "cycles"]
    )]
    pub(crate) output: Option<PathBuf>,
}

/// What to measure, and where to write it.
pub(crate) struct Measurement<'a> {
    pub(crate) image: &'a Path,
    pub(crate) data: Option<&'a Data>,
    pub(crate) firmware: Option<&'a Path>,
    pub(crate) output: &'a Path,
    pub(crate) unit: Unit,
    pub(crate) json: bool,
}

impl Measurement<'_> {
    /// Measures on the device at the end of the pipe that `connect` gives.
    pub(crate) fn run<P: Read + Write>(
        &self,
        connect: impl FnOnce() -> miette::Result<P>,
    ) -> Outcome {
        let data = self.data.into_iter().flat_map(Data::inputs);
        let others = [self.image].into_iter().chain(self.firmware);
        let inputs: Vec<&Path> = data.chain(others).collect();
        file::check_output(self.output, IMAGE, &inputs)?;
        let bytes = file::read(self.image)?;
        let image = parse_image(self.image, &bytes)?;
        let shape = image.network().input;
        let data = self.data.map(|data| data.load(shape)).transpose()?;
        let sample_len = dims(shape).iter().product();
        let first = data.as_ref().filter(|data| data.len > 0);
        let first = first.map(|data| sample(data, 0, sample_len));
        let mut bench = Bench::begin(connect()?, self.unit)?;
        let bar = report::progress("measuring", bytes.len());
        let progress = |sent: usize| bar.set_position(sent as u64);
        let measured = bench.measure(&image, &bytes, first, &progress)?;
        bar.finish_and_clear();
        let written = pack::with_cycles(&image, &measured.network)?;
        file::write(self.output, &written)?;
        self.warn(&measured, bench.board());
        if self.json {
            return report::print_json(&self.json(&image, &measured, bench.board()));
        }
        let rows = &measured.network.prices.rows;
        say!(
            "{}: measured {} items of {} layers on {} ({})",
            report::printable(&self.output.display().to_string()),
            rows.iter().map(|row| row.len()).sum::<usize>(),
            rows.iter().filter(|row| !row.is_empty()).count(),
            report::printable(bench.board()),
            self.unit.name(),
        );
        Ok(())
    }

    /// Tells what the cycles are not.
    fn warn(&self, measured: &Measured, board: &str) {
        let count = |place: Place| {
            let items = measured.unmeasured.iter();
            items.filter(|item| item.place == place).count()
        };
        let board = report::printable(board);
        match count(Place::Ram) {
            0 => {}
            count => report::complain(
                "warning",
                &format!(
                    "{board} has no room in RAM for {count} of the items; these have the cycles that they take in flash"
                ),
            ),
        }
        match (count(Place::Flash), self.unit, measured.linked) {
            (0, Unit::Instructions, _) | (0, Unit::Cycles, true) => {}
            (0, Unit::Cycles, false) => report::complain(
                "warning",
                "the image was sent to the board's RAM, and the cycles in flash are those of reading it there; link it into the firmware to measure flash: BITBUDGET_IMAGE=FILE.image cargo firmware",
            ),
            (count, Unit::Instructions | Unit::Cycles, _) => report::complain(
                "warning",
                &format!(
                    "{board} cannot read {count} of the items in flash; these have the cycles that they take in RAM, plan with --place ram"
                ),
            ),
        }
    }

    fn json(&self, image: &HostImage<'_>, measured: &Measured, board: &str) -> Value {
        let rows = measured.network.prices.rows.iter().enumerate();
        let items = rows.flat_map(|(layer, row)| {
            row.iter().map(move |item| {
                json!({
                    "name": image.name(layer),
                    "level": item.level.name(),
                    "flash": item.cycles.flash,
                    "ram": item.cycles.ram,
                })
            })
        });
        let unmeasured = measured.unmeasured.iter().map(|item| {
            json!({
                "name": image.name(item.layer),
                "level": item.level.name(),
                "place": place_name(item.place),
            })
        });
        json!({
            "image": self.output.display().to_string(),
            "board": board,
            "unit": self.unit.name(),
            "linked": measured.linked,
            "items": items.collect::<Vec<_>>(),
            "not_measured": unmeasured.collect::<Vec<_>>(),
        })
    }
}

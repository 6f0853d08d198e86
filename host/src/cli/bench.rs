//! `bitbudget bench`

use std::path::{Path, PathBuf};

use bitbudget::bench::{self, Baseline, Bench as Counter, GROWTH, Row, Skipped};
use bitbudget::device::Unit;
use bitbudget::file;
use clap::Args;
use miette::miette;
use serde_json::{Value, json};

use super::Outcome;
use super::board::BoardArgs;
use super::network_file::parse_image;
use super::report::{self, Table};

/// Count the instructions that layers take, on an emulated board
///
/// Without an image: layers of many shapes and a whole network (a plain ResNet8, random weights), at every
/// level, beside CMSIS-NN's counts of the same where they are known. With an image: its layers at each of
/// their levels, and the whole of it at each level that all of its layers with weights offer.
///
/// A layer's count is everything that makes its output tensor of its input tensors; a layer without weights
/// has the level of the layers that read what it reads. `network` is all layers together; what makes the
/// input tensor of a sample's bytes is `sample`, what brings all weights to RAM `copy`; `solve` and
/// `re-copy` are a plan with all levels to choose from, in half the memory of the plan before.
///
/// Scratch is the RAM beside weights and activations: the stack that the layer writes below the engine's
/// caller. Counts are exact and the same every time; they are instructions, not cycles. Needs QEMU.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    bitbudget bench\n  \
    bitbudget bench digits.image --board mps2-an500\n  \
    bitbudget bench --keep counts.json    # then, after a change:\n  \
    bitbudget bench --against counts.json")]
pub(crate) struct Bench {
    /// Image whose layers are counted
    #[arg(value_name = "FILE.image")]
    image: Option<PathBuf>,
    #[command(flatten)]
    board: BoardArgs,
    /// Save the counts to FILE
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Compare with the counts in this file, and fail where one has grown by more than 1 %
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Counts of one run.
struct Report {
    board: String,
    /// Whether the rows are those that CMSIS-NN was counted with.
    is_table: bool,
    rows: Vec<Row>,
    skipped: Vec<Skipped>,
    kept: Option<Baseline>,
}

impl Bench {
    pub(crate) fn run(self) -> Outcome {
        if let Some(path) = &self.keep {
            let inputs = [
                self.image.as_deref(),
                self.board.firmware(),
                self.against.as_deref(),
            ];
            let inputs: Vec<&Path> = inputs.into_iter().flatten().collect();
            file::check_output(path, Baseline::CONTENT, &inputs)?;
        }
        let bytes = self.image.as_ref().map(|path| file::read(path));
        let bytes = bytes.transpose()?.unwrap_or_default();
        let image = self.image.as_ref().map(|path| parse_image(path, &bytes));
        let image = image.transpose()?;
        let kept = self.against.as_ref();
        let kept = kept.map(|path| Baseline::open(path, self.board.name()));
        let kept = kept.transpose()?;
        let mut counter = Counter::begin(self.board.start(None)?, Unit::Instructions)?;
        let board = counter.board().to_owned();
        let bar = report::progress("counting", bytes.len());
        let (rows, skipped) = match &image {
            Some(image) => {
                let progress = |sent: usize| bar.set_position(sent as u64);
                counter.image(image, &bytes, &progress)?
            }
            None => {
                let progress = |sent: usize, total: usize| {
                    bar.set_length(total as u64);
                    bar.set_position(sent as u64);
                };
                (counter.table(&progress)?, Vec::new())
            }
        };
        bar.finish_and_clear();
        let report = Report {
            board,
            is_table: image.is_none(),
            rows,
            skipped,
            kept,
        };
        if let Some(path) = &self.keep {
            Baseline::new(&report.board, &report.rows).save(path)?;
        }
        if self.json {
            report::print_json(&report.json())?;
        } else {
            report.print();
        }
        report.outcome()
    }
}

impl Report {
    fn print(&self) {
        let mut columns = vec!["layer", "level", "MACs", "instructions", "each", "scratch"];
        let compared = self.rows.iter().any(|row| self.cmsis_nn(row).is_some());
        if compared {
            columns.extend(["CMSIS-NN", "ratio"]);
        }
        if self.kept.is_some() {
            columns.extend(["kept", "change"]);
        }
        let mut table = report::table(&columns);
        let mut last = "";
        for row in &self.rows {
            let name = if row.name == last { "" } else { &row.name };
            last = &row.name;
            self.add_row(&mut table, name, row, compared);
        }
        report::print_table(&table);
        say!(
            "\n{}: executed instructions; each is per MAC, without MACs per element that is read",
            self.board
        );
        for skipped in &self.skipped {
            say!(
                "not counted: all layers at {} take {}, the board has {}",
                skipped.level,
                report::bytes(skipped.needed_bytes),
                report::bytes(skipped.arena_bytes as u64),
            );
        }
    }

    fn add_row(&self, table: &mut Table, name: &str, row: &Row, compared: bool) {
        let or_blank = |text: Option<String>| text.unwrap_or_default();
        let each = row.per_mac().or_else(|| row.per_element());
        let mut cells = vec![
            name.to_owned(),
            row.level.clone(),
            or_blank((row.macs > 0).then(|| row.macs.to_string())),
            row.instructions.to_string(),
            or_blank(each.map(|each| format!("{each:.3}"))),
            or_blank(row.scratch_bytes.map(|bytes| report::bytes(bytes.into()))),
        ];
        if compared {
            let count = self.cmsis_nn(row);
            let ratio = count.map(|count| format!("{:.2}", ratio(row, count)));
            cells.extend([
                or_blank(count.map(|count| count.to_string())),
                or_blank(ratio),
            ]);
        }
        if self.kept.is_some() {
            let kept = self.kept_count(row);
            let change = kept.map(|kept| format!("{:+.2} %", 100.0 * (ratio(row, kept) - 1.0)));
            cells.extend([
                or_blank(kept.map(|kept| kept.to_string())),
                or_blank(change),
            ]);
        }
        table.add_row(cells);
    }

    fn cmsis_nn(&self, row: &Row) -> Option<u64> {
        let count = bench::cmsis_nn(&self.board, &row.name, &row.level);
        count.filter(|_| self.is_table)
    }

    fn kept_count(&self, row: &Row) -> Option<u64> {
        self.kept.as_ref()?.instructions(&row.name, &row.level)
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let count = self.cmsis_nn(row);
            let mut json = json!({
                "name": row.name,
                "level": row.level,
                "macs": row.macs,
                "instructions": row.instructions,
                "per_mac": row.per_mac(),
                "per_element": row.per_element(),
                "scratch_bytes": row.scratch_bytes,
                "cmsis_nn_instructions": count,
                "cmsis_nn_ratio": count.map(|count| ratio(row, count)),
            });
            if self.kept.is_some() {
                json["kept_instructions"] = self.kept_count(row).into();
            }
            json
        });
        let skipped = self.skipped.iter().map(|skipped| {
            json!({
                "level": skipped.level.name(),
                "needed_bytes": skipped.needed_bytes,
                "device_bytes": skipped.arena_bytes,
            })
        });
        json!({
            "board": self.board,
            "rows": rows.collect::<Vec<_>>(),
            "not_counted": skipped.collect::<Vec<_>>(),
        })
    }

    /// Fails where something has grown, or nothing could be counted.
    fn outcome(&self) -> Outcome {
        if self.rows.is_empty() {
            let help = "a model with smaller layers fits; `bitbudget inspect FILE.image` tells what they take";
            return Err(miette!(
                help = help,
                "{} has too little RAM for the image",
                self.board
            ));
        }
        let changes = self.kept.iter().flat_map(|kept| kept.changes(&self.rows));
        let mut count = 0;
        for change in changes {
            report::complain("changed", &change.to_string());
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        let help = "where it is meant to be so, keep the new counts: --keep FILE";
        Err(miette!(
            help = help,
            "{count} counts are not as kept, or grew by more than {:.0} %",
            100.0 * GROWTH
        ))
    }
}

fn ratio(row: &Row, to: u64) -> f64 {
    row.instructions as f64 / to as f64
}

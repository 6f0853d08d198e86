//! Output of results: tables, amounts, progress.
//!
//! Names come from files, so nothing reaches a terminal that could steer it.

use std::fmt::{self, Write as _};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use bitbudget::decimal;
use bitbudget::loss::{Changes, Loss};
use bitbudget_core::level::Level;
use bitbudget_core::plan::{Limits, Measure};
use comfy_table::{CellAlignment, presets};
use indicatif::{ProgressBar, ProgressStyle};
use miette::IntoDiagnostic;
use serde_json::{Map, Value};

use super::Outcome;

/// Whether a character would steer a terminal, or turn the direction of writing.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line of text with unprintable characters escaped, line breaks included.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if is_unprintable(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// A table of one line for each row.
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn add_row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0
            .add_row(cells.into_iter().map(|cell| printable(&cell)));
    }
}

/// A table with these columns; all but the first are aligned to the right.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        if column.index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Table(table)
}

/// Prints some lines; ends the program where they cannot be written.
pub(crate) fn lines(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let printable: Vec<String> = text.split('\n').map(printable).collect();
    written(writeln!(io::stdout(), "{}", printable.join("\n")));
}

/// Ends the program if writing to the standard output failed: quietly when nobody reads on
/// (`bitbudget … | head`), else with an error.
pub(crate) fn written(result: io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(0),
        Err(error) => {
            complain(
                "error",
                &format!("cannot write to the standard output: {error}"),
            );
            process::exit(1);
        }
    }
}

/// Writes `label: text` to the error stream, if anybody listens there; indented lines are lines of their own.
pub(crate) fn complain(label: &str, text: &str) {
    // a list's lines are indented; what begins a line otherwise comes from a name
    const INDENT: &str = "\n  ";
    let text: Vec<String> = text.split(INDENT).map(printable).collect();
    writeln!(io::stderr(), "{label}: {}", text.join(INDENT)).ok();
}

/// Prints a table without trailing blanks.
pub(crate) fn print_table(table: &Table) {
    for line in table.0.lines() {
        say!("{}", line.trim_end());
    }
}

/// Prints one JSON value.
pub(crate) fn print_json(value: &Value) -> Outcome {
    let json = serde_json::to_string_pretty(value).into_diagnostic()?;
    let mut printable = String::new();
    for c in json.chars() {
        if is_unprintable(c) && c != '\n' {
            // within a string, where JSON says so too
            write!(printable, "\\u{:04x}", u32::from(c)).into_diagnostic()?;
        } else {
            printable.push(c);
        }
    }
    say!("{printable}");
    Ok(())
}

/// Bytes for people: `812 B`, `85.3 KiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.2} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// A loss, or an error of one.
pub(crate) fn loss(loss: f64) -> String {
    decimal::fixed(loss, 6)
}

/// A change of loss, with its sign.
pub(crate) fn change(loss: f64) -> String {
    decimal::signed(loss, 6)
}

/// Name of the part of the samples whose largest output is the right one: that of the label, or the
/// FP32 model's. `None` where outputs are compared as numbers, which are no classes.
pub(crate) const fn accuracy(loss: Loss) -> Option<&'static str> {
    match loss {
        Loss::Calibrated | Loss::Labels => Some("accuracy"),
        Loss::Kl => Some("agreement"),
        Loss::Mse => None,
    }
}

/// The columns of [`change_cells`], the first under this name.
pub(crate) fn change_heads(first: &'static str, loss: Loss) -> Vec<&'static str> {
    let mut heads = vec![first, "+- s.e."];
    if loss == Loss::Calibrated {
        heads.extend(["raw", "+- s.e."]);
    }
    if let Some(accuracy) = accuracy(loss) {
        heads.extend([accuracy, "+- s.e."]);
    }
    heads
}

/// The changes of the losses, the accuracy, and how sure they are where there is more than one sample.
pub(crate) fn change_cells(
    loss: Loss,
    changes: &Changes,
    accuracy: f64,
    samples: usize,
) -> Vec<String> {
    let sure = |error: String| match samples {
        0 | 1 => String::new(),
        _ => error,
    };
    let mut cells = Vec::new();
    let raw = (loss == Loss::Calibrated).then_some(changes.raw);
    for of_loss in [changes.loss].into_iter().chain(raw) {
        cells.push(change(of_loss.mean));
        cells.push(sure(self::loss(of_loss.standard_error)));
    }
    if self::accuracy(loss).is_some() {
        let error = 100.0 * changes.accuracy.standard_error;
        cells.extend([percent(accuracy), sure(format!("{error:.2}"))]);
    }
    cells
}

/// What the columns of [`change_cells`] say.
pub(crate) fn change_notes(loss: Loss, temperature: f64) -> String {
    let of_loss = match loss {
        Loss::Calibrated => format!(
            "loss: cross-entropy of the outputs / {}, the temperature that suits FP32 best; raw: that of the outputs as they are",
            self::temperature(temperature)
        ),
        Loss::Labels => "loss: cross-entropy".to_owned(),
        Loss::Kl => {
            "loss: divergence from the FP32 outputs; agreement: the part whose class is FP32's"
                .to_owned()
        }
        Loss::Mse => "loss: squared difference from the FP32 outputs".to_owned(),
    };
    format!("{of_loss}; +-: paired standard errors of the changes from FP32")
}

/// A loss of FP32, with the raw one where that is another.
pub(crate) fn fp32_loss(of: Loss, value: f64, raw: f64) -> String {
    match of {
        Loss::Calibrated => format!("{} (raw {})", loss(value), loss(raw)),
        Loss::Labels | Loss::Kl | Loss::Mse => loss(value),
    }
}

/// A temperature.
pub(crate) fn temperature(temperature: f64) -> String {
    decimal::fixed(temperature, 3)
}

/// A fraction in percent.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

/// The layers' levels by name, for JSON.
pub(crate) fn levels_json(names: &[String], levels: &[Option<Level>]) -> Value {
    let pairs = names.iter().zip(levels);
    let chosen = pairs.filter_map(|(name, level)| Some((name.clone(), level.as_ref()?)));
    let chosen = chosen.map(|(name, level)| (name, Value::from(level.name())));
    Value::Object(chosen.collect::<Map<_, _>>())
}

/// The levels of a layout in short: `5 fp32, 3 int8`.
pub(crate) fn levels_short(levels: &[Option<Level>]) -> String {
    let counted = Level::ALL.into_iter().filter_map(|level| {
        let count = levels.iter().filter(|other| **other == Some(level)).count();
        (count > 0).then(|| format!("{count} {level}"))
    });
    counted.collect::<Vec<_>>().join(", ")
}

/// A progress bar on the error stream, shown only where that is a terminal.
pub(crate) fn progress(message: &'static str, len: usize) -> ProgressBar {
    let bar = ProgressBar::new(len as u64).with_message(message);
    let style = ProgressStyle::with_template("{msg:12} [{bar:40}] {pos}/{len} {eta}");
    bar.with_style(
        style
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    )
}

/// Says on the error stream what takes time, where someone reads it.
pub(crate) fn announce(what: &str) {
    if io::stderr().is_terminal() {
        writeln!(io::stderr(), "{what} ...").ok();
    }
}

/// A bar that starts anew when the message changes.
pub(crate) struct Phases {
    bar: ProgressBar,
    last: AtomicUsize,
}

impl Phases {
    pub(crate) fn new() -> Self {
        Self {
            bar: progress("", 0),
            last: AtomicUsize::new(usize::MAX),
        }
    }

    /// Shows `done` of `total` in the phase of this index and message.
    pub(crate) fn show(&self, phase: usize, message: &'static str, done: usize, total: usize) {
        if self.last.swap(phase, Ordering::Relaxed) != phase {
            self.bar.set_length(total as u64);
            self.bar.set_message(message);
            self.bar.reset_eta();
        }
        self.bar.set_position(done as u64);
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Limits as JSON; those that are none are left out.
pub(crate) fn limits_json(limits: &Limits) -> Value {
    let mut json = Map::new();
    for (measure, amount) in limits.iter() {
        let key = match measure {
            Measure::Ram => "ram_bytes",
            Measure::Cycles => "cycles",
            Measure::Weights => "weight_bytes",
        };
        json.insert(key.to_owned(), amount.into());
    }
    Value::Object(json)
}

/// Milliseconds in a sentence.
pub(crate) fn milliseconds(ms: f64) -> String {
    decimal::fixed(ms, if ms < 10.0 { 3 } else { 1 })
}

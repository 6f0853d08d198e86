//! How results are shown: tables, amounts, progress.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use bitbudget_core::level::Level;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use miette::IntoDiagnostic;
use serde_json::{Map, Value};

use super::Outcome;

/// A table with these columns; all but the first are aligned to the right.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        if column.index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Prints one line; ends the program quietly when nobody reads on (`bitbudget … | head`).
pub(crate) fn line(text: fmt::Arguments<'_>) {
    if writeln!(io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Prints a table without trailing blanks.
pub(crate) fn print_table(table: &Table) {
    for line in table.lines() {
        say!("{}", line.trim_end());
    }
}

/// Prints one JSON value.
pub(crate) fn print_json(value: &Value) -> Outcome {
    say!("{}", serde_json::to_string_pretty(value).into_diagnostic()?);
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

/// A change of loss, with its sign.
pub(crate) fn change(loss: f64) -> String {
    format!("{loss:+.6}")
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
        eprintln!("{what} ...");
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

//! `bitbudget boards`

use std::iter;

use bitbudget::board::{Board, Figure, Memory};
use bitbudget::decimal::amount;
use clap::Args;
use serde_json::json;

use super::{Outcome, report};

/// Width of a line of text.
const LINE: usize = 100;

/// Show the boards whose memories are known, or one with the sources of its figures
///
/// A board's figures are its clock, the sizes of its flash and of the RAM for the arena, and the time that a
/// 32-bit word of weights takes from either, in cycles in excess of a memory without wait states: weights
/// are read in order, so that what a cache line takes is divided by its words. Cycles of layers are
/// modelled where the model of a core fits.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  bitbudget boards\n  \
    bitbudget boards nucleo-f446re\n  \
    bitbudget boards my-board.toml --json\n\n\
    The file:\n  \
    name = \"my-board\"\n  \
    core = \"Cortex-M4F\"\n  \
    cycle_model = \"cortex-m4\"     # or leave it out: cycles are not modelled then\n  \
    clock_hz = 84_000_000\n  \
    flash = { bytes = 524_288, cycles_per_word = 0.75 }\n  \
    ram = { bytes = 98_304, cycles_per_word = 0 }\n  \
    A figure is a number, or a table of a value and its source: { value = 0.75, source = \"...\" }.\n  \
    A title may say more than the name. cycle_model is cortex-m4 (Cortex-M4 with FPU) or emulated\n  \
    (one cycle for each instruction of a core with DSP instructions and FPU).")]
pub(crate) struct Boards {
    /// A board's name, or a file that describes another
    #[arg(value_name = "NAME|FILE")]
    board: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Boards {
    pub(crate) fn run(self) -> Outcome {
        let Some(name) = &self.board else {
            let boards = Board::all()?;
            if self.json {
                return report::print_json(&json!({ "boards": boards }));
            }
            list(&boards);
            return Ok(());
        };
        let board = Board::find(name)?;
        if self.json {
            return report::print_json(&json!(board));
        }
        show(&board);
        Ok(())
    }
}

fn list(boards: &[Board]) {
    let mut table = report::table(&[
        "board",
        "core",
        "clock",
        "flash",
        "RAM",
        "word from flash",
        "word from RAM",
        "cycle model",
    ]);
    for board in boards {
        let cycles = |memory: &Memory| format!("+{}", amount(memory.cycles_per_word.value));
        table.add_row([
            board.name.clone(),
            board.core.clone(),
            clock(board),
            report::bytes(board.flash.bytes.value),
            report::bytes(board.ram.bytes.value),
            cycles(&board.flash),
            cycles(&board.ram),
            model(board).to_owned(),
        ]);
    }
    report::print_table(&table);
}

fn show(board: &Board) {
    let title = if board.title.is_empty() {
        String::new()
    } else {
        format!(": {}", board.title)
    };
    say!("{}{title}", report::printable(&board.name));
    say!("core: {}", report::printable(&board.core));
    say!("cycle model: {}", model(board));
    figure("clock", &clock(board), &board.clock_hz);
    for (name, memory) in [("flash", &board.flash), ("RAM", &board.ram)] {
        let Memory {
            bytes,
            cycles_per_word,
        } = memory;
        figure(name, &report::bytes(bytes.value), bytes);
        let waiting = format!("+{} cycles", amount(cycles_per_word.value));
        figure(&format!("word from {name}"), &waiting, cycles_per_word);
    }
}

fn figure<T>(name: &str, value: &str, figure: &Figure<T>) {
    say!("\n{name}: {value}");
    for line in wrapped(&figure.source) {
        say!("  {}", report::printable(&line));
    }
}

fn clock(board: &Board) -> String {
    format!("{} MHz", amount(board.clock_hz.value as f64 / 1e6))
}

fn model(board: &Board) -> &'static str {
    board.cycle_model.map_or("none", |core| core.name())
}

/// The lines of a text whose words are separated by blanks.
fn wrapped(text: &str) -> impl Iterator<Item = String> {
    let mut words = text.split_whitespace().peekable();
    iter::from_fn(move || {
        let mut line = words.next()?.to_owned();
        while let Some(word) = words.next_if(|word| line.len() + 1 + word.len() < LINE) {
            line.push(' ');
            line.push_str(word);
        }
        Some(line)
    })
}

//! The emulated board of a command.

use std::path::{Path, PathBuf};

use bitbudget::device::{self, BOARDS, Emulator, Machine};
use clap::Args;
use miette::miette;

use super::report;

/// Which board, and what runs on it.
#[derive(Args, Debug)]
pub(crate) struct BoardArgs {
    /// The firmware's program file; built from source when not given
    #[arg(long, value_name = "ELF")]
    firmware: Option<PathBuf>,
    /// The emulated board: mps2-an386 (M4F), mps2-an500 (M7), mps2-an385 (M3), mps2-an505 (M33),
    /// mps2-an383 (M0+), riscv32-virt (RV32IMAC)
    #[arg(long, default_value = BOARDS[0].name, value_parser = BOARDS.map(|board| board.name))]
    board: String,
}

impl BoardArgs {
    /// The board's name.
    pub(crate) fn name(&self) -> &str {
        &self.board
    }

    /// The firmware's file, if one was named.
    pub(crate) fn firmware(&self) -> Option<&Path> {
        self.firmware.as_deref()
    }

    /// Starts the firmware on the board; its log goes to the file `log`.
    pub(crate) fn start(&self, log: Option<&Path>) -> miette::Result<Emulator> {
        let board = Machine::named(&self.board).ok_or_else(|| miette!("no such board"))?;
        let built = match &self.firmware {
            Some(_) => None,
            None => {
                Emulator::check_installed(board)?;
                report::announce("building the firmware");
                Some(device::build(board)?)
            }
        };
        let firmware = self.firmware.as_ref().or(built.as_ref());
        let firmware = firmware.ok_or_else(|| miette!("no firmware"))?;
        Ok(Emulator::start(firmware, board, log)?)
    }
}

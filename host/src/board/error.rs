//! Why there is no board, or none with cycles.

use std::path::PathBuf;

use miette::Diagnostic;

use crate::file::FileError;

/// Why there is no board.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum BoardError {
    /// The program knows no board of this name.
    #[error("unknown board `{name}`; there are: {}", known.join(", "))]
    #[diagnostic(help("a file can describe another board: bitbudget boards --help"))]
    Unknown {
        /// The name as given.
        name: String,
        /// The names that there are.
        known: Vec<&'static str>,
    },
    /// The file cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
    /// The file describes no board.
    #[error(
        "{}, line {line}: {key}{}{reason}",
        path.display(),
        if key.is_empty() { "" } else { ": " }
    )]
    #[diagnostic(help("the format, with an example: bitbudget boards --help"))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// The key, such as `flash.bytes`; empty for the whole file.
        key: String,
        /// The fault, and what was expected.
        reason: String,
    },
}

/// Why a network's layers have no cycles on a board.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum CyclesError {
    /// The board has no model.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NoModel(#[from] NoCycleModel),
    /// An image has no room for so many.
    #[error("on {board} an inference may take {cycles} cycles, more than an image has room for")]
    #[diagnostic(help("at most {} fit", u32::MAX))]
    TooMany {
        /// The board's name.
        board: String,
        /// The cycles of all layers, each at its slowest.
        cycles: u64,
    },
}

/// A board whose cycles are not modelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error(
    "the cycles of {board} ({core}) are not modelled; boards with a model: {}",
    modelled.join(", ")
)]
#[diagnostic(help("a board's own file may name a model that fits: bitbudget boards --help"))]
pub struct NoCycleModel {
    /// The board's name.
    pub board: String,
    /// The name of its core.
    pub core: String,
    /// The known boards that have a model.
    pub modelled: Vec<String>,
}

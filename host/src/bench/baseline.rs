//! Baselines: instruction counts saved to a file, and what changed since.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Row;
use crate::file::{self, Content, FileError};

/// By how much a count may grow over the kept one.
pub const GROWTH: f64 = 0.01;

/// A table of counts as a file: JSON, one row in a line, sorted by name and level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// The board.
    pub board: String,
    rows: Vec<BaselineRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct BaselineRow {
    name: String,
    level: String,
    instructions: u64,
    scratch_bytes: Option<u32>,
}

/// Why kept counts cannot be compared with.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum BaselineError {
    /// The file could not be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
    /// The file holds something else.
    #[error("{} holds no counts: {reason}", path.display())]
    #[diagnostic(help("`bitbudget bench --keep FILE` writes such a file"))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The parser's complaint.
        reason: serde_json::Error,
    },
    /// The counts are another board's.
    #[error("{} holds the counts of {kept}, these are {board}'s", path.display())]
    #[diagnostic(help("give the file of this board, or --board {kept}"))]
    OtherBoard {
        /// The file.
        path: PathBuf,
        /// Its board.
        kept: String,
        /// The board that was counted on.
        board: String,
    },
}

/// A row that is not as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The row takes more instructions, beyond the [`GROWTH`] that is allowed.
    Grown {
        /// Its name and level.
        row: String,
        /// Instructions that were kept.
        kept: u64,
        /// Instructions that were counted.
        found: u64,
    },
    /// The row was not kept.
    New {
        /// Its name and level.
        row: String,
    },
    /// The row was kept, and is not counted any more.
    Gone {
        /// Its name and level.
        row: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grown { row, kept, found } => {
                let percent = 100.0 * (*found as f64 / *kept as f64 - 1.0);
                write!(
                    f,
                    "{row}: {found} instructions, {kept} were kept ({percent:+.2} %)"
                )
            }
            Self::New { row } => write!(f, "{row}: not among those kept"),
            Self::Gone { row } => write!(f, "{row}: kept, but not counted any more"),
        }
    }
}

impl Baseline {
    /// The content of its file.
    pub const CONTENT: Content = Content {
        name: "a table of counts",
        starts: |start| start.starts_with(b"{\"board\""),
    };

    /// These rows of a board, to keep.
    #[must_use]
    pub fn new(board: &str, rows: &[Row]) -> Self {
        let rows = rows.iter().map(|row| BaselineRow {
            name: row.name.clone(),
            level: row.level.clone(),
            instructions: row.instructions,
            scratch_bytes: row.scratch_bytes,
        });
        let mut rows: Vec<BaselineRow> = rows.collect();
        rows.sort();
        Self {
            board: board.to_owned(),
            rows,
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`BaselineError::File`].
    pub fn save(&self, path: &Path) -> Result<(), BaselineError> {
        let malformed = |reason| BaselineError::Malformed {
            path: path.into(),
            reason,
        };
        let rows = self.rows.iter().map(serde_json::to_string);
        let rows: Vec<String> = rows.collect::<Result<_, _>>().map_err(malformed)?;
        let board = serde_json::to_string(&self.board).map_err(malformed)?;
        let rows = rows.join(",\n");
        let text = format!("{{\"board\":{board},\"rows\":[\n{rows}\n]}}\n");
        Ok(file::write(path, text.as_bytes())?)
    }

    /// The counts in a file, of this board.
    ///
    /// # Errors
    /// [`BaselineError`].
    pub fn open(path: &Path, board: &str) -> Result<Self, BaselineError> {
        let kept = serde_json::from_slice(&file::read(path)?);
        let kept: Self = kept.map_err(|reason| BaselineError::Malformed {
            path: path.into(),
            reason,
        })?;
        if kept.board == board {
            return Ok(kept);
        }
        Err(BaselineError::OtherBoard {
            path: path.into(),
            kept: kept.board,
            board: board.to_owned(),
        })
    }

    /// The instructions that were kept for a row.
    #[must_use]
    pub fn instructions(&self, name: &str, level: &str) -> Option<u64> {
        let mut rows = self.rows.iter();
        let row = rows.find(|row| row.name == name && row.level == level);
        row.map(|row| row.instructions)
    }

    /// The rows that have grown, come or gone since.
    #[must_use]
    pub fn changes(&self, rows: &[Row]) -> Vec<Change> {
        let title = |name: &str, level: &str| format!("{name} at {level}");
        let mut changes = Vec::new();
        for row in rows {
            let (found, own) = (row.instructions, title(&row.name, &row.level));
            match self.instructions(&row.name, &row.level) {
                None => changes.push(Change::New { row: own }),
                Some(kept) if found as f64 > kept as f64 * (1.0 + GROWTH) => {
                    changes.push(Change::Grown {
                        row: own,
                        kept,
                        found,
                    });
                }
                Some(_) => {}
            }
        }
        for kept in &self.rows {
            let counted = |row: &Row| (&row.name, &row.level) == (&kept.name, &kept.level);
            if !rows.iter().any(counted) {
                let row = title(&kept.name, &kept.level);
                changes.push(Change::Gone { row });
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, instructions: u64) -> Row {
        Row {
            name: name.to_owned(),
            level: "int8".to_owned(),
            macs: 0,
            elements: 0,
            instructions,
            scratch_bytes: None,
        }
    }

    #[test]
    fn what_is_kept_comes_back_sorted_and_tells_what_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("counts.json");
        let kept = Baseline::new("abacus", &[row("b", 1_000), row("a", 2_000)]);
        kept.save(&path).expect("written");
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(text.find("\"a\"") < text.find("\"b\""), "{text}");
        assert_eq!(Baseline::open(&path, "abacus").expect("the same"), kept);
        let other = Baseline::open(&path, "loom").expect_err("another board");
        assert!(matches!(other, BaselineError::OtherBoard { .. }));
        assert_eq!(kept.changes(&[row("a", 2_020), row("b", 1)]), []);
        let changes = kept.changes(&[row("a", 2_021), row("c", 5)]);
        let told: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "a at int8: 2021 instructions, 2000 were kept (+1.05 %)",
                "c at int8: not among those kept",
                "b at int8: kept, but not counted any more",
            ]
        );
        std::fs::write(&path, "[]").expect("a file");
        let other = Baseline::open(&path, "abacus").expect_err("no counts");
        assert!(matches!(other, BaselineError::Malformed { .. }));
    }
}

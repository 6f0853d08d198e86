//! Trained models from files: one importer per format, all giving a [`Graph`].

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::graph::Graph;

pub mod onnx;
mod order;
mod sizes;
pub mod tflite;

use onnx::OnnxError;
use tflite::TfliteError;

pub use sizes::{InputShape, NoInputShape, Sizes};

/// The most bytes that a model file may have: 268 million FP32 weights, many times what any network has
/// that is planned for a device.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// Why a model file could not be imported.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum ImportError {
    /// The file could not be read.
    #[error("cannot read the model {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file is longer than any model can be.
    #[error("the model {} is larger than {MAX_FILE_BYTES} bytes", path.display())]
    #[diagnostic(help("is this the model file?"))]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Neither the file's name nor its first bytes tell a format that can be imported.
    #[error("{} is not in a model format that can be imported", path.display())]
    #[diagnostic(help(
        "ONNX models (*.onnx) and TensorFlow Lite models (*.tflite) can be imported; export one {}; `bitbudget \
         inspect` and `bitbudget analyze` tell what a file is and what a model takes",
        onnx::RE_EXPORT
    ))]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// An ONNX file could not be imported.
    #[error("cannot import the ONNX model {}", path.display())]
    #[diagnostic(forward(source))]
    Onnx {
        /// The file.
        path: PathBuf,
        /// The fault in the model.
        source: OnnxError,
    },
    /// A TensorFlow Lite file could not be imported.
    #[error("cannot import the TensorFlow Lite model {}", path.display())]
    #[diagnostic(forward(source))]
    Tflite {
        /// The file.
        path: PathBuf,
        /// The fault in the model.
        source: TfliteError,
    },
}

/// The formats that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Onnx,
    Tflite,
}

impl Format {
    /// The format that the file's extension names, else the one that its first bytes look like.
    fn of(path: &Path, bytes: &[u8]) -> Option<Self> {
        let extension = path.extension().unwrap_or_default();
        // no other format has these bytes there, whatever the file is called
        if tflite::looks_like_tflite(bytes) || extension.eq_ignore_ascii_case("tflite") {
            return Some(Self::Tflite);
        }
        (extension.eq_ignore_ascii_case("onnx") || onnx::looks_like_onnx(bytes))
            .then_some(Self::Onnx)
    }
}

/// The float model in the file at `path`; its format is told by the extension, else by the content.
///
/// The layers are in the order in which the activations take the least RAM at INT8, as far as the orders tell that
/// are tried; where none takes less than the file's, they are in the file's.
///
/// Every layer of the graph passes [`Op::check`](bitbudget_core::op::Op::check).
///
/// # Errors
/// When the file cannot be read, is damaged, or uses what the core has no operators for: then all
/// of that is listed in one error.
pub fn load(path: &Path) -> Result<Graph, ImportError> {
    load_sized(path, &Sizes::None)
}

/// As [`load`], with the sizes of the input that the model leaves open.
///
/// # Errors
/// As [`load`], and when they are not those of the model's input.
pub fn load_sized(path: &Path, sizes: &Sizes) -> Result<Graph, ImportError> {
    let bytes = read(path)?;
    let path = || path.to_path_buf();
    let graph = match Format::of(&path(), &bytes) {
        Some(Format::Onnx) => {
            let folder = path().parent().map(Path::to_path_buf);
            let parsed = onnx::parse_beside(&bytes, &folder.unwrap_or_default(), sizes);
            parsed.map_err(|source| ImportError::Onnx {
                path: path(),
                source,
            })
        }
        Some(Format::Tflite) => {
            let parsed = tflite::parse(&bytes, sizes);
            parsed.map_err(|source| ImportError::Tflite {
                path: path(),
                source,
            })
        }
        None => Err(ImportError::Format { path: path() }),
    };
    graph.map(order::by_least_ram)
}

fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    let failed = |source| ImportError::Read {
        path: path.to_path_buf(),
        source,
    };
    let too_large = || ImportError::TooLarge {
        path: path.to_path_buf(),
    };
    let file = File::open(path).map_err(failed)?;
    // before any of it is read; what is no file may say 0
    if file.metadata().map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_that_are_too_large_are_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.onnx");
        fs::write(&path, b"").expect("a file");
        let file = File::options().write(true).open(&path).expect("the file");
        // sparse: it takes no room
        file.set_len(1 << 40).expect("a length");
        assert!(matches!(load(&path), Err(ImportError::TooLarge { .. })));
    }
}

//! The bytes of an array: from a `.npy` file, or from an entry of an `.npz`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::read::ZipFile;

use crate::dataset::{self, DataError};

/// `true` if a file that starts so is a zip archive, as an `.npz` is.
pub(in crate::dataset) fn is_npz(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06")
}

/// Bytes that a byte of an entry may stand for where it is larger than [`SMALL_BYTES`]; images
/// rarely have more than ten, a bomb has a thousand.
const MAX_RATIO: u64 = 256;

/// An entry of this size is read whatever it was packed to.
const SMALL_BYTES: u64 = 32 << 20;

enum Bytes<'a> {
    File(BufReader<File>),
    Entry(Box<ZipFile<'a, BufReader<File>>>),
}

/// The bytes of one `.npy`, read from front to back.
pub(super) struct Source<'a> {
    /// The file; within an archive, `ARCHIVE/NAME.npy`.
    pub(super) path: PathBuf,
    bytes: Bytes<'a>,
    total_bytes: u64,
}

impl Source<'_> {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let (reader, total_bytes) = dataset::open(path)?;
        Ok(Self {
            path: path.into(),
            bytes: Bytes::File(reader),
            total_bytes,
        })
    }

    /// Checks the size of the whole: of the file, or of the entry as the archive's directory gives
    /// it.
    pub(super) fn expect_bytes(&self, expected_bytes: u64) -> Result<(), DataError> {
        if self.total_bytes == expected_bytes {
            return Ok(());
        }
        Err(DataError::FileSize {
            path: self.path.clone(),
            expected_bytes,
            found_bytes: self.total_bytes,
        })
    }

    /// The next `count` bytes, fewer at the end. Takes memory only for bytes that are there.
    pub(super) fn read_up_to(&mut self, count: usize) -> Result<Vec<u8>, DataError> {
        let mut buffer = Vec::new();
        let result = match &mut self.bytes {
            Bytes::File(file) => file.take(count as u64).read_to_end(&mut buffer),
            Bytes::Entry(entry) => entry.take(count as u64).read_to_end(&mut buffer),
        };
        result.map_err(|source| self.error(source))?;
        Ok(buffer)
    }

    /// The next `count` bytes.
    pub(super) fn read(&mut self, count: usize) -> Result<Vec<u8>, DataError> {
        let buffer = self.read_up_to(count)?;
        if buffer.len() < count {
            return Err(self.error(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(buffer)
    }

    pub(super) fn skip(&mut self, count: u64) -> Result<(), DataError> {
        let result = match &mut self.bytes {
            Bytes::File(file) => file.seek_relative(count.cast_signed()),
            Bytes::Entry(entry) => io::copy(&mut entry.take(count), &mut io::sink()).map(drop),
        };
        result.map_err(|source| self.error(source))
    }

    /// Reads an entry to its end, where the archive's checksum is compared.
    pub(super) fn finish(mut self) -> Result<(), DataError> {
        let result = match &mut self.bytes {
            Bytes::File(_) => Ok(0),
            Bytes::Entry(entry) => io::copy(entry, &mut io::sink()),
        };
        result.map(drop).map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> DataError {
        match self.bytes {
            Bytes::File(_) => dataset::io_error(&self.path, source),
            Bytes::Entry(_) => DataError::Archive {
                path: self.path.clone(),
                source,
            },
        }
    }
}

/// An `.npz`.
pub(super) struct Archive {
    path: PathBuf,
    file_bytes: u64,
    zip: ZipArchive<BufReader<File>>,
    /// The names of the arrays, sorted.
    pub(super) names: Vec<String>,
}

impl Archive {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let (reader, file_bytes) = dataset::open(path)?;
        let zip = ZipArchive::new(reader).map_err(|error| DataError::Archive {
            path: path.into(),
            source: error.into(),
        })?;
        let files = zip.file_names().filter_map(Result::ok);
        let names = files.filter_map(|file| file.strip_suffix(".npy").map(String::from));
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(Self {
            path: path.into(),
            file_bytes,
            zip,
            names,
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|found| found == name)
    }

    /// The array called `name`, which must be one of `names`.
    pub(super) fn array(&mut self, name: &str) -> Result<Source<'_>, DataError> {
        let file_name = format!("{name}.npy");
        let path = self.path.join(&file_name);
        let entry = match self.zip.by_name(&file_name) {
            Ok(entry) => entry,
            Err(error) => {
                let source = error.into();
                return Err(DataError::Archive { path, source });
            }
        };
        let total_bytes = entry.size();
        let packed_bytes = entry.compressed_size().min(self.file_bytes);
        if total_bytes > SMALL_BYTES.max(packed_bytes.saturating_mul(MAX_RATIO)) {
            return Err(DataError::Bomb {
                path,
                packed_bytes,
                unpacked_bytes: total_bytes,
            });
        }
        Ok(Source {
            path,
            bytes: Bytes::Entry(Box::new(entry)),
            total_bytes,
        })
    }
}

//! Files of bitbudget's own: a frame around postcard, and writes that never leave half a file.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crc::{CRC_32_ISO_HDLC, CRC_64_XZ, Crc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const CRC64: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);

/// A kind of framed file: magic (8 bytes), version (`u32`), postcard, CRC-32 of all before, integers
/// little-endian.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The file's first bytes.
    pub magic: [u8; 8],
    /// The version that this program reads and writes.
    pub version: u32,
    /// What to call it in errors.
    pub name: &'static str,
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum FileError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be written; what was there before is untouched.
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("does the folder exist, and may you write there?"))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is of another kind.
    #[error("{} is not a bitbudget {kind}", path.display())]
    #[diagnostic(help(
        "`bitbudget profile` writes profiles, `bitbudget pack` writes images; `bitbudget inspect` tells what a file is"
    ))]
    Kind {
        /// The file.
        path: PathBuf,
        /// What was expected.
        kind: &'static str,
    },
    /// The file is of a version that this program does not know.
    #[error("{} is a {kind} of version {found}, this program reads version {expected}", path.display())]
    #[diagnostic(help("make it again with this version of bitbudget"))]
    Version {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// Its version.
        found: u32,
        /// The version that can be read.
        expected: u32,
    },
    /// The file is cut off or was changed.
    #[error("{} is damaged: {reason}", path.display())]
    #[diagnostic(help("copy it again, or make it again"))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

/// The whole content of a file.
///
/// # Errors
/// [`FileError::Read`].
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|source| FileError::Read {
        path: path.into(),
        source,
    })
}

/// Writes a file as a whole: to a temporary file beside it, renamed when complete.
///
/// # Errors
/// [`FileError::Write`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let attempt = || {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        file.write_all(bytes)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // temporary files are private; what the user asked for need not be
            file.as_file()
                .set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path)?;
        Ok(())
    };
    attempt().map_err(|source| FileError::Write {
        path: path.into(),
        source,
    })
}

impl Kind {
    /// Whether `bytes` begin like a file of this kind.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(&self.magic)
    }

    /// Writes `value` as a file of this kind.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn save<T: Serialize>(&self, path: &Path, value: &T) -> Result<(), FileError> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        let bytes = postcard::to_extend(value, bytes).map_err(|e| FileError::Write {
            path: path.into(),
            source: io::Error::other(e),
        })?;
        let crc = CRC32.checksum(&bytes).to_le_bytes();
        write(path, &[bytes, crc.to_vec()].concat())
    }

    /// The value in `bytes`, the content of the file at `path`.
    ///
    /// # Errors
    /// [`FileError`] when it is of another kind or version, or damaged.
    pub fn decode<T: DeserializeOwned>(&self, path: &Path, bytes: &[u8]) -> Result<T, FileError> {
        let damaged = |reason: &str| FileError::Damaged {
            path: path.into(),
            reason: reason.into(),
        };
        if !self.matches(bytes) {
            return Err(FileError::Kind {
                path: path.into(),
                kind: self.name,
            });
        }
        let (body, crc) = bytes
            .split_last_chunk()
            .ok_or_else(|| damaged("it is cut off"))?;
        let version = body.get(8..12).and_then(|word| word.try_into().ok());
        let found = version
            .map(u32::from_le_bytes)
            .ok_or_else(|| damaged("it is cut off"))?;
        if found != self.version {
            return Err(FileError::Version {
                path: path.into(),
                kind: self.name,
                found,
                expected: self.version,
            });
        }
        if CRC32.checksum(body) != u32::from_le_bytes(*crc) {
            return Err(damaged("its checksum does not match"));
        }
        postcard::from_bytes(&body[12..]).map_err(|e| damaged(&e.to_string()))
    }
}

/// A fingerprint of anything that can be fed to it as bytes (CRC-64/XZ): tells files apart, proves
/// nothing against intent.
#[must_use]
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut digest = CRC64.digest();
    for part in parts {
        digest.update(part);
    }
    digest.finalize()
}

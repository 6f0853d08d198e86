//! Files of bitbudget's own: a frame around postcard, outputs that are checked before the work, and
//! writes that never leave half a file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
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
    /// Its name in errors.
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
    /// The file is too large for any that bitbudget reads.
    #[error("{} has more than {MAX_BYTES} bytes", path.display())]
    #[diagnostic(help("is it the right file?"))]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be written; what was there before is untouched.
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("may you write there, and is there room?"))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder of the file that is to be written does not exist.
    #[error("cannot write {}: there is no folder {}", path.display(), folder.display())]
    #[diagnostic(help("make the folder first, or name another"))]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// Something else than a file is where a file is to be written.
    #[error("cannot write {}: it is a {what}", path.display())]
    #[diagnostic(help("name a file"))]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// The kind of thing that is there.
        what: &'static str,
    },
    /// The file that is to be written is one that the command reads.
    #[error("cannot write {}: it is the input {}", path.display(), input.display())]
    #[diagnostic(help("name another file: an input is never replaced"))]
    IsInput {
        /// The file.
        path: PathBuf,
        /// The input, as it was named.
        input: PathBuf,
    },
    /// The file that is to be written exists and holds something else.
    #[error("cannot write {}: the file exists and is not {content}", path.display())]
    #[diagnostic(help("name another file, or remove this one first"))]
    OtherContent {
        /// The file.
        path: PathBuf,
        /// The content that was to be written, with its article.
        content: &'static str,
    },
    /// The file is of another kind.
    #[error("{} is not a bitbudget {kind}", path.display())]
    #[diagnostic(help(
        "`bitbudget profile` writes profiles, `bitbudget pack` writes images; `bitbudget inspect` tells what a file is, \
         `bitbudget analyze` what a model takes"
    ))]
    Kind {
        /// The file.
        path: PathBuf,
        /// The expected kind.
        kind: &'static str,
    },
    /// The file is of a version that this program does not know.
    #[error("{} is a {kind} of version {found}, this program reads version {expected}", path.display())]
    #[diagnostic(help("make it again with this version of bitbudget"))]
    Version {
        /// The file.
        path: PathBuf,
        /// Its kind.
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
        /// The reason to think so.
        reason: String,
    },
}

/// The most bytes that are read: images address their own with 32 bits.
const MAX_BYTES: u64 = 1 << 32;

/// The whole content of a file.
///
/// # Errors
/// [`FileError::Read`], [`FileError::TooLarge`].
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let attempt = || {
        let file = File::open(path)?;
        let announced = file.metadata()?.len();
        let mut bytes = Vec::new();
        if announced <= MAX_BYTES {
            bytes.try_reserve_exact(announced as usize)?;
            file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        }
        Ok((announced.max(bytes.len() as u64), bytes))
    };
    let (found, bytes) = attempt().map_err(|source| FileError::Read {
        path: path.into(),
        source,
    })?;
    if found > MAX_BYTES {
        return Err(FileError::TooLarge { path: path.into() });
    }
    Ok(bytes)
}

/// A kind of content, told by the first bytes.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    /// Its name in errors, with the article.
    pub name: &'static str,
    /// Whether a file that starts so, with up to [`START_BYTES`](Self::START_BYTES), holds it.
    pub starts: fn(&[u8]) -> bool,
}

impl Content {
    /// The most bytes that are looked at.
    pub const START_BYTES: usize = 16;

    /// A chart.
    pub const SVG: Self = Self {
        name: "an SVG chart",
        starts: |start| start.starts_with(b"<svg") || start.starts_with(b"<?xml"),
    };
}

/// Checks, before the work, that a file can be written afterwards: its folder is there and may be
/// written to, and the file is none of the inputs, under whatever name, and replaces nothing but a
/// file of the same content.
///
/// # Errors
/// [`FileError`].
pub fn check_output(path: &Path, content: Content, inputs: &[&Path]) -> Result<(), FileError> {
    let failed = |source| FileError::Write {
        path: path.into(),
        source,
    };
    let folder = folder_of(path);
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {
            if let Some(input) = inputs.iter().find(|input| is_same(path, input)) {
                return Err(FileError::IsInput {
                    path: path.into(),
                    input: input.into(),
                });
            }
            let mut start = Vec::new();
            let limit = Content::START_BYTES as u64;
            let file = File::open(path).map_err(failed)?;
            file.take(limit).read_to_end(&mut start).map_err(failed)?;
            if !start.is_empty() && !(content.starts)(&start) {
                return Err(FileError::OtherContent {
                    path: path.into(),
                    content: content.name,
                });
            }
        }
        Ok(found) => {
            let what = if found.is_dir() { "folder" } else { "device" };
            return Err(FileError::NotAFile {
                path: path.into(),
                what,
            });
        }
        Err(_) if !folder.is_dir() => {
            return Err(FileError::NoFolder {
                path: path.into(),
                folder: folder.into(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    NamedTempFile::new_in(&target(path).1)
        .map(drop)
        .map_err(failed)
}

/// Writes a file as a whole: to a temporary file beside it, on the disk when it is renamed. A
/// symbolic link stays, the file that it names is replaced.
///
/// # Errors
/// [`FileError::Write`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let attempt = || {
        let (target, folder) = target(path);
        let mut file = NamedTempFile::new_in(&folder)?;
        file.write_all(bytes)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // temporary files are private; what the user asked for need not be
            let before = fs::metadata(&target).map(|found| found.permissions());
            let permissions = before.unwrap_or_else(|_| fs::Permissions::from_mode(0o644));
            file.as_file().set_permissions(permissions)?;
        }
        file.as_file().sync_all()?;
        file.persist(target)?;
        // the new name lasts, too, where the file system can say so
        #[cfg(unix)]
        File::open(folder).and_then(|folder| folder.sync_all()).ok();
        Ok(())
    };
    attempt().map_err(|source| FileError::Write {
        path: path.into(),
        source,
    })
}

/// The file that a path leads to, and its folder.
fn target(path: &Path) -> (PathBuf, PathBuf) {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let folder = folder_of(&target).to_path_buf();
    (target, folder)
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Whether two paths lead to one file that exists.
fn is_same(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // hard links are one file under two names
        let id = |path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
        matches!((id(a), id(b)), (Ok(a), Ok(b)) if a == b)
    }
    #[cfg(not(unix))]
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

impl Kind {
    /// Whether `bytes` begin like a file of this kind.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(&self.magic)
    }

    /// The content of a file of this kind that holds `value`.
    ///
    /// # Errors
    /// Those of postcard.
    pub fn encode<T: Serialize>(&self, value: &T) -> postcard::Result<Vec<u8>> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        let mut bytes = postcard::to_extend(value, bytes)?;
        bytes.extend(CRC32.checksum(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// Writes `value` as a file of this kind.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn save<T: Serialize>(&self, path: &Path, value: &T) -> Result<(), FileError> {
        let bytes = self.encode(value).map_err(|e| FileError::Write {
            path: path.into(),
            source: io::Error::other(e),
        })?;
        write(path, &bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Content = Content {
        name: "a text",
        starts: |start| start.starts_with(b"text"),
    };

    #[test]
    fn outputs_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("input"), "text 1").unwrap();
        fs::write(at("before"), "text 2").unwrap();
        fs::write(at("empty"), "").unwrap();
        fs::write(at("other"), "\x08model").unwrap();
        let input = at("input");
        let check = |name: &str| check_output(&at(name), TEXT, &[&at("absent"), &input]);
        for name in ["new", "before", "empty"] {
            check(name).unwrap();
        }
        assert!(matches!(check("input"), Err(FileError::IsInput { .. })));
        assert!(matches!(
            check("../input/x"),
            Err(FileError::NoFolder { .. })
        ));
        assert!(matches!(check("no/x"), Err(FileError::NoFolder { .. })));
        assert!(matches!(check("input/x"), Err(FileError::NoFolder { .. })));
        let other = check("other");
        assert!(matches!(
            other,
            Err(FileError::OtherContent {
                content: "a text",
                ..
            })
        ));
        let itself = check_output(folder.path(), TEXT, &[]);
        assert!(matches!(
            itself,
            Err(FileError::NotAFile { what: "folder", .. })
        ));
        let entries = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(entries(), 4);

        #[cfg(unix)]
        {
            use std::os::unix::fs::{PermissionsExt, symlink};
            symlink("input", at("link")).unwrap();
            fs::hard_link(&input, at("hard")).unwrap();
            let indirect = folder.path().join("no/../input");
            fs::create_dir(at("no")).unwrap();
            for path in [at("link"), at("hard"), indirect] {
                let checked = check_output(&path, TEXT, &[&input]);
                assert!(matches!(checked, Err(FileError::IsInput { .. })));
            }
            let device = check_output(Path::new("/dev/null"), TEXT, &[]);
            assert!(matches!(
                device,
                Err(FileError::NotAFile { what: "device", .. })
            ));

            // what was there keeps its permissions, and a link leads where it led
            symlink("before", at("latest")).unwrap();
            fs::set_permissions(at("before"), fs::Permissions::from_mode(0o600)).unwrap();
            check_output(&at("latest"), TEXT, &[&input]).unwrap();
            write(&at("latest"), b"text 3").unwrap();
            assert_eq!(fs::read(at("before")).unwrap(), b"text 3");
            assert!(fs::symlink_metadata(at("latest")).unwrap().is_symlink());
            let mode = |name| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
            write(&at("new"), b"text").unwrap();
            assert_eq!((mode("before"), mode("new")), (0o600, 0o644));
        }
    }

    #[test]
    fn large_files_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        let file = File::create(&path).unwrap();
        if file.set_len(MAX_BYTES + 1).is_err() {
            println!("skipped: no sparse files of 4 GiB here");
            return;
        }
        assert!(matches!(read(&path), Err(FileError::TooLarge { .. })));
    }
}

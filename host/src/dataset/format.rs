//! Which format a set has, by name or by what lies there.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::{DataError, cifar10, folder, idx, npy};

/// The format of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A NumPy `.npy`, or an `.npz` with images and perhaps labels.
    Npy,
    /// CIFAR-10's binary version.
    Cifar10,
    /// MNIST's IDX files of unsigned bytes.
    Idx,
    /// A folder of PNG or JPEG files, or with one sub-folder of them per class.
    Folder,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Npy, Self::Cifar10, Self::Idx, Self::Folder];

    /// The name that [`FromStr`] reads.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Cifar10 => "cifar10",
            Self::Idx => "idx",
            Self::Folder => "folder",
        }
    }

    /// The format called `name`, or `None` for `auto`: what
    /// [`LoadOptions::format`](super::LoadOptions::format) takes.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownFormatName`].
    pub fn parse_or_auto(name: &str) -> Result<Option<Self>, DataError> {
        if name == "auto" {
            return Ok(None);
        }
        name.parse().map(Some)
    }

    /// The format of what lies at `path`, told by its name, its size and its first bytes.
    ///
    /// A folder with `.bin` files is CIFAR-10, one with sub-folders, PNG or JPEG files is
    /// [`Self::Folder`]. A file is
    /// NumPy by its extension or its first bytes, CIFAR-10 if it is a `.bin` of whole 3073-byte
    /// records, IDX by its magic number.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownFormat`] when nothing fits, [`DataError::Compressed`] for a gzip file,
    /// [`DataError::EmptyFolder`], or the file cannot be opened.
    pub fn detect(path: &Path) -> Result<Self, DataError> {
        if super::stat(path)?.is_dir() {
            return Self::detect_folder(path);
        }
        let (mut reader, file_bytes) = super::open(path)?;
        let start = super::read_up_to(&mut reader, 8, path)?;
        if super::has_extension(path, &["npy", "npz"]) || npy::is_npy(&start) || npy::is_npz(&start)
        {
            Ok(Self::Npy)
        } else if start.starts_with(&super::GZIP_MAGIC) {
            Err(DataError::Compressed { path: path.into() })
        } else if super::has_extension(path, &["bin"]) && cifar10::is_whole(file_bytes) {
            Ok(Self::Cifar10)
        } else if idx::is_idx(&start) {
            Ok(Self::Idx)
        } else {
            let found = format!("{file_bytes} bytes, the first \"{}\"", start.escape_ascii());
            Err(DataError::UnknownFormat {
                path: path.into(),
                found,
            })
        }
    }

    fn detect_folder(path: &Path) -> Result<Self, DataError> {
        if !cifar10::batches(path)?.is_empty() {
            Ok(Self::Cifar10)
        } else if folder::is_set(path)? {
            Ok(Self::Folder)
        } else {
            let expected = "CIFAR-10 batches (*.bin), class folders, PNG or JPEG files";
            Err(DataError::EmptyFolder {
                path: path.into(),
                expected,
            })
        }
    }
}

impl FromStr for Format {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| DataError::UnknownFormatName { found: name.into() })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Folder, fault, npy};
    use super::*;

    #[test]
    fn names_are_read_back() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
            assert_eq!(Format::parse_or_auto(format.name()).unwrap(), Some(format));
        }
        assert_eq!(Format::parse_or_auto("auto").unwrap(), None);
        for name in ["auto", "NPY", "", "imagenet"] {
            let error = fault(name.parse::<Format>(), name);
            assert!(matches!(error, DataError::UnknownFormatName { .. }));
        }
        fault(Format::parse_or_auto("imagenet"), "imagenet");
    }

    #[test]
    fn files_are_told_apart() {
        let folder = Folder::new();
        let array = npy("'|u1'", false, "(1,)", &[7]);
        for (name, bytes, format) in [
            ("a.npy", &b"text"[..], Format::Npy),
            ("a.NPZ", b"text", Format::Npy),
            ("a.dat", &array, Format::Npy),
            ("b.dat", b"PK\x03\x04", Format::Npy),
            ("a.bin", &[0; 3073], Format::Cifar10),
            ("b.bin", b"\0\0\x08\x03....", Format::Idx),
            ("x-images-idx3-ubyte", b"\0\0\x08\x03....", Format::Idx),
        ] {
            let path = folder.write(name, bytes);
            assert_eq!(Format::detect(&path).unwrap(), format, "{name}");
        }
        for (name, bytes) in [
            ("c.bin", &[0; 3072][..]),
            ("d.bin", b""),
            ("e.txt", b"cats"),
        ] {
            let path = folder.write(name, bytes);
            let error = fault(Format::detect(&path), &path);
            assert!(matches!(error, DataError::UnknownFormat { .. }), "{name}");
        }
        let path = folder.write("train-images-idx3-ubyte.gz", b"\x1f\x8b\x08");
        let error = fault(Format::detect(&path), &path);
        assert!(matches!(error, DataError::Compressed { .. }));
    }

    #[test]
    fn folders_are_told_apart() {
        let folder = Folder::new();
        folder.write(".hidden/x.png", []);
        folder.write("read.me", []);
        let error = fault(Format::detect(folder.path()), folder.path());
        assert!(matches!(error, DataError::EmptyFolder { .. }));
        let picture = folder.write("x.jpg", []);
        assert_eq!(Format::detect(folder.path()).unwrap(), Format::Folder);
        std::fs::remove_file(picture).unwrap();
        folder.write("cats/x.png", []);
        assert_eq!(Format::detect(folder.path()).unwrap(), Format::Folder);
        folder.write("test_batch.bin", []);
        assert_eq!(Format::detect(folder.path()).unwrap(), Format::Cifar10);
    }
}

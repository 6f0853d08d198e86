//! Tensors whose data lie in files beside the model.
//!
//! A tensor names its file by a path relative to the model's folder, and the bytes in it; both of PyTorch's
//! exporters write large models so (<https://onnx.ai/onnx/repo-docs/ExternalData.html>).

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use rten_onnx::onnx::{DataLocation, GraphProto, TensorProto};

use super::error::OnnxError;
use crate::import::MAX_FILE_BYTES;

/// A file of data.
struct DataFile {
    file: File,
    bytes: u64,
    /// Of these, how many may still be read: no byte belongs to two tensors.
    left: u64,
}

/// Reads the data of the initializers that lie outside the model into them. The bytes of all files.
pub(super) fn read_beside(graph: &mut GraphProto, folder: &Path) -> Result<u64, OnnxError> {
    let mut files: HashMap<String, DataFile> = HashMap::new();
    let mut bytes = 0;
    for tensor in &mut graph.initializer {
        if tensor.data_location != Some(DataLocation::EXTERNAL) {
            continue;
        }
        let name = tensor.name.clone().unwrap_or_default();
        let location = location(tensor);
        let data = match files.get_mut(&location) {
            Some(file) => read(&name, &location, tensor, file)?,
            None => {
                let file = open(&name, &location, folder, MAX_FILE_BYTES - bytes)?;
                bytes += file.bytes;
                let file = files.entry(location.clone()).or_insert(file);
                read(&name, &location, tensor, file)?
            }
        };
        tensor.raw_data = Some(RefCell::new(data));
        tensor.data_location = None;
    }
    Ok(bytes)
}

/// The file that a tensor names; `?` where it names none.
pub(super) fn location(tensor: &TensorProto) -> String {
    entry(tensor, "location").unwrap_or("?").to_owned()
}

fn entry<'t>(tensor: &'t TensorProto, key: &str) -> Option<&'t str> {
    let mut entries = tensor.external_data.iter();
    let entry = entries.find(|entry| entry.key.as_deref() == Some(key))?;
    entry.value.as_deref()
}

/// Opens the file with a tensor's data, of at most so many bytes.
fn open(tensor: &str, location: &str, folder: &Path, most: u64) -> Result<DataFile, OnnxError> {
    // nothing above the folder, whoever made the model
    let relative = Path::new(location);
    let is_below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !relative.components().all(is_below) {
        return Err(OnnxError::ExternalPath {
            tensor: tensor.to_owned(),
            location: location.to_owned(),
        });
    }
    let path: PathBuf = folder.join(relative);
    let failed = |source| OnnxError::ExternalRead {
        tensor: tensor.to_owned(),
        path: path.clone(),
        source,
    };
    let file = File::open(&path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > most {
        return Err(OnnxError::ExternalTooLarge { path });
    }
    Ok(DataFile {
        file,
        bytes,
        left: bytes,
    })
}

/// The bytes of a tensor.
fn read(
    name: &str,
    location: &str,
    tensor: &TensorProto,
    file: &mut DataFile,
) -> Result<Vec<u8>, OnnxError> {
    let number = |key: &'static str| match entry(tensor, key) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
            let (tensor, found) = (name.to_owned(), text.to_owned());
            OnnxError::ExternalNumber { tensor, key, found }
        }),
    };
    let start = number("offset")?.unwrap_or(0);
    let len = number("length")?.unwrap_or(file.bytes.saturating_sub(start));
    let end = start.saturating_add(len);
    if end > file.bytes {
        return Err(OnnxError::ExternalRange {
            tensor: name.to_owned(),
            location: location.to_owned(),
            end,
            found: file.bytes,
        });
    }
    let Some(left) = file.left.checked_sub(len) else {
        return Err(OnnxError::ExternalOverlap {
            tensor: name.to_owned(),
            location: location.to_owned(),
        });
    };
    file.left = left;
    let mut data = Vec::new();
    let mut read = || {
        file.file.seek(SeekFrom::Start(start))?;
        file.file.by_ref().take(len).read_to_end(&mut data)
    };
    read().map_err(|source| OnnxError::ExternalRead {
        tensor: name.to_owned(),
        path: location.into(),
        source,
    })?;
    Ok(data)
}

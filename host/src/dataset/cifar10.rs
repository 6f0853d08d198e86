//! CIFAR-10's binary version (Krizhevsky 2009): records of one label byte and three planes (red,
//! green, blue) of 32x32 bytes, row by row.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{DataError, Dataset, Format, LoadOptions, Pixels};

const INPUT: [usize; 3] = [32, 32, 3];
const PLANE_BYTES: usize = 32 * 32;
const RECORD_BYTES: usize = 1 + 3 * PLANE_BYTES;
const CLASS_COUNT: u8 = 10;

/// `true` if a file of so many bytes consists of records, at least one.
pub(super) fn is_whole(file_bytes: u64) -> bool {
    file_bytes > 0 && file_bytes.is_multiple_of(RECORD_BYTES as u64)
}

/// The `.bin` files of a folder, sorted by name.
pub(super) fn batches(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = super::list(folder)?.into_iter();
    let files =
        entries.filter(|(is_folder, path)| !is_folder && super::has_extension(path, &["bin"]));
    Ok(files.map(|(_, path)| path).collect())
}

/// Images `[32, 32, 3]` and labels 0..=9 from one file, or from a folder.
///
/// Of a folder every `data_batch_*.bin` is read, in the order of the names; without any, its only
/// `.bin` (so that a folder with nothing but `test_batch.bin` works, and the test set never slips
/// into a calibration set).
pub(super) fn load(path: &Path, options: &LoadOptions) -> Result<Dataset, DataError> {
    if options.labels.is_some() {
        return Err(DataError::LabelsNotTaken {
            path: path.into(),
            format: Format::Cifar10,
        });
    }
    if options.input != INPUT {
        return Err(DataError::SetShape {
            path: path.into(),
            expected: options.input,
            found: INPUT,
        });
    }
    let files = files(path)?;
    let mut counts = Vec::new();
    for file in &files {
        counts.push(record_count(file)?);
    }
    let picks = super::pick(path, counts.iter().sum(), size_of::<u8>(), options)?;
    let mut pixels = super::room(path, picks.len(), INPUT)?;
    let mut labels = Vec::with_capacity(picks.len());
    let mut rest = picks.as_slice();
    let mut first = 0;
    for (file, count) in files.iter().zip(counts) {
        let (here, later) = rest.split_at(rest.partition_point(|&i| i < first + count));
        read_records(
            file,
            here.iter().map(|i| i - first),
            &mut pixels,
            &mut labels,
        )?;
        rest = later;
        first += count;
    }
    Ok(Dataset::new(
        INPUT,
        picks.len(),
        Pixels::U8(pixels),
        Some(labels),
    ))
}

fn files(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !super::stat(path)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let all = batches(path)?;
    let name = |file: &PathBuf| {
        file.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let is_training = |file: &&PathBuf| name(file).starts_with("data_batch_");
    let training: Vec<_> = all.iter().filter(is_training).cloned().collect();
    match (training.is_empty(), all.len()) {
        (false, _) => Ok(training),
        (true, 0) => Err(DataError::EmptyFolder {
            path: path.into(),
            expected: "CIFAR-10 batches (*.bin)",
        }),
        (true, 1) => Ok(all),
        (true, _) => Err(DataError::ManyBatches {
            path: path.into(),
            found: all.iter().map(name).collect(),
        }),
    }
}

fn record_count(file: &Path) -> Result<usize, DataError> {
    let (_, found_bytes) = super::open(file)?;
    let records = found_bytes / RECORD_BYTES as u64;
    if found_bytes == 0 {
        Err(DataError::NoImages { path: file.into() })
    } else if !is_whole(found_bytes) {
        Err(DataError::RecordSize {
            path: file.into(),
            found_bytes,
            offset: records * RECORD_BYTES as u64,
        })
    } else {
        Ok(records as usize)
    }
}

/// Appends the records with the given ascending indices, planes turned into `[H, W, C]`.
fn read_records(
    file: &Path,
    indices: impl Iterator<Item = usize>,
    pixels: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<(), DataError> {
    let (mut reader, _) = super::open(file)?;
    let mut record = [0; RECORD_BYTES];
    for index in indices {
        let offset = index as u64 * RECORD_BYTES as u64;
        let result = reader
            .seek(SeekFrom::Start(offset))
            .and_then(|_| reader.read_exact(&mut record));
        result.map_err(|source| super::io_error(file, source))?;
        let [label, planes @ ..] = &record;
        if *label >= CLASS_COUNT {
            return Err(DataError::RecordLabel {
                path: file.into(),
                offset,
                found: *label,
            });
        }
        labels.push(u32::from(*label));
        for at in 0..PLANE_BYTES {
            pixels.extend([
                planes[at],
                planes[PLANE_BYTES + at],
                planes[2 * PLANE_BYTES + at],
            ]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Folder, bytes, fault, load_fault, options};
    use super::super::{load, load_input};
    use super::*;

    /// A record whose pixel at (row, column, channel) is row + 2 * column + 64 * channel.
    fn record(label: u8) -> Vec<u8> {
        let mut record = vec![label];
        for channel in 0..3 {
            for row in 0..32 {
                record.extend((0..32).map(|column| row + 2 * column + 64 * channel));
            }
        }
        record
    }

    #[test]
    fn planes_become_pixels() {
        let folder = Folder::new();
        let path = folder.write("x.bin", [record(3), record(9)].concat());
        let set = load(&path, &options(INPUT)).unwrap();
        assert_eq!(
            (set.height, set.width, set.channels, set.len),
            (32, 32, 3, 2)
        );
        assert_eq!(set.labels.as_deref(), Some(&[3, 9][..]));
        assert!(set.class_names.is_empty());
        let pixels = bytes(&set);
        assert_eq!(pixels.len(), 2 * 3072);
        for (at, pixel) in pixels.iter().enumerate() {
            let (row, column, channel) = (at / 96 % 32, at / 3 % 32, at % 3);
            assert_eq!(usize::from(*pixel), row + 2 * column + 64 * channel);
        }
    }

    #[test]
    fn a_folder_is_its_training_batches_or_its_only_batch() {
        let folder = Folder::new();
        let labels = |limit| {
            let options = LoadOptions {
                limit,
                ..options(INPUT)
            };
            load(folder.path(), &options).map(|set| set.labels.unwrap())
        };
        folder.write("readme.html", []);
        folder.write("test_batch.bin", record(7));
        assert_eq!(labels(None).unwrap(), [7]);
        folder.write("calib_batch.bin", record(8));
        let error = fault(labels(None), folder.path());
        let DataError::ManyBatches { found, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(found, &["calib_batch.bin", "test_batch.bin"]);
        folder.write(
            "data_batch_2.bin",
            [record(3), record(4), record(5)].concat(),
        );
        folder.write("data_batch_1.bin", [record(0), record(1)].concat());
        assert_eq!(labels(None).unwrap(), [0, 1, 3, 4, 5]);
        let some = labels(Some(3)).unwrap();
        assert!(some.len() == 3 && some.is_sorted_by(|a, b| a < b));
        let path = folder.write("data_batch_3.bin", &record(3)[1..]);
        let error = fault(labels(None), &path);
        assert!(matches!(
            error,
            DataError::RecordSize {
                found_bytes: 3072,
                offset: 0,
                ..
            }
        ));
    }

    #[test]
    fn faults_are_named() {
        let folder = Folder::new();
        let path = folder.write("x.bin", [record(3), record(10)].concat());
        let error = load_fault(&path, INPUT);
        assert!(matches!(
            error,
            DataError::RecordLabel {
                offset: 3073,
                found: 10,
                ..
            }
        ));
        let error = load_fault(&path, [32, 32, 1]);
        assert!(matches!(
            error,
            DataError::SetShape {
                expected: [32, 32, 1],
                ..
            }
        ));
        let labels = Some(Path::new("labels.npy"));
        let error = fault(
            load(
                &path,
                &LoadOptions {
                    labels,
                    ..options(INPUT)
                },
            ),
            &path,
        );
        assert!(matches!(error, DataError::LabelsNotTaken { .. }));

        let forced = LoadOptions {
            format: Some(Format::Cifar10),
            ..options(INPUT)
        };
        let path = folder.write("x.bin", [record(3), vec![1; 5]].concat());
        let error = fault(load(&path, &forced), &path);
        assert!(matches!(
            error,
            DataError::RecordSize {
                found_bytes: 3078,
                offset: 3073,
                ..
            }
        ));
        let path = folder.write("x.bin", []);
        assert!(matches!(
            fault(load(&path, &forced), &path),
            DataError::NoImages { .. }
        ));
        assert!(matches!(
            fault(load_input(&path, INPUT, 0), &path),
            DataError::NotNpy { .. }
        ));
        let empty = Folder::new();
        let error = fault(load(empty.path(), &forced), empty.path());
        assert!(matches!(error, DataError::EmptyFolder { .. }));
    }
}

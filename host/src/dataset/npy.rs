//! NumPy arrays: `.npy`, and the arrays of an `.npz`.
//!
//! Images are `[N, C, H, W]`, `[N, H, W, C]` or, for one channel, `[N, H, W]`, in C or Fortran
//! order. Which it is follows from the model's `[H, W, C]`; where both of the first two fit, it is
//! `[N, C, H, W]`, as in PyTorch. As the input of a single run the batch axis may be missing; an
//! array that can be read as one image without it is read so.
//!
//! | stored as | becomes |
//! |---|---|
//! | `uint8` | `Pixels::U8` |
//! | another integer type, 8 to 64 bits | `Pixels::U8` if every picked pixel lies in 0..=255, otherwise `Pixels::F32`, rounded to nearest |
//! | `float32`, `float64` | `Pixels::F32`, rounded to nearest |
//!
//! Labels are `[N]` or `[N, 1]` of any integer type. In an `.npz` the arrays are found by name:
//! `images`, `x`, `x_test`, `x_train`, `data` or `arr_0`, in this order, and its labels under
//! `labels`, `y`, `y_test`, `y_train`, `labels` or `arr_1` respectively, failing that under
//! `labels` or `y`.
//!
//! From an array in C order only the picked images are read; one in Fortran order is read whole.

mod array;
mod images;
mod source;

use std::path::{Path, PathBuf};

use self::array::{Array, Values};
use self::images::{Images, Request};
use self::source::{Archive, Source};
use super::{DataError, Dataset, LoadOptions};

pub(super) use self::array::is_npy;
pub(super) use self::source::is_npz;

const LABEL_TYPES: &str = "integers";

/// Names of images in an `.npz`, and of the labels that go with them.
const NAMES: [(&str, &str); 6] = [
    ("images", "labels"),
    ("x", "y"),
    ("x_test", "y_test"),
    ("x_train", "y_train"),
    ("data", "labels"),
    ("arr_0", "arr_1"),
];

/// Names of labels that go with any images.
const ANY_LABELS: [&str; 2] = ["labels", "y"];

/// Images with the labels that are named, lie beside them, or lie in the same archive.
pub(super) fn load(path: &Path, options: &LoadOptions) -> Result<Dataset, DataError> {
    let request = Request {
        input: options.input,
        may_be_single: false,
    };
    let pick = |count| super::pick(count, options);
    let (images, labels);
    if starts_as_npz(path)? {
        let mut archive = Archive::open(path)?;
        let name = images_name(path, &archive)?;
        images = request.read(archive.array(name)?, pick)?;
        labels = match (options.labels, labels_name(name, &archive)) {
            (Some(file), _) => Some(super::read_labels(file, images.count, &images.picks)?),
            (None, Some(name)) => Some(archive_labels(&mut archive, name, &images)?),
            (None, None) => None,
        };
    } else {
        images = request.read(Source::open(path)?, pick)?;
        let sibling = sibling_labels(path);
        let file = options.labels.or(sibling.as_deref());
        let read = |file| super::read_labels(file, images.count, &images.picks);
        labels = file.map(read).transpose()?;
    }
    Ok(Dataset::new(
        options.input,
        images.picks.len(),
        images.pixels,
        labels,
    ))
}

/// All images of a `.npy` or `.npz`, perhaps without a batch axis.
pub(super) fn load_input(path: &Path, input: [usize; 3]) -> Result<Dataset, DataError> {
    let request = Request {
        input,
        may_be_single: true,
    };
    let pick = |count| (0..count).collect();
    let images = if starts_as_npz(path)? {
        let mut archive = Archive::open(path)?;
        let name = images_name(path, &archive)?;
        request.read(archive.array(name)?, pick)?
    } else {
        request.read(Source::open(path)?, pick)?
    };
    Ok(Dataset::new(input, images.count, images.pixels, None))
}

/// The labels in a `.npy`.
pub(super) fn read_labels(path: &Path) -> Result<Vec<u32>, DataError> {
    labels(Source::open(path)?)
}

fn starts_as_npz(path: &Path) -> Result<bool, DataError> {
    let (mut reader, _) = super::open(path)?;
    Ok(is_npz(&super::read_up_to(&mut reader, 4, path)?))
}

fn images_name(path: &Path, archive: &Archive) -> Result<&'static str, DataError> {
    let mut names = NAMES.iter().map(|&(images, _)| images);
    names.find(|&name| archive.has(name)).ok_or_else(|| {
        let wanted = NAMES.map(|(images, _)| images).join(", ");
        DataError::ArrayMissing {
            path: path.into(),
            wanted,
            found: archive.names.clone(),
        }
    })
}

fn labels_name(images: &str, archive: &Archive) -> Option<&'static str> {
    let partner = NAMES
        .iter()
        .find(|&&(name, _)| name == images)
        .map(|&(_, labels)| labels);
    partner
        .into_iter()
        .chain(ANY_LABELS)
        .find(|&name| archive.has(name))
}

/// `X_labels.npy` for `X_images.npy`, if there is such a file.
fn sibling_labels(path: &Path) -> Option<PathBuf> {
    let stem = path.file_name()?.to_str()?.strip_suffix("_images.npy")?;
    let sibling = path.with_file_name(format!("{stem}_labels.npy"));
    sibling.is_file().then_some(sibling)
}

fn archive_labels(
    archive: &mut Archive,
    name: &str,
    images: &Images,
) -> Result<Vec<u32>, DataError> {
    let source = archive.array(name)?;
    let path = source.path.clone();
    super::pick_labels(&path, &labels(source)?, images.count, &images.picks)
}

fn labels(mut source: Source) -> Result<Vec<u32>, DataError> {
    let array = Array::open(&mut source, LABEL_TYPES)?;
    let path = source.path.clone();
    if !matches!(*array.shape, [_] | [_, 1]) {
        return Err(DataError::ArrayShape {
            path,
            found: array.shape,
            expected: "[N] or [N, 1]".into(),
        });
    }
    let bytes = source.read(array.len * array.item_bytes)?;
    source.finish()?;
    let integers = match array.decode(bytes, &path)? {
        Values::Bytes(bytes) => return Ok(bytes.into_iter().map(u32::from).collect()),
        Values::Integers(integers) => integers,
        Values::Floats(_) => {
            return Err(DataError::UnsupportedDtype {
                path,
                found: array.dtype_name(),
                expected: LABEL_TYPES,
            });
        }
    };
    let label = |(index, &value): (usize, &i128)| {
        u32::try_from(value).map_err(|_| DataError::LabelOutOfRange {
            path: path.clone(),
            index,
            value,
        })
    };
    integers.iter().enumerate().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Folder, bytes, fault, load_fault, npy, options, survive_damage};
    use super::super::{load, load_input};
    use super::*;

    const INPUT: [usize; 3] = [1, 2, 1];

    fn images() -> Vec<u8> {
        npy("'|u1'", false, "(3, 1, 1, 2)", &[10, 11, 20, 21, 30, 31])
    }

    #[test]
    fn labels_lie_beside_the_images_or_are_given() {
        let folder = Folder::new();
        let path = folder.write("calib_images.npy", images());
        let set = load(&path, &options(INPUT)).unwrap();
        assert_eq!((set.height, set.width, set.channels, set.len), (1, 2, 1, 3));
        assert_eq!(bytes(&set), [10, 11, 20, 21, 30, 31]);
        assert_eq!(set.labels, None);

        let sibling = folder.write("calib_labels.npy", npy("'|u1'", false, "(3,)", &[1, 2, 3]));
        assert_eq!(
            load(&path, &options(INPUT)).unwrap().labels.unwrap(),
            [1, 2, 3]
        );
        let data = [1_i64, 0, 70000].map(i64::to_be_bytes).concat();
        let given = folder.write("given", npy("'>i8'", true, "(3, 1)", &data));
        let options = LoadOptions {
            labels: Some(&given),
            ..options(INPUT)
        };
        assert_eq!(
            load(&path, &options).unwrap().labels.unwrap(),
            [1, 0, 70000]
        );

        folder.write("calib_labels.npy", npy("'|u1'", false, "(2,)", &[1, 2]));
        let error = fault(
            load(
                &path,
                &LoadOptions {
                    labels: None,
                    ..options
                },
            ),
            sibling,
        );
        assert!(matches!(
            error,
            DataError::LabelCount {
                images: 3,
                labels: 2,
                ..
            }
        ));
    }

    #[test]
    fn a_limit_keeps_images_and_labels_together() {
        let folder = Folder::new();
        let path = folder.write("x_images.npy", images());
        folder.write("x_labels.npy", npy("'|u1'", false, "(3,)", &[1, 2, 3]));
        for seed in 0..20 {
            let set = load(
                &path,
                &LoadOptions {
                    limit: Some(2),
                    seed,
                    ..options(INPUT)
                },
            )
            .unwrap();
            let labels = set.labels.as_deref().unwrap();
            assert_eq!(set.len, 2);
            let expected = labels
                .iter()
                .flat_map(|&l| [10 * l as u8, 10 * l as u8 + 1]);
            assert_eq!(bytes(&set), expected.collect::<Vec<_>>());
        }
        let set = load(
            &path,
            &LoadOptions {
                limit: Some(9),
                ..options(INPUT)
            },
        )
        .unwrap();
        assert_eq!(set.len, 3);
    }

    #[test]
    fn every_integer_type_is_a_label() {
        let folder = Folder::new();
        for (descr, data) in [
            ("'|i1'", [5, 6].map(i8::to_le_bytes).concat()),
            ("'<i2'", [5, 6].map(i16::to_le_bytes).concat()),
            ("'>i4'", [5, 6].map(i32::to_be_bytes).concat()),
            ("'<i8'", [5, 6].map(i64::to_le_bytes).concat()),
            ("'|u1'", [5, 6].map(u8::to_le_bytes).concat()),
            ("'>u2'", [5, 6].map(u16::to_be_bytes).concat()),
            ("'<u4'", [5, 6].map(u32::to_le_bytes).concat()),
            ("'<u8'", [5, 6].map(u64::to_le_bytes).concat()),
        ] {
            let path = folder.write("labels.npy", npy(descr, false, "(2,)", &data));
            assert_eq!(read_labels(&path).unwrap(), [5, 6], "{descr}");
        }
    }

    #[test]
    fn faulty_labels_are_named() {
        let folder = Folder::new();
        let labels = |descr: &str, shape: &str, data: &[u8]| {
            let path = folder.write("labels.npy", npy(descr, false, shape, data));
            fault(read_labels(&path), path)
        };
        let error = labels("'|i1'", "(3,)", &[0, 1, 0xff]);
        assert!(matches!(
            error,
            DataError::LabelOutOfRange {
                index: 2,
                value: -1,
                ..
            }
        ));
        let error = labels("'<u8'", "(1,)", &[0xff; 8]);
        assert!(matches!(
            error,
            DataError::LabelOutOfRange {
                index: 0,
                value: 1..,
                ..
            }
        ));
        let error = labels("'<f4'", "(1,)", &[0; 4]);
        assert!(matches!(
            error,
            DataError::UnsupportedDtype {
                expected: LABEL_TYPES,
                ..
            }
        ));
        let error = labels("'|u1'", "(2, 2)", &[0; 4]);
        assert!(matches!(error, DataError::ArrayShape { .. }));
        let error = labels("'|u1'", "()", &[0]);
        assert!(matches!(error, DataError::ArrayShape { .. }));
        let error = labels("'|u1'", "(2,)", &[0]);
        assert!(matches!(error, DataError::FileSize { .. }));
    }

    #[test]
    fn archives_hold_both() {
        let folder = Folder::new();
        let pixels: &[u8] = &[10, 11, 20, 21, 30, 31];
        let images: (&[u64], &[u8]) = (&[3, 1, 1, 2], pixels);
        for (x, y) in NAMES.into_iter().chain([("x_test", "y"), ("images", "y")]) {
            let arrays = [
                (x, images.0, images.1),
                ("other", &[1], &[0]),
                (y, &[3], &[1, 2, 3]),
            ];
            let path = folder.write_npz("set.npz", &arrays);
            let set = load(&path, &options(INPUT)).unwrap();
            assert_eq!(
                (bytes(&set), &set.labels),
                (pixels, &Some(vec![1, 2, 3])),
                "{x}"
            );
            assert_eq!(bytes(&load_input(&path, INPUT).unwrap()), pixels);
            let limited = LoadOptions {
                limit: Some(1),
                ..options(INPUT)
            };
            let set = load(&path, &limited).unwrap();
            assert_eq!(u32::from(bytes(&set)[0]), 10 * set.labels.unwrap()[0]);
        }
        let arrays = [("x_train", images.0, images.1), ("y_test", &[1], &[9])];
        let path = folder.write_npz("set.npz", &arrays);
        assert_eq!(load(&path, &options(INPUT)).unwrap().labels, None);
        let labels = folder.write("labels.npy", npy("'|u1'", false, "(3,)", &[4, 5, 6]));
        let given = LoadOptions {
            labels: Some(&labels),
            ..options(INPUT)
        };
        assert_eq!(load(&path, &given).unwrap().labels.unwrap(), [4, 5, 6]);
    }

    #[test]
    fn faulty_archives_are_named() {
        let folder = Folder::new();
        let path = folder.write_npz("set.npz", &[("b", &[1], &[0]), ("a", &[1], &[0])]);
        let error = load_fault(&path, INPUT);
        let DataError::ArrayMissing { found, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(found, &["a", "b"]);
        let empty = folder.write_npz("empty.npz", &[]);
        assert!(matches!(
            load_fault(&empty, INPUT),
            DataError::ArrayMissing { .. }
        ));

        let arrays: [(&str, &[u64], &[u8]); 2] = [("x", &[1, 1, 2], &[5, 6]), ("y", &[2], &[0, 1])];
        let path = folder.write_npz("set.npz", &arrays);
        let error = fault(load(&path, &options(INPUT)), path.join("y.npy"));
        assert!(matches!(
            error,
            DataError::LabelCount {
                images: 1,
                labels: 2,
                ..
            }
        ));
        let error = fault(load(&path, &options([2, 2, 1])), path.join("x.npy"));
        assert!(matches!(error, DataError::ArrayShape { .. }));

        let good = std::fs::read(&path).unwrap();
        let cut = folder.write("cut.npz", &good[..good.len() - 30]);
        assert!(matches!(load_fault(&cut, INPUT), DataError::Archive { .. }));
        let text = folder.write("text.npz", "text");
        assert!(matches!(load_fault(&text, INPUT), DataError::NotNpy { .. }));
    }

    #[test]
    fn archives_are_not_believed() {
        let folder = Folder::new();
        let path = folder.write_npz("set.npz", &[("x", &[1, 1, 2], &[5, 6])]);
        let good = std::fs::read(path).unwrap();
        let directory = good
            .windows(4)
            .position(|bytes| bytes == b"PK\x01\x02")
            .unwrap();
        // In an entry of the directory: method at 10, checksum at 16, unpacked size at 24.
        for (at, field) in [
            (10, &[99, 0][..]),
            (10, &[12, 0]),
            (16, &[0; 4]),
            (24, &[0xf0; 4]),
        ] {
            let mut bytes = good.clone();
            bytes[directory + at..][..field.len()].copy_from_slice(field);
            let path = folder.write("bad.npz", bytes);
            let error = load_fault(&path, INPUT);
            assert!(matches!(error, DataError::Archive { .. }), "{at}: {error}");
        }
    }

    #[test]
    fn damage_never_panics() {
        let folder = Folder::new();
        survive_damage("x.npy", &images(), INPUT);
        let floats = npy("'<f4'", true, "(2, 1, 2)", &[0; 16]);
        survive_damage("x.npy", &floats, INPUT);
        let path = folder.write_npz("x.npz", &[("x", &[1, 1, 2], &[5, 6]), ("y", &[1], &[0])]);
        survive_damage("x.npz", &std::fs::read(path).unwrap(), INPUT);
    }
}

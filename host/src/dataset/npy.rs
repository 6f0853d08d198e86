//! NumPy arrays: `.npy`, and the arrays of an `.npz`.
//!
//! Images are `[N, C, H, W]`, `[N, H, W, C]` or, for one channel, `[N, H, W]`, in C or Fortran
//! order. Which it is follows from the model's `[H, W, C]`; where both of the first two fit, it is
//! `[N, C, H, W]`, as in PyTorch. Series, images of one column to the model, may be
//! `[N, C, H]` or `[N, H, C]`, and vectors, images of one pixel, `[N, C]`. As the
//! input of a single run the batch axis may be missing; an array that can be read as one image
//! without it is read so.
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
//! An array that unpacks to far more than it was packed to is refused.

mod array;
mod images;
mod source;

use std::path::{Path, PathBuf};

use self::array::{Array, Values};
use self::images::Request;
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
    let request = Request::Set(options);
    let (images, labels);
    if starts_as_npz(path)? {
        let mut archive = Archive::open(path)?;
        let name = images_name(path, &archive)?;
        images = request.read(archive.array(name)?)?;
        labels = match (options.labels, labels_name(name, &archive)) {
            (Some(file), _) => Some(super::read_labels(file, images.count, &images.picks)?),
            (None, Some(name)) => Some(labels_of(
                archive.array(name)?,
                images.count,
                &images.picks,
            )?),
            (None, None) => None,
        };
    } else {
        images = request.read(Source::open(path)?)?;
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

/// One image of a `.npy` or `.npz`, perhaps without a batch axis.
pub(super) fn load_input(
    path: &Path,
    input: [usize; 3],
    index: usize,
) -> Result<Dataset, DataError> {
    let request = Request::Sample { input, index };
    let images = if starts_as_npz(path)? {
        let mut archive = Archive::open(path)?;
        let name = images_name(path, &archive)?;
        request.read(archive.array(name)?)?
    } else {
        request.read(Source::open(path)?)?
    };
    Ok(Dataset::new(input, 1, images.pixels, None))
}

/// The labels in a `.npy`, for the picked ones of `images` images.
pub(super) fn read_labels(
    path: &Path,
    images: usize,
    picks: &[usize],
) -> Result<Vec<u32>, DataError> {
    labels_of(Source::open(path)?, images, picks)
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

/// The labels in an array, for the picked ones of `images` images.
fn labels_of(mut source: Source, images: usize, picks: &[usize]) -> Result<Vec<u32>, DataError> {
    let array = Array::open(&mut source, LABEL_TYPES)?;
    let path = source.path.clone();
    if !matches!(*array.shape, [_] | [_, 1]) {
        return Err(DataError::ArrayShape {
            path,
            found: array.shape,
            expected: "[N] or [N, 1]".into(),
        });
    }
    super::check_label_count(&path, images, array.len as u64)?;
    let mut labels = Vec::with_capacity(picks.len());
    let mut next = 0;
    for run in picks.chunk_by(|a, b| a + 1 == *b) {
        source.skip((run[0] - next) as u64 * array.item_bytes as u64)?;
        next = run[0] + run.len();
        let bytes = source.read(run.len() * array.item_bytes)?;
        match array.decode(bytes, &path)? {
            Values::Bytes(bytes) => labels.extend(bytes.into_iter().map(u32::from)),
            Values::Integers(integers) => {
                for (value, &index) in integers.into_iter().zip(run) {
                    let label = u32::try_from(value);
                    labels.push(label.map_err(|_| DataError::LabelOutOfRange {
                        path: path.clone(),
                        index,
                        value,
                    })?);
                }
            }
            Values::Floats(_) => {
                return Err(DataError::UnsupportedDtype {
                    path,
                    found: array.dtype_name(),
                    expected: LABEL_TYPES,
                });
            }
        }
    }
    source.finish()?;
    Ok(labels)
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
            assert_eq!(read_labels(&path, 2, &[0, 1]).unwrap(), [5, 6], "{descr}");
            assert_eq!(read_labels(&path, 2, &[1]).unwrap(), [6], "{descr}");
        }
    }

    #[test]
    fn faulty_labels_are_named() {
        let folder = Folder::new();
        let labels = |descr: &str, shape: &str, data: &[u8]| {
            let path = folder.write("labels.npy", npy(descr, false, shape, data));
            let count = data.len() / if descr.ends_with("8'") { 8 } else { 1 };
            let picks: Vec<usize> = (0..count).collect();
            fault(read_labels(&path, count, &picks), path)
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
        let error = labels("'<f8'", "(1,)", &[0; 8]);
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
            for (index, sample) in pixels.chunks(2).enumerate() {
                assert_eq!(bytes(&load_input(&path, INPUT, index).unwrap()), sample);
            }
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
        for len in 0..good.len() {
            let cut = folder.write("cut.npz", &good[..len]);
            fault(load(&cut, &options(INPUT)), &cut);
        }
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
            let named = if at == 24 {
                matches!(error, DataError::Bomb { .. })
            } else {
                matches!(error, DataError::Archive { .. })
            };
            assert!(named, "{at}: {error}");
        }
    }

    #[test]
    fn bombs_are_not_unpacked() {
        let folder = Folder::new();
        let zeros = vec![0; (40 << 20) - 8];
        let packed = folder.write_npz("bomb.npz", &[("x", &[(20 << 20) - 4, 1, 2], &zeros)]);
        assert!(std::fs::metadata(&packed).unwrap().len() < 100_000);
        for error in [
            fault(load(&packed, &options(INPUT)), packed.join("x.npy")),
            fault(load_input(&packed, INPUT, 0), packed.join("x.npy")),
        ] {
            assert!(matches!(
                error,
                DataError::Bomb {
                    packed_bytes: ..100_000,
                    unpacked_bytes: 40_000_000..,
                    ..
                }
            ));
        }
    }

    #[test]
    fn sparse_files_are_not_believed() {
        const IMAGES: u64 = 1 << 39;
        let folder = Folder::new();
        let header = npy("'|u1'", false, &format!("({IMAGES}, 1, 1, 2)"), &[]);
        let path = folder.write("terabyte.npy", &header);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        if file.set_len(header.len() as u64 + 2 * IMAGES).is_err() {
            println!("skipped: no sparse files of 1 TiB here");
            return;
        }
        let error = load_fault(&path, INPUT);
        assert!(matches!(
            error,
            DataError::SetTooLarge {
                needed_bytes: 9_895_604_649_984,
                most_images: 477_218_588,
                ..
            }
        ));
        // a few of them are read where they are
        let few = LoadOptions {
            limit: Some(3),
            ..options(INPUT)
        };
        assert_eq!(bytes(&load(&path, &few).unwrap()), [0; 6]);
        let last = load_input(&path, INPUT, IMAGES as usize - 1).unwrap();
        assert_eq!(bytes(&last), [0; 2]);

        let header = npy("'|u1'", true, &format!("({IMAGES}, 1, 1, 2)"), &[]);
        let path = folder.write("terabyte.npy", &header);
        file.set_len(header.len() as u64 + 2 * IMAGES).unwrap();
        let error = fault(load(&path, &few), &path);
        assert!(matches!(
            error,
            DataError::FortranTooLarge {
                found_bytes: 1_099_511_627_776,
                ..
            }
        ));
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

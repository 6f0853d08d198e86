//! MNIST's IDX files (LeCun, Cortes & Burges 1998): a big-endian header, then unsigned bytes.
//!
//! | bytes | images | labels |
//! |---|---|---|
//! | 0..4 | magic number `00 00 08 03` | `00 00 08 01` |
//! | 4.. | image count, rows, columns: `u32` each | label count: `u32` |
//! | then | a byte per pixel, row by row | a byte per label |

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{DataError, Dataset, LoadOptions, Pixels};

const IMAGES_MAGIC: u32 = 0x0000_0803;
const LABELS_MAGIC: u32 = 0x0000_0801;

/// `true` if a file that starts so holds unsigned bytes in IDX form, of any number of dimensions.
pub(super) fn is_idx(start: &[u8]) -> bool {
    matches!(start, [0, 0, 8, 1..=4, ..])
}

/// Images `[H, W, 1]`, with the labels that are named or lie beside them.
pub(super) fn load(path: &Path, options: &LoadOptions) -> Result<Dataset, DataError> {
    let (mut reader, file_bytes) = super::open(path)?;
    let [count, height, width] =
        read_header(&mut reader, file_bytes, path, ("images", IMAGES_MAGIC))?;
    if count == 0 {
        return Err(DataError::NoImages { path: path.into() });
    }
    let found = [height as usize, width as usize, 1];
    if found != options.input {
        return Err(DataError::SetShape {
            path: path.into(),
            expected: options.input,
            found,
        });
    }
    let picks = super::pick(path, count as usize, size_of::<u8>(), options)?;
    let sibling = sibling_labels(path);
    let labels_path = options.labels.or(sibling.as_deref());
    let labels = labels_path
        .map(|labels| super::read_labels(labels, count as usize, &picks))
        .transpose()?;

    let image_bytes = found.iter().product();
    let mut pixels = super::room(path, picks.len(), found)?;
    pixels.resize(picks.len() * image_bytes, 0);
    for (&index, image) in picks.iter().zip(pixels.chunks_exact_mut(image_bytes)) {
        let offset = header_bytes(3) + index as u64 * image_bytes as u64;
        let result = reader
            .seek(SeekFrom::Start(offset))
            .and_then(|_| reader.read_exact(image));
        result.map_err(|source| super::io_error(path, source))?;
    }
    Ok(Dataset::new(found, picks.len(), Pixels::U8(pixels), labels))
}

/// The labels in an IDX file with one dimension, for the picked ones of `images` images.
pub(super) fn read_labels(
    path: &Path,
    images: usize,
    picks: &[usize],
) -> Result<Vec<u32>, DataError> {
    let (mut reader, file_bytes) = super::open(path)?;
    let [count] = read_header(&mut reader, file_bytes, path, ("labels", LABELS_MAGIC))?;
    super::check_label_count(path, images, count.into())?;
    let mut next = 0;
    let label = |&index: &usize| {
        let mut label = [0];
        reader
            .seek_relative((index - next) as i64)
            .and_then(|()| reader.read_exact(&mut label))
            .map_err(|source| super::io_error(path, source))?;
        next = index + 1;
        Ok(label[0].into())
    };
    picks.iter().map(label).collect()
}

/// The sizes in the header, checked against the file's: header and data fill the file exactly.
fn read_header<const RANK: usize>(
    reader: &mut impl Read,
    file_bytes: u64,
    path: &Path,
    (what, expected): (&'static str, u32),
) -> Result<[u32; RANK], DataError> {
    let start = super::read_up_to(reader, header_bytes(RANK), path)?;
    let word = |at: usize| {
        (0..4).fold(0, |word, i| {
            word << 8 | u32::from(start.get(4 * at + i).copied().unwrap_or(0))
        })
    };
    if start.starts_with(&super::GZIP_MAGIC) {
        return Err(DataError::Compressed { path: path.into() });
    }
    if word(0) != expected {
        return Err(DataError::IdxMagic {
            path: path.into(),
            what,
            expected,
            found: word(0),
        });
    }
    let sizes = std::array::from_fn(|axis| word(1 + axis));
    let data_bytes = sizes
        .iter()
        .fold(1_u64, |product, &size| product.saturating_mul(size.into()));
    let expected_bytes = data_bytes.saturating_add(header_bytes(RANK));
    if file_bytes != expected_bytes {
        return Err(DataError::FileSize {
            path: path.into(),
            expected_bytes,
            found_bytes: file_bytes,
        });
    }
    Ok(sizes)
}

const fn header_bytes(rank: usize) -> u64 {
    4 + 4 * rank as u64
}

/// `t10k-labels-idx1-ubyte` for `t10k-images-idx3-ubyte` (and the dotted `.idx1-ubyte`), if there
/// is such a file.
fn sibling_labels(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    if !(name.contains("images") && name.contains("idx3")) {
        return None;
    }
    let sibling = path.with_file_name(name.replace("images", "labels").replace("idx3", "idx1"));
    sibling.is_file().then_some(sibling)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Folder, bytes, fault, load_fault, npy, options, survive_damage};
    use super::super::{Format, load};
    use super::*;

    const INPUT: [usize; 3] = [2, 3, 1];

    fn idx(sizes: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn three_images() -> Vec<u8> {
        idx(&[3, 2, 3], &(0..18).collect::<Vec<u8>>())
    }

    #[test]
    fn siblings_give_the_labels() {
        let folder = Folder::new();
        for (images, labels) in [
            ("t-images-idx3-ubyte", "t-labels-idx1-ubyte"),
            ("u-images.idx3-ubyte", "u-labels.idx1-ubyte"),
        ] {
            let path = folder.write(images, three_images());
            let set = load(&path, &options(INPUT)).unwrap();
            assert_eq!((set.height, set.width, set.channels, set.len), (2, 3, 1, 3));
            assert_eq!(
                (bytes(&set), &set.labels),
                (&(0..18).collect::<Vec<u8>>()[..], &None)
            );

            let labels = folder.write(labels, idx(&[3], &[5, 250, 0]));
            let set = load(&path, &options(INPUT)).unwrap();
            assert_eq!(set.labels.unwrap(), [5, 250, 0]);

            folder.write(labels.to_str().unwrap(), idx(&[2], &[5, 6]));
            let error = fault(load(&path, &options(INPUT)), &labels);
            assert!(matches!(
                error,
                DataError::LabelCount {
                    images: 3,
                    labels: 2,
                    ..
                }
            ));
        }
    }

    #[test]
    fn labels_may_be_given_in_either_form() {
        let folder = Folder::new();
        let path = folder.write("x-images-idx3-ubyte", three_images());
        folder.write("x-labels-idx1-ubyte", "not looked at");
        for bytes in [
            idx(&[3], &[1, 2, 3]),
            npy("'|u1'", false, "(3,)", &[1, 2, 3]),
        ] {
            let labels = folder.write("labels", bytes);
            let options = LoadOptions {
                labels: Some(&labels),
                limit: Some(2),
                ..options(INPUT)
            };
            let set = load(&path, &options).unwrap();
            let labels = set.labels.as_deref().unwrap();
            assert_eq!(
                bytes_of_first_pixels(&set),
                labels.iter().map(|l| 6 * (l - 1)).collect::<Vec<_>>()
            );
        }
    }

    fn bytes_of_first_pixels(set: &Dataset) -> Vec<u32> {
        bytes(set)
            .iter()
            .step_by(6)
            .copied()
            .map(u32::from)
            .collect()
    }

    #[test]
    fn faults_are_named() {
        let folder = Folder::new();
        let write = |bytes: &[u8]| folder.write("x", bytes);
        let error = load_fault(&write(&three_images()), [3, 2, 1]);
        assert!(matches!(error, DataError::SetShape { found: INPUT, .. }));
        let error = load_fault(&write(&three_images()[..20]), INPUT);
        assert!(matches!(
            error,
            DataError::FileSize {
                expected_bytes: 34,
                found_bytes: 20,
                ..
            }
        ));
        let error = load_fault(&write(&[three_images(), vec![0]].concat()), INPUT);
        assert!(matches!(
            error,
            DataError::FileSize {
                expected_bytes: 34,
                found_bytes: 35,
                ..
            }
        ));
        let error = load_fault(&write(&idx(&[u32::MAX; 3], &[])), INPUT);
        assert!(matches!(error, DataError::FileSize { .. }));
        let error = load_fault(&write(&idx(&[0, 2, 3], &[])), INPUT);
        assert!(matches!(error, DataError::NoImages { .. }));
        let error = load_fault(&write(&idx(&[3], &[1, 2, 3])), INPUT);
        assert!(matches!(
            error,
            DataError::IdxMagic {
                expected: 0x803,
                found: 0x801,
                ..
            }
        ));

        let forced = LoadOptions {
            format: Some(Format::Idx),
            ..options(INPUT)
        };
        let path = write(b"\x1f\x8b\x08\x08");
        assert!(matches!(
            fault(load(&path, &forced), &path),
            DataError::Compressed { .. }
        ));
        let path = write(b"");
        let error = fault(load(&path, &forced), &path);
        assert!(matches!(error, DataError::IdxMagic { found: 0, .. }));

        let path = write(&three_images());
        let labels = folder.write("labels", three_images());
        let swapped = LoadOptions {
            labels: Some(&labels),
            ..options(INPUT)
        };
        let error = fault(load(&path, &swapped), &labels);
        assert!(matches!(
            error,
            DataError::IdxMagic {
                expected: 0x801,
                found: 0x803,
                ..
            }
        ));
        let labels = Some(Path::new("no/labels"));
        let error = fault(
            load(
                &path,
                &LoadOptions {
                    labels,
                    ..options(INPUT)
                },
            ),
            "no/labels",
        );
        assert!(matches!(error, DataError::NotFound { .. }));
    }

    #[test]
    fn damage_never_panics() {
        survive_damage("x", &three_images(), INPUT);
    }
}

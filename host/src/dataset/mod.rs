//! Images and labels from files, as stored: for calibration, for evaluation, and as the input of
//! one run.
//!
//! | format | what is read | labels |
//! |---|---|---|
//! | [`npy`](Format::Npy) | a NumPy array of images, or an `.npz` with one | `--labels`, a sibling `*_labels.npy`, an array of the `.npz` |
//! | [`cifar10`](Format::Cifar10) | CIFAR-10's binary batches, one file or a folder of them | in the records |
//! | [`idx`](Format::Idx) | MNIST's unsigned-byte files | `--labels`, or the sibling `*labels*idx1*` |
//! | [`folder`](Format::Folder) | a folder of PNG or JPEG files, or of one such folder per class | the number that is the class folder's name, else its position, sorted by name |
//!
//! Nothing is resized, cropped or normalised here. A set that does not fit the model's input is an
//! error. Files are checked against their own headers, and the images that `limit` picks against
//! [`MAX_SET_BYTES`], before memory is taken; only these images are read.

mod cifar10;
mod error;
mod folder;
mod format;
mod idx;
mod npy;
mod picture;
#[cfg(test)]
mod testing;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bitbudget_core::network::Preprocess;

pub use error::DataError;
pub use format::Format;

use crate::file::fingerprint;

/// Pixels as stored, in `[N, H, W, C]` order, before any normalisation.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// Bytes, 0..=255.
    U8(Vec<u8>),
    /// Floats, all finite; or integers outside 0..=255, converted.
    F32(Vec<f32>),
}

/// Images of one size, with or without labels. There is at least one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Number of images that were kept, at least 1.
    pub len: usize,
    /// `len * height * width * channels` pixels: image after image, each `[H, W, C]`.
    pub pixels: Pixels,
    /// One class index per image; `None` if the set came without labels.
    pub labels: Option<Vec<u32>>,
    /// The names of the class folders, if labels are positions among them; else empty.
    pub class_names: Vec<String>,
}

/// The part of a set to load, and the model that it is for.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// The format of the set; `None` to [detect](Format::detect) it.
    pub format: Option<Format>,
    /// The file with the labels (`.npy` or IDX), for sets that do not carry their own: an error
    /// with [`Format::Cifar10`] and with class folders. It wins over labels found beside the images
    /// or in their archive.
    pub labels: Option<&'a Path>,
    /// The model's input `[H, W, C]`.
    pub input: [usize; 3],
    /// The most images to take, at least 1. `None` takes all.
    pub limit: Option<usize>,
    /// Which images to take when `limit` is smaller than the set: the first ones of a shuffle with
    /// this seed, kept in file order. The same on every platform; with one seed, a smaller limit
    /// picks a subset of what a larger one picks.
    pub seed: u64,
}

/// The images at `path`, in file order, with labels where there are any.
///
/// Pixels and labels are checked for the picked images only; sizes, shapes and the number of labels
/// are checked for the whole set.
///
/// # Errors
///
/// [`DataError`]: nothing at `path`, no known format, a damaged file, images that do not fit
/// `options.input`, a pixel that is not finite, labels that do not match the images, no image at
/// all, more than [`MAX_SET_BYTES`]. That a set has no labels is not an error here.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Dataset, DataError> {
    check_input(path, options.input)?;
    if options.limit == Some(0) {
        return Err(DataError::LimitZero { path: path.into() });
    }
    stat(path)?;
    let format = match options.format {
        Some(format) => format,
        None => Format::detect(path)?,
    };
    match format {
        Format::Npy => npy::load(path, options),
        Format::Cifar10 => cifar10::load(path, options),
        Format::Idx => idx::load(path, options),
        Format::Folder => folder::load(path, options),
    }
}

/// Sample `index` of a `.npy`, an `.npz`, a PNG or a JPEG, without its label; they are told apart
/// by the first bytes.
///
/// `input` is the model's `[H, W, C]`. An array may hold a single image without a batch axis:
/// `[C, H, W]`, `[H, W, C]`, `[H, W]` for one channel, `[C]` for one pixel.
///
/// # Errors
///
/// [`DataError`]: nothing at `path`, a damaged file, an image that does not fit `input`, a pixel
/// that is not finite, fewer samples.
pub fn load_input(path: &Path, input: [usize; 3], index: usize) -> Result<Dataset, DataError> {
    check_input(path, input)?;
    let (mut reader, _) = open(path)?;
    let start = read_up_to(&mut reader, 8, path)?;
    if picture::is_picture(&start) || has_extension(path, &picture::EXTENSIONS) {
        check_index(path, index, 1)?;
        let pixels = Pixels::U8(picture::read(path, input)?);
        return Ok(Dataset::new(input, 1, pixels, None));
    }
    npy::load_input(path, input, index)
}

/// `index` must be one of `count` samples.
fn check_index(path: &Path, index: usize, count: usize) -> Result<(), DataError> {
    if index < count {
        return Ok(());
    }
    Err(DataError::NoSample {
        path: path.into(),
        index,
        count,
    })
}

/// The fingerprint of samples and labels.
#[must_use]
pub fn data_fingerprint(data: &Dataset) -> u64 {
    let pixels: Vec<u8> = match &data.pixels {
        Pixels::U8(raw) => raw.clone(),
        Pixels::F32(raw) => raw.iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    let labels = data.labels.iter().flatten();
    let labels: Vec<u8> = labels.flat_map(|label| label.to_le_bytes()).collect();
    fingerprint([pixels.as_slice(), &labels])
}

/// Samples `range` of a data set as real inputs, `[N, H, W, C]`.
#[must_use]
pub fn real_inputs(
    data: &Dataset,
    preprocess: &Preprocess,
    range: std::ops::Range<usize>,
) -> Vec<f32> {
    let len = data.height * data.width * data.channels;
    let elements = range.start * len..range.end * len;
    let real = |i: usize, raw: f32| preprocess.real(raw, i % data.channels);
    match &data.pixels {
        Pixels::U8(raw) => {
            let raw = raw[elements].iter().map(|x| f32::from(*x));
            raw.enumerate().map(|(i, x)| real(i, x)).collect()
        }
        Pixels::F32(raw) => {
            let raw = raw[elements].iter().copied();
            raw.enumerate().map(|(i, x)| real(i, x)).collect()
        }
    }
}

impl Dataset {
    /// The first `count` samples.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let count = count.min(self.len);
        let elements = count * self.height * self.width * self.channels;
        Self {
            len: count,
            pixels: match &self.pixels {
                Pixels::U8(raw) => Pixels::U8(raw[..elements].to_vec()),
                Pixels::F32(raw) => Pixels::F32(raw[..elements].to_vec()),
            },
            labels: self.labels.as_ref().map(|labels| labels[..count].to_vec()),
            class_names: self.class_names.clone(),
            ..*self
        }
    }

    /// The labels, all of them classes below `classes`; `path` is where the set came from, for
    /// errors.
    ///
    /// # Errors
    ///
    /// [`DataError::LabelsMissing`], [`DataError::ClassFolders`], [`DataError::LabelNotAClass`].
    pub fn labels_below(&self, classes: usize, path: &Path) -> Result<&[u32], DataError> {
        let path = || path.to_path_buf();
        let Some(labels) = &self.labels else {
            return Err(DataError::LabelsMissing { path: path() });
        };
        // with a folder too few or too many, positions would be other classes
        if !self.class_names.is_empty() && self.class_names.len() != classes {
            return Err(DataError::ClassFolders {
                path: path(),
                names: self.class_names.clone(),
                classes,
            });
        }
        match labels.iter().position(|label| *label as usize >= classes) {
            None => Ok(labels),
            Some(image) => Err(DataError::LabelNotAClass {
                path: path(),
                image,
                label: labels[image],
                classes,
            }),
        }
    }

    fn new(
        [height, width, channels]: [usize; 3],
        len: usize,
        pixels: Pixels,
        labels: Option<Vec<u32>>,
    ) -> Self {
        Self {
            height,
            width,
            channels,
            len,
            pixels,
            labels,
            class_names: Vec::new(),
        }
    }
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Pixels times channels of one image; 16 bytes for each still fit an address space of 32 bits.
const MAX_IMAGE_LEN: usize = 1 << 27;

/// Every later product of sizes relies on this: an image is not empty, and its bytes can be
/// counted.
fn check_input(path: &Path, input: [usize; 3]) -> Result<(), DataError> {
    let pixel_count = input
        .iter()
        .try_fold(1_usize, |product, &n| product.checked_mul(n));
    match pixel_count {
        Some(1..=MAX_IMAGE_LEN) => Ok(()),
        Some(_) | None => Err(DataError::ModelInput {
            path: path.into(),
            input,
        }),
    }
}

/// The most memory that the picked images of a set may take, with 16 bytes for the index and label
/// of each.
pub const MAX_SET_BYTES: u64 = 8 << 30;

/// The indices of the images to keep of those at `path`, ascending: all `len`, or `limit` of them
/// chosen by `seed`. An element of an image takes `element_bytes` in memory.
fn pick(
    path: &Path,
    len: usize,
    element_bytes: usize,
    options: &LoadOptions,
) -> Result<Vec<usize>, DataError> {
    let limit = options.limit.unwrap_or(len).min(len);
    let image_len: usize = options.input.iter().product();
    let image_bytes = image_len as u64 * element_bytes as u64 + 16;
    let needed_bytes = u128::from(image_bytes) * limit as u128;
    if needed_bytes > u128::from(MAX_SET_BYTES) {
        return Err(DataError::SetTooLarge {
            path: path.into(),
            images: limit,
            needed_bytes,
            most_images: MAX_SET_BYTES / image_bytes,
        });
    }
    if limit == len {
        return Ok((0..len).collect());
    }
    // The first `limit` steps of a Fisher-Yates shuffle (Durstenfeld 1964), driven by SplitMix64
    // (Steele, Lea & Flood 2014), of which only the indices that moved are held.
    let mut moved = HashMap::new();
    let mut picks = Vec::with_capacity(limit);
    let mut state = options.seed;
    for i in 0..limit {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let below = (u128::from(z) * (len - i) as u128) >> 64;
        let j = i + below as usize;
        let here = moved.get(&i).copied().unwrap_or(i);
        picks.push(moved.insert(j, here).unwrap_or(j));
    }
    picks.sort_unstable();
    Ok(picks)
}

/// An empty vector with room for `count` images of the size `input`.
fn room<T>(path: &Path, count: usize, input: [usize; 3]) -> Result<Vec<T>, DataError> {
    let len = input.iter().product::<usize>().saturating_mul(count);
    let mut elements = Vec::new();
    match elements.try_reserve_exact(len) {
        Ok(()) => Ok(elements),
        Err(_) => Err(DataError::OutOfMemory {
            path: path.into(),
            needed_bytes: len as u128 * size_of::<T>() as u128,
        }),
    }
}

/// The labels in `path`, a `.npy` of integers `[N]` or `[N, 1]` or an IDX file with one dimension,
/// for the picked ones of `images` images.
fn read_labels(path: &Path, images: usize, picks: &[usize]) -> Result<Vec<u32>, DataError> {
    let (mut reader, _) = open(path)?;
    let start = read_up_to(&mut reader, 8, path)?;
    if idx::is_idx(&start) {
        idx::read_labels(path, images, picks)
    } else {
        npy::read_labels(path, images, picks)
    }
}

/// `path` must have a label for each image.
fn check_label_count(path: &Path, images: usize, labels: u64) -> Result<(), DataError> {
    if labels == images as u64 {
        return Ok(());
    }
    Err(DataError::LabelCount {
        path: path.into(),
        images,
        labels,
    })
}

fn io_error(path: &Path, source: io::Error) -> DataError {
    if source.kind() == io::ErrorKind::NotFound {
        DataError::NotFound { path: path.into() }
    } else {
        DataError::Io {
            path: path.into(),
            source,
        }
    }
}

fn stat(path: &Path) -> Result<fs::Metadata, DataError> {
    fs::metadata(path).map_err(|source| io_error(path, source))
}

/// The file and its size in bytes.
fn open(path: &Path) -> Result<(BufReader<File>, u64), DataError> {
    let metadata = stat(path)?;
    if !metadata.is_file() {
        return Err(DataError::NotAFile { path: path.into() });
    }
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    Ok((BufReader::new(file), metadata.len()))
}

/// The next `count` bytes, or fewer at the end.
fn read_up_to(reader: &mut impl Read, count: u64, path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    let result = reader.take(count).read_to_end(&mut bytes);
    result.map_err(|source| io_error(path, source))?;
    Ok(bytes)
}

/// The entries of a folder as (is a folder, path), sorted by name, without hidden ones.
fn list(path: &Path) -> Result<Vec<(bool, PathBuf)>, DataError> {
    let failed = |source| io_error(path, source);
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            let entry_path = entry.path();
            entries.push((stat(&entry_path)?.is_dir(), entry_path));
        }
    }
    entries.sort();
    Ok(entries)
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|found| {
        extensions
            .iter()
            .any(|wanted| found.eq_ignore_ascii_case(wanted))
    })
}

#[cfg(test)]
mod tests {
    use super::testing::{Folder, bytes, fault, npy, options};
    use super::*;

    const PICKED_WITH_SEED_7: [usize; 5] = [17, 389, 454, 584, 900];

    fn pick_from(len: usize, options: &LoadOptions) -> Vec<usize> {
        pick(Path::new("set"), len, 1, options).unwrap()
    }

    fn picked(len: usize, limit: usize, seed: u64) -> Vec<usize> {
        let limit = Some(limit);
        pick_from(
            len,
            &LoadOptions {
                limit,
                seed,
                ..options([1, 1, 1])
            },
        )
    }

    #[test]
    fn a_limit_picks_a_seeded_subset() {
        assert_eq!(pick_from(3, &options([1, 1, 1])), [0, 1, 2]);
        assert_eq!(picked(3, 3, 9), [0, 1, 2]);
        assert_eq!(picked(3, 4, 9), [0, 1, 2]);
        assert_eq!(picked(1000, 5, 7), PICKED_WITH_SEED_7);
        assert_ne!(picked(1000, 5, 8), PICKED_WITH_SEED_7);
        let (some, more) = (picked(100, 10, 3), picked(100, 30, 3));
        assert!(more.is_sorted_by(|a, b| a < b));
        assert!(some.iter().all(|i| more.contains(i)));
        let mut hits = [0; 10];
        for seed in 0..2000 {
            picked(10, 3, seed).into_iter().for_each(|i| hits[i] += 1);
        }
        assert!(hits.iter().all(|&n| (500..700).contains(&n)), "{hits:?}");
        let half = picked(usize::MAX, 5, 1);
        assert!(half.is_sorted_by(|a, b| a < b) && half[4] > usize::MAX / 8);
    }

    #[test]
    fn a_set_may_not_take_all_memory() {
        let path = Path::new("set");
        let all = |count, input, bytes| pick(path, count, bytes, &options(input));
        // 2^27 + 16 bytes for an image
        let error = fault(all(64, [1 << 13, 1 << 14, 1], 1), path);
        assert!(matches!(
            error,
            DataError::SetTooLarge {
                images: 64,
                needed_bytes: 8_589_935_616,
                most_images: 63,
                ..
            }
        ));
        let limited = LoadOptions {
            limit: Some(63),
            ..options([1 << 13, 1 << 14, 1])
        };
        assert_eq!(pick(path, 64, 1, &limited).unwrap().len(), 63);
        fault(pick(path, 64, 4, &limited), path);
        fault(all(usize::MAX, [1, 1, 1], 4), path);
    }

    #[test]
    fn impossible_requests_are_named() {
        let path = Path::new("nowhere/at_all.npy");
        let error = fault(load(path, &options([1, 1, 1])), path);
        assert!(matches!(error, DataError::NotFound { .. }));
        let error = fault(load_input(path, [1, 1, 1], 0), path);
        assert!(matches!(error, DataError::NotFound { .. }));
        for input in [
            [0, 1, 1],
            [1, 1, 0],
            [usize::MAX, 2, 1],
            [1 << 14, 1 << 14, 1],
        ] {
            let error = fault(load(path, &options(input)), path);
            assert!(matches!(error, DataError::ModelInput { .. }));
            let error = fault(load_input(path, input, 0), path);
            assert!(matches!(error, DataError::ModelInput { .. }));
        }
        let none = LoadOptions {
            limit: Some(0),
            ..options([1, 1, 1])
        };
        assert!(matches!(
            fault(load(path, &none), path),
            DataError::LimitZero { .. }
        ));
        let error = fault(load_input(Path::new("."), [1, 1, 1], 0), ".");
        assert!(matches!(error, DataError::NotAFile { .. }));
        let error = DataError::LabelsMissing { path: path.into() };
        fault(Err::<(), _>(error), path);
    }

    #[test]
    fn a_format_is_forced_or_detected() {
        let folder = Folder::new();
        let path = folder.write("digits.data", npy("'|u1'", false, "(2, 1, 1)", &[7, 8]));
        assert_eq!(bytes(&load(&path, &options([1, 1, 1])).unwrap()), [7, 8]);
        let forced = LoadOptions {
            format: Some(Format::Idx),
            ..options([1, 1, 1])
        };
        let error = fault(load(&path, &forced), &path);
        assert!(
            matches!(
                error,
                DataError::IdxMagic {
                    found: 0x934e_554d,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn an_input_may_be_an_image_file() {
        let folder = Folder::new();
        let path = folder.write_image("one.png", [1, 2, 1], &[3, 4]);
        let input = load_input(&path, [1, 2, 1], 0).unwrap();
        assert_eq!((input.len, bytes(&input)), (1, &[3, 4][..]));
        assert_eq!(input.labels, None);
        let error = fault(load_input(&path, [2, 1, 1], 0), &path);
        assert!(matches!(error, DataError::ImageSize { found_width: 2, .. }));
        let error = fault(load_input(&path, [1, 2, 1], 1), &path);
        assert!(matches!(error, DataError::NoSample { count: 1, .. }));
        let path = folder.write("two.png", "text");
        let error = fault(load_input(&path, [1, 2, 1], 0), &path);
        assert!(matches!(error, DataError::NotAPicture { .. }));
    }
}

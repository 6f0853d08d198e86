//! The images of an array: which axis is which, and their pixels in `[H, W, C]` order.

use std::path::Path;

use super::array::{Array, Values};
use super::source::Source;
use crate::dataset::{self, DataError, LoadOptions, MAX_SET_BYTES, Pixels};

const IMAGE_TYPES: &str = "integers or floats of 32 or 64 bits";

/// Which images of an array are wanted.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    /// The images that the options pick.
    Set(&'a LoadOptions<'a>),
    /// One, for a model of this input `[H, W, C]`; the batch axis may be missing.
    Sample { input: [usize; 3], index: usize },
}

/// Strides of the pixels: elements from one index to the next.
struct Layout {
    /// Images in the array.
    count: usize,
    image: usize,
    row: usize,
    column: usize,
    channel: usize,
}

impl Request<'_> {
    const fn input(self) -> [usize; 3] {
        match self {
            Self::Set(options) => options.input,
            Self::Sample { input, .. } => input,
        }
    }

    /// The shapes that would do, an axis a letter, the preferred ones first. One channel needs no
    /// axis for the channels, one column none for columns, one pixel none for rows either.
    fn axes(self) -> impl Iterator<Item = &'static str> {
        let single: &[_] = match self {
            Self::Set(_) => &[],
            Self::Sample { .. } => &["CHW", "HWC", "HW", "CH", "HC", "H", "C"],
        };
        let [height, width, channels] = self.input();
        let sets = ["NCHW", "NHWC", "NHW", "NCH", "NHC", "NH", "NC"];
        let all = single.iter().copied().chain(sets);
        all.filter(move |axes| {
            let has = |axis| axes.contains(axis);
            let is_series = has('H') && !has('W');
            (channels == 1 || has('C'))
                && (height * width == 1 || has('H'))
                && (!is_series || width == 1 && height > 1)
        })
    }

    fn size(self, axis: char) -> Option<usize> {
        match axis {
            'H' => Some(self.input()[0]),
            'W' => Some(self.input()[1]),
            'C' => Some(self.input()[2]),
            _ => None,
        }
    }

    fn layout(self, array: &Array, path: &Path) -> Result<Layout, DataError> {
        let fits = |axes: &&str| {
            let same = |(axis, &found)| self.size(axis).is_none_or(|size| size as u64 == found);
            axes.len() == array.shape.len() && axes.chars().zip(&array.shape).all(same)
        };
        let Some(axes) = self.axes().find(fits) else {
            let shape = |axes: &str| {
                let sizes = axes
                    .chars()
                    .map(|axis| self.size(axis).map_or("N".into(), |size| size.to_string()));
                format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
            };
            let expected = self.axes().map(shape).collect::<Vec<_>>().join(" or ");
            return Err(DataError::ArrayShape {
                path: path.into(),
                found: array.shape.clone(),
                expected,
            });
        };
        // of a series of as many steps as channels, either may come first: PyTorch and TensorFlow do not agree
        if matches!(axes, "NCH" | "CH") && self.input()[0] == self.input()[2] {
            return Err(DataError::Ambiguous {
                path: path.into(),
                found: array.shape.clone(),
            });
        }
        let stride = |axis| axes.find(axis).map_or(0, |at| array.strides[at] as usize);
        Ok(Layout {
            count: if axes.starts_with('N') {
                array.shape[0] as usize
            } else {
                1
            },
            image: stride('N'),
            row: stride('H'),
            column: stride('W'),
            channel: stride('C'),
        })
    }

    /// The indices of the wanted images out of `count`, ascending.
    fn picks(self, path: &Path, count: usize, array: &Array) -> Result<Vec<usize>, DataError> {
        match self {
            Self::Set(options) => {
                let element_bytes = if array.is_bytes() {
                    1
                } else {
                    size_of::<f32>()
                };
                dataset::pick(path, count, element_bytes, options)
            }
            Self::Sample { index, .. } => {
                dataset::check_index(path, index, count)?;
                Ok(vec![index])
            }
        }
    }

    /// The wanted images of `source`.
    pub(super) fn read(self, mut source: Source) -> Result<Images, DataError> {
        let array = Array::open(&mut source, IMAGE_TYPES)?;
        let path = source.path.clone();
        let layout = self.layout(&array, &path)?;
        if layout.count == 0 {
            return Err(DataError::NoImages { path });
        }
        let input = self.input();
        let picks = self.picks(&path, layout.count, &array)?;
        let mut pixels = if array.is_integer() {
            Pixels::U8(dataset::room(&path, picks.len(), input)?)
        } else {
            Pixels::F32(dataset::room(&path, picks.len(), input)?)
        };
        let mut add = |index, bytes: &[u8], first| {
            let image = gather(bytes, first, &layout, input, array.item_bytes);
            let image = array.decode(image, &path)?;
            append(&mut pixels, image, input, (&path, index))
        };
        if array.is_fortran {
            let all = read_whole(&mut source, &array, &path)?;
            for &index in &picks {
                add(index, &all, index * layout.image)?;
            }
        } else {
            let image_bytes = input.iter().product::<usize>() * array.item_bytes;
            let mut next = 0;
            for &index in &picks {
                source.skip((index - next) as u64 * image_bytes as u64)?;
                next = index + 1;
                add(index, &source.read(image_bytes)?, 0)?;
            }
        }
        source.finish()?;
        Ok(Images {
            pixels,
            picks,
            count: layout.count,
        })
    }
}

/// The elements of an array whose images are not one after the other.
fn read_whole(source: &mut Source, array: &Array, path: &Path) -> Result<Vec<u8>, DataError> {
    let found_bytes = array.len as u64 * array.item_bytes as u64;
    if found_bytes > MAX_SET_BYTES {
        return Err(DataError::FortranTooLarge {
            path: path.into(),
            found_bytes,
        });
    }
    source.read(found_bytes as usize)
}

/// The picked images, out of `count`.
pub(super) struct Images {
    pub(super) pixels: Pixels,
    pub(super) picks: Vec<usize>,
    pub(super) count: usize,
}

/// The elements of `item_bytes` each of the image `[H, W, C]` whose first is element `first`.
fn gather(
    bytes: &[u8],
    first: usize,
    layout: &Layout,
    [height, width, channels]: [usize; 3],
    item_bytes: usize,
) -> Vec<u8> {
    let mut image = Vec::with_capacity(height * width * channels * item_bytes);
    for y in 0..height {
        for x in 0..width {
            let pixel = first + y * layout.row + x * layout.column;
            for channel in 0..channels {
                let at = (pixel + channel * layout.channel) * item_bytes;
                image.extend_from_slice(&bytes[at..at + item_bytes]);
            }
        }
    }
    image
}

/// Appends image `index` of the array in `path`. All bytes so far turn into floats as soon as one
/// integer is not a byte.
fn append(
    pixels: &mut Pixels,
    image: Values,
    [_, width, channels]: [usize; 3],
    (path, index): (&Path, usize),
) -> Result<(), DataError> {
    let floats: Vec<f32> = match (image, &mut *pixels) {
        (Values::Bytes(image), Pixels::U8(bytes)) => {
            bytes.extend(image);
            return Ok(());
        }
        (Values::Integers(image), Pixels::U8(bytes))
            if image.iter().all(|value| (0..=255).contains(value)) =>
        {
            bytes.extend(image.into_iter().map(|value| value as u8));
            return Ok(());
        }
        (Values::Bytes(image), _) => image.into_iter().map(f32::from).collect(),
        (Values::Integers(image), _) => image.into_iter().map(|value| value as f32).collect(),
        (Values::Floats(image), _) => {
            if let Some(at) = image.iter().position(|&value| !(value as f32).is_finite()) {
                let (y, x, channel) = (at / channels / width, at / channels % width, at % channels);
                let (path, value) = (path.into(), image[at]);
                return Err(DataError::NotFinite {
                    path,
                    index,
                    y,
                    x,
                    channel,
                    value,
                });
            }
            image.into_iter().map(|value| value as f32).collect()
        }
    };
    let mut all = match std::mem::replace(pixels, Pixels::F32(Vec::new())) {
        Pixels::U8(bytes) => bytes.into_iter().map(f32::from).collect(),
        Pixels::F32(floats) => floats,
    };
    all.extend(floats);
    *pixels = Pixels::F32(all);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::dataset::testing::{Folder, bytes, fault, floats, load_fault, npy, options};
    use crate::dataset::{DataError, Dataset, load, load_input};

    fn set(bytes: Vec<u8>, input: [usize; 3]) -> Dataset {
        let folder = Folder::new();
        load(&folder.write("x.npy", bytes), &options(input)).unwrap()
    }

    /// For 2 images [H, W, C] = [2, 3, 4] whose pixel is n + 2y + 4x + 16c.
    fn pixel([n, y, x, c]: [usize; 4]) -> u8 {
        (n + 2 * y + 4 * x + 16 * c) as u8
    }

    fn indices([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
        (0..a * b * c * d).map(move |i| [i / (b * c * d), i / (c * d) % b, i / d % c, i % d])
    }

    #[test]
    fn every_layout_gives_the_same_pixels() {
        let expected: Vec<u8> = indices([2, 2, 3, 4]).map(pixel).collect();
        let nchw = |[n, c, y, x]: [usize; 4]| pixel([n, y, x, c]);
        let input = [2, 3, 4];

        let data: Vec<u8> = indices([2, 2, 3, 4]).map(pixel).collect();
        assert_eq!(
            bytes(&set(npy("'|u1'", false, "(2, 2, 3, 4)", &data), input)),
            expected
        );
        let data: Vec<u8> = indices([2, 4, 2, 3]).map(nchw).collect();
        assert_eq!(
            bytes(&set(npy("'|u1'", false, "(2, 4, 2, 3)", &data), input)),
            expected
        );
        let data: Vec<u8> = indices([4, 3, 2, 2])
            .map(|[c, x, y, n]| pixel([n, y, x, c]))
            .collect();
        assert_eq!(
            bytes(&set(npy("'|u1'", true, "(2, 2, 3, 4)", &data), input)),
            expected
        );
        let data: Vec<u8> = indices([3, 2, 4, 2])
            .map(|[x, y, c, n]| nchw([n, c, y, x]))
            .collect();
        assert_eq!(
            bytes(&set(npy("'|u1'", true, "(2, 4, 2, 3)", &data), input)),
            expected
        );
    }

    #[test]
    fn ambiguity_is_resolved_as_in_pytorch() {
        let data: Vec<u8> = (0..8).collect();
        let set = set(npy("'|u1'", false, "(1, 2, 2, 2)", &data), [2, 2, 2]);
        assert_eq!(bytes(&set), [0, 4, 1, 5, 2, 6, 3, 7]);
    }

    #[test]
    fn a_series_of_as_many_steps_as_channels_says_which_comes_first() {
        let data: Vec<u8> = (0..8).collect();
        let folder = Folder::new();
        let read = |shape| {
            let bytes = npy("'|u1'", false, shape, &data);
            load(&folder.write("x.npy", bytes), &options([2, 1, 2]))
        };
        let error = read("(2, 2, 2)").expect_err("two ways to read it");
        assert!(matches!(error, DataError::Ambiguous { .. }), "{error}");
        let first = read("(2, 2, 2, 1)").expect("channels first");
        assert_eq!(bytes(&first), [0, 2, 1, 3, 4, 6, 5, 7]);
        let last = read("(2, 2, 1, 2)").expect("channels last");
        assert_eq!(bytes(&last), data);
    }

    #[test]
    fn one_channel_needs_no_channel_axis() {
        for shape in ["(2, 1, 3)", "(2, 1, 1, 3)", "(2, 1, 3, 1)"] {
            let set = set(npy("'|u1'", false, shape, &[1, 2, 3, 4, 5, 6]), [1, 3, 1]);
            assert_eq!(
                (set.len, bytes(&set)),
                (2, &[1, 2, 3, 4, 5, 6][..]),
                "{shape}"
            );
        }
    }

    #[test]
    fn a_single_input_needs_no_batch_axis() {
        let folder = Folder::new();
        let data: Vec<u8> = (0..12).collect();
        let hwc = [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11];
        for (shape, input, len, expected) in [
            ("(2, 2, 3)", [2, 3, 2], 1, &hwc[..]),
            ("(2, 3, 2)", [2, 3, 2], 1, &data),
            ("(1, 2, 3, 2)", [2, 3, 2], 1, &data),
            ("(4, 3)", [4, 3, 1], 1, &data),
            ("(1, 4, 3)", [4, 3, 1], 1, &data),
            ("(4, 3, 1)", [4, 3, 1], 1, &data),
            ("(2, 2, 3)", [2, 3, 1], 2, &data),
            ("(2, 1, 2, 3)", [2, 3, 1], 2, &data),
            ("(12,)", [1, 1, 12], 1, &data),
            ("(1, 12)", [1, 1, 12], 1, &data),
            ("(4, 3)", [1, 1, 3], 4, &data),
            ("(12,)", [1, 12, 1], 0, &[]),
        ] {
            let path = folder.write("x.npy", npy("'|u1'", false, shape, &data));
            for (index, image) in expected.chunks(12 / len.max(1)).enumerate() {
                let set = load_input(&path, input, index).unwrap();
                assert_eq!((set.len, bytes(&set)), (1, image), "{shape}");
            }
            let error = fault(load_input(&path, input, len), &path);
            if len == 0 {
                assert!(matches!(error, DataError::ArrayShape { .. }), "{shape}");
            } else {
                let is_last = matches!(error, DataError::NoSample { count, .. } if count == len);
                assert!(is_last, "{shape}: {error}");
            }
        }
        let path = folder.write("x.npy", npy("'|u1'", false, "(4, 3)", &data));
        let error = fault(load(&path, &options([4, 3, 1])), &path);
        assert!(matches!(error, DataError::ArrayShape { .. }));
        let error = fault(load_input(&path, [3, 4, 1], 0), &path);
        let expected = "has shape [4, 3], expected [1, 3, 4] or [3, 4, 1] or [3, 4] \
                        or [N, 1, 3, 4] or [N, 3, 4, 1] or [N, 3, 4]";
        assert!(error.to_string().ends_with(expected), "{error}");
    }

    #[test]
    fn vectors_need_no_rows_and_columns() {
        let data = [1, 2, 3, 4, 5, 6];
        for shape in ["(2, 3)", "(2, 3, 1, 1)", "(2, 1, 1, 3)"] {
            let set = set(npy("'|u1'", false, shape, &data), [1, 1, 3]);
            assert_eq!((set.len, bytes(&set)), (2, &data[..]), "{shape}");
        }
        let columns = set(npy("'|u1'", true, "(2, 3)", &[1, 4, 2, 5, 3, 6]), [1, 1, 3]);
        assert_eq!((columns.len, bytes(&columns)), (2, &data[..]));
        let folder = Folder::new();
        let path = folder.write("x.npy", npy("'|u1'", false, "(3, 2)", &data));
        let error = load_fault(&path, [1, 1, 3]);
        let expected = "has shape [3, 2], expected [N, 3, 1, 1] or [N, 1, 1, 3] or [N, 3]";
        assert!(error.to_string().ends_with(expected), "{error}");
        // of an image of more pixels, the order of the axes matters
        let error = load_fault(&path, [1, 2, 1]);
        assert!(matches!(error, DataError::ArrayShape { .. }));
    }

    #[test]
    fn a_series_needs_no_columns() {
        let first = [1, 2, 3, 11, 12, 13, 21, 22, 23, 31, 32, 33];
        let last = [1, 11, 2, 12, 3, 13, 21, 31, 22, 32, 23, 33];
        for (shape, data) in [
            ("(2, 2, 3)", &first),
            ("(2, 2, 3, 1)", &first),
            ("(2, 3, 2)", &last),
            ("(2, 3, 1, 2)", &last),
        ] {
            let set = set(npy("'|u1'", false, shape, data), [3, 1, 2]);
            assert_eq!((set.len, bytes(&set)), (2, &last[..]), "{shape}");
        }
        let one = set(npy("'|u1'", false, "(2, 6)", &first), [6, 1, 1]);
        assert_eq!((one.len, bytes(&one)), (2, &first[..]));
        let folder = Folder::new();
        for (shape, data) in [("(2, 3)", &first[..6]), ("(3, 2)", &last[..6])] {
            let path = folder.write("x.npy", npy("'|u1'", false, shape, data));
            let sample = load_input(&path, [3, 1, 2], 0).unwrap();
            assert_eq!((sample.len, bytes(&sample)), (1, &last[..6]), "{shape}");
        }
        let path = folder.write("x.npy", npy("'|u1'", false, "(4, 3)", &first));
        let error = load_fault(&path, [3, 1, 2]);
        assert!(
            error.to_string().contains("[N, 2, 3] or [N, 3, 2]"),
            "{error}"
        );
    }

    #[test]
    fn element_types_become_bytes_or_floats() {
        let one = [1, 2, 1];
        let of = |descr: &str, data: &[u8]| set(npy(descr, false, "(1, 1, 2)", data), one);
        assert_eq!(
            bytes(&of("'<i8'", &[0_i64, 255].map(i64::to_le_bytes).concat())),
            [0, 255]
        );
        assert_eq!(
            bytes(&of("'>u2'", &[7_u16, 8].map(u16::to_be_bytes).concat())),
            [7, 8]
        );
        assert_eq!(floats(&of("'|i1'", &[5, 0xff])), [5.0, -1.0]);
        let wide = [256_u32, 16_777_217].map(u32::to_le_bytes).concat();
        assert_eq!(floats(&of("'<u4'", &wide)), [256.0, 16_777_216.0]);
        assert_eq!(
            floats(&of("'<u8'", &[0xff; 16])),
            [18_446_744_073_709_551_615.0; 2]
        );
        let data = [0.5_f32, -3.0].map(f32::to_be_bytes).concat();
        assert_eq!(floats(&of("'>f4'", &data)), [0.5, -3.0]);
        let data = [0.1_f64, -3.0].map(f64::to_le_bytes).concat();
        assert_eq!(floats(&of("'<f8'", &data)), [0.1, -3.0]);
        // A later image turns the earlier ones into floats.
        let data = [1_i16, 2, 3, 256, 4, 5].map(i16::to_le_bytes).concat();
        let later = set(npy("'<i2'", false, "(3, 1, 2)", &data), one);
        assert_eq!(floats(&later), [1.0, 2.0, 3.0, 256.0, 4.0, 5.0]);
    }

    #[test]
    fn numbers_that_are_not_finite_are_found() {
        let folder = Folder::new();
        for (bad, order) in [(f64::NAN, false), (f64::NEG_INFINITY, false), (1e39, true)] {
            // Image 1, row 0, column 2, channel 1 of two [2, 3, 2].
            let mut data = [0.0_f64; 24];
            data[if order {
                1 + 2 * (2 * (2 + 3))
            } else {
                12 + 2 * 2 + 1
            }] = bad;
            let data = data.map(f64::to_le_bytes).concat();
            let path = folder.write("x.npy", npy("'<f8'", order, "(2, 2, 3, 2)", &data));
            let error = load_fault(&path, [2, 3, 2]);
            let DataError::NotFinite {
                index: 1,
                y: 0,
                x: 2,
                channel: 1,
                value,
                ..
            } = error
            else {
                panic!("{error}")
            };
            assert_eq!(value.to_bits(), bad.to_bits());
        }
    }

    #[test]
    fn faults_are_named() {
        let folder = Folder::new();
        let fault = |shape: &str, data: &[u8]| {
            load_fault(
                &folder.write("x.npy", npy("'|u1'", false, shape, data)),
                [1, 2, 3],
            )
        };
        assert!(matches!(
            fault("(0, 1, 2, 3)", &[]),
            DataError::NoImages { .. }
        ));
        for shape in ["(1, 2, 3)", "(1, 2, 1, 3)", "(6,)", "(1, 1, 1, 2, 3)"] {
            let error = fault(shape, &[0; 6]);
            let ending = "expected [N, 3, 1, 2] or [N, 1, 2, 3]";
            assert!(error.to_string().ends_with(ending), "{error}");
        }
        assert!(matches!(fault("()", &[0]), DataError::ArrayShape { .. }));
        assert!(matches!(
            fault("(1, 3, 1, 2)", &[0; 5]),
            DataError::FileSize { .. }
        ));
        assert!(matches!(
            fault("(1, 3, 1, 2)", &[0; 7]),
            DataError::FileSize { .. }
        ));
    }
}

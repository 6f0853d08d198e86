//! Class folders: `PATH/<class>/<image>`, with PNG and JPEG images; and single image files.
//!
//! Grey and colour are converted to the model's channels: grey is repeated, colour becomes its luma
//! (Rec. 709 weights). Alpha is dropped, 16 bits per sample become 8, an EXIF orientation is not
//! applied.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader};

use super::{DataError, Dataset, Format, LoadOptions, Pixels};

/// Files with other extensions are passed over. What a file holds is told by its first bytes.
pub(super) const EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];

/// `true` if a file that starts so is a PNG or a JPEG.
pub(super) fn is_image(start: &[u8]) -> bool {
    start.starts_with(b"\x89PNG\r\n\x1a\n") || start.starts_with(b"\xff\xd8\xff")
}

/// The sub-folders of a folder, sorted by name, without hidden ones.
pub(super) fn class_folders(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = super::list(path)?.into_iter();
    Ok(entries
        .filter(|(is_folder, _)| *is_folder)
        .map(|(_, path)| path)
        .collect())
}

/// Images `[H, W, C]` of the model's size; a label is the index of the image's folder.
pub(super) fn load(path: &Path, options: &LoadOptions) -> Result<Dataset, DataError> {
    if options.labels.is_some() {
        return Err(DataError::LabelsNotTaken {
            path: path.into(),
            format: Format::Folder,
        });
    }
    if !super::stat(path)?.is_dir() {
        return Err(DataError::NotAFolder { path: path.into() });
    }
    check_channels(path, options.input)?;
    let folders = class_folders(path)?;
    if folders.is_empty() {
        return Err(DataError::EmptyFolder {
            path: path.into(),
            expected: "class folders",
        });
    }
    let mut files = Vec::new();
    for (folder, label) in folders.iter().zip(0_u32..) {
        let entries = super::list(folder)?.into_iter();
        let is_kept = |(is_folder, file): &(bool, PathBuf)| {
            !is_folder && super::has_extension(file, &EXTENSIONS)
        };
        let file_count = files.len();
        files.extend(entries.filter(is_kept).map(|(_, file)| (label, file)));
        if files.len() == file_count {
            return Err(DataError::EmptyFolder {
                path: folder.into(),
                expected: "PNG or JPEG files",
            });
        }
    }
    let picks = super::pick(files.len(), options);
    let mut pixels = Vec::new();
    for &index in &picks {
        pixels.extend(read_image(&files[index].1, options.input)?);
    }
    let labels = picks.iter().map(|&index| files[index].0).collect();
    let mut dataset = Dataset::new(options.input, picks.len(), Pixels::U8(pixels), Some(labels));
    let name = |folder: &PathBuf| {
        folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    dataset.class_names = folders.iter().map(name).collect();
    Ok(dataset)
}

/// The pixels `[H, W, C]` of one PNG or JPEG that has the size `input`, in 1 or 3 channels.
pub(super) fn read_image(path: &Path, input: [usize; 3]) -> Result<Vec<u8>, DataError> {
    check_channels(path, input)?;
    let (file, _) = super::open(path)?;
    let image = decode(path, file, input)?;
    Ok(if input[2] == 1 {
        image.into_luma8().into_raw()
    } else {
        image.into_rgb8().into_raw()
    })
}

fn check_channels(path: &Path, [_, _, expected]: [usize; 3]) -> Result<(), DataError> {
    match expected {
        1 | 3 => Ok(()),
        _ => Err(DataError::Channels {
            path: path.into(),
            expected,
        }),
    }
}

/// The size is compared before the decoder takes memory for the pixels.
fn decode(
    path: &Path,
    file: BufReader<std::fs::File>,
    [expected_height, expected_width, _]: [usize; 3],
) -> Result<DynamicImage, DataError> {
    let undecodable = |source: ImageError| DataError::Undecodable {
        path: path.into(),
        source: Box::new(source),
    };
    let reader = ImageReader::new(file).with_guessed_format();
    let decoder = reader
        .map_err(|source| super::io_error(path, source))?
        .into_decoder()
        .map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    let (found_height, found_width) = (height as usize, width as usize);
    if (found_height, found_width) != (expected_height, expected_width) {
        let path = path.into();
        return Err(DataError::ImageSize {
            path,
            expected_height,
            expected_width,
            found_height,
            found_width,
        });
    }
    DynamicImage::from_decoder(decoder).map_err(undecodable)
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::super::testing::{Folder, bytes, fault, load_fault, options, survive_damage};
    use super::*;

    #[test]
    fn labels_are_the_sorted_folders() {
        let folder = Folder::new();
        folder.write_image("dog/b.png", [1, 2, 1], &[3, 4]);
        folder.write_image("dog/a.PNG", [1, 2, 1], &[1, 2]);
        folder.write_image("cat/z.png", [1, 2, 1], &[5, 6]);
        folder.write("cat/notes.txt", "passed over");
        folder.write("notes.txt", "passed over");
        folder.write(".git/x", "passed over");
        let set = load(folder.path(), &options([1, 2, 1])).unwrap();
        assert_eq!((set.height, set.width, set.channels, set.len), (1, 2, 1, 3));
        assert_eq!(bytes(&set), [5, 6, 1, 2, 3, 4]);
        assert_eq!(set.labels.as_deref(), Some(&[0, 1, 1][..]));
        assert_eq!(set.class_names, ["cat", "dog"]);
        let limited = LoadOptions {
            limit: Some(1),
            ..options([1, 2, 1])
        };
        let set = load(folder.path(), &limited).unwrap();
        assert_eq!(
            (set.len, bytes(&set).len(), set.class_names.len()),
            (1, 2, 2)
        );
    }

    #[test]
    fn channels_become_the_models() {
        let folder = Folder::new();
        let grey = folder.write_image("grey.png", [1, 2, 1], &[3, 4]);
        assert_eq!(read_image(&grey, [1, 2, 3]).unwrap(), [3, 3, 3, 4, 4, 4]);
        let rgb = folder.write_image("rgb.png", [1, 2, 3], &[9, 8, 7, 255, 0, 0]);
        assert_eq!(read_image(&rgb, [1, 2, 3]).unwrap(), [9, 8, 7, 255, 0, 0]);
        assert_eq!(read_image(&rgb, [1, 2, 1]).unwrap(), [8, 54]);
        let rgba = folder.write_image("rgba.png", [1, 1, 4], &[9, 8, 7, 0]);
        assert_eq!(read_image(&rgba, [1, 1, 3]).unwrap(), [9, 8, 7]);
        let jpeg = folder.write_image("x.jpeg", [8, 8, 3], &[100; 192]);
        assert!(
            read_image(&jpeg, [8, 8, 3])
                .unwrap()
                .iter()
                .all(|&p| p.abs_diff(100) < 3)
        );
        let error = fault(read_image(&grey, [1, 2, 2]), &grey);
        assert!(matches!(error, DataError::Channels { expected: 2, .. }));
    }

    #[test]
    fn faults_are_named() {
        let folder = Folder::new();
        let forced = LoadOptions {
            format: Some(Format::Folder),
            ..options([1, 2, 1])
        };
        let error = fault(load(folder.path(), &forced), folder.path());
        assert!(matches!(
            error,
            DataError::EmptyFolder {
                expected: "class folders",
                ..
            }
        ));
        folder.write_image("cat/z.png", [1, 2, 1], &[5, 6]);
        let error = load_fault(folder.path(), [1, 2, 4]);
        assert!(matches!(error, DataError::Channels { expected: 4, .. }));
        let labels = Some(Path::new("labels.npy"));
        let error = fault(
            load(folder.path(), &LoadOptions { labels, ..forced }),
            folder.path(),
        );
        assert!(matches!(error, DataError::LabelsNotTaken { .. }));
        let notes = folder.write("dog/notes.txt", "text");
        let error = fault(load(&notes, &forced), &notes);
        assert!(matches!(error, DataError::NotAFolder { .. }));
        let error = fault(load(folder.path(), &forced), folder.path().join("dog"));
        assert!(matches!(error, DataError::EmptyFolder { .. }));

        let bad = folder.write("dog/bad.jpg", "text");
        let error = fault(load(folder.path(), &forced), &bad);
        assert!(matches!(error, DataError::Undecodable { .. }));
        let good = folder.write_image("dog/bad.png", [1, 2, 1], &[5, 6]);
        std::fs::remove_file(&bad).unwrap();
        let cut = std::fs::read(&good).unwrap();
        let bad = folder.write("dog/bad.png", &cut[..cut.len() / 2]);
        let error = fault(load(folder.path(), &forced), &bad);
        assert!(matches!(error, DataError::Undecodable { .. }));
        let bad = folder.write_image("dog/bad.png", [3, 2, 1], &[0; 6]);
        let error = fault(load(folder.path(), &forced), &bad);
        let sizes = "3 pixels high and 2 wide, the model expects 1 high and 2 wide";
        assert!(error.to_string().ends_with(sizes), "{error}");
    }

    #[test]
    fn damage_never_panics() {
        let folder = Folder::new();
        for name in ["x.png", "x.jpg"] {
            let path = folder.write_image(name, [8, 8, 3], &[77; 192]);
            survive_damage(name, &std::fs::read(path).unwrap(), [8, 8, 3]);
        }
    }
}

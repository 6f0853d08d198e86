//! Folders of PNG and JPEG files: `PATH/<class>/<image>`, or `PATH/<image>` without labels.
//!
//! Class folders whose names are all different whole numbers (`0`, `07`) have these as their
//! labels, whichever of them there are. Otherwise a label is the position of the image's folder
//! among all, sorted by name, and [`Dataset::labels_below`] takes it only if there are as many
//! folders as the model has outputs. A class folder may be empty.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{DataError, Dataset, Format, LoadOptions, Pixels, picture};

/// Contents of a folder, sorted by name, without hidden entries and other files.
struct Contents {
    folders: Vec<PathBuf>,
    pictures: Vec<PathBuf>,
}

impl Contents {
    fn of(path: &Path) -> Result<Self, DataError> {
        let (folders, files): (Vec<_>, Vec<_>) = super::list(path)?
            .into_iter()
            .partition(|(is_folder, _)| *is_folder);
        let paths = |entries: Vec<(bool, PathBuf)>| entries.into_iter().map(|(_, path)| path);
        Ok(Self {
            folders: paths(folders).collect(),
            pictures: paths(files)
                .filter(|file| super::has_extension(file, &picture::EXTENSIONS))
                .collect(),
        })
    }
}

/// `true` if there are class folders or pictures at `path`.
pub(super) fn is_set(path: &Path) -> Result<bool, DataError> {
    let contents = Contents::of(path)?;
    Ok(!contents.folders.is_empty() || !contents.pictures.is_empty())
}

/// Images `[H, W, C]` of the model's size, with the labels of their folders or those that are
/// named.
pub(super) fn load(path: &Path, options: &LoadOptions) -> Result<Dataset, DataError> {
    if !super::stat(path)?.is_dir() {
        return Err(DataError::NotAFolder { path: path.into() });
    }
    picture::check_channels(path, options.input)?;
    let Contents { folders, pictures } = Contents::of(path)?;
    match (folders.is_empty(), pictures.is_empty()) {
        (true, true) => Err(DataError::EmptyFolder {
            path: path.into(),
            expected: "class folders, PNG or JPEG files",
        }),
        (true, false) => load_flat(path, &pictures, options),
        (false, true) => load_classes(path, &folders, options),
        (false, false) => Err(DataError::MixedFolder {
            path: path.into(),
            pictures: pictures.len(),
            folders: folders.len(),
        }),
    }
}

/// Pictures without classes; labels are those of a file, in the order of the pictures' names.
fn load_flat(
    path: &Path,
    pictures: &[PathBuf],
    options: &LoadOptions,
) -> Result<Dataset, DataError> {
    let picks = super::pick(path, pictures.len(), size_of::<u8>(), options)?;
    let labels = options
        .labels
        .map(|labels| super::read_labels(labels, pictures.len(), &picks));
    let labels = labels.transpose()?;
    let picked = picks.iter().map(|&index| pictures[index].as_path());
    let pixels = read_all(path, picked, options)?;
    Ok(Dataset::new(options.input, picks.len(), pixels, labels))
}

fn load_classes(
    path: &Path,
    folders: &[PathBuf],
    options: &LoadOptions,
) -> Result<Dataset, DataError> {
    if options.labels.is_some() {
        return Err(DataError::LabelsNotTaken {
            path: path.into(),
            format: Format::Folder,
        });
    }
    let names: Vec<String> = folders.iter().map(|folder| name(folder)).collect();
    let numbers = numbers(&names);
    let positions = || (0..).take(folders.len()).collect();
    let classes: Vec<u32> = numbers.clone().unwrap_or_else(positions);
    let mut files = Vec::new();
    for (folder, class) in folders.iter().zip(classes) {
        let pictures = Contents::of(folder)?.pictures;
        files.extend(pictures.into_iter().map(|file| (class, file)));
    }
    if files.is_empty() {
        return Err(DataError::EmptyFolder {
            path: path.into(),
            expected: "PNG or JPEG files in its class folders",
        });
    }
    let picks = super::pick(path, files.len(), size_of::<u8>(), options)?;
    let picked = picks.iter().map(|&index| files[index].1.as_path());
    let pixels = read_all(path, picked, options)?;
    let labels = picks.iter().map(|&index| files[index].0).collect();
    let mut dataset = Dataset::new(options.input, picks.len(), pixels, Some(labels));
    if numbers.is_none() {
        dataset.class_names = names;
    }
    Ok(dataset)
}

/// The pixels of the files that were picked out of those at `path`, one after the other.
fn read_all<'a>(
    path: &Path,
    files: impl ExactSizeIterator<Item = &'a Path>,
    options: &LoadOptions,
) -> Result<Pixels, DataError> {
    let mut pixels = super::room(path, files.len(), options.input)?;
    for file in files {
        pixels.extend(picture::read(file, options.input)?);
    }
    Ok(Pixels::U8(pixels))
}

fn name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The names as numbers, if they are different numbers.
fn numbers(names: &[String]) -> Option<Vec<u32>> {
    let is_number = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    if !names.iter().all(is_number) {
        return None;
    }
    let numbers: Vec<u32> = names
        .iter()
        .map(|name| name.parse().ok())
        .collect::<Option<_>>()?;
    let different: HashSet<&u32> = numbers.iter().collect();
    (different.len() == numbers.len()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::super::testing::{Folder, bytes, fault, load_fault, npy, options};
    use super::*;

    const INPUT: [usize; 3] = [1, 2, 1];

    /// Two pixels, the first of them `first`.
    fn write(folder: &Folder, name: &str, first: u8) -> PathBuf {
        folder.write_image(name, [1, 2, 1], &[first, 0])
    }

    /// The first pixel of each image and its label.
    fn pixels_and_labels(set: &Dataset) -> Vec<(u8, u32)> {
        let labels = set.labels.as_ref().unwrap().iter().copied();
        bytes(set).iter().copied().step_by(2).zip(labels).collect()
    }

    #[test]
    fn names_are_classes_by_their_order() {
        let folder = Folder::new();
        write(&folder, "dog/b.png", 3);
        write(&folder, "dog/a.PNG", 1);
        write(&folder, "cat/z.png", 5);
        folder.write("cat/notes.txt", "passed over");
        folder.write("notes.txt", "passed over");
        folder.write(".git/x", "passed over");
        let set = load(folder.path(), &options(INPUT)).unwrap();
        assert_eq!((set.height, set.width, set.channels, set.len), (1, 2, 1, 3));
        assert_eq!(pixels_and_labels(&set), [(5, 0), (1, 1), (3, 1)]);
        assert_eq!(set.class_names, ["cat", "dog"]);
        let limited = LoadOptions {
            limit: Some(1),
            ..options(INPUT)
        };
        let set = load(folder.path(), &limited).unwrap();
        assert_eq!(
            (set.len, bytes(&set).len(), set.class_names.len()),
            (1, 2, 2)
        );
    }

    #[test]
    fn a_class_without_images_keeps_its_place() {
        let folder = Folder::new();
        write(&folder, "ape/x.png", 1);
        write(&folder, "cow/x.png", 3);
        folder.write("bee/notes.txt", "passed over");
        let set = load(folder.path(), &options(INPUT)).unwrap();
        assert_eq!(pixels_and_labels(&set), [(1, 0), (3, 2)]);
        assert_eq!(set.labels_below(3, folder.path()).unwrap(), [0, 2]);
        for classes in [2, 4] {
            let error = fault(set.labels_below(classes, folder.path()), folder.path());
            let message = error.to_string();
            assert!(
                message.contains("3 class folders (ape, bee, cow)"),
                "{error}"
            );
            assert!(message.contains(&format!("{classes} outputs")), "{error}");
        }
    }

    #[test]
    fn numbers_are_classes_whichever_are_there() {
        let folder = Folder::new();
        for (name, first) in [("0/x.png", 10), ("4/x.png", 14), ("012/x.png", 22)] {
            write(&folder, name, first);
        }
        let set = load(folder.path(), &options(INPUT)).unwrap();
        assert_eq!(pixels_and_labels(&set), [(10, 0), (22, 12), (14, 4)]);
        assert_eq!(set.labels_below(13, folder.path()).unwrap(), [0, 12, 4]);
        let error = fault(set.labels_below(12, folder.path()), folder.path());
        assert!(matches!(error, DataError::LabelNotAClass { label: 12, .. }));

        // one number for two folders, or a name among them: names then
        for other in ["04/x.png", "four/x.png"] {
            let path = write(&folder, other, 9);
            let set = load(folder.path(), &options(INPUT)).unwrap();
            assert_eq!(set.class_names.len(), 4);
            let labels: Vec<u32> = set.labels.unwrap();
            assert_eq!(labels, [0, 1, 2, 3]);
            std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_folder_of_images_has_no_labels() {
        let folder = Folder::new();
        write(&folder, "b.png", 2);
        write(&folder, "a.png", 1);
        folder.write("notes.txt", "passed over");
        let set = load(folder.path(), &options(INPUT)).unwrap();
        assert_eq!((bytes(&set), &set.labels), (&[1, 0, 2, 0][..], &None));
        let error = fault(set.labels_below(2, folder.path()), folder.path());
        assert!(matches!(error, DataError::LabelsMissing { .. }));
        let labels = folder.write("labels.npy", npy("'|u1'", false, "(2,)", &[7, 8]));
        let labelled = LoadOptions {
            labels: Some(&labels),
            ..options(INPUT)
        };
        let set = load(folder.path(), &labelled).unwrap();
        assert_eq!(pixels_and_labels(&set), [(1, 7), (2, 8)]);
        write(&folder, "cat/c.png", 3);
        let error = load_fault(folder.path(), INPUT);
        assert!(matches!(
            error,
            DataError::MixedFolder {
                pictures: 2,
                folders: 1,
                ..
            }
        ));
    }

    #[test]
    fn faults_are_named() {
        let folder = Folder::new();
        let forced = LoadOptions {
            format: Some(Format::Folder),
            ..options(INPUT)
        };
        let error = fault(load(folder.path(), &forced), folder.path());
        assert!(matches!(error, DataError::EmptyFolder { .. }));
        let notes = folder.write("dog/notes.txt", "text");
        folder.write("cat/more/z.png", "deeper than classes are looked for");
        let error = fault(load(folder.path(), &forced), folder.path());
        assert!(matches!(error, DataError::EmptyFolder { .. }));
        write(&folder, "cat/z.png", 5);
        let error = load_fault(folder.path(), [1, 2, 4]);
        assert!(matches!(error, DataError::Channels { expected: 4, .. }));
        let labels = Some(Path::new("labels.npy"));
        let error = fault(
            load(folder.path(), &LoadOptions { labels, ..forced }),
            folder.path(),
        );
        assert!(matches!(error, DataError::LabelsNotTaken { .. }));
        let error = fault(load(&notes, &forced), &notes);
        assert!(matches!(error, DataError::NotAFolder { .. }));

        let bad = folder.write("dog/bad.jpg", "text");
        let error = fault(load(folder.path(), &forced), &bad);
        assert!(matches!(error, DataError::NotAPicture { .. }));
    }
}

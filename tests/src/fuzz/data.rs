//! Files of images and labels through the loaders.

use std::fs;
use std::sync::LazyLock;

use bitbudget::dataset::{self, Dataset, Format, LoadOptions, Pixels};
use tempfile::TempDir;

/// Sizes that files are read for.
const INPUTS: [[usize; 3]; 6] = [
    [1, 1, 1],
    [2, 3, 1],
    [4, 4, 3],
    [8, 8, 1],
    [28, 28, 1],
    [32, 32, 3],
];

/// The first byte chooses the size, the second the kind of file; the others are its content.
pub(super) fn run(bytes: &[u8]) -> bool {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));
    let [size, kind, content @ ..] = bytes else {
        return false;
    };
    let input = INPUTS[usize::from(*size) % INPUTS.len()];
    // tests run side by side
    let folder = FOLDER
        .path()
        .join(format!("{:?}", std::thread::current().id()));
    let name = match kind % 8 {
        0 => "a.npy",
        1 => "a.npz",
        2 => "data_batch_1.bin",
        3 => "images-idx3-ubyte",
        4 => "class/a.png",
        5 => "class/a.jpg",
        6 => "labels.npy",
        _ => "any",
    };
    fs::create_dir_all(folder.join("class")).expect("a folder");
    let path = folder.join(name);
    fs::write(&path, content).expect("a file");
    let labels = folder.join("three.npy");
    let options = LoadOptions {
        format: None,
        labels: None,
        input,
        limit: (size & 0x80 != 0).then_some(2),
        seed: 1,
    };
    let is_data = match kind % 8 {
        4 | 5 => {
            let forced = Some(Format::Folder);
            let is_folder = check(
                dataset::load(
                    &folder,
                    &LoadOptions {
                        format: forced,
                        ..options
                    },
                ),
                input,
            );
            check(dataset::load_input(&path, input, 0), input) || is_folder
        }
        6 => {
            fs::write(&labels, three_images()).expect("a file");
            let options = LoadOptions {
                labels: Some(&path),
                input: [1, 1, 1],
                ..options
            };
            check(dataset::load(&labels, &options), [1, 1, 1])
        }
        _ => {
            let is_set = check(dataset::load(&path, &options), input);
            check(dataset::load_input(&path, input, 0), input) || is_set
        }
    };
    fs::remove_file(path).expect("it was written");
    is_data
}

/// A `.npy` of three images of one pixel.
fn three_images() -> Vec<u8> {
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 1, 1), }";
    let header = format!("{header:<117}\n");
    [
        &b"\x93NUMPY\x01\x00v\x00"[..],
        header.as_bytes(),
        &[1, 2, 3],
    ]
    .concat()
}

/// Whether there is a set: it is as large as it says.
fn check(loaded: Result<Dataset, dataset::DataError>, [h, w, c]: [usize; 3]) -> bool {
    let is_set = loaded.is_ok();
    match loaded {
        Ok(data) => {
            assert_eq!([data.height, data.width, data.channels], [h, w, c]);
            let len = match &data.pixels {
                Pixels::U8(raw) => raw.len(),
                Pixels::F32(raw) => {
                    assert!(raw.iter().all(|x| x.is_finite()));
                    raw.len()
                }
            };
            assert_eq!(len, data.len * h * w * c);
            assert!(data.len > 0);
            assert!(data.labels.is_none_or(|labels| labels.len() == data.len));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    is_set
}

//! Helpers of the tests of this module: files that they write, and checks of errors.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{DataError, Dataset, LoadOptions, Pixels, load};

/// A folder that is removed at the end of the test.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, its folders included.
    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes an `.npz` of byte arrays, as `numpy.savez_compressed` does.
    pub(super) fn write_npz(&self, name: &str, arrays: &[(&str, &[u64], &[u8])]) -> PathBuf {
        let path = self.path().join(name);
        let mut zip = ZipWriter::new(fs::File::create(&path).unwrap());
        for (array, shape, data) in arrays {
            let options = SimpleFileOptions::default();
            zip.start_file(format!("{array}.npy"), options).unwrap();
            let sizes: Vec<String> = shape.iter().map(|size| format!("{size},")).collect();
            let shape = format!("({})", sizes.join(" "));
            zip.write_all(&npy("'|u1'", false, &shape, data)).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    /// Writes an image file of the given channels (1, 3 or 4) by its extension.
    pub(super) fn write_image(&self, name: &str, size: [u32; 3], data: &[u8]) -> PathBuf {
        let path = self.write(name, []);
        let [height, width, channels] = size;
        let color = match channels {
            1 => image::ExtendedColorType::L8,
            3 => image::ExtendedColorType::Rgb8,
            _ => image::ExtendedColorType::Rgba8,
        };
        image::save_buffer(&path, data, width, height, color).unwrap();
        path
    }
}

/// The bytes of a `.npy`, version 1.0. `descr` is Python source, quotes included.
pub(super) fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    npy_with_header(
        &format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"),
        data,
    )
}

pub(super) fn npy_with_header(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// Everything at its default but the model's input.
pub(super) const fn options(input: [usize; 3]) -> LoadOptions<'static> {
    LoadOptions {
        format: None,
        labels: None,
        input,
        limit: None,
        seed: 0,
    }
}

pub(super) fn bytes(dataset: &Dataset) -> &[u8] {
    match &dataset.pixels {
        Pixels::U8(bytes) => bytes,
        Pixels::F32(_) => panic!("pixels are floats"),
    }
}

pub(super) fn floats(dataset: &Dataset) -> &[f32] {
    match &dataset.pixels {
        Pixels::U8(_) => panic!("pixels are bytes"),
        Pixels::F32(floats) => floats,
    }
}

/// The error, which names `path` (or `what` else it is about) and says what would help.
pub(super) fn fault<T>(result: Result<T, DataError>, what: impl AsRef<Path>) -> DataError {
    let error = result.err().expect("it should fail");
    let what = what.as_ref().display().to_string();
    assert!(error.to_string().contains(&what), "`{error}` lacks {what}");
    let help = error.help().expect("it should help").to_string();
    assert!(help.len() > 10);
    error
}

/// The error of loading `path` for a model with this input.
pub(super) fn load_fault(path: &Path, input: [usize; 3]) -> DataError {
    fault(load(path, &options(input)), path)
}

/// Loads damaged versions of `good`: cut short, and with bytes changed at random. What loads must
/// be consistent; what does not is an error, never a panic.
pub(super) fn survive_damage(name: &str, good: &[u8], input: [usize; 3]) {
    let folder = Folder::new();
    let check = |bytes: &[u8]| {
        let path = folder.write(name, bytes);
        let loaded = [
            load(&path, &options(input)),
            super::load_input(&path, input, 0),
        ];
        for dataset in loaded.into_iter().flatten() {
            let pixel_count = match &dataset.pixels {
                Pixels::U8(bytes) => bytes.len(),
                Pixels::F32(floats) => floats.len(),
            };
            assert_eq!(pixel_count, dataset.len * input.iter().product::<usize>());
        }
    };
    check(good);
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for _ in 0..600 {
        let mut bytes = good.to_vec();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] = [0, 0xff, b'9', b'(', bytes[at] ^ 1 << random(8)][random(5)];
        }
        check(&bytes);
        check(&good[..random(good.len())]);
    }
}

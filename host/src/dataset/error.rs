//! Errors of data files.

use std::io;
use std::path::PathBuf;

use super::{Format, MAX_SET_BYTES};

/// Why images or labels could not be loaded.
///
/// Every variant names the file. An array inside an `.npz` is named as if the archive were a
/// folder: `set.npz/images.npy`. Image indices count from 0 in the file's own order, whatever
/// `limit` picked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum DataError {
    /// There is nothing at this path.
    #[error("{path}: no such file or folder")]
    #[diagnostic(help("check the spelling; a relative path starts at the working directory"))]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },

    /// A file is needed and something else (a folder, a pipe) is there.
    #[error("{path}: expected a regular file")]
    #[diagnostic(help("name one file; only the formats `cifar10` and `folder` read a folder"))]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },

    /// A folder is needed and something else is there.
    #[error("{path}: expected a folder of images, or of one sub-folder per class")]
    #[diagnostic(help(
        "the format `folder` reads `PATH/<class>/<image>.png` or `.jpg`, and `PATH/<image>.png` without labels"
    ))]
    NotAFolder {
        /// The path as given.
        path: PathBuf,
    },

    /// The operating system refused to read.
    #[error("{path}: cannot be read")]
    #[diagnostic(help("check the permissions and the disk"))]
    Io {
        /// The file that was being read.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },

    /// A format was named that does not exist.
    #[error("`{found}` is not a dataset format")]
    #[diagnostic(help("the formats are `auto`, `npy`, `cifar10`, `idx` and `folder`"))]
    UnknownFormatName {
        /// The name as given.
        found: String,
    },

    /// The format could not be told from the path and the first bytes.
    #[error("{path}: not a known dataset ({found})")]
    #[diagnostic(help(
        "known are: npy (`.npy`, `.npz`), cifar10 (`.bin` of 3073-byte records, or a folder of them), \
         idx (MNIST's ubyte files) and folder (PNG or JPEG files, or a sub-folder of them per class); \
         name the format to learn what is wrong with the file"
    ))]
    UnknownFormat {
        /// The path as given.
        path: PathBuf,
        /// The length and the first bytes of the file.
        found: String,
    },

    /// The file is gzip-compressed.
    #[error("{path}: is compressed with gzip")]
    #[diagnostic(help("unpack it first: `gunzip --keep FILE`"))]
    Compressed {
        /// The compressed file.
        path: PathBuf,
    },

    /// The model's input has no elements, or more than memory can address.
    #[error("{path}: cannot be read for a model whose input [H, W, C] is {input:?}")]
    #[diagnostic(help(
        "the model's input must be one image with at least one pixel and one channel"
    ))]
    ModelInput {
        /// The file or folder that was asked for.
        path: PathBuf,
        /// The input that the model expects, `[H, W, C]`.
        input: [usize; 3],
    },

    /// A limit of no images was asked for.
    #[error("{path}: a limit of 0 images leaves nothing to work with")]
    #[diagnostic(help("ask for at least one image, or leave the limit out to take all"))]
    LimitZero {
        /// The file or folder that was asked for.
        path: PathBuf,
    },

    /// The picked images of a set would take more than [`MAX_SET_BYTES`](super::MAX_SET_BYTES).
    #[error(
        "{path}: {images} images take {needed_bytes} bytes of memory, the most is {MAX_SET_BYTES}"
    )]
    #[diagnostic(help(
        "take fewer: --limit {most_images} or less; a few hundred are enough to calibrate"
    ))]
    SetTooLarge {
        /// The set.
        path: PathBuf,
        /// Images that were asked for.
        images: usize,
        /// Bytes that they would take.
        needed_bytes: u128,
        /// The most images of this size that may be taken.
        most_images: u64,
    },

    /// The system has too little memory for the picked images.
    #[error("{path}: there are no {needed_bytes} bytes of memory for its images")]
    #[diagnostic(help("take fewer with --limit"))]
    OutOfMemory {
        /// The set.
        path: PathBuf,
        /// Bytes that they would take.
        needed_bytes: u128,
    },

    /// An array in Fortran order, which is read as a whole, has more than
    /// [`MAX_SET_BYTES`](super::MAX_SET_BYTES).
    #[error(
        "{path}: is an array of {found_bytes} bytes in Fortran order, the most is {MAX_SET_BYTES}"
    )]
    #[diagnostic(help(
        "save numpy.ascontiguousarray(...) of it, of which only the images that are needed are read"
    ))]
    FortranTooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes of its elements.
        found_bytes: u64,
    },

    /// A file that is read as a whole is too large for that.
    #[error("{path}: has {found_bytes} bytes, at most {most_bytes} are read")]
    #[diagnostic(help("is it the right file?"))]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that are there.
        found_bytes: u64,
        /// The most that are read.
        most_bytes: u64,
    },

    /// There are fewer samples than the index asks for.
    #[error("{path}: has no sample {index}, it has {count}")]
    #[diagnostic(help("--index counts from 0 to {}", count - 1))]
    NoSample {
        /// The file.
        path: PathBuf,
        /// The index as given.
        index: usize,
        /// Samples in the file, at least one.
        count: usize,
    },

    /// The set is well-formed and holds no image.
    #[error("{path}: holds no images")]
    #[diagnostic(help("a set needs at least one image"))]
    NoImages {
        /// The file that has no images.
        path: PathBuf,
    },

    /// A folder lacks what it should hold.
    #[error("{path}: is a folder without {expected}")]
    #[diagnostic(help(
        "put the files there, or name the right folder; files of other kinds are passed over"
    ))]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
        /// The files that were looked for.
        expected: &'static str,
    },

    /// A folder has pictures as well as folders.
    #[error("{path}: holds {pictures} PNG or JPEG files beside {folders} folders")]
    #[diagnostic(help(
        "labelled images lie in a folder per class, unlabelled ones in a folder without folders: move either away"
    ))]
    MixedFolder {
        /// The folder.
        path: PathBuf,
        /// PNG and JPEG files in it.
        pictures: usize,
        /// Folders in it.
        folders: usize,
    },

    /// A folder has several binary files and none is called `data_batch_*.bin`.
    #[error("{path}: has no data_batch_*.bin but several other batches: {}", found.join(", "))]
    #[diagnostic(help("name the one file that you mean"))]
    ManyBatches {
        /// The folder.
        path: PathBuf,
        /// The names of its `.bin` files, sorted.
        found: Vec<String>,
    },

    /// The file is shorter or longer than its own header says.
    #[error("{path}: has {found_bytes} bytes but its header announces {expected_bytes}")]
    #[diagnostic(help("the file was cut short or damaged: fetch or export it again"))]
    FileSize {
        /// The file.
        path: PathBuf,
        /// Bytes that header and data must have together.
        expected_bytes: u64,
        /// Bytes that are there.
        found_bytes: u64,
    },

    /// The file does not consist of whole CIFAR-10 records.
    #[error(
        "{path}: has {found_bytes} bytes, which is not a multiple of 3073 (1 label byte and 3 planes of 32x32): \
         the last record starts at byte {offset} and is incomplete"
    )]
    #[diagnostic(help(
        "the file was cut short, or it is not CIFAR-10's binary version (the Python version and CIFAR-100 have other records)"
    ))]
    RecordSize {
        /// The file.
        path: PathBuf,
        /// Bytes that are there.
        found_bytes: u64,
        /// Position of the incomplete record.
        offset: u64,
    },

    /// A CIFAR-10 record does not start with a label in 0..=9.
    #[error("{path}: byte {offset} should be a label 0..=9 and is {found}")]
    #[diagnostic(help("the file is probably not CIFAR-10's binary version"))]
    RecordLabel {
        /// The file.
        path: PathBuf,
        /// Position of the record.
        offset: u64,
        /// The byte there.
        found: u8,
    },

    /// An IDX header is not the one expected here.
    #[error(
        "{path}: the magic number at byte 0 should be {expected:08x} ({what}) and is {found:08x}"
    )]
    #[diagnostic(help(
        "unsigned bytes in big-endian IDX files are read: images with 3 dimensions, labels with 1; \
         check that images and labels were not swapped"
    ))]
    IdxMagic {
        /// The file.
        path: PathBuf,
        /// The expected content: images or labels.
        what: &'static str,
        /// The magic number that says so.
        expected: u32,
        /// The magic number in the file; bytes that are not there count as 0.
        found: u32,
    },

    /// The file does not start like a `.npy` or `.npz`.
    #[error("{path}: is not a NumPy file (it starts with \"{found}\")")]
    #[diagnostic(help("write it with numpy.save (one array) or numpy.savez (several)"))]
    NotNpy {
        /// The file.
        path: PathBuf,
        /// Its first bytes, escaped to ASCII.
        found: String,
    },

    /// The header of a `.npy` cannot be understood.
    #[error("{path}: bad .npy header: {reason}")]
    #[diagnostic(help("write the array again with numpy.save"))]
    NpyHeader {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },

    /// An array's element type cannot be used here.
    #[error("{path}: holds elements of type {found}, expected {expected}")]
    #[diagnostic(help(
        "convert before saving: images with `.astype('float32')` or 'uint8', labels with `.astype('int64')`"
    ))]
    UnsupportedDtype {
        /// The file.
        path: PathBuf,
        /// NumPy's description of the type.
        found: String,
        /// The types that would do.
        expected: &'static str,
    },

    /// An array of images does not have the shape that the model expects.
    #[error("{path}: has shape {found:?}, expected {expected}")]
    #[diagnostic(help("reshape or transpose the array, or resize the images, before saving"))]
    ArrayShape {
        /// The file.
        path: PathBuf,
        /// Its shape.
        found: Vec<u64>,
        /// The shapes that would do.
        expected: String,
    },

    /// An array of series, of as many steps as channels.
    #[error("{path}: has shape {found:?}, in which steps and channels cannot be told apart")]
    #[diagnostic(help(
        "add an axis of 1: behind the last one where the channels come first ([N, C, L, 1]), before it where they come \
         last ([N, L, 1, C])"
    ))]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// Its shape.
        found: Vec<u64>,
    },

    /// An `.npz` has no array with a name that is looked for.
    #[error("{path}: has no array called {wanted}; it has: {}", found.join(", "))]
    #[diagnostic(help("save with keywords: numpy.savez(path, images=..., labels=...)"))]
    ArrayMissing {
        /// The archive.
        path: PathBuf,
        /// The names that are looked for.
        wanted: String,
        /// The names of the arrays that the archive has, sorted.
        found: Vec<String>,
    },

    /// An entry of an `.npz` unpacks to far more than images do.
    #[error(
        "{path}: unpacks from {packed_bytes} bytes to {unpacked_bytes}, as a decompression bomb does"
    )]
    #[diagnostic(help("if the data is really so uniform, write it unpacked: numpy.savez"))]
    Bomb {
        /// The array in the archive.
        path: PathBuf,
        /// Its size in the archive.
        packed_bytes: u64,
        /// Its size.
        unpacked_bytes: u64,
    },

    /// An `.npz` is damaged, or packed in a way that NumPy does not use.
    #[error("{path}: cannot be unpacked")]
    #[diagnostic(help("write it again with numpy.savez or numpy.savez_compressed"))]
    Archive {
        /// The archive or the array in it.
        path: PathBuf,
        /// The unpacker's error.
        source: io::Error,
    },

    /// A pixel is NaN, infinite, or too large for `f32`.
    #[error("{path}: image {index} holds {value} at row {y}, column {x}, channel {channel}")]
    #[diagnostic(help(
        "every pixel must be a finite 32-bit float: clean the data (numpy.isfinite finds the places)"
    ))]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Which image of the file.
        index: usize,
        /// Row, from the top.
        y: usize,
        /// Column, from the left.
        x: usize,
        /// Channel.
        channel: usize,
        /// The pixel.
        value: f64,
    },

    /// All images of a set have another size than the model expects.
    #[error("{path}: holds images [H, W, C] of {found:?}, the model expects {expected:?}")]
    #[diagnostic(help(
        "choose the set that the model was trained on; images are never resized silently"
    ))]
    SetShape {
        /// The set.
        path: PathBuf,
        /// The model's `[H, W, C]`.
        expected: [usize; 3],
        /// The set's `[H, W, C]`.
        found: [usize; 3],
    },

    /// One image file has another size than the model expects.
    #[error(
        "{path}: is {found_height} pixels high and {found_width} wide, \
         the model expects {expected_height} high and {expected_width} wide"
    )]
    #[diagnostic(help("resize it as in training; images are never resized silently"))]
    ImageSize {
        /// The image file.
        path: PathBuf,
        /// The model's height.
        expected_height: usize,
        /// The model's width.
        expected_width: usize,
        /// The file's height.
        found_height: usize,
        /// The file's width.
        found_width: usize,
    },

    /// Image files have 1 or 3 channels and the model expects another number.
    #[error("{path}: PNG and JPEG give 1 or 3 channels, the model expects {expected}")]
    #[diagnostic(help("save the inputs as a .npy instead"))]
    Channels {
        /// The image file or the folder of them.
        path: PathBuf,
        /// The model's channels.
        expected: usize,
    },

    /// An image file is neither PNG nor JPEG, whatever its name says.
    #[error("{path}: is neither PNG nor JPEG (it starts with \"{found}\")")]
    #[diagnostic(help("save the image as PNG"))]
    NotAPicture {
        /// The file.
        path: PathBuf,
        /// Its first bytes, escaped to ASCII.
        found: String,
    },

    /// A JPEG ends before its image does.
    #[error("{path}: is cut off: it ends after {found_bytes} bytes, before the image does")]
    #[diagnostic(help("fetch or export it again"))]
    CutOff {
        /// The image file.
        path: PathBuf,
        /// Bytes that are there.
        found_bytes: u64,
    },

    /// A PNG or JPEG is cut off, damaged, or of a kind that cannot be read.
    #[error("{path}: cannot be decoded: it is cut off or damaged")]
    #[diagnostic(help("fetch or export it again; if a viewer shows it whole, save it as PNG"))]
    Undecodable {
        /// The image file.
        path: PathBuf,
        /// The decoder's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A label is negative or does not fit 32 bits.
    #[error("{path}: label {index} is {value}, expected 0..=4294967295")]
    #[diagnostic(help(
        "labels are class indices from 0; drop the images that have none (often -1)"
    ))]
    LabelOutOfRange {
        /// The file with the labels.
        path: PathBuf,
        /// Which label.
        index: usize,
        /// The label.
        value: i128,
    },

    /// There are more or fewer labels than images.
    #[error("{path}: has {labels} labels for {images} images")]
    #[diagnostic(help("give the labels of the same set: one per image, in the same order"))]
    LabelCount {
        /// The file with the labels.
        path: PathBuf,
        /// Images in the set, before any limit.
        images: usize,
        /// Labels found.
        labels: u64,
    },

    /// Labels are needed for the task and the set came without. Raised by callers, never by
    /// [`load`](super::load).
    #[error("{path}: has no labels, and they are needed here")]
    #[diagnostic(help(
        "give them with `--labels FILE` (.npy or idx1), as `X_labels.npy` beside `X_images.npy`, \
         as an array `labels` in the .npz, or use a format that carries them (cifar10, idx, folder)"
    ))]
    LabelsMissing {
        /// The set.
        path: PathBuf,
    },

    /// Labels are positions among the class folders, and there is not one folder for each class.
    /// Raised by [`Dataset::labels_below`](super::Dataset::labels_below).
    #[error(
        "{path}: has {} class folders ({}), but the model has {classes} outputs",
        names.len(),
        some(names)
    )]
    #[diagnostic(help(
        "labels are the positions of the folders, sorted by name: make a folder for every class, empty where \
         there are no images, or give the folders the classes' numbers as names (from 0)"
    ))]
    ClassFolders {
        /// The set.
        path: PathBuf,
        /// The folders' names, sorted.
        names: Vec<String>,
        /// The model's outputs.
        classes: usize,
    },

    /// A label is not one of the model's classes. Raised by
    /// [`Dataset::labels_below`](super::Dataset::labels_below).
    #[error("{path}: image {image} has label {label}, but the model has {classes} outputs")]
    #[diagnostic(help(
        "labels count from 0, as do numbered class folders; are these the labels of this model's data?"
    ))]
    LabelNotAClass {
        /// The set.
        path: PathBuf,
        /// Index of the image among those picked.
        image: usize,
        /// Its label.
        label: u32,
        /// The model's outputs.
        classes: usize,
    },

    /// Labels were given for a set that carries its own.
    #[error(
        "{path}: carries its own labels ({format}), so a file of labels cannot be given with it"
    )]
    #[diagnostic(help("leave `--labels` out"))]
    LabelsNotTaken {
        /// The set.
        path: PathBuf,
        /// Its format.
        format: Format,
    },
}

/// The first few of some names.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let dots = if names.len() > SHOWN { ", ..." } else { "" };
    let shown = &names[..names.len().min(SHOWN)];
    format!("{}{dots}", shown.join(", "))
}

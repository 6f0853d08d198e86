//! Versions, and what an image says of itself.

use core::ffi::{c_char, c_void};

use bitbudget_core::image::{Summary, VERSION};
use bitbudget_core::shape::Shape as CoreShape;

use super::status::Status;

/// The shape of a tensor; its elements lie in this order, channels next to each other.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
    /// Channels.
    pub channels: u16,
}

impl From<CoreShape> for Shape {
    fn from(shape: CoreShape) -> Self {
        Self {
            height: shape.h,
            width: shape.w,
            channels: shape.c,
        }
    }
}

/// What an image says of itself.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Bytes of the whole image.
    pub image_bytes: u32,
    /// Bytes of all that is before the blocks: what bb_open_storage keeps in RAM.
    pub meta_bytes: u32,
    /// Layers of the network; the library has room for bb_max_layers().
    pub layers: u32,
    /// The most levels of a layer; the library has room for bb_max_levels().
    pub levels: u32,
    /// Elements of the input.
    pub input_len: u32,
    /// Elements of the output.
    pub output_len: u32,
    /// Shape of the input.
    pub input: Shape,
    /// Shape of the output.
    pub output: Shape,
    /// Whether plans can keep to a limit of cycles.
    pub has_cycles: bool,
    /// Whether it carries plans for bb_replan_stored.
    pub has_plans: bool,
}

/// The library's version, as text.
#[unsafe(no_mangle)]
pub const extern "C" fn bb_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The version of the images that this library reads: that of the bitbudget that packs them.
#[unsafe(no_mangle)]
pub const extern "C" fn bb_image_version() -> u32 {
    VERSION
}

/// Tells what the image at the beginning of these bytes needs, before any memory is lent to it. The bytes need
/// not reach beyond the first bb_info.meta_bytes + 28. Nothing is checked yet: that does bb_open.
///
/// # Safety
/// `image` is NULL or points to as many bytes, `info` is NULL or points to a bb_info.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_image_info(
    image: *const c_void,
    image_bytes: usize,
    info: *mut Info,
) -> Status {
    if image.is_null() || info.is_null() {
        return Status::Argument;
    }
    // SAFETY: the caller's promise
    let bytes = unsafe { core::slice::from_raw_parts(image.cast(), image_bytes) };
    let summary = match Summary::of(bytes) {
        Ok(summary) => summary,
        Err(error) => return error.into(),
    };
    let found = Info {
        image_bytes: summary.image_bytes,
        meta_bytes: summary.meta_bytes,
        layers: summary.layers,
        levels: summary.levels,
        input_len: summary.input.len() as u32,
        output_len: summary.output.len() as u32,
        input: summary.input.into(),
        output: summary.output.into(),
        has_cycles: summary.has_cycles,
        has_plans: summary.has_plans,
    };
    // SAFETY: the caller's promise
    unsafe { info.write(found) };
    Status::Ok
}

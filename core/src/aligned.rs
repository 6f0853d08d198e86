//! Memory at the alignment that arenas and images in flash need.

/// A value at a multiple of eight bytes: an arena ([`ARENA_ALIGN`](crate::engine::ARENA_ALIGN)), or an image whose
/// weights are read where they lie ([`BLOCK_ALIGN`](crate::block::BLOCK_ALIGN)).
///
/// ```
/// use bitbudget_core::Aligned;
///
/// let mut arena = Aligned([0; 4096]);
/// assert!(arena.0.as_mut_ptr().addr().is_multiple_of(bitbudget_core::engine::ARENA_ALIGN));
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Aligned<T: ?Sized>(pub T);

const _: () = assert!(align_of::<Aligned<u8>>().is_multiple_of(crate::engine::ARENA_ALIGN));
const _: () = assert!(align_of::<Aligned<u8>>().is_multiple_of(crate::block::BLOCK_ALIGN));

/// The bytes of a file, as `include_bytes!` finds it, at the alignment of an image whose weights are read where they
/// lie: a `&'static [u8]`.
///
/// ```
/// let image = bitbudget_core::include_image!("lib.rs");
/// assert!(image.as_ptr().addr().is_multiple_of(bitbudget_core::block::BLOCK_ALIGN));
/// ```
#[macro_export]
macro_rules! include_image {
    ($file:expr) => {{
        static IMAGE: &$crate::Aligned<[u8]> = &$crate::Aligned(*include_bytes!($file));
        &IMAGE.0
    }};
}

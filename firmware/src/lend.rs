//! The memory that the program lends its server and its link.

use core::sync::atomic::{AtomicBool, Ordering};

use bitbudget_core::Aligned;

use crate::link::Buffers;
use crate::{board, memory, server};

static mut ARENA: Aligned<[u8; board::ARENA_BYTES]> = Aligned([0; _]);
static mut IMAGE: Aligned<[u8; board::IMAGE_BYTES]> = Aligned([0; _]);
static mut INPUT: Aligned<[u8; board::INPUT_BYTES]> = Aligned([0; _]);
static mut LINK: Buffers = Buffers::new();

/// All of it. For `main` alone, which calls it once.
///
/// # Panics
/// When it is called again.
pub(crate) fn lend() -> (server::Memory<'static>, &'static mut Buffers) {
    static IS_LENT: AtomicBool = AtomicBool::new(false);
    assert!(!IS_LENT.load(Ordering::Relaxed));
    IS_LENT.store(true, Ordering::Relaxed);
    let (arena, image) = (&raw mut ARENA, &raw mut IMAGE);
    let (input, link) = (&raw mut INPUT, &raw mut LINK);
    // SAFETY: nothing else names these statics, and this is reached once: there is one thread, and no
    // interrupt that returns.
    let (arena, image, input, link) =
        unsafe { (&mut *arena, &mut *image, &mut *input, &mut *link) };
    let lent = server::Memory {
        linked: memory::linked_image(),
        arena: &mut arena.0,
        image: &mut image.0,
        input: &mut input.0,
    };
    (lent, link)
}

//! Common parts of the boards that QEMU emulates: their RAM is plenty, and their watchdog interrupts.

pub(crate) const LAYERS: usize = 64;
pub(crate) const LEVELS: usize = 8;
pub(crate) const ITEMS: usize = 10;
pub(crate) const IMAGE_BYTES: usize = 2 << 20;
pub(crate) const ARENA_BYTES: usize = 3 << 19;
pub(crate) const INPUT_BYTES: usize = 32 << 10;

/// Never: its interrupt comes before.
pub(crate) const fn is_reset_by_watchdog() -> bool {
    false
}

//! How large a network the library has room for: decided when it is built.

use bitbudget_core::state::state_bytes;

/// The most layers of an image: `BITBUDGET_LAYERS`, else 64.
pub(crate) const LAYERS: usize = number(option_env!("BITBUDGET_LAYERS"), 64);
/// The most levels of a layer: `BITBUDGET_LEVELS`, else 8.
pub(crate) const LEVELS: usize = number(option_env!("BITBUDGET_LEVELS"), 8);
/// Each of them in flash and in RAM.
pub(crate) const ITEMS: usize = 2 * LEVELS;

/// What `BB_STATE_BYTES` of the header says: enough for a net.
pub(crate) const STATE_BYTES: usize = state_bytes(LAYERS, LEVELS);

const fn number(text: Option<&str>, default: usize) -> usize {
    let Some(text) = text else {
        return default;
    };
    match usize::from_str_radix(text, 10) {
        Ok(number @ 1..=256) => number,
        Ok(_) | Err(_) => panic!("BITBUDGET_LAYERS and BITBUDGET_LEVELS are numbers from 1 to 256"),
    }
}

/// The most layers of an image that this library has room for.
#[unsafe(no_mangle)]
pub const extern "C" fn bb_max_layers() -> u32 {
    LAYERS as u32
}

/// The most levels of a layer that this library has room for.
#[unsafe(no_mangle)]
pub const extern "C" fn bb_max_levels() -> u32 {
    LEVELS as u32
}

//! What a program takes of RAM beside its arena.

/// Enough bytes for an [`Image<N, K>`](crate::Image), its `Planner<N, 2 K>` and their [`Engine`](crate::Engine), of
/// `layers` and `levels`: on 32-bit processors a tenth to a fifth more than they take.
#[must_use]
pub const fn state_bytes(layers: usize, levels: usize) -> usize {
    layers * (96 * levels + 432) + 2048
}

/// About the deepest stack of parsing an image of so many layers, planning and inference on a 32-bit processor, where
/// the state does not lie on it. Measured on Cortex-M4F and Cortex-M0+ with room for 64 layers, where the tests of the
/// C library hold it, and on Cortex-M4F with room for 9 and 32.
#[must_use]
pub const fn stack_bytes(layers: usize) -> usize {
    10 * 1024 + 32 * layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Engine, Image, Planner};

    /// On this machine, whose pointers are the larger ones.
    fn holds<const N: usize, const K: usize, const I: usize>() {
        assert_eq!(I, 2 * K);
        let parts = [
            size_of::<Image<'_, N, K>>(),
            size_of::<Planner<N, I>>(),
            size_of::<Engine<'_, N, K>>(),
        ];
        let state: usize = parts.iter().sum();
        assert!(state <= state_bytes(N, K), "{N} {K}: {parts:?}");
    }

    #[test]
    fn the_state_is_within_its_bound() {
        holds::<1, 1, 2>();
        holds::<8, 11, 22>();
        holds::<9, 5, 10>();
        holds::<32, 5, 10>();
        holds::<64, 1, 2>();
        holds::<64, 8, 16>();
        holds::<256, 11, 22>();
    }
}

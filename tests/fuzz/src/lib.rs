//! libFuzzer's side of the targets in [`bitbudget_tests::fuzz`].
//!
//! In `tests`, with a nightly toolchain and `cargo install cargo-fuzz`:
//!
//! ```sh
//! mkdir -p fuzz/grown/image
//! cargo +nightly fuzz run image fuzz/grown/image fuzz/corpus/image -- -max_len=16384
//! ```
//!
//! New inputs go to the first folder; those of `fuzz/corpus` are replayed by `tests/corpus.rs`, and a
//! finding joins them when it is fixed.

use bitbudget_tests::fuzz::Target;

pub use bitbudget_tests::fuzz::TARGETS;
pub use libfuzzer_sys;

/// Changes the first `size` bytes of `data`, in place; their number then.
pub fn vary(target: &Target, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut input = data[..size].to_vec();
    target.vary(&mut input, seed, |input| {
        let len = input.len();
        input.resize(len.max(max_size), 0);
        let len = libfuzzer_sys::fuzzer_mutate(input, len, max_size);
        input.truncate(len);
    });
    let len = input.len().min(max_size);
    data[..len].copy_from_slice(&input[..len]);
    len
}

/// The target of this name.
///
/// # Panics
/// When there is none.
pub fn target(name: &str) -> &'static Target {
    bitbudget_tests::fuzz::target(name).expect("a target of this name")
}

/// A fuzz target of one of [`TARGETS`].
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            ($crate::target($name).run)(bytes);
        });
        $crate::libfuzzer_sys::fuzz_mutator!(
            |data: &mut [u8], size: usize, max_size: usize, seed: u32| {
                $crate::vary($crate::target($name), data, size, max_size, seed)
            }
        );
    };
}

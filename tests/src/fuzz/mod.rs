//! Bytes from outside, put through everything that is done with them: nothing may panic, hang or read
//! outside.
//!
//! A target takes any bytes. `tests/fuzz` hands it those of a fuzzer; `tests/corpus.rs` the checked-in
//! ones, with the stable toolchain and overflow checks on.

use rand::SeedableRng;
use rand::rngs::SmallRng;

mod data;
mod device;
mod frame;
pub mod image;
mod onnx;
mod profile;
mod session;
mod solve;
mod tflite;

/// One way in for bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also of its corpus.
    pub name: &'static str,
    /// Does with the bytes all that is done with them; whether they were taken for what they claim to
    /// be, so that more than an error came of them.
    ///
    /// # Panics
    /// When something does not hold.
    pub run: fn(&[u8]) -> bool,
    /// Makes another input of one, as its format is made: `None` where changing single bytes does.
    pub mutate: Option<fn(&mut Vec<u8>, &mut SmallRng)>,
    /// Makes lengths and checksums of an input fit what it holds.
    pub mend: Option<fn(&mut Vec<u8>)>,
}

/// All of them.
pub const TARGETS: [Target; 9] = [
    Target {
        name: "image",
        run: image::run,
        mutate: Some(image::mutate),
        mend: Some(image::mend),
    },
    Target {
        name: "frame",
        run: frame::run,
        mutate: None,
        mend: None,
    },
    Target {
        name: "session",
        run: session::run,
        mutate: None,
        mend: None,
    },
    Target {
        name: "device",
        run: device::run,
        mutate: Some(device::mutate),
        mend: None,
    },
    Target {
        name: "onnx",
        run: onnx::run,
        mutate: None,
        mend: None,
    },
    Target {
        name: "tflite",
        run: tflite::run,
        mutate: None,
        mend: None,
    },
    Target {
        name: "data",
        run: data::run,
        mutate: None,
        mend: None,
    },
    Target {
        name: "profile",
        run: profile::run,
        mutate: Some(profile::mutate),
        mend: Some(profile::mend),
    },
    Target {
        name: "solve",
        run: solve::run,
        mutate: None,
        mend: None,
    },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

impl Target {
    /// Changes an input: by `bytewise`, or as its format is made; what it carries about itself fits then.
    pub fn vary(&self, input: &mut Vec<u8>, seed: u32, bytewise: impl FnOnce(&mut Vec<u8>)) {
        let mut rng = SmallRng::seed_from_u64(seed.into());
        match self.mutate {
            Some(mutate) if seed.is_multiple_of(2) => mutate(input, &mut rng),
            Some(_) | None => bytewise(input),
        }
        if let Some(mend) = self.mend
            && !seed.is_multiple_of(16)
        {
            mend(input);
        }
    }
}

//! TensorFlow Lite models through the import and one forward pass.

use bitbudget::import::{Sizes, tflite};

use super::onnx::forward;

pub(super) fn run(bytes: &[u8]) -> bool {
    let parsed = tflite::parse(bytes, &Sizes::None);
    let is_model = parsed.is_ok();
    match parsed {
        Ok(graph) => forward(graph),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    is_model
}

//! The instruction sets of the target's processors.

cfg_select! {
    target_arch = "x86_64" => { pub(super) use super::x86_64::{Backend, dots_f32}; }
    target_arch = "aarch64" => { pub(super) use super::aarch64::{Backend, dots_f32}; }
}

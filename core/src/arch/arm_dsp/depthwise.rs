//! Depthwise convolution: channels that each have weights of their own.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::global_asm;

/// As [`portable::depthwise`](crate::arch::portable::depthwise).
///
/// # Panics
/// When the input or the weights end early.
pub(super) fn depthwise(
    input: &[i8],
    offsets: &[u32],
    weights: &[[i16; 4]],
    bias: &[[i32; 4]],
    sums: &mut [[i32; 4]],
) {
    let taps = offsets.len();
    let bias = &bias[..sums.len()];
    if taps == 0 || sums.is_empty() {
        sums.copy_from_slice(bias);
        return;
    }
    let last = offsets.iter().fold(0, |last, offset| last.max(*offset));
    let weights_needed = sums.len().saturating_mul(taps);
    assert!(weights.len() >= weights_needed, "the weights end");
    let end = (last as usize).saturating_add(sums.len().saturating_mul(4));
    assert!(end <= input.len(), "the inputs end");
    let mut args = DepthwiseArgs {
        input: input.as_ptr(),
        offsets: offsets.as_ptr(),
        weights: weights.as_ptr(),
        sums: sums.as_mut_ptr(),
        fours: sums.len(),
        taps,
        bias: bias.as_ptr(),
    };
    // SAFETY: the loop reads all offsets, behind each of them an input for each channel, the weights of as many
    // taps and the biases of all fours of channels, and writes the sums: the largest offset was asserted to
    // have its inputs, the weights to be enough, and the biases were cut to the sums' length
    unsafe { bitbudget_depthwise(&raw mut args) };
}

/// Arguments of the loop, which knows their offsets.
#[repr(C)]
struct DepthwiseArgs {
    input: *const i8,
    offsets: *const u32,
    weights: *const [i16; 4],
    sums: *mut [i32; 4],
    /// At least 1, as are the taps.
    fours: usize,
    taps: usize,
    bias: *const [i32; 4],
}

unsafe extern "C" {
    fn bitbudget_depthwise(args: *mut DepthwiseArgs);
}

global_asm!(cpu!(), include_str!("depthwise.s"), options(raw));

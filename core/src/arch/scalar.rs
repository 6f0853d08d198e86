//! The reference loops in plain Rust.

/// Σ a·b in 32 bits, over the shorter length.
///
/// The caller bounds the length by [`Op::MAX_REDUCTION`](crate::op::Op::MAX_REDUCTION), so that the
/// sum cannot overflow.
#[must_use]
pub fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let product = |(a, b): (&i8, &i8)| i32::from(*a) * i32::from(*b);
    a.iter().zip(b).map(product).sum()
}

/// Σ a in 32 bits.
#[must_use]
pub fn sum_i8(a: &[i8]) -> i32 {
    a.iter().map(|a| i32::from(*a)).sum()
}

/// Σ a·b, in eight interleaved partial sums.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    assert!(a.len() == b.len(), "two slices of one length");
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

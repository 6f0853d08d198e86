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

/// Pairs of sums of products, for two rows of weights each: where the factors lie.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// The inputs.
    pub input: &'a [i8],
    /// Where the first sum's inputs begin.
    pub at: usize,
    /// From there to where the next sum's begin, which is the other one of a pair or the first of the
    /// next pair.
    pub apart: usize,
    /// Two rows of weights.
    pub weights: [&'a [i8]; 2],
    /// Runs of inputs and of weights without gaps.
    pub runs: usize,
    /// The length of a run.
    pub len: usize,
    /// From the beginning of a run of inputs to the next; at least `len`.
    pub pitch: usize,
    /// The same of the weights.
    pub weight_pitch: usize,
}

/// Calls `each` with `count` pairs of sums of products, which begin at `start` for either row of weights;
/// by place in the pair, then by row.
///
/// # Panics
/// When a slice ends before the last run.
pub fn dots_i8(
    pairs: &Pairs<'_>,
    count: usize,
    start: [i32; 2],
    mut each: impl FnMut([[i32; 2]; 2]),
) {
    let sum = |at: usize, row: usize| {
        let runs = (0..pairs.runs).map(|run| {
            let input = &pairs.input[at + run * pairs.pitch..][..pairs.len];
            dot_i8(
                input,
                &pairs.weights[row][run * pairs.weight_pitch..][..pairs.len],
            )
        });
        start[row] + runs.sum::<i32>()
    };
    let mut at = pairs.at;
    for _ in 0..count {
        each([at, at + pairs.apart].map(|at| [sum(at, 0), sum(at, 1)]));
        at += 2 * pairs.apart;
    }
}

/// Σ a in 32 bits.
#[must_use]
pub fn sum_i8(a: &[i8]) -> i32 {
    a.iter().map(|a| i32::from(*a)).sum()
}

/// Σ a·b in 32 bits with the INT4 weights of a packed row, from index `first` on.
///
/// # Panics
/// When the row has fewer than `first + a.len()` weights.
#[must_use]
pub fn dot_i4(a: &[i8], row: &[u8], first: usize) -> i32 {
    dot_packed::<2>(a, row, first, int4)
}

/// Σ a·b in 32 bits with the INT2 weights of a packed row, from index `first` on.
///
/// # Panics
/// When the row has fewer than `first + a.len()` weights.
#[must_use]
pub fn dot_i2(a: &[i8], row: &[u8], first: usize) -> i32 {
    dot_packed::<4>(a, row, first, int2)
}

/// Σ of `len` INT4 weights of a packed row, from index `first` on.
///
/// # Panics
/// When the row has fewer than `first + len` weights.
#[must_use]
pub fn sum_i4(row: &[u8], first: usize, len: usize) -> i32 {
    sum_packed::<2>(row, first, len, int4)
}

/// Σ of `len` INT2 weights of a packed row, from index `first` on.
///
/// # Panics
/// When the row has fewer than `first + len` weights.
#[must_use]
pub fn sum_i2(row: &[u8], first: usize, len: usize) -> i32 {
    sum_packed::<4>(row, first, len, int2)
}

/// Weight `lane` of a byte that packs two.
fn int4(byte: u8, lane: usize) -> i32 {
    i32::from((byte << (4 - 4 * lane)).cast_signed() >> 4)
}

/// Weight `lane` of a byte that packs four.
fn int2(byte: u8, lane: usize) -> i32 {
    2 * i32::from((byte << (6 - 2 * lane)).cast_signed() >> 6) + 1
}

fn dot_packed<const PER_BYTE: usize>(
    a: &[i8],
    row: &[u8],
    first: usize,
    weight: impl Fn(u8, usize) -> i32,
) -> i32 {
    let single = |from: usize| {
        let weight = &weight;
        move |(i, a): (usize, &i8)| {
            let at = first + from + i;
            i32::from(*a) * weight(row[at / PER_BYTE], at % PER_BYTE)
        }
    };
    // up to the first whole byte, whole bytes, the rest
    let before = (first.next_multiple_of(PER_BYTE) - first).min(a.len());
    let (head, rest) = a.split_at(before);
    let (whole, tail) = rest.as_chunks::<PER_BYTE>();
    let bytes = &row[(first + before) / PER_BYTE..][..whole.len()];
    let products = whole.iter().zip(bytes).map(|(a, byte)| {
        let lanes = a.iter().enumerate();
        lanes
            .map(|(lane, a)| i32::from(*a) * weight(*byte, lane))
            .sum::<i32>()
    });
    head.iter().enumerate().map(single(0)).sum::<i32>()
        + products.sum::<i32>()
        + tail
            .iter()
            .enumerate()
            .map(single(a.len() - tail.len()))
            .sum::<i32>()
}

fn sum_packed<const PER_BYTE: usize>(
    row: &[u8],
    first: usize,
    len: usize,
    weight: impl Fn(u8, usize) -> i32,
) -> i32 {
    let each = (first..first + len).map(|at| weight(row[at / PER_BYTE], at % PER_BYTE));
    each.sum()
}

/// Σ a·b, in eight interleaved partial sums.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    dot_lanes(a, b, |b| b)
}

/// Σ a·b with finite binary16 weights, added in the order of [`dot_f32`].
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn dot_f16(a: &[f32], b: &[u16]) -> f32 {
    dot_lanes(a, b, half)
}

/// The real number of a finite binary16: its exponent and mantissa read as those of an `f32` are
/// 2^112 times too small, which a multiplication makes up for without rounding.
fn half(bits: u16) -> f32 {
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * SCALE;
    f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
}

fn dot_lanes<T: Copy>(a: &[f32], b: &[T], real: impl Fn(T) -> f32) -> f32 {
    const LANES: usize = 8;
    assert!(a.len() == b.len(), "two slices of one length");
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * real(b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * real(*b)).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_half_is_read_exactly() {
        for bits in 0..=u16::MAX {
            let want = ::half::f16::from_bits(bits);
            if want.is_finite() {
                assert_eq!(half(bits).to_bits(), want.to_f32().to_bits(), "{bits:#06x}");
            }
        }
    }
}

//! The instruction sets of x86-64: SSE2, which all have, AVX2, and the dot products of AVX-VNNI and
//! AVX512-VNNI. They are chosen when the program runs.

#![expect(unsafe_code, reason = "instructions of some processors")]

use core::arch::x86_64::*;
use core::sync::atomic::{AtomicU8, Ordering};

use super::isa::{Isa, Task};
use crate::arch::portable;
use crate::arch::requantize::Clamp;

/// An instruction set that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backend(Extension);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Extension {
    Sse2,
    Avx2,
    AvxVnni,
    Avx512Vnni,
}

impl Extension {
    const ALL: [Self; 4] = [Self::Sse2, Self::Avx2, Self::AvxVnni, Self::Avx512Vnni];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Backend {
    /// The fastest.
    pub(super) fn best() -> Self {
        let highest = found().ilog2() as usize;
        Self(Extension::ALL[highest])
    }

    /// Calls `test` with each that this processor has, and says which it lacks.
    #[cfg(test)]
    pub(super) fn on_each(mut test: impl FnMut(Self)) {
        for extension in Extension::ALL {
            if found() & extension.bit() != 0 {
                test(Self(extension));
            } else {
                println!("{extension:?}: not on this processor, not tested");
            }
        }
    }

    /// [`Isa::LANES`].
    pub(super) const fn lanes(self) -> usize {
        match self.0 {
            Extension::Sse2 => Sse2::LANES,
            Extension::Avx2 => Avx2::LANES,
            Extension::AvxVnni => AvxVnni::LANES,
            Extension::Avx512Vnni => Avx512Vnni::LANES,
        }
    }

    /// Bytes of an [`Isa::Input`].
    pub(super) const fn input_bytes(self) -> usize {
        match self.0 {
            Extension::Sse2 | Extension::Avx2 => size_of::<i16>(),
            Extension::AvxVnni | Extension::Avx512Vnni => size_of::<u8>(),
        }
    }

    /// Runs a task.
    pub(super) fn run<T: Task>(self, task: T) -> T::Output {
        // SAFETY: a `Backend` is made only by `best` and `on_each`, of extensions that the processor was found to
        // have
        unsafe {
            match self.0 {
                Extension::Sse2 => Sse2::run(task),
                Extension::Avx2 => Avx2::run(task),
                Extension::AvxVnni => AvxVnni::run(task),
                Extension::Avx512Vnni => Avx512Vnni::run(task),
            }
        }
    }
}

/// As [`portable::dots_f32`], in vectors of eight where the processor has them:
/// products are rounded before they are added, whatever else it has.
///
/// # Panics
/// When a row of weights ends early.
pub(super) fn dots_f32(input: &[f32], weights: &[f32], pitch: usize, sums: &mut [f32]) {
    if found() & Extension::Avx2.bit() == 0 {
        return portable::dots_f32(input, weights, pitch, sums);
    }
    let (fours, rest) = sums.as_chunks_mut::<4>();
    let mut first = 0_usize;
    // SAFETY: the processor was found to have AVX2, which is all that the function asks for
    unsafe {
        for sums in fours {
            rows_f32(input, &weights[first..], pitch, sums);
            first = first.saturating_add(pitch.saturating_mul(4));
        }
        for sum in rest {
            rows_f32(input, &weights[first..], pitch, core::array::from_mut(sum));
            first = first.saturating_add(pitch);
        }
    }
}

/// [`dots_f32`] of a few rows, which do not wait for each other's sums.
#[target_feature(enable = "avx2")]
fn rows_f32<const ROWS: usize>(
    input: &[f32],
    weights: &[f32],
    pitch: usize,
    sums: &mut [f32; ROWS],
) {
    let (eights, rest) = input.as_chunks::<8>();
    let rows: [_; ROWS] = core::array::from_fn(|row| {
        let row = &weights[row.saturating_mul(pitch)..][..input.len()];
        row.as_chunks::<8>()
    });
    let mut lanes = [_mm256_setzero_ps(); ROWS];
    for (i, x) in eights.iter().enumerate() {
        // SAFETY: `x` has eight numbers, and each row as many eights as the input, as both were cut to its length
        unsafe {
            let x = _mm256_loadu_ps(x.as_ptr());
            for row in 0..ROWS {
                let w = _mm256_loadu_ps(rows[row].0.as_ptr().add(i).cast());
                lanes[row] = _mm256_add_ps(lanes[row], _mm256_mul_ps(x, w));
            }
        }
    }
    for row in 0..ROWS {
        let mut all = [0.0_f32; 8];
        // SAFETY: the array has room for the eight lanes
        unsafe { _mm256_storeu_ps(all.as_mut_ptr(), lanes[row]) };
        let products = rest.iter().zip(rows[row].1).map(|(x, w)| x * w);
        sums[row] += all.iter().sum::<f32>() + products.sum::<f32>();
    }
}

/// Four rows of words as columns.
#[inline(always)]
fn transpose(rows: [&[u8; 16]; 4]) -> [[u8; 16]; 4] {
    // SAFETY: 16 bytes are read from each row and written to each column, which are arrays of as many; SSE2 is
    // always there, since this file is compiled only where the target has it
    unsafe {
        let [a, b, c, d] = rows.map(|row| _mm_loadu_si128(row.as_ptr().cast()));
        let low = [_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d)];
        let high = [_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d)];
        [
            _mm_unpacklo_epi64(low[0], low[1]),
            _mm_unpackhi_epi64(low[0], low[1]),
            _mm_unpacklo_epi64(high[0], high[1]),
            _mm_unpackhi_epi64(high[0], high[1]),
        ]
        .map(|column| {
            let mut to = [0; 16];
            _mm_storeu_si128(to.as_mut_ptr().cast(), column);
            to
        })
    }
}

/// The instruction sets that processor and operating system have, a bit each; the processor is asked
/// once, since that may take long.
fn found() -> u8 {
    static FOUND: AtomicU8 = AtomicU8::new(0);
    match FOUND.load(Ordering::Relaxed) {
        0 => {
            let found = ask();
            FOUND.store(found, Ordering::Relaxed);
            found
        }
        found => found,
    }
}

/// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, section 15.2 and volume 2,
/// CPUID.
fn ask() -> u8 {
    const XSAVE_AND_AVX: u32 = 0b11 << 27;
    const YMM: u64 = 0b110;
    const ZMM: u64 = 0b1110_0110;
    let mut found = Extension::Sse2.bit();
    let has = |word: u32, bits: &[u32]| bits.iter().all(|bit| word >> bit & 1 == 1);
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & XSAVE_AND_AVX != XSAVE_AND_AVX {
        return found;
    }
    let saved = xgetbv();
    let features = __cpuid_count(7, 0);
    if saved & YMM == YMM && has(features.ebx, &[5]) {
        found |= Extension::Avx2.bit();
        if features.eax >= 1 && has(__cpuid_count(7, 1).eax, &[4]) {
            found |= Extension::AvxVnni.bit();
        }
        let foundation_bytes_lengths = has(features.ebx, &[16, 30, 31]);
        if saved & ZMM == ZMM && foundation_bytes_lengths && has(features.ecx, &[11]) {
            found |= Extension::Avx512Vnni.bit();
        }
    }
    found
}

/// The registers that the operating system saves; for processors that say so.
fn xgetbv() -> u64 {
    #[target_feature(enable = "xsave")]
    fn read() -> u64 {
        // SAFETY: extended control register 0 exists wherever the instruction does
        unsafe { _xgetbv(0) }
    }
    // SAFETY: the only caller has seen in CPUID that the operating system has enabled XSAVE
    unsafe { read() }
}

/// [`Isa::run`] in a function of these features, and [`Isa::transpose`].
macro_rules! run {
    ($features:literal) => {
        #[inline(always)]
        unsafe fn run<T: Task>(task: T) -> T::Output {
            #[target_feature(enable = $features)]
            unsafe fn inner<T: Task, I: Isa>(task: T) -> T::Output {
                // SAFETY: the task is run inside `Isa::run`
                unsafe { task.run::<I>() }
            }
            // SAFETY: the caller has promised that the processor has the instruction set
            unsafe { inner::<T, Self>(task) }
        }

        #[inline(always)]
        fn transpose(rows: [&[u8; 16]; 4]) -> [[u8; 16]; 4] {
            transpose(rows)
        }
    };
}

/// Taps as words of two.
macro_rules! pairs {
    () => {
        type Input = i16;
        type Weight = i16;
        const OFFSET: i32 = 0;

        #[inline(always)]
        fn input(tap: i8) -> i16 {
            tap.into()
        }

        #[inline(always)]
        fn weight(weight: i8) -> i16 {
            weight.into()
        }
    };
}

/// Taps as words of four, inputs without a sign.
macro_rules! fours {
    () => {
        type Input = u8;
        type Weight = i8;
        const OFFSET: i32 = 128;

        #[inline(always)]
        fn input(tap: i8) -> u8 {
            tap.cast_unsigned() ^ 0x80
        }

        #[inline(always)]
        fn weight(weight: i8) -> i8 {
            weight
        }
    };
}

/// Every x86-64.
#[derive(Clone, Copy)]
struct Sse2;

// SAFETY: `run` enables the features of all instructions used, and pointers are read and written for one vector
// or one word at most, as the trait says
unsafe impl Isa for Sse2 {
    type Vector = __m128i;
    const LANES: usize = 4;
    const PIXELS: usize = 4;
    pairs!();
    run!("sse2");

    #[inline(always)]
    unsafe fn load(sums: *const i32) -> __m128i {
        // SAFETY: `LANES` sums are readable, as the caller has promised; it is inside `run`
        unsafe { _mm_loadu_si128(sums.cast()) }
    }

    #[inline(always)]
    unsafe fn store(sums: *mut i32, vector: __m128i) {
        // SAFETY: `LANES` sums are writable, as the caller has promised; it is inside `run`
        unsafe { _mm_storeu_si128(sums.cast(), vector) }
    }

    #[inline(always)]
    unsafe fn splat(inputs: *const i16) -> __m128i {
        // SAFETY: a word of inputs is readable, as the caller has promised; it is inside `run`
        unsafe { _mm_set1_epi32(inputs.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn inputs(inputs: *const i16) -> __m128i {
        // SAFETY: words of `LANES` lanes are readable, as the caller has promised; it is inside `run`
        unsafe { _mm_loadu_si128(inputs.cast()) }
    }

    #[inline(always)]
    unsafe fn words(weights: *const i16) -> __m128i {
        // SAFETY: words of `LANES` lanes are readable, as the caller has promised; it is inside `run`
        unsafe { _mm_loadu_si128(weights.cast()) }
    }

    #[inline(always)]
    unsafe fn bytes(weights: *const i8) -> __m128i {
        // SAFETY: `LANES * TAPS` bytes are readable, as the caller has promised; it is inside `run`
        unsafe {
            let bytes = _mm_loadl_epi64(weights.cast());
            _mm_srai_epi16::<8>(_mm_unpacklo_epi8(bytes, bytes))
        }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m128i, inputs: __m128i, weights: __m128i) -> __m128i {
        // SAFETY: only registers are read and written; the caller is inside `run`
        unsafe { _mm_add_epi32(sums, _mm_madd_epi16(inputs, weights)) }
    }

    #[inline(always)]
    unsafe fn total(sums: __m128i) -> i32 {
        // SAFETY: only registers are read and written; the caller is inside `run`
        unsafe {
            let pairs = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b01_00_11_10>(sums));
            let all = _mm_add_epi32(pairs, _mm_shuffle_epi32::<0b10_11_00_01>(pairs));
            _mm_cvtsi128_si32(all)
        }
    }
}

/// Loads, stores and the total of eight lanes.
macro_rules! eight_lanes {
    () => {
        type Vector = __m256i;
        const LANES: usize = 8;
        const PIXELS: usize = 4;

        #[inline(always)]
        unsafe fn load(sums: *const i32) -> __m256i {
            // SAFETY: `LANES` sums are readable, as the caller has promised; it is inside `run`
            unsafe { _mm256_loadu_si256(sums.cast()) }
        }

        #[inline(always)]
        unsafe fn store(sums: *mut i32, vector: __m256i) {
            // SAFETY: `LANES` sums are writable, as the caller has promised; it is inside `run`
            unsafe { _mm256_storeu_si256(sums.cast(), vector) }
        }

        #[inline(always)]
        unsafe fn splat(inputs: *const Self::Input) -> __m256i {
            // SAFETY: a word of inputs is readable, as the caller has promised; it is inside `run`
            unsafe { _mm256_set1_epi32(inputs.cast::<i32>().read_unaligned()) }
        }

        #[inline(always)]
        unsafe fn inputs(inputs: *const Self::Input) -> __m256i {
            // SAFETY: words of `LANES` lanes are readable, as the caller has promised; it is inside `run`
            unsafe { _mm256_loadu_si256(inputs.cast()) }
        }

        #[inline(always)]
        unsafe fn words(weights: *const Self::Weight) -> __m256i {
            // SAFETY: words of `LANES` lanes are readable, as the caller has promised; it is inside `run`
            unsafe { _mm256_loadu_si256(weights.cast()) }
        }

        #[inline(always)]
        unsafe fn requantize(
            sums: __m256i,
            multiplier: __m256i,
            shift: __m256i,
            clamp: Clamp,
        ) -> __m256i {
            // SAFETY: only registers are read and written; the caller is inside `run`
            unsafe {
                let even = _mm256_mul_epi32(sums, multiplier);
                let [sums, multiplier] = [sums, multiplier].map(|x| _mm256_srli_epi64::<32>(x));
                let odd = _mm256_mul_epi32(sums, multiplier);
                let upper = _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<32>(even), odd);
                let twice = _mm256_srav_epi32(upper, shift);
                let twice = _mm256_add_epi32(twice, _mm256_set1_epi32(clamp.offset));
                let steps = _mm256_srai_epi32::<1>(twice);
                let steps = _mm256_max_epi32(steps, _mm256_set1_epi32(clamp.low));
                _mm256_min_epi32(steps, _mm256_set1_epi32(clamp.high))
            }
        }

        #[inline(always)]
        unsafe fn store_results(to: *mut i8, results: __m256i) {
            // SAFETY: `LANES` bytes are writable, as the caller has promised; it is inside `run`
            unsafe {
                let [low, high] = [
                    _mm256_castsi256_si128(results),
                    _mm256_extracti128_si256::<1>(results),
                ];
                let words = _mm_packs_epi32(low, high);
                _mm_storel_epi64(to.cast(), _mm_packs_epi16(words, words));
            }
        }

        #[inline(always)]
        unsafe fn total(sums: __m256i) -> i32 {
            // SAFETY: only registers are read and written; the caller is inside `run`
            unsafe {
                let [low, high] = [
                    _mm256_castsi256_si128(sums),
                    _mm256_extracti128_si256::<1>(sums),
                ];
                Sse2::total(_mm_add_epi32(low, high))
            }
        }
    };
}

/// Since 2013.
#[derive(Clone, Copy)]
struct Avx2;

// SAFETY: `run` enables the features of all instructions used, and pointers are read and written for one vector
// or one word at most, as the trait says
unsafe impl Isa for Avx2 {
    eight_lanes!();
    pairs!();
    run!("avx2");

    #[inline(always)]
    unsafe fn bytes(weights: *const i8) -> __m256i {
        // SAFETY: `LANES * TAPS` bytes are readable, as the caller has promised; it is inside `run`
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.cast())) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, inputs: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: only registers are read and written; the caller is inside `run`
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(inputs, weights)) }
    }
}

/// Dot products of bytes without AVX-512.
#[derive(Clone, Copy)]
struct AvxVnni;

// SAFETY: `run` enables the features of all instructions used, and pointers are read and written for one vector
// or one word at most, as the trait says
unsafe impl Isa for AvxVnni {
    eight_lanes!();
    fours!();
    run!("avx2,avxvnni");

    #[inline(always)]
    unsafe fn bytes(weights: *const i8) -> __m256i {
        // SAFETY: `LANES * TAPS` bytes are readable, as the caller has promised; it is inside `run`
        unsafe { Self::words(weights) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, inputs: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: only registers are read and written; the caller is inside `run`
        unsafe { _mm256_dpbusd_avx_epi32(sums, inputs, weights) }
    }
}

/// The first 16 bytes of four rows, a pitch pitch.
///
/// # Safety
/// 16 bytes of each row are readable; the processor has AVX-512 F.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn quarters(rows: *const u8, pitch: usize) -> __m512i {
    // SAFETY: the caller has promised 16 readable bytes of each of the four rows
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| unsafe { _mm_loadu_si128(rows.add(i * pitch).cast()) });
    let rows = _mm512_castsi128_si512(a);
    let rows = _mm512_inserti32x4::<1>(rows, b);
    let rows = _mm512_inserti32x4::<2>(rows, c);
    _mm512_inserti32x4::<3>(rows, d)
}

/// Dot products of bytes in 512 bits.
#[derive(Clone, Copy)]
struct Avx512Vnni;

// SAFETY: `run` enables the features of all instructions used, and pointers are read and written for one vector
// or one word at most, as the trait says
unsafe impl Isa for Avx512Vnni {
    type Vector = __m512i;
    const LANES: usize = 16;
    const PIXELS: usize = 8;
    fours!();
    run!("avx2,avx512f,avx512bw,avx512vl,avx512vnni");

    #[inline(always)]
    unsafe fn load(sums: *const i32) -> __m512i {
        // SAFETY: `LANES` sums are readable, as the caller has promised; it is inside `run`
        unsafe { _mm512_loadu_si512(sums.cast()) }
    }

    #[inline(always)]
    unsafe fn store(sums: *mut i32, vector: __m512i) {
        // SAFETY: `LANES` sums are writable, as the caller has promised; it is inside `run`
        unsafe { _mm512_storeu_si512(sums.cast(), vector) }
    }

    #[inline(always)]
    unsafe fn splat(inputs: *const u8) -> __m512i {
        // SAFETY: a word of inputs is readable, as the caller has promised; it is inside `run`
        unsafe { _mm512_set1_epi32(inputs.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn inputs(inputs: *const u8) -> __m512i {
        // SAFETY: words of `LANES` lanes are readable, as the caller has promised; it is inside `run`
        unsafe { _mm512_loadu_si512(inputs.cast()) }
    }

    #[inline(always)]
    unsafe fn words(weights: *const i8) -> __m512i {
        // SAFETY: words of `LANES` lanes are readable, as the caller has promised; it is inside `run`
        unsafe { _mm512_loadu_si512(weights.cast()) }
    }

    #[inline(always)]
    unsafe fn bytes(weights: *const i8) -> __m512i {
        // SAFETY: `LANES * TAPS` bytes are readable, as the caller has promised; it is inside `run`
        unsafe { Self::words(weights) }
    }

    #[inline(always)]
    unsafe fn columns(rows: *const u8, pitch: usize) -> [__m512i; 4] {
        // SAFETY: 16 bytes of each of the 16 rows are readable, as the caller has promised; it is inside `run`
        unsafe {
            // a row of each four in each vector
            let a = quarters(rows, 4 * pitch);
            let b = quarters(rows.add(pitch), 4 * pitch);
            let c = quarters(rows.add(2 * pitch), 4 * pitch);
            let d = quarters(rows.add(3 * pitch), 4 * pitch);
            let low = [_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d)];
            let high = [_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d)];
            [
                _mm512_unpacklo_epi64(low[0], low[1]),
                _mm512_unpackhi_epi64(low[0], low[1]),
                _mm512_unpacklo_epi64(high[0], high[1]),
                _mm512_unpackhi_epi64(high[0], high[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m512i, inputs: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: only registers are read and written; the caller is inside `run`
        unsafe { _mm512_dpbusd_epi32(sums, inputs, weights) }
    }

    #[inline(always)]
    unsafe fn requantize(
        sums: __m512i,
        multiplier: __m512i,
        shift: __m512i,
        clamp: Clamp,
    ) -> __m512i {
        const EVEN: __mmask16 = 0b0101_0101_0101_0101;
        // SAFETY: only registers are read and written; the caller is inside `run`
        unsafe {
            let even = _mm512_mul_epi32(sums, multiplier);
            let [sums, multiplier] = [sums, multiplier].map(|x| _mm512_srli_epi64::<32>(x));
            let odd = _mm512_mul_epi32(sums, multiplier);
            let upper = _mm512_mask_shuffle_epi32::<_MM_PERM_DDBB>(odd, EVEN, even);
            let twice = _mm512_srav_epi32(upper, shift);
            let twice = _mm512_add_epi32(twice, _mm512_set1_epi32(clamp.offset));
            let steps = _mm512_srai_epi32::<1>(twice);
            let steps = _mm512_max_epi32(steps, _mm512_set1_epi32(clamp.low));
            _mm512_min_epi32(steps, _mm512_set1_epi32(clamp.high))
        }
    }

    #[inline(always)]
    unsafe fn store_results(to: *mut i8, results: __m512i) {
        // SAFETY: `LANES` bytes are writable, as the caller has promised; it is inside `run`
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(results)) }
    }

    #[inline(always)]
    unsafe fn total(sums: __m512i) -> i32 {
        // SAFETY: only registers are read and written; the caller is inside `run`
        unsafe { _mm512_reduce_add_epi32(sums) }
    }
}

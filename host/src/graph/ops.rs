//! The operators that candle lacks for tensors in `[N, H, W, C]` order, as custom operations.

use bitbudget_core::level::Rounding;
use bitbudget_core::op::Activation;
use bitbudget_core::quant::QParams;
use bitbudget_core::shape::{Shape, Window};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Error, Layout, Result, Shape as Dims};

/// The elements of a contiguous `f32` tensor on the CPU.
fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| Error::Msg("a custom operation needs a contiguous tensor".into()).bt())?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// The patches under a sliding window, `[N, H, W, C]` to `[N·OH·OW, KH·KW·depth]`, for `depth`
/// channels from `first` on; padding is 0. A convolution is this times its weights.
pub(crate) struct Im2Col {
    pub(crate) window: Window,
    pub(crate) input: Shape,
    pub(crate) output: Shape,
    pub(crate) first: usize,
    pub(crate) depth: usize,
}

impl Im2Col {
    fn fill(&self, sample: &[f32], patches: &mut [f32]) {
        let (width, channels) = (usize::from(self.input.w), usize::from(self.input.c));
        let kernel_width = usize::from(self.window.kernel[1]);
        let mut patches = patches.chunks_exact_mut(self.window.taps() * self.depth);
        for y in 0..usize::from(self.output.h) {
            let rows = self.window.rows(y, self.input.h);
            for x in 0..usize::from(self.output.w) {
                let columns = self.window.columns(x, self.input.w);
                let Some(patch) = patches.next() else { return };
                for row in 0..rows.len {
                    let tap = (rows.tap + row) * kernel_width + columns.tap;
                    let pixel = (rows.start + row) * width + columns.start;
                    if self.depth == channels {
                        let len = columns.len * channels;
                        patch[tap * channels..][..len]
                            .copy_from_slice(&sample[pixel * channels..][..len]);
                        continue;
                    }
                    for column in 0..columns.len {
                        let from = (pixel + column) * channels + self.first;
                        patch[(tap + column) * self.depth..][..self.depth]
                            .copy_from_slice(&sample[from..][..self.depth]);
                    }
                }
            }
        }
    }
}

impl CustomOp1 for Im2Col {
    fn name(&self) -> &'static str {
        "im2col"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Dims)> {
        let input = elements(storage, layout)?;
        let count = input.len() / self.input.len();
        let rows = usize::from(self.output.h) * usize::from(self.output.w);
        let len = self.window.taps() * self.depth;
        let mut patches = vec![0.0; count * rows * len];
        let samples = input.chunks_exact(self.input.len());
        for (sample, patches) in samples.zip(patches.chunks_exact_mut(rows * len)) {
            self.fill(sample, patches);
        }
        Ok((CpuStorage::F32(patches), Dims::from((count * rows, len))))
    }
}

/// activation(x + y), where the elements of y repeat along x: a bias `[C]`, or a tensor of x's
/// shape.
pub(crate) struct AddThen(pub(crate) Activation);

impl CustomOp2 for AddThen {
    fn name(&self) -> &'static str {
        "add-then"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let (x, y) = (elements(x, x_layout)?, elements(y, y_layout)?);
        let [low, high] = self.0.range();
        let mut output = Vec::with_capacity(x.len());
        for row in x.chunks(y.len().max(1)) {
            let sums = row.iter().zip(y).map(|(x, y)| x + y);
            output.extend(sums.map(|sum| sum.max(low).min(high)));
        }
        Ok((CpuStorage::F32(output), x_layout.shape().clone()))
    }
}

/// What a pool takes of the elements under its window.
#[derive(Clone, Copy)]
pub(crate) enum PoolKind {
    Max,
    /// The mean over the elements inside or, with `count_padding`, over all taps.
    Average {
        count_padding: bool,
    },
}

/// Pooling, `[N, H, W, C]` to `[N, OH, OW, C]`.
pub(crate) struct Pool {
    pub(crate) kind: PoolKind,
    pub(crate) window: Window,
    pub(crate) input: Shape,
    pub(crate) output: Shape,
}

impl Pool {
    fn fill(&self, sample: &[f32], pooled: &mut [f32]) {
        let (width, channels) = (usize::from(self.input.w), usize::from(self.input.c));
        let mut pixels = pooled.chunks_exact_mut(channels);
        for y in 0..usize::from(self.output.h) {
            let rows = self.window.rows(y, self.input.h);
            for x in 0..usize::from(self.output.w) {
                let columns = self.window.columns(x, self.input.w);
                let Some(pooled) = pixels.next() else { return };
                pooled.fill(match self.kind {
                    PoolKind::Max => f32::NEG_INFINITY,
                    PoolKind::Average { .. } => 0.0,
                });
                for row in rows.start..rows.start + rows.len {
                    let first = (row * width + columns.start) * channels;
                    let under = &sample[first..][..columns.len * channels];
                    for pixel in under.chunks_exact(channels) {
                        for (p, x) in pooled.iter_mut().zip(pixel) {
                            match self.kind {
                                PoolKind::Max => *p = p.max(*x),
                                PoolKind::Average { .. } => *p += x,
                            }
                        }
                    }
                }
                if let PoolKind::Average { count_padding } = self.kind {
                    let count = if count_padding {
                        self.window.taps()
                    } else {
                        rows.len * columns.len
                    };
                    for p in pooled {
                        *p /= count as f32;
                    }
                }
            }
        }
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Dims)> {
        let input = elements(storage, layout)?;
        let count = input.len() / self.input.len();
        let mut pooled = vec![0.0; count * self.output.len()];
        let samples = input.chunks_exact(self.input.len());
        for (sample, pooled) in samples.zip(pooled.chunks_exact_mut(self.output.len())) {
            self.fill(sample, pooled);
        }
        Ok((CpuStorage::F32(pooled), dims(count, self.output)))
    }
}

/// Every element as the INT8 map `q` gives it back.
pub(crate) struct FakeQuantize {
    pub(crate) q: QParams,
    pub(crate) rounding: Rounding,
}

impl CustomOp1 for FakeQuantize {
    fn name(&self) -> &'static str {
        "fake-quantize"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Dims)> {
        let input = elements(storage, layout)?;
        let through = |x: &f32| self.q.dequantize(self.q.quantize(*x, self.rounding));
        let output = input.iter().map(through).collect();
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }
}

/// The dimensions of `count` samples of one shape.
pub(crate) fn dims(count: usize, shape: Shape) -> Dims {
    let [h, w, c] = [shape.h, shape.w, shape.c].map(usize::from);
    Dims::from((count, h, w, c))
}

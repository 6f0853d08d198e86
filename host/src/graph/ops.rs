//! The operators that candle lacks for tensors in `[N, H, W, C]` order, as custom operations.

use bitbudget_core::op::{Activation, Function};
use bitbudget_core::quant::{QParams, Rounding};
use bitbudget_core::shape::{Shape, Window};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Error, Layout, Result, Shape as Dims, Tensor,
};

/// The elements of a contiguous `f32` tensor on the CPU.
pub(super) fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| Error::Msg("a custom operation needs a contiguous tensor".into()).bt())?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Calls `each(output pixel, tap, input pixel, pixels)` for every row of taps that a window has inside one
/// sample: the first tap, and the input pixel under it.
pub(super) fn for_each_run(
    window: Window,
    input: Shape,
    output: Shape,
    mut each: impl FnMut(usize, usize, usize, usize),
) {
    let (width, kernel_width) = (usize::from(input.w), usize::from(window.kernel[1]));
    let mut position = 0;
    for y in 0..usize::from(output.h) {
        let rows = window.rows(y, input.h);
        for x in 0..usize::from(output.w) {
            let columns = window.columns(x, input.w);
            for row in 0..rows.len {
                let tap = (rows.tap + row) * kernel_width + columns.tap;
                let pixel = (rows.start + row) * width + columns.start;
                each(position, tap, pixel, columns.len);
            }
            position += 1;
        }
    }
}

/// The patches under a sliding window, `[N, H, W, C]` to `[N·OH·OW, KH·KW·depth]`, for `depth`
/// channels from `first` on; padding is 0. A convolution is this times its weights.
#[derive(Clone, Copy)]
pub(crate) struct Im2Col {
    pub(crate) window: Window,
    pub(crate) input: Shape,
    pub(crate) output: Shape,
    pub(crate) first: usize,
    pub(crate) depth: usize,
}

impl Im2Col {
    /// Calls `each(element of the patches, element of the sample, length)` for every contiguous run.
    fn for_each_run(&self, mut each: impl FnMut(usize, usize, usize)) {
        let channels = usize::from(self.input.c);
        let taps = self.window.taps();
        for_each_run(
            self.window,
            self.input,
            self.output,
            |position, tap, pixel, len| {
                let tap = position * taps + tap;
                if self.depth == channels {
                    return each(tap * channels, pixel * channels, len * channels);
                }
                for column in 0..len {
                    let from = (pixel + column) * channels + self.first;
                    each((tap + column) * self.depth, from, self.depth);
                }
            },
        );
    }

    fn patches_len(&self) -> usize {
        let positions = usize::from(self.output.h) * usize::from(self.output.w);
        positions * self.window.taps() * self.depth
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
            self.for_each_run(|to, from, len| {
                patches[to..][..len].copy_from_slice(&sample[from..][..len]);
            });
        }
        Ok((CpuStorage::F32(patches), Dims::from((count * rows, len))))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(
            gradient.contiguous()?.apply_op1_no_bwd(&Col2Im(*self))?,
        ))
    }
}

/// The adjoint of [`Im2Col`]: every element of a patch is added to the element it was copied from.
struct Col2Im(Im2Col);

impl CustomOp1 for Col2Im {
    fn name(&self) -> &'static str {
        "col2im"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Dims)> {
        let patches = elements(storage, layout)?;
        let count = patches.len() / self.0.patches_len();
        let mut images = vec![0.0; count * self.0.input.len()];
        let samples = images.chunks_exact_mut(self.0.input.len());
        for (sample, patches) in samples.zip(patches.chunks_exact(self.0.patches_len())) {
            self.0.for_each_run(|from, to, len| {
                let pairs = sample[to..][..len].iter_mut().zip(&patches[from..][..len]);
                pairs.for_each(|(sum, x)| *sum += x);
            });
        }
        Ok((CpuStorage::F32(images), dims(count, self.0.input)))
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

    fn bwd(
        &self,
        _: &Tensor,
        y: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of_x = output.apply_op2_no_bwd(&gradient.contiguous()?, &Passed(self.0))?;
        let of_y = if y.elem_count() == output.elem_count() {
            of_x.reshape(y.shape())?
        } else {
            of_x.reshape(((), y.elem_count()))?
                .sum(0)?
                .reshape(y.shape())?
        };
        Ok((Some(of_x), Some(of_y)))
    }
}

/// The gradient where the output is inside an activation's range, else 0.
pub(crate) struct Passed(pub(crate) Activation);

impl CustomOp2 for Passed {
    fn name(&self) -> &'static str {
        "passed"
    }

    fn cpu_fwd(
        &self,
        output: &CpuStorage,
        output_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let output = elements(output, output_layout)?;
        let gradient = elements(gradient, gradient_layout)?;
        let [low, high] = self.0.range();
        let pairs = output.iter().zip(gradient);
        let passed = pairs.map(|(y, g)| if low < *y && *y < high { *g } else { 0.0 });
        let passed = passed.collect();
        Ok((CpuStorage::F32(passed), output_layout.shape().clone()))
    }
}

/// The reduction of a pool over the elements under its window.
#[derive(Clone, Copy)]
pub(crate) enum PoolKind {
    Max,
    /// The mean over the elements inside or, with `count_padding`, over all taps.
    Average {
        count_padding: bool,
    },
}

/// Pooling, `[N, H, W, C]` to `[N, OH, OW, C]`.
#[derive(Clone, Copy)]
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

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        Ok(Some(match self.kind {
            PoolKind::Max => x.apply_op3_no_bwd(y, &gradient, &Unpool(*self))?,
            PoolKind::Average { .. } => gradient.apply_op3_no_bwd(y, &gradient, &Unpool(*self))?,
        }))
    }
}

/// The adjoint of [`Pool`], for the input (of a max pool), the output and the output's gradient: the
/// gradient goes to the first largest element, or evenly to all that the mean counts.
struct Unpool(Pool);

impl CustomOp3 for Unpool {
    fn name(&self) -> &'static str {
        "unpool"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let Pool {
            kind,
            window,
            input,
            output,
        } = self.0;
        let (x, y) = (elements(x, x_layout)?, elements(y, y_layout)?);
        let gradient = elements(gradient, gradient_layout)?;
        let count = gradient.len() / output.len();
        let [height, width, channels] = [output.h, output.w, output.c].map(usize::from);
        let mut result = vec![0.0; count * input.len()];
        for (i, g) in gradient.iter().enumerate() {
            let (pixel, channel) = (i / channels, i % channels);
            let (sample, row, column) = (
                pixel / (height * width),
                pixel / width % height,
                pixel % width,
            );
            let rows = window.rows(row, input.h);
            let columns = window.columns(column, input.w);
            let under = (rows.start..rows.start + rows.len).flat_map(|row| {
                (columns.start..columns.start + columns.len).map(move |column| {
                    let pixel = row * usize::from(input.w) + column;
                    sample * input.len() + pixel * channels + channel
                })
            });
            match kind {
                PoolKind::Max => {
                    if let Some(at) = under.into_iter().find(|at| x[*at] == y[i]) {
                        result[at] += g;
                    }
                }
                PoolKind::Average { count_padding } => {
                    let len = if count_padding {
                        window.taps()
                    } else {
                        rows.len * columns.len
                    };
                    for at in under {
                        result[at] += g / len as f32;
                    }
                }
            }
        }
        Ok((CpuStorage::F32(result), dims(count, input)))
    }
}

/// `f` of every element, in a loop that becomes vector instructions.
#[inline]
fn map(input: &[f32], f: impl Fn(f32) -> f32) -> Vec<f32> {
    let mut output = vec![0.0; input.len()];
    for (y, x) in output.iter_mut().zip(input) {
        *y = f(*x);
    }
    output
}

/// A function of every element.
pub(crate) struct Apply(pub(crate) Function);

impl CustomOp1 for Apply {
    fn name(&self) -> &'static str {
        "apply"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Dims)> {
        let output = map(elements(storage, layout)?, |x| self.0.apply(x));
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let slopes = x.contiguous()?.apply_op1_no_bwd(&Slope(self.0))?;
        Ok(Some((gradient * slopes)?))
    }
}

/// The derivative of a function at every element.
struct Slope(Function);

impl CustomOp1 for Slope {
    fn name(&self) -> &'static str {
        "slope"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Dims)> {
        let slopes = map(elements(storage, layout)?, |x| {
            slope(self.0, x.into()) as f32
        });
        Ok((CpuStorage::F32(slopes), layout.shape().clone()))
    }
}

/// The derivative of a function; at a corner, that on one side of it.
fn slope(function: Function, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    // of x · g(x): g(x) + x · g'(x)
    match function {
        Function::Abs => x.signum(),
        Function::Clip { low, high } => within(x, [low, high].map(f64::from)),
        Function::Elu { alpha } if x <= 0.0 => f64::from(alpha) * x.exp(),
        Function::LeakyRelu { alpha } if x <= 0.0 => alpha.into(),
        Function::Elu { .. } | Function::LeakyRelu { .. } => 1.0,
        Function::Exp => x.exp(),
        Function::Gelu => {
            let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let part = match x {
                0.0 => 0.5,
                _ => f64::from(function.apply(x as f32)) / x,
            };
            part + x * density
        }
        Function::GeluTanh => {
            let twice = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
            let s = sigmoid(twice * (x + 0.044_715 * x.powi(3)));
            s + x * s * (1.0 - s) * twice * (1.0 + 3.0 * 0.044_715 * x * x)
        }
        Function::HardSigmoid { alpha, beta } => {
            let [alpha, beta] = [alpha, beta].map(f64::from);
            alpha * within(alpha * x + beta, [0.0, 1.0])
        }
        Function::HardSwish => {
            let hard = (x + 3.0).clamp(0.0, 6.0) / 6.0;
            hard + x * within(x, [-3.0, 3.0]) / 6.0
        }
        Function::Log => 1.0 / x,
        Function::Mish => {
            let t = x.exp().ln_1p().min(x.max(0.0) + 1.0).tanh();
            t + x * (1.0 - t * t) * sigmoid(x)
        }
        Function::Sigmoid => sigmoid(x) * sigmoid(-x),
        Function::Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
        Function::Softplus => sigmoid(x),
        Function::Sqrt => 0.5 / x.sqrt(),
        Function::Tanh => 1.0 - x.tanh().powi(2),
    }
}

/// 1 inside of a range, else 0.
fn within(x: f64, [low, high]: [f64; 2]) -> f64 {
    f64::from(u8::from(low < x && x < high))
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
        // a loop for each rounding, so that each is free of branches, over values that no store changes
        let q = self.q;
        let output = match self.rounding {
            Rounding::Nearest => map(input, |x| q.fake_quantize(x, Rounding::Nearest)),
            Rounding::Floor => map(input, |x| q.fake_quantize(x, Rounding::Floor)),
            Rounding::Ceil => map(input, |x| q.fake_quantize(x, Rounding::Ceil)),
        };
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }
}

/// The dimensions of `count` samples of one shape.
pub(crate) fn dims(count: usize, shape: Shape) -> Dims {
    let [h, w, c] = [shape.h, shape.w, shape.c].map(usize::from);
    Dims::from((count, h, w, c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_differences() {
        let functions = [
            Function::Abs,
            Function::Clip {
                low: -1.0,
                high: 0.5,
            },
            Function::Elu { alpha: 0.75 },
            Function::Exp,
            Function::Gelu,
            Function::GeluTanh,
            Function::HardSigmoid {
                alpha: 0.2,
                beta: 0.5,
            },
            Function::HardSwish,
            Function::LeakyRelu { alpha: 0.1 },
            Function::Log,
            Function::Mish,
            Function::Sigmoid,
            Function::Silu,
            Function::Softplus,
            Function::Sqrt,
            Function::Tanh,
        ];
        const STEP: f32 = 1.0 / 512.0;
        for function in functions {
            for at in -40..40 {
                // no corner is between the ends of a step
                let x = at as f32 / 8.0 + 1.0 / 16.0;
                let [low, high] = [x - STEP, x + STEP].map(|x| f64::from(function.apply(x)));
                let (rise, found) = (high - low, slope(function, x.into()));
                let expected = rise / f64::from(2.0 * STEP);
                let error = (found - expected).abs();
                assert!(
                    error < 2e-3 * (1.0 + expected.abs()) || expected.is_nan(),
                    "{function:?} at {x}: {found}, expected {expected}"
                );
            }
        }
    }
}

//! The depthwise convolution, which as products of matrices, one for each channel, is a column at a time.

use bitbudget_core::shape::{Shape, Window};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape as Dims, Tensor};

use super::ops::{dims, elements, for_each_run};

/// Every channel with a window of its own: `[N, H, W, C]` and the weights `[C, KH·KW]` to `[N, OH, OW, C]`;
/// padding is 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depthwise {
    pub(crate) window: Window,
    pub(crate) input: Shape,
    pub(crate) output: Shape,
}

impl Depthwise {
    /// Calls `each(output, input, tap)` for every product of one sample, in units of pixels.
    fn for_each_tap(&self, mut each: impl FnMut(usize, usize, usize)) {
        for_each_run(
            self.window,
            self.input,
            self.output,
            |output, tap, input, len| {
                (0..len).for_each(|column| each(output, input + column, tap + column));
            },
        );
    }

    fn channels(&self) -> usize {
        self.input.c.into()
    }
}

/// sums[at] += a[i] · b[j], channel by channel.
fn multiply_add(
    channels: usize,
    (sums, at): (&mut [f32], usize),
    (a, i): (&[f32], usize),
    (b, j): (&[f32], usize),
) {
    let sums = &mut sums[at * channels..][..channels];
    let (a, b) = (
        &a[i * channels..][..channels],
        &b[j * channels..][..channels],
    );
    for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
        *sum += a * b;
    }
}

/// The rows of a matrix of `columns` columns as columns.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let column = |i| matrix.iter().skip(i).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}

impl CustomOp2 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let input = elements(input, input_layout)?;
        let weights = transposed(elements(weights, weights_layout)?, self.window.taps());
        let count = input.len() / self.input.len();
        let mut sums = vec![0.0; count * self.output.len()];
        let samples = input.chunks_exact(self.input.len());
        for (sample, sums) in samples.zip(sums.chunks_exact_mut(self.output.len())) {
            self.for_each_tap(|output, input, tap| {
                let (a, b) = ((sample, input), (&weights[..], tap));
                multiply_add(self.channels(), (sums, output), a, b);
            });
        }
        Ok((CpuStorage::F32(sums), dims(count, self.output)))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weights: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let of_input = gradient.apply_op2_no_bwd(weights, &OfInput(*self))?;
        let of_weights = gradient.apply_op2_no_bwd(input, &OfWeights(*self))?;
        Ok((Some(of_input), Some(of_weights)))
    }
}

/// The gradient with respect to the input, for those of the output and the weights.
struct OfInput(Depthwise);

impl CustomOp2 for OfInput {
    fn name(&self) -> &'static str {
        "depthwise-input"
    }

    fn cpu_fwd(
        &self,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let gradient = elements(gradient, gradient_layout)?;
        let weights = transposed(elements(weights, weights_layout)?, self.0.window.taps());
        let count = gradient.len() / self.0.output.len();
        let mut sums = vec![0.0; count * self.0.input.len()];
        let samples = gradient.chunks_exact(self.0.output.len());
        for (gradient, sums) in samples.zip(sums.chunks_exact_mut(self.0.input.len())) {
            self.0.for_each_tap(|output, input, tap| {
                let (a, b) = ((gradient, output), (&weights[..], tap));
                multiply_add(self.0.channels(), (sums, input), a, b);
            });
        }
        Ok((CpuStorage::F32(sums), dims(count, self.0.input)))
    }
}

/// The gradient with respect to the weights, for that of the output and the input.
struct OfWeights(Depthwise);

impl CustomOp2 for OfWeights {
    fn name(&self) -> &'static str {
        "depthwise-weights"
    }

    fn cpu_fwd(
        &self,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        input: &CpuStorage,
        input_layout: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let gradient = elements(gradient, gradient_layout)?;
        let input = elements(input, input_layout)?;
        let (channels, taps) = (self.0.channels(), self.0.window.taps());
        let mut sums = vec![0.0; taps * channels];
        let samples = input.chunks_exact(self.0.input.len());
        for (sample, gradient) in samples.zip(gradient.chunks_exact(self.0.output.len())) {
            self.0.for_each_tap(|output, input, tap| {
                let (a, b) = ((gradient, output), (sample, input));
                multiply_add(channels, (&mut sums, tap), a, b);
            });
        }
        let sums = transposed(&sums, channels);
        Ok((CpuStorage::F32(sums), Dims::from((channels, taps))))
    }
}

#[cfg(test)]
mod tests {
    use bitbudget_core::op::{Activation, Op};
    use candle_core::{Device, Var};

    use super::*;
    use crate::graph::{FloatModel, Graph, GraphLayer, Operands, Parameters, Weights};
    use crate::random::Random;

    #[test]
    fn outputs_and_gradients_are_those_of_a_product_for_each_channel() {
        let mut random = Random::new(3);
        let mut draw = |len: usize| -> Vec<f32> { (0..len).map(|_| random.signed()).collect() };
        for (kernel, stride, padding) in [
            ([3, 3], [1, 1], [1, 1, 1, 1]),
            ([3, 2], [2, 1], [0, 1, 2, 0]),
            ([1, 5], [1, 3], [0, 2, 0, 4]),
        ] {
            let window = Window {
                kernel,
                stride,
                padding,
            };
            let input = Shape::new(6, 7, 5);
            let [h, w] = window.output(input.h, input.w).expect("a size");
            let output = Shape::new(h, w, 5);
            let weights = Weights {
                weight: draw(5 * window.taps()),
                bias: draw(5),
            };
            let layer = GraphLayer {
                name: "depthwise".into(),
                op: Op::Conv2d { window, groups: 5 },
                inputs: vec![0],
                activation: Activation::None,
                output,
                weights: Some(weights),
            };
            let layers = vec![layer];
            let model = FloatModel::new(Graph {
                input,
                layers,
                outputs: Vec::new(),
            })
            .expect("a model");
            let own = model.parameters(0).expect("weights");
            let x = Var::from_tensor(&model.input(draw(2 * input.len())).expect("samples"));
            let x = x.expect("a variable");
            let weight = Var::from_tensor(&own.weight).expect("a variable");
            let parameters = Parameters {
                weight: weight.as_tensor().clone(),
                bias: own.bias.clone(),
            };
            let seed = draw(2 * output.len());
            let seed = Tensor::from_vec(seed, dims(2, output), &Device::Cpu).expect("a seed");
            let run = |operands: &Operands| -> Result<[Vec<f32>; 3]> {
                let y = model.run_on(0, operands, Some(&parameters), Activation::None)?;
                let gradients = (&y * &seed)?.sum_all()?.backward()?;
                let flat = |tensor: &Tensor| tensor.flatten_all()?.to_vec1();
                let of = |var: &Var| flat(gradients.get(var).expect("a gradient"));
                Ok([flat(&y)?, of(&x)?, of(&weight)?])
            };
            let operands = model.operands(0, &x).expect("operands");
            assert!(matches!(operands, Operands::Depthwise(..)));
            let patches = Operands::Patches(model.patches(0, &x).expect("patches"));
            let (found, wanted) = (run(&operands), run(&patches));
            let (found, wanted) = (found.expect("a run"), wanted.expect("a run"));
            for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
                assert!(
                    (found - wanted).abs() < 1e-5,
                    "{kernel:?}: {found} {wanted}"
                );
            }
        }
    }
}

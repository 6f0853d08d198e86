//! The float model in candle: the FP32 reference and every perturbation of it.

use bitbudget_core::op::{Activation, Op};
use bitbudget_core::shape::{Shape, Window};
use candle_core::{D, Device, Result, Tensor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::depthwise::Depthwise;
use super::ops::{AddThen, Apply, Im2Col, Passed, Pool, PoolKind, dims};
use super::{Graph, GraphLayer};

/// A [`Graph`] with its weights as candle tensors; samples are batched, `[N, H, W, C]`.
#[derive(Debug)]
pub struct FloatModel {
    /// The graph.
    pub graph: Arc<Graph>,
    parameters: Arc<[Option<Parameters>]>,
    macs_run: AtomicU64,
}

/// The parameters that a layer runs with.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// `[O, K]`, a row for each output channel.
    pub weight: Tensor,
    /// `[O]`.
    pub bias: Tensor,
}

/// What the weights of a layer are multiplied with.
#[derive(Clone, Debug)]
pub(crate) enum Operands {
    /// The patches of each group, `[rows, K]`.
    Patches(Vec<Tensor>),
    /// The input of a depthwise convolution.
    Depthwise(Depthwise, Tensor),
}

impl FloatModel {
    /// The model of a graph whose layers passed [`Op::check`].
    ///
    /// # Errors
    /// candle's, when a layer's weights are not as many as its shapes say.
    pub fn new(graph: Graph) -> Result<Self> {
        let parameters = graph.layers.iter().map(|layer| {
            let Some(weights) = &layer.weights else {
                return Ok(None);
            };
            let channels = usize::from(layer.output.c);
            Ok(Some(Parameters {
                weight: Tensor::from_slice(&weights.weight, (channels, ()), &Device::Cpu)?,
                bias: Tensor::from_slice(&weights.bias, channels, &Device::Cpu)?,
            }))
        });
        let parameters = parameters.collect::<Result<_>>()?;
        Ok(Self {
            graph: Arc::new(graph),
            parameters,
            macs_run: AtomicU64::new(0),
        })
    }

    /// This model with a count of products of its own.
    #[must_use]
    pub fn with_own_count(&self) -> Self {
        Self {
            graph: Arc::clone(&self.graph),
            parameters: Arc::clone(&self.parameters),
            macs_run: AtomicU64::new(0),
        }
    }

    /// Products of one sample's forward pass.
    #[must_use]
    pub fn macs(&self) -> u64 {
        (0..self.graph.layers.len())
            .map(|i| self.layer_macs(i))
            .sum()
    }

    /// Products of one layer for one sample.
    #[must_use]
    pub fn layer_macs(&self, layer: usize) -> u64 {
        let GraphLayer { op, output, .. } = &self.graph.layers[layer];
        op.macs(
            self.graph.shape(self.graph.layers[layer].inputs[0]),
            *output,
        )
    }

    /// Products that forward passes took so far, over all samples and layers run.
    #[must_use]
    pub fn macs_run(&self) -> u64 {
        self.macs_run.load(Ordering::Relaxed)
    }

    /// A batch of samples as the network's input tensor; `real` holds whole samples, `[H, W, C]`.
    ///
    /// # Errors
    /// candle's, when `real` holds a part of a sample.
    pub fn input(&self, real: Vec<f32>) -> Result<Tensor> {
        let count = real.len() / self.graph.input.len();
        Tensor::from_vec(real, dims(count, self.graph.input), &Device::Cpu)
    }

    /// All tensors of one batch: the input, then every layer's output.
    ///
    /// # Errors
    /// candle's.
    pub fn forward(&self, input: Tensor) -> Result<Vec<Tensor>> {
        let mut tensors = vec![input];
        for layer in 0..self.graph.layers.len() {
            let read = |t: &usize| tensors[*t].clone();
            let inputs: Vec<_> = self.graph.layers[layer].inputs.iter().map(read).collect();
            tensors.push(self.run(layer, &inputs, None)?);
        }
        Ok(tensors)
    }

    /// The parameters of a layer; `None` for a layer without weights.
    #[must_use]
    pub fn parameters(&self, layer: usize) -> Option<&Parameters> {
        self.parameters[layer].as_ref()
    }

    /// What the weights of a layer are multiplied with, found once for several of them.
    ///
    /// # Errors
    /// candle's.
    pub(crate) fn operands(&self, layer: usize, input: &Tensor) -> Result<Operands> {
        Ok(match self.depthwise(layer) {
            Some(depthwise) => Operands::Depthwise(depthwise, input.clone()),
            None => Operands::Patches(self.patches(layer, input)?),
        })
    }

    /// The depthwise convolution that a layer is, if so.
    fn depthwise(&self, layer: usize) -> Option<Depthwise> {
        let GraphLayer {
            op, output, inputs, ..
        } = &self.graph.layers[layer];
        let input = self.graph.shape(inputs[0]);
        match *op {
            Op::Conv2d { window, groups } if groups == input.c && groups == output.c => {
                Some(Depthwise {
                    window,
                    input,
                    output: *output,
                })
            }
            Op::Conv2d { .. }
            | Op::Dense
            | Op::Add
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::Reshape
            | Op::Softmax { .. }
            | Op::Unary(_)
            | Op::Mul
            | Op::Concat
            | Op::Rearrange(_) => None,
        }
    }

    /// The patches of `input` that the weights of each group of a layer are multiplied with: `[rows, K]`.
    ///
    /// # Errors
    /// candle's.
    pub fn patches(&self, layer: usize, input: &Tensor) -> Result<Vec<Tensor>> {
        let GraphLayer {
            op, output, inputs, ..
        } = &self.graph.layers[layer];
        patches(op, input, self.graph.shape(inputs[0]), *output).collect()
    }

    /// The output of one layer for these inputs, with `parameters` in place of its own where given.
    ///
    /// # Errors
    /// candle's.
    pub fn run(
        &self,
        layer: usize,
        inputs: &[Tensor],
        parameters: Option<&Parameters>,
    ) -> Result<Tensor> {
        self.run_with(
            layer,
            inputs,
            parameters,
            self.graph.layers[layer].activation,
        )
    }

    /// The sums of a layer with weights, before the activation, `[rows, O]`.
    ///
    /// # Errors
    /// candle's.
    pub fn sums(&self, layer: usize, input: &Tensor, parameters: &Parameters) -> Result<Tensor> {
        let output = self.graph.layers[layer].output;
        let sums = self.run_with(
            layer,
            std::slice::from_ref(input),
            Some(parameters),
            Activation::None,
        )?;
        sums.reshape(((), usize::from(output.c)))
    }

    /// The output of one layer with its activation linear around `held`, an output of before: what was
    /// inside the activation's range goes on as it is, what was clamped stays.
    ///
    /// # Errors
    /// candle's.
    pub fn run_held(
        &self,
        layer: usize,
        inputs: &[Tensor],
        parameters: Option<&Parameters>,
        held: &Tensor,
    ) -> Result<Tensor> {
        let activation = self.graph.layers[layer].activation;
        let output = self.run_with(layer, inputs, parameters, Activation::None)?;
        if activation == Activation::None {
            return Ok(output);
        }
        let inside = held.apply_op2_no_bwd(&held.ones_like()?, &Passed(activation))?;
        let clamped = (held - (held * &inside)?)?;
        (output * inside)? + clamped
    }

    /// The output of a layer with weights for the [operands](Self::operands) of its input.
    ///
    /// # Errors
    /// candle's.
    pub(crate) fn run_on(
        &self,
        layer: usize,
        operands: &Operands,
        parameters: Option<&Parameters>,
        activation: Activation,
    ) -> Result<Tensor> {
        let output = self.graph.layers[layer].output;
        let Some(own) = parameters.or(self.parameters[layer].as_ref()) else {
            candle_core::bail!("layer {layer} has no weights")
        };
        let products = match operands {
            Operands::Depthwise(depthwise, input) => input.apply_op2(&own.weight, *depthwise)?,
            Operands::Patches(patches) => {
                let channels = own.weight.dim(0)? / patches.len();
                let products = patches.iter().enumerate().map(|(group, patches)| {
                    let weight = own.weight.narrow(0, group * channels, channels)?;
                    patches.matmul(&weight.t()?)
                });
                let products = products.collect::<Result<Vec<_>>>()?;
                match products.as_slice() {
                    [product] => product.clone(),
                    several => Tensor::cat(several, 1)?,
                }
            }
        };
        let count = products.elem_count() / output.len();
        let macs = self.layer_macs(layer) * count as u64;
        self.macs_run.fetch_add(macs, Ordering::Relaxed);
        let sums = products.apply_op2(&own.bias, AddThen(activation))?;
        sums.reshape(dims(count, output))
    }

    /// As `run`, with another activation than the layer's own.
    ///
    /// # Errors
    /// candle's.
    pub fn run_with(
        &self,
        layer: usize,
        inputs: &[Tensor],
        parameters: Option<&Parameters>,
        activation: Activation,
    ) -> Result<Tensor> {
        let GraphLayer { op, output, .. } = &self.graph.layers[layer];
        if op.has_weights() {
            let operands = self.operands(layer, &inputs[0])?;
            return self.run_on(layer, &operands, parameters, activation);
        }
        let input = self.graph.shape(self.graph.layers[layer].inputs[0]);
        let x = &inputs[0];
        let count = x.dim(0)?;
        let result = match *op {
            Op::Conv2d { .. } | Op::Dense => candle_core::bail!("has weights"),
            Op::Add => return x.apply_op2(&inputs[1], AddThen(activation)),
            Op::MaxPool { window } => x.apply_op1(Pool {
                kind: PoolKind::Max,
                window,
                input,
                output: *output,
            })?,
            Op::AvgPool {
                window,
                count_padding,
            } => x.apply_op1(Pool {
                kind: PoolKind::Average { count_padding },
                window,
                input,
                output: *output,
            })?,
            Op::Reshape => x.clone(),
            Op::Softmax { log } => {
                let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?;
                let exp = shifted.exp()?;
                let sum = exp.sum_keepdim(D::Minus1)?;
                match log {
                    true => shifted.broadcast_sub(&sum.log()?)?,
                    false => exp.broadcast_div(&sum)?,
                }
            }
            Op::Unary(function) => x.apply_op1(Apply(function))?,
            Op::Mul => x.broadcast_mul(&inputs[1])?,
            Op::Concat => Tensor::cat(inputs, D::Minus1)?,
            Op::Rearrange(of) => {
                let taken: Vec<u32> = of.elements(input, *output).collect();
                let taken = Tensor::new(taken, x.device())?;
                x.reshape((count, ()))?.index_select(&taken, 1)?
            }
        };
        let result = match activation {
            Activation::None => result,
            Activation::Relu => result.relu()?,
            Activation::Relu6 => result.clamp(0.0_f32, 6.0_f32)?,
        };
        result.reshape(dims(count, *output))
    }
}

/// The input patches of each group of a layer, `[rows, K]`.
fn patches(
    op: &Op,
    x: &Tensor,
    input: Shape,
    output: Shape,
) -> impl ExactSizeIterator<Item = Result<Tensor>> {
    let (window, groups) = match *op {
        Op::Conv2d { window, groups } => (Some(window), usize::from(groups)),
        Op::Dense
        | Op::Add
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::Reshape
        | Op::Softmax { .. }
        | Op::Unary(_)
        | Op::Mul
        | Op::Concat
        | Op::Rearrange(_) => (None, 1),
    };
    let depth = usize::from(input.c) / groups;
    (0..groups).map(move |group| match window {
        None => x.reshape((x.dim(0)?, ())),
        // every pixel is a patch
        Some(window) if groups == 1 && window == Window::square(1, 1, 0) => x.reshape(((), depth)),
        Some(window) => x.apply_op1(Im2Col {
            window,
            input,
            output,
            first: group * depth,
            depth,
        }),
    })
}

//! The float model in candle: the FP32 reference and every perturbation of it.

use bitbudget_core::op::{Activation, Op};
use bitbudget_core::shape::Shape;
use candle_core::{D, Device, Result, Tensor};

use super::ops::{AddThen, Im2Col, Pool, PoolKind, dims};
use super::{Graph, GraphLayer};

/// A [`Graph`] with its weights as candle tensors; samples are batched, `[N, H, W, C]`.
#[derive(Debug)]
pub struct FloatModel {
    /// The graph.
    pub graph: Graph,
    parameters: Vec<Option<Parameters>>,
}

#[derive(Debug)]
struct Parameters {
    /// `[O, K]`, a row for each output channel.
    weight: Tensor,
    /// `[O]`.
    bias: Tensor,
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
        Ok(Self { graph, parameters })
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

    /// The weights of a layer, `[O, K]`.
    #[must_use]
    pub fn weight(&self, layer: usize) -> Option<&Tensor> {
        self.parameters[layer].as_ref().map(|p| &p.weight)
    }

    /// The output of one layer for these inputs, with `weight` in place of its own where given.
    ///
    /// # Errors
    /// candle's.
    pub fn run(&self, layer: usize, inputs: &[Tensor], weight: Option<&Tensor>) -> Result<Tensor> {
        let GraphLayer {
            op,
            output,
            activation,
            ..
        } = &self.graph.layers[layer];
        let input = self.graph.shape(self.graph.layers[layer].inputs[0]);
        let x = &inputs[0];
        let count = x.dim(0)?;
        let result = match *op {
            Op::Conv2d { .. } | Op::Dense => {
                let Some(own) = &self.parameters[layer] else {
                    candle_core::bail!("layer {layer} has no weights")
                };
                let weight = weight.unwrap_or(&own.weight);
                let products = multiply(op, x, input, *output, weight)?;
                let sums = products.apply_op2_no_bwd(&own.bias, &AddThen(*activation))?;
                return sums.reshape(dims(count, *output));
            }
            Op::Add => return x.apply_op2_no_bwd(&inputs[1], &AddThen(*activation)),
            Op::MaxPool { window } => x.apply_op1_no_bwd(&Pool {
                kind: PoolKind::Max,
                window,
                input,
                output: *output,
            })?,
            Op::AvgPool {
                window,
                count_padding,
            } => x.apply_op1_no_bwd(&Pool {
                kind: PoolKind::Average { count_padding },
                window,
                input,
                output: *output,
            })?,
            Op::Reshape => x.clone(),
            Op::Softmax => {
                let flat = x.reshape((count, ()))?;
                let largest = flat.max_keepdim(D::Minus1)?;
                let exp = flat.broadcast_sub(&largest)?.exp()?;
                exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?
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

/// The layer's products without bias, `[rows, O]`.
fn multiply(op: &Op, x: &Tensor, input: Shape, output: Shape, weight: &Tensor) -> Result<Tensor> {
    let Op::Conv2d { window, groups } = *op else {
        return x.reshape((x.dim(0)?, ()))?.matmul(&weight.t()?);
    };
    let groups = usize::from(groups);
    let depth = usize::from(input.c) / groups;
    let channels = usize::from(output.c) / groups;
    let products = (0..groups).map(|group| {
        let patches = x.apply_op1_no_bwd(&Im2Col {
            window,
            input,
            output,
            first: group * depth,
            depth,
        })?;
        let weight = weight.narrow(0, group * channels, channels)?;
        patches.matmul(&weight.t()?)
    });
    let products = products.collect::<Result<Vec<_>>>()?;
    match products.as_slice() {
        [product] => Ok(product.clone()),
        several => Tensor::cat(several, 1),
    }
}

//! The Hessian traces of a run, for the metric `hawq2`.

use candle_core::Tensor;
use rayon::prelude::*;

use super::error::ProfileError;
use super::options::Phase;
use super::run::Run;
use crate::batches::rows;
use crate::metric::{Estimate, hawq2};

/// Samples over which Hessian traces are means.
const CURVATURE_SAMPLES: usize = 512;

impl Run<'_> {
    /// The mean Hessian trace of every layer's weights, and how many backward passes over the
    /// calibration set they took.
    pub(super) fn mean_traces(&self) -> Result<(Vec<Estimate>, f64), ProfileError> {
        let model = self.batches.model;
        let batches = self.batches.count_for(CURVATURE_SAMPLES);
        let samples = self.batches.range(batches - 1).end;
        let layers = model.graph.layers.len();
        let mut curvatures: Vec<Vec<f64>> = Vec::new();
        while curvatures.len() < hawq2::MAX_PROBES && !hawq2::has_settled(&curvatures) {
            if self.control.stopped() {
                return Err(self.interrupted(self.batches.count()));
            }
            let vector = hawq2::probe(model, curvatures.len())?;
            let of_batch = |batch: usize| -> Result<Vec<f64>, ProfileError> {
                let tensors = self.batches.forward(batch)?;
                let base = rows(&tensors[layers])?;
                let gradient = |output: &Tensor| {
                    let each = self.batches.gradient(batch, &rows(output)?, &base);
                    Tensor::from_vec(each, output.shape(), output.device())
                };
                Ok(hawq2::curvatures(model, &tensors, &vector, gradient)?)
            };
            let parts = (0..batches).into_par_iter().map(of_batch);
            let mut total = vec![0.0; layers];
            // in the batches' order, so that the sum is always the same
            for part in parts.collect::<Result<Vec<_>, _>>()? {
                total.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
            }
            curvatures.push(total.iter().map(|sum| sum / samples as f64).collect());
            (self.control.progress)(Phase::Curvature, curvatures.len(), hawq2::MAX_PROBES);
        }
        let passes = 2.0 * (curvatures.len() * samples) as f64 / self.batches.data.len as f64;
        Ok((hawq2::mean_traces(model, &curvatures), passes))
    }
}

//! Moments of the inputs that a run's weights meet, by which their grids are chosen.

use rayon::prelude::*;

use super::error::ProfileError;
use super::run::Run;
use crate::graph::GraphLayer;
use crate::grid::Moments;

/// Samples whose patches choose the weights' grids.
const MOMENT_SAMPLES: usize = 1024;

impl Run<'_> {
    /// The moments of every layer, one for each of its groups.
    pub(super) fn moments(&self) -> Result<Vec<Vec<Moments>>, ProfileError> {
        let batches = self.batches.count_for(MOMENT_SAMPLES);
        // not more at once than cores: second moments of long patches are large
        let mut all: Option<Vec<Vec<Moments>>> = None;
        for batch in 0..batches {
            if self.control.stopped() {
                return Err(self.interrupted(0));
            }
            let tensors = self.batches.forward(batch)?;
            let layers = self.batches.model.graph.layers.iter().enumerate();
            let layers: Vec<_> = layers.collect();
            let of_layer = |(i, layer): &(usize, &GraphLayer)| {
                if layer.weights.is_none() {
                    return Ok(Vec::new());
                }
                let patches = self.batches.model.patches(*i, &tensors[layer.inputs[0]])?;
                patches.iter().map(Moments::of).collect()
            };
            let measured = layers.par_iter().map(of_layer);
            let measured = measured.collect::<candle_core::Result<Vec<Vec<_>>>>()?;
            match &mut all {
                None => all = Some(measured),
                Some(all) => {
                    let pairs = all.iter_mut().flatten().zip(measured.iter().flatten());
                    for (sum, more) in pairs {
                        sum.merge(more)?;
                    }
                }
            }
        }
        Ok(all.unwrap_or_default())
    }
}

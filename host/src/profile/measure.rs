//! The second pass: the losses under every probe.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bitbudget_core::quant::Rounding;
use rayon::prelude::*;

use super::calibrate::Calibration;
use super::error::ProfileError;
use super::options::Phase;
use super::partial::{Batch, Partial};
use super::record::Origin;
use super::refine::RANDOM_LAYOUTS;
use super::run::Run;
use crate::batches::{Batches, rows};
use crate::capacity::HostNetwork;
use crate::file;
use crate::metric::tangent::Backward;
use crate::metric::{Metric, Probe, Replay, Subject};

/// Interval at which a run saves its batches.
const KEEP_EVERY: Duration = Duration::from_secs(5);

impl Run<'_> {
    /// The measurements on every batch, made now or kept by an interrupted run; `labels` are those that tell
    /// what the FP32 model is worth.
    pub(super) fn measure(
        &self,
        network: &HostNetwork,
        calibration: &Calibration,
        origin: &Origin,
        labels: Option<&[u32]>,
    ) -> Result<Vec<Batch>, ProfileError> {
        let replay = Replay::new(self.batches.model, network, &calibration.grids)?;
        let steps = self.input_steps(network);
        let probes = self.probes(&Subject {
            input_steps: &steps,
            input_noise: &[],
            weight_noise: &[],
            mean_traces: &[],
            error_max: self.options.error_max,
        });
        let settings = format!(
            "{origin:?}{:?}{:?}{probes:?}{}",
            self.options.preprocess, self.options.rule, self.batches.len
        );
        let key = file::fingerprint([settings.as_bytes()]);
        let path = self.control.output.map(Partial::path);
        let empty = || Partial::load(Path::new(""), key, self.batches.count());
        let kept = path
            .as_deref()
            .map(|path| Partial::load(path, key, self.batches.count()));
        let partial = kept.unwrap_or_else(empty);
        let missing: Vec<usize> = (0..self.batches.count())
            .filter(|batch| partial.batches[*batch].is_none())
            .collect();
        let state = Mutex::new((partial, Instant::now()));
        let result = missing.into_par_iter().try_for_each(|batch| {
            if self.control.stopped() {
                return Err(self.interrupted(0));
            }
            let measured = self.measure_batch(batch, &replay, network, &probes, labels)?;
            let mut state = state.lock().unwrap_or_else(|e| e.into_inner());
            state.0.batches[batch] = Some(measured);
            (self.control.progress)(Phase::Measure, state.0.done(), self.batches.count());
            if let Some(path) = &path
                && state.1.elapsed() > KEEP_EVERY
            {
                state.0.save(path)?;
                state.1 = Instant::now();
            }
            Ok(())
        });
        let (partial, _) = state.into_inner().unwrap_or_else(|e| e.into_inner());
        match (result, &path) {
            (Err(ProfileError::Interrupted { .. }), Some(path)) => {
                partial.save(path)?;
                return Err(self.interrupted(partial.done()));
            }
            (Err(error), _) => return Err(error),
            // kept until the profile is whole
            (Ok(()), Some(path)) => partial.save(path)?,
            (Ok(()), None) => {}
        }
        Ok(partial.batches.into_iter().flatten().collect())
    }

    fn measure_batch(
        &self,
        batch: usize,
        replay: &Replay<'_>,
        network: &HostNetwork,
        probes: &[Probe],
        labels: Option<&[u32]>,
    ) -> Result<Batch, ProfileError> {
        let model = self.batches.model.with_own_count();
        let replay = replay.counted_by(&model);
        let tensors = Batches {
            model: &model,
            ..self.batches
        };
        let tensors = tensors.forward(batch)?;
        let first = self.batches.range(batch).start;
        let base = rows(&tensors[tensors.len() - 1])?;
        let own = Batches {
            labels,
            ..self.batches
        };
        let own = own.score(batch, &base, &base);
        if let Some(i) = own.iter().position(|score| !score.loss.is_finite()) {
            return Err(ProfileError::Loss { image: first + i });
        }
        let scores = self.batches.score(batch, &base, &base);
        let mut measured = Batch::of(&scores, &own);
        if self.options.metric == Metric::Tangent {
            let seed = self.batches.gradient(batch, &base, &base);
            let backward = Backward {
                model: &model,
                network,
                replay: &replay,
            };
            for changes in backward.changes(&tensors, &seed, probes)? {
                let pairs = changes.iter().zip(&measured.base);
                let losses = pairs.map(|(change, base)| base + change).collect();
                measured.perturbed.push(losses);
            }
            measured.macs = model.macs_run();
            return Ok(measured);
        }
        for probe in probes {
            let outputs = rows(&replay.probe(&tensors, probe)?)?;
            let scores = self.batches.score(batch, &outputs, &base);
            let losses = scores.iter().map(|score| score.loss).collect();
            measured.perturbed.push(losses);
        }
        if self.options.rounds(self.batches.data.len) > 0 {
            measured.random = vec![Vec::new(); RANDOM_LAYOUTS];
            let layouts = self.random_layouts(network, batch);
            let order: Vec<usize> = (0..layouts.len()).collect();
            replay.layouts(&tensors, &layouts, &order, |at, output| {
                let scores = self.batches.score(batch, &rows(output)?, &base);
                let pairs = scores.iter().zip(&measured.base);
                measured.random[at] = pairs.map(|(score, base)| score.loss - base).collect();
                Ok(())
            })?;
        }
        if self.options.metric == Metric::Secant {
            for layer in &self.batches.model.graph.layers {
                let input: Vec<f32> = tensors[layer.inputs[0]].flatten_all()?.to_vec1()?;
                let q = network.qparams(layer.inputs[0]);
                measured.noise.push(Rounding::ALL.map(|rounding| {
                    let e = |x: &f32| f64::from(q.dequantize(q.quantize(*x, rounding)) - x);
                    let add = |sum: (f64, f64), e: f64| (sum.0 + e.max(0.0), sum.1 + e.min(0.0));
                    input.iter().map(e).fold((0.0, 0.0), add)
                }));
            }
        }
        measured.macs = model.macs_run();
        Ok(measured)
    }
}

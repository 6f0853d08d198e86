//! Measures a profile: one pass for the distributions, one for the losses of every probe.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bitbudget_core::clip::Clip;
use bitbudget_core::level::{Level, Rounding};
use bitbudget_core::network::{Layer, Preprocess};
use bitbudget_core::price::{ERROR_MAX, PriceItem, PriceMatrix, SignedMeans};
use bitbudget_core::quant::quantize_weight;
use candle_core::Tensor;
use rayon::prelude::*;

use super::partial::{Batch, Partial};
use super::{
    HostNetwork, MAX_LAYERS, MAX_LEVELS, Origin, Profile, ProfileError, data_fingerprint,
    graph_fingerprint, outputs_of, real_inputs,
};
use crate::calibrate::{Calibration, Histogram};
use crate::dataset::Dataset;
use crate::file;
use crate::graph::{FloatModel, Graph};
use crate::loss::{Score, mean_and_error};
use crate::metric::{Estimate, Losses, Metric, Probe, Replay, Subject};

/// How to profile.
#[derive(Clone, Debug)]
pub struct Options {
    /// The levels to price.
    pub levels: Vec<Level>,
    /// The estimator.
    pub metric: Metric,
    /// The rule for clip ranges.
    pub clip: Clip,
    /// The rule's name, for the record.
    pub clip_name: String,
    /// From raw values to the model's inputs.
    pub preprocess: Preprocess,
    /// For `secant`: see [`ERROR_MAX`].
    pub error_max: f64,
    /// The model's name, for the record.
    pub model_name: String,
    /// The data's name, for the record.
    pub data_name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            levels: Level::ALL.to_vec(),
            metric: Metric::default(),
            clip: Clip::default(),
            clip_name: "mse".into(),
            preprocess: Preprocess::default(),
            error_max: ERROR_MAX,
            model_name: String::new(),
            data_name: String::new(),
        }
    }
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Distributions of all tensors.
    Calibrate,
    /// Losses under every probe.
    Measure,
}

/// How a caller follows and ends a run.
pub struct Control<'a> {
    /// Called with the batches done and in all.
    pub progress: &'a (dyn Fn(Phase, usize, usize) + Sync),
    /// Set to end the run after the batches in work.
    pub stop: &'a AtomicBool,
    /// Where the profile will be written: what is measured is kept beside it. `None` keeps nothing.
    pub output: Option<&'a Path>,
}

impl Control<'_> {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Bytes of activations that one batch may take.
const BATCH_BYTES: usize = 64 << 20;
/// How often a run keeps what it has.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// The profile of `graph` on `data`.
///
/// # Errors
/// [`ProfileError`]; when it was interrupted, the same call goes on from what was kept.
pub fn profile(
    graph: Graph,
    data: &Dataset,
    options: &Options,
    control: &Control<'_>,
) -> Result<Profile, ProfileError> {
    check(&graph, data, options)?;
    let origin = Origin {
        model: options.model_name.clone(),
        model_fingerprint: graph_fingerprint(&graph),
        data: options.data_name.clone(),
        data_fingerprint: data_fingerprint(data),
        metric: options.metric,
        clip: options.clip_name.clone(),
        levels: options.levels.clone(),
    };
    let run = Run::new(FloatModel::new(graph)?, data, options, control);
    let calibration = run.calibrate()?;
    let network = run.network(&calibration)?;
    let batches = run.measure(&network, &calibration, &origin)?;
    run.finish(origin, network, calibration, &batches)
}

fn check(graph: &Graph, data: &Dataset, options: &Options) -> Result<(), ProfileError> {
    let (found, limit) = (graph.layers.len(), MAX_LAYERS);
    if found > limit {
        return Err(ProfileError::TooManyLayers { found, limit });
    }
    if graph.layers.iter().all(|layer| layer.weights.is_none()) {
        return Err(ProfileError::NoWeights);
    }
    let levels = &options.levels;
    let twice = |i: usize| levels[..i].contains(&levels[i]);
    if levels.is_empty() || (0..levels.len()).any(twice) {
        return Err(ProfileError::Levels);
    }
    let preprocess = &options.preprocess;
    if !preprocess.is_usable(graph.input.c) {
        return Err(ProfileError::Preprocess {
            mean: preprocess.mean.len(),
            std: preprocess.std.len(),
            channels: graph.input.c,
        });
    }
    let classes = graph.shape(graph.layers.len()).len();
    data.labels_below(classes, Path::new(&options.data_name))?;
    Ok(())
}

/// One run: the model, the data in batches, and what the caller wants.
struct Run<'a> {
    model: FloatModel,
    data: &'a Dataset,
    options: &'a Options,
    control: &'a Control<'a>,
    batch_len: usize,
}

impl<'a> Run<'a> {
    fn new(
        model: FloatModel,
        data: &'a Dataset,
        options: &'a Options,
        control: &'a Control<'a>,
    ) -> Self {
        let tensors = 0..=model.graph.layers.len();
        let sample: usize = tensors.map(|t| 4 * model.graph.shape(t).len()).sum();
        Self {
            batch_len: (BATCH_BYTES / sample.max(1)).clamp(1, 32),
            model,
            data,
            options,
            control,
        }
    }

    fn batch_count(&self) -> usize {
        self.data.len.div_ceil(self.batch_len)
    }

    fn range(&self, batch: usize) -> std::ops::Range<usize> {
        let start = batch * self.batch_len;
        start..(start + self.batch_len).min(self.data.len)
    }

    fn forward(&self, batch: usize) -> Result<Vec<Tensor>, ProfileError> {
        let real = real_inputs(self.data, &self.options.preprocess, self.range(batch));
        Ok(self.model.forward(self.model.input(real)?)?)
    }

    /// The distributions of all tensors, and the quantizers chosen from them.
    fn calibrate(&self) -> Result<Calibration, ProfileError> {
        let count = self.model.graph.layers.len() + 1;
        let empty = || vec![Histogram::default(); count];
        let done = Mutex::new(0);
        let add = |mut all: Vec<Histogram>, batch: usize| {
            if self.control.stopped() {
                return Err(self.interrupted(0));
            }
            for (histogram, tensor) in all.iter_mut().zip(self.forward(batch)?) {
                histogram.add(&tensor.flatten_all()?.to_vec1()?);
            }
            let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
            *done += 1;
            (self.control.progress)(Phase::Calibrate, *done, self.batch_count());
            Ok(all)
        };
        let merge = |mut all: Vec<Histogram>, other: Vec<Histogram>| {
            for (a, b) in all.iter_mut().zip(&other) {
                a.merge(b);
            }
            Ok(all)
        };
        let batches = (0..self.batch_count()).into_par_iter();
        let tensors = batches.try_fold(empty, add).try_reduce(empty, merge)?;
        Ok(Calibration::new(
            &self.model.graph,
            &tensors,
            self.options.clip,
        ))
    }

    /// The network with its quantizers; prices are still zero.
    fn network(&self, calibration: &Calibration) -> Result<Box<HostNetwork>, ProfileError> {
        let graph = &self.model.graph;
        let mut network = Box::new(HostNetwork {
            input: graph.input,
            input_q: calibration.qparams[0],
            preprocess: self.options.preprocess.clone(),
            layers: heapless::Vec::new(),
            prices: PriceMatrix {
                unit: 1.0,
                rows: heapless::Vec::new(),
            },
        });
        for (i, layer) in graph.layers.iter().enumerate() {
            // the capacities were checked
            let _ = network.layers.push(Layer {
                op: layer.op,
                inputs: layer.inputs.iter().map(|t| *t as u16).collect(),
                activation: layer.activation,
                output: layer.output,
                output_q: calibration.qparams[i + 1],
            });
            let levels = self
                .options
                .levels
                .iter()
                .filter(|_| layer.weights.is_some());
            let items = levels.map(|level| PriceItem {
                level: *level,
                bytes: network.resident_bytes(i, *level).unwrap_or(u32::MAX),
                price: 0,
            });
            let row = items.collect();
            let _ = network.prices.rows.push(row);
        }
        network.check()?;
        Ok(network)
    }

    /// The probes of all levels of all layers, each once.
    fn probes(&self, subject: &Subject<'_>) -> Vec<Probe> {
        let mut probes = Vec::new();
        for (layer, level) in self.items() {
            for probe in self.options.metric.probes(subject, layer, level) {
                if !probes.contains(&probe) {
                    probes.push(probe);
                }
            }
        }
        probes
    }

    fn items(&self) -> impl Iterator<Item = (usize, Level)> + '_ {
        let layers = self.model.graph.layers.iter().enumerate();
        let weighted = layers.filter(|(_, layer)| layer.weights.is_some());
        weighted.flat_map(|(i, _)| self.options.levels.iter().map(move |level| (i, *level)))
    }

    fn measure(
        &self,
        network: &HostNetwork,
        calibration: &Calibration,
        origin: &Origin,
    ) -> Result<Vec<Batch>, ProfileError> {
        let replay = Replay::new(&self.model, network, &calibration.scales)?;
        let steps = self.input_steps(network);
        let probes = self.probes(&Subject {
            input_steps: &steps,
            input_noise: &[],
            weight_noise: &[],
            error_max: self.options.error_max,
        });
        let settings = format!(
            "{origin:?}{:?}{probes:?}{}",
            self.options.preprocess, self.batch_len
        );
        let key = file::fingerprint([settings.as_bytes()]);
        let path = self.control.output.map(Partial::path);
        let empty = || Partial::load(Path::new(""), key, self.batch_count());
        let kept = path
            .as_deref()
            .map(|path| Partial::load(path, key, self.batch_count()));
        let partial = kept.unwrap_or_else(empty);
        let missing: Vec<usize> = (0..self.batch_count())
            .filter(|batch| partial.batches[*batch].is_none())
            .collect();
        let state = Mutex::new((partial, Instant::now()));
        let result = missing.into_par_iter().try_for_each(|batch| {
            if self.control.stopped() {
                return Err(self.interrupted(0));
            }
            let measured = self.measure_batch(batch, &replay, network, &probes)?;
            let mut state = state.lock().unwrap_or_else(|e| e.into_inner());
            state.0.batches[batch] = Some(measured);
            (self.control.progress)(Phase::Measure, state.0.done(), self.batch_count());
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
            (Ok(()), Some(path)) => {
                let _ = fs::remove_file(path);
            }
            (Ok(()), None) => {}
        }
        Ok(partial.batches.into_iter().flatten().collect())
    }

    fn interrupted(&self, done: usize) -> ProfileError {
        ProfileError::Interrupted {
            done,
            total: self.batch_count(),
            partial: self.control.output.map(Partial::path).unwrap_or_default(),
        }
    }

    fn measure_batch(
        &self,
        batch: usize,
        replay: &Replay<'_>,
        network: &HostNetwork,
        probes: &[Probe],
    ) -> Result<Batch, ProfileError> {
        let tensors = self.forward(batch)?;
        let first = self.range(batch).start;
        let scores = self.score(network, first, &tensors[tensors.len() - 1])?;
        if let Some(i) = scores.iter().position(|score| !score.loss.is_finite()) {
            return Err(ProfileError::Loss { image: first + i });
        }
        let mut measured = Batch::of(&scores);
        for probe in probes {
            let scores = self.score(network, first, &replay.probe(&tensors, probe)?)?;
            let losses = scores.iter().map(|score| score.loss).collect();
            measured.perturbed.push(losses);
        }
        if self.options.metric == Metric::Secant {
            for layer in &self.model.graph.layers {
                let input: Vec<f32> = tensors[layer.inputs[0]].flatten_all()?.to_vec1()?;
                let q = network.qparams(layer.inputs[0]);
                measured.noise.push(Rounding::ALL.map(|rounding| {
                    let e = |x: &f32| f64::from(q.dequantize(q.quantize(*x, rounding)) - x);
                    let add = |sum: (f64, f64), e: f64| (sum.0 + e.max(0.0), sum.1 + e.min(0.0));
                    input.iter().map(e).fold((0.0, 0.0), add)
                }));
            }
        }
        Ok(measured)
    }

    fn score(
        &self,
        network: &HostNetwork,
        first: usize,
        output: &Tensor,
    ) -> Result<Vec<Score>, ProfileError> {
        let output: Vec<f32> = output.flatten_all()?.to_vec1()?;
        let labels = self.data.labels.iter().flatten().skip(first);
        let outputs = outputs_of(network);
        let samples = output.chunks_exact(network.output_shape().len());
        let scores = samples
            .zip(labels)
            .map(|(sample, label)| outputs.score(sample, *label));
        Ok(scores.collect())
    }

    fn input_steps(&self, network: &HostNetwork) -> Vec<f32> {
        let layers = self.model.graph.layers.iter();
        layers
            .map(|layer| network.qparams(layer.inputs[0]).scale)
            .collect()
    }

    fn finish(
        &self,
        origin: Origin,
        mut network: Box<HostNetwork>,
        calibration: Calibration,
        batches: &[Batch],
    ) -> Result<Profile, ProfileError> {
        let base: Vec<f64> = batches
            .iter()
            .flat_map(|batch| batch.base.clone())
            .collect();
        let correct: u32 = batches.iter().map(|batch| batch.correct).sum();
        let subject = Subject {
            input_steps: &self.input_steps(&network),
            input_noise: &self.input_noise(batches),
            weight_noise: &self.weight_noise(&calibration),
            error_max: self.options.error_max,
        };
        let probes = self.probes(&subject);
        let of = |probe: usize| {
            batches
                .iter()
                .flat_map(move |batch| batch.perturbed[probe].clone())
        };
        let perturbed: Vec<Vec<f64>> = (0..probes.len()).map(|probe| of(probe).collect()).collect();
        let losses = Losses {
            base: &base,
            probes: &probes,
            perturbed: &perturbed,
        };
        let mut estimates = vec![Vec::new(); network.layers.len()];
        for (layer, level) in self.items() {
            let estimate = self
                .options
                .metric
                .estimate(&subject, &losses, layer, level);
            estimates[layer].push(estimate);
        }
        set_prices(&mut network.prices, &estimates);
        Ok(Profile {
            origin,
            samples: base.len() as u32,
            fp32_loss: mean_and_error(&base).0,
            fp32_accuracy: f64::from(correct) / base.len().max(1) as f64,
            names: self
                .model
                .graph
                .layers
                .iter()
                .map(|layer| layer.name.clone())
                .collect(),
            network,
            scales: calibration.scales,
            estimates,
        })
    }

    fn input_noise(&self, batches: &[Batch]) -> Vec<[SignedMeans; Rounding::ALL.len()]> {
        let layers = self.model.graph.layers.iter().enumerate();
        let noise = layers.map(|(i, layer)| {
            let elements = (self.data.len * self.model.graph.shape(layer.inputs[0]).len()) as f64;
            [0, 1, 2].map(|rounding| {
                let measured = batches.iter().filter_map(|batch| batch.noise.get(i));
                let sums = measured.map(|sums| sums[rounding]);
                let (positive, negative) = sums.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                SignedMeans {
                    positive: positive / elements,
                    negative: negative / elements,
                }
            })
        });
        noise.collect()
    }

    fn weight_noise(&self, calibration: &Calibration) -> Vec<SignedMeans> {
        let layers = self.model.graph.layers.iter().zip(&calibration.scales);
        let noise = layers.map(|(layer, scales)| {
            let weights = layer.weights.iter().flat_map(|weights| {
                let channel = weights.weight.len() / scales.len().max(1);
                weights.weight.chunks_exact(channel.max(1)).zip(scales)
            });
            SignedMeans::of(weights.flat_map(|(channel, scale)| {
                let steps =
                    move |w: &f32| f64::from(quantize_weight(*w, *scale)) - f64::from(w / scale);
                channel.iter().map(steps)
            }))
        });
        noise.collect()
    }
}

/// Writes the estimates into the matrix as integers.
fn set_prices(prices: &mut PriceMatrix<MAX_LAYERS, MAX_LEVELS>, estimates: &[Vec<Estimate>]) {
    let magnitudes = estimates.iter().flatten().map(|e| e.price.abs());
    prices.unit = PriceMatrix::<MAX_LAYERS, MAX_LEVELS>::unit_for(magnitudes.fold(0.0, f64::max));
    for (row, estimates) in prices.rows.iter_mut().zip(estimates) {
        for (item, estimate) in row.iter_mut().zip(estimates) {
            let units =
                PriceMatrix::<MAX_LAYERS, MAX_LEVELS>::to_units(estimate.price, prices.unit);
            item.price = units;
        }
    }
}

//! Measures a profile: one pass for the distributions, one for the losses of every probe.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bitbudget_core::level::{Level, Rounding, Stored, Width};
use bitbudget_core::network::{Layer, Preprocess};
use bitbudget_core::price::{ERROR_MAX, PriceItem, PriceMatrix, SignedMeans};
use rayon::prelude::*;

use super::partial::{Batch, Partial};
use super::refine;
use super::{Effort, Origin, Profile, ProfileError};
use crate::batches::{Batches, rows};
use crate::calibrate::{Calibration, Histogram};
use crate::capacity::{HostNetwork, MAX_LAYERS, MAX_LEVELS};
use crate::dataset::{Dataset, data_fingerprint};
use crate::file;
use crate::graph::{FloatModel, Graph, Weights, graph_fingerprint};
use crate::grid::{self, Grid, Rule};
use crate::loss::{Loss, mean_and_error};
use crate::metric::tangent::Backward;
use crate::metric::{Estimate, Losses, Metric, Probe, Replay, Subject, WeightNoise};

/// How to profile.
#[derive(Clone, Debug)]
pub struct Options {
    /// The levels to price.
    pub levels: Vec<Level>,
    /// The estimator.
    pub metric: Metric,
    /// For `measured`: how often prices are fitted to the optimal layouts, measured as wholes, at most.
    pub refine: u32,
    /// The loss; `None` for the labels where there are some, else KL.
    pub loss: Option<Loss>,
    /// The rule for clip ranges.
    pub rule: Rule,
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

/// The levels that are priced unless others are asked for.
pub const DEFAULT_LEVELS: [Level; 5] = [
    Level::Fp32,
    Level::Fp16,
    Level::Int(Width::Int8, Rounding::Nearest),
    Level::Int(Width::Int4, Rounding::Nearest),
    Level::Int(Width::Int2, Rounding::Nearest),
];

/// The rounds of refinement unless others are asked for.
pub const REFINE: u32 = 12;

impl Default for Options {
    fn default() -> Self {
        Self {
            levels: DEFAULT_LEVELS.to_vec(),
            metric: Metric::default(),
            refine: REFINE,
            loss: None,
            rule: Rule::default(),
            clip_name: "mse".into(),
            preprocess: Preprocess::default(),
            error_max: ERROR_MAX,
            model_name: String::new(),
            data_name: String::new(),
        }
    }
}

impl Options {
    /// Rounds of refinement: of `measured` alone.
    pub(super) const fn rounds(&self) -> u32 {
        match self.metric {
            Metric::Measured => self.refine,
            Metric::Secant | Metric::Tangent | Metric::Hawq2 => 0,
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
    /// Hessian traces, for the metric `hawq2`.
    Curvature,
    /// Losses of the optimal layouts.
    Refine,
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
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

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
        refine: options.rounds(),
        loss: Loss::or_found(options.loss, data),
        clip: options.clip_name.clone(),
        per_tensor: options.rule.per_tensor,
        bias_correction: options.rule.bias_correction,
        levels: options.levels.clone(),
    };
    let started = Instant::now();
    let model = FloatModel::new(graph)?;
    let run = Run {
        batches: Batches::new(&model, data, &options.preprocess, origin.loss),
        options,
        control,
    };
    let calibration = run.calibrate()?;
    let network = run.network(&calibration)?;
    let calibrated = model.macs_run();
    let batches = run.measure(&network, &calibration, &origin)?;
    let (traces, backward) = match options.metric {
        Metric::Hawq2 => run.mean_traces()?,
        Metric::Tangent => (Vec::new(), 1.0),
        Metric::Measured | Metric::Secant => (Vec::new(), 0.0),
    };
    let mut profile = run.finish(origin, network, calibration, &batches, &traces)?;
    if options.rounds() > 0 {
        run.fit_random(&mut profile, &batches);
        run.refine(&mut profile)?;
    }
    let whole = (model.macs() * data.len as u64).max(1);
    profile.effort = Effort {
        forward_passes: (model.macs_run() - calibrated) as f64 / whole as f64,
        backward_passes: backward,
        seconds: started.elapsed().as_secs_f64(),
    };
    if let Some(output) = control.output {
        let _ = fs::remove_file(Partial::path(output));
    }
    Ok(profile)
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
    match Loss::or_found(options.loss, data) {
        Loss::Labels => {
            let classes = graph.shape(graph.layers.len()).len();
            data.labels_below(classes, Path::new(&options.data_name))?;
        }
        loss @ (Loss::Kl | Loss::Mse) if options.metric == Metric::Tangent => {
            return Err(ProfileError::FlatLoss { loss });
        }
        Loss::Kl | Loss::Mse => {}
    }
    Ok(())
}

/// One run: the model on its data, and what the caller wants.
pub(super) struct Run<'a> {
    pub(super) batches: Batches<'a>,
    pub(super) options: &'a Options,
    pub(super) control: &'a Control<'a>,
}

impl Run<'_> {
    /// The distributions of all tensors, and the quantizers chosen from them.
    fn calibrate(&self) -> Result<Calibration, ProfileError> {
        let count = self.batches.model.graph.layers.len() + 1;
        let empty = || vec![Histogram::default(); count];
        let done = Mutex::new(0);
        let add = |mut all: Vec<Histogram>, batch: usize| {
            if self.control.stopped() {
                return Err(self.interrupted(0));
            }
            for (histogram, tensor) in all.iter_mut().zip(self.batches.forward(batch)?) {
                histogram.add(&tensor.flatten_all()?.to_vec1()?);
            }
            let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
            *done += 1;
            (self.control.progress)(Phase::Calibrate, *done, self.batches.count());
            Ok(all)
        };
        let merge = |mut all: Vec<Histogram>, other: Vec<Histogram>| {
            for (a, b) in all.iter_mut().zip(&other) {
                a.merge(b);
            }
            Ok(all)
        };
        let batches = (0..self.batches.count()).into_par_iter();
        let tensors = batches.try_fold(empty, add).try_reduce(empty, merge)?;
        let offers = |width: &Width| {
            let mut levels = self.options.levels.iter();
            levels.any(|level| level.width() == Some(*width))
        };
        let widths: Vec<Width> = Width::ALL.into_iter().filter(offers).collect();
        let moments = if widths.is_empty() {
            vec![Vec::new(); count]
        } else {
            self.moments()?
        };
        Ok(Calibration::new(
            &self.batches.model.graph,
            &tensors,
            &moments,
            &widths,
            self.options.rule,
        )?)
    }

    /// The network with its quantizers; prices are still zero.
    fn network(&self, calibration: &Calibration) -> Result<Box<HostNetwork>, ProfileError> {
        let graph = &self.batches.model.graph;
        let mut network = Box::new(HostNetwork {
            input: graph.input,
            input_q: calibration.qparams[0],
            preprocess: self.options.preprocess.clone(),
            layers: heapless::Vec::new(),
            prices: PriceMatrix {
                unit: 1.0,
                rows: heapless::Vec::new(),
                ties: heapless::Vec::new(),
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
        let layers = self.batches.model.graph.layers.iter().enumerate();
        let weighted = layers.filter(|(_, layer)| layer.weights.is_some());
        weighted.flat_map(|(i, _)| self.options.levels.iter().map(move |level| (i, *level)))
    }

    fn measure(
        &self,
        network: &HostNetwork,
        calibration: &Calibration,
        origin: &Origin,
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
            let measured = self.measure_batch(batch, &replay, network, &probes)?;
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

    pub(super) fn interrupted(&self, done: usize) -> ProfileError {
        ProfileError::Interrupted {
            done,
            total: self.batches.count(),
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
        let tensors = self.batches.forward(batch)?;
        let first = self.batches.range(batch).start;
        let base = rows(&tensors[tensors.len() - 1])?;
        let scores = self.batches.score(batch, &base, &base);
        if let Some(i) = scores.iter().position(|score| !score.loss.is_finite()) {
            return Err(ProfileError::Loss { image: first + i });
        }
        let mut measured = Batch::of(&scores);
        if self.options.metric == Metric::Tangent {
            let seed = self.batches.gradient(batch, &base, &base);
            let backward = Backward {
                model: self.batches.model,
                network,
                replay,
            };
            for changes in backward.changes(&tensors, &seed, probes)? {
                let pairs = changes.iter().zip(&measured.base);
                let losses = pairs.map(|(change, base)| base + change).collect();
                measured.perturbed.push(losses);
            }
            return Ok(measured);
        }
        for probe in probes {
            let outputs = rows(&replay.probe(&tensors, probe)?)?;
            let scores = self.batches.score(batch, &outputs, &base);
            let losses = scores.iter().map(|score| score.loss).collect();
            measured.perturbed.push(losses);
        }
        if self.options.rounds() > 0 {
            measured.random = vec![Vec::new(); refine::RANDOM_LAYOUTS];
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
        Ok(measured)
    }

    fn input_steps(&self, network: &HostNetwork) -> Vec<f32> {
        let layers = self.batches.model.graph.layers.iter();
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
        mean_traces: &[Estimate],
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
            mean_traces,
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
                .batches
                .model
                .graph
                .layers
                .iter()
                .map(|layer| layer.name.clone())
                .collect(),
            network,
            grids: calibration.grids,
            estimates,
            unseen: self.options.metric.unseen(&losses),
            effort: Effort::default(),
        })
    }

    fn input_noise(&self, batches: &[Batch]) -> Vec<[SignedMeans; Rounding::ALL.len()]> {
        let layers = self.batches.model.graph.layers.iter().enumerate();
        let noise = layers.map(|(i, layer)| {
            let elements = (self.batches.data.len
                * self.batches.model.graph.shape(layer.inputs[0]).len())
                as f64;
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

    fn weight_noise(&self, calibration: &Calibration) -> Vec<Vec<WeightNoise>> {
        let layers = self
            .batches
            .model
            .graph
            .layers
            .iter()
            .zip(&calibration.grids);
        let noise = layers.map(|(layer, grids)| {
            let Some(weights) = &layer.weights else {
                return Vec::new();
            };
            let mut noise: Vec<WeightNoise> = Vec::new();
            for stored in self.options.levels.iter().map(|level| level.stored()) {
                if noise.iter().all(|known| known.stored != stored) {
                    let input_scale = calibration.qparams[layer.inputs[0]].scale;
                    noise.push(noise_of(weights, grids, stored, input_scale));
                }
            }
            noise
        });
        noise.collect()
    }
}

fn noise_of(weights: &Weights, grids: &[Grid], stored: Stored, input_scale: f32) -> WeightNoise {
    let real = grid::dequantized(weights, grids, stored, input_scale);
    let errors = real.weight.iter().zip(&weights.weight);
    let errors = errors.map(|(q, w)| f64::from(*q) - f64::from(*w));
    let grid = grids.iter().find(|grid| stored == Stored::Int(grid.width));
    let means = grid.map_or_else(SignedMeans::default, |grid| {
        let len = weights.weight.len() / grid.scales.len();
        let step = |i: usize| f64::from(grid.scales[i / len]) * f64::from(grid.width.step());
        SignedMeans::of(errors.clone().enumerate().map(|(i, e)| e / step(i)))
    });
    WeightNoise {
        stored,
        means,
        squared: errors.map(|e| e * e).sum(),
    }
}

/// Writes the estimates into the matrix as integers.
pub(super) fn set_prices(
    prices: &mut PriceMatrix<MAX_LAYERS, MAX_LEVELS>,
    estimates: &[Vec<Estimate>],
) {
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

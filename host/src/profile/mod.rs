//! The profile: what calibration data says about every level of every layer of a model.

mod calibrate;
mod curvature;
mod error;
mod estimate;
mod measure;
mod moments;
mod options;
mod partial;
mod prices;
mod record;
mod refine;
mod run;

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::batches::Batches;
use crate::capacity::MAX_LAYERS;
use crate::dataset::{Dataset, data_fingerprint};
use crate::file::{self, FileError};
use crate::graph::{FloatModel, Graph, graph_fingerprint};
use crate::loss::{Head, Loss};
use crate::metric::Metric;
use partial::Partial;
use run::Run;

pub use error::ProfileError;
pub use options::{Control, DEFAULT_LEVELS, Options, Phase, REFINE};
pub use record::{Effort, Origin, Profile};

/// The profile of `graph` on `data`, on the threads of rayon's pool.
///
/// candle looks before every matrix product for the number of threads that it may take, in the variable
/// `RAYON_NUM_THREADS` or else in `/proc/cpuinfo`, which is slow. Batches run on all threads anyway: a
/// program does best to build the pool first and to set the variable to 1 then, as the command does.
///
/// # Errors
/// [`ProfileError`]; when it was interrupted, the same call goes on from what was kept.
pub fn profile(
    graph: Graph,
    data: &Dataset,
    options: &Options,
    control: &Control<'_>,
) -> Result<Profile, ProfileError> {
    let loss = check(&graph, data, options)?;
    let origin = Origin {
        model: options.model_name.clone(),
        model_fingerprint: graph_fingerprint(&graph),
        data: options.data_name.clone(),
        data_fingerprint: data_fingerprint(data),
        metric: options.metric,
        refine: options.rounds(data.len),
        loss,
        clip: options.rule.clip,
        rounding: options.rule.rounding,
        per_tensor: options.rule.per_tensor,
        bias_correction: options.rule.bias_correction,
        levels: options.levels.clone(),
    };
    let started = Instant::now();
    let model = FloatModel::new(graph)?;
    let mut run = Run {
        batches: Batches::new(&model, data, &options.preprocess, origin.loss),
        options,
        control,
    };
    let calibration = run.calibrate()?;
    run.batches.objective.temperature = calibration.temperature;
    let labels = run.batches.labels;
    if (origin.metric, origin.loss) == (Metric::Measured, Loss::Calibrated) {
        // the loss that is expected of labels has the same mean as that of those that are there, and is surer
        run.batches.labels = None;
    }
    let network = run.network(&calibration)?;
    let calibrated = model.macs_run();
    let batches = run.measure(&network, &calibration, &origin, labels)?;
    // counted by the batch, so that an interrupted run comes to what one in one piece takes
    let measured: u64 = batches.iter().map(|batch| batch.macs).sum();
    let (traces, backward) = match options.metric {
        Metric::Hawq2 => run.mean_traces()?,
        Metric::Tangent => (Vec::new(), 1.0),
        Metric::Measured | Metric::Secant => (Vec::new(), 0.0),
    };
    let mut profile = run.finish(origin, network, calibration, &batches, &traces)?;
    if profile.origin.refine > 0 {
        run.fit_random(&mut profile, &batches)?;
        run.refine(&mut profile, &batches)?;
    }
    let whole = (model.macs() * data.len as u64).max(1);
    profile.effort = Effort {
        forward_passes: (measured + model.macs_run() - calibrated) as f64 / whole as f64,
        backward_passes: backward,
        seconds: Some(started.elapsed().as_secs_f64()),
    };
    if let Some(output) = control.output {
        let _ = fs::remove_file(Partial::path(output));
    }
    Ok(profile)
}

/// The loss, if all is as it should be.
fn check(graph: &Graph, data: &Dataset, options: &Options) -> Result<Loss, ProfileError> {
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
    let head = Head::of_graph(graph);
    let loss = Loss::or_found(options.loss, data, head)?;
    if loss.is_of_labels() {
        data.labels_below(head.classes(), Path::new(&options.data_name))?;
    } else if options.metric == Metric::Tangent {
        return Err(ProfileError::FlatLoss { loss });
    }
    Ok(loss)
}

/// Checks, before the work, that a profile can be written to `path`, and beside it what an
/// interrupted run keeps; see [`file::check_output`].
///
/// # Errors
/// [`FileError`].
pub fn check_output(path: &Path, inputs: &[&Path]) -> Result<(), FileError> {
    file::check_output(path, Profile::CONTENT, inputs)?;
    let partial = Partial::path(path);
    file::check_output(&partial, Partial::CONTENT, inputs)
}

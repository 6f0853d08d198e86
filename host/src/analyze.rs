//! What a model takes of a device at every level, before there is any data: sizes depend on shapes alone.

use bitbudget_core::level::Level;
use bitbudget_core::network::NetworkError;
use bitbudget_core::place::{Place, Places};
use bitbudget_core::plan::Plan;
use bitbudget_core::quant::QParams;

use crate::board::Board;
use crate::capacity::{self, HostNetwork, HostPlan, MAX_LAYERS};
use crate::graph::{Graph, Output};
use crate::latency::{self, Core};
use crate::profile::DEFAULT_LEVELS;
use crate::size::{Sizes, items_of};

/// Why a model cannot be analyzed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum AnalysisError {
    /// The model has more layers than the host's capacity.
    #[error("the model has {found} layers, at most {limit} can be planned")]
    TooManyLayers {
        /// The model's.
        found: usize,
        /// The capacity.
        limit: usize,
    },
    /// The network is none that a device could run.
    #[error("the network cannot be planned")]
    Network(#[from] NetworkError),
}

/// What a model takes.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// The network, every layer with weights at each level, without prices, cycles and calibrated ranges.
    pub network: Box<HostNetwork>,
    /// The names of its layers.
    pub names: Vec<String>,
    /// The model's outputs: where they are several, one behind the other in the network's.
    pub outputs: Vec<Output>,
    /// Parameters of every layer: weights and biases.
    pub parameters: Vec<u64>,
    /// What it takes with all layers at one level, for each of [`DEFAULT_LEVELS`].
    pub uniform: Vec<Uniform>,
}

/// What a network takes with all its layers at one level and their weights in flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uniform {
    /// The level.
    pub level: Level,
    /// Bytes of the image, but for a few that ranges and prices take; they are weights for the most part.
    pub image_bytes: u64,
    /// Bytes of the activations with every tensor whole.
    pub whole_bytes: u32,
    /// Bytes of the activations in the schedule by rows that takes the fewest.
    pub least_bytes: u32,
    /// Cycles of the layers with weights, as they are modelled; `None` where the board has no model.
    pub cycles: Option<u64>,
}

impl Analysis {
    /// The analysis of a model; cycles are those of the board, or else of the default core with memories that it
    /// never waits for.
    ///
    /// # Errors
    /// [`AnalysisError`].
    pub fn of(graph: &Graph, board: Option<&Board>) -> Result<Self, AnalysisError> {
        let (found, limit) = (graph.layers.len(), MAX_LAYERS);
        if found > limit {
            return Err(AnalysisError::TooManyLayers { found, limit });
        }
        let qparams = QParams {
            scale: 1.0,
            zero_point: 0,
        };
        let network = graph.network(&DEFAULT_LEVELS, |_| qparams);
        network.check()?;
        let layers = graph.layers.iter();
        let names: Vec<String> = layers.clone().map(|layer| layer.name.clone()).collect();
        let parameters = layers.map(|layer| {
            let weights = layer.weights.as_ref();
            weights.map_or(0, |it| (it.weight.len() + it.bias.len()) as u64)
        });
        let parameters = parameters.collect();
        let planner = capacity::planner(Places::Flash, &network);
        let sizes = Sizes::of(&network, &names);
        let uniform = DEFAULT_LEVELS.map(|level| {
            let rows = network.prices.rows.iter();
            let levels = rows.map(|row| (!row.is_empty()).then_some(level)).collect();
            let whole: HostPlan = Plan::of_levels(&network, levels, Place::Flash);
            let image_bytes = sizes.image(&items_of(&network, &whole));
            let whole_bytes = whole.arena_bytes;
            let least = planner.in_smallest_arena(&network, whole);
            Uniform {
                level,
                image_bytes,
                whole_bytes,
                least_bytes: least.arena_bytes.min(whole_bytes),
                cycles: cycles(&network, level, board),
            }
        });
        drop(planner);
        Ok(Self {
            uniform: uniform.to_vec(),
            network,
            names,
            outputs: graph.outputs.clone(),
            parameters,
        })
    }

    /// Multiply-accumulates of an inference.
    #[must_use]
    pub fn macs(&self) -> u64 {
        (0..self.network.layers.len())
            .map(|i| self.layer_macs(i))
            .sum()
    }

    /// Multiply-accumulates of a layer.
    ///
    /// # Panics
    /// When there is no such layer.
    #[must_use]
    pub fn layer_macs(&self, layer: usize) -> u64 {
        let own = &self.network.layers[layer];
        own.op.macs(self.network.input_shape(layer), own.output)
    }
}

/// The cycles of all layers with weights at one level.
fn cycles(network: &HostNetwork, level: Level, board: Option<&Board>) -> Option<u64> {
    let weighted = (0..network.layers.len()).filter(|i| !network.prices.rows[*i].is_empty());
    let of = |layer| match board {
        Some(board) => board.cycles(network, layer, level, Place::Flash).ok(),
        None => Some(latency::cycles(network, layer, level, Core::default())),
    };
    weighted.map(of).sum()
}

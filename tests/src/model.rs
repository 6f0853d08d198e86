//! A network with its weights, as it goes into an image.

use bitbudget::encode::Encoder;
use bitbudget::graph::{self, Graph, GraphLayer};
use bitbudget::grid::Grid;
use bitbudget_core::arena::Lifetimes;
use bitbudget_core::cascade::Schedule;
use bitbudget_core::form::Forms;
use bitbudget_core::image::{self, Image};
use bitbudget_core::level::{Level, WeightFormat};
use bitbudget_core::mckp::Status;
use bitbudget_core::network::{Network, PerTensor};
use bitbudget_core::place::Place;
use bitbudget_core::plan::{Plan, Planner};
use bitbudget_core::price::PriceItem;
use bitbudget_core::quant::Width;

/// The most layers of a test's network.
pub const LAYERS: usize = 24;
/// The most levels of a layer.
pub const LEVELS: usize = Level::ALL.len();

/// A network of the tests' capacities.
pub type TestNetwork = Network<LAYERS, LEVELS>;
/// A planner of these capacities: every level in flash and in RAM.
pub type TestPlanner = Planner<LAYERS, { 2 * LEVELS }>;
/// An image of the tests' capacities.
pub type TestImage<'a> = Image<'a, LAYERS, LEVELS>;

/// The real weights of one layer, and its grids; empty for a layer without weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// `[O, …]`.
    pub weight: Vec<f32>,
    /// `[O]`.
    pub bias: Vec<f32>,
    /// `[O]` for each of [`Width::ALL`]: the scales of integer weights.
    pub scale: [Vec<f32>; 3],
    /// `[O]` for each of [`Width::ALL`]: the biases that go with them.
    pub corrected: [Vec<f32>; 3],
}

impl Weights {
    /// The grids of all widths.
    #[must_use]
    pub fn grids(&self) -> [Grid; 3] {
        Width::ALL.map(|width| {
            let at = index_of(width);
            let (scales, bias) = (self.scale[at].clone(), self.corrected[at].clone());
            // what was tampered with may have none
            let is_whole = self.weight.len().is_multiple_of(scales.len());
            let weight = if is_whole { &self.weight[..] } else { &[] };
            Grid::nearest(weight, width, scales, bias)
        })
    }
}

/// The index of a width in [`Weights`].
#[must_use]
pub fn index_of(width: Width) -> usize {
    let at = Width::ALL.iter().position(|other| *other == width);
    at.expect("one of all")
}

/// All that an image holds.
#[derive(Clone, Debug)]
pub struct Model {
    /// The graph, its calibrated parameters and its prices.
    pub network: TestNetwork,
    /// One for each layer.
    pub names: Vec<String>,
    /// One for each layer.
    pub weights: Vec<Weights>,
}

impl Model {
    /// A model with an image's network: its weights are those of its FP32 blocks, where it has some.
    #[must_use]
    pub fn like_image(image: &TestImage<'_>) -> Self {
        let network = image.network().clone();
        let layers = 0..network.layers.len();
        let weights = layers.clone().map(|layer| {
            if !network.layers[layer].op.has_weights() {
                return Weights::default();
            }
            let channels = usize::from(network.layers[layer].output.c);
            let len = channels + network.weight_count(layer);
            let block = image.block_range(layer, WeightFormat::F32);
            let words = block.map_or(&[][..], |block| image.blocks()[block].as_chunks().0);
            let mut reals: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
            reals.resize(len, 0.5);
            let weight = reals.split_off(channels);
            Weights {
                weight,
                scale: Width::ALL.map(|width| vec![1.0 / f32::from(width.max()); channels]),
                corrected: Width::ALL.map(|_| reals.clone()),
                bias: reals,
            }
        });
        Self {
            weights: weights.collect(),
            names: layers.map(|layer| image.name(layer).to_owned()).collect(),
            network,
        }
    }

    /// The blocks section of the image; layers whose weights are not as many as they should be have none.
    #[must_use]
    pub fn section(&self) -> Vec<u8> {
        let mut section = Vec::new();
        for (layer, weights) in self.weights.iter().enumerate() {
            if !self.can_be_encoded(layer) {
                continue;
            }
            let encoder = Encoder::of_layer(&self.network, layer, &weights.weight, &weights.bias);
            let grids = weights.grids();
            for format in self.network.weight_formats(layer) {
                section.extend(encoder.block(format, &grids));
            }
        }
        section
    }

    fn can_be_encoded(&self, layer: usize) -> bool {
        let network = &self.network;
        let Weights {
            weight,
            bias,
            scale,
            corrected,
        } = &self.weights[layer];
        let tensors = network.tensor_count();
        let has_input = network.layers.get(layer).is_some_and(|layer| {
            let input = layer.inputs.first();
            input.is_some_and(|tensor| usize::from(*tensor) < tensors)
        });
        has_input
            && layer < network.prices.rows.len()
            && !weight.is_empty()
            && !bias.is_empty()
            && weight.len().is_multiple_of(bias.len())
            && scale
                .iter()
                .chain(corrected)
                .all(|part| part.len() == bias.len())
    }

    /// The graph that an importer would have given.
    #[must_use]
    pub fn graph(&self) -> Graph {
        let layers = self.network.layers.iter().enumerate();
        let layers = layers.map(|(i, layer)| GraphLayer {
            name: format!("layer{i}"),
            op: layer.op,
            inputs: layer.inputs.iter().map(|t| usize::from(*t)).collect(),
            activation: layer.activation,
            output: layer.output,
            weights: layer.op.has_weights().then(|| graph::Weights {
                weight: self.weights[i].weight.clone(),
                bias: self.weights[i].bias.clone(),
            }),
        });
        Graph {
            input: self.network.input,
            layers: layers.collect(),
            outputs: Vec::new(),
        }
    }

    /// The image.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let section = self.section();
        let mut buffer = vec![0; section.len() + 64 * 1024];
        let names = self.names.iter().map(String::as_str);
        let len =
            image::emit(&self.network, names, &[], &section, &mut buffer).expect("room enough");
        buffer.truncate(len);
        buffer
    }

    /// Bytes of the blocks of these levels.
    ///
    /// # Panics
    /// When a layer has no such level.
    #[must_use]
    pub fn weight_bytes(&self, levels: &[Option<Level>]) -> u64 {
        let items = self.items(levels);
        items.map(|item| u64::from(item.bytes)).sum()
    }

    /// Bytes of the smallest activation arena at these levels.
    #[must_use]
    pub fn arena_bytes(&self, levels: &[Option<Level>]) -> u64 {
        let lifetimes = Lifetimes::new(&self.network);
        lifetimes.smallest(&self.forms(levels)).1.bytes().into()
    }

    /// All the RAM that an engine takes at these levels in a schedule, with the weights in RAM.
    ///
    /// # Panics
    /// When a layer has no such level.
    #[must_use]
    pub fn ram_bytes(&self, levels: &[Option<Level>], schedule: &Schedule<LAYERS>) -> u64 {
        let forms = self.forms(levels);
        let placement = Lifetimes::new(&self.network).place(&forms, schedule);
        self.weight_bytes(levels) + u64::from(placement.bytes())
    }

    /// As [`Self::ram_bytes`], with every tensor whole.
    ///
    /// # Panics
    /// When a layer has no such level.
    #[must_use]
    pub fn whole_bytes(&self, levels: &[Option<Level>]) -> u64 {
        self.ram_bytes(levels, &Schedule::WHOLE)
    }

    /// The forms of the tensors at these levels.
    #[must_use]
    pub fn forms(&self, levels: &[Option<Level>]) -> PerTensor<Forms, LAYERS> {
        let levels: Vec<Level> = levels.iter().map(|l| l.unwrap_or(Level::Fp32)).collect();
        self.network.forms(&levels)
    }

    /// All the RAM that an engine takes at these levels at least, with the weights in RAM.
    ///
    /// # Panics
    /// When a layer has no such level.
    #[must_use]
    pub fn total_bytes(&self, levels: &[Option<Level>]) -> u64 {
        self.weight_bytes(levels) + self.arena_bytes(levels)
    }

    fn items(&self, levels: &[Option<Level>]) -> impl Iterator<Item = PriceItem> {
        let rows = self.network.prices.rows.iter().zip(levels);
        rows.filter_map(|(row, level)| {
            let level = (*level)?;
            let item = row.iter().find(|item| item.level == level);
            Some(*item.expect("a level of this layer"))
        })
    }

    /// Every assignment of levels to the layers with weights.
    #[must_use]
    pub fn layouts(&self) -> Vec<Vec<Option<Level>>> {
        let mut layouts = vec![Vec::new()];
        for row in &self.network.prices.rows {
            let mut choices: Vec<_> = row.iter().map(|item| Some(item.level)).collect();
            if choices.is_empty() {
                choices.push(None);
            }
            let longer = |layout: &Vec<_>| {
                let with = |choice: &_| [layout.as_slice(), &[*choice]].concat();
                choices.iter().map(with).collect::<Vec<_>>()
            };
            layouts = layouts.iter().flat_map(longer).collect();
        }
        layouts
    }

    /// Sum of the prices of these levels.
    ///
    /// # Panics
    /// When a layer has no such level.
    #[must_use]
    pub fn price(&self, levels: &[Option<Level>]) -> i64 {
        let items = self.items(levels);
        items.map(|item| i64::from(item.price)).sum()
    }

    /// `level` for every layer with weights.
    #[must_use]
    pub fn all_at(&self, level: Level) -> Vec<Option<Level>> {
        let layers = self.network.layers.iter();
        layers
            .map(|layer| layer.op.has_weights().then_some(level))
            .collect()
    }
}

/// A plan of levels chosen by hand.
#[must_use]
pub fn plan_of<const N: usize>(levels: &[Option<Level>]) -> Plan<N> {
    let place = |level: &Option<Level>| match level {
        Some(_) => Place::Ram,
        None => Place::Flash,
    };
    Plan {
        levels: levels.iter().copied().collect(),
        places: levels.iter().map(place).collect(),
        schedule: Schedule::WHOLE,
        turns: 0,
        weight_bytes: 0,
        ram_weight_bytes: 0,
        arena_bytes: 0,
        cycles: 0,
        cycles_bound: 0,
        price: 0,
        bound: 0,
        nodes: 0,
        status: Status::NodeLimit,
    }
}

/// Writes the checksum that belongs to an image's bytes into its last four: CRC-32 (ISO-HDLC), bit
/// by bit.
///
/// # Panics
/// When there are fewer than four bytes.
pub fn seal(image: &mut [u8]) {
    let (body, tail) = image.split_last_chunk_mut::<4>().expect("a checksum");
    let mut crc = u32::MAX;
    for byte in body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    *tail = (!crc).to_le_bytes();
}

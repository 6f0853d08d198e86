//! The layers of an image.

use std::io::{Read, Write};

use bitbudget_core::form::Form;
use bitbudget_core::level::Level;
use bitbudget_core::place::Place;
use bitbudget_core::quant::Width;

use super::{
    Bench, BenchError, NETWORK, Row, Skipped, items_near, layer_row, sample_row, whole_row,
};
use crate::capacity::{HostImage, HostNetwork, HostPlan};

impl<P: Read + Write> Bench<P> {
    /// An image's layers at each of their levels, and the whole of it at each level that all layers
    /// with weights offer. `bytes` are the image's; `progress` is told how many of them are sent.
    ///
    /// # Errors
    /// [`BenchError`].
    pub fn image(
        &mut self,
        image: &HostImage<'_>,
        bytes: &[u8],
        progress: &dyn Fn(usize),
    ) -> Result<(Vec<Row>, Vec<Skipped>), BenchError> {
        let network = image.network();
        self.load(image, bytes, progress)?;
        let offered = |level: &Level| {
            let items = network.prices.rows.iter().flatten();
            items.filter(|item| item.level == *level).count()
        };
        let weighted = network.prices.rows.iter().filter(|row| !row.is_empty());
        let weighted = weighted.count();
        // the rows of layers with their places, those of the whole behind them
        let mut rows: Vec<(usize, Row)> = Vec::new();
        let mut skipped = Vec::new();
        for level in Level::ALL {
            if offered(&level) == 0 && weighted > 0 {
                continue;
            }
            let items = items_near(network, level);
            let plan = match self.choose(Place::Ram, &items)? {
                Ok(planned) => planned.plan,
                Err(no_room) => {
                    skipped.push(no_room.at(level));
                    continue;
                }
            };
            let steps = self.steps(network)?;
            let mut add = |place: usize, row: Row| {
                let same = |(other, old): &(usize, Row)| *other == place && old.level == row.level;
                if !rows.iter().any(same) {
                    rows.push((place, row));
                }
            };
            for layer in 0..network.layers.len() {
                // another level has a turn of its own, with the layers around it
                if plan.levels[layer].is_some_and(|own| own != level) {
                    continue;
                }
                let level = level_of(network, &plan, layer);
                let name = image.name(layer);
                add(layer, layer_row(network, layer + 1, name, level, &steps));
            }
            if offered(&level) == weighted {
                let behind = network.layers.len();
                add(behind, whole_row(NETWORK, network, level, &steps));
                let input = reader_of(network, &plan, 0, None);
                add(behind + 1, sample_row(network, input, &steps));
            }
            if weighted == 0 {
                break;
            }
        }
        rows.sort_by_key(|(place, _)| *place);
        let rows = rows.into_iter().map(|(_, row)| row);
        Ok((rows.collect(), skipped))
    }
}

/// The level of a layer under a plan; of one without weights, that of the layers that read what it
/// reads.
fn level_of(network: &HostNetwork, plan: &HostPlan, layer: usize) -> Level {
    let own = plan.levels.get(layer).copied().flatten();
    let input = usize::from(network.layers[layer].inputs[0]);
    let need = network.layers[layer].op.input_need(Level::Fp32);
    own.unwrap_or_else(|| reader_of(network, plan, input, need))
}

/// The level of layers that read a tensor under a plan: FP32 or INT8, as it is stored, or as it is
/// needed.
fn reader_of(network: &HostNetwork, plan: &HostPlan, tensor: usize, need: Option<Form>) -> Level {
    let levels = plan.levels.iter().map(|level| level.unwrap_or(Level::Fp32));
    let forms = network.forms(&levels.collect::<Vec<_>>());
    match need.or_else(|| forms[tensor].widest()) {
        Some(Form::I8(rounding)) => Level::Int(Width::Int8, rounding),
        Some(Form::F32) | None => Level::Fp32,
    }
}

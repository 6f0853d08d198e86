//! Profiles through their check and a plan.

use std::path::Path;

use bitbudget::capacity::{HostNetwork, HostPlanner};
use bitbudget::grid::WeightRounding;
use bitbudget::loss::Loss;
use bitbudget::metric::{Estimate, Metric};
use bitbudget::profile::{Effort, Origin, Profile};
use bitbudget_core::clip::Clip;
use bitbudget_core::level::{Level, WeightFormat};
use bitbudget_core::plan::Limits;
use rand::Rng;
use rand::rngs::SmallRng;

use crate::builder::Style;
use crate::generate;
use crate::model::{Model, Weights, index_of, seal};
use crate::tamper::{repair, tamper};

/// Magic and version.
const START_BYTES: usize = 12;
const CRC_BYTES: usize = 4;
const MOST_NODES: u64 = 1000;
/// The most weights of a layer of a profile that is tampered with.
const MOST_WEIGHTS: usize = 1 << 14;

pub(super) fn run(bytes: &[u8]) -> bool {
    let profile = match decode(bytes) {
        Ok(profile) => profile,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let network = &profile.network;
    let mut planner = Box::new(HostPlanner::new(network));
    for bytes in [u64::MAX, 0, 1 << 14] {
        for budget in [Limits::ram(bytes), Limits::weights(bytes)] {
            if let Ok(plan) = planner.plan(network, budget, MOST_NODES) {
                assert!(plan.is_within(&budget) && plan.bound <= plan.price);
            }
        }
    }
    true
}

fn decode(bytes: &[u8]) -> Result<Profile, bitbudget::file::FileError> {
    Profile::decode(Path::new("a.profile"), bytes)
}

/// Makes magic, version and checksum what they should be.
pub(super) fn mend(profile: &mut Vec<u8>) {
    if profile.len() < START_BYTES + CRC_BYTES {
        profile.resize(START_BYTES + CRC_BYTES, 0);
    }
    profile[..8].copy_from_slice(&Profile::KIND.magic);
    profile[8..START_BYTES].copy_from_slice(&Profile::KIND.version.to_le_bytes());
    seal(profile);
}

/// Puts something wrong into the network of a profile, and makes the rest fit it; in place of what is
/// none, a profile of a random network.
pub(super) fn mutate(profile: &mut Vec<u8>, rng: &mut SmallRng) {
    let model = match decode(profile) {
        Err(_) => {
            let layers = rng.random_range(1..6);
            Some(generate::model(rng.random(), Style::Real, layers))
        }
        Ok(decoded) => model_of(&decoded).map(|mut model| {
            for _ in 0..rng.random_range(1..4) {
                tamper(rng, &mut model);
            }
            if rng.random_bool(0.8) {
                repair(&mut model);
            }
            model
        }),
    };
    if let Some(model) = model {
        let made = profile_of(&model);
        *profile = Profile::KIND.encode(&made).expect("it is made of data");
    }
}

/// The network of a profile that is small enough, with grids of its own.
fn model_of(profile: &Profile) -> Option<Model> {
    let network = postcard::to_allocvec(&profile.network).expect("it is made of data");
    // of the tests' capacities
    let network: crate::model::TestNetwork = postcard::from_bytes(&network).ok()?;
    let mut weights = vec![Weights::default(); network.layers.len()];
    for (layer, weights) in weights.iter_mut().enumerate() {
        if network.layers[layer].op.has_weights() {
            let count = network.weight_count(layer);
            weights.weight = vec![0.5; Some(count).filter(|count| *count < MOST_WEIGHTS)?];
        }
        for grid in &profile.grids[layer] {
            let at = index_of(grid.width);
            weights.scale[at].clone_from(&grid.scales);
            weights.corrected[at].clone_from(&grid.bias);
        }
    }
    Some(Model {
        network,
        names: profile.names.clone(),
        weights,
    })
}

/// A profile of a network, its estimates the prices that it has.
fn profile_of(model: &Model) -> Profile {
    let network = postcard::to_allocvec(&model.network).expect("it is made of data");
    let network: HostNetwork = postcard::from_bytes(&network).expect("larger capacities");
    let grids = model.weights.iter().enumerate().map(|(layer, weights)| {
        let widths = network
            .weight_formats(layer)
            .filter_map(WeightFormat::width);
        let all = weights.grids();
        widths.map(|width| all[index_of(width)].clone()).collect()
    });
    let rows = network.prices.rows.iter();
    let estimates = rows.map(|row| {
        let estimate = |price: i32| Estimate {
            price: f64::from(price),
            standard_error: 0.5,
        };
        row.iter().map(|item| estimate(item.price)).collect()
    });
    Profile {
        origin: Origin {
            model: "m".into(),
            model_fingerprint: 1,
            data: "d".into(),
            data_fingerprint: 2,
            metric: Metric::Measured,
            loss: Loss::Calibrated,
            clip: Clip::Mse,
            refine: 0,
            rounding: WeightRounding::Nearest,
            per_tensor: false,
            bias_correction: true,
            levels: Level::ALL.to_vec(),
        },
        samples: 3,
        temperature: 1.5,
        fp32_loss: 0.1,
        fp32_raw_loss: 0.2,
        fp32_accuracy: 0.5,
        names: model.names.clone(),
        grids: grids.collect(),
        estimates: estimates.collect(),
        unseen: Vec::new(),
        effort: Effort::default(),
        doubts: Vec::new(),
        network: Box::new(network),
    }
}

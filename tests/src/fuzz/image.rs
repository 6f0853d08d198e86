//! Images through parse, plan, replan and infer.

use std::cell::RefCell;

use bitbudget_core::engine::{Engine, EngineError, Input};
use bitbudget_core::image::{Image, ImageError, MAGIC, VERSION};
use bitbudget_core::network::{Layer, Network};
use bitbudget_core::op::Op;
use bitbudget_core::plan::{Budget, Plan};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::arena::Arena;
use crate::model::{Model, TestImage, seal};
use crate::tamper::{repair, tamper};

/// Capacities of the images that are run.
const LAYERS: usize = 64;
const LEVELS: usize = crate::model::LEVELS;

const HEADER_BYTES: usize = 28;
const CRC_BYTES: usize = 4;
/// The most nodes of a plan.
const MOST_NODES: u64 = 1000;
/// The most bytes that mending adds.
const MOST_ADDED: usize = 1 << 14;

/// Everything that one does with an image.
pub(super) fn run(bytes: &[u8]) -> bool {
    thread_local! {
        static ARENA: RefCell<Arena> = RefCell::new(Arena::new(1 << 18));
    }
    ARENA.with_borrow_mut(|arena| exercise::<LAYERS, LEVELS>(bytes, arena).is_ok())
}

/// Does everything that one does with an image, within reason; whether it ran.
///
/// # Errors
/// If the bytes are no image.
///
/// # Panics
/// When a sound image cannot be planned or run, or a plan is not what it says.
pub fn exercise<const N: usize, const K: usize>(
    bytes: &[u8],
    arena: &mut Arena,
) -> Result<bool, ImageError> {
    const MOST_MACS: u64 = 1 << 16;
    let image = Image::<N, K>::parse(bytes)?;
    let network = image.network();
    for layer in 0..network.layers.len() {
        let _ = (image.name(layer), image.master(layer));
    }
    if let Some(plans) = image.stored_plans() {
        let _ = (plans.within(u64::MAX), plans.within(0));
    }
    let arena_bytes = arena.lend().len() as u64;
    let mut engine = Engine::new(&image, arena.lend()).expect("an aligned arena");
    let mut ran = false;
    let mut least = i64::MIN;
    for budget in [u64::MAX, 0, 1 << 14].map(Budget::Total) {
        let planned = match engine.replan(budget, MOST_NODES) {
            Err(EngineError::Budget(refused)) => {
                let smallest = Budget::Total(refused.smallest_bytes);
                let planned = engine.replan(smallest, MOST_NODES);
                planned.map(|plan| check(plan, smallest))
            }
            other => other.map(|plan| check(plan, budget)),
        };
        match planned {
            // a smaller budget has no better price than what a larger one is proven to have
            Ok((price, bound)) => {
                assert!(price >= least, "{price} {least}");
                if budget == Budget::Total(u64::MAX) {
                    least = bound;
                }
            }
            Err(EngineError::ArenaTooSmall { needed_bytes, .. }) => {
                assert!(needed_bytes > arena_bytes);
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        if work(network) > MOST_MACS {
            continue;
        }
        let len = network.input.len();
        for value in [0, 255] {
            engine
                .infer(Input::U8(&vec![value; len]))
                .expect("a plan and an input that fits");
        }
        for value in [f32::NAN, f32::INFINITY, -1e38, 1e-45] {
            engine
                .infer(Input::F32(&vec![value; len]))
                .expect("a plan and an input that fits");
        }
        ran = true;
    }
    Ok(ran)
}

/// Price and bound of a plan that is within its budget.
fn check<const N: usize>(plan: &Plan<N>, budget: Budget) -> (i64, i64) {
    assert!(plan.bytes(budget) <= budget.bytes(), "{plan:?}");
    assert!(
        plan.bound <= plan.price && plan.nodes <= MOST_NODES,
        "{plan:?}"
    );
    assert_eq!(plan.is_optimal(), plan.bound == plan.price, "{plan:?}");
    (plan.price, plan.bound)
}

/// Products and comparisons of one inference.
fn work<const N: usize, const K: usize>(network: &Network<N, K>) -> u64 {
    let of = |(i, layer): (usize, &Layer)| {
        let taps = match layer.op {
            Op::MaxPool { window } | Op::AvgPool { window, .. } => window.taps() as u64,
            Op::Conv2d { .. } | Op::Dense | Op::Add | Op::Reshape | Op::Softmax => 1,
        };
        let macs = layer.op.macs(network.input_shape(i), layer.output);
        macs.saturating_add(taps.saturating_mul(layer.output.len() as u64))
    };
    let layers = network.layers.iter().enumerate().map(of);
    layers.fold(0, u64::saturating_add)
}

/// Makes header, lengths and checksum fit the sections, as far as they can be read: what follows a
/// network is what it needs.
pub fn mend(image: &mut Vec<u8>) {
    if image.len() < HEADER_BYTES + CRC_BYTES {
        image.resize(HEADER_BYTES + CRC_BYTES, 0);
    }
    image.truncate(image.len() - CRC_BYTES);
    let body = &image[HEADER_BYTES..];
    let read = postcard::take_from_bytes::<Network<LAYERS, LEVELS>>(body);
    let lengths = match read {
        Ok((network, rest)) if network.check().is_ok() => {
            let network_len = body.len() - rest.len();
            let mut names = rest;
            for _ in 0..network.layers.len() {
                match postcard::take_from_bytes::<&str>(names) {
                    Ok((_, after)) => names = after,
                    Err(_) => break,
                }
            }
            let names_len = rest.len() - names.len();
            let weights_len = weights_bytes(&network);
            let plans_len = u32::from_le_bytes([image[20], image[21], image[22], image[23]]);
            let before = network_len + names_len;
            let mut meta_len = before + (plans_len as usize).min(names.len());
            let padded = meta_len.next_multiple_of(4);
            let at = HEADER_BYTES + meta_len;
            image.splice(at..at, std::iter::repeat_n(0, padded - meta_len));
            meta_len = padded;
            let weights_len = weights_len.min(image.len() + MOST_ADDED);
            // floats below one
            image.resize(HEADER_BYTES + meta_len + weights_len, 0x3d);
            [network_len, names_len, meta_len - before, weights_len]
        }
        Ok(_) | Err(_) => [body.len(), 0, 0, 0],
    };
    image[..8].copy_from_slice(&MAGIC);
    image[8..12].copy_from_slice(&VERSION.to_le_bytes());
    for (word, len) in image[12..HEADER_BYTES].chunks_exact_mut(4).zip(lengths) {
        word.copy_from_slice(&(len as u32).to_le_bytes());
    }
    image.extend([0; CRC_BYTES]);
    seal(image);
}

/// The length of the weights section that a network needs.
fn weights_bytes(network: &Network<LAYERS, LEVELS>) -> usize {
    let of = |layer: usize| {
        let channels = usize::from(network.layers[layer].output.c);
        let vectors = 1 + 2 * network.widths(layer).count();
        4 * (network.weight_count(layer) + vectors * channels)
    };
    let layers = 0..network.layers.len();
    let weighted = layers.filter(|layer| network.layers[*layer].op.has_weights());
    weighted.map(of).fold(0, usize::saturating_add)
}

/// Puts something wrong into the network of a sound image, and makes the rest fit it.
pub fn mutate(image: &mut Vec<u8>, rng: &mut SmallRng) {
    let Ok(parsed) = TestImage::parse(image) else {
        return;
    };
    let mut model = Model::of_image(&parsed);
    for _ in 0..rng.random_range(1..4) {
        tamper(rng, &mut model);
    }
    if rng.random_bool(0.8) {
        repair(&mut model);
    }
    let parameters: usize = model.weights.iter().map(|w| w.weight.len()).sum();
    if parameters < 1 << 14 {
        *image = model.emit();
    }
}

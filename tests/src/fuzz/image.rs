//! Images through parse, plan, replan and infer.

use std::cell::RefCell;

use bitbudget_core::block;
use bitbudget_core::engine::{Engine, EngineError, Input};
use bitbudget_core::image::{Image, ImageError, MAGIC, Summary, VERSION};
use bitbudget_core::level::WeightFormat;
use bitbudget_core::network::{Layer, Network, tables_bytes};
use bitbudget_core::op::Op;
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Measure, Plan, Planner};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::arena::Arena;
use crate::model::{Model, TestImage, seal};
use crate::tamper::{repair, tamper};

/// Capacities of the images that are run.
const LAYERS: usize = 64;
const LEVELS: usize = crate::model::LEVELS;
/// Room for every level in flash and in RAM.
const ITEMS: usize = 32;

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
    let summary = Summary::of(bytes);
    let image = Image::<N, K>::parse(bytes)?;
    let network = image.network();
    summarizes(&summary?, &image);
    for layer in 0..network.layers.len() {
        let _ = image.name(layer);
        for format in network.weight_formats(layer) {
            let block = image.block_range(layer, format).expect("it is on offer");
            assert!(block.end <= image.blocks().len());
        }
    }
    if let Some(plans) = image.stored_plans() {
        let _ = (plans.within(u64::MAX), plans.within(0));
    }
    let arena_bytes = arena.lend().len() as u64;
    let mut planner = Box::new(Planner::<N, ITEMS>::new(network));
    let mut engine = Engine::new(&image, arena.lend()).expect("an aligned arena");
    let mut ran = false;
    let mut least = i64::MIN;
    for budget in [u64::MAX, 0, 1 << 14].map(Limits::ram) {
        let planned = match engine.replan_within(&mut planner, budget, MOST_NODES) {
            Err(EngineError::Limits(refused)) => {
                let smallest = Limits::ram(refused.smallest().expect("a limit").1);
                let planned = engine.replan_within(&mut planner, smallest, MOST_NODES);
                planned.map(|plan| check(plan, smallest))
            }
            other => other.map(|plan| check(plan, budget)),
        };
        match planned {
            // a smaller budget has no better price than what a larger one is proven to have
            Ok((price, bound)) => {
                assert!(price >= least, "{price} {least}");
                if budget == Limits::ram(u64::MAX) {
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
    for places in [Places::Flash, Places::Best] {
        planner.set_places(places);
        for ram in [u64::MAX, 1 << 14] {
            let ram = Limits::ram(ram);
            let Ok(plan) = planner.plan(network, ram, MOST_NODES) else {
                continue;
            };
            check(&plan, ram);
            let faster = ram.with(Measure::Cycles, plan.cycles / 2);
            if let Ok(plan) = planner.plan(network, faster, MOST_NODES) {
                check(&plan, faster);
            }
        }
    }
    Ok(ran)
}

/// Checks that a summary is that of an image.
fn summarizes<const N: usize, const K: usize>(summary: &Summary, image: &Image<'_, N, K>) {
    let network = image.network();
    let levels = network.prices.rows.iter().map(|row| row.len()).max();
    assert_eq!(summary.layers as usize, network.layers.len());
    assert_eq!(summary.levels as usize, levels.unwrap_or(0));
    assert_eq!(summary.input, network.input);
    assert_eq!(summary.output, network.output_shape());
    assert_eq!(summary.has_cycles, network.prices.has_cycles());
    assert_eq!(summary.has_plans, image.stored_plans().is_some());
    assert_eq!(
        summary.meta_bytes as usize + HEADER_BYTES,
        image.blocks_at() as usize
    );
}

/// Price and bound of a plan that is within its budget.
fn check<const N: usize>(plan: &Plan<N>, budget: Limits) -> (i64, i64) {
    assert!(plan.is_within(&budget), "{plan:?}");
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
            Op::Conv2d { .. }
            | Op::Dense
            | Op::Add
            | Op::Reshape
            | Op::Softmax { .. }
            | Op::Unary(_)
            | Op::Mul
            | Op::Concat
            | Op::Rearrange(_) => 1,
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
            let blocks_len = blocks_bytes(&network);
            let plans_len = u32::from_le_bytes([image[20], image[21], image[22], image[23]]);
            let before = network_len + names_len;
            let tables_len = tables_bytes(&network.layers);
            let plans_len = (plans_len as usize).min(names.len()).max(tables_len);
            let mut meta_len = before + plans_len;
            image.resize(image.len().max(HEADER_BYTES + meta_len), 0);
            settle_tables(&mut image[HEADER_BYTES + before..][..tables_len]);
            let padded = meta_len.next_multiple_of(4);
            let at = HEADER_BYTES + meta_len;
            image.splice(at..at, std::iter::repeat_n(0, padded - meta_len));
            meta_len = padded;
            let blocks_len = blocks_len.min(image.len() + MOST_ADDED);
            image.resize(HEADER_BYTES + meta_len + blocks_len, 0x3e);
            settle(&network, &mut image[HEADER_BYTES + meta_len..]);
            [network_len, names_len, meta_len - before, blocks_len]
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

/// Makes every entry of some tables one that a function can have.
fn settle_tables(tables: &mut [u8]) {
    for entry in tables.as_chunks_mut().0 {
        let quarters =
            i16::from_le_bytes(*entry).clamp(4 * i16::from(i8::MIN), 4 * i16::from(i8::MAX));
        *entry = quarters.to_le_bytes();
    }
}

/// Makes a blocks section one that kernels can run, as far as it goes.
fn settle(network: &Network<LAYERS, LEVELS>, mut section: &mut [u8]) {
    for layer in 0..network.layers.len() {
        let (weights, c) = (network.weight_count(layer), network.layers[layer].output.c);
        for format in network.weight_formats(layer) {
            let bytes = block::bytes(format, weights as u64, c) as usize;
            let Some((block, rest)) = section.split_at_mut_checked(bytes) else {
                return;
            };
            settle_block(format, weights, c.into(), block);
            section = rest;
        }
    }
}

fn settle_block(format: WeightFormat, weights: usize, channels: usize, block: &mut [u8]) {
    let (bias, rest) = block.split_at_mut(4 * channels);
    let WeightFormat::Int(width) = format else {
        settle_reals(bias);
        match format {
            WeightFormat::F16 => {
                for half in rest.chunks_exact_mut(2).take(weights) {
                    half[1] &= 0xbf;
                }
                rest[2 * weights..].fill(0);
            }
            WeightFormat::F32 | WeightFormat::Int(_) => settle_reals(rest),
        }
        return;
    };
    // far from the ends
    bias.chunks_exact_mut(4).for_each(|word| word[3] %= 16);
    let (multiplier, rest) = rest.split_at_mut(4 * channels);
    let (shift, rest) = rest.split_at_mut(channels.next_multiple_of(4));
    for (word, shift) in multiplier.chunks_exact_mut(4).zip(&mut *shift) {
        (word[3], *shift) = (word[3] & 0x3f | 0x40, *shift % 63);
    }
    shift[channels..].fill(0);
    let len = weights / channels;
    let row_bytes = width.row_bytes(len);
    let (rows, padding) = rest.split_at_mut(row_bytes * channels);
    padding.fill(0);
    for byte in &mut *rows {
        if width.has_lowest(*byte) {
            *byte = 0x11;
        }
    }
    let unused = 8 * row_bytes - width.bits() as usize * len;
    for row in rows.chunks_exact_mut(row_bytes) {
        row[row_bytes - 1] &= 0xff >> unused;
    }
}

/// Makes them finite.
fn settle_reals(reals: &mut [u8]) {
    reals.chunks_exact_mut(4).for_each(|word| word[3] &= 0xbf);
}

/// The length of the blocks section that a network needs.
fn blocks_bytes(network: &Network<LAYERS, LEVELS>) -> usize {
    let of = |layer: usize| {
        let (weights, channels) = (network.weight_count(layer), network.layers[layer].output.c);
        let formats = network.weight_formats(layer);
        let bytes = formats.map(|format| block::bytes(format, weights as u64, channels));
        bytes.sum::<u64>() as usize
    };
    (0..network.layers.len())
        .map(of)
        .fold(0, usize::saturating_add)
}

/// Puts something wrong into the network of a sound image, and makes the rest fit it.
pub fn mutate(image: &mut Vec<u8>, rng: &mut SmallRng) {
    let Ok(parsed) = TestImage::parse(image) else {
        return;
    };
    let mut model = Model::like_image(&parsed);
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

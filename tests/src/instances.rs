//! Families of layout problems: those of networks, and those that are hard.
//!
//! All but the first are after Pisinger (1995, "A minimal algorithm for the multiple-choice knapsack
//! problem"), with prices for negative profits.

use bitbudget_core::mckp::Item;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Layers of real networks, their levels' bytes, and prices that fall like 4^-bits.
    ResNetLike,
    /// Costs and prices have nothing to do with each other.
    Uncorrelated,
    /// More cost mostly means a lower price.
    WeaklyCorrelated,
    /// More cost means a lower price by as much and a constant.
    StronglyCorrelated,
    /// More cost means a lower price by as much.
    SubsetSum,
    /// Uncorrelated, but no item is dominated.
    Zigzag,
    /// More cost means a lower price by as much, and all costs are even: half of the limits cannot be
    /// used up.
    EvenCosts,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 7] = [
        Self::ResNetLike,
        Self::Uncorrelated,
        Self::WeaklyCorrelated,
        Self::StronglyCorrelated,
        Self::SubsetSum,
        Self::Zigzag,
        Self::EvenCosts,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ResNetLike => "resnet-like",
            Self::Uncorrelated => "uncorrelated",
            Self::WeaklyCorrelated => "weakly correlated",
            Self::StronglyCorrelated => "strongly correlated",
            Self::SubsetSum => "subset sum",
            Self::Zigzag => "zigzag",
            Self::EvenCosts => "even costs",
        }
    }
}

/// Numbers of groups that reports use.
pub const GROUPS: [usize; 6] = [8, 14, 20, 54, 200, 1000];
/// Numbers of items in a group that reports use.
pub const ITEMS: [usize; 4] = [2, 3, 5, 8];

/// `n` groups of `k` items of a family.
#[must_use]
pub fn generate(family: Family, n: usize, k: usize, seed: u64) -> Vec<Vec<Item>> {
    let mut rng = SmallRng::seed_from_u64(seed ^ (n as u64) << 32 ^ (k as u64) << 48);
    if family == Family::ResNetLike {
        return layers(n, &mut rng)
            .into_iter()
            .map(|weights| levels(weights, k, &mut rng))
            .collect();
    }
    let group = |_| hard_group(family, k, &mut rng);
    (0..n).map(group).collect()
}

/// The limit at this part of the way from the smallest to the largest cost.
#[must_use]
pub fn limit(groups: &[Vec<Item>], percent: u64) -> u64 {
    let costs = |group: &Vec<Item>| group.iter().map(|item| u64::from(item.cost[0])).collect();
    let costs: Vec<Vec<u64>> = groups.iter().map(costs).collect();
    let smallest: u64 = costs.iter().filter_map(|costs| costs.iter().min()).sum();
    let largest: u64 = costs.iter().filter_map(|costs| costs.iter().max()).sum();
    smallest + (largest - smallest) * percent / 100
}

/// These groups with a second cost: cycles that grow with the weights and fall with the bits,
/// otherwise for every layer.
#[must_use]
pub fn with_cycles(groups: &[Vec<Item>], seed: u64) -> Vec<Vec<Item<2>>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let group = |group: &Vec<Item>| {
        let largest = group.iter().map(|item| item.cost[0]).max().unwrap_or(1);
        // a weight of a layer is used for many pixels or for few
        let uses = 2_f64.powf(rng.random_range(0.0..6.0));
        let cycles = |item: &Item| {
            let part = f64::from(item.cost[0]) / f64::from(largest);
            let speed = rng.random_range(0.8..1.2) * (0.3 + 0.7 * part);
            (f64::from(largest).sqrt() * uses * speed * 100.0) as u32
        };
        let second: Vec<u32> = group.iter().map(cycles).collect();
        let both = group.iter().zip(second).map(|(item, cycles)| Item {
            cost: [item.cost[0], cycles],
            price: item.price,
            class: 0,
        });
        both.collect()
    };
    groups.iter().map(group).collect()
}

/// Weights of the layers of a network of `n` layers.
fn layers(n: usize, rng: &mut SmallRng) -> Vec<u32> {
    /// The layers of a stage: the first one and how often the others come.
    fn residual(n: usize, widths: &[u32], classes: u32) -> Vec<u32> {
        let blocks = (n - 2) / widths.len();
        let mut weights = vec![27 * widths[0]];
        let mut before = widths[0];
        for width in widths {
            for _ in 0..blocks {
                weights.push(9 * before * width);
                before = *width;
            }
        }
        weights.resize(n - 1, 9 * before * before);
        weights.push(before * classes);
        weights
    }
    fn bottlenecks() -> Vec<u32> {
        let mut weights = vec![147 * 64];
        let mut before = 64;
        for (width, blocks) in [(64, 3), (128, 4), (256, 6), (512, 3)] {
            for block in 0..blocks {
                weights.extend([before * width, 9 * width * width, width * 4 * width]);
                if block == 0 {
                    weights.push(before * 4 * width);
                }
                before = 4 * width;
            }
        }
        weights.push(2048 * 1000);
        weights
    }
    /// Separable convolutions (MobileNetV2, Sandler et al. 2018), expansion 6.
    fn inverted() -> Vec<u32> {
        let mut weights = vec![27 * 32, 9 * 32, 32 * 16];
        let mut before = 16;
        let stages = [(24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1)];
        for (width, blocks) in stages {
            for _ in 0..blocks {
                weights.extend([before * 6 * before, 9 * 6 * before, 6 * before * width]);
                before = width;
            }
        }
        weights.extend([320 * 1280, 1280 * 1000]);
        weights
    }
    /// DS-CNN for keyword spotting (Zhang et al. 2017), small.
    fn keywords() -> Vec<u32> {
        let mut weights = vec![40 * 64];
        weights.extend([9 * 64, 64 * 64].repeat(4));
        weights.push(64 * 12);
        weights
    }
    match n {
        ..=20 if n < 10 || rng.random() => residual(n, &[16, 32, 64], 10),
        ..=20 => {
            let mut weights = keywords();
            weights.resize(n, 64 * 64);
            weights
        }
        54 if rng.random() => bottlenecks(),
        54 => {
            let mut weights = inverted();
            weights.resize(n, 1000);
            weights
        }
        _ => {
            let all: Vec<u32> =
                [bottlenecks(), inverted(), residual(20, &[16, 32, 64], 10)].concat();
            let scaled = |_| {
                let weights = f64::from(all[rng.random_range(0..all.len())]);
                (weights * rng.random_range(0.5..2.0)) as u32
            };
            (0..n).map(scaled).collect()
        }
    }
}

/// The levels of a layer: bytes, and prices that fall like 4^-bits (the mean square of rounding).
fn levels(weights: u32, k: usize, rng: &mut SmallRng) -> Vec<Item> {
    let bits: &[u32] = match k {
        2 => &[32, 8],
        3 => &[32, 8, 4],
        5 => &[32, 16, 8, 4, 2],
        _ => &[32, 16, 12, 8, 6, 4, 3, 2],
    };
    // layers differ by orders of magnitude
    let sensitivity = 10_f64.powf(rng.random_range(-2.5..0.5));
    let mut level = |bits: &u32| {
        let exact = sensitivity * 4_f64.powi(2 - *bits as i32);
        let noisy = exact * rng.random_range(0.6..1.4) + rng.random_range(-2e-4..2e-4);
        let price = if rng.random_bool(0.1) {
            -0.3 * noisy
        } else {
            noisy
        };
        Item {
            cost: [weights / 8 * bits + 64],
            price: (price * f64::from(1 << 28)) as i32,
            class: 0,
        }
    };
    bits[..k.min(bits.len())].iter().map(&mut level).collect()
}

fn hard_group(family: Family, k: usize, rng: &mut SmallRng) -> Vec<Item> {
    const RANGE: i32 = 10_000;
    let mut costs: Vec<i32> = (0..k).map(|_| rng.random_range(1..=RANGE)).collect();
    if family == Family::EvenCosts {
        costs.iter_mut().for_each(|cost| *cost &= !1);
    }
    let mut gains: Vec<i32> = match family {
        Family::WeaklyCorrelated => costs
            .iter()
            .map(|cost| (cost + rng.random_range(-RANGE / 10..=RANGE / 10)).max(1))
            .collect(),
        Family::SubsetSum | Family::EvenCosts => costs.clone(),
        Family::StronglyCorrelated => {
            // sums of costs; a constant more for every one
            costs.sort_unstable();
            let (mut cost_sum, mut gain_sum) = (0, 0);
            let mut gains = Vec::new();
            for cost in &mut costs {
                gain_sum += *cost + 10;
                cost_sum += *cost;
                *cost = cost_sum;
                gains.push(gain_sum);
            }
            gains
        }
        Family::ResNetLike | Family::Uncorrelated | Family::Zigzag => {
            (0..k).map(|_| rng.random_range(1..=RANGE)).collect()
        }
    };
    if family == Family::Zigzag {
        costs.sort_unstable();
        gains.sort_unstable();
    }
    let item = |(cost, gain): (i32, i32)| Item {
        cost: [cost as u32],
        price: -gain,
        class: 0,
    };
    costs.into_iter().zip(gains).map(item).collect()
}

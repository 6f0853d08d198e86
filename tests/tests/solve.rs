//! Layout problems against dynamic programming over all costs and, where it is small enough, against
//! every layout; published ones where they are.

use std::collections::BTreeMap;
use std::fs;

use bitbudget::problem::{Item as ProblemItem, Layer, PRICE, Problem};
use bitbudget::search::Effort;
use bitbudget_core::mckp::{Item, Solver};
use bitbudget_tests::instances::{self, Family};
use bitbudget_tests::shared;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// More partial layouts than these are not kept: the problem is left out.
const MOST_PARTIAL: usize = 200_000;

/// The optimum by dynamic programming (Nemhauser and Ullmann 1969): the undominated pairs of cost and
/// price of the first groups, group by group. `None` where there are too many.
fn optimum<P: Copy + PartialOrd + std::ops::Add<Output = P> + Default>(
    groups: &[Vec<(u64, P)>],
    limit: u64,
) -> Option<P> {
    let least = |group: &Vec<(u64, P)>| group.iter().map(|item| item.0).min().unwrap_or(0);
    let mut rest: u64 = groups.iter().map(least).sum();
    let mut partial = vec![(0, P::default())];
    for group in groups {
        rest -= least(group);
        let mut longer: Vec<(u64, P)> = Vec::new();
        for (cost, price) in &partial {
            let items = group.iter().map(|item| (cost + item.0, *price + item.1));
            longer.extend(items.filter(|(cost, _)| cost + rest <= limit));
        }
        longer.sort_by(|a, b| a.partial_cmp(b).expect("finite"));
        partial.clear();
        for (cost, price) in longer {
            if partial.last().is_none_or(|last| price < last.1) {
                partial.push((cost, price));
            }
        }
        if partial.len() > MOST_PARTIAL {
            return None;
        }
    }
    partial.last().map(|last| last.1)
}

#[test]
fn families_agree_with_dynamic_programming() {
    let mut checked = BTreeMap::new();
    for family in Family::ALL {
        for n in [8, 14, 20, 54] {
            for (k, seed) in [(2, 0), (3, 1), (5, 2), (8, 3), (5, 4)] {
                let groups = instances::generate(family, n, k, 100 + seed);
                let rows = groups.iter().map(|group| group.iter().copied());
                let mut solver = Box::new(Solver::<64, 8>::new(rows).expect("room"));
                let pair = |item: &Item| (u64::from(item.cost[0]), i64::from(item.price));
                let pairs = groups.iter().map(|group| group.iter().map(pair).collect());
                let pairs: Vec<Vec<(u64, i64)>> = pairs.collect();
                for percent in [5, 50, 80] {
                    let limit = instances::limit(&groups, percent);
                    let Some(optimum) = optimum(&pairs, limit) else {
                        continue;
                    };
                    let solution = solver.solve([limit], 100_000).expect("a layout");
                    assert!(solution.bound <= optimum && optimum <= solution.price);
                    // small ones are solved even where that is not proven
                    assert!(n > 20 || solution.price == optimum, "{family:?} {n} {k}");
                    if solution.gap() == 0 {
                        *checked.entry(family.name()).or_insert(0) += 1;
                    } else {
                        assert_eq!(family, Family::StronglyCorrelated, "{n} {k} {percent}");
                    }
                }
            }
        }
    }
    println!("{checked:?}");
    assert!(checked.values().all(|count| *count >= 30), "{checked:?}");
}

/// A problem with prices of many magnitudes, as no integer has them, of this noise.
fn real_prices(rng: &mut SmallRng, n: usize, noise: f64) -> Problem {
    let scale = 10_f64.powi(rng.random_range(-12..6));
    let layer = |i: usize| {
        let sensitivity = scale * 10_f64.powf(rng.random_range(-2.5..0.5));
        let weights = rng.random_range(100..40_000_u64);
        let item = |bits: i32| ProblemItem {
            level: format!("int{bits}"),
            price: sensitivity * 4_f64.powi(2 - bits) * rng.random_range(-0.2..1.4)
                + scale * noise * rng.random_range(-1.0..1.0),
            costs: BTreeMap::from([("ram".to_owned(), weights * bits as u64 / 8)]),
        };
        Layer {
            name: format!("layer{i}"),
            items: [32, 16, 8, 4, 2].map(item).into(),
        }
    };
    Problem {
        layers: (0..n).map(layer).collect(),
        limits: BTreeMap::new(),
        ties: Vec::new(),
        pins: BTreeMap::new(),
    }
}

#[test]
fn integer_prices_change_no_optimum() {
    let mut rng = SmallRng::seed_from_u64(5);
    let mut checked = 0;
    for round in 0..120 {
        // measured prices have noise; exact ones may differ by less than an integer tells
        let noise = if round % 4 == 0 { 0.0 } else { 1e-4 };
        let mut problem = real_prices(&mut rng, [8, 14, 20][round % 3], noise);
        let pair = |item: &ProblemItem| (item.costs["ram"], item.price);
        let pairs = problem.layers.iter();
        let pairs = pairs.map(|layer| layer.items.iter().map(pair).collect());
        let pairs: Vec<Vec<(u64, f64)>> = pairs.collect();
        let costs = |all: &[(u64, f64)]| all.iter().map(|item| item.0).max().unwrap_or(0);
        let most: u64 = pairs.iter().map(|row| costs(row)).sum();
        for percent in [8, 15, 30, 60] {
            let limit = most * percent / 100;
            let Some(optimum) = optimum(&pairs, limit) else {
                continue;
            };
            problem.limits.insert("ram".into(), limit as f64);
            let answer = problem.solve(PRICE, &Effort::UNLIMITED).expect("a layout");
            let sum = pairs.iter().flatten().map(|item| item.1.abs()).sum::<f64>();
            let tolerance = if noise > 0.0 { 1e-14 } else { 1e-8 };
            let difference = answer.price - optimum;
            assert!(difference.abs() <= tolerance * sum, "{round} {percent}");
            assert!(answer.optimal && answer.costs["ram"] <= limit);
            checked += 1;
        }
    }
    println!("{checked} problems");
    assert!(checked > 300, "{checked}");
}

/// HAWQ-v3's integer programs (Yao et al. 2021): 4 or 8 bits for every layer of ResNet18 and ResNet50,
/// under limits on size, bit operations and latency. Costs are in the last digit that is published.
fn published(network: &Value, limited: &str, part: f64) -> Problem {
    let row = |name: &str| -> Vec<f64> {
        let values = network[name].as_array().expect("a list").iter();
        values
            .map(|value| value.as_f64().expect("a number"))
            .collect()
    };
    let (params, mmacs) = (row("params"), row("mmacs"));
    let traces = row("trace_avg");
    let per_bits = [(4, row("d4"), row("lat4")), (8, row("d8"), row("lat8"))];
    let layer = |i: usize| Layer {
        name: i.to_string(),
        items: per_bits
            .iter()
            .map(|(bits, noise, latency)| {
                let cost = match limited {
                    "size" => params[i] * 1e8 * f64::from(*bits) / 8.0,
                    "bops" => mmacs[i] * 1e6 * f64::from(bits * bits),
                    _ => latency[i] * 1e8,
                };
                ProblemItem {
                    level: format!("{bits} bits"),
                    price: traces[i] * noise[i],
                    costs: BTreeMap::from([(limited.to_owned(), cost.round() as u64)]),
                }
            })
            .collect(),
    };
    let layers: Vec<Layer> = (0..params.len()).map(layer).collect();
    let sum = |at: usize| -> f64 {
        let costs = layers.iter().map(|layer| layer.items[at].costs[limited]);
        costs.sum::<u64>() as f64
    };
    let limit = sum(0) + part * (sum(1) - sum(0));
    let ties = network["ties"].as_array().expect("a list").iter();
    let names = |tie: &Value| {
        let tie = tie.as_array().expect("a list").iter();
        tie.map(ToString::to_string).collect()
    };
    Problem {
        ties: ties.map(names).collect(),
        layers,
        limits: BTreeMap::from([(limited.to_owned(), limit)]),
        pins: BTreeMap::new(),
    }
}

#[test]
fn published_integer_programs_are_solved() {
    let Some(folder) = shared::folder() else {
        return;
    };
    let text = fs::read_to_string(folder.join("data/hawq_v3_ilp.json")).expect("the file");
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let mut solved = 0;
    for name in ["ResNet18", "ResNet50"] {
        for limited in ["size", "bops", "latency"] {
            for (i, part) in [0.25, 0.5, 0.75].into_iter().enumerate() {
                let problem = published(&file[name], limited, part);
                let answer = problem.solve(PRICE, &Effort::UNLIMITED).expect("a layout");
                // but for what rounding to units may hide
                let hidden = answer.price - answer.bound;
                assert!(answer.optimal && (0.0..=1e-6 * answer.price).contains(&hidden));
                // the limit is the published one
                let limit = &file[name]["limits_at_r_0.25_0.50_0.75"][limited][i];
                let unit = match limited {
                    "bops" => 1e6 * 1024.0,
                    _ => 1e8,
                };
                let difference = problem.limits[limited] / unit / limit.as_f64().expect("a number");
                assert!((difference - 1.0).abs() < 1e-6, "{difference}");
                assert!(answer.costs[limited] as f64 <= problem.limits[limited]);
                let groups = tied(&problem, limited);
                let optimum = optimum(&groups, problem.limits[limited] as u64);
                let optimum = optimum.expect("few undominated layouts");
                assert!(
                    (answer.price - optimum).abs() < 1e-12,
                    "{name} {limited} {part}"
                );
                println!(
                    "{name} {limited} {part}: {optimum:.6}, {} nodes",
                    answer.nodes
                );
                solved += 1;
            }
        }
    }
    assert_eq!(solved, 18);
}

/// Cost and price of every item of layers that are tied together.
fn tied(problem: &Problem, cost: &str) -> Vec<Vec<(u64, f64)>> {
    fn leader<'a>(problem: &'a Problem, layer: &'a Layer) -> &'a str {
        let tie = problem.ties.iter().find(|tie| tie.contains(&layer.name));
        tie.map_or(&layer.name, |tie| &tie[0])
    }
    let of = |layer| leader(problem, layer);
    let leaders = problem
        .layers
        .iter()
        .filter(|layer| of(layer) == layer.name);
    let groups = leaders.map(|leader| {
        let items = (0..leader.items.len()).map(|at| {
            let group = problem
                .layers
                .iter()
                .filter(|layer| *of(layer) == leader.name);
            let items = group.map(|layer| &layer.items[at]);
            items.fold((0, 0.0), |(sum, price), item| {
                (sum + item.costs[cost], price + item.price)
            })
        });
        items.collect()
    });
    groups.collect()
}

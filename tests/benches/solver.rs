//! The solver on families of problems: nodes, time and bytes; with the feature `highs` beside HiGHS
//! (Huangfu and Hall 2018) on the same problems in the same run.
//!
//! Times are CPU times of one thread; `proven` counts problems, `gap` is the largest certified gap in
//! parts of the price range.

use std::time::{Duration, Instant};

use bitbudget_core::mckp::{Item, Solver};
use bitbudget_tests::instances::{self, Family, GROUPS, ITEMS};

/// Problems of each kind and size.
const SEEDS: u64 = 10;
/// Where the limits lie between the smallest and the largest cost, in percent.
const LIMITS: [u64; 3] = [20, 50, 80];
/// The node limit of the hard families.
const NODES: u64 = 100_000;

fn main() {
    println!(
        "{:<20} {:>5} {:>2} {:>9} {:>8} {:>8} {:>8} {:>10} {:>10} {:>9}",
        "family", "n", "k", "proven", "median", "worst", "gap", "median us", "worst us", "bytes"
    );
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    for family in Family::ALL {
        if only
            .as_ref()
            .is_some_and(|only| !family.name().contains(only.as_str()))
        {
            continue;
        }
        for n in GROUPS {
            for k in ITEMS {
                row(family, n, k);
            }
        }
    }
    if only.is_none_or(|only| "two limits".contains(&only)) {
        for n in GROUPS.into_iter().take(4) {
            for k in ITEMS {
                two_limits(n, k);
            }
        }
    }
}

/// What was measured on the problems of one row.
#[derive(Default)]
struct Row {
    nodes: Vec<u64>,
    times: Vec<Duration>,
    proven: usize,
    gap: f64,
}

impl Row {
    fn print(mut self, name: &str, n: usize, k: usize, bytes: usize) {
        self.nodes.sort_unstable();
        self.times.sort_unstable();
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let middle = self.nodes.len() / 2;
        let last = self.nodes.len() - 1;
        println!(
            "{name:<20} {n:>5} {k:>2} {:>4}/{:<4} {:>8} {:>8} {:>8.1e} {:>10.1} {:>10.1} {bytes:>9}",
            self.proven,
            self.nodes.len(),
            self.nodes[middle],
            self.nodes[last],
            self.gap,
            micros(self.times[middle]),
            micros(self.times[last]),
        );
    }
}

fn span<const D: usize>(groups: &[Vec<Item<D>>]) -> f64 {
    let span = |group: &Vec<Item<D>>| {
        let prices = || group.iter().map(|item| i64::from(item.price));
        prices().max().unwrap_or(0) - prices().min().unwrap_or(0)
    };
    groups.iter().map(span).sum::<i64>().max(1) as f64
}

fn row(family: Family, n: usize, k: usize) {
    match (n, k) {
        (..=20, ..=5) => sized::<20, 5>(family, n, k),
        (..=64, _) => sized::<64, 8>(family, n, k),
        (..=200, _) => sized::<200, 8>(family, n, k),
        _ => sized::<1000, 8>(family, n, k),
    }
}

fn sized<const N: usize, const K: usize>(family: Family, n: usize, k: usize) {
    let mut row = Row::default();
    for seed in 0..SEEDS {
        let groups = instances::generate(family, n, k, seed);
        let mut solver = Box::new(
            Solver::<N, K>::new(groups.iter().map(|group| group.iter().copied())).expect("it fits"),
        );
        for percent in LIMITS {
            let limit = instances::limit(&groups, percent);
            let begin = Instant::now();
            let solution = solver.solve(
                [limit],
                NODES.max(400_000 * u64::from(family == Family::WeaklyCorrelated)),
            );
            row.times.push(begin.elapsed());
            let solution = solution.expect("the limit is above the smallest cost");
            row.nodes.push(solution.nodes);
            row.proven += usize::from(solution.gap() == 0);
            row.gap = row.gap.max(solution.gap() as f64 / span(&groups));
        }
    }
    row.print(family.name(), n, k, Solver::<N, K>::STATE_BYTES);
}

fn two_limits(n: usize, k: usize) {
    let mut row = Row::default();
    for seed in 0..SEEDS {
        let groups = instances::generate(Family::ResNetLike, n, k, seed);
        let groups = instances::with_cycles(&groups, seed);
        let mut solver = Box::new(
            Solver::<64, 8, 2>::new(groups.iter().map(|group| group.iter().copied()))
                .expect("it fits"),
        );
        let cost = |d: usize, largest: bool| -> u64 {
            let of = |group: &Vec<Item<2>>| {
                let costs = group.iter().map(|item| u64::from(item.cost[d]));
                if largest { costs.max() } else { costs.min() }
            };
            groups.iter().filter_map(of).sum()
        };
        for percent in LIMITS {
            let limits =
                [0, 1].map(|d| cost(d, false) + (cost(d, true) - cost(d, false)) * percent / 100);
            let begin = Instant::now();
            let solution = solver.solve(limits, NODES);
            row.times.push(begin.elapsed());
            let Ok(solution) = solution else { continue };
            row.nodes.push(solution.nodes);
            row.proven += usize::from(solution.gap() == 0);
            row.gap = row.gap.max(solution.gap() as f64 / span(&groups));
        }
    }
    row.print("two limits", n, k, Solver::<64, 8, 2>::STATE_BYTES);
}

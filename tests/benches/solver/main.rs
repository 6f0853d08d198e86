//! The solver on families of problems, and the planner on chains of equal and nearly equal layers: nodes,
//! time and bytes; with the feature `highs` the solver beside HiGHS on the same problems in the same run.
//!
//! Times are the least of [`RUNS`] on one thread: of [`Solver::set_groups`], which does what the limits
//! do not change, and of [`Solver::solve`]. `proven` counts problems, `gap` is the largest certified gap
//! in parts of the price range. `HiGHS us` is HiGHS's median time; `times` the median and the least ratio
//! of it to our solving, `all` the least to all that we do. Prices that differ end the run, but for those
//! that HiGHS has too high: its tolerances let it call a layout optimal that is not. They are counted in
//! `worse`.

#[cfg(feature = "highs")]
mod highs;

use std::time::{Duration, Instant};

use bitbudget::capacity::{HostNetwork, HostPlanner};
use bitbudget_core::mckp::{Item, Solver};
use bitbudget_core::place::Places;
use bitbudget_core::plan::Limits;
use bitbudget_core::shape::Shape;
use bitbudget_tests::equal;
use bitbudget_tests::instances::{self, Family, GROUPS, ITEMS};

/// Problems of each kind and size.
const SEEDS: u64 = 10;
/// Positions of the limits between the smallest and the largest cost, in percent.
const LIMITS: [u64; 3] = [20, 50, 80];
/// Repetitions of every timing.
const RUNS: usize = 3;
/// The node limit of the hard families.
const NODES: u64 = 100_000;
/// The node limit of plans.
const PLAN_NODES: u64 = 1_000;

fn main() {
    println!(
        "{:<22} {:>5} {:>2} {:>9} {:>8} {:>8} {:>8} {:>8} {:>10} {:>10} {:>9}{}",
        "family",
        "n",
        "k",
        "proven",
        "median",
        "worst",
        "gap",
        "new us",
        "solve us",
        "worst us",
        "bytes",
        if cfg!(feature = "highs") {
            format!(
                "{:>10} {:>8} {:>8} {:>5}",
                "HiGHS us", "times", "least", "worse"
            )
        } else {
            String::new()
        }
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
    for budget in ["weights", "all RAM"] {
        for noise in [0.0, 0.02, 0.08] {
            let name = format!("equal {:.0} %, {budget}", noise * 100.0);
            if only.as_ref().is_some_and(|only| !name.contains(only)) {
                continue;
            }
            for n in [25, 75, 150] {
                equal_layers(&name, n, noise, budget == "all RAM");
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

/// Measurements on the problems of one row.
#[derive(Default)]
struct Row {
    nodes: Vec<u64>,
    builds: Vec<Duration>,
    times: Vec<Duration>,
    proven: usize,
    gap: f64,
    highs: Vec<Duration>,
    ratios: Vec<f64>,
    least_of_all: f64,
    worse: usize,
}

impl Row {
    fn print(mut self, name: &str, n: usize, k: usize, bytes: usize) {
        self.nodes.sort_unstable();
        self.builds.sort_unstable();
        self.times.sort_unstable();
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let middle = self.nodes.len() / 2;
        let last = self.nodes.len() - 1;
        self.highs.sort_unstable();
        self.ratios.sort_by(f64::total_cmp);
        let beside = match (self.highs.get(middle), self.ratios.get(middle)) {
            (Some(time), Some(ratio)) => format!(
                "{:>10.0} {ratio:>8.0} {:>8.0} {:>8.0} {:>5}",
                micros(*time),
                self.ratios[0],
                self.least_of_all,
                self.worse
            ),
            _ => String::new(),
        };
        println!(
            "{name:<22} {n:>5} {k:>2} {:>4}/{:<4} {:>8} {:>8} {:>8.1e} {:>8.1} {:>10.1} {:>10.1} {bytes:>9}{beside}",
            self.proven,
            self.nodes.len(),
            self.nodes[middle],
            self.nodes[last],
            self.gap,
            micros(self.builds[middle]),
            micros(self.times[middle]),
            micros(self.times[last]),
        );
    }
}

impl Row {
    /// Times a problem: building the solver, then solving.
    fn time<const N: usize, const K: usize, const D: usize>(
        &mut self,
        solver: &mut Solver<N, K, D>,
        groups: &[Vec<Item<D>>],
        limits: [u64; D],
        nodes: u64,
    ) {
        let mut times = (Duration::MAX, Duration::MAX);
        let mut solution = None;
        for _ in 0..RUNS {
            let begin = Instant::now();
            let rows = groups.iter().map(|group| group.iter().copied());
            solver.set_groups(rows).expect("it fits");
            let built = Instant::now();
            solution = solver.solve(limits, nodes).ok();
            times = (times.0.min(built - begin), times.1.min(built.elapsed()));
        }
        self.builds.push(times.0);
        self.times.push(times.1);
        // several limits may exclude each other
        let Some(solution) = solution else { return };
        self.take(solution.nodes, solution.gap(), span(groups));
        let found = (solution.price, solution.gap() == 0);
        self.beside(groups, limits, times, found);
    }

    fn take(&mut self, nodes: u64, gap: u64, span: f64) {
        self.nodes.push(nodes);
        self.proven += usize::from(gap == 0);
        self.gap = self.gap.max(gap as f64 / span);
    }

    /// Times a plan: preparing the planner, then planning.
    fn plan(&mut self, planner: &mut HostPlanner, network: &HostNetwork, budget: Limits) {
        let mut times = (Duration::MAX, Duration::MAX);
        let mut plan = None;
        for _ in 0..RUNS {
            let begin = Instant::now();
            planner.set_network(network, Places::Ram);
            if budget.ram_bytes.is_some() {
                planner.find_smallest(network);
            }
            let prepared = Instant::now();
            plan = planner.plan(network, budget, PLAN_NODES).ok();
            times = (
                times.0.min(prepared - begin),
                times.1.min(prepared.elapsed()),
            );
        }
        self.builds.push(times.0);
        self.times.push(times.1);
        let plan = plan.expect("it fits");
        let rows = network.prices.rows.iter();
        let span: i64 = rows.map(|row| i64::from(row[3].price)).sum();
        self.take(plan.nodes, plan.price.abs_diff(plan.bound), span as f64);
    }

    /// Runs HiGHS on a problem that took us these times.
    #[cfg(feature = "highs")]
    fn beside<const D: usize>(
        &mut self,
        groups: &[Vec<Item<D>>],
        limits: [u64; D],
        times: (Duration, Duration),
        solution: (i64, bool),
    ) {
        let (time, price) = highs::solve(groups, limits);
        let ratio = |own: Duration| time.as_secs_f64() / own.as_secs_f64();
        if self.highs.is_empty() {
            self.least_of_all = f64::INFINITY;
        }
        self.highs.push(time);
        self.ratios.push(ratio(times.1));
        self.least_of_all = self.least_of_all.min(ratio(times.0 + times.1));
        if let (Some(price), (own, true)) = (price, solution) {
            assert!(own <= price, "HiGHS found {price}, this {own} with a proof");
            self.worse += usize::from(own < price);
        }
    }

    #[cfg(not(feature = "highs"))]
    const fn beside<const D: usize>(
        &mut self,
        _: &[Vec<Item<D>>],
        _: [u64; D],
        _: (Duration, Duration),
        _: (i64, bool),
    ) {
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
        let mut solver = Box::new(Solver::<N, K>::empty());
        for percent in LIMITS {
            let limit = instances::limit(&groups, percent);
            let weakly = family == Family::WeaklyCorrelated;
            let nodes = NODES.max(400_000 * u64::from(weakly));
            row.time(&mut solver, &groups, [limit], nodes);
        }
    }
    row.print(family.name(), n, k, Solver::<N, K>::STATE_BYTES);
}

/// Chains of layers whose prices differ by this part of them at most; `all` limits weights and arena.
fn equal_layers(name: &str, n: usize, noise: f64, all: bool) {
    let mut row = Row::default();
    for seed in 0..SEEDS {
        // not those of the tests
        let (side, channels) = (4 + seed as u16 % 5, 10 + 6 * (seed as u16 % 3));
        let shape = Shape::new(side, side, channels);
        let network = equal::chain(n, shape, noise, 1_000 + seed);
        let weights = network.fp32_weight_bytes();
        let arena = network.fp32_arena_bytes();
        let mut planner = Box::new(HostPlanner::empty());
        for percent in [30, 50, 70] {
            let budget = match all {
                true => Limits::ram((weights + arena) * percent / 100),
                false => Limits::weights(weights * percent / 100),
            };
            row.plan(&mut planner, &network, budget);
        }
    }
    row.print(name, n, 4, size_of::<HostPlanner>());
}

fn two_limits(n: usize, k: usize) {
    let mut row = Row::default();
    for seed in 0..SEEDS {
        let groups = instances::generate(Family::ResNetLike, n, k, seed);
        let groups = instances::with_cycles(&groups, seed);
        let mut solver = Box::new(Solver::<64, 8, 2>::empty());
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
            row.time(&mut solver, &groups, limits, NODES);
        }
    }
    row.print("two limits", n, k, Solver::<64, 8, 2>::STATE_BYTES);
}

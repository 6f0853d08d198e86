//! A thousand nodes lead near the optimum, on every family of problems.

use bitbudget_core::mckp::{Item, Solver};
use bitbudget_tests::instances::{self, Family};

/// The nodes.
const NODES: u64 = 1_000;
/// Layouts may be worse than the optimum by this part of the price range.
const GAP: f64 = 1e-3;
/// No table of costs is longer.
const MOST_COSTS: u64 = 1 << 21;

/// The least price of a layout of at most each cost, by dynamic programming over all costs; `None` where
/// there are too many.
fn prices_by_cost(groups: &[Vec<Item>]) -> Option<Vec<i64>> {
    let largest = |group: &Vec<Item>| group.iter().map(|item| item.cost[0]).max().unwrap_or(0);
    let most: u64 = groups.iter().map(|group| u64::from(largest(group))).sum();
    if most > MOST_COSTS {
        return None;
    }
    let mut best = vec![0];
    for group in groups {
        let mut longer = vec![i64::MAX / 2; best.len() + largest(group) as usize];
        for item in group {
            let with = longer[item.cost[0] as usize..].iter_mut().zip(&best);
            with.for_each(|(to, from)| *to = (*to).min(from + i64::from(item.price)));
        }
        best = longer;
    }
    for cost in 1..best.len() {
        best[cost] = best[cost].min(best[cost - 1]);
    }
    Some(best)
}

fn price_range(groups: &[Vec<Item>]) -> f64 {
    let range = |group: &Vec<Item>| {
        let prices = || group.iter().map(|item| i64::from(item.price));
        prices().max().unwrap_or(0) - prices().min().unwrap_or(0)
    };
    groups.iter().map(range).sum::<i64>().max(1) as f64
}

#[test]
fn a_thousand_nodes_lead_near_the_optimum() {
    for family in Family::ALL {
        let (mut worst, mut count) = (0.0_f64, 0);
        for n in [8, 11, 14, 17, 20, 54] {
            for (k, seed) in [(2, 700), (3, 701), (4, 702), (5, 703), (6, 704), (8, 705)] {
                let groups = instances::generate(family, n, k, seed);
                let optima = prices_by_cost(&groups);
                let rows = groups.iter().map(|group| group.iter().copied());
                let mut solver = Box::new(Solver::<64, 8>::new(rows).expect("room"));
                for percent in [3, 15, 35, 65, 90] {
                    let limit = instances::limit(&groups, percent);
                    let solution = solver.solve([limit], NODES).expect("a layout");
                    let optimum = match &optima {
                        Some(optima) => optima[(limit as usize).min(optima.len() - 1)],
                        None => solution.bound,
                    };
                    assert!(solution.bound <= optimum && optimum <= solution.price);
                    let gap = (solution.price - optimum) as f64 / price_range(&groups);
                    worst = worst.max(gap);
                    count += 1;
                }
            }
        }
        println!(
            "{}: {worst:.1e} of the price range at most, {count} problems",
            family.name()
        );
        assert!(worst <= GAP, "{family:?}: {worst}");
    }
}

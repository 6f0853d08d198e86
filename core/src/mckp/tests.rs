//! The solver against brute force and dynamic programming on seeded random problems.

use std::collections::HashMap;
use std::vec::Vec;

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{Infeasible, Item, ProblemError, Solution, Solver, Status};

type Groups = Vec<Vec<Item>>;

fn solver<const N: usize, const K: usize>(groups: &Groups) -> Solver<N, K> {
    Solver::new(groups.iter().map(|group| group.iter().copied())).unwrap()
}

/// All pairs of cost and price that layouts can have.
fn all_sums(groups: &Groups) -> Vec<(u64, i64)> {
    let mut sums = std::vec![(0, 0)];
    for group in groups.iter().filter(|group| !group.is_empty()) {
        let item = |item: &Item| (u64::from(item.cost), i64::from(item.price));
        sums = sums
            .iter()
            .flat_map(|&(c, p)| {
                group
                    .iter()
                    .map(item)
                    .map(move |(cost, price)| (c + cost, p + price))
            })
            .collect();
    }
    sums
}

/// The smallest price by dynamic programming over the costs that occur.
fn dynamic_programming(groups: &Groups, capacity: u64) -> Option<i64> {
    let mut best = HashMap::from([(0u64, 0i64)]);
    for group in groups.iter().filter(|group| !group.is_empty()) {
        let mut next = HashMap::new();
        for (&cost, &price) in &best {
            for item in group {
                let (cost, price) = (cost + u64::from(item.cost), price + i64::from(item.price));
                if cost <= capacity {
                    let entry = next.entry(cost).or_insert(price);
                    *entry = price.min(*entry);
                }
            }
        }
        best = next;
    }
    best.into_values().min()
}

/// Checks what every solution must satisfy, optimal or not.
fn check<const N: usize>(groups: &Groups, capacity: u64, solution: &Solution<N>) {
    assert_eq!(solution.choice.len(), groups.len());
    let (mut cost, mut price) = (0, 0);
    for (group, &index) in groups.iter().zip(&solution.choice) {
        if group.is_empty() {
            assert_eq!(index, 0);
        } else {
            let item = group[usize::from(index)];
            cost += u64::from(item.cost);
            price += i64::from(item.price);
            // No item of the group is at least as good, and cheaper or given earlier.
            for (other, better) in group.iter().enumerate() {
                let same = better.price == item.price && better.cost == item.cost;
                let dominates = better.price <= item.price && better.cost <= item.cost && !same;
                assert!(!dominates && !(same && other < usize::from(index)));
            }
        }
    }
    assert_eq!((cost, price), (solution.cost, solution.price));
    assert!(cost <= capacity);
    assert!(solution.bound <= price);
    assert_eq!(solution.gap(), price.abs_diff(solution.bound));
    assert_eq!(solution.status == Status::Optimal, solution.bound == price);
}

/// Groups of one of several kinds, with ties, negative prices and items of no cost.
fn random_groups(rng: &mut SmallRng, groups: usize, items: usize) -> Groups {
    let cost_range = [1, 3, 10, 100, 10_000, u32::MAX][rng.random_range(0..6)];
    let price_range = [0, 2, 10, 1000, i32::MAX][rng.random_range(0..5)];
    let correlated = rng.random_bool(0.3);
    let group = |rng: &mut SmallRng| {
        let items = if rng.random_bool(0.1) {
            0
        } else {
            rng.random_range(1..=items)
        };
        let mut item = || {
            let cost = rng.random_range(0..=cost_range);
            let price = rng.random_range(-price_range..=price_range);
            Item {
                cost,
                price: if correlated {
                    -((cost >> 1) as i32)
                } else {
                    price
                },
            }
        };
        (0..items).map(|_| item()).collect()
    };
    (0..groups).map(|_| group(rng)).collect()
}

#[test]
fn equals_brute_force() {
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..6000 {
        let count = rng.random_range(0..=6);
        let groups = random_groups(&mut rng, count, 5);
        let sums = all_sums(&groups);
        let smallest = sums.iter().map(|sum| sum.0).min().unwrap();
        let largest = sums.iter().map(|sum| sum.0).max().unwrap();
        let mut solver = solver::<6, 5>(&groups);
        assert_eq!(solver.smallest_cost(), smallest);
        let best = sums
            .iter()
            .map(|&(cost, price)| (price, cost))
            .min()
            .unwrap();
        assert_eq!(solver.largest_useful_cost(), best.1);
        for _ in 0..8 {
            let capacity = rng.random_range(smallest..=largest);
            let solution = solver.solve(capacity, u64::MAX).unwrap();
            check(&groups, capacity, &solution);
            let fitting = sums.iter().filter(|sum| sum.0 <= capacity);
            assert_eq!(solution.price, fitting.map(|sum| sum.1).min().unwrap());
            assert_eq!(solution.status, Status::Optimal);
        }
        if let Some(capacity) = smallest.checked_sub(1) {
            let infeasible = Infeasible {
                capacity,
                smallest_capacity: smallest,
            };
            assert_eq!(solver.solve(capacity, 9), Err(infeasible));
        }
    }
}

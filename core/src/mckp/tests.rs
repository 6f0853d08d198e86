//! The solver against brute force and dynamic programming, on seeded random problems.

use std::collections::HashMap;

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{Infeasible, Item, ProblemError, Solution, Solver, Status};

type Groups = Vec<Vec<Item>>;

fn solver<const N: usize, const K: usize>(groups: &Groups) -> Solver<N, K> {
    Solver::new(groups.iter().map(|group| group.iter().copied())).unwrap()
}

fn item(cost: u32, price: i32) -> Item {
    Item { cost, price }
}

/// The smallest price for every cost that a layout of at most `capacity` can have.
fn prices_by_cost(groups: &Groups, capacity: u64) -> HashMap<u64, i64> {
    let mut sums = HashMap::from([(0, 0)]);
    for group in groups.iter().filter(|group| !group.is_empty()) {
        let mut longer = HashMap::new();
        for (&cost, &price) in &sums {
            for item in group {
                let (cost, price) = (cost + u64::from(item.cost), price + i64::from(item.price));
                if cost <= capacity {
                    let best: &mut i64 = longer.entry(cost).or_insert(price);
                    *best = price.min(*best);
                }
            }
        }
        sums = longer;
    }
    sums
}

/// Checks what every solution satisfies, optimal or not.
fn check<const N: usize>(groups: &Groups, capacity: u64, solution: &Solution<N>) {
    assert_eq!(solution.choice.len(), groups.len());
    let (mut cost, mut price) = (0, 0);
    for (group, &index) in groups.iter().zip(&solution.choice) {
        let Some(chosen) = group.get(usize::from(index)) else {
            assert!(group.is_empty() && index == 0);
            continue;
        };
        cost += u64::from(chosen.cost);
        price += i64::from(chosen.price);
        for (other, item) in group.iter().enumerate() {
            let as_good = item.cost <= chosen.cost && item.price <= chosen.price;
            assert!(!as_good || item == chosen && other >= usize::from(index));
        }
    }
    assert_eq!((solution.cost, solution.price), (cost, price));
    assert!(cost <= capacity);
    assert!(solution.bound <= price);
    assert_eq!(solution.gap(), price.abs_diff(solution.bound));
    assert_eq!(solution.status == Status::Optimal, solution.bound == price);
}

/// Problems of many kinds: ties, negative prices, items of no cost, empty groups, extreme values,
/// prices that follow the costs.
fn random_groups(rng: &mut SmallRng, count: usize, items: usize) -> Groups {
    let largest_cost = [1, 3, 10, 100, 10_000, u32::MAX][rng.random_range(0..6)];
    let largest_price = [0, 2, 10, 1000, i32::MAX][rng.random_range(0..5)];
    let correlated = rng.random_bool(0.3);
    let extreme = rng.random_bool(0.1);
    let random_item = |rng: &mut SmallRng| {
        let cost = rng.random_range(0..=largest_cost);
        let price = rng.random_range(-largest_price..=largest_price);
        match (extreme, correlated) {
            (true, _) => item(
                [0, 1, u32::MAX - 1, u32::MAX][rng.random_range(0..4)],
                [i32::MIN, -1, 0, 1, i32::MAX][rng.random_range(0..5)],
            ),
            (false, true) => item(cost, -((cost >> 1) as i32) - (price & 1)),
            (false, false) => item(cost, price),
        }
    };
    let random_group = |rng: &mut SmallRng| -> Vec<Item> {
        let len = if rng.random_bool(0.1) {
            0
        } else {
            rng.random_range(1..=items)
        };
        (0..len).map(|_| random_item(rng)).collect()
    };
    let mut groups: Groups = (0..count).map(|_| random_group(rng)).collect();
    if rng.random_bool(0.2) && count > 0 {
        // Equal groups are the worst for a search that does not recognise permutations.
        let first = groups[0].clone();
        groups.fill(first);
    }
    groups
}

#[test]
fn equals_brute_force() {
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..6000 {
        let count = rng.random_range(0..=6);
        let groups = random_groups(&mut rng, count, 5);
        let sums = prices_by_cost(&groups, u64::MAX);
        let smallest = *sums.keys().min().unwrap();
        let largest = *sums.keys().max().unwrap();
        let (_, useful) = sums
            .iter()
            .map(|(&cost, &price)| (price, cost))
            .min()
            .unwrap();
        let mut solver = solver::<6, 5>(&groups);
        assert_eq!(
            (solver.smallest_cost(), solver.largest_useful_cost()),
            (smallest, useful)
        );
        for _ in 0..8 {
            let capacity = rng.random_range(smallest..=largest);
            let solution = solver.solve(capacity, u64::MAX).unwrap();
            check(&groups, capacity, &solution);
            let fitting = sums.iter().filter(|&(&cost, _)| cost <= capacity);
            assert_eq!(
                solution.price,
                *fitting.map(|(_, price)| price).min().unwrap()
            );
            assert_eq!(solution.status, Status::Optimal);
        }
        assert_eq!(solver.solve(u64::MAX, 0), solver.solve(useful, 0));
        if let Some(capacity) = smallest.checked_sub(1) {
            let infeasible = Infeasible {
                capacity,
                smallest_capacity: smallest,
            };
            assert_eq!(solver.solve(capacity, u64::MAX), Err(infeasible));
        }
    }
}

/// Medium problems, whose searches open many nodes; `noise` is how far prices stray from the costs.
fn medium_groups(rng: &mut SmallRng, noise: i32) -> Groups {
    let count = rng.random_range(10..=40);
    let random_group = |rng: &mut SmallRng| {
        let len = rng.random_range(1..=8);
        let mut random_item = || {
            let cost = rng.random_range(0..60);
            item(cost, rng.random_range(-noise..=noise) - 5 * cost as i32)
        };
        (0..len).map(|_| random_item()).collect()
    };
    (0..count).map(|_| random_group(rng)).collect()
}

#[test]
fn equals_dynamic_programming() {
    let mut rng = SmallRng::seed_from_u64(2);
    for round in 0..60 {
        let groups = medium_groups(&mut rng, [1, 10, 50, 1000][round % 4]);
        let mut solver = solver::<40, 8>(&groups);
        let (smallest, useful) = (solver.smallest_cost(), solver.largest_useful_cost());
        let sums = prices_by_cost(&groups, useful);
        for _ in 0..10 {
            let capacity = rng.random_range(smallest..=useful);
            let solution = solver.solve(capacity, u64::MAX).unwrap();
            check(&groups, capacity, &solution);
            let fitting = sums.iter().filter(|&(&cost, _)| cost <= capacity);
            assert_eq!(
                solution.price,
                *fitting.map(|(_, price)| price).min().unwrap()
            );
        }
    }
}

#[test]
fn a_node_limit_is_exact_and_more_nodes_never_harm() {
    let mut rng = SmallRng::seed_from_u64(3);
    for _ in 0..40 {
        let groups = medium_groups(&mut rng, 20);
        let mut solver = solver::<40, 8>(&groups);
        let capacity = solver
            .smallest_cost()
            .midpoint(solver.largest_useful_cost());
        let best = solver.solve(capacity, u64::MAX).unwrap();
        let (mut price, mut bound) = (i64::MAX, i64::MIN);
        for limit in (0..best.nodes + 2).filter(|limit| limit % 7 < 2 || limit + 3 > best.nodes) {
            let solution = solver.solve(capacity, limit).unwrap();
            check(&groups, capacity, &solution);
            assert_eq!(solution.nodes, limit.min(best.nodes));
            assert!(solution.bound <= best.price && best.price <= solution.price);
            assert!(solution.bound >= bound && solution.price <= price);
            (price, bound) = (solution.price, solution.bound);
            if limit >= best.nodes {
                assert_eq!(solution, best);
            }
        }
    }
}

#[test]
fn the_answer_depends_on_the_problem_alone() {
    let mut rng = SmallRng::seed_from_u64(4);
    for _ in 0..40 {
        let groups = medium_groups(&mut rng, 20);
        let mut used = solver::<40, 8>(&groups);
        let range = used.smallest_cost()..=used.largest_useful_cost();
        for _ in 0..5 {
            let capacity = rng.random_range(range.clone());
            let node_limit = rng.random_range(0..100);
            let solution = used.solve(capacity, node_limit).unwrap();
            assert_eq!(
                solver::<40, 8>(&groups).solve(capacity, node_limit),
                Ok(solution.clone())
            );
            let roomy = solver::<77, 13>(&groups)
                .solve(capacity, node_limit)
                .unwrap();
            assert_eq!(roomy.choice, solution.choice);
            assert_eq!((roomy.bound, roomy.nodes), (solution.bound, solution.nodes));
        }
    }
}

#[test]
fn values_at_the_ends_of_their_types_do_not_overflow() {
    let mut rng = SmallRng::seed_from_u64(5);
    for round in 0..12 {
        let random_item = |rng: &mut SmallRng| match round % 3 {
            0 => item(rng.random(), rng.random()),
            1 => item(
                rng.random::<u32>() | 0xffff_0000,
                rng.random::<i32>() >> rng.random_range(0..31),
            ),
            _ => item(
                rng.random::<u32>() >> rng.random_range(0..32),
                i32::MIN + rng.random_range(0..9),
            ),
        };
        let mut groups: Groups = (0..1000)
            .map(|_| (0..4).map(|_| random_item(&mut rng)).collect())
            .collect();
        groups[0] = vec![item(0, i32::MAX), item(u32::MAX, i32::MIN)];
        let mut solver = solver::<1000, 4>(&groups);
        let (smallest, useful) = (solver.smallest_cost(), solver.largest_useful_cost());
        for capacity in [
            smallest,
            smallest + 1,
            smallest.midpoint(useful),
            useful - 1,
            useful,
        ] {
            check(&groups, capacity, &solver.solve(capacity, 500).unwrap());
        }
        check(&groups, u64::MAX, &solver.solve(u64::MAX, 500).unwrap());
    }
}

#[test]
fn small_problems() {
    let nothing = solver::<4, 2>(&vec![]).solve(0, 0).unwrap();
    assert_eq!((nothing.cost, nothing.price, nothing.gap()), (0, 0, 0));
    assert_eq!(
        (nothing.choice.len(), nothing.nodes, nothing.status),
        (0, 0, Status::Optimal)
    );

    let empty = vec![vec![], vec![]];
    let empty = solver::<4, 2>(&empty).solve(0, 0).unwrap();
    assert_eq!(
        (empty.choice.as_slice(), empty.cost, empty.price),
        (&[0, 0][..], 0, 0)
    );

    let one_level = vec![vec![item(5, -3)], vec![item(7, 4)]];
    let mut one_level = solver::<4, 2>(&one_level);
    let solution = one_level.solve(12, 0).unwrap();
    assert_eq!(
        (solution.cost, solution.price, solution.status),
        (12, 1, Status::Optimal)
    );
    assert_eq!(
        one_level.solve(11, 0).unwrap_err().to_string(),
        "no layout within 11: the smallest one costs 12",
    );

    let one_layer = vec![vec![
        item(8, 1),
        item(2, 9),
        item(8, 1),
        item(9, 1),
        item(4, 5),
    ]];
    let mut one_layer = solver::<1, 5>(&one_layer);
    let choice = |solver: &mut Solver<1, 5>, capacity| solver.solve(capacity, 9).unwrap().choice[0];
    assert_eq!(
        [2, 3, 4, 7, 8, 9].map(|capacity| choice(&mut one_layer, capacity)),
        [1, 1, 4, 4, 0, 0]
    );
}

#[test]
fn problems_that_are_too_large_are_named() {
    let group = |items: usize| (0..items).map(|_| item(1, 1));
    let error = Solver::<2, 3>::new([3, 3, 0].map(group)).unwrap_err();
    assert_eq!(error, ProblemError::TooManyGroups { limit: 2 });
    assert_eq!(error.to_string(), "more than 2 groups");
    let error = Solver::<2, 3>::new([3, 4].map(group)).unwrap_err();
    assert_eq!(error, ProblemError::TooManyItems { group: 1, limit: 3 });
    assert_eq!(error.to_string(), "more than 3 items in group 1");
    let mut full = Solver::<1, 256>::new([group(256)]).unwrap();
    assert_eq!(full.solve(1, 0).unwrap().choice[0], 0);
}

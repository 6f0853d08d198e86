//! The solver against brute force and dynamic programming, on seeded random problems.

use std::collections::HashMap;

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{Infeasible, Item, ProblemError, Solution, Solver, Status};

type Groups = Vec<Vec<Item>>;

fn solver<const N: usize, const K: usize>(groups: &Groups) -> Solver<N, K> {
    Solver::new(groups.iter().map(|group| group.iter().copied())).unwrap()
}

fn item(cost: u32, price: i32) -> Item {
    Item {
        cost: [cost],
        price,
        class: 0,
    }
}

/// The smallest price for every cost that a layout of at most `capacity` can have.
fn prices_by_cost(groups: &Groups, capacity: u64) -> HashMap<u64, i64> {
    let mut sums = HashMap::from([(0, 0)]);
    for group in groups.iter().filter(|group| !group.is_empty()) {
        let mut longer = HashMap::new();
        for (&cost, &price) in &sums {
            for item in group {
                let (cost, price) = (
                    cost + u64::from(item.cost[0]),
                    price + i64::from(item.price),
                );
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
        cost += u64::from(chosen.cost[0]);
        price += i64::from(chosen.price);
        for (other, item) in group.iter().enumerate() {
            let as_good = item.cost[0] <= chosen.cost[0] && item.price <= chosen.price;
            assert!(!as_good || item == chosen && other >= usize::from(index));
        }
    }
    assert_eq!((solution.cost, solution.price), ([cost], price));
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
            (solver.smallest_cost()[0], solver.largest_useful_cost()[0]),
            (smallest, useful)
        );
        for _ in 0..8 {
            let capacity = rng.random_range(smallest..=largest);
            let solution = solver.solve([capacity], u64::MAX).unwrap();
            check(&groups, capacity, &solution);
            let fitting = sums.iter().filter(|&(&cost, _)| cost <= capacity);
            assert_eq!(
                solution.price,
                *fitting.map(|(_, price)| price).min().unwrap()
            );
            assert_eq!(solution.status, Status::Optimal);
        }
        assert_eq!(solver.solve([u64::MAX], 0), solver.solve([useful], 0));
        if let Some(capacity) = smallest.checked_sub(1) {
            let infeasible = Infeasible {
                limits: [capacity],
                smallest: [smallest],
                proven: true,
            };
            assert_eq!(solver.solve([capacity], u64::MAX), Err(infeasible));
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
        let (smallest, useful) = (solver.smallest_cost()[0], solver.largest_useful_cost()[0]);
        let sums = prices_by_cost(&groups, useful);
        for _ in 0..10 {
            let capacity = rng.random_range(smallest..=useful);
            let solution = solver.solve([capacity], u64::MAX).unwrap();
            check(&groups, capacity, &solution);
            let fitting = sums.iter().filter(|&(&cost, _)| cost <= capacity);
            assert_eq!(
                solution.price,
                *fitting.map(|(_, price)| price).min().unwrap()
            );
        }
    }
}

/// Every layout of small groups: its items.
fn layouts<const D: usize>(groups: &[Vec<Item<D>>]) -> Vec<Vec<Item<D>>> {
    let mut layouts = vec![vec![]];
    for group in groups {
        let longer = layouts.iter().flat_map(|layout: &Vec<Item<D>>| {
            group.iter().map(|item| {
                let mut layout = layout.clone();
                layout.push(*item);
                layout
            })
        });
        layouts = longer.collect();
    }
    layouts
}

fn costs<const D: usize>(layout: &[Item<D>]) -> [u64; D] {
    std::array::from_fn(|d| layout.iter().map(|item| u64::from(item.cost[d])).sum())
}

fn price<const D: usize>(layout: &[Item<D>]) -> i64 {
    layout.iter().map(|item| i64::from(item.price)).sum()
}

fn several_limits<const D: usize>(seed: u64, rounds: usize) {
    let mut rng = SmallRng::seed_from_u64(seed);
    for _ in 0..rounds {
        let largest_cost = [1, 10, 1000, u32::MAX][rng.random_range(0..4)];
        let largest_price = [2, 100, i32::MAX][rng.random_range(0..3)];
        let groups: Vec<Vec<Item<D>>> = (0..rng.random_range(1..=5))
            .map(|_| {
                let items = rng.random_range(1..=4);
                let random_item = |_| Item {
                    cost: std::array::from_fn(|_| rng.random_range(0..=largest_cost)),
                    price: rng.random_range(-largest_price..=largest_price),
                    class: 0,
                };
                (0..items).map(random_item).collect()
            })
            .collect();
        let all = layouts(&groups);
        let mut solver =
            Solver::<5, 4, D>::new(groups.iter().map(|group| group.iter().copied())).unwrap();
        for _ in 0..6 {
            // limits near the costs of some layouts
            let limits: [u64; D] =
                std::array::from_fn(|d| costs(&all[rng.random_range(0..all.len())])[d]);
            let fits = |layout: &&Vec<Item<D>>| (0..D).all(|d| costs(layout)[d] <= limits[d]);
            let best = all.iter().filter(fits).map(|layout| price(layout)).min();
            match solver.solve(limits, u64::MAX) {
                Ok(solution) => {
                    assert_eq!(Some(solution.price), best);
                    assert_eq!((solution.status, solution.gap()), (Status::Optimal, 0));
                    let chosen = groups.iter().zip(&solution.choice);
                    let chosen: Vec<_> = chosen.map(|(g, &i)| g[usize::from(i)]).collect();
                    assert_eq!(
                        (costs(&chosen), price(&chosen)),
                        (solution.cost, solution.price)
                    );
                    assert!(fits(&&chosen));
                }
                Err(infeasible) => {
                    assert!(best.is_none() && infeasible.proven);
                    let least = |d: usize| all.iter().map(|layout| costs(layout)[d]).min();
                    assert_eq!(infeasible.smallest.map(Some), std::array::from_fn(least));
                }
            }
        }
    }
}

#[test]
fn several_limits_equal_brute_force() {
    several_limits::<2>(6, 1500);
    several_limits::<3>(7, 150);
}

/// The most groups of a [`Chain`].
const CHAIN: usize = 7;

/// A surcharge like that of a chain of tensors: the most that two neighbours take, and beyond it what
/// a clumsy placement wastes.
struct Chain {
    sizes: Vec<[u32; 3]>,
    waste: u32,
}

impl Chain {
    fn size(&self, group: usize, class: u8) -> u32 {
        let sizes = self.sizes[group];
        match class {
            super::OPEN => *sizes.iter().min().unwrap(),
            class => sizes[usize::from(class)],
        }
    }

    fn neighbours(&self, class: impl Fn(usize) -> u8) -> u32 {
        let sizes: Vec<u32> = (0..self.sizes.len())
            .map(|g| self.size(g, class(g)))
            .collect();
        let pairs = sizes.windows(2).map(|pair| pair[0] + pair[1]);
        pairs.max().unwrap_or(0)
    }
}

impl super::Surcharge<CHAIN> for Chain {
    fn of_class(&self, group: usize, class: u8) -> u32 {
        self.neighbours(|g| if g == group { class } else { super::OPEN })
    }

    fn can_raise(&self, group: usize, class: u8) -> bool {
        self.size(group, class) > self.size(group, super::OPEN)
    }

    fn keeps_within(&self, most: u32, group: usize, classes: &[u8; CHAIN]) -> bool {
        let last = (group + 1).min(self.sizes.len() - 1);
        let mut around = group.saturating_sub(1)..=last;
        around.all(|g| classes[g] != super::OPEN) && self.at_least(classes) <= most
    }

    fn at_least(&self, classes: &[u8; CHAIN]) -> u32 {
        self.neighbours(|g| classes[g])
    }

    fn of(&self, classes: &[u8; CHAIN]) -> u32 {
        let sum: u32 = (0..self.sizes.len())
            .map(|g| self.size(g, classes[g]))
            .sum();
        self.at_least(classes) + (sum / 3) % self.waste
    }
}

#[test]
fn surcharges_equal_brute_force() {
    let mut rng = SmallRng::seed_from_u64(8);
    for round in 0..3000 {
        let largest = [4, 30, 1000][round % 3];
        let step = [1, 3, largest / 3][round / 3 % 3];
        let equal = round % 4 == 0;
        let (count, most) = match equal {
            true => (rng.random_range(3..=CHAIN), 3),
            false => (rng.random_range(1..=5), 4),
        };
        let mut groups: Vec<Vec<Item>> = (0..count)
            .map(|_| {
                let items = rng.random_range(1..=most);
                let offset = rng.random_range(0..step);
                let random_item = |_| Item {
                    cost: [rng.random_range(0..=largest) / step * step + offset],
                    price: rng.random_range(-20..=20),
                    class: rng.random_range(0..3),
                };
                (0..items).map(random_item).collect()
            })
            .collect();
        let random_sizes = |_| std::array::from_fn(|_| rng.random_range(0..=largest));
        let mut sizes: Vec<[u32; 3]> = (0..count).map(random_sizes).collect();
        if equal {
            groups = vec![groups[0].clone(); count];
            if rng.random() {
                sizes = vec![sizes[0]; count];
            }
            if rng.random() {
                for item in groups.iter_mut().flatten() {
                    item.price += rng.random_range(-1..=1);
                }
            }
        }
        let chain = Chain {
            sizes,
            waste: [1, largest / 4 + 1][round % 2],
        };
        let surcharge = |layout: &[Item]| {
            let mut classes = [super::OPEN; CHAIN];
            for (class, item) in classes.iter_mut().zip(layout) {
                *class = item.class;
            }
            super::Surcharge::of(&chain, &classes)
        };
        let all = layouts(&groups);
        let total = |layout: &[Item]| costs(layout)[0] + u64::from(surcharge(layout));
        let mut solver = solver::<CHAIN, 4>(&groups);
        for _ in 0..6 {
            let limit = total(&all[rng.random_range(0..all.len())]);
            let limit = limit.saturating_sub(u64::from(rng.random_bool(0.5)));
            let fits = |layout: &&Vec<Item>| total(layout) <= limit;
            let best = all.iter().filter(fits).map(|layout| price(layout)).min();
            solver.start([limit], &chain);
            let solution = solver.solve_for(u64::MAX, &chain);
            assert_eq!(solution.as_ref().ok().map(|solution| solution.price), best);
            let Ok(solution) = solution else { continue };
            assert_eq!(solution.bound, solution.price);
            let chosen = groups.iter().zip(&solution.choice);
            let chosen: Vec<_> = chosen.map(|(g, &i)| g[usize::from(i)]).collect();
            assert_eq!(solution.surcharge, surcharge(&chosen));
            assert!(total(&chosen) <= limit);
            // in slices: never a bound above the optimum, never a worse answer, and the same end
            solver.start([limit], &chain);
            let (mut bound, mut incumbent) = (i64::MIN, i64::MAX);
            for nodes in 0.. {
                let slice = solver.solve_for(u64::from(nodes > 0), &chain);
                let Ok(slice) = slice else { continue };
                assert!(slice.bound >= bound && slice.bound <= solution.price);
                assert!(slice.price <= incumbent && slice.price >= solution.price);
                (bound, incumbent) = (slice.bound, slice.price);
                if slice.status == Status::Optimal {
                    assert_eq!(slice.price, solution.price);
                    break;
                }
            }
        }
    }
}

#[test]
fn a_limit_between_the_sums_of_coarse_costs_is_no_harder_than_the_sum_below() {
    let mut rng = SmallRng::seed_from_u64(9);
    for step in [2, 3, 100] {
        // more cost means a lower price by as much: every layout that fills the limit is as good
        let mut random_group = |_| {
            let (start, cost) = (rng.random_range(0..9), rng.random_range(40..70));
            vec![item(start, 0), item(start + step * cost, -(cost as i32))]
        };
        let groups: Groups = (0..30).map(&mut random_group).collect();
        let mut solver = solver::<30, 2>(&groups);
        let (smallest, useful) = (solver.smallest_cost()[0], solver.largest_useful_cost()[0]);
        let sum = smallest + (useful - smallest) / 2 / u64::from(step) * u64::from(step);
        let best = solver.solve([sum], 5_000).unwrap();
        assert_eq!((best.cost[0], best.gap()), (sum, 0));
        for more in 1..step.into() {
            let solution = solver.solve([sum + more], 5_000).unwrap();
            assert_eq!((solution.price, solution.gap()), (best.price, 0));
        }
    }
}

#[test]
fn a_node_limit_is_exact_and_more_nodes_never_harm() {
    let mut rng = SmallRng::seed_from_u64(3);
    for _ in 0..40 {
        let groups = medium_groups(&mut rng, 20);
        let mut solver = solver::<40, 8>(&groups);
        let capacity = solver.smallest_cost()[0].midpoint(solver.largest_useful_cost()[0]);
        let best = solver.solve([capacity], u64::MAX).unwrap();
        let (mut price, mut bound) = (i64::MAX, i64::MIN);
        for limit in (0..best.nodes + 2).filter(|limit| limit % 7 < 2 || limit + 3 > best.nodes) {
            let solution = solver.solve([capacity], limit).unwrap();
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
        let range = used.smallest_cost()[0]..=used.largest_useful_cost()[0];
        for _ in 0..5 {
            let capacity = rng.random_range(range.clone());
            let node_limit = rng.random_range(0..100);
            let solution = used.solve([capacity], node_limit).unwrap();
            assert_eq!(
                solver::<40, 8>(&groups).solve([capacity], node_limit),
                Ok(solution.clone())
            );
            let roomy = solver::<77, 13>(&groups)
                .solve([capacity], node_limit)
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
        let (smallest, useful) = (solver.smallest_cost()[0], solver.largest_useful_cost()[0]);
        for capacity in [
            smallest,
            smallest + 1,
            smallest.midpoint(useful),
            useful - 1,
            useful,
        ] {
            check(&groups, capacity, &solver.solve([capacity], 500).unwrap());
        }
        check(&groups, u64::MAX, &solver.solve([u64::MAX], 500).unwrap());
    }
}

#[test]
fn small_problems() {
    let nothing = solver::<4, 2>(&vec![]).solve([0], 0).unwrap();
    assert_eq!((nothing.cost[0], nothing.price, nothing.gap()), (0, 0, 0));
    assert_eq!(
        (nothing.choice.len(), nothing.nodes, nothing.status),
        (0, 0, Status::Optimal)
    );

    let empty = vec![vec![], vec![]];
    let empty = solver::<4, 2>(&empty).solve([0], 0).unwrap();
    assert_eq!(
        (empty.choice.as_slice(), empty.cost[0], empty.price),
        (&[0, 0][..], 0, 0)
    );

    let one_level = vec![vec![item(5, -3)], vec![item(7, 4)]];
    let mut one_level = solver::<4, 2>(&one_level);
    let solution = one_level.solve([12], 0).unwrap();
    assert_eq!(
        (solution.cost[0], solution.price, solution.status),
        (12, 1, Status::Optimal)
    );
    assert_eq!(
        one_level.solve([11], 0).unwrap_err().to_string(),
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
    let choice =
        |solver: &mut Solver<1, 5>, capacity| solver.solve([capacity], 9).unwrap().choice[0];
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
    assert_eq!(full.solve([1], 0).unwrap().choice[0], 0);
}

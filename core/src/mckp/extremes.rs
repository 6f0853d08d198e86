//! The solver at the ends of its types against every layout there is, in 128 bits.
//!
//! Sums are compared in i128, so nothing here can wrap where the solver's 64 bits might; the test
//! profile checks the solver's own arithmetic.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Item, OPEN, Solver, Status, Surcharge};

const GROUPS: usize = 6;
const ITEMS: usize = 4;
const CLASSES: usize = 3;

/// A number of any magnitude, often next to a power of two or to the largest there is.
fn magnitude(rng: &mut SmallRng) -> u32 {
    match rng.random_range(0..6) {
        0 => u32::MAX - rng.random_range(0..4),
        1 => 0,
        2 => (1 << rng.random_range(0..32)) - rng.random_range(0..2),
        3 => rng.random_range(0..4),
        _ => rng.random::<u32>() >> rng.random_range(0..32),
    }
}

fn signed(rng: &mut SmallRng) -> i32 {
    match rng.random_range(0..4) {
        0 => [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX][rng.random_range(0..6)],
        1 => (magnitude(rng) >> 1).cast_signed(),
        2 => -(magnitude(rng) >> 1).cast_signed(),
        _ => rng.random(),
    }
}

/// A surcharge like that of an arena: the most that two neighbouring groups take together, and
/// something for all of them that no bound knows of.
struct Neighbours {
    sizes: Vec<[u32; CLASSES]>,
    waste: u32,
}

impl Neighbours {
    fn none(count: usize) -> Self {
        let sizes = vec![[0; CLASSES]; count];
        Self { sizes, waste: 1 }
    }

    fn random(rng: &mut SmallRng, count: usize) -> Self {
        let shift = rng.random_range(2..30);
        let sizes = |_| std::array::from_fn(|_| magnitude(rng) >> shift);
        let mut sizes: Vec<_> = (0..count).map(sizes).collect();
        if rng.random_bool(0.3) {
            let first = sizes[0];
            sizes.fill(first);
        }
        let waste = 1 + (magnitude(rng) >> (shift + rng.random_range(0..2)));
        Self { sizes, waste }
    }

    fn most(&self, class: impl Fn(usize) -> u8) -> u32 {
        let size = |group: usize| match self.sizes[group].get(usize::from(class(group))) {
            Some(size) => *size,
            None => *self.sizes[group].iter().min().unwrap(),
        };
        let last = self.sizes.len() - 1;
        (0..=last)
            .map(|g| size(g) + if g < last { size(g + 1) } else { 0 })
            .max()
            .unwrap()
    }

    fn of_layout<const D: usize>(&self, layout: &[Item<D>]) -> u32 {
        let mut classes = [OPEN; GROUPS];
        for (class, item) in classes.iter_mut().zip(layout) {
            *class = item.class;
        }
        self.of(&classes)
    }
}

impl Surcharge<GROUPS> for Neighbours {
    fn tells_classes_apart(&self) -> bool {
        self.sizes.iter().flatten().any(|size| *size > 0)
    }

    fn of_class(&self, group: usize, class: u8) -> u32 {
        self.most(|g| if g == group { class } else { OPEN })
    }

    fn can_raise(&self, group: usize, class: u8) -> bool {
        let sizes = &self.sizes[group];
        sizes[usize::from(class)] > *sizes.iter().min().unwrap()
    }

    fn keeps_within(&self, most: u32, group: usize, classes: &[u8; GROUPS]) -> bool {
        let last = (group + 1).min(self.sizes.len() - 1);
        let mut around = group.saturating_sub(1)..=last;
        around.all(|g| classes[g] != OPEN) && self.at_least(classes) <= most
    }

    fn at_least(&self, classes: &[u8; GROUPS]) -> u32 {
        self.most(|g| classes[g])
    }

    fn of(&self, classes: &[u8; GROUPS]) -> u32 {
        let all: u64 = (0..self.sizes.len())
            .map(|g| u64::from(self.sizes[g][usize::from(classes[g])]))
            .sum();
        self.at_least(classes) + (all / 3 % u64::from(self.waste)) as u32
    }
}

/// Groups of one random kind: any magnitude, one magnitude, costs and prices that go together, ties.
fn groups<const D: usize>(rng: &mut SmallRng) -> Vec<Vec<Item<D>>> {
    let kind = rng.random_range(0..5);
    let shift = rng.random_range(0..32);
    let item = |rng: &mut SmallRng| {
        let mut item = Item {
            cost: std::array::from_fn(|_| magnitude(rng)),
            price: signed(rng),
            class: rng.random_range(0..CLASSES as u8),
        };
        match kind {
            0 => item.cost = item.cost.map(|_| u32::MAX - (rng.random::<u32>() >> 28)),
            1 => {
                item.price = i32::MIN
                    .saturating_add_unsigned(item.cost[0])
                    .saturating_neg();
            }
            2 => item.cost = item.cost.map(|_| (rng.random_range(0..3) << 30) >> shift),
            _ => (),
        }
        item
    };
    let mut groups: Vec<Vec<Item<D>>> = (0..rng.random_range(1..=GROUPS))
        .map(|_| {
            (0..rng.random_range(1..=ITEMS))
                .map(|_| item(rng))
                .collect()
        })
        .collect();
    if rng.random_bool(0.2) {
        let first = groups[0].clone();
        groups.fill(first);
    }
    if rng.random_bool(0.3) {
        // the costs of a group differ by multiples of a number
        let step = magnitude(rng).max(1);
        for item in groups.iter_mut().flatten() {
            item.cost = item.cost.map(|cost| cost / step * step);
        }
        for group in &mut groups {
            let more = rng.random_range(0..step);
            for item in group {
                item.cost = item.cost.map(|cost| cost.saturating_add(more));
            }
        }
    }
    groups
}

fn layouts<const D: usize>(groups: &[Vec<Item<D>>]) -> Vec<Vec<Item<D>>> {
    groups.iter().fold(vec![vec![]], |layouts, group| {
        let longer = |layout: Vec<Item<D>>| {
            group
                .iter()
                .map(move |item| [&layout[..], &[*item]].concat())
        };
        layouts.into_iter().flat_map(longer).collect()
    })
}

fn total<const D: usize>(layout: &[Item<D>], d: usize, surcharge: &Neighbours) -> i128 {
    let cost: i128 = layout.iter().map(|item| i128::from(item.cost[d])).sum();
    cost + if d == 0 {
        i128::from(surcharge.of_layout(layout))
    } else {
        0
    }
}

fn price<const D: usize>(layout: &[Item<D>]) -> i128 {
    layout.iter().map(|item| i128::from(item.price)).sum()
}

fn extremes_equal_brute_force<const D: usize>(seed: u64, rounds: usize) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut solver = Box::new(Solver::<GROUPS, ITEMS, D>::empty());
    for round in 0..rounds {
        let groups = groups::<D>(&mut rng);
        let surcharge = match round % 2 {
            0 => Neighbours::none(groups.len()),
            _ => Neighbours::random(&mut rng, groups.len()),
        };
        let all = layouts(&groups);
        let rows = groups.iter().map(|group| group.iter().copied());
        solver.set_groups(rows).unwrap();
        for _ in 0..8 {
            // budgets around what layouts take, and without end
            let limits: [u64; D] = std::array::from_fn(|d| {
                let taken = total(&all[rng.random_range(0..all.len())], d, &surcharge);
                match rng.random_range(0..6) {
                    0 => u64::MAX - rng.random_range(0..3),
                    1 => taken.saturating_sub(1).max(0) as u64,
                    2 => taken as u64 + (1 << rng.random_range(0..63)),
                    _ => taken as u64,
                }
            });
            let fits = |layout: &&Vec<Item<D>>| {
                (0..D).all(|d| total(layout, d, &surcharge) <= i128::from(limits[d]))
            };
            let best = all.iter().filter(fits).map(|layout| price(layout)).min();
            solver.start(limits, &surcharge);
            match solver.solve_for(u64::MAX, &surcharge) {
                Ok(solution) => {
                    assert_eq!(
                        Some(i128::from(solution.price)),
                        best,
                        "{groups:?} {limits:?}"
                    );
                    assert_eq!(
                        (solution.status, solution.bound),
                        (Status::Optimal, solution.price)
                    );
                    let chosen = groups.iter().zip(&solution.choice);
                    let chosen: Vec<_> = chosen.map(|(g, &i)| g[usize::from(i)]).collect();
                    assert!(fits(&&chosen) && price(&chosen) == i128::from(solution.price));
                }
                Err(infeasible) => {
                    assert!(best.is_none() && infeasible.proven, "{groups:?} {limits:?}");
                }
            }
        }
    }
}

#[test]
fn one_limit() {
    extremes_equal_brute_force::<1>(11, 3000);
}

#[test]
fn several_limits() {
    extremes_equal_brute_force::<2>(12, 500);
    extremes_equal_brute_force::<3>(13, 250);
}

/// Undominated pairs of cost and price, group by group (Nemhauser and Ullmann 1969).
fn pairs(groups: &[Vec<Item>]) -> Vec<(i128, i128)> {
    groups.iter().fold(vec![(0, 0)], |partial, group| {
        let longer = |&(cost, price): &(i128, i128)| {
            let item = move |item: &Item| {
                (
                    cost + i128::from(item.cost[0]),
                    price + i128::from(item.price),
                )
            };
            group.iter().map(item).collect::<Vec<_>>()
        };
        let mut longer: Vec<_> = partial.iter().flat_map(longer).collect();
        longer.sort_unstable();
        let mut least = i128::MAX;
        longer.retain(|&(_, price)| {
            let better = price < least;
            least = least.min(price);
            better
        });
        longer
    })
}

#[test]
fn many_groups_of_extreme_values_equal_dynamic_programming() {
    let mut rng = SmallRng::seed_from_u64(14);
    let mut solver = Box::new(Solver::<14, 8>::empty());
    for round in 0..150 {
        let item = |rng: &mut SmallRng| Item {
            cost: [match round % 3 {
                0 => magnitude(rng),
                1 => u32::MAX - (rng.random::<u32>() >> 8),
                _ => rng.random_range(0..9) << 28,
            }],
            price: signed(rng),
            class: 0,
        };
        let groups: Vec<Vec<Item>> = (0..14)
            .map(|_| {
                (0..rng.random_range(1..=3))
                    .map(|_| item(&mut rng))
                    .collect()
            })
            .collect();
        let pairs = pairs(&groups);
        let rows = groups.iter().map(|group| group.iter().copied());
        solver.set_groups(rows).unwrap();
        for _ in 0..6 {
            let at = rng.random_range(0..pairs.len());
            let solution = solver.solve([pairs[at].0 as u64], u64::MAX).unwrap();
            assert_eq!(i128::from(solution.price), pairs[at].1);
            assert_eq!(solution.gap(), 0);
        }
    }
}

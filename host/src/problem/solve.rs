//! Solves a layout problem: its prices and costs as integers, and the answers back.

use std::collections::BTreeMap;

use bitbudget_core::mckp::{Item, Solver, Status};

use super::error::{Infeasible, Shortage, SolveError};
use super::{Group, MAX_COST, MAX_ITEMS, MAX_LAYERS, PRICE, Problem};
use crate::search::{Effort, Slice};

/// The most limits at a time.
const MAX_LIMITS: usize = 4;
/// Values of a layer differ by less than this many units.
const UNITS: f64 = (1_u64 << 31) as f64;
/// The most nodes of a search that explains why there is no layout, or what comes next.
const EXPLAIN_NODES: u64 = 1_000_000;
/// The stack of a thread that solves.
const STACK_BYTES: usize = 32 << 20;

/// A layout and how good it is known to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The level of every layer, in the layers' order.
    pub levels: Vec<String>,
    /// The sum of the prices.
    pub price: f64,
    /// The sums of the costs.
    pub costs: BTreeMap<String, u64>,
    /// The cost that was minimised, or `price`.
    pub minimized: String,
    /// A proven lower bound of the minimum.
    pub bound: f64,
    /// Nodes that the search visited.
    pub nodes: u64,
    /// Whether no layout is better: the sum is its own bound.
    pub optimal: bool,
}

/// An optimal layout next to another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// The limit that is moved.
    pub limit: String,
    /// The layout of least cost that is better; `None` where more of it does not help.
    pub better: Option<Answer>,
    /// The best layout that takes less of it; `None` where there is none.
    pub smaller: Option<Answer>,
}

/// The price or a cost, by group and item.
#[derive(Clone, Debug)]
struct Measure {
    name: String,
    values: Vec<Vec<f64>>,
    /// The least of every group.
    least: Vec<f64>,
    /// The unit of its integers: the greatest common divisor of whole differences that fit, else a power of two.
    unit: f64,
    /// Whether every difference is a whole number of units.
    exact: bool,
    /// Whether sums are not rounded: those of whole numbers up to 2^53.
    sums_exactly: bool,
}

impl Measure {
    fn new(problem: &Problem, groups: &[Group], name: &str) -> Self {
        let value = |group: &Group, level: &String| {
            let items = group
                .layers
                .iter()
                .flat_map(|layer| &problem.layers[*layer].items);
            let items = items.filter(|item| item.level == *level);
            let value = |item: &super::Item| match item.costs.get(name) {
                // exact: below 2^53
                Some(cost) => *cost as f64,
                None => item.price,
            };
            items.map(value).sum::<f64>()
        };
        let row = |group: &Group| {
            group
                .levels
                .iter()
                .map(|level| value(group, level))
                .collect()
        };
        let values: Vec<Vec<f64>> = groups.iter().map(row).collect();
        let least = |row: &Vec<f64>| row.iter().copied().fold(f64::INFINITY, f64::min);
        let least: Vec<f64> = values.iter().map(least).collect();
        let spreads = values.iter().zip(&least);
        let spreads = spreads.flat_map(|(row, least)| row.iter().map(move |value| value - least));
        let widest = spreads.clone().fold(0.0, f64::max);
        let whole = values.iter().flatten().all(|value| value.fract() == 0.0);
        let magnitudes = values.iter().flatten().map(|value| value.abs());
        let divides = whole && magnitudes.sum::<f64>() < MAX_COST as f64;
        let largest = |row: &Vec<f64>| {
            row.iter()
                .fold(0.0, |most: f64, value| most.max(value.abs()))
        };
        let sums_exactly = whole && values.iter().map(largest).sum::<f64>() <= MAX_COST as f64;
        let divisor = spreads.map(|spread| spread as u64).fold(0, gcd).max(1) as f64;
        let exact = divides && widest / divisor < UNITS;
        let mut unit = if exact { divisor } else { 1.0 };
        while widest / unit >= UNITS {
            unit *= 2.0;
        }
        while !exact && widest > 0.0 && widest / unit < UNITS / 2.0 && unit > f64::MIN_POSITIVE {
            unit /= 2.0;
        }
        Self {
            name: name.to_owned(),
            values,
            least,
            unit,
            exact,
            sums_exactly,
        }
    }

    /// An item above the least of its group, in units.
    fn units(&self, group: usize, item: usize) -> u32 {
        ((self.values[group][item] - self.least[group]) / self.unit).round() as u32
    }

    fn least_sum(&self) -> f64 {
        self.least.iter().sum()
    }

    /// The sum over the chosen items.
    fn sum(&self, choice: &[usize]) -> f64 {
        let chosen = self.values.iter().zip(choice);
        chosen.map(|(row, item)| row[*item]).sum()
    }

    /// The limit in units that no layout within `limit` exceeds, rounding included; `None` where that
    /// is negative.
    fn limit_units(&self, limit: f64) -> Option<u64> {
        let slack = match self.exact {
            true => 0.0,
            false => self.values.len() as f64,
        };
        let units = ((limit - self.least_sum()) / self.unit).floor() + slack;
        (units >= 0.0).then_some(units as u64)
    }

    /// The most that rounding adds up to in a comparison of two sums.
    fn tolerance(&self) -> f64 {
        if self.sums_exactly {
            return 0.0;
        }
        let magnitudes = self.values.iter().flatten().map(|value| value.abs());
        magnitudes.sum::<f64>() * f64::EPSILON
    }
}

/// The greatest common divisor; that of 0 and a number is the number.
fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A limit on a measure; a strict one must not be reached.
#[derive(Clone, Copy)]
struct Limit<'a> {
    measure: &'a Measure,
    most: f64,
    strict: bool,
}

impl Limit<'_> {
    fn allows(&self, choice: &[usize]) -> bool {
        let sum = self.measure.sum(choice);
        if self.strict {
            sum < self.most - self.measure.tolerance()
        } else {
            sum <= self.most + self.measure.tolerance()
        }
    }

    /// The most units that a layout within the limit has.
    fn units(&self) -> Option<u64> {
        let units = self.measure.limit_units(self.most)?;
        // the limit of an exact measure that is strict is the sum of a layout
        units.checked_sub(u64::from(self.strict && self.measure.exact))
    }
}

/// The result of a search: one item per group.
struct Found {
    choice: Vec<usize>,
    bound: f64,
    nodes: u64,
    optimal: bool,
}

/// Why a search found nothing: whether that is certain.
struct Nothing {
    interrupted: bool,
}

impl Problem {
    /// The layout in which the sum of what is called `minimize` is least, within the limits, as far as
    /// the effort goes.
    ///
    /// Values are counted in a power of two at most 2^-30 of the largest difference within a layer, and
    /// whole numbers exactly, if their differences divided by their greatest common divisor are below
    /// 2^31; limits hold for the values as given.
    ///
    /// # Errors
    /// [`SolveError`].
    ///
    /// # Panics
    /// When `minimize` or a limit is none of the problem's measures.
    pub fn solve(&self, minimize: &str, effort: &Effort<'_>) -> Result<Answer, SolveError> {
        let measures = Measures::new(self);
        let given = self.limits.len();
        if given > MAX_LIMITS {
            let most = MAX_LIMITS;
            return Err(SolveError::TooManyLimits { given, most });
        }
        let objective = measures.get(minimize);
        let limits = measures.limits();
        match search(objective, &limits, effort) {
            Ok(found) => Ok(measures.answer(objective, &found)),
            Err(nothing) => Err(SolveError::Infeasible(Infeasible {
                shortages: measures.shortages(effort),
                interrupted: nothing.interrupted,
            })),
        }
    }

    /// For every limit: what more of it would buy, and what less of it would cost. `answer` is the
    /// optimal one.
    ///
    /// # Panics
    /// As [`Self::solve`].
    #[must_use]
    pub fn neighbours(&self, answer: &Answer, effort: &Effort<'_>) -> Vec<Neighbour> {
        let effort = &explaining(effort);
        let measures = Measures::new(self);
        let objective = measures.get(&answer.minimized);
        let choice = measures.choice(answer);
        let limits = measures.limits();
        let neighbour = |at: usize| {
            let moved = limits[at].measure;
            let mut others = limits.clone();
            others[at] = Limit {
                measure: objective,
                most: objective.sum(&choice),
                strict: true,
            };
            let better = search(moved, &others, effort).ok();
            let mut less = limits.clone();
            less[at] = Limit {
                measure: moved,
                most: moved.sum(&choice),
                strict: true,
            };
            let smaller = search(objective, &less, effort).ok();
            Neighbour {
                limit: moved.name.clone(),
                better: better.map(|found| measures.answer(objective, &found)),
                smaller: smaller.map(|found| measures.answer(objective, &found)),
            }
        };
        (0..limits.len()).map(neighbour).collect()
    }
}

/// A problem with its groups and measures: the price first, then the costs.
struct Measures<'a> {
    problem: &'a Problem,
    groups: Vec<Group>,
    all: Vec<Measure>,
}

impl<'a> Measures<'a> {
    fn new(problem: &'a Problem) -> Self {
        let groups = problem.groups();
        let names = [&[PRICE], &problem.costs()[..]].concat();
        let all = names
            .iter()
            .map(|name| Measure::new(problem, &groups, name));
        Self {
            problem,
            all: all.collect(),
            groups,
        }
    }

    fn get(&self, name: &str) -> &Measure {
        let measure = self.all.iter().find(|measure| measure.name == name);
        measure.expect("a measure that was checked")
    }

    fn limits(&self) -> Vec<Limit<'_>> {
        let limits = self.problem.limits.iter();
        let limits = limits.map(|(name, most)| Limit {
            measure: self.get(name),
            most: *most,
            strict: false,
        });
        limits.collect()
    }

    /// The answer that was found by minimising something; `objective` is what counts.
    fn answer(&self, objective: &Measure, found: &Found) -> Answer {
        let level = |layer: usize| {
            let mut groups = self.groups.iter().zip(&found.choice);
            let group = groups.find(|(group, _)| group.layers.contains(&layer));
            group.map_or_else(String::new, |(group, item)| group.levels[*item].clone())
        };
        let levels: Vec<String> = (0..self.problem.layers.len()).map(level).collect();
        // in the layers' order, so that it is what anybody else adds up
        let chosen = || {
            let layers = self.problem.layers.iter().zip(&levels);
            layers.filter_map(|(layer, level)| layer.items.iter().find(|item| item.level == *level))
        };
        let cost = |name: &&str| {
            let cost = chosen().map(|item| item.costs[*name]).sum();
            ((*name).to_owned(), cost)
        };
        let price = chosen().map(|item| item.price).sum();
        Answer {
            costs: self.problem.costs().iter().map(cost).collect(),
            minimized: objective.name.clone(),
            bound: if found.optimal && objective.name == PRICE {
                price
            } else {
                found.bound
            },
            price,
            levels,
            nodes: found.nodes,
            optimal: found.optimal,
        }
    }

    /// The items of an answer.
    fn choice(&self, answer: &Answer) -> Vec<usize> {
        let groups = self.groups.iter();
        let choice = groups.map(|group| {
            let level = &answer.levels[group.layers[0]];
            let item = group.levels.iter().position(|own| own == level);
            item.unwrap_or_default()
        });
        choice.collect()
    }

    fn shortages(&self, effort: &Effort<'_>) -> Vec<Shortage> {
        let effort = &explaining(effort);
        let limits = self.limits();
        let shortage = |at: usize| {
            let Limit { measure, most, .. } = limits[at];
            let mut others = limits.clone();
            others.remove(at);
            let found = search(measure, &others, effort).ok();
            let choice = match &found {
                Some(found) => found.choice.clone(),
                None => search(measure, &[], effort)
                    .map(|found| found.choice)
                    .unwrap_or_default(),
            };
            let parts = self.groups.iter().zip(&choice).enumerate();
            let parts = parts.map(|(i, (group, item))| {
                let names = group.layers.iter();
                let names = names.map(|layer| self.problem.layers[*layer].name.as_str());
                let names = names.collect::<Vec<_>>().join("+");
                (names, group.levels[*item].clone(), measure.values[i][*item])
            });
            let mut largest: Vec<_> = parts.filter(|part| part.2 > 0.0).collect();
            largest.sort_by(|a, b| b.2.total_cmp(&a.2));
            largest.truncate(3);
            Shortage {
                name: measure.name.clone(),
                limit: most,
                least: measure.least_sum(),
                least_with_others: found.map(|found| measure.sum(&found.choice)),
                largest,
            }
        };
        (0..limits.len()).map(shortage).collect()
    }
}

/// The effort for an explanation.
fn explaining<'a>(effort: &Effort<'a>) -> Effort<'a> {
    let node_limit = effort.node_limit.min(EXPLAIN_NODES);
    Effort {
        node_limit,
        ..*effort
    }
}

/// Minimises one measure within limits on others.
fn search(
    objective: &Measure,
    limits: &[Limit<'_>],
    effort: &Effort<'_>,
) -> Result<Found, Nothing> {
    match limits.len() {
        0 | 1 => on_a_thread::<1>(objective, limits, effort),
        2 => on_a_thread::<2>(objective, limits, effort),
        3 => on_a_thread::<3>(objective, limits, effort),
        _ => on_a_thread::<4>(objective, limits, effort),
    }
}

/// The solver is larger than what threads have as their stack.
fn on_a_thread<const D: usize>(
    objective: &Measure,
    limits: &[Limit<'_>],
    effort: &Effort<'_>,
) -> Result<Found, Nothing> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let run = || {
            if objective.values.len() <= 64 {
                within::<64, D>(objective, limits, effort)
            } else {
                within::<MAX_LAYERS, D>(objective, limits, effort)
            }
        };
        let thread = thread.spawn_scoped(scope, run).expect("a thread");
        thread.join().expect("the solver does not panic")
    })
}

fn within<const N: usize, const D: usize>(
    objective: &Measure,
    limits: &[Limit<'_>],
    effort: &Effort<'_>,
) -> Result<Found, Nothing> {
    let mut most = [u64::MAX; D];
    for (most, limit) in most.iter_mut().zip(limits) {
        *most = limit.units().ok_or(Nothing { interrupted: false })?;
    }
    let item = |group: usize, item: usize| Item {
        cost: core::array::from_fn(|d| {
            let limit = limits.get(d);
            limit.map_or(0, |limit| limit.measure.units(group, item))
        }),
        // below 2^31
        price: objective.units(group, item).cast_signed(),
        class: 0,
    };
    let groups = objective.values.iter().enumerate();
    let groups = groups.map(|(group, row)| (0..row.len()).map(move |at| item(group, at)));
    let mut solver = Box::new(Solver::<N, MAX_ITEMS, D>::empty());
    let fits = solver.set_groups(groups);
    fits.expect("the problem was checked");
    let mut spent = 0;
    // the first search's bound, once layouts are left out that may be within the limits
    let mut relaxed = None;
    loop {
        solver.start(most, &());
        let (solution, has_effort) = effort.spend(&mut spent, |nodes| {
            let solution = solver.solve_for(nodes, &());
            let found = solution.as_ref().ok();
            Slice {
                nodes: found.map(|solution| solution.nodes),
                gap: found.map(|solution| solution.gap() as f64 * objective.unit),
                is_done: solver.is_done(),
                found: solution,
            }
        });
        let solution = solution.map_err(|error| Nothing {
            interrupted: !error.proven,
        })?;
        let slack = match objective.exact {
            true => 0.0,
            false => solution.choice.len() as f64 / 2.0,
        };
        let bound = objective.least_sum() + (solution.bound as f64 - slack) * objective.unit;
        let choice: Vec<usize> = solution
            .choice
            .iter()
            .map(|item| usize::from(*item))
            .collect();
        // a sum in units may hide that a limit is exceeded by less than rounding
        let exceeded = limits.iter().position(|limit| !limit.allows(&choice));
        let Some(d) = exceeded else {
            let sum = objective.sum(&choice);
            let is_least = relaxed.is_none_or(|bound| sum <= bound);
            let optimal = solution.status == Status::Optimal && is_least;
            let bound = relaxed.unwrap_or(bound);
            return Ok(Found {
                bound: if optimal { sum } else { bound.min(sum) },
                nodes: spent,
                optimal,
                choice,
            });
        };
        if !has_effort {
            return Err(Nothing { interrupted: true });
        }
        relaxed.get_or_insert(bound);
        let less = solution.cost[d].checked_sub(1);
        most[d] = less.ok_or(Nothing { interrupted: false })?;
    }
}

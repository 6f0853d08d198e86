//! Solves a layout problem: its prices and costs as integers, and the answers back.

use std::collections::BTreeMap;

use bitbudget_core::mckp::{Item, Solver, Status};

use super::error::{Doubt, Infeasible, Shortage, SolveError};
use super::measure::{self, Kept, Limit, Measure, Scale};
use super::{Group, MAX_ITEMS, MAX_LAYERS, PRICE, Problem};
use crate::search::{Effort, Slice};

/// The most limits at a time.
const MAX_LIMITS: usize = 4;
/// A search is worth another one in finer units if those are so many times finer.
const FINER: f64 = 8.0;
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
    /// A proven lower bound of the minimum; the sum itself where that is proven to the last digit.
    pub bound: f64,
    /// Nodes that the search visited.
    pub nodes: u64,
    /// Whether the search ended: no layout is better by more than the sum is above the bound, which is nothing, or
    /// what rounding to units hides.
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

/// The result of a search: one item per group.
struct Found {
    choice: Vec<usize>,
    sum: f64,
    bound: f64,
    nodes: u64,
    optimal: bool,
}

/// A search found nothing.
struct Nothing {
    /// Why it is not certain that there is nothing.
    doubt: Option<Doubt>,
}

impl Problem {
    /// The layout in which the sum of what is called `minimize` is least, within the limits, as far as
    /// the effort goes.
    ///
    /// Values are counted in a power of two at most 2^-30 of the largest difference within a layer, and
    /// whole numbers exactly, if their differences divided by their greatest common divisor are below
    /// 2^31; items that no layout within the limits can have, or no better one, do not count. Limits hold for the
    /// values as given.
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
                doubt: nothing.doubt,
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
            bound: match objective.name == PRICE {
                // as it was added up
                true if found.bound >= found.sum => price,
                true => found.bound.min(price),
                false => found.bound,
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
                least_with_others: found.map(|found| found.bound),
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
///
/// Where values are not counted exactly, the search is repeated without the items that no better layout can have, as
/// long as the others are counted in much finer units.
fn search(
    objective: &Measure,
    limits: &[Limit<'_>],
    effort: &Effort<'_>,
) -> Result<Found, Nothing> {
    let nothing = Nothing { doubt: None };
    let mut kept = measure::within(&objective.values, limits).ok_or(nothing)?;
    let mut scale = Scale::new(objective, &kept);
    let mut found = on_a_thread(objective, &kept, limits, effort)?;
    while found.optimal && !scale.is_exact {
        let room = found.sum + scale.tolerance - scale.least_sum();
        let is_narrower = objective.narrow(&scale, room, &mut kept);
        let finer = Scale::new(objective, &kept);
        if !is_narrower || finer.widest * FINER > scale.widest {
            break;
        }
        let left = Effort {
            node_limit: effort.node_limit.saturating_sub(found.nodes),
            ..*effort
        };
        let Ok(mut next) = on_a_thread(objective, &kept, limits, &left) else {
            break;
        };
        next.nodes += found.nodes;
        if !next.optimal || next.sum > found.sum {
            found.nodes = next.nodes;
            break;
        }
        (found, scale) = (next, finer);
    }
    Ok(found)
}

/// The solver is larger than what threads have as their stack.
fn on_a_thread(
    objective: &Measure,
    kept: &Kept,
    limits: &[Limit<'_>],
    effort: &Effort<'_>,
) -> Result<Found, Nothing> {
    let of_size = match limits.len() {
        0 | 1 => of_size::<1>,
        2 => of_size::<2>,
        3 => of_size::<3>,
        _ => of_size::<4>,
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let run = || of_size(objective, kept, limits, effort);
        let thread = thread.spawn_scoped(scope, run).expect("a thread");
        thread.join().expect("the solver does not panic")
    })
}

fn of_size<const D: usize>(
    objective: &Measure,
    kept: &Kept,
    limits: &[Limit<'_>],
    effort: &Effort<'_>,
) -> Result<Found, Nothing> {
    if objective.values.len() <= 64 {
        within::<64, D>(objective, kept, limits, effort)
    } else {
        within::<MAX_LAYERS, D>(objective, kept, limits, effort)
    }
}

fn within<const N: usize, const D: usize>(
    objective: &Measure,
    kept: &Kept,
    limits: &[Limit<'_>],
    effort: &Effort<'_>,
) -> Result<Found, Nothing> {
    let scale = Scale::new(objective, kept);
    let scales: Vec<Scale> = limits
        .iter()
        .map(|limit| Scale::new(limit.measure, kept))
        .collect();
    let mut most = [u64::MAX; D];
    for ((most, limit), scale) in most.iter_mut().zip(limits).zip(&scales) {
        *most = limit.units(scale).ok_or(Nothing { doubt: None })?;
    }
    let item = |group: usize, item: usize| Item {
        cost: core::array::from_fn(|d| {
            let limit = limits.get(d).zip(scales.get(d));
            limit.map_or(0, |(limit, scale)| {
                scale.units(group, limit.measure.values[group][item])
            })
        }),
        // below 2^31
        price: scale
            .units(group, objective.values[group][item])
            .cast_signed(),
        class: 0,
    };
    let groups = kept.iter().enumerate();
    let groups = groups.map(|(group, kept)| kept.iter().map(move |at| item(group, *at)));
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
                gap: found.map(|solution| solution.gap() as f64 * scale.unit),
                is_done: solver.is_done(),
                found: solution,
            }
        });
        let coarse = relaxed.map(|_| Doubt::Coarse);
        let solution = solution.map_err(|error| Nothing {
            doubt: match error.proven {
                true => coarse,
                false => Some(Doubt::Interrupted),
            },
        })?;
        let bound = scale.least_sum() + (solution.bound as f64 - scale.slack()) * scale.unit;
        let chosen = solution.choice.iter().zip(kept);
        let choice: Vec<usize> = chosen
            .map(|(item, kept)| kept[usize::from(*item)])
            .collect();
        // a sum in units may hide that a limit is exceeded by less than rounding
        let mut checked = limits.iter().zip(&scales);
        let exceeded = checked.position(|(limit, scale)| !limit.allows(scale, &choice));
        let Some(d) = exceeded else {
            let sum = objective.sum(&choice);
            let is_least = relaxed.is_none_or(|bound| sum <= bound);
            let optimal = solution.status == Status::Optimal && is_least;
            let bound = relaxed.unwrap_or(bound);
            return Ok(Found {
                bound: match optimal && (scale.is_exact || relaxed.is_some()) {
                    true => sum,
                    false => bound.min(sum),
                },
                sum,
                nodes: spent,
                optimal,
                choice,
            });
        };
        if !has_effort {
            let doubt = Some(Doubt::Interrupted);
            return Err(Nothing { doubt });
        }
        relaxed.get_or_insert(bound);
        let less = solution.cost[d].checked_sub(1);
        let doubt = Some(Doubt::Coarse);
        most[d] = less.ok_or(Nothing { doubt })?;
    }
}

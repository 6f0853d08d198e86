//! HiGHS (Huangfu and Hall 2018), a solver of mixed-integer linear programs, on the same problems.

use std::time::{Duration, Instant};

use crate::RUNS;
use bitbudget_core::mckp::Item;
use highs::{HighsModelStatus, RowProblem, Sense};

/// One problem: how long HiGHS takes on one thread to close the gap, and the price that it finds. The
/// status is `None` where it does not prove an optimum.
///
/// Prices and costs are shifted so that the smallest of a group is 0, and scaled to at most a thousand:
/// its tolerances are absolute.
pub(crate) fn solve<const D: usize>(
    groups: &[Vec<Item<D>>],
    limits: [u64; D],
) -> (Duration, Option<i64>) {
    let price = |item: &Item<D>| f64::from(item.price);
    let least = |group: &Vec<Item<D>>| group.iter().map(price).fold(f64::INFINITY, f64::min);
    let spread = |group: &Vec<Item<D>>| {
        let least = least(group);
        group
            .iter()
            .map(|item| price(item) - least)
            .fold(0.0, f64::max)
    };
    let scale = 1000.0 / groups.iter().map(spread).fold(1.0, f64::max);
    let mut problem = RowProblem::default();
    let mut rows: [Vec<(highs::Col, f64)>; D] = core::array::from_fn(|_| Vec::new());
    let mut room = limits.map(|limit| limit as f64);
    let mut columns = Vec::new();
    for group in groups {
        let least_price = least(group);
        let least_cost: [f64; D] = core::array::from_fn(|d| {
            let costs = group.iter().map(|item| f64::from(item.cost[d]));
            costs.fold(f64::INFINITY, f64::min)
        });
        let mut one = Vec::new();
        for item in group {
            let column = problem.add_integer_column((price(item) - least_price) * scale, 0..=1);
            one.push((column, 1.0));
            for (d, row) in rows.iter_mut().enumerate() {
                row.push((column, f64::from(item.cost[d]) - least_cost[d]));
            }
            columns.push(item.price);
        }
        problem.add_row(1..=1, one);
        for (room, least) in room.iter_mut().zip(least_cost) {
            *room -= least;
        }
    }
    for (row, room) in rows.into_iter().zip(room) {
        let scale = 1000.0 / row.iter().map(|(_, cost)| *cost).fold(1.0, f64::max);
        let scaled = row.into_iter().map(|(column, cost)| (column, cost * scale));
        problem.add_row(..=room * scale, scaled.collect::<Vec<_>>());
    }
    let run = || {
        let mut model = problem.clone().optimise(Sense::Minimise);
        model.make_quiet();
        model.set_option("threads", 1);
        model.set_option("mip_rel_gap", 0.0);
        model.set_option("mip_abs_gap", 0.0);
        model.set_option("time_limit", 60.0);
        let begin = Instant::now();
        let solved = model.solve();
        (begin.elapsed(), solved)
    };
    let (mut time, mut solved) = run();
    for _ in 1..RUNS {
        let again = run();
        time = time.min(again.0);
        solved = again.1;
    }
    if solved.status() != HighsModelStatus::Optimal {
        return (time, None);
    }
    let solution = solved.get_solution();
    let chosen = columns.iter().zip(solution.columns());
    let chosen = chosen.filter(|(_, value)| **value > 0.5);
    (time, Some(chosen.map(|(price, _)| i64::from(*price)).sum()))
}

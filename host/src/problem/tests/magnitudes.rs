//! Prices and costs of very different magnitudes: no answer says more than is so.

use super::*;

/// A number of a magnitude that is drawn, too.
fn cost(numbers: &mut Numbers) -> u64 {
    match numbers.below(6) {
        0 => numbers.below(4),
        1 => 1 << numbers.below(50),
        2 => numbers.below(1_000_000),
        3 => numbers.below(1 << 31) << 9,
        4 => (1 << numbers.below(50)) - 1,
        _ => numbers.below(100),
    }
}

fn price(numbers: &mut Numbers, kind: u64) -> f64 {
    let unit = numbers.below(1 << 31) as f64 / (1_u64 << 31) as f64;
    match kind {
        0 => (2.0 * unit - 1.0) * 10_f64.powi(numbers.below(13) as i32 - 6),
        1 => numbers.below(2_000) as f64 - 1_000.0,
        2 => unit,
        _ => [0.0, 1.0, -1.0, 1_099_511_627_776.0, 1e15, 0.5][numbers.below(6) as usize],
    }
}

/// A problem whose limits are near what some layout takes.
fn drawn(numbers: &mut Numbers) -> Problem {
    let kind = numbers.below(4);
    let names = &["c0", "c1", "c2"][..1 + numbers.below(3) as usize];
    let count = 1 + numbers.below(6);
    let layer = |i: u64, numbers: &mut Numbers| Layer {
        name: format!("l{i}"),
        items: (0..1 + numbers.below(4))
            .map(|j| Item {
                level: format!("v{j}"),
                price: price(numbers, kind),
                costs: names
                    .iter()
                    .map(|name| ((*name).to_owned(), cost(numbers)))
                    .collect(),
            })
            .collect(),
    };
    let layers: Vec<Layer> = (0..count).map(|i| layer(i, numbers)).collect();
    let limit = |name: &&str| {
        let some = layers.iter().map(|layer| {
            let at = numbers.below(layer.items.len() as u64) as usize;
            layer.items[at].costs[*name]
        });
        let sum: u64 = some.sum();
        let off = [0, 0, 1][numbers.below(3) as usize];
        ((*name).to_owned(), sum.saturating_sub(off) as f64)
    };
    let limits = names.iter().map(limit).collect();
    Problem {
        layers,
        limits,
        ties: Vec::new(),
        pins: BTreeMap::new(),
    }
}

#[test]
fn answers_say_no_more_than_is_so() {
    let mut numbers = Numbers(11);
    let (mut solved, mut refused, mut least) = (0, 0, 0);
    for round in 0..3_000 {
        let problem = drawn(&mut numbers);
        let best = exhaustive(&problem, PRICE);
        match problem.solve(PRICE, &Effort::UNLIMITED) {
            Ok(answer) => {
                for (name, limit) in &problem.limits {
                    assert!(answer.costs[name] as f64 <= *limit, "{round}: {name}");
                }
                let best = best.expect("there is a layout");
                // sums of floats in one order and in another
                let off = 1e-12 * (best.abs() + answer.price.abs());
                assert!(answer.bound <= best + off, "{round}: {answer:?}, {best}");
                assert!(best <= answer.price + off, "{round}: {answer:?}, {best}");
                solved += 1;
                least += u32::from(answer.price <= best + off);
            }
            Err(SolveError::Infeasible(infeasible)) => {
                assert!(best.is_none() || infeasible.doubt.is_some(), "{round}");
                refused += u32::from(best.is_none() && infeasible.doubt.is_none());
            }
            Err(error) => panic!("{round}: {error:?}"),
        }
    }
    // nearly all are the optimum all the same, and what there is none of is known
    assert!(solved > 2_000 && refused > 300, "{solved} {refused}");
    assert!(100 * least >= 97 * solved, "{least} of {solved}");
}

#[test]
fn items_that_no_better_layout_has_do_not_coarsen_the_others() {
    let mut problem = two_items(2, 10.0, |i| ([1, 5][i], [0.0, 99.0][i]));
    // never worth it, and 10^12 times as dear as what the others differ by
    problem.layers[0].items[1].price = 1e12;
    let answer = solved(&problem, PRICE);
    assert_eq!((answer.price, answer.bound), (-99.0, -99.0));
    // nor do costs that are beyond every limit
    problem.layers[0].items[1]
        .costs
        .insert("ram".into(), 1 << 50);
    problem.limits.insert("ram".into(), 4.0);
    assert_eq!(solved(&problem, PRICE).price, 0.0);
    problem.limits.insert("ram".into(), 5.0);
    assert_eq!(solved(&problem, PRICE).price, -99.0);
}

/// A difference of a little less than 2^31 units is rounded to what has no sign.
#[test]
fn the_widest_difference_is_rounded_within_its_range() {
    let mut problem = two_items(2, 10.0, |_| (1, 0.0));
    problem.layers[0].items[0].price = 0.5;
    problem.layers[0].items[1].price = 1_099_511_627_776.0;
    problem.layers[1].items[1].price = -1.0;
    let answer = solved(&problem, PRICE);
    assert_eq!((answer.price, answer.bound), (-0.5, -0.5));
}

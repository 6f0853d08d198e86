//! Layout problems in JSON through the solver.

use std::path::Path;

use bitbudget::problem::{PRICE, Problem};
use bitbudget::search::Effort;

const EFFORT: Effort<'_> = Effort::nodes(1000);
/// The most items of a problem whose neighbours are looked for.
const MOST_ITEMS: usize = 12;

pub(super) fn run(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    let problem = match Problem::parse(Path::new("a.json"), text) {
        Ok(problem) => problem,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let costs: Vec<String> = problem
        .costs()
        .iter()
        .map(|&name| name.to_owned())
        .collect();
    for measure in costs.iter().map(String::as_str).chain([PRICE]).take(3) {
        // that no layout is within the limits is an answer, too
        let Ok(answer) = problem.solve(measure, &EFFORT) else {
            continue;
        };
        assert_eq!(answer.levels.len(), problem.layers.len());
        for (name, limit) in &problem.limits {
            let takes = answer.costs.get(name).map(|cost| *cost as f64);
            let is_within = takes.is_none_or(|takes| takes <= *limit);
            assert!(is_within, "{name}: {answer:?}");
        }
        let items = problem.layers.iter().map(|layer| layer.items.len());
        if items.sum::<usize>() <= MOST_ITEMS {
            let _ = problem.neighbours(&answer, &EFFORT);
        }
    }
    true
}

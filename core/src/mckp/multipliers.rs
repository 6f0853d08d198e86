//! Multipliers for several limits: where the Lagrangian bound is highest, nearly.
//!
//! The bound is concave in the multipliers (Fisher 1981). One after the other is enclosed by nested
//! bisection: for each value of the first one the best second one is sought, and so on. At the best
//! inner multiplier costs are a mixture of those on either side of it, the one in which the inner
//! limit is met exactly; by this mixture the outer interval is halved. The best multipliers on the
//! way are returned: any will do for a bound.

use super::problem::{FAR, Problem, priced};

/// How often the interval of a multiplier is halved.
const HALVINGS: u32 = 24;

/// Costs of the best choices at multipliers.
type Costs<const D: usize> = [i64; D];

/// What the bisection of one multiplier knows.
#[derive(Clone, Copy)]
struct Interval<const D: usize> {
    low: i64,
    high: i64,
    halvings: u32,
    /// The costs at `low`, if they have been seen: too high.
    at_low: Option<Costs<D>>,
    /// The costs at `high`, if they have been seen.
    at_high: Option<Costs<D>>,
}

impl<const D: usize> Interval<D> {
    const fn up_to(high: i64) -> Self {
        Self {
            low: 0,
            high,
            halvings: 0,
            at_low: None,
            at_high: None,
        }
    }

    const fn middle(&self) -> i64 {
        self.low + (self.high - self.low) / 2
    }

    /// Takes the costs at `value` into account.
    fn narrow(&mut self, value: i64, costs: Costs<D>, d: usize, capacity: i64) {
        if costs[d] > capacity {
            self.low = value;
            self.at_low = Some(costs);
        } else {
            self.high = value;
            self.at_high = Some(costs);
        }
        self.halvings += 1;
    }

    const fn is_closed(&self) -> bool {
        self.halvings >= HALVINGS || self.high - self.low <= 1
    }

    /// The mixture of both ends that costs `capacity`; the costs at one end if there is no other.
    fn mixture(&self, d: usize, capacity: i64) -> Option<Costs<D>> {
        let (Some(low), Some(high)) = (self.at_low, self.at_high) else {
            return self.at_high.or(self.at_low);
        };
        let (over, under) = (
            i128::from(low[d] - capacity),
            i128::from(capacity - high[d]),
        );
        let mixed = |e: usize| {
            let sum = i128::from(low[e]) * under + i128::from(high[e]) * over;
            (sum / (over + under)) as i64
        };
        Some(core::array::from_fn(mixed))
    }
}

pub(super) fn multipliers<const N: usize, const K: usize, const D: usize>(
    problem: &Problem<N, K, D>,
    capacity: [i64; D],
) -> [i64; D] {
    let all_prices = problem.price_span << problem.shift;
    let whole = |d: usize| Interval::up_to(all_prices / capacity[d].max(1));
    let mut intervals: [Interval<D>; D] = core::array::from_fn(whole);
    let mut lambda: [i64; D] = core::array::from_fn(|d| intervals[d].middle());
    let (mut best, mut highest) = ([0; D], i64::MIN);
    loop {
        let (mut costs, value) = evaluate(problem, &lambda, &capacity);
        if value > highest {
            (best, highest) = (lambda, value);
        }
        let mut d = D - 1;
        loop {
            intervals[d].narrow(lambda[d], costs, d, capacity[d]);
            if !intervals[d].is_closed() {
                break;
            }
            costs = intervals[d].mixture(d, capacity[d]).unwrap_or(costs);
            if d == 0 {
                return best;
            }
            d -= 1;
        }
        lambda[d] = intervals[d].middle();
        for inner in d + 1..D {
            intervals[inner] = whole(inner);
            lambda[inner] = intervals[inner].middle();
        }
    }
}

/// Returns the costs of the best choices, and the bound.
fn evaluate<const N: usize, const K: usize, const D: usize>(
    problem: &Problem<N, K, D>,
    lambda: &[i64; D],
    capacity: &[i64; D],
) -> (Costs<D>, i64) {
    let mut costs = [0; D];
    let mut bound = 0_i64;
    for (lambda, capacity) in lambda.iter().zip(capacity) {
        bound -= lambda * capacity;
    }
    for group in &problem.groups {
        let choices = group.choices().iter().filter(|choice| choice.allowed);
        let values = choices.map(|choice| (priced(problem, lambda, choice), choice));
        let Some((value, best)) = values.min_by_key(|(value, _)| *value) else {
            continue;
        };
        bound = bound.saturating_add(value.min(FAR));
        for (sum, cost) in costs.iter_mut().zip(best.cost) {
            *sum += i64::from(cost);
        }
    }
    (costs, bound)
}

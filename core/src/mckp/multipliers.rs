//! Multipliers for several limits: where the Lagrangian bound is highest, nearly.
//!
//! The bound is concave in the multipliers, and the costs of the best choices at some multipliers are the
//! slope of a plane that touches it there and lies nowhere below it (Fisher 1981). One multiplier after the
//! other is enclosed: for each value of the first one the best second one is sought, and so on. Between two
//! values the next one is where the planes at both meet (Kelley 1960), which ends after as many values as
//! the bound has corners on the way. At the best inner multiplier the two planes are mixed so that the
//! inner limit is met, nearly: their mixture is the plane that the next multiplier further out sees. The
//! best multipliers on the way are returned: any will do for a bound.

use super::problem::Problem;

/// The most values that are tried for a multiplier.
const MOST_TRIES: u32 = 24;

/// A plane that lies nowhere below the bound: its value at some multipliers, and its slope there, which is
/// these costs above the capacity.
#[derive(Clone, Copy)]
struct Plane<const D: usize> {
    /// The multiplier in question.
    at: i64,
    value: i64,
    costs: [i64; D],
}

/// The search for one multiplier.
#[derive(Clone, Copy)]
struct Interval<const D: usize> {
    most: i64,
    /// The plane at the lower end: its costs are too high.
    low: Option<Plane<D>>,
    /// The plane at the upper end.
    high: Option<Plane<D>>,
    /// The next value to try; none if the best one is found.
    next: Option<i64>,
    /// What the planes promise there.
    promised: i64,
    tries: u32,
}

impl<const D: usize> Interval<D> {
    /// From 0, where a limit that costs nothing ends the search, to `most`.
    const fn up_to(most: i64) -> Self {
        Self {
            most,
            low: None,
            high: None,
            next: Some(0),
            promised: i64::MAX,
            tries: 0,
        }
    }

    /// Takes a plane into account.
    fn narrow(&mut self, plane: Plane<D>, d: usize, capacity: i64) {
        let is_over = plane.costs[d] > capacity;
        self.tries += 1;
        let is_best = plane.value >= self.promised;
        *(if is_over {
            &mut self.low
        } else {
            &mut self.high
        }) = Some(plane);
        self.next = match (self.low, self.high) {
            (Some(low), None) => (low.at < self.most).then_some(self.most),
            (None, _) => None,
            (Some(_), Some(_)) if is_best || self.tries >= MOST_TRIES => None,
            (Some(low), Some(high)) => {
                let (at, promised) = meeting(low, high, d, capacity);
                self.promised = promised;
                (low.at < at && at < high.at).then_some(at)
            }
        };
    }

    /// The plane at the best value: the mixture of both ends that costs `capacity`, or the one there is.
    fn best(&self, d: usize, capacity: i64) -> Option<Plane<D>> {
        let (Some(low), Some(high)) = (self.low, self.high) else {
            return self.high.or(self.low);
        };
        let (at, value) = meeting(low, high, d, capacity);
        let share = Share::new(low.costs[d] - capacity, capacity - high.costs[d]);
        let mixed = |low: i64, high: i64| low + share.of(high - low);
        Some(Plane {
            at,
            value,
            costs: core::array::from_fn(|e| mixed(low.costs[e], high.costs[e])),
        })
    }
}

/// Where two planes meet, nearly, and their value there.
fn meeting<const D: usize>(low: Plane<D>, high: Plane<D>, d: usize, capacity: i64) -> (i64, i64) {
    let rise = low.costs[d] - capacity;
    let fall = capacity - high.costs[d];
    let width = high.at - low.at;
    // low.value + rise · x = high.value + fall · (width - x)
    let higher = high.value.saturating_sub(low.value) / (rise + fall);
    let x = higher.saturating_add(Share::new(fall, rise).of(width));
    let x = x.clamp(0, width);
    let value = low.value.saturating_add(rise.saturating_mul(x));
    (low.at + x, value)
}

/// A part of a whole, in units of 2^-31.
#[derive(Clone, Copy)]
struct Share(i64);

impl Share {
    /// `part` of `part + rest`, neither of them negative, not both 0.
    fn new(part: i64, rest: i64) -> Self {
        let whole = part + rest;
        let shift = (i64::BITS - whole.leading_zeros()).saturating_sub(u32::BITS);
        Self(((part >> shift) << 31) / (whole >> shift))
    }

    /// This part of an amount.
    const fn of(self, amount: i64) -> i64 {
        let low = amount & ((1 << 31) - 1);
        (amount >> 31) * self.0 + ((low * self.0) >> 31)
    }
}

pub(super) fn multipliers<const N: usize, const K: usize, const D: usize>(
    problem: &Problem<N, K, D>,
    capacity: [i64; D],
) -> [i64; D] {
    let all_prices = problem.price_span << problem.shift;
    let whole = |d: usize| Interval::up_to(all_prices / capacity[d].max(1));
    let mut intervals: [Interval<D>; D] = core::array::from_fn(whole);
    let mut lambda = [0; D];
    let (mut best, mut highest) = ([0; D], i64::MIN);
    loop {
        let mut plane = evaluate(problem, &lambda, &capacity);
        if plane.value > highest {
            (best, highest) = (lambda, plane.value);
        }
        let mut d = D - 1;
        let next = loop {
            plane.at = lambda[d];
            intervals[d].narrow(plane, d, capacity[d]);
            if let Some(next) = intervals[d].next {
                break next;
            }
            plane = intervals[d].best(d, capacity[d]).unwrap_or(plane);
            if d == 0 {
                return best;
            }
            d -= 1;
        };
        lambda[d] = next;
        for inner in d + 1..D {
            intervals[inner] = whole(inner);
            lambda[inner] = 0;
        }
    }
}

/// Returns the plane of the best choices.
fn evaluate<const N: usize, const K: usize, const D: usize>(
    problem: &Problem<N, K, D>,
    lambda: &[i64; D],
    capacity: &[i64; D],
) -> Plane<D> {
    let mut costs = [0; D];
    let mut value = 0_i64;
    for (lambda, capacity) in lambda.iter().zip(capacity) {
        value -= lambda * capacity;
    }
    for group in &problem.groups {
        let choices = group.choices().iter();
        // what fits costs no more than the capacity, so that no product leaves its range
        let choices = choices.filter(|choice| choice.allowed && choice.fits(capacity));
        let values = choices.map(|choice| {
            let mut value = i64::from(choice.price) << problem.shift;
            for (lambda, cost) in lambda.iter().zip(&choice.cost) {
                value += lambda * i64::from(*cost);
            }
            (value, choice)
        });
        let Some((least, best)) = values.min_by_key(|(value, _)| *value) else {
            continue;
        };
        value += least;
        for (sum, cost) in costs.iter_mut().zip(&best.cost) {
            *sum += i64::from(*cost);
        }
    }
    Plane {
        at: 0,
        value,
        costs,
    }
}

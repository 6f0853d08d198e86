//! How finely a limit can be used.
//!
//! Where the costs of every group of the core differ by multiples of a *grain*, what the limit leaves
//! for them is used up to a multiple of it: the remainder is lost to every layout, and the bound is
//! higher by what it could have bought. Equal layers have few costs, so their grain is coarse, the
//! more so the fewer choices the gap allows.

use super::table::Core;

/// The grain of one limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grain {
    /// The grain less 1: a solver begins as zeros.
    step_less_one: u32,
    /// What the limit leaves for the core without a surcharge, modulo the grain.
    remainder: u32,
}

impl Grain {
    /// Everything can be used.
    pub(super) const NONE: Self = Self {
        step_less_one: 0,
        remainder: 0,
    };

    /// Returns the grain of the `d`-th limit, which leaves `left` for the core and a surcharge.
    pub(super) fn new<const N: usize, const K: usize, const D: usize>(
        core: &Core<'_, N, K, D>,
        d: usize,
        left: i64,
    ) -> Self {
        let (mut step, mut smallest) = (0, 0);
        for depth in 0..core.order.len() {
            let mut costs = core.choices(depth).map(|(_, costs)| costs[d]);
            let first = costs.next().unwrap_or(0);
            smallest += i64::from(first);
            step = costs.fold(step, |step, cost| divisor(step, cost.abs_diff(first)));
            if step == 1 {
                return Self::NONE;
            }
        }
        let step = step.max(1);
        Self {
            step_less_one: step - 1,
            remainder: (left - smallest).rem_euclid(step.into()) as u32,
        }
    }

    /// Returns what is lost of the limit beside this surcharge.
    pub(super) const fn lost(&self, surcharge: u32) -> i64 {
        let step = self.step_less_one + 1;
        let surcharge = surcharge % step;
        let lost = if surcharge <= self.remainder {
            self.remainder - surcharge
        } else {
            step - (surcharge - self.remainder)
        };
        lost as i64
    }
}

/// Returns the greatest common divisor; that of 0 and another number is the other one.
const fn divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

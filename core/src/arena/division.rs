//! Division of a network into cascades: which tensors are bands, so that the arena is least, or so that it fits
//! and the fewest turns are taken.
//!
//! The most bytes alive in a cascade depend on it alone: on the whole tensors from before that are read in it or
//! after it, on its bands, and on the tensor that it ends with. So the best division up to a tensor is one of
//! the best divisions up to an earlier tensor and one cascade behind it (dynamic programming). Blocks may not
//! fit as closely as their bytes say; then the next best divisions are placed, too.

use heapless::Vec;

use super::{Lifetimes, Placement};
use crate::cascade::Schedule;
use crate::form::Forms;
use crate::network::PerTensor;

/// The most divisions that are placed for one answer.
pub const MOST_PLACED: u32 = 16;

/// No division.
const NEVER: u32 = u32::MAX;

/// What divisions are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// The most bytes that are alive at once.
    Bytes,
    /// The turns of all cascades of which none has more bytes alive than this.
    Turns { most: u32 },
}

/// The bytes of tensors in some forms, from one tensor to another one.
struct Costs<'l, const N: usize> {
    lifetimes: &'l Lifetimes<N>,
    first: usize,
    last: usize,
    /// By tensor: its bytes when it is whole.
    whole: PerTensor<u32, N>,
    /// By tensor: the bytes of the bands before it, from the first one on.
    bands: PerTensor<u32, N>,
    /// By tensor: the bytes of the whole tensors before it that are read in its step or later.
    crossing: PerTensor<u32, N>,
}

impl<'l, const N: usize> Costs<'l, N> {
    #[inline(never)]
    fn new(
        lifetimes: &'l Lifetimes<N>,
        forms: &PerTensor<Forms, N>,
        [first, last]: [usize; 2],
    ) -> Self {
        let zeros = || PerTensor::new(0, lifetimes.count - 1);
        let mut costs = Self {
            lifetimes,
            first,
            last,
            whole: zeros(),
            bands: zeros(),
            crossing: zeros(),
        };
        // what is not read after each step
        let mut ends: PerTensor<u32, N> = zeros();
        let (mut crossing, mut bands) = (0, 0);
        for tensor in 0..first {
            let of = &lifetimes.tensors[tensor];
            let until = usize::from(of.last);
            if until >= first {
                let bytes = of.whole_bytes(forms[tensor]);
                crossing += bytes;
                ends[until] += bytes;
            }
        }
        for tensor in first..=last {
            let of = &lifetimes.tensors[tensor];
            let whole = of.whole_bytes(forms[tensor]);
            costs.whole[tensor] = whole;
            costs.bands[tensor] = bands;
            costs.crossing[tensor] = crossing;
            bands += of.band_bytes(forms[tensor]);
            crossing = crossing + whole - ends[tensor];
            ends[usize::from(of.last)] += whole;
        }
        costs
    }

    /// The most bytes alive while one cascade runs.
    fn live(&self, first: usize, last: usize) -> u32 {
        self.crossing[first] + self.bands[last] - self.bands[first] + self.whole[last]
    }

    /// Whether a cascade up to `last` may have this tensor as a band.
    fn can_be_band(&self, tensor: usize, last: usize) -> bool {
        let of = &self.lifetimes.tensors[tensor];
        of.rows > 0 && usize::from(of.last) <= last
    }

    /// The fewest bytes of this band and all behind it in a cascade; [`NEVER`] where there is none.
    fn least_behind(&self, tensor: usize) -> u32 {
        let (mut least, mut last_read) = (NEVER, 0);
        for last in tensor + 1..=self.last {
            let of = &self.lifetimes.tensors[last - 1];
            let bands = self.bands[last] - self.bands[tensor];
            if of.rows == 0 || bands >= least {
                break;
            }
            last_read = last_read.max(of.last.into());
            if last_read <= last {
                least = least.min(bands + self.whole[last]);
            }
        }
        least
    }

    /// The fewest bytes of this band, and of all before it in a cascade; [`NEVER`] where there is none.
    fn least_before(&self, tensor: usize) -> u32 {
        let mut least = NEVER;
        for first in (self.first..=tensor).rev() {
            let bands = self.bands[tensor + 1] - self.bands[first];
            if self.lifetimes.tensors[first].rows == 0 || bands >= least {
                break;
            }
            least = least.min(bands + self.crossing[first]);
        }
        least
    }

    /// What a cascade costs; `None` where it has too many bytes.
    fn cost(&self, goal: Goal, first: usize, last: usize) -> Option<u32> {
        let live = self.live(first, last);
        match goal {
            Goal::Bytes => Some(live),
            Goal::Turns { most } if live > most => None,
            Goal::Turns { .. } if first == last => Some(0),
            Goal::Turns { .. } => Some(self.lifetimes.turns_of([first, last])),
        }
    }

    /// The fewest bytes alive in a cascade, of those that are more than some; [`NEVER`] if there are none.
    fn next_live(&self, most: u32) -> u32 {
        let mut next = NEVER;
        for last in self.first..=self.last {
            let mut first = last;
            loop {
                let live = self.live(first, last);
                if live > most {
                    next = next.min(live);
                }
                if first == self.first || !self.can_be_band(first - 1, last) {
                    break;
                }
                first -= 1;
            }
        }
        next
    }

    /// By tensor: the cost of the best division of all tensors up to it.
    #[inline(never)]
    fn best(&self, goal: Goal) -> PerTensor<u32, N> {
        let mut best = PerTensor::new(NEVER, self.lifetimes.count - 1);
        for last in self.first..=self.last {
            let mut least = NEVER;
            let mut first = last;
            loop {
                if let Some(cost) = self.cost(goal, first, last) {
                    let before = match first == self.first {
                        true => 0,
                        false => best[first - 1],
                    };
                    least = least.min(together(goal, before, cost));
                }
                if first == self.first || !self.can_be_band(first - 1, last) {
                    break;
                }
                first -= 1;
                let bytes = self.bands[last] - self.bands[first] + self.whole[last];
                let cannot_improve = match goal {
                    Goal::Bytes => bytes >= least,
                    Goal::Turns { most } => bytes > most || least == 0,
                };
                if cannot_improve {
                    break;
                }
            }
            best[last] = least;
        }
        best
    }
}

/// The cost of a division and one more cascade; [`NEVER`] if there is none of one of them.
fn together(goal: Goal, before: u32, cascade: u32) -> u32 {
    match goal {
        Goal::Bytes => before.max(cascade),
        Goal::Turns { .. } => before.saturating_add(cascade),
    }
}

/// A search among the divisions of which no cascade has more than some bytes alive.
struct Search<'c, 'l, const N: usize> {
    costs: &'c Costs<'l, N>,
    forms: &'c PerTensor<Forms, N>,
    goal: Goal,
    /// By tensor: the fewest turns up to it.
    fewest: PerTensor<u32, N>,
    /// Placements that may still be tried.
    left: u32,
    /// The smallest placement that was found, if it takes less than `below`.
    placed: Option<(Schedule<N>, Placement<N>)>,
    below: u32,
}

impl<'c, 'l, const N: usize> Search<'c, 'l, N> {
    fn new(costs: &'c Costs<'l, N>, forms: &'c PerTensor<Forms, N>, below: u32) -> Self {
        Self {
            costs,
            forms,
            goal: Goal::Turns { most: 0 },
            fewest: PerTensor::empty(NEVER),
            left: MOST_PLACED,
            placed: None,
            below,
        }
    }

    /// Limits the bytes alive; the fewest turns then.
    fn set_most(&mut self, most: u32) -> u32 {
        self.goal = Goal::Turns { most };
        self.fewest = self.costs.best(self.goal);
        self.fewest[self.costs.last]
    }

    /// Places the divisions of so many turns, until `is_enough` of a placement's bytes; the fewest turns of those
    /// that have more.
    fn place(&mut self, turns: u32, is_enough: impl Fn(u32) -> bool) -> u32 {
        let costs = self.costs;
        // where each cascade begins, and the turns of those behind it
        let mut cascades: Vec<(u16, u32), N> = Vec::new();
        let (mut next, mut behind) = (NEVER, 0);
        let (mut last, mut first) = (costs.last, costs.last + 1);
        while self.left > 0 {
            let may_begin =
                first > costs.first && (first > last || costs.can_be_band(first - 1, last));
            if !may_begin {
                // the cascade behind begins earlier
                let Some((begin, cost)) = cascades.pop() else {
                    break;
                };
                let above = cascades.last();
                first = begin.into();
                last = above.map_or(costs.last, |(begin, _)| usize::from(*begin) - 1);
                behind = cost;
                continue;
            }
            first -= 1;
            let before = match first == costs.first {
                true => 0,
                false => self.fewest[first - 1],
            };
            let cost = costs.cost(self.goal, first, last).unwrap_or(NEVER);
            let now = together(self.goal, behind, cost);
            let all = together(self.goal, before, now);
            if all > turns {
                next = next.min(all);
            } else if first > costs.first {
                // no more than there are tensors before the last one
                let _ = cascades.push((first as u16, behind));
                behind = now;
                (last, first) = (first - 1, first);
            } else if all == turns && is_enough(self.place_one(&cascades)) {
                break;
            }
        }
        next
    }

    /// Places the division whose cascades begin at these tensors, the last one first, and at the first tensor;
    /// the bytes that it takes.
    fn place_one(&mut self, cascades: &[(u16, u32)]) -> u32 {
        let mut schedule = Schedule::WHOLE;
        let begins = |tensor: usize| cascades.iter().any(|(b, _)| usize::from(*b) == tensor);
        for tensor in self.costs.first..self.costs.last {
            if !begins(tensor + 1) {
                schedule.insert(tensor);
            }
        }
        let placement = self.costs.lifetimes.place(self.forms, &schedule);
        let bytes = placement.bytes();
        self.left -= 1;
        if bytes < self.below {
            self.below = bytes;
            self.placed = Some((schedule, placement));
        }
        bytes
    }
}

impl<const N: usize> Lifetimes<N> {
    /// The schedule with the smallest arena, as far as [`MOST_PLACED`] placements tell; of those that are as
    /// small, one of few turns.
    ///
    /// # Panics
    /// Never: every tensor can be whole.
    #[must_use]
    pub fn smallest(&self, forms: &PerTensor<Forms, N>) -> (Schedule<N>, Placement<N>) {
        let last = self.count - 1;
        let costs = Costs::new(self, forms, [0, last]);
        let least = costs.best(Goal::Bytes)[last];
        let mut most = least;
        let mut search = Search::new(&costs, forms, NEVER);
        let mut tried = NEVER;
        while search.left > 0 && most < search.below {
            let turns = search.set_most(most);
            // others have been placed with fewer bytes alive
            if turns < tried {
                tried = turns;
                search.place(turns, |bytes| bytes <= most);
            }
            most = costs.next_live(most);
        }
        if least < search.below {
            // blocks may fit closer in one that takes more turns
            let mut turns = search.set_most(search.below - 1);
            while search.left > 0 && least < search.below && turns != NEVER {
                turns = search.place(turns, |bytes| bytes <= least);
            }
        }
        let whole = || {
            let placement = self.place(forms, &Schedule::WHOLE);
            (Schedule::WHOLE, placement)
        };
        search.placed.unwrap_or_else(whole)
    }

    /// Every tensor whole if that takes at most so many bytes; else the schedule of fewest turns that does, as
    /// far as [`MOST_PLACED`] placements tell.
    #[must_use]
    pub fn within(
        &self,
        forms: &PerTensor<Forms, N>,
        most: u32,
    ) -> Option<(Schedule<N>, Placement<N>)> {
        let costs = Costs::new(self, forms, [0, self.count - 1]);
        let mut search = Search::new(&costs, forms, most.saturating_add(1));
        let mut turns = search.set_most(most);
        while turns != NEVER && search.placed.is_none() && search.left > 0 {
            turns = search.place(turns, |bytes| bytes <= most);
        }
        search.placed
    }

    /// The most bytes that are alive at once when tensors are stored in these forms, in the schedule in which
    /// they are fewest: no placement takes less.
    #[must_use]
    pub fn live_bytes(&self, forms: &PerTensor<Forms, N>) -> u32 {
        self.live_bytes_of(forms, [0, self.count - 1])
    }

    /// As [`Self::live_bytes`], while the tensors from one to another one are made, of which the last is whole.
    pub(crate) fn live_bytes_of(
        &self,
        forms: &PerTensor<Forms, N>,
        [first, last]: [usize; 2],
    ) -> u32 {
        Costs::new(self, forms, [first, last]).best(Goal::Bytes)[last]
    }

    /// By tensor: the bytes up to which it may as well be whole, if no tensor is in fewer bytes than in these
    /// forms. A cascade can then be cut behind it, and neither part has more bytes alive. 0 where a tensor from
    /// before is read behind it.
    pub(crate) fn cut_limits(&self, least: &PerTensor<Forms, N>) -> PerTensor<u32, N> {
        let end = self.count - 1;
        let costs = Costs::new(self, least, [0, end]);
        let mut limits = PerTensor::new(0, end);
        let mut last_read = 0;
        for tensor in 0..end {
            let of = self.tensors[tensor];
            if last_read <= tensor {
                let limit = costs.least_behind(tensor).min(costs.least_before(tensor));
                limits[tensor] = limit;
            }
            last_read = last_read.max(of.last.into());
        }
        limits
    }
}

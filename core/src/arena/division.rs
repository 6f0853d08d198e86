//! Division of a network into cascades: which tensors are bands, so that the arena is least, or so that it fits
//! and the fewest turns are taken.
//!
//! The most bytes alive in a cascade depend on it alone: on the whole tensors from before that are read in it or
//! after it, on its bands, and on the tensor that it ends with. So the best division up to a tensor is one of
//! the best divisions up to an earlier tensor and one cascade behind it (dynamic programming). Blocks may not
//! fit as closely as their bytes say; then the next best divisions are placed, too.

use heapless::{Vec, VecView};

use super::{Lifetime, Lifetimes, Placement, share};
use crate::cascade::Schedule;
use crate::form::Forms;
use crate::network::{PerTensor, PerTensorView, PerTensorViewMut};

/// The most divisions that are placed for one answer.
pub const MOST_PLACED: u32 = 16;

/// No division.
const NEVER: u32 = u32::MAX;

/// What a tensor adds to cascades.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Its bytes when it is whole.
    whole: u32,
    /// The bytes of the bands before it, from the first one on.
    bands: u32,
    /// The bytes of the whole tensors before it that are read in its step or later.
    crossing: u32,
    /// Of these the bytes that it takes over when it is made in place of one; at most its own.
    taken_over: u32,
    /// The turns in which the tensors up to it are made row by row, from the first one on.
    turns: u32,
    /// The cost of the best division of the tensors before it.
    before: u32,
    /// A cascade that begins with it may begin with the tensor before it, too, if this is not behind its end.
    last_before: u16,
}

impl Cost {
    const NONE: Self = Self {
        whole: 0,
        bands: 0,
        crossing: 0,
        taken_over: 0,
        turns: 0,
        before: 0,
        last_before: u16::MAX,
    };

    /// The most bytes alive while the cascade runs that begins here and ends with a later tensor.
    const fn live_until(&self, end: &Self) -> u32 {
        self.crossing + end.bands - self.bands + end.whole
    }

    /// The bytes alive while it is made alone.
    const fn live_alone(&self) -> u32 {
        self.crossing + self.whole - self.taken_over
    }

    /// Whether a cascade up to `last` that begins here may begin before it, too.
    fn can_begin_before(&self, last: usize) -> bool {
        usize::from(self.last_before) <= last
    }
}

/// When a tensor counts as made in place of the one that it [may replace](Lifetime::replaces).
#[derive(Clone, Copy, Debug)]
enum InPlace {
    /// Where the forms of both allow it.
    Exactly,
    /// Always: no layout has fewer bytes alive, and none has fewer for tensors that take more.
    AtBest,
}

/// The costs of tensors in some forms, from one tensor to another one.
struct Costs<'a> {
    tensors: PerTensorView<'a, Lifetime>,
    of: PerTensorViewMut<'a, Cost>,
    first: usize,
    last: usize,
}

impl<'a> Costs<'a> {
    /// The costs, in the memory of `of`.
    fn new(
        tensors: PerTensorView<'a, Lifetime>,
        mut of: PerTensorViewMut<'a, Cost>,
        forms: PerTensorView<'_, Forms>,
        [first, last]: [usize; 2],
        in_place: InPlace,
    ) -> Self {
        of.fill(Cost::NONE, tensors.layers.len());
        let mut crossing = 0;
        // what is not read from there on, until `crossing` is known
        let end = |of: &mut PerTensorViewMut<'_, Cost>, until: u16, bytes: u32| {
            let behind = usize::from(until) + 1;
            if behind <= last {
                of[behind].crossing += bytes;
            }
        };
        for tensor in 0..first {
            let lifetime = &tensors[tensor];
            if usize::from(lifetime.last) >= first {
                let bytes = lifetime.whole_bytes(forms[tensor]);
                crossing += bytes;
                end(&mut of, lifetime.last, bytes);
            }
        }
        let (mut bands, mut turns) = (0, 0);
        let mut last_before = u16::MAX;
        for tensor in first..=last {
            let lifetime = &tensors[tensor];
            let whole = lifetime.whole_bytes(forms[tensor]);
            turns += u32::from(lifetime.turns);
            crossing -= of[tensor].crossing;
            let taken_over = lifetime.replaces(tensor).map_or(0, |replaced| {
                let counts = match in_place {
                    InPlace::Exactly => share(forms[tensor], forms[replaced]),
                    InPlace::AtBest => true,
                };
                let bytes = tensors[replaced].whole_bytes(forms[replaced]);
                if counts { bytes.min(whole) } else { 0 }
            });
            of[tensor] = Cost {
                whole,
                bands,
                crossing,
                taken_over,
                turns,
                before: 0,
                last_before,
            };
            bands += lifetime.band_bytes(forms[tensor]);
            crossing += whole;
            end(&mut of, lifetime.last, whole);
            last_before = match lifetime.rows {
                0 => u16::MAX,
                _ => lifetime.last,
            };
        }
        Self {
            tensors,
            of,
            first,
            last,
        }
    }

    /// The fewest bytes of this band and all behind it in a cascade; [`NEVER`] where there is none.
    fn least_behind(&self, tensor: usize) -> u32 {
        let (mut least, mut last_read) = (NEVER, 0);
        for last in tensor + 1..=self.last {
            let of = &self.tensors[last - 1];
            let bands = self.of[last].bands - self.of[tensor].bands;
            if of.rows == 0 || bands >= least {
                break;
            }
            last_read = last_read.max(of.last.into());
            if last_read <= last {
                least = least.min(bands + self.of[last].whole);
            }
        }
        least
    }

    /// The fewest bytes of this band, and of all before it in a cascade; [`NEVER`] where there is none.
    fn least_before(&self, tensor: usize) -> u32 {
        let mut least = NEVER;
        for first in (self.first..=tensor).rev() {
            let bands = self.of[tensor + 1].bands - self.of[first].bands;
            if self.tensors[first].rows == 0 || bands >= least {
                break;
            }
            least = least.min(bands + self.of[first].crossing);
        }
        least
    }

    /// The turns of a cascade; [`NEVER`] where it has more bytes alive than this.
    fn turns_within(&self, most: u32, first: usize, last: usize) -> u32 {
        let (begin, end) = (&self.of[first], &self.of[last]);
        let (live, turns) = match first == last {
            true => (end.live_alone(), 0),
            false => (
                begin.live_until(end),
                end.turns - begin.turns + u32::from(self.tensors[first].turns),
            ),
        };
        if live > most { NEVER } else { turns }
    }

    /// The fewest bytes alive in a cascade, of those that are more than some; [`NEVER`] if there are none.
    fn next_live(&self, most: u32) -> u32 {
        let mut next = NEVER;
        for last in self.first..=self.last {
            let end = &self.of[last];
            let mut live = end.live_alone();
            for first in (self.first..=last).rev() {
                let begin = &self.of[first];
                if first < last {
                    live = begin.live_until(end);
                }
                if live > most {
                    next = next.min(live);
                }
                if !begin.can_begin_before(last) {
                    break;
                }
            }
        }
        next
    }

    /// Finds the fewest bytes of which no cascade of a division has more alive.
    fn least_live(&mut self) -> u32 {
        let mut least = 0;
        for last in self.first..=self.last {
            let end = &mut self.of[last];
            end.before = least;
            let end = *end;
            least = NEVER;
            for first in (self.first..=last).rev() {
                let begin = &self.of[first];
                let is_longer = first < last;
                if is_longer && end.bands - begin.bands + end.whole >= least {
                    break;
                }
                let live = match is_longer {
                    true => begin.live_until(&end),
                    false => end.live_alone(),
                };
                least = least.min(live.max(begin.before));
                if !begin.can_begin_before(last) {
                    break;
                }
            }
        }
        least
    }

    /// Finds the fewest turns of a division of which no cascade has more bytes alive than this.
    fn fewest_turns(&mut self, most: u32) -> u32 {
        let mut fewest = 0;
        for last in self.first..=self.last {
            let end = &mut self.of[last];
            end.before = fewest;
            let end = *end;
            fewest = NEVER;
            for first in (self.first..=last).rev() {
                let begin = &self.of[first];
                let is_longer = first < last;
                if is_longer && (fewest == 0 || end.bands - begin.bands + end.whole > most) {
                    break;
                }
                let turns = self.turns_within(most, first, last);
                fewest = fewest.min(begin.before.saturating_add(turns));
                if !begin.can_begin_before(last) {
                    break;
                }
            }
        }
        fewest
    }
}

/// Where a cascade begins, and the turns of those behind it.
#[derive(Clone, Copy, Debug)]
struct Begin {
    tensor: u16,
    behind: u32,
}

/// A search among the divisions of which no cascade has more than some bytes alive.
struct Search<'s, 'a> {
    costs: &'s mut Costs<'a>,
    /// The bytes alive that no cascade may have more of.
    most: u32,
    /// The cascades behind the one in question, the last one first.
    cascades: &'s mut VecView<Begin>,
    /// Places the division with these cascades, and one from the first tensor on; the bytes that it takes.
    /// It is kept if they are fewer than `below`.
    place: &'s mut dyn FnMut(&[Begin], u32) -> u32,
    /// Placements that may still be tried.
    left: u32,
    /// The bytes of the smallest placement that was kept, or those that it must be below.
    below: u32,
}

impl Search<'_, '_> {
    /// Limits the bytes alive; the fewest turns then.
    fn set_most(&mut self, most: u32) -> u32 {
        self.most = most;
        self.costs.fewest_turns(most)
    }

    /// Places the divisions of so many turns, until `is_enough` of a placement's bytes; the fewest turns of those
    /// that have more.
    fn place(&mut self, turns: u32, enough: u32) -> u32 {
        let costs = &*self.costs;
        self.cascades.clear();
        let (mut next, mut behind) = (NEVER, 0);
        let (mut last, mut first) = (costs.last, costs.last + 1);
        while self.left > 0 {
            let may_begin = first > last || costs.of[first].can_begin_before(last);
            if !may_begin {
                // the cascade behind begins earlier
                let Some(begin) = self.cascades.pop() else {
                    break;
                };
                let above = self.cascades.last();
                first = begin.tensor.into();
                last = above.map_or(costs.last, |above| usize::from(above.tensor) - 1);
                behind = begin.behind;
                continue;
            }
            first -= 1;
            let now = costs
                .turns_within(self.most, first, last)
                .saturating_add(behind);
            let all = costs.of[first].before.saturating_add(now);
            if all > turns {
                next = next.min(all);
            } else if first > costs.first {
                // no more than there are tensors before the last one
                let _ = self.cascades.push(Begin {
                    tensor: first as u16,
                    behind,
                });
                behind = now;
                (last, first) = (first - 1, first);
            } else if all == turns {
                self.left -= 1;
                let bytes = (self.place)(self.cascades, self.below);
                self.below = self.below.min(bytes);
                if bytes <= enough {
                    break;
                }
            }
        }
        next
    }

    /// Finds the smallest arena.
    fn smallest(&mut self) {
        let least = self.costs.least_live();
        let mut most = least;
        let mut tried = NEVER;
        while self.left > 0 && most < self.below {
            let turns = self.set_most(most);
            // others have been placed with fewer bytes alive
            if turns < tried {
                tried = turns;
                self.place(turns, most);
            }
            most = self.costs.next_live(most);
        }
        if least < self.below {
            // blocks may fit closer in one that takes more turns
            let mut turns = self.set_most(self.below - 1);
            while self.left > 0 && least < self.below && turns != NEVER {
                turns = self.place(turns, least);
            }
        }
    }

    /// Finds the fewest turns within so many bytes.
    fn within(&mut self, most: u32) {
        let limit = self.below;
        let mut turns = self.set_most(most);
        while turns != NEVER && self.below == limit && self.left > 0 {
            turns = self.place(turns, most);
        }
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
        let whole = || (Schedule::WHOLE, self.place(forms, &Schedule::WHOLE));
        self.search(forms, NEVER, &|search| search.smallest())
            .unwrap_or_else(whole)
    }

    /// Every tensor whole if that takes at most so many bytes; else the schedule of fewest turns that does, as
    /// far as [`MOST_PLACED`] placements tell.
    #[must_use]
    pub fn within(
        &self,
        forms: &PerTensor<Forms, N>,
        most: u32,
    ) -> Option<(Schedule<N>, Placement<N>)> {
        let below = most.saturating_add(1);
        self.search(forms, below, &|search| search.within(most))
    }

    /// The smallest placement below so many bytes that a search finds.
    fn search(
        &self,
        forms: &PerTensor<Forms, N>,
        below: u32,
        find: &dyn Fn(&mut Search<'_, '_>),
    ) -> Option<(Schedule<N>, Placement<N>)> {
        let mut memory = PerTensor::<Cost, N>::empty(Cost::NONE);
        let last = self.count - 1;
        let (tensors, of) = (self.tensors.as_view(), memory.as_view_mut());
        let mut costs = Costs::new(tensors, of, forms.as_view(), [0, last], InPlace::Exactly);
        let mut cascades: Vec<Begin, N> = Vec::new();
        let (mut placed, mut offsets) = (None, PerTensor::empty(0));
        let mut place = |cascades: &[Begin], below: u32| {
            let schedule = schedule_of(cascades, last);
            let bytes = self.place_at(forms, &schedule, &mut offsets);
            if bytes < below {
                let offsets = offsets.clone();
                placed = Some((schedule, Placement { offsets, bytes }));
            }
            bytes
        };
        find(&mut Search {
            costs: &mut costs,
            most: 0,
            cascades: cascades.as_mut_view(),
            place: &mut place,
            left: MOST_PLACED,
            below,
        });
        placed
    }

    /// The most bytes that are alive at once when tensors are stored in these forms, in the schedule in which
    /// they are fewest: no placement takes less.
    #[must_use]
    pub fn live_bytes(&self, forms: &PerTensor<Forms, N>) -> u32 {
        self.live_bytes_of(forms, [0, self.count - 1])
    }

    /// As [`Self::live_bytes`], while the tensors from one to another one are made, of which the last is whole.
    ///
    /// # Panics
    /// When there are no such tensors.
    #[must_use]
    pub fn live_bytes_of(&self, forms: &PerTensor<Forms, N>, tensors: [usize; 2]) -> u32 {
        let mut memory = PerTensor::<Cost, N>::empty(Cost::NONE);
        let of = memory.as_view_mut();
        let (whole, forms) = (self.tensors.as_view(), forms.as_view());
        let mut costs = Costs::new(whole, of, forms, tensors, InPlace::AtBest);
        costs.least_live()
    }

    /// By tensor: the bytes up to which it may as well be whole, if no tensor is in fewer bytes than in these
    /// forms. A cascade can then be cut behind it, and neither part has more bytes alive. 0 where a tensor from
    /// before is read behind it.
    pub(crate) fn cut_limits(&self, least: &PerTensor<Forms, N>) -> PerTensor<u32, N> {
        let end = self.count - 1;
        let mut memory = PerTensor::<Cost, N>::empty(Cost::NONE);
        let (tensors, of) = (self.tensors.as_view(), memory.as_view_mut());
        let costs = Costs::new(tensors, of, least.as_view(), [0, end], InPlace::AtBest);
        let mut limits = PerTensor::new(0, end);
        let mut last_read = 0;
        for tensor in 0..end {
            if last_read <= tensor {
                let limit = costs.least_behind(tensor).min(costs.least_before(tensor));
                limits[tensor] = limit;
            }
            last_read = last_read.max(self.tensors[tensor].last.into());
        }
        limits
    }
}

/// The schedule whose cascades begin at these tensors and at the first one, and end with tensor `last`.
fn schedule_of<const N: usize>(cascades: &[Begin], last: usize) -> Schedule<N> {
    let begins = |tensor: usize| cascades.iter().any(|at| usize::from(at.tensor) == tensor);
    Schedule::of_bands((0..last).filter(|tensor| !begins(tensor + 1)))
}

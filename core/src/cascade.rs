//! Cascades: runs of layers that are executed row by row, depth first.
//!
//! Inside a cascade a tensor exists only as a *band*: the rows that its readers still need. A row is made as
//! soon as a later one cannot be made without it, and it is made once (unlike patches with halos, Lin et al.
//! 2021, "MCUNetV2"). Which tensors are bands is the [`Schedule`] of a plan; it changes no result.
//!
//! Tensors are made in the order of their numbers, so the bands of a schedule and the whole tensor behind each
//! run of them make up a cascade. All that is made inside of a cascade is read inside of it, except for the
//! last tensor, which is whole.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::network::{Layer, PerTensorViewMut};
use crate::op::rows::{Turns, rows_of};
use crate::shape::Shape;

/// Which tensors exist only as bands of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule<const N: usize> {
    /// A bit for each tensor, eight to a byte, as far as the last band; the network's output is always whole.
    bands: Vec<u8, N>,
}

impl<const N: usize> Schedule<N> {
    /// Every tensor whole.
    pub const WHOLE: Self = Self { bands: Vec::new() };

    /// The schedule with these bands.
    ///
    /// # Panics
    /// For a tensor that is far beyond `N`.
    #[must_use]
    pub fn of_bands(bands: impl IntoIterator<Item = usize>) -> Self {
        let mut schedule = Self::WHOLE;
        for tensor in bands {
            schedule.insert(tensor);
        }
        schedule
    }

    pub(crate) fn insert(&mut self, tensor: usize) {
        let (byte, bit) = (tensor / 8, tensor % 8);
        if self.bands.len() <= byte {
            let fits = self.bands.resize(byte + 1, 0);
            assert!(fits.is_ok(), "there is no tensor {tensor}");
        }
        self.bands[byte] |= 1 << bit;
    }

    /// Whether this tensor is a band.
    #[must_use]
    pub fn is_band(&self, tensor: usize) -> bool {
        self.bands().contains(tensor)
    }

    /// Whether every tensor is whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.bands.iter().all(|byte| *byte == 0)
    }

    /// The last tensor of the cascade that makes this one: the tensor itself if it is whole.
    #[must_use]
    pub fn end_of(&self, tensor: usize) -> usize {
        self.bands().end_of(tensor)
    }

    /// The bands alone, of any capacity.
    pub(crate) fn bands(&self) -> Bands<'_> {
        Bands(&self.bands)
    }

    /// The cascades of more than one tensor: the first one of each, and the last one, which is whole.
    pub fn cascades(&self) -> impl Iterator<Item = [usize; 2]> + '_ {
        let starts = (0..8 * self.bands.len())
            .filter(|tensor| self.is_band(*tensor) && (*tensor == 0 || !self.is_band(tensor - 1)));
        starts.map(|first| [first, self.end_of(first)])
    }
}

/// The bands of a [`Schedule`] of any capacity: a bit for each tensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bands<'a>(&'a [u8]);

impl Bands<'_> {
    pub(crate) fn contains(self, tensor: usize) -> bool {
        let byte = self.0.get(tensor / 8);
        byte.is_some_and(|byte| byte >> (tensor % 8) & 1 == 1)
    }

    /// As [`Schedule::end_of`].
    pub(crate) fn end_of(self, tensor: usize) -> usize {
        let mut end = tensor;
        while self.contains(end) {
            end += 1;
        }
        end
    }

    /// The first tensor of the cascade that makes this one: the tensor itself if no band is before it.
    pub(crate) fn start_of(self, tensor: usize) -> usize {
        let mut start = tensor;
        while start > 0 && self.contains(start - 1) {
            start -= 1;
        }
        start
    }
}

/// What a cascade needs to know of a network: shapes and what reads what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Graph<'a> {
    pub(crate) input: Shape,
    pub(crate) layers: &'a [Layer],
}

/// How far a tensor of a cascade has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Turns that were taken to make it.
    pub(crate) turns: u16,
    /// The first of the rows that its band holds.
    pub(crate) first: u16,
    /// The tensor for whose next turn it was asked.
    asker: u16,
}

impl Graph<'_> {
    pub(crate) fn shape(&self, tensor: usize) -> Shape {
        match tensor.checked_sub(1) {
            None => self.input,
            Some(layer) => self.layers[layer].output,
        }
    }
}

/// A cascade on its way: which tensor gets its next rows.
pub(crate) struct Cascade<'a> {
    graph: Graph<'a>,
    /// The first tensor and the last one.
    tensors: [usize; 2],
    /// Whether the reader of a band sums its rows up.
    sums: &'a dyn Fn(usize) -> bool,
    /// The tensor whose next turn is wanted.
    at: usize,
}

impl<'a> Cascade<'a> {
    pub(crate) fn new(
        graph: Graph<'a>,
        tensors: [usize; 2],
        sums: &'a dyn Fn(usize) -> bool,
    ) -> Self {
        Self {
            graph,
            tensors,
            sums,
            at: tensors[1],
        }
    }

    #[inline(never)]
    pub(crate) fn turns(&self, layer: usize) -> Turns<'a> {
        let [first, last] = self.tensors;
        let graph = self.graph;
        let Layer {
            op, inputs, output, ..
        } = &graph.layers[layer];
        let source = usize::from(inputs[0]);
        Turns {
            op,
            input: graph.shape(source),
            output: *output,
            sums: (first..last).contains(&source) && (self.sums)(source),
        }
    }

    /// The rows of a tensor that are there after so many turns.
    #[inline(never)]
    pub(crate) fn made(&self, tensor: usize, turns: u16) -> u16 {
        match tensor.checked_sub(1) {
            None => turns,
            Some(layer) => self.turns(layer).made(turns),
        }
    }

    /// The tensor whose maker takes the next turn; `None` once the last one is done. The turn counts as
    /// taken as soon as [`Self::take`] says so.
    #[inline(never)]
    pub(crate) fn next(&mut self, progress: &mut PerTensorViewMut<'_, Progress>) -> Option<usize> {
        let [first, last] = self.tensors;
        loop {
            let (at, turn) = (self.at, progress[self.at].turns);
            let Some(layer) = at.checked_sub(1) else {
                return (turn < self.graph.input.h).then_some(at);
            };
            let turns = self.turns(layer);
            if turn == turns.count() {
                return None;
            }
            let reads = turns.reads(turn);
            let inputs = &self.graph.layers[layer].inputs;
            let inputs = inputs.iter().map(|t| usize::from(*t));
            let missing = inputs.filter(|t| {
                let needed = rows_of(self.graph.shape(*t), &reads).end;
                (first..last).contains(t) && self.made(*t, progress[*t].turns) < needed
            });
            // branches in the order of the layers
            let Some(missing) = missing.min() else {
                return Some(at);
            };
            progress[missing].asker = at as u16;
            self.at = missing;
        }
    }

    /// Counts the turn that [`Self::next`] named.
    pub(crate) fn take(&mut self, progress: &mut PerTensorViewMut<'_, Progress>) {
        let of = &mut progress[self.at];
        of.turns += 1;
        if self.at != self.tensors[1] {
            self.at = of.asker.into();
        }
    }

    /// The first row of a band that a reader still needs, if it is there already; else the row to come.
    #[inline(never)]
    pub(crate) fn oldest_needed(
        &self,
        tensor: usize,
        progress: &PerTensorViewMut<'_, Progress>,
    ) -> u16 {
        let mut oldest = self.made(tensor, progress[tensor].turns);
        for layer in tensor..self.tensors[1] {
            let inputs = &self.graph.layers[layer].inputs;
            if inputs.iter().any(|t| usize::from(*t) == tensor) {
                let (turns, taken) = (self.turns(layer), progress[layer + 1].turns);
                if taken < turns.count() {
                    let reads = rows_of(self.graph.shape(tensor), &turns.reads(taken));
                    oldest = oldest.min(reads.start);
                }
            }
        }
        oldest
    }
}

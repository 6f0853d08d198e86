//! Placement of activations in RAM.
//!
//! Every tensor has a block that is its own from the step that writes it to the last step that reads it; blocks
//! that are never alive together may share addresses. A step makes a tensor of those before it, or all the
//! tensors of a [cascade](crate::cascade), which live throughout it.
//!
//! An operator that goes [element by element](crate::op::Op::is_elementwise) makes its output *in place* of an
//! input that nothing reads later: both have one block, if they are whole, and each is stored in one form, of
//! elements as wide.

mod division;

pub use division::MOST_PLACED;

use heapless::{Vec, VecView};

use crate::cascade::{Bands, Cascade, Graph, Progress, Schedule};
use crate::form::{Form, Forms};
use crate::network::{Layer, Network, PerTensor, PerTensorView, PerTensorViewMut};
use crate::op::rows::Turns;

/// The most turns of all layers together, in rows, with which tensors may be bands: how many rows a band needs
/// is found by going through all of them.
pub const MAX_TURNS: u32 = 1 << 15;

/// The offset of every tensor's block in the activation arena.
#[derive(Clone, Debug)]
pub struct Placement<const N: usize> {
    offsets: PerTensor<u32, N>,
    bytes: u32,
}

/// The rows of a tensor that lie in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// Rows that there is room for; 0: the tensor is whole.
    pub rows: u16,
    /// Whether its only reader sums rows up; the sums lie behind the rows.
    pub sums: bool,
}

impl Band {
    /// A whole tensor.
    pub(crate) const NONE: Self = Self {
        rows: 0,
        sums: false,
    };
}

/// Length and live range of every tensor: the part of placement that no layout changes.
#[derive(Clone, Debug)]
pub struct Lifetimes<const N: usize> {
    tensors: PerTensor<Lifetime, N>,
    count: usize,
}

/// From the step in which a tensor is written to the last one that reads it. Without cascades, a step is the
/// number of the tensor that it makes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Lifetime {
    /// Elements.
    len: u32,
    /// Elements of a row.
    row_len: u32,
    /// Bytes of the sums that its reader makes of the rows of its band.
    sums_bytes: u32,
    /// Rows of its band; 0 where it must be whole.
    rows: u16,
    /// Turns in which it is made.
    turns: u16,
    /// The last step that reads it; its own number for the output.
    last: u16,
    /// How many tensors before it is the one in place of which it can be made; 0 if there is none.
    back: u16,
}

/// A tensor's block in the arena, and when it is in use.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Its bytes: all forms of the tensor, or of the rows of its band, and the sums of rows behind them.
    pub bytes: u32,
    /// The first tensor that is made while it is in use.
    pub first: usize,
    /// The last one.
    pub last: usize,
    /// The tensor that it was made for: an earlier one if the tensor is made in place of it.
    pub of: usize,
}

impl Block {
    const NONE: Self = Self {
        bytes: 0,
        first: 0,
        last: 0,
        of: 0,
    };
}

/// Not placed yet.
const NOWHERE: u32 = u32::MAX;

impl Lifetime {
    fn whole_bytes(&self, forms: Forms) -> u32 {
        forms.bytes(self.len)
    }

    fn band_bytes(&self, forms: Forms) -> u32 {
        forms.bytes(self.row_len * u32::from(self.rows)) + self.sums_bytes
    }

    /// The block of a tensor with this lifetime.
    fn block(&self, tensor: usize, forms: Forms, bands: Bands<'_>) -> Block {
        let bytes = match bands.contains(tensor) {
            true => self.band_bytes(forms),
            false => self.whole_bytes(forms),
        };
        Block {
            bytes,
            first: bands.start_of(tensor),
            last: bands.end_of(self.last.into()),
            of: tensor,
        }
    }

    /// The tensor in place of which this one can be made.
    fn replaces(&self, tensor: usize) -> Option<usize> {
        (self.back > 0).then(|| tensor - usize::from(self.back))
    }

    /// Whether it may be a band in a cascade that ends with tensor `last`: what is made inside of a cascade must
    /// be read inside of it.
    fn can_be_band(&self, last: usize) -> bool {
        self.rows > 0 && usize::from(self.last) <= last
    }
}

impl<const N: usize> Lifetimes<N> {
    /// The lifetimes of a network's tensors, and the rows that their bands need.
    #[must_use]
    pub fn new<const K: usize>(network: &Network<N, K>) -> Self {
        let mut lifetimes = Self::empty();
        lifetimes.set_network(network);
        lifetimes
    }

    /// The lifetimes of a network's tensors where all are whole: no schedule with bands is allowed.
    #[must_use]
    pub fn whole<const K: usize>(network: &Network<N, K>) -> Self {
        let mut lifetimes = Self::empty();
        lifetimes.set_tensors(network);
        lifetimes
    }

    /// The lifetimes of no tensors.
    pub(crate) const fn empty() -> Self {
        const NONE: Lifetime = Lifetime {
            len: 0,
            row_len: 0,
            sums_bytes: 0,
            rows: 0,
            turns: 0,
            last: 0,
            back: 0,
        };
        Self {
            tensors: PerTensor::empty(NONE),
            count: 0,
        }
    }

    /// Makes these the lifetimes of another network's tensors, in place.
    pub(crate) fn set_network<const K: usize>(&mut self, network: &Network<N, K>) {
        self.set_tensors(network);
        let turns = (0..self.count).map(|tensor| u32::from(self.tensors[tensor].turns));
        if turns.sum::<u32>() <= MAX_TURNS {
            self.set_bands(graph_of(network));
        }
    }

    fn set_tensors<const K: usize>(&mut self, network: &Network<N, K>) {
        self.count = network.tensor_count();
        let last = self.count - 1;
        self.tensors = PerTensor::new(Lifetime::default(), last);
        let graph = graph_of(network);
        for tensor in 0..self.count {
            let readers = network.layers.iter().enumerate();
            let mut readers = readers.filter(|(_, layer)| {
                let mut inputs = layer.inputs.iter();
                inputs.any(|t| usize::from(*t) == tensor)
            });
            let reader = readers.next();
            let later = readers.next_back();
            let shape = network.shape(tensor);
            let sums = reader.filter(|(_, reader)| {
                later.is_none() && reader.op.can_sum_rows(shape, reader.output)
            });
            let sums = sums.map_or(0, |(_, reader)| {
                4 * u32::from(reader.output.w) * u32::from(reader.output.c)
            });
            let (turns, back) = match tensor.checked_sub(1) {
                None => (shape.h, 0),
                Some(layer) => {
                    let Layer { op, inputs, .. } = &network.layers[layer];
                    let source = usize::from(inputs[0]);
                    let of = Turns {
                        op,
                        input: graph.shape(source),
                        output: shape,
                        sums: self.tensors[source].sums_bytes > 0,
                    };
                    let last_read = |t: &u16| usize::from(self.tensors[usize::from(*t)].last);
                    let are_different = inputs.windows(2).all(|pair| pair[0] != pair[1]);
                    let can_replace = op.is_elementwise() && are_different;
                    // the one made last: often only this layer reads it, and it is stored in one form
                    let is_as_long = |t: &&u16| network.shape((**t).into()).len() == shape.len();
                    let inputs = inputs.iter().filter(|t| last_read(t) == tensor);
                    let inputs = inputs.filter(is_as_long);
                    let replaced = inputs.max().filter(|_| can_replace);
                    (of.count(), replaced.map_or(0, |t| tensor as u16 - t))
                }
            };
            self.tensors[tensor] = Lifetime {
                len: shape.len() as u32,
                row_len: u32::from(shape.w) * u32::from(shape.c),
                sums_bytes: sums,
                rows: 0,
                turns,
                last: later.or(reader).map_or(tensor, |(i, _)| i + 1) as u16,
                back,
            };
        }
    }

    /// Finds how many rows the band of every tensor needs: the most that it holds in a cascade of the whole
    /// network, continued until every tensor has all rows. In a shorter cascade it holds no more: what is made of
    /// a tensor is asked for row by row in either, by way of the tensor that the shorter one ends with.
    fn set_bands(&mut self, graph: Graph<'_>) {
        let last = self.count - 1;
        let mut rows = PerTensor::<u16, N>::new(1, last);
        let mut all = PerTensor::<Progress, N>::new(Progress::default(), last);
        let mut progress = all.as_view_mut();
        let sums = |tensor: usize| self.tensors[tensor].sums_bytes > 0;
        // a tensor that ends a cascade has all its rows, needed or not
        for end in (0..=last).rev() {
            let mut cascade = Cascade::new(graph, [0, end], &sums);
            while let Some(tensor) = cascade.next(&mut progress) {
                let oldest = cascade.oldest_needed(tensor, &progress);
                cascade.take(&mut progress);
                let made = cascade.made(tensor, progress[tensor].turns);
                rows[tensor] = rows[tensor].max(made - oldest);
            }
        }
        for tensor in 0..last {
            self.tensors[tensor].rows = rows[tensor];
        }
    }

    /// The blocks of all tensors in a schedule. A tensor that is made in place of another one has that one's.
    #[must_use]
    pub fn blocks(
        &self,
        forms: &PerTensor<Forms, N>,
        schedule: &Schedule<N>,
    ) -> PerTensor<Block, N> {
        let mut blocks = PerTensor::empty(Block::NONE);
        let (forms, bands) = (forms.as_view(), schedule.bands());
        set_blocks(
            self.tensors.as_view(),
            forms,
            bands,
            &mut blocks.as_view_mut(),
        );
        for tensor in 0..self.count {
            blocks[tensor] = blocks[blocks[tensor].of];
        }
        blocks
    }

    /// Bytes of a tensor that is whole.
    pub(crate) fn whole_bytes(&self, tensor: usize, forms: Forms) -> u32 {
        self.tensors[tensor].whole_bytes(forms)
    }

    /// The first and the last of these tensors, and the last step that reads one; in the wrong order for none.
    pub(crate) fn span_of(&self, tensors: &PerTensor<bool, N>) -> Span {
        let chosen = (0..self.count).filter(|tensor| tensors[*tensor]);
        chosen.fold(Span::NONE, |span, tensor| Span {
            first: span.first.min(tensor as u16),
            last: span.last.max(tensor as u16),
            last_read: span.last_read.max(self.tensors[tensor].last),
        })
    }

    /// Whether tensors may be bands as a schedule says: what is made inside of a cascade must be read inside of
    /// it, and there must not be more than [`MAX_TURNS`] turns.
    #[must_use]
    pub fn allows(&self, schedule: &Schedule<N>) -> bool {
        schedule.cascades().all(|[first, last]| {
            let mut bands = first..last;
            last < self.count && bands.all(|tensor| self.tensors[tensor].can_be_band(last))
        })
    }

    /// The turns in which the cascades of a schedule make their tensors; 0 where every tensor is whole.
    #[must_use]
    pub fn turns(&self, schedule: &Schedule<N>) -> u32 {
        let cascades = schedule.cascades();
        let tensors = cascades.flat_map(|[first, last]| first..=last);
        tensors
            .map(|tensor| u32::from(self.tensors[tensor].turns))
            .sum()
    }

    /// Places the tensors: the largest block first, each at the lowest offset where no block lies
    /// that is alive at the same time (greedy by size; Pisarchyk and Lee 2020, "Efficient Memory
    /// Management for Deep Neural Net Inference"). The schedule is one that is [allowed](Self::allows).
    #[must_use]
    pub fn place(&self, forms: &PerTensor<Forms, N>, schedule: &Schedule<N>) -> Placement<N> {
        let mut placement = Placement::empty();
        placement.bytes = self.place_at(forms, schedule, &mut placement.offsets);
        placement
    }

    /// Places the tensors as [`Self::place`] does, at these offsets; the bytes of the arena.
    fn place_at(
        &self,
        forms: &PerTensor<Forms, N>,
        schedule: &Schedule<N>,
        offsets: &mut PerTensor<u32, N>,
    ) -> u32 {
        let mut blocks = PerTensor::<Block, N>::empty(Block::NONE);
        let (forms, bands) = (forms.as_view(), schedule.bands());
        let blocks = &mut blocks.as_view_mut();
        set_blocks(self.tensors.as_view(), forms, bands, blocks);
        let mut order = Vec::<u16, N>::new();
        place(
            blocks,
            self.count,
            order.as_mut_view(),
            &mut offsets.as_view_mut(),
        )
    }

    /// Which tensors are bands in a schedule, and of how many rows.
    #[must_use]
    pub fn bands(&self, schedule: &Schedule<N>) -> PerTensor<Band, N> {
        let mut bands = PerTensor::new(Band::NONE, self.count - 1);
        for tensor in (0..self.count).filter(|tensor| schedule.is_band(*tensor)) {
            let of = self.tensors[tensor];
            bands[tensor] = Band {
                rows: of.rows,
                sums: of.sums_bytes > 0,
            };
        }
        bands
    }
}

/// Whether a tensor in these forms can be made in place of one in those, if both are whole: each has one, and their
/// elements are as wide.
const fn share(made: Forms, replaced: Forms) -> bool {
    let are_floats = [made.contains(Form::F32), replaced.contains(Form::F32)];
    made.is_single() && replaced.is_single() && are_floats[0] == are_floats[1]
}

/// The blocks of all tensors in a schedule; those of tensors that are made in place of another one say only which
/// one's they have. As all that knows no capacity, it is built here, as the kernels are.
fn set_blocks(
    tensors: PerTensorView<'_, Lifetime>,
    forms: PerTensorView<'_, Forms>,
    bands: Bands<'_>,
    blocks: &mut PerTensorViewMut<'_, Block>,
) {
    let layers = tensors.layers.len();
    blocks.fill(Block::NONE, layers);
    for tensor in 0..=layers {
        let block = tensors[tensor].block(tensor, forms[tensor], bands);
        blocks[tensor] = block;
        let Some(replaced) = tensors[tensor].replaces(tensor) else {
            continue;
        };
        let is_alone = block.first == tensor && !bands.contains(tensor);
        if is_alone && !bands.contains(replaced) && share(forms[tensor], forms[replaced]) {
            let of = blocks[replaced].of;
            blocks[tensor].of = of;
            blocks[of].last = block.last;
        }
    }
}

/// Places blocks as [`Lifetimes::place`] says; the bytes of the arena. `order` is room for the blocks by their
/// offsets, but for the one that is placed last.
fn place(
    blocks: &PerTensorViewMut<'_, Block>,
    count: usize,
    order: &mut VecView<u16>,
    offsets: &mut PerTensorViewMut<'_, u32>,
) -> u32 {
    offsets.fill(NOWHERE, count - 1);
    // those that lie where another one does are placed with it
    for tensor in (0..count).filter(|t| blocks[*t].of < *t) {
        offsets[tensor] = 0;
    }
    order.clear();
    let mut bytes = 0;
    for _ in 0..count {
        // of equal ones the first
        let mut largest = None;
        for tensor in (0..count).filter(|t| offsets[*t] == NOWHERE) {
            let bytes = blocks[tensor].bytes;
            if largest.is_none_or(|(_, most)| bytes > most) {
                largest = Some((tensor, bytes));
            }
        }
        let Some((tensor, _)) = largest else {
            break;
        };
        let block = blocks[tensor];
        let mut offset = 0;
        for other in order.iter() {
            let (at, with) = (offsets[usize::from(*other)], blocks[usize::from(*other)]);
            if with.first <= block.last && block.first <= with.last {
                if at >= offset + block.bytes {
                    break;
                }
                offset = offset.max(at + with.bytes);
            }
        }
        offsets[tensor] = offset;
        bytes = bytes.max(offset + block.bytes);
        let behind = order
            .iter()
            .take_while(|t| offsets[usize::from(**t)] <= offset);
        let behind = behind.count();
        // step by step: for `insert` a program would need a second way to copy
        let _ = order.push(tensor as u16);
        for at in (behind + 1..order.len()).rev() {
            order.swap(at - 1, at);
        }
    }
    for tensor in (0..count).filter(|t| blocks[*t].of < *t) {
        offsets[tensor] = offsets[blocks[tensor].of];
    }
    bytes
}

fn graph_of<const N: usize, const K: usize>(network: &Network<N, K>) -> Graph<'_> {
    Graph {
        input: network.input,
        layers: &network.layers,
    }
}

/// Tensors, from the first to the last one, and the last step that reads one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) last_read: u16,
}

impl Span {
    /// No tensor.
    pub(crate) const NONE: Self = Self {
        first: u16::MAX,
        last: 0,
        last_read: 0,
    };
}

impl Default for Span {
    fn default() -> Self {
        Self::NONE
    }
}

impl<const N: usize> Placement<N> {
    /// No tensors.
    pub(crate) const fn empty() -> Self {
        Self {
            offsets: PerTensor::empty(0),
            bytes: 0,
        }
    }

    /// Size of the arena.
    #[must_use]
    pub const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// The offset of every tensor's block, in which its forms lie one after the other, widest first.
    #[must_use]
    pub fn offsets(&self) -> PerTensorView<'_, u32> {
        self.offsets.as_view()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn blocks_alive_together_never_overlap() {
        const N: usize = 24;
        let mut rng = SmallRng::seed_from_u64(3);
        let rounds = if cfg!(miri) { 10 } else { 2_000 };
        for _ in 0..rounds {
            let count = rng.random_range(2..=N + 1);
            let mut blocks = PerTensor::<Block, N>::new(Block::NONE, count - 1);
            for tensor in 0..count {
                let first = tensor;
                blocks[tensor] = Block {
                    bytes: 4 * rng.random_range(0..50),
                    first,
                    last: rng.random_range(first..=count),
                    of: tensor,
                };
            }
            let mut offsets = PerTensor::<u32, N>::empty(0);
            let mut order = Vec::<u16, N>::new();
            let (blocks, offsets) = (&mut blocks, &mut offsets);
            let (views, order) = (blocks.as_view_mut(), order.as_mut_view());
            let bytes = place(&views, count, order, &mut offsets.as_view_mut());
            for a in 0..count {
                let (at, block) = (offsets[a], blocks[a]);
                assert!(at + block.bytes <= bytes);
                for b in 0..a {
                    let (other, with) = (offsets[b], blocks[b]);
                    let together = with.first <= block.last && block.first <= with.last;
                    let apart = at + block.bytes <= other || other + with.bytes <= at;
                    assert!(!together || apart);
                }
            }
        }
    }
}

//! Placement of activations in RAM.
//!
//! Every tensor has a block that is its own from the layer that writes it to the last layer that
//! reads it; blocks that are never alive together may share addresses.

use crate::form::Forms;
use crate::network::{Network, PerTensor, PerTensorView};

/// The offset of every tensor's block in the activation arena.
#[derive(Clone, Debug)]
pub struct Placement<const N: usize> {
    offsets: PerTensor<u32, N>,
    bytes: u32,
}

/// Length and live range of every tensor: the part of placement that no layout changes.
#[derive(Clone, Debug)]
pub struct Lifetimes<const N: usize> {
    tensors: PerTensor<Lifetime, N>,
    count: usize,
}

/// From the step in which a tensor is written to the last one that reads it; a step is a layer's
/// index, and the network's input is there before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Lifetime {
    len: u32,
    last: u16,
}

/// A tensor's block: `bytes`, in use from step `first` to step `last` (both inclusive).
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    bytes: u32,
    first: usize,
    last: usize,
}

/// Not placed yet.
const NOWHERE: u32 = u32::MAX;

impl<const N: usize> Lifetimes<N> {
    /// The lifetimes of a network's tensors.
    #[must_use]
    pub fn new<const K: usize>(network: &Network<N, K>) -> Self {
        let count = network.tensor_count();
        let mut tensors = PerTensor::new(Lifetime::default(), count - 1);
        for tensor in 0..count {
            tensors[tensor] = Lifetime {
                len: network.shape(tensor).len() as u32,
                last: last_use(network, tensor) as u16,
            };
        }
        Self { tensors, count }
    }

    /// The lifetimes of no tensors.
    pub(crate) const fn empty() -> Self {
        Self {
            tensors: PerTensor::empty(Lifetime { len: 0, last: 0 }),
            count: 0,
        }
    }

    fn block(&self, tensor: usize, forms: Forms) -> Block {
        let Lifetime { len, last } = self.tensors[tensor];
        Block {
            bytes: forms.bytes(len),
            first: tensor.saturating_sub(1),
            last: last.into(),
        }
    }

    /// The first and the last step in which one of these tensors lives; in the wrong order for none.
    pub(crate) fn steps_of(&self, tensors: &PerTensor<bool, N>) -> [u16; 2] {
        let chosen = (0..self.count).filter(|tensor| tensors[*tensor]);
        chosen.fold([u16::MAX, 0], |[first, last], tensor| {
            let block = self.block(tensor, Forms::NONE);
            [first.min(block.first as u16), last.max(block.last as u16)]
        })
    }

    /// The most bytes that are alive at once when tensors are stored in these forms: no placement
    /// takes less.
    #[must_use]
    pub fn live_bytes(&self, forms: &PerTensor<Forms, N>) -> u32 {
        // what ends after each step
        let mut ends = PerTensor::<u32, N>::new(0, self.count - 1);
        let (mut live, mut most) = (0, 0);
        for tensor in 0..self.count {
            let Block { bytes, last, .. } = self.block(tensor, forms[tensor]);
            // tensor `t` is written in step t - 1, by when what ends in step t - 2 is gone
            if let Some(gone) = tensor.checked_sub(2) {
                live -= ends[gone];
            }
            live += bytes;
            most = most.max(live);
            ends[last.min(self.count - 1)] += bytes;
        }
        most
    }

    /// Places the tensors: the largest block first, each at the lowest offset where no block lies
    /// that is alive at the same time (greedy by size; Pisarchyk and Lee 2020, "Efficient Memory
    /// Management for Deep Neural Net Inference").
    #[must_use]
    pub fn place(&self, forms: &PerTensor<Forms, N>) -> Placement<N> {
        let mut blocks = PerTensor::new(Block::default(), self.count - 1);
        for tensor in 0..self.count {
            blocks[tensor] = self.block(tensor, forms[tensor]);
        }
        Placement::greedy(&blocks, self.count)
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

    fn greedy(blocks: &PerTensor<Block, N>, count: usize) -> Self {
        let mut offsets = PerTensor::new(NOWHERE, count - 1);
        let mut bytes = 0;
        for _ in 0..count {
            let unplaced = (0..count).filter(|t| offsets[*t] == NOWHERE);
            let Some(tensor) = unplaced.max_by_key(|t| (blocks[*t].bytes, count - t)) else {
                break;
            };
            let block = blocks[tensor];
            let mut offset = 0;
            while let Some(end) = (0..count).find_map(|other| {
                let (at, with) = (offsets[other], blocks[other]);
                let together = with.first <= block.last && block.first <= with.last;
                let overlaps = || at < offset + block.bytes && offset < at + with.bytes;
                (at != NOWHERE && together && overlaps()).then(|| at + with.bytes)
            }) {
                offset = end;
            }
            offsets[tensor] = offset;
            bytes = bytes.max(offset + block.bytes);
        }
        Self { offsets, bytes }
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

/// The index of the last layer that reads a tensor; one past the last layer for the output.
fn last_use<const N: usize, const K: usize>(network: &Network<N, K>, tensor: usize) -> usize {
    let count = network.layers.len();
    if tensor == count {
        return count;
    }
    let reads = |i: &usize| {
        let inputs = &network.layers[*i].inputs;
        inputs.iter().any(|t| usize::from(*t) == tensor)
    };
    (0..count).rev().find(reads).unwrap_or(tensor)
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
            let mut blocks = PerTensor::<Block, N>::new(Block::default(), count - 1);
            for tensor in 0..count {
                let first = tensor.saturating_sub(1);
                blocks[tensor] = Block {
                    bytes: 4 * rng.random_range(0..50),
                    first,
                    last: rng.random_range(first..=count),
                };
            }
            let placed = Placement::greedy(&blocks, count);
            for a in 0..count {
                let (at, block) = (placed.offsets[a], blocks[a]);
                assert!(at + block.bytes <= placed.bytes());
                for b in 0..a {
                    let (other, with) = (placed.offsets[b], blocks[b]);
                    let together = with.first <= block.last && block.first <= with.last;
                    let apart = at + block.bytes <= other || other + with.bytes <= at;
                    assert!(!together || apart);
                }
            }
        }
    }
}

//! The order in which the layers of a model run: of all in which every layer comes behind those that it reads, the
//! one whose activations take the least RAM.
//!
//! A tensor is held until its last reader has run, so the order of two branches decides which tensors of one are
//! held beside those of the other. The bytes are those that a plan counts ([`Lifetimes`]) with every layer at INT8,
//! the level of most deployments: first the arena of the smallest schedule; of orders equal in that, the arena of
//! whole tensors; of orders equal in both, the file's, or else the lexicographically first one.
//!
//! All orders are tried where they are few. Else the layers are divided wherever every order has the same ones
//! before, and the stretches between are put in order one by one, the others as they are, until none gains. That
//! takes no more than the file's order, but another order may take less.

mod every;

use std::cmp::Reverse;
use std::ops::Range;

use bitbudget_core::arena::Lifetimes;
use bitbudget_core::cascade::Schedule;
use bitbudget_core::form::Forms;
use bitbudget_core::level::Level;
use bitbudget_core::network::{Layer, PerTensor};
use bitbudget_core::quant::{QParams, Rounding, Width};

use crate::capacity::{HostNetwork, MAX_LAYERS};
use crate::graph::{Graph, GraphLayer};
use every::every_order;

/// The level of every layer.
const LEVEL: Level = Level::Int(Width::Int8, Rounding::Nearest);
/// A usable quantizer; bytes do not depend on it.
const Q: QParams = QParams {
    scale: 1.0,
    zero_point: 0,
};
/// The most orders that are tried.
const MOST_ORDERS: usize = 4096;
/// The most work of trying orders: one order is as much as the layers times the sum of layers and rows of tensors.
const MOST_WORK: usize = 1 << 26;

/// The graph with its layers in the order of least RAM. It stays as it is where no order takes less, or where a
/// network cannot have so many layers or bytes.
pub(super) fn by_least_ram(graph: Graph) -> Graph {
    let count = graph.layers.len();
    let rows: usize = (0..=count).map(|t| usize::from(graph.shape(t).h)).sum();
    let most = MOST_WORK / (count * (count + rows)).max(1);
    by_least_ram_of(graph, most.min(MOST_ORDERS))
}

/// As [`by_least_ram`], trying at most about so many orders.
fn by_least_ram_of(graph: Graph, most: usize) -> Graph {
    let follows = |(i, layer): (usize, &GraphLayer)| i == 0 || layer.inputs.contains(&i);
    let has_one_order = graph.layers.iter().enumerate().all(follows);
    if has_one_order || graph.layers.len() > MAX_LAYERS {
        return graph;
    }
    let network = graph.network(&[LEVEL], |_| Q);
    if network.check().is_err() {
        return graph;
    }
    let order = Search::new(network, most).best();
    reordered(graph, &order)
}

/// The graph with its layers in this order.
fn reordered(graph: Graph, order: &[usize]) -> Graph {
    let tensors = tensors_of(order);
    let mut layers: Vec<(usize, GraphLayer)> = Vec::new();
    for (i, mut layer) in graph.layers.into_iter().enumerate() {
        layer.inputs.iter_mut().for_each(|t| *t = tensors[*t]);
        layers.push((tensors[i + 1], layer));
    }
    layers.sort_by_key(|(tensor, _)| *tensor);
    Graph {
        input: graph.input,
        layers: layers.into_iter().map(|(_, layer)| layer).collect(),
        outputs: graph.outputs,
    }
}

/// By tensor: its number when the layers are in this order.
fn tensors_of(order: &[usize]) -> Vec<usize> {
    let mut tensors = vec![0; order.len() + 1];
    for (at, layer) in order.iter().enumerate() {
        tensors[layer + 1] = at + 1;
    }
    tensors
}

/// What orders are compared by: the arenas first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    /// Bytes of the smallest arena, and of that of whole tensors.
    arenas: [u32; 2],
    /// Bytes alive in the part that is put in order, likewise; 0 where that is the whole network. Where several
    /// parts decide an arena alike, none of them makes it smaller alone.
    alive: [u32; 2],
}

/// The tensors of a network, to be placed.
struct Tensors {
    lifetimes: Lifetimes<MAX_LAYERS>,
    /// Without schedules in which some are bands.
    whole: Lifetimes<MAX_LAYERS>,
    forms: PerTensor<Forms, MAX_LAYERS>,
}

impl Tensors {
    fn arenas(&self) -> [u32; 2] {
        let (_, least) = self.lifetimes.smallest(&self.forms);
        let whole = self.whole.place(&self.forms, &Schedule::WHOLE);
        [least.bytes(), whole.bytes()]
    }

    fn alive(&self, part: &Range<usize>) -> [u32; 2] {
        let made = [part.start + 1, part.end];
        [&self.lifetimes, &self.whole].map(|of| of.live_bytes_of(&self.forms, made))
    }
}

/// A search among the orders of a network's layers, which it names by their places in the file.
struct Search {
    /// Its layers are in the order tried last.
    network: Box<HostNetwork>,
    /// The layers in the file's order.
    layers: Vec<Layer>,
    levels: Vec<Level>,
    /// The best order so far.
    order: Vec<usize>,
    /// Orders that may still be tried.
    left: usize,
}

impl Search {
    fn new(network: Box<HostNetwork>, most: usize) -> Self {
        let count = network.layers.len();
        Self {
            layers: network.layers.to_vec(),
            levels: vec![LEVEL; count],
            order: (0..count).collect(),
            left: most,
            network,
        }
    }

    /// The best order.
    fn best(mut self) -> Vec<usize> {
        let file = self.order.clone();
        let all = 0..file.len();
        if let Some(orders) = self.orders(&all, false, self.left) {
            self.choose(&all, &orders);
            return self.order;
        }
        let tensors = self.tensors(&file);
        let mut stretches = self.stretches();
        // those that decide the arenas first
        stretches.sort_by_cached_key(|stretch| Reverse(tensors.alive(stretch)));
        let mut before = Vec::new();
        while self.left > 0 && before != self.order {
            before.clone_from(&self.order);
            for stretch in &stretches {
                self.improve(stretch.clone(), self.left / 2);
            }
        }
        // back where nothing is gained
        let mut arenas = self.tensors(&self.order.clone()).arenas();
        for stretch in stretches {
            let mut order = self.order.clone();
            order[stretch.clone()].copy_from_slice(&file[stretch]);
            if order == self.order {
                continue;
            }
            let its = self.tensors(&order).arenas();
            if its <= arenas {
                (self.order, arenas) = (order, its);
            }
        }
        match arenas < tensors.arenas() {
            true => self.order,
            false => file,
        }
    }

    /// The parts of more than one layer that every order has at the same place, each as short as can be.
    fn stretches(&self) -> Vec<Range<usize>> {
        let count = self.layers.len();
        // by layer: whether it needs each layer before it, and how many of the first ones it needs
        let mut needs: Vec<Vec<bool>> = Vec::new();
        let mut needs_first = Vec::new();
        for layer in &self.layers {
            let mut own = vec![false; count];
            for input in layer.inputs.iter().filter_map(|t| t.checked_sub(1)) {
                let input = usize::from(input);
                own.iter_mut()
                    .zip(&needs[input])
                    .for_each(|(own, of)| *own |= *of);
                own[input] = true;
            }
            needs_first.push(own.iter().take_while(|needs| **needs).count());
            needs.push(own);
        }
        let (mut stretches, mut end, mut least) = (Vec::new(), count, count);
        for start in (0..count).rev() {
            least = least.min(needs_first[start]);
            if least >= start {
                if end - start > 1 {
                    stretches.push(start..end);
                }
                end = start;
            }
        }
        stretches.reverse();
        stretches
    }

    /// Puts a part in order by trying at most so many orders: all that it has; if they are more, those that keep
    /// runs of layers together; if these are more, too, half by half.
    fn improve(&mut self, part: Range<usize>, most: usize) {
        if part.len() < 2 || most < 2 {
            return;
        }
        let orders = self.orders(&part, false, most);
        if let Some(orders) = orders.or_else(|| self.orders(&part, true, most)) {
            self.choose(&part, &orders);
            return;
        }
        let (middle, quarter) = (part.start + part.len() / 2, part.len() / 4);
        self.improve(part.start..middle, most / 3);
        self.improve(middle..part.end, most / 3);
        self.improve(part.start + quarter..middle + quarter, most / 3);
    }

    /// Every order of a part, the nearest to the file's first; `None` where they are more than `most`.
    fn orders(&self, part: &Range<usize>, in_runs: bool, most: usize) -> Option<Vec<Vec<usize>>> {
        let mut layers = self.order[part.clone()].to_vec();
        layers.sort_unstable();
        every_order(&self.layers, &layers, in_runs, most)
    }

    /// Takes the best of these orders of a part, if it is better than the part's own.
    fn choose(&mut self, part: &Range<usize>, orders: &[Vec<usize>]) {
        let mut cost = self.cost(&self.order.clone(), part);
        for own in orders {
            let mut order = self.order.clone();
            order[part.clone()].copy_from_slice(own);
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let its = self.cost(&order, part);
            if its < cost {
                (self.order, cost) = (order, its);
            }
        }
    }

    /// What an order costs while a part is put in order.
    fn cost(&mut self, order: &[usize], part: &Range<usize>) -> Cost {
        let tensors = self.tensors(order);
        Cost {
            arenas: tensors.arenas(),
            alive: match part.len() == order.len() {
                true => [0; 2],
                false => tensors.alive(part),
            },
        }
    }

    /// The tensors in an order.
    fn tensors(&mut self, order: &[usize]) -> Tensors {
        let tensors = tensors_of(order);
        self.network.layers.clear();
        for &layer in order {
            let mut layer = self.layers[layer].clone();
            for input in &mut layer.inputs {
                *input = tensors[usize::from(*input)] as u16;
            }
            // as many as were there
            let _ = self.network.layers.push(layer);
        }
        Tensors {
            lifetimes: Lifetimes::new(&self.network),
            whole: Lifetimes::whole(&self.network),
            forms: self.network.forms(&self.levels),
        }
    }
}

#[cfg(test)]
mod tests;

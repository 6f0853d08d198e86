//! Every order of some of a network's layers.

use bitbudget_core::network::Layer;

/// Every order of some layers, given by their rising numbers, in which each comes behind those that it reads:
/// lexicographically sorted. `None` where they are more than `most`.
///
/// If `in_runs`, a layer that reads only one tensor, which no other one reads, comes right behind the layer that
/// makes it.
pub(super) fn every_order(
    network: &[Layer],
    layers: &[usize],
    in_runs: bool,
    most: usize,
) -> Option<Vec<Vec<usize>>> {
    let place = |tensor: &u16| {
        let layer = usize::from(*tensor).checked_sub(1)?;
        layers.binary_search(&layer).ok()
    };
    let reads = |layer: &usize| network[*layer].inputs.iter().filter_map(place).collect();
    let reads: Vec<Vec<usize>> = layers.iter().map(reads).collect();
    let follower = |place: usize| {
        let tensor = layers[place] as u16 + 1;
        let readers = network.iter().enumerate();
        let mut readers = readers.filter(|(_, layer)| layer.inputs.contains(&tensor));
        let (reader, layer) = readers.next()?;
        let is_run = readers.next().is_none() && layer.inputs.iter().all(|t| *t == tensor);
        layers.binary_search(&reader).ok().filter(|_| is_run)
    };
    let followers = (0..layers.len()).map(|place| follower(place).filter(|_| in_runs));
    let mut orders = Orders {
        layers,
        reads: &reads,
        followers: followers.collect(),
        order: Vec::new(),
        is_placed: vec![false; layers.len()],
        found: Vec::new(),
        most,
    };
    orders.complete().then_some(orders.found)
}

/// The orders so far, of layers that are named by their places in `layers`.
struct Orders<'a> {
    layers: &'a [usize],
    /// The layers that each layer reads.
    reads: &'a [Vec<usize>],
    /// The layer that must come right behind a layer.
    followers: Vec<Option<usize>>,
    /// The beginning of the order at hand.
    order: Vec<usize>,
    /// Whether a layer is in it.
    is_placed: Vec<bool>,
    found: Vec<Vec<usize>>,
    most: usize,
}

impl Orders<'_> {
    /// Finds all orders that begin as the one at hand; whether there was room for all.
    fn complete(&mut self) -> bool {
        if self.order.len() == self.layers.len() {
            let layers = self.order.iter().map(|place| self.layers[*place]);
            self.found.push(layers.collect());
            return self.found.len() <= self.most;
        }
        let follower = self.order.last().and_then(|last| self.followers[*last]);
        let places = follower.map_or(0..self.layers.len(), |place| place..place + 1);
        for place in places {
            let is_ready = self.reads[place].iter().all(|read| self.is_placed[*read]);
            if !is_ready || self.is_placed[place] {
                continue;
            }
            self.order.push(place);
            self.is_placed[place] = true;
            let is_complete = self.complete();
            self.order.pop();
            self.is_placed[place] = false;
            if !is_complete {
                return false;
            }
        }
        true
    }
}

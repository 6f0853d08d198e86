//! The layout of smallest first cost, surcharge included.

use super::search::Run;
use super::solution::Least;
use super::{Solver, Surcharge};

/// After so many nodes a search is asked whether it has found a layout.
const SLICE: u64 = 16;

impl<const N: usize, const K: usize, const D: usize> Solver<N, K, D> {
    /// Returns the layout whose first cost, surcharge included, is smallest, as far as `node_limit`
    /// nodes tell; the search that was begun is lost.
    ///
    /// Every part (see `search`) gives a candidate and a bound. Where they do not meet, the totals
    /// between are bisected: whether there is a layout of at most some total is what a search finds out.
    pub(crate) fn least_total(
        &mut self,
        node_limit: u64,
        surcharge: &dyn Surcharge<N>,
    ) -> Least<N> {
        let mut least = self.run(surcharge).least_of_parts();
        while least.bound < least.total && least.nodes < node_limit {
            let middle = least.bound.midpoint(least.total - 1);
            let mut limits = [u64::MAX; D];
            limits[0] = middle;
            self.start(limits, surcharge);
            let before = least.nodes;
            loop {
                let spent = self.search.nodes();
                let until = (spent + SLICE).min(node_limit - before);
                self.run(surcharge).advance(until);
                least.nodes = before + self.search.nodes();
                if let Some((layout, surcharge)) = self.search.incumbent() {
                    least.choice = self.problem.indices(&layout.items);
                    let cost = self.problem.cost(&layout.items)[0].cast_unsigned();
                    least.total = self.problem.smallest_cost[0] + cost + u64::from(surcharge);
                    break;
                }
                if self.search.is_done() {
                    least.bound = middle + 1;
                    break;
                }
                if least.nodes >= node_limit {
                    return least;
                }
            }
        }
        least
    }
}

impl<const N: usize, const K: usize, const D: usize> Run<'_, N, K, D> {
    /// Returns the best of the smallest layouts of all parts, and the least bound of one.
    fn least_of_parts(&mut self) -> Least<N> {
        let mut least = Least {
            choice: heapless::Vec::new(),
            total: u64::MAX,
            bound: u64::MAX,
            nodes: 0,
        };
        let mut next = Some(self.first_threshold());
        while let Some(threshold) = next {
            self.allow_up_to(threshold);
            let layout = self.problem.smallest_layout();
            let cost = self.problem.cost(&layout.items)[0].cast_unsigned();
            let cost = self.problem.smallest_cost[0] + cost;
            least.bound = least.bound.min(cost + u64::from(threshold));
            let total = cost + u64::from(self.surcharge_of(&layout));
            if total < least.total {
                least.total = total;
                least.choice = self.problem.indices(&layout.items);
            }
            next = self.next_threshold(threshold);
        }
        least
    }
}

//! The planner: plans for any budgets of one network.

use heapless::Vec;

use super::arena::{Arena, Reader};
use super::{Budget, BudgetTooSmall, Place, Plan};
use crate::arena::Lifetimes;
use crate::mckp::{Item, Least, Solver};
use crate::network::Network;

/// The most nodes that a planner visits to find the smallest total of a network; where they do not
/// suffice, [`BudgetTooSmall::proven`] is false.
pub const SMALLEST_NODES: u64 = 1_000;

/// Answers budgets for one network; what does not depend on the budget is worked out once.
#[derive(Clone, Debug)]
pub struct Planner<const N: usize, const K: usize> {
    solver: Solver<N, K>,
    lifetimes: Lifetimes<N>,
    /// By layer.
    readers: Vec<Reader, N>,
    /// The layout that takes least RAM in all, once a budget on all of it was given.
    smallest: Option<Least<N>>,
    budget: Budget,
    place: Place,
    /// Whether the solver's costs are zeros, not the bytes of weights.
    is_free: bool,
}

impl<const N: usize, const K: usize> Planner<N, K> {
    /// The planner of a network whose weights lie in RAM.
    #[must_use]
    pub fn new(network: &Network<N, K>) -> Self {
        Self::with_weights_in(Place::Ram, network)
    }

    /// The planner of a network whose weights lie in this place.
    #[must_use]
    pub fn with_weights_in(place: Place, network: &Network<N, K>) -> Self {
        let mut planner = Self::empty();
        planner.set_network(network, place);
        planner
    }

    /// The planner of no network: a place for [`Self::set_network`]. All zeros, so that a program holds no
    /// copy of it.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            solver: const { Solver::empty() },
            lifetimes: Lifetimes::empty(),
            readers: Vec::new(),
            smallest: None,
            budget: Budget::Total(0),
            place: Place::Ram,
            is_free: false,
        }
    }

    /// Makes this the planner of another network, in place: a planner is large, and where memory is
    /// short it is better not moved.
    pub fn set_network(&mut self, network: &Network<N, K>, place: Place) {
        self.lifetimes = Lifetimes::new(network);
        self.readers.clear();
        for layer in 0..network.layers.len() {
            // there is room for all layers
            let _ = self
                .readers
                .push(Reader::new(network, &self.lifetimes, layer));
        }
        self.place = place;
        self.smallest = None;
        self.set_groups(network, place == Place::Flash);
    }

    /// Gives the solver the layers as its groups, at costs that are the bytes of their weights, or zeros.
    fn set_groups(&mut self, network: &Network<N, K>, is_free: bool) {
        self.is_free = is_free;
        let readers = &self.readers;
        let prices = &network.prices;
        let rows = prices.rows.iter().enumerate();
        let fits = self.solver.set_groups(rows.map(|(layer, row)| {
            let reader = &readers[layer];
            let leads = usize::from(reader.leader) == layer;
            let row = if leads { &row[..] } else { &[] };
            row.iter().enumerate().map(move |(at, item)| {
                let (bytes, price) = prices.tied_item(layer, at);
                Item {
                    cost: [if is_free { 0 } else { bytes }],
                    // in range: the network was checked
                    price: price as i32,
                    class: reader.class(item.level),
                }
            })
        }));
        debug_assert!(fits.is_ok(), "the price matrix has the solver's capacities");
    }

    /// Makes the solver's costs those that count under a budget.
    fn count_for(&mut self, network: &Network<N, K>, budget: Budget) {
        let is_free = match budget {
            Budget::Total(_) => self.place == Place::Flash,
            Budget::Weights(_) => false,
        };
        if is_free != self.is_free {
            self.set_groups(network, is_free);
        }
    }

    /// Where the weights of its plans lie.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.place
    }

    /// Whether this is the planner of no network.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lifetimes.is_empty()
    }

    /// Finds the layout that takes least in all, by visiting at most [`SMALLEST_NODES`] nodes. The first
    /// budget on all the RAM does so if this was not called before; one on the weights alone needs none.
    pub fn find_smallest(&mut self, network: &Network<N, K>) -> &Least<N> {
        self.count_for(network, Budget::Total(0));
        self.smallest.get_or_insert_with(|| {
            let arena = Arena::new(network, &self.lifetimes, &self.readers);
            self.solver.least_total(SMALLEST_NODES, &arena)
        })
    }

    /// The lifetimes of the network's tensors.
    #[must_use]
    pub const fn lifetimes(&self) -> &Lifetimes<N> {
        &self.lifetimes
    }

    /// The plan of least price within `budget`, found by visiting at most `node_limit` nodes
    /// (`u64::MAX`: proven optimal).
    ///
    /// A first budget on all the RAM takes [`Self::find_smallest`] besides.
    ///
    /// # Errors
    /// [`BudgetTooSmall`] with the smallest budget that is known to do.
    pub fn plan(
        &mut self,
        network: &Network<N, K>,
        budget: Budget,
        node_limit: u64,
    ) -> Result<Plan<N>, BudgetTooSmall> {
        self.start(network, budget);
        self.plan_for(network, node_limit)
    }

    /// Begins the search for the plan of least price within `budget`; [`Self::plan_for`] goes on with
    /// it, so that a main loop can give it slices of time.
    pub fn start(&mut self, network: &Network<N, K>, budget: Budget) {
        self.budget = budget;
        self.count_for(network, budget);
        match budget {
            Budget::Weights(bytes) => self.solver.start([bytes], &()),
            Budget::Total(bytes) => {
                self.find_smallest(network);
                let arena = Arena::new(network, &self.lifetimes, &self.readers);
                self.solver.start([bytes], &arena);
            }
        }
    }

    /// Whether the search that was begun has ended: more nodes would change nothing.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_below_all() || self.solver.is_done()
    }

    /// Whether the budget is proven to be too small before any search.
    fn is_below_all(&self) -> bool {
        match (self.budget, &self.smallest) {
            (Budget::Total(bytes), Some(smallest)) => bytes < smallest.bound,
            _ => false,
        }
    }

    /// The best plan that `nodes` further nodes lead to; [`Plan::is_optimal`] says that the search has
    /// ended.
    ///
    /// # Errors
    /// [`BudgetTooSmall`] with the smallest budget that is known to do.
    pub fn plan_for(
        &mut self,
        network: &Network<N, K>,
        nodes: u64,
    ) -> Result<Plan<N>, BudgetTooSmall> {
        let arena = Arena::new(network, &self.lifetimes, &self.readers);
        let budget = self.budget;
        let too_small = match (budget, &self.smallest) {
            (Budget::Total(_), Some(smallest)) => BudgetTooSmall {
                budget,
                smallest_bytes: smallest.total,
                proven: smallest.total == smallest.bound,
            },
            _ => BudgetTooSmall {
                budget,
                smallest_bytes: self.solver.smallest_cost()[0],
                proven: true,
            },
        };
        let solution = match (budget, &self.smallest) {
            (Budget::Total(_), Some(smallest)) => {
                if self.is_below_all() {
                    return Err(too_small);
                }
                let solution = self.solver.solve_for(nodes, &arena);
                if solution.as_ref().is_err_and(|error| !error.proven) {
                    self.solver.suggest(&smallest.choice, &arena);
                    self.solver.solve_for(0, &arena)
                } else {
                    solution
                }
            }
            _ => self.solver.solve_for(nodes, &()),
        };
        match solution {
            Ok(solution) => Ok(Plan::solved(network, &solution, &arena, budget, self.place)),
            Err(_) => Err(too_small),
        }
    }
}

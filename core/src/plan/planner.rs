//! The planner: plans for any limits of one network.

use heapless::Vec;

use super::arena::{Arena, Reader};
use super::items::Items;
use super::{CapacityError, Limits, LimitsTooSmall, Measure, Plan};
use crate::arena::Lifetimes;
use crate::mckp::{Item, Least, Solution, Solver, Surcharge};
use crate::network::Network;
use crate::place::{Place, Places};

/// The most nodes that a planner visits to find the least RAM of a network; where they do not suffice,
/// [`LimitsTooSmall::proven`] is false.
pub const SMALLEST_NODES: u64 = 1_000;

/// How many measures can be limited at once.
pub const MOST_LIMITS: usize = 2;

/// Answers limits for one network; what does not depend on the limits is worked out once.
///
/// `K` is the most items of a layer: its levels, and twice as many where cycles are limited and places
/// are free ([`Places::Best`]), for then a level in RAM and the same level in flash are two.
#[derive(Clone, Debug)]
pub struct Planner<const N: usize, const K: usize> {
    solver: Solver<N, K, MOST_LIMITS>,
    lifetimes: Lifetimes<N>,
    /// By layer.
    readers: Vec<Reader, N>,
    /// The layout that takes least RAM in all, once a limit on it was given.
    smallest: Option<Least<N>>,
    limits: Limits,
    places: Places,
    /// The measures that the solver's costs are in, by bit; 0: it has no groups yet.
    counted: u8,
}

/// The bit of a measure among those that are counted.
const fn bit(measure: Measure) -> u8 {
    match measure {
        Measure::Ram => 1,
        Measure::Cycles => 2,
        Measure::Weights => 4,
    }
}

/// That the solver has groups.
const GROUPS: u8 = 8;

impl<const N: usize, const K: usize> Planner<N, K> {
    /// The planner of a network whose weights lie in RAM.
    #[must_use]
    pub fn new<const L: usize>(network: &Network<N, L>) -> Self {
        Self::with_places(Places::Ram, network)
    }

    /// The planner of a network whose weights may lie in these places.
    #[must_use]
    pub fn with_places<const L: usize>(places: Places, network: &Network<N, L>) -> Self {
        let mut planner = Self::empty();
        planner.set_network(network, places);
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
            limits: Limits::NONE,
            places: Places::Ram,
            counted: 0,
        }
    }

    /// Makes this the planner of another network, in place: a planner is large, and where memory is
    /// short it is better not moved.
    pub fn set_network<const L: usize>(&mut self, network: &Network<N, L>, places: Places) {
        const {
            assert!(
                L <= K,
                "a layer has more levels than the planner has room for"
            );
        }
        self.lifetimes = Lifetimes::new(network);
        self.readers.clear();
        for layer in 0..network.layers.len() {
            // there is room for all layers
            let _ = self
                .readers
                .push(Reader::new(network, &self.lifetimes, layer));
        }
        self.places = places;
        self.smallest = None;
        self.counted = 0;
    }

    /// Where the weights of the plans to come may lie.
    pub fn set_places(&mut self, places: Places) {
        if places != self.places {
            self.places = places;
            self.smallest = None;
            self.counted = 0;
        }
    }

    /// Where the weights of its plans may lie.
    #[must_use]
    pub const fn places(&self) -> Places {
        self.places
    }

    /// Gives the solver the layers as its groups, at costs in the measures that are limited.
    fn count<const L: usize>(&mut self, network: &Network<N, L>, limits: &Limits) {
        let measures = limits.iter().fold(GROUPS, |bits, (m, _)| bits | bit(m));
        if measures == self.counted {
            return;
        }
        self.counted = measures;
        let (readers, items) = (&self.readers, self.items(limits));
        let prices = &network.prices;
        let rows = prices.rows.iter().enumerate();
        let fits = self.solver.set_groups(rows.map(|(layer, row)| {
            let reader = &readers[layer];
            let leads = usize::from(reader.leader) == layer;
            let count = if leads { items.count(row.len()) } else { 0 };
            (0..count).map(move |index| {
                let (at, place) = items.of(index);
                let tied = prices.tied_item(layer, at);
                let mut cost = [0; MOST_LIMITS];
                for (cost, (measure, _)) in cost.iter_mut().zip(limits.iter()) {
                    *cost = match (measure, place) {
                        (Measure::Ram, Place::Flash) => 0,
                        (Measure::Ram, Place::Ram) | (Measure::Weights, _) => tied.bytes,
                        (Measure::Cycles, place) => tied.cycles.at(place),
                    };
                }
                Item {
                    cost,
                    // in range: the network was checked
                    price: tied.price as i32,
                    class: reader.class(row[at].level),
                }
            })
        }));
        debug_assert!(fits.is_ok(), "the price matrix has the solver's capacities");
    }

    /// What the solver's items stand for under these limits.
    const fn items(&self, limits: &Limits) -> Items {
        match self.places {
            Places::Best if limits.cycles.is_some() => Items::Either,
            Places::Flash | Places::Best => Items::In(Place::Flash),
            Places::Ram => Items::In(Place::Ram),
        }
    }

    /// Finds the layout that takes least RAM, by visiting at most [`SMALLEST_NODES`] nodes. The first
    /// limit on RAM does so if this was not called before; without one there is no need.
    pub fn find_smallest<const L: usize>(&mut self, network: &Network<N, L>) -> &Least<N> {
        if self.smallest.is_none() {
            self.count(network, &Limits::ram(0));
        }
        self.smallest.get_or_insert_with(|| {
            let arena = Arena::new(network, &self.lifetimes, &self.readers);
            self.solver.least_total(SMALLEST_NODES, &arena)
        })
    }

    /// The best plan within `limits`, found by visiting at most `node_limit` nodes (`u64::MAX`: proven
    /// optimal).
    ///
    /// A first limit on RAM takes [`Self::find_smallest`] besides.
    ///
    /// # Errors
    /// [`LimitsTooSmall`] with the least that is known to do.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn plan<const L: usize>(
        &mut self,
        network: &Network<N, L>,
        limits: Limits,
        node_limit: u64,
    ) -> Result<Plan<N>, LimitsTooSmall> {
        self.start(network, limits);
        self.plan_for(network, node_limit)
    }

    /// Whether the planner has room for a search within these limits.
    ///
    /// # Errors
    /// [`CapacityError`] for more than [`MOST_LIMITS`] limits; and for more than `K / 2` levels of a layer
    /// where cycles are limited and places are free.
    pub fn check<const L: usize>(
        &self,
        network: &Network<N, L>,
        limits: &Limits,
    ) -> Result<(), CapacityError> {
        let found = limits.iter().count();
        if found > MOST_LIMITS {
            return Err(CapacityError::Limits {
                found: found as u8,
                limit: MOST_LIMITS as u8,
            });
        }
        let found = |row: &Vec<_, L>| self.items(limits).count(row.len());
        let mut rows = network.prices.rows.iter().map(found).enumerate();
        match rows.find(|(_, found)| *found > K) {
            Some((layer, found)) => Err(CapacityError::Items {
                layer: layer as u16,
                found: found as u16,
                limit: K as u16,
            }),
            None => Ok(()),
        }
    }

    /// Begins the search for the best plan within `limits`; [`Self::plan_for`] goes on with it, so that a
    /// main loop can give it slices of time.
    ///
    /// # Panics
    /// Where [`Self::check`] refuses the limits.
    pub fn start<const L: usize>(&mut self, network: &Network<N, L>, limits: Limits) {
        if let Err(error) = self.check(network, &limits) {
            panic!("{error}");
        }
        self.limits = limits;
        if limits.ram_bytes.is_some() {
            self.find_smallest(network);
        }
        self.count(network, &limits);
        let mut most = [u64::MAX; MOST_LIMITS];
        for (most, (_, amount)) in most.iter_mut().zip(limits.iter()) {
            *most = amount;
        }
        if limits.ram_bytes.is_some() {
            let arena = Arena::new(network, &self.lifetimes, &self.readers);
            self.solver.start(most, &arena);
        } else {
            self.solver.start(most, &());
        }
    }

    /// Whether the search that was begun has ended: more nodes would change nothing.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_below_all() || self.solver.is_done()
    }

    /// Whether the RAM is proven to be too small before any search.
    fn is_below_all(&self) -> bool {
        match (self.limits.ram_bytes, &self.smallest) {
            (Some(bytes), Some(smallest)) => bytes < smallest.bound,
            _ => false,
        }
    }

    /// The best plan that `nodes` further nodes lead to; [`Plan::is_optimal`] says that the search has
    /// ended.
    ///
    /// # Errors
    /// [`LimitsTooSmall`] with the least that is known to do.
    pub fn plan_for<const L: usize>(
        &mut self,
        network: &Network<N, L>,
        nodes: u64,
    ) -> Result<Plan<N>, LimitsTooSmall> {
        let arena = Arena::new(network, &self.lifetimes, &self.readers);
        let solution = match (self.limits.ram_bytes, &self.smallest) {
            _ if self.is_below_all() => return Err(self.too_small(true)),
            (Some(_), Some(smallest)) => {
                let solution = self.solver.solve_for(nodes, &arena);
                if solution.as_ref().is_err_and(|error| !error.proven) {
                    let items = self.items(&self.limits);
                    let index = |choice: &u8| items.smallest(*choice);
                    let choice: Vec<u8, N> = smallest.choice.iter().map(index).collect();
                    self.solver.suggest(&choice, &arena);
                    self.solver.solve_for(0, &arena)
                } else {
                    solution
                }
            }
            _ => self.solver.solve_for(nodes, &()),
        };
        match solution {
            Ok(solution) => Ok(self.solved(network, &solution, &arena)),
            Err(error) => Err(self.too_small(error.proven)),
        }
    }

    /// That there is no plan, or that none is known.
    fn too_small(&self, proven: bool) -> LimitsTooSmall {
        let mut smallest = Limits::NONE;
        let mut proven = proven;
        for ((measure, _), cost) in self.limits.iter().zip(self.solver.smallest_cost()) {
            let mut amount = cost;
            if let (Measure::Ram, Some(least)) = (measure, &self.smallest) {
                amount = least.total;
                if self.limits.iter().count() == 1 {
                    proven = least.total == least.bound;
                }
            }
            smallest = smallest.with(measure, amount);
        }
        LimitsTooSmall {
            limits: self.limits,
            smallest,
            proven,
        }
    }

    /// The plan of a solution.
    fn solved<const L: usize>(
        &self,
        network: &Network<N, L>,
        solution: &Solution<N, MOST_LIMITS>,
        arena: &Arena<'_, N, L>,
    ) -> Plan<N> {
        let (mut levels, mut places) = (Vec::new(), Vec::new());
        for reader in &self.readers {
            let leader = usize::from(reader.leader);
            let choice = solution.choice[leader];
            let (at, place) = self.items(&self.limits).of(choice.into());
            let item = network.prices.rows[leader].get(at);
            let place = item.map_or(Place::Flash, |_| place);
            // there is room for all layers
            let _ = levels.push(item.map(|item| item.level));
            let _ = places.push(place);
        }
        let arena_bytes = match self.limits.ram_bytes {
            Some(_) => solution.surcharge,
            None => arena.of(&arena.classes(&levels)),
        };
        let mut plan = Plan::of(network, levels, places, arena_bytes);
        if self.places == Places::Best {
            let room = self.limits.ram_bytes.unwrap_or(u64::MAX);
            plan = plan.with_best_places(network, room);
        }
        Plan {
            bound: solution.bound,
            nodes: solution.nodes,
            status: solution.status,
            ..plan
        }
    }
}

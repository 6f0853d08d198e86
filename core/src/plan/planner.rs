//! The planner: plans for any limits of one network.

use core::cell::Cell;

use heapless::Vec;

use super::arena::{Arena, Placed, Reader};
use super::items::Items;
use super::placement::Placing;
use super::{CapacityError, Limits, LimitsTooSmall, Measure, Plan};
use crate::arena::Lifetimes;
use crate::cascade::Schedule;
use crate::mckp::{Item, Least, Solution, Solver};
use crate::network::Network;
use crate::place::{Place, Places};

/// The most nodes that a planner visits to find the least RAM of a network; where they do not suffice,
/// [`LimitsTooSmall::proven`] is false.
pub const SMALLEST_NODES: u64 = 1_000;

/// How many limits a planner has room for, unless its type says otherwise.
pub const MOST_LIMITS: usize = 2;

/// Answers limits for one network; what does not depend on the limits is worked out once.
///
/// ```
/// use bitbudget_core::{Image, Limits, LimitsTooSmall, Planner};
///
/// /// The predicted change of the loss in so many bytes of RAM, and whether nothing is better.
/// fn loss(image: &Image<32, 5>, bytes: u64) -> Result<(f64, bool), LimitsTooSmall> {
///     let network = image.network();
///     let plan = Planner::<32, 5>::new(network).plan(network, Limits::ram(bytes), 10_000)?;
///     Ok((network.prices.to_loss(plan.price), plan.is_optimal()))
/// }
/// ```
///
/// `K` is the most items of a layer: its levels, and twice as many where cycles are limited and places
/// are free ([`Places::Best`]), for then a level in RAM and the same level in flash are two. `D` is the most
/// limits at once; the plans do not depend on it.
#[derive(Clone, Debug)]
pub struct Planner<const N: usize, const K: usize, const D: usize = MOST_LIMITS> {
    solver: Solver<N, K, D>,
    lifetimes: Lifetimes<N>,
    /// By layer.
    readers: Vec<Reader, N>,
    /// The arena that was placed last.
    placed: Cell<Placed<N>>,
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
/// That its last costs are the caller's.
const OWN: u8 = 16;

/// No cost of the caller's.
const fn no_cost(_: usize, _: usize) -> Option<u32> {
    None
}

impl<const N: usize, const K: usize, const D: usize> Planner<N, K, D> {
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
            placed: Cell::new(Placed::NONE),
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
        self.lifetimes.set_network(network);
        let cut_limits = self.lifetimes.cut_limits(&network.least_forms(|_| None));
        self.readers.clear();
        self.placed.set(Placed::NONE);
        for layer in 0..network.layers.len() {
            // there is room for all layers
            let _ = self
                .readers
                .push(Reader::new(network, &self.lifetimes, &cut_limits, layer));
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

    /// Gives the solver the layers as its groups, at costs in the measures that are limited, and that of the
    /// caller behind them if there is one: of a layer and those tied to it at an item.
    fn count<const L: usize>(
        &mut self,
        network: &Network<N, L>,
        limits: &Limits,
        own: impl Fn(usize, usize) -> Option<u32> + Copy,
    ) {
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
                let mut cost = [0; D];
                for (cost, (measure, _)) in cost.iter_mut().zip(limits.iter()) {
                    *cost = match (measure, place) {
                        (Measure::Ram, Place::Flash) => 0,
                        (Measure::Ram, Place::Ram) | (Measure::Weights, _) => tied.bytes,
                        (Measure::Cycles, place) => tied.cycles.at(place),
                    };
                }
                if let Some(own) = own(layer, at) {
                    cost[limits.iter().count()] = own;
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
            self.count(network, &Limits::ram(0), no_cost);
        }
        self.smallest.get_or_insert_with(|| {
            let arena = Arena::new(network, &self.lifetimes, &self.readers, &self.placed);
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
    /// [`CapacityError`] for more than `D` limits; and for more than `K / 2` levels of a layer
    /// where cycles are limited and places are free.
    pub fn check<const L: usize>(
        &self,
        network: &Network<N, L>,
        limits: &Limits,
    ) -> Result<(), CapacityError> {
        let found = limits.iter().count();
        if found > D {
            return Err(CapacityError::Limits {
                found: found as u8,
                limit: D as u8,
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
        self.prepare(network, limits);
        self.count(network, &limits, no_cost);
        self.begin(network, None);
    }

    /// As [`Self::start`], with a cost of the caller's of which a plan may take at most `most` as well:
    /// `cost(layer, item)` is what a layer and those tied to it add at an item of their rows. It is asked of
    /// the first one of layers that are tied.
    ///
    /// # Panics
    /// Where [`Self::check`] refuses the limits, or there are `D` of them already.
    pub fn start_within<const L: usize>(
        &mut self,
        network: &Network<N, L>,
        limits: Limits,
        most: u64,
        cost: impl Fn(usize, usize) -> u32,
    ) {
        let found = limits.iter().count();
        assert!(found < D, "{found} limits leave no room for another one");
        self.prepare(network, limits);
        self.counted = 0;
        let own = |layer: usize, item: usize| Some(cost(layer, item));
        self.count(network, &limits, own);
        self.counted |= OWN;
        self.begin(network, Some(most));
    }

    /// Takes the limits for the search to come.
    fn prepare<const L: usize>(&mut self, network: &Network<N, L>, limits: Limits) {
        if let Err(error) = self.check(network, &limits) {
            panic!("{error}");
        }
        self.limits = limits;
        if limits.ram_bytes.is_some() {
            self.find_smallest(network);
        }
    }

    /// Begins the search within the limits, and within that of the caller's cost if there is one.
    fn begin<const L: usize>(&mut self, network: &Network<N, L>, own: Option<u64>) {
        let mut most = [u64::MAX; D];
        for (most, (_, amount)) in most.iter_mut().zip(self.limits.iter()) {
            *most = amount;
        }
        if let Some(own) = own {
            most[self.limits.iter().count()] = own;
        }
        if self.limits.ram_bytes.is_some() {
            let arena = Arena::new(network, &self.lifetimes, &self.readers, &self.placed);
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
        let arena = Arena::new(network, &self.lifetimes, &self.readers, &self.placed);
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

    /// A plan with the smallest arena instead of the fewest turns.
    #[must_use]
    pub fn in_smallest_arena<const L: usize>(
        &self,
        network: &Network<N, L>,
        plan: Plan<N>,
    ) -> Plan<N> {
        let arena = Arena::new(network, &self.lifetimes, &self.readers, &self.placed);
        let forms = arena.forms(&arena.classes(&plan.levels));
        let (schedule, placement) = self.lifetimes.smallest(&forms);
        Plan {
            turns: self.lifetimes.turns(&schedule),
            schedule,
            arena_bytes: placement.bytes(),
            ..plan
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
                if self.limits.iter().count() == 1 && self.counted & OWN == 0 {
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
    #[inline(never)]
    fn solved<const L: usize>(
        &self,
        network: &Network<N, L>,
        solution: &Solution<N, D>,
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
        let forms = arena.forms(&arena.classes(&levels));
        // its schedule comes with its places
        let plan = Plan::of(network, levels, places, (Schedule::WHOLE, 0));
        let placed = Placing {
            network,
            lifetimes: &self.lifetimes,
            forms: &forms,
            limits: self.limits,
        };
        let plan = placed.best(plan, self.places);
        Plan {
            bound: solution.bound,
            nodes: solution.nodes,
            status: solution.status,
            ..plan
        }
    }
}

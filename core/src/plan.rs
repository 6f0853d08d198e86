//! Plans: the optimal level of every layer under a memory budget.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::arena::Lifetimes;
use crate::level::{Form, Level, Rounding};
use crate::mckp::{Item, OPEN, Solution, Solver, Status, Surcharge};
use crate::network::Network;

/// A limit on memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Budget {
    /// All the RAM that the engine takes: resident weights and activation arena.
    Total(u64),
    /// The resident weights alone.
    Weights(u64),
}

impl Budget {
    /// The limit.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Total(bytes) | Self::Weights(bytes) => bytes,
        }
    }

    /// Another limit on the same memory.
    #[must_use]
    pub const fn with_bytes(self, bytes: u64) -> Self {
        match self {
            Self::Total(_) => Self::Total(bytes),
            Self::Weights(_) => Self::Weights(bytes),
        }
    }
}

/// One level per layer, what it takes and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<const N: usize> {
    /// The level of every layer; `None` for layers without weights.
    pub levels: Vec<Option<Level>, N>,
    /// Bytes of resident weights.
    pub weight_bytes: u32,
    /// Bytes of the activation arena.
    pub arena_bytes: u32,
    /// Sum of the prices, in units of the price matrix.
    pub price: i64,
    /// Proven lower bound on the price of any layout within the budget.
    pub bound: i64,
    /// Nodes that the search visited.
    pub nodes: u64,
    /// Whether the price is proven optimal.
    pub status: Status,
}

impl<const N: usize> Plan<N> {
    /// The plan of a solution; under a budget for the weights alone it says nothing of the arena.
    fn solved<const K: usize>(
        network: &Network<N, K>,
        solution: &Solution<N>,
        arena: &Arena<'_, N, K>,
        budget: Budget,
    ) -> Self {
        let rows = network.prices.rows.iter().enumerate();
        let levels: Vec<Option<Level>, N> = rows
            .map(|(layer, row)| {
                let choice = solution.choice[usize::from(arena.readers[layer].leader)];
                row.get(usize::from(choice)).map(|item| item.level)
            })
            .collect();
        Self {
            weight_bytes: solution.cost[0] as u32,
            arena_bytes: match budget {
                Budget::Total(_) => solution.surcharge,
                Budget::Weights(_) => arena.of(&arena.classes(&levels)),
            },
            levels,
            price: solution.price,
            bound: solution.bound,
            nodes: solution.nodes,
            status: solution.status,
        }
    }

    /// The plan of levels that were chosen by hand or elsewhere, with what they take. Its bound is its
    /// price; levels outside the price matrix have none.
    #[must_use]
    pub fn by_hand<const K: usize>(network: &Network<N, K>, levels: Vec<Option<Level>, N>) -> Self {
        let forms = network.least_forms(|layer| {
            let level = levels.get(layer).copied().flatten();
            Some(level.unwrap_or(Level::Fp32).input_form())
        });
        let chosen = || {
            levels
                .iter()
                .enumerate()
                .filter_map(|(i, l)| Some((i, (*l)?)))
        };
        let bytes = chosen().filter_map(|(layer, level)| network.resident_bytes(layer, level));
        let price = chosen().map(|(layer, level)| {
            let item = network.prices.rows[layer]
                .iter()
                .find(|item| item.level == level);
            item.map_or(0, |item| i64::from(item.price))
        });
        let (weight_bytes, price) = (bytes.sum(), price.sum());
        Self {
            weight_bytes,
            arena_bytes: Lifetimes::new(network).place(&forms).bytes(),
            levels,
            price,
            bound: price,
            nodes: 0,
            status: Status::NodeLimit,
        }
    }

    /// A plan of levels by their places in the rows of the price matrix, for an engine to make resident:
    /// it says nothing of bytes and prices yet. Where there is no such level, a layer has none.
    #[must_use]
    pub fn of_items<const K: usize>(network: &Network<N, K>, items: &[u8]) -> Self {
        let rows = network.prices.rows.iter().enumerate();
        let level = rows.map(|(layer, row)| {
            let item = row.get(usize::from(*items.get(layer)?));
            item.map(|item| item.level)
        });
        Self {
            levels: level.collect(),
            weight_bytes: 0,
            arena_bytes: 0,
            price: 0,
            bound: 0,
            nodes: 0,
            status: Status::NodeLimit,
        }
    }

    /// All the RAM that the engine takes under this plan.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.weight_bytes as u64 + self.arena_bytes as u64
    }

    /// The bytes that count under a budget.
    #[must_use]
    pub const fn bytes(&self, budget: Budget) -> u64 {
        match budget {
            Budget::Total(_) => self.total_bytes(),
            Budget::Weights(_) => self.weight_bytes as u64,
        }
    }

    /// Whether the price is proven optimal.
    #[must_use]
    pub fn is_optimal(&self) -> bool {
        self.status == Status::Optimal
    }
}

/// No layout fits the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BudgetTooSmall {
    /// The budget.
    pub budget: Budget,
    /// The smallest budget of the same kind that some layout fits, in bytes.
    pub smallest_bytes: u64,
}

impl fmt::Display for BudgetTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, bytes) = match self.budget {
            Budget::Total(bytes) => ("RAM", bytes),
            Budget::Weights(bytes) => ("weights", bytes),
        };
        let smallest = self.smallest_bytes;
        write!(
            f,
            "no layout fits {bytes} bytes of {what}; the smallest takes {smallest} bytes"
        )
    }
}

impl core::error::Error for BudgetTooSmall {}

/// Answers budgets for one network; what does not depend on the budget is worked out once.
#[derive(Clone, Debug)]
pub struct Planner<const N: usize, const K: usize> {
    solver: Solver<N, K>,
    lifetimes: Lifetimes<N>,
    /// By layer.
    readers: Vec<Reader, N>,
    /// The choice of the layout that takes least RAM in all, and what it takes.
    smallest: (Vec<u8, N>, u64),
    budget: Budget,
}

impl<const N: usize, const K: usize> Planner<N, K> {
    /// The planner of a network.
    #[must_use]
    pub fn new(network: &Network<N, K>) -> Self {
        let mut planner = Self::empty();
        planner.set_network(network);
        planner
    }

    /// The planner of no network: a place for [`Self::set_network`].
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            solver: const { Solver::empty() },
            lifetimes: Lifetimes::empty(),
            readers: Vec::new(),
            smallest: (Vec::new(), 0),
            budget: Budget::Total(0),
        }
    }

    /// Makes this the planner of another network, in place: a planner is large, and where memory is
    /// short it is better not moved.
    pub fn set_network(&mut self, network: &Network<N, K>) {
        self.lifetimes = Lifetimes::new(network);
        self.readers.clear();
        for layer in 0..network.layers.len() {
            // there is room for all layers
            let _ = self
                .readers
                .push(Reader::new(network, &self.lifetimes, layer));
        }
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
                    cost: [bytes],
                    // in range: the network was checked
                    price: price as i32,
                    class: reader.class(item.level),
                }
            })
        }));
        debug_assert!(fits.is_ok(), "the price matrix has the solver's capacities");
        self.find_smallest(network);
    }

    /// Whether this is the planner of a network.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lifetimes.is_empty()
    }

    /// Finds the layout that takes least in all, by bisection: whether a total is feasible is what a
    /// search finds out.
    fn find_smallest(&mut self, network: &Network<N, K>) {
        let arena = Arena::new(network, &self.lifetimes, &self.readers);
        let solver = &mut self.solver;
        // no layout takes less than `least`; a step without success raises it
        let mut least = solver.smallest_cost()[0] + u64::from(arena.at_least(&[OPEN; N]));
        let mut try_total = |bytes: u64| {
            solver.start([bytes], &arena);
            let solution = solver.solve_for(u64::MAX, &arena).ok()?;
            let total = solution.cost[0] + u64::from(solution.surcharge);
            self.smallest = (solution.choice, total);
            Some(total)
        };
        let mut step = 1;
        let mut smallest = loop {
            match try_total(least + step - 1) {
                Some(total) => break total,
                None => (least, step) = (least + step, 2 * step),
            }
        };
        while least < smallest {
            let middle = least.midpoint(smallest);
            match try_total(middle) {
                Some(total) => smallest = total,
                None => least = middle + 1,
            }
        }
    }

    /// The lifetimes of the network's tensors.
    #[must_use]
    pub const fn lifetimes(&self) -> &Lifetimes<N> {
        &self.lifetimes
    }

    /// The plan of least price within `budget`, found by visiting at most `node_limit` nodes
    /// (`u64::MAX`: proven optimal).
    ///
    /// # Errors
    /// [`BudgetTooSmall`] with the smallest budget that would do.
    pub fn plan(
        &mut self,
        network: &Network<N, K>,
        budget: Budget,
        node_limit: u64,
    ) -> Result<Plan<N>, BudgetTooSmall> {
        self.start(network, budget);
        self.plan_for(network, node_limit)
    }

    /// The plan of fewest bytes whose price is at most `price`, and of those of least price: the
    /// question of [`Self::plan`] the other way round. `budget` says which bytes count, and how many are
    /// there at most; `None` if not even with all of them the price is that low.
    ///
    /// Bisection over budgets: as many searches as the answer has bits.
    pub fn cheapest(
        &mut self,
        network: &Network<N, K>,
        budget: Budget,
        price: i64,
    ) -> Option<Plan<N>> {
        let mut within = |bytes: u64| {
            let plan = self.plan(network, budget.with_bytes(bytes), u64::MAX);
            plan.ok().filter(|plan| plan.price <= price)
        };
        let mut best = within(budget.bytes())?;
        let mut least = 0;
        loop {
            let most = best.bytes(budget);
            if least >= most {
                return Some(best);
            }
            let middle = u64::midpoint(least, most);
            match within(middle) {
                Some(plan) => best = plan,
                None => least = middle + 1,
            }
        }
    }

    /// The optimal plans for `budget` and every smaller one of its kind, from the best to the smallest:
    /// each is optimal for all budgets from its own bytes up to those of the one before. Several may
    /// be equally good.
    pub const fn staircase<'a>(
        &'a mut self,
        network: &'a Network<N, K>,
        budget: Budget,
    ) -> Staircase<'a, N, K> {
        Staircase {
            planner: self,
            network,
            budget: Some(budget),
        }
    }

    /// Begins the search for the plan of least price within `budget`; [`Self::plan_for`] goes on with
    /// it, so that a main loop can give it slices of time.
    pub fn start(&mut self, network: &Network<N, K>, budget: Budget) {
        self.budget = budget;
        match budget {
            Budget::Weights(bytes) => self.solver.start([bytes], &()),
            Budget::Total(bytes) => {
                let arena = Arena::new(network, &self.lifetimes, &self.readers);
                self.solver.start([bytes], &arena);
            }
        }
    }

    /// The best plan that `nodes` further nodes lead to; [`Plan::is_optimal`] says that the search has
    /// ended.
    ///
    /// # Errors
    /// [`BudgetTooSmall`] with the smallest budget that would do.
    pub fn plan_for(
        &mut self,
        network: &Network<N, K>,
        nodes: u64,
    ) -> Result<Plan<N>, BudgetTooSmall> {
        let arena = Arena::new(network, &self.lifetimes, &self.readers);
        let budget = self.budget;
        let mut solution = match budget {
            Budget::Weights(_) => self.solver.solve_for(nodes, &()),
            Budget::Total(_) => self.solver.solve_for(nodes, &arena),
        };
        if solution
            .as_ref()
            .is_err_and(|infeasible| !infeasible.proven)
        {
            self.solver.suggest(&self.smallest.0, &arena);
            solution = self.solver.solve_for(0, &arena);
        }
        match solution {
            Ok(solution) => Ok(Plan::solved(network, &solution, &arena, budget)),
            Err(_) => Err(BudgetTooSmall {
                budget,
                smallest_bytes: match budget {
                    Budget::Weights(_) => self.solver.smallest_cost()[0],
                    Budget::Total(_) => self.smallest.1,
                },
            }),
        }
    }
}

/// How a layer and those tied to it read their inputs, as far as the arena is concerned.
#[derive(Clone, Copy, Debug, Default)]
struct Reader {
    /// The layer whose level this one has: itself unless it is tied to an earlier one.
    leader: u16,
    /// By form of the input: the least arena of any layout with it; nothing for layers that follow.
    least: [u32; Form::ALL.len()],
    /// Whether other layers with weights read the same tensor. Only then the rounding counts.
    is_shared: bool,
}

impl Reader {
    fn new<const N: usize, const K: usize>(
        network: &Network<N, K>,
        lifetimes: &Lifetimes<N>,
        layer: usize,
    ) -> Self {
        let leader = network.prices.leader(layer);
        let reader = Self {
            leader: leader as u16,
            ..Self::default()
        };
        if leader != layer || !network.layers[layer].op.has_weights() {
            return reader;
        }
        let follows = |other: usize| network.prices.leader(other) == layer;
        let least = |form: Form| {
            let forms = network.least_forms(|other| follows(other).then_some(form));
            lifetimes.live_bytes(&forms)
        };
        let is_shared = |layer: usize| {
            let inputs = &network.layers[layer].inputs;
            let mut others = network.layers.iter().enumerate();
            others.any(|(other, reader)| {
                let reads = reader.inputs.iter().any(|tensor| inputs.contains(tensor));
                other != layer && reader.op.has_weights() && reads
            })
        };
        Self {
            least: Form::ALL.map(least),
            is_shared: network.prices.followers(layer).any(is_shared),
            ..reader
        }
    }

    /// The class of a level: the place in [`Form::ALL`] of a form that takes as much.
    fn class(&self, level: Level) -> u8 {
        match level.input_form() {
            Form::I8(_) if !self.is_shared => Form::I8(Rounding::Nearest).index(),
            form @ (Form::F32 | Form::I8(_)) => form.index(),
        }
    }
}

/// The activation arena as the solver sees it: a surcharge of the forms in which the layers read
/// their inputs.
struct Arena<'a, const N: usize, const K: usize> {
    network: &'a Network<N, K>,
    lifetimes: &'a Lifetimes<N>,
    readers: &'a [Reader],
}

impl<'a, const N: usize, const K: usize> Arena<'a, N, K> {
    const fn new(
        network: &'a Network<N, K>,
        lifetimes: &'a Lifetimes<N>,
        readers: &'a [Reader],
    ) -> Self {
        Self {
            network,
            lifetimes,
            readers,
        }
    }

    fn classes(&self, levels: &[Option<Level>]) -> [u8; N] {
        let mut classes = [OPEN; N];
        for (class, (level, reader)) in classes.iter_mut().zip(levels.iter().zip(self.readers)) {
            *class = level.map_or(0, |level| reader.class(level));
        }
        classes
    }

    /// The form in which a layer reads its input; `None` where that is open.
    fn form(&self, classes: &[u8; N], layer: usize) -> Option<Form> {
        let class = classes[usize::from(self.readers[layer].leader)];
        Form::ALL.get(usize::from(class)).copied()
    }
}

impl<const N: usize, const K: usize> Surcharge<N> for Arena<'_, N, K> {
    fn of_class(&self, group: usize, class: u8) -> u32 {
        self.readers[group].least[usize::from(class)]
    }

    fn can_raise(&self, group: usize, class: u8) -> bool {
        // an open layer counts as the narrowest form that it offers, whatever the rounding
        self.readers[group].is_shared || class == Form::F32.index()
    }

    fn at_least(&self, classes: &[u8; N]) -> u32 {
        let forms = self.network.least_forms(|layer| self.form(classes, layer));
        self.lifetimes.live_bytes(&forms)
    }

    fn of(&self, classes: &[u8; N]) -> u32 {
        let forms = self.network.least_forms(|layer| self.form(classes, layer));
        self.lifetimes.place(&forms).bytes()
    }
}

/// The optimal plans, from the best to the smallest: see [`Planner::staircase`].
#[derive(Debug)]
pub struct Staircase<'a, const N: usize, const K: usize> {
    planner: &'a mut Planner<N, K>,
    network: &'a Network<N, K>,
    budget: Option<Budget>,
}

impl<const N: usize, const K: usize> Iterator for Staircase<'_, N, K> {
    type Item = Plan<N>;

    fn next(&mut self) -> Option<Plan<N>> {
        let plan = self.planner.plan(self.network, self.budget?, u64::MAX);
        let plan = plan.ok()?;
        let budget = self.budget?;
        let less = plan.bytes(budget).checked_sub(1);
        self.budget = less.map(|bytes| budget.with_bytes(bytes));
        Some(plan)
    }
}

impl<const N: usize, const K: usize> Network<N, K> {
    /// Bytes of resident weights when every layer is FP32: what percentages of the weights refer to.
    #[must_use]
    pub fn fp32_weight_bytes(&self) -> u64 {
        let layers = 0..self.layers.len();
        let weighted = layers.filter(|i| self.layers[*i].op.has_weights());
        weighted
            .filter_map(|i| self.resident_bytes(i, Level::Fp32))
            .map(u64::from)
            .sum()
    }

    /// Bytes of the activation arena when every layer is FP32; with the weights, what percentages of
    /// all the RAM refer to.
    #[must_use]
    pub fn fp32_arena_bytes(&self) -> u64 {
        let forms = self.least_forms(|_| Some(Form::F32));
        Lifetimes::new(self).place(&forms).bytes().into()
    }
}

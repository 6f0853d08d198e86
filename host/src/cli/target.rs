//! The device that a command plans for.

use bitbudget::board::Board;
use bitbudget::budget::{self, BudgetText};
use bitbudget_core::place::Places;
use clap::{Args, ValueEnum};
use miette::miette;

/// Where weights may lie, as people write it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Where {
    /// Copied to RAM, where the budget counts them
    Ram,
    /// Read in place from the flash that the image lies in
    Flash,
    /// Each in RAM if that saves cycles and there is room, else in flash
    Best,
}

/// The device that a command plans for.
#[derive(Args, Debug)]
pub(crate) struct TargetArgs {
    /// Where the weights may lie while the network runs; `best` where the cycles are known, else `ram`
    #[arg(long, value_name = "MEMORY")]
    place: Option<Where>,
    /// At most so many cycles (20e6) for an inference, of those that the image knows
    #[arg(long, value_name = "CYCLES", value_parser = whole)]
    cycles: Option<u64>,
}

/// The budgets that a command plans for in turn.
#[derive(Args, Debug)]
pub(crate) struct BudgetArgs {
    /// Budgets, as for `bitbudget plan`
    #[arg(
        long,
        visible_alias = "budget",
        value_name = "B,..",
        value_delimiter = ',',
        required = true
    )]
    pub(crate) ram: Vec<BudgetText>,
}

/// The board that a command plans for.
#[derive(Args, Debug)]
pub(crate) struct BoardCostArgs {
    /// The board whose cycles count, as it is modelled, in place of those that an image knows (see
    /// `bitbudget boards`)
    #[arg(long, value_name = "NAME|FILE")]
    board: Option<String>,
    /// At most so many milliseconds for an inference, at the board's clock
    #[arg(long, value_name = "MS", requires = "board", conflicts_with = "cycles")]
    ms: Option<f64>,
}

impl BoardCostArgs {
    /// The target on this board.
    pub(crate) fn of(&self, target: &Target) -> miette::Result<Target> {
        let board = self.board.as_deref().map(Board::find).transpose()?;
        let cycles = match (&board, self.ms) {
            (Some(board), Some(ms)) => {
                let cycles = cycles_in(board, ms);
                Some(cycles.ok_or_else(|| miette!("--ms {ms} is no time for an inference"))?)
            }
            _ => target.cycles,
        };
        Ok(Target {
            cycles,
            board,
            places: target.places,
        })
    }
}

/// What a plan must keep to beside its budget.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    /// Where the weights may lie; `None`: where the costs that are known say.
    pub(crate) places: Option<Places>,
    /// The most cycles of an inference.
    pub(crate) cycles: Option<u64>,
    /// The board whose cycles count in place of those that an image knows.
    pub(crate) board: Option<Board>,
}

impl Target {
    /// All weights in RAM, at any number of cycles.
    pub(crate) const RAM: Self = Self {
        places: Some(Places::Ram),
        cycles: None,
        board: None,
    };

    /// Where the weights may lie; `has_cycles`: it is known how many cycles the layers take.
    pub(crate) fn places_where(&self, has_cycles: bool) -> Places {
        self.places.unwrap_or(match has_cycles {
            true => Places::Best,
            false => Places::Ram,
        })
    }
}

impl From<Where> for Places {
    fn from(place: Where) -> Self {
        match place {
            Where::Ram => Self::Ram,
            Where::Flash => Self::Flash,
            Where::Best => Self::Best,
        }
    }
}

/// Places in JSON.
pub(crate) const fn places_name(places: Places) -> &'static str {
    match places {
        Places::Ram => "ram",
        Places::Flash => "flash",
        Places::Best => "best",
    }
}

/// The cycles of a board's clock in so many milliseconds; `None` where that is no time for an inference.
pub(crate) fn cycles_in(board: &Board, ms: f64) -> Option<u64> {
    let cycles = ms * board.clock_hz.value as f64 / 1e3;
    (0.0..1e18).contains(&cycles).then_some(cycles as u64)
}

impl TargetArgs {
    pub(crate) fn get(&self) -> Target {
        Target {
            places: self.place.map(Places::from),
            cycles: self.cycles,
            board: None,
        }
    }
}

/// A whole number as people write large ones.
pub(crate) fn whole(text: &str) -> Result<u64, String> {
    let amount = budget::amount(text).filter(|amount| (0.0..1e18).contains(amount));
    let whole = amount.filter(|amount| amount.fract() == 0.0);
    match whole {
        Some(amount) if !text.ends_with('B') => Ok(amount as u64),
        _ => Err("not a whole number of cycles; examples: 250000, 20e6".into()),
    }
}

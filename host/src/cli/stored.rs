//! What an image stores, and the operating points that it is made for, as people write them.

use std::str::FromStr;

use bitbudget::board::Board;
use bitbudget::budget::{self, BudgetText};
use bitbudget::capacity::HostNetwork;
use bitbudget::flash::{self, Choice, ChoiceError, Point};
use bitbudget::search::Effort;
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Measure};
use clap::Args;
use miette::miette;
use serde_json::{Value, json};

use super::network_file::TooSmall;
use super::target::{self, Target, Where};
use super::{report, watch};

/// What an image stores.
#[derive(Args, Debug)]
pub(crate) struct StoredArgs {
    /// Store the levels with which the network does best in an image of at most so many bytes (128KiB) in all
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    flash: Option<u64>,
    /// Store the levels of the best plan within these limits of the device, any of ram, weights, cycles and ms
    /// (ram=64KiB,ms=40); with several --for those for which the sum of the predicted losses is the least.
    /// Without --for there are no limits but --flash; cycles and ms need --board
    #[arg(long = "for", value_name = "LIMIT=AMOUNT,..")]
    points: Vec<PointText>,
    /// Where the weights may lie within the limits of --for; `best` with --board, else `ram`, as `bitbudget plan`
    /// has it
    #[arg(long, value_name = "MEMORY", requires = "points")]
    place: Option<Where>,
    /// Store one level for every layer, that of the best plan, so that the device has nothing to choose
    #[arg(long)]
    frozen: bool,
}

/// An operating point as written.
#[derive(Clone, Debug)]
struct PointText {
    text: String,
    budgets: Vec<BudgetText>,
    cycles: Option<u64>,
    ms: Option<f64>,
}

impl FromStr for PointText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut point = Self {
            text: text.trim().to_owned(),
            budgets: Vec::new(),
            cycles: None,
            ms: None,
        };
        for part in text.split(',').map(str::trim) {
            let (name, amount) = part.split_once('=').unwrap_or((part, ""));
            let (name, amount) = (name.trim(), amount.trim());
            let budget = |text: &str| text.parse().map_err(|error| format!("{error}"));
            let is_new = match name {
                "ram" => {
                    let budget: BudgetText = budget(amount)?;
                    if budget.measure() != Measure::Ram {
                        return Err(format!("`{part}` limits two things"));
                    }
                    point.limit(budget)
                }
                "weights" => point.limit(budget(&format!("weights={amount}"))?),
                "cycles" => point.cycles.replace(target::whole(amount)?).is_none(),
                "ms" => {
                    let ms = amount.parse().ok().filter(|ms: &f64| ms.is_finite());
                    let ms = ms.ok_or_else(|| format!("`{part}` is no time; example: ms=40"))?;
                    point.ms.replace(ms).is_none()
                }
                _ => {
                    return Err(format!(
                        "`{part}` is not a limit on ram, weights, cycles or ms; example: ram=64KiB,ms=40"
                    ));
                }
            };
            if !is_new {
                return Err(format!("{name} is limited twice"));
            }
        }
        match (point.cycles, point.ms) {
            (Some(_), Some(_)) => Err("cycles and ms limit the same thing".into()),
            (Some(_), None) | (None, _) => Ok(point),
        }
    }
}

impl PointText {
    /// Adds a limit, unless there is one on its measure.
    fn limit(&mut self, budget: BudgetText) -> bool {
        let is_new = self.budgets.iter().all(|b| b.measure() != budget.measure());
        self.budgets.push(budget);
        is_new
    }

    fn resolve(
        &self,
        network: &HostNetwork,
        places: Places,
        board: Option<&Board>,
    ) -> miette::Result<Point> {
        let mut limits = Limits::NONE;
        for budget in &self.budgets {
            limits = limits.with(budget.measure(), budget.bytes(network, places));
        }
        let cycles = match (self.cycles, self.ms, board) {
            (None, None, _) => None,
            (Some(_), _, None) | (_, Some(_), None) => {
                let help = "name one with --board; see `bitbudget boards`";
                return Err(miette!(help = help, "--for {} needs a board", self.text));
            }
            (_, Some(ms), Some(board)) => {
                let cycles = target::cycles_in(board, ms);
                Some(cycles.ok_or_else(|| miette!("ms={ms} is no time for an inference"))?)
            }
            (cycles, None, Some(_)) => cycles,
        };
        limits.cycles = cycles;
        Ok(Point { limits, places })
    }
}

/// Levels that were chosen, and what they were chosen for.
pub(crate) struct Stored {
    choice: Choice,
    /// As written, and what they mean.
    points: Vec<(String, Point)>,
    /// The most bytes of the image.
    pub(crate) flash: Option<u64>,
}

impl StoredArgs {
    /// Whether levels are to be chosen.
    pub(crate) const fn is_given(&self) -> bool {
        self.flash.is_some() || self.frozen || !self.points.is_empty()
    }

    /// Takes all levels away from the network that are not to be stored.
    pub(crate) fn keep(
        &self,
        network: &mut HostNetwork,
        names: &[String],
        board: Option<&Board>,
        effort: &Effort<'_>,
    ) -> miette::Result<Stored> {
        if self.frozen && self.points.len() > 1 {
            let help = "give one --for, or leave out --frozen";
            return Err(miette!(
                help = help,
                "--frozen stores one plan, not those of {} points",
                self.points.len()
            ));
        }
        let target = Target {
            places: self.place.map(Places::from),
            ..Target::default()
        };
        let places = target.places_where(board.is_some());
        let mut points = Vec::new();
        for point in &self.points {
            points.push((point.text.clone(), point.resolve(network, places, board)?));
        }
        if points.is_empty() {
            points.push((String::new(), Point::FREE));
        }
        let each: Vec<Point> = points.iter().map(|(_, point)| *point).collect();
        let choice = flash::choose(network, names, &each, self.flash, effort);
        watch::clear();
        let choice = choice.map_err(|error| self.refused(error))?;
        choice.keep(network);
        Ok(Stored {
            choice,
            points,
            flash: self.flash,
        })
    }

    /// A refusal in the words of the options.
    fn refused(&self, error: ChoiceError) -> miette::Report {
        match error {
            ChoiceError::Flash {
                flash,
                smallest,
                proven,
            } => {
                let does = if proven { "does" } else { "is known to do" };
                let points = self
                    .points
                    .iter()
                    .map(|point| format!(" --for {}", point.text));
                let points = points.collect::<String>();
                let help = format!(
                    "the smallest image that {does}: --flash {smallest} ({}){points}",
                    report::bytes(smallest)
                );
                miette!(help = help, "an image of {flash} bytes is too small")
            }
            ChoiceError::Limits { point, source } => {
                let of = |(measure, amount)| match measure {
                    Measure::Ram => format!("ram={amount}"),
                    Measure::Cycles => format!("cycles={amount}"),
                    Measure::Weights => format!("weights={amount}"),
                };
                let each: Vec<String> = source.smallest.iter().map(of).collect();
                let help = match (&each[..], source.proven) {
                    ([one], true) => format!("the smallest limit that does: {one}"),
                    ([one], false) => format!("the smallest limit that is known to do: {one}"),
                    (each, _) => {
                        let each = each.join(", ");
                        format!("without the other limits, these would do: {each}")
                    }
                };
                let what = format!("--for {} is", self.points[point].text);
                TooSmall { what, help, source }.into()
            }
            error @ (ChoiceError::Capacity { .. } | _) => miette!("{error}"),
        }
    }
}

impl Stored {
    /// Whether it is proven that no other levels do better.
    pub(crate) const fn is_proven(&self) -> bool {
        self.choice.is_optimal()
    }

    /// Bytes of the image, without stored plans.
    pub(crate) const fn image_bytes(&self) -> u64 {
        self.choice.image_bytes
    }

    /// What the predicted losses may be less by, together, with other levels.
    pub(crate) fn gap(&self, network: &HostNetwork) -> f64 {
        let gap = self.choice.price - self.choice.bound;
        network.prices.to_loss(gap)
    }

    /// The points with their predicted losses, and whether these are proven, line by line.
    pub(crate) fn lines(&self, network: &HostNetwork) -> Vec<String> {
        let loss = |price: i64| report::change(network.prices.to_loss(price));
        let points = self.points.iter().zip(&self.choice.plans);
        let lines = points.map(|((text, _), plan)| {
            let at = if text.is_empty() { "" } else { " at " };
            format!(
                "{} predicted change of the loss{at}{text}",
                loss(plan.price)
            )
        });
        let mut lines: Vec<String> = lines.collect();
        if lines.len() > 1 {
            lines.push(format!("{} in all", loss(self.choice.price)));
        }
        if let Some(last) = lines.last_mut() {
            let not = if self.is_proven() { "" } else { "not " };
            last.push_str(&format!("; {not}proven optimal"));
        }
        lines
    }

    /// Adds to the JSON of an image what it stores, and for which points.
    pub(crate) fn add_to(&self, json: &mut Value, network: &HostNetwork) {
        let points = self.points.iter().zip(&self.choice.plans);
        let points = points.map(|((text, point), plan)| {
            json!({
                "point": text,
                "limits": report::limits_json(&point.limits),
                "place": target::places_name(point.places),
                "price": network.prices.to_loss(plan.price),
                "ram_bytes": plan.ram_bytes(),
                "weight_bytes": plan.weight_bytes,
            })
        });
        json["flash_bytes"] = self.flash.into();
        json["points"] = points.collect();
        json["price"] = network.prices.to_loss(self.choice.price).into();
        json["bound"] = network.prices.to_loss(self.choice.bound).into();
        json["proven"] = self.is_proven().into();
    }
}

/// Bytes of a memory as people write them.
pub(crate) fn byte_count(text: &str) -> Result<u64, String> {
    let bytes = budget::amount(text).filter(|bytes| (0.0..1e18).contains(bytes));
    match bytes {
        Some(bytes) => Ok(bytes as u64),
        None if text.ends_with('%') => {
            Err("a memory has no percentages; examples: 128KiB, 65536".into())
        }
        None => Err("not a number of bytes; examples: 128KiB, 1.5MiB, 65536".into()),
    }
}

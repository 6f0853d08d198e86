//! `bitbudget solve`

use std::path::{Path, PathBuf};
use std::str::FromStr;

use bitbudget::board::Board;
use bitbudget::budget;
use bitbudget::decimal::{amount, signed};
use bitbudget::file::{self, FileError};
use bitbudget::latency::Core;
use bitbudget::problem::{Answer, Neighbour, PRICE, Problem};
use bitbudget::rules::Rules;
use bitbudget_core::place::Place;
use clap::Args;
use miette::miette;
use serde_json::{Map, Value, json};

use super::network_file::Source;
use super::target::Target;
use super::watch::SearchArgs;
use super::{Outcome, report, watch};

/// Solve a layout problem with prices and costs of your own
///
/// Chooses one item for every layer so that the sum of the prices (or of a cost) is the least within all
/// limits, and proves it.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  bitbudget solve problem.json --limit ram=64KiB --limit cycles=2e6\n  \
    bitbudget solve problem.json --minimize ram --limit price=0.01 --json\n  \
    bitbudget solve model.profile --limit weights=64KiB --limit cycles=20e6\n\n\
    The file:\n  \
    {\"layers\": [{\"name\": \"conv1\", \"items\": [\n      \
       {\"level\": \"int8\", \"price\": 0.013, \"costs\": {\"ram\": 2304, \"cycles\": 91000}},\n      \
       {\"level\": \"fp32\", \"price\": 0, \"costs\": {\"ram\": 9216, \"cycles\": 260000}}]}, ...],\n   \
     \"limits\": {\"ram\": 65536}, \"ties\": [[\"conv3\", \"conv5\"]], \"pins\": {\"fc\": \"fp32\"}}\n  \
    Prices are any numbers, costs are whole and not negative; limits, ties and pins may be missing."
)]
pub(crate) struct Solve {
    /// The problem; or a profile or an image, whose layers with weights cost bytes (weights) and cycles (cycles,
    /// modelled)
    #[arg(value_name = "PROBLEM.json")]
    file: PathBuf,
    /// With a profile or an image: the board whose cycles are modelled, its weights in RAM (see `bitbudget boards`)
    /// [default: a Cortex-M4 whose memory never waits]
    #[arg(long, value_name = "NAME|FILE")]
    board: Option<String>,
    /// Upper limit for the total of a cost, or for `price`; overrides the file
    #[arg(long, value_name = "NAME=AMOUNT")]
    limit: Vec<LimitText>,
    /// What is minimised: the price or a cost
    #[arg(long, value_name = "NAME", default_value = PRICE)]
    minimize: String,
    #[command(flatten)]
    search: SearchArgs,
    /// Tell what more and less of each limit would change
    #[arg(long)]
    explain: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A limit as written.
#[derive(Clone, Debug)]
struct LimitText {
    name: String,
    amount: f64,
}

impl FromStr for LimitText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit = text.rsplit_once('=').and_then(|(name, amount)| {
            let amount = budget::amount(amount)?;
            let name = name.trim().to_owned();
            Some(Self { name, amount })
        });
        limit.ok_or_else(|| "examples: ram=64KiB, cycles=2e6, price=0.01".to_owned())
    }
}

impl Solve {
    pub(crate) fn run(self) -> Outcome {
        let mut problem = open(&self.file, self.board.as_deref())?;
        for LimitText { name, amount } in &self.limit {
            let checked = problem.check_limit(name, *amount);
            checked.map_err(|error| miette!("--limit {name}: {error}"))?;
            problem.limits.insert(name.clone(), *amount);
        }
        let checked = problem.check_measure(&self.minimize);
        checked.map_err(|error| miette!("--minimize {}: {error}", self.minimize))?;
        let effort = self.search.effort();
        let answer = problem.solve(&self.minimize, &effort);
        let neighbours = |answer: &Answer| problem.neighbours(answer, &effort);
        let neighbours = answer
            .as_ref()
            .ok()
            .filter(|_| self.explain)
            .map(neighbours);
        watch::clear();
        let answer = answer?;
        if self.json {
            let mut json = answer_json(&problem, &answer);
            if let Some(neighbours) = &neighbours {
                json["explain"] = explained_json(&problem, &answer, neighbours);
            }
            return report::print_json(&json);
        }
        show(&problem, &answer);
        for neighbour in neighbours.iter().flatten() {
            explain(&problem, &answer, neighbour);
        }
        Ok(())
    }
}

/// The problem in a file of its own, or that of a profile or an image.
fn open(path: &Path, board: Option<&str>) -> miette::Result<Problem> {
    let board = board.map(Board::find).transpose()?;
    let bytes = file::read(path)?;
    if Source::matches(&bytes) {
        let Source { network, names, .. } = Source::open(path, &Rules::default(), &Target::RAM)?;
        return Ok(match &board {
            Some(board) => Problem::of_network_on(&network, &names, board, Place::Ram)?,
            None => Problem::of_network(&network, &names, Core::default()),
        });
    }
    if board.is_some() {
        return Err(miette!(
            "--board is for profiles and images: {} has costs of its own",
            path.display()
        ));
    }
    let text = String::from_utf8(bytes).map_err(|_| FileError::Kind {
        path: path.into(),
        kind: "problem, profile or image",
    })?;
    Ok(Problem::parse(path, &text)?)
}

fn show(problem: &Problem, answer: &Answer) {
    let costs = problem.costs();
    let columns = [&["layer", "level", "price"], &costs[..]].concat();
    let mut table = report::table(&columns);
    for (layer, level) in problem.layers.iter().zip(&answer.levels) {
        let item = layer.items.iter().find(|item| item.level == *level);
        let own = item.into_iter().flat_map(|item| item.costs.values());
        let price = item.map_or(0.0, |item| item.price);
        let row = [layer.name.clone(), level.clone(), report::change(price)];
        table.add_row(row.into_iter().chain(own.map(u64::to_string)));
    }
    report::print_table(&table);
    say!("");
    let line = |name: &str, sum: String| {
        let limit = problem.limits.get(name);
        let limit = limit.map_or_else(String::new, |limit| format!(" of {}", amount(*limit)));
        let found = if name != answer.minimized {
            String::new()
        } else if answer.optimal {
            let shown = [sum_of(answer, name), answer.bound].map(report::change);
            let hidden = match shown[0] == shown[1] {
                true => String::new(),
                false => {
                    let hidden = amount(sum_of(answer, name) - answer.bound);
                    format!(" but for {hidden}, which rounding may hide")
                }
            };
            format!(", the least there is{hidden} ({} nodes)", answer.nodes)
        } else {
            let bound = amount(answer.bound);
            format!(
                ", not proven the least: at least {bound} ({} nodes)",
                answer.nodes
            )
        };
        say!("{name}: {sum}{limit}{found}");
    };
    line(PRICE, report::change(answer.price));
    for (name, sum) in &answer.costs {
        line(name, sum.to_string());
    }
}

/// What of a measure an answer has.
fn sum_of(answer: &Answer, name: &str) -> f64 {
    answer
        .costs
        .get(name)
        .map_or(answer.price, |cost| *cost as f64)
}

fn changes(problem: &Problem, from: &Answer, to: &Answer) -> Vec<(String, String, String)> {
    let levels = from.levels.iter().zip(&to.levels);
    let layers = problem.layers.iter().zip(levels);
    let changed = layers.filter(|(_, (from, to))| from != to);
    let changed = changed.map(|(layer, (from, to))| (layer.name.clone(), from.clone(), to.clone()));
    changed.collect()
}

fn explain(problem: &Problem, answer: &Answer, neighbour: &Neighbour) {
    let name = &neighbour.limit;
    let limit = problem.limits.get(name).copied().unwrap_or_default();
    let what = &answer.minimized;
    let step = |other: &Answer| {
        let change = sum_of(other, what) - sum_of(answer, what);
        let changes = changes(problem, answer, other).into_iter();
        let changes = changes.map(|(name, from, to)| format!("{name} {from} -> {to}"));
        let changes = changes.collect::<Vec<_>>().join(", ");
        let change = signed(change, 9);
        report::printable(&format!("{what} {change}: {changes}"))
    };
    say!("");
    match &neighbour.better {
        Some(better) => {
            let needed = sum_of(better, name);
            let more = amount(needed - limit);
            say!(
                "{name} of {} ({more} more) buys {}",
                amount(needed),
                step(better)
            );
        }
        None => say!("more {name} buys nothing"),
    }
    let own = amount(sum_of(answer, name));
    match &neighbour.smaller {
        Some(smaller) => say!("{name} below {own} costs {}", step(smaller)),
        None => say!("{name} below {own} is not enough"),
    }
}

fn answer_json(problem: &Problem, answer: &Answer) -> Value {
    let names = problem.layers.iter().map(|layer| layer.name.clone());
    let levels = names.zip(answer.levels.iter().map(|level| json!(level)));
    json!({
        "levels": levels.collect::<Map<_, _>>(),
        "price": answer.price,
        "bound": answer.bound,
        "costs": answer.costs,
        "minimized": answer.minimized,
        "nodes": answer.nodes,
        "optimal": answer.optimal,
    })
}

fn explained_json(problem: &Problem, answer: &Answer, neighbours: &[Neighbour]) -> Value {
    let step = |other: &Option<Answer>| {
        other.as_ref().map(|other| {
            let changes = changes(problem, answer, other).into_iter();
            let changes =
                changes.map(|(name, from, to)| json!({"name": name, "from": from, "to": to}));
            json!({
                "price": other.price,
                "costs": other.costs,
                "changes": changes.collect::<Vec<_>>(),
            })
        })
    };
    let limits = neighbours.iter().map(|neighbour| {
        let steps = json!({
            "better": step(&neighbour.better),
            "smaller": step(&neighbour.smaller),
        });
        (neighbour.limit.clone(), steps)
    });
    Value::Object(limits.collect())
}

//! `bitbudget plan`

use std::path::PathBuf;

use bitbudget::budget::BudgetText;
use bitbudget::capacity::HostPlan;
use bitbudget::decimal::signed;
use bitbudget::explain::{self, Neighbours};
use bitbudget::file::{self, Content};
use bitbudget::memory::Memory;
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Measure};
use clap::{Args, ValueEnum};
use miette::miette;
use serde_json::{Value, json};

use super::accuracy::AccuracyArgs;
use super::data::Data;
use super::network_file::{RuleArgs, Source, UnknownCycles, place_name};
use super::target::{BoardCostArgs, TargetArgs};
use super::watch::SearchArgs;
use super::{Outcome, chart, report, watch};

/// Choose every layer's level, and the place of its weights, within limits
///
/// The choice has the least predicted loss of all that are within the limits, and is proven to; of its
/// places, where they are free, it has those of fewest cycles, then of least RAM. With --max-loss it is the
/// smallest choice of all whose predicted loss is low enough. With --max-drop it is the smallest of the optimal
/// choices whose accuracy, measured on --data, is high enough.
#[derive(Args, Debug)]
#[command(mut_arg("data", |data| data.required(false).requires("max_drop")))]
#[command(
    after_help = "Example:\n  bitbudget plan resnet8.profile --ram 64KiB --explain\n  \
    bitbudget plan resnet8.image --ram 48KiB --cycles 20e6\n  \
    bitbudget plan resnet8.image --budget weights=80% --pin fc=fp32 --json\n  \
    bitbudget plan resnet8.image --max-loss 0.005 --least ram\n  \
    bitbudget plan resnet8.image --max-drop 1% --data test.npz --model resnet8.onnx"
)]
pub(crate) struct Plan {
    /// Profile or image
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// RAM for weights and activations (64KiB, 80%), or bytes of weights alone, wherever they lie
    /// (weights=80%); percentages are of the all-FP32 layout
    #[arg(
        long,
        visible_alias = "budget",
        value_name = "BYTES",
        required_unless_present_any = ["max_loss", "max_drop", "cycles", "ms"]
    )]
    ram: Option<BudgetText>,
    /// Find the smallest layout whose predicted change of the loss is at most this
    #[arg(long, value_name = "CHANGE", allow_negative_numbers = true)]
    max_loss: Option<f64>,
    /// What shall be smallest then; without it, what --ram limits
    #[arg(long, value_name = "WHAT")]
    least: Option<Least>,
    #[command(flatten)]
    accuracy: AccuracyArgs,
    #[command(flatten)]
    data: Option<Data>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    board: BoardCostArgs,
    #[command(flatten)]
    rules: RuleArgs,
    #[command(flatten)]
    search: SearchArgs,
    /// Tell what more and less would change
    #[arg(long)]
    explain: bool,
    /// Show which activations are alive in each step, whole or as a band of rows
    #[arg(long)]
    memory: bool,
    /// Write a picture of that
    #[arg(long, value_name = "NAME.svg")]
    svg: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a plan takes, as people write it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Least {
    /// Bytes of RAM
    Ram,
    /// Cycles of an inference
    Cycles,
    /// Bytes of the chosen weights
    Weights,
}

impl Least {
    const fn measure(self) -> Measure {
        match self {
            Self::Ram => Measure::Ram,
            Self::Cycles => Measure::Cycles,
            Self::Weights => Measure::Weights,
        }
    }
}

/// No layout has a predicted loss as low as asked for.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("no layout has a predicted change of the loss of {limit:+} or less")]
#[diagnostic(help("the least within the budget is {}", signed(*least, 9)))]
struct TooLow {
    limit: f64,
    least: f64,
}

impl Plan {
    pub(crate) fn run(self) -> Outcome {
        if let Some(path) = &self.svg {
            file::check_output(path, Content::SVG, &[&self.file])?;
        }
        if self.least.is_some() && self.max_loss.or(self.accuracy.max_drop()).is_none() {
            return Err(miette!(
                help = "give --max-loss or --max-drop",
                "--least is for a layout that may lose so much"
            ));
        }
        let target = self.board.of(&self.target.get())?;
        let mut source = Source::open(&self.file, &self.rules.rules(), &target)?;
        source.effort = self.search.effort();
        let limits = match &self.ram {
            Some(text) => source.resolve(text),
            None => source.limits(),
        };
        let limited = limits.iter().next().map(|(measure, _)| measure);
        let measure = match (self.least, &self.ram) {
            (Some(least), _) => least.measure(),
            (None, Some(text)) => text.measure(),
            (None, None) => limited.unwrap_or(Measure::Ram),
        };
        source.check(limits.with(measure, 0))?;
        if measure == Measure::Cycles && !source.has_cycles {
            return Err(UnknownCycles.into());
        }
        let best = match &self.ram {
            Some(text) => source.plan_for(text)?,
            None => source.plan_within(limits)?,
        };
        let measured = self.accuracy.find(
            (&self.file, self.data.as_ref()),
            &mut source,
            &target,
            (limits, measure),
        )?;
        let (limits, plan, proven) = match (&measured, self.max_loss) {
            (Some(measured), _) => {
                let plan = measured.plan.clone();
                let amount = plan.amount(measure);
                let proven = plan.is_optimal();
                (limits.with(measure, amount), plan, proven)
            }
            (None, None) => {
                let proven = best.is_optimal();
                (limits, best, proven)
            }
            (None, Some(limit)) => {
                let least = source.loss(best.price);
                let plan = source.cheapest((limits, measure), limit);
                let (plan, proven) = plan.ok_or(TooLow { limit, least })?;
                (limits.with(measure, plan.amount(measure)), plan, proven)
            }
        };
        let over = (limits, measure);
        let neighbours = self.explain.then(|| source.neighbours(over, &plan));
        let memory = Memory::of(&source.network, &plan);
        if let Some(path) = &self.svg {
            let names =
                (0..memory.blocks.len()).map(|tensor| source.tensor_name(tensor).to_owned());
            let chart = chart::memory(&names.collect::<Vec<_>>(), &memory)?;
            file::write(path, chart.as_bytes())?;
        }
        if self.json {
            let mut json = source.json(&plan);
            json["budget_bytes"] = limits.get(measure).into();
            json["limits"] = report::limits_json(&limits);
            json["optimal"] = proven.into();
            if let Some(measured) = &measured {
                json["measured"] = measured.json();
            }
            if self.memory {
                json["memory"] = memory_json(&source, &memory);
            }
            if let Some(neighbours) = &neighbours {
                json["explain"] = explained_json(&source, measure, &plan, neighbours);
            }
            return report::print_json(&json);
        }
        print_layers(&source, &plan);
        let of = match (&self.ram, self.max_loss) {
            _ if let Some(measured) = &measured => measured.bound(),
            (_, Some(limit)) if proven => format!("the least for a loss of {limit:+}"),
            (_, Some(limit)) => format!("not proven the least for a loss of {limit:+}"),
            (Some(text), None) => {
                let amount = limits.get(measure).unwrap_or_default();
                format!("of a budget of {amount} ({text})")
            }
            (None, None) => "of any budget".to_owned(),
        };
        say!("");
        let in_flash = match plan.flash_weight_bytes() {
            0 => String::new(),
            bytes => format!("; {bytes} weights in flash"),
        };
        say!(
            "total   {} = {} weights + {} activations{in_flash}, {of}",
            plan.ram_bytes(),
            plan.ram_weight_bytes,
            plan.arena_bytes,
        );
        if !plan.schedule.is_whole() {
            say!("{}", by_rows(&source, &plan));
        }
        if source.has_cycles {
            say!("{}", cycles(&source, &plan, &limits));
        }
        let open = format!(
            "not proven optimal (bound {}, gap {}, {} nodes)",
            report::change(source.loss(plan.bound)),
            report::loss(source.loss(plan.price - plan.bound)),
            plan.nodes,
        );
        say!(
            "price   {} predicted change of the loss; {}",
            report::change(source.loss(plan.price)),
            match (proven, watch::is_interrupted()) {
                (true, _) => "proven optimal".to_owned(),
                (false, true) => format!("interrupted, {open}"),
                (false, false) => format!("{open} within --node-limit"),
            },
        );
        if let Some(measured) = &measured {
            say!("measured {}", measured.text());
        }
        if self.memory {
            say!("");
            print_memory(&source, &memory);
        }
        if let Some(neighbours) = &neighbours {
            say!("");
            explain(&source, over, &plan, neighbours);
        }
        Ok(())
    }
}

/// The table of the layers: places and cycles only where there is something to tell.
fn print_layers(source: &Source, plan: &HostPlan) {
    let mut heads = vec!["layer", "level"];
    let places = source.places() == Places::Best;
    heads.extend(places.then_some("place"));
    heads.push("bytes");
    heads.extend(source.has_cycles.then_some("cycles"));
    heads.push("price");
    let mut table = report::table(&heads);
    for row in source.rows(plan) {
        let mut cells = vec![row.name, row.level.to_string()];
        cells.extend(places.then(|| place_name(row.place).to_owned()));
        cells.push(row.bytes.to_string());
        cells.extend(source.has_cycles.then(|| row.cycles.to_string()));
        cells.push(report::change(row.price));
        table.add_row(cells);
    }
    report::print_table(&table);
}

/// The columns of the longest bar.
const BAR: usize = 40;

/// The activations that are alive in each step, with bars.
fn print_memory(source: &Source, memory: &Memory) {
    let key = format!("{:BAR$}", "# whole, - bands");
    let mut table = report::table(&["step", "whole", "bands", "bytes", &key]);
    let width = |bytes: u32| {
        let most = u64::from(memory.arena_bytes.max(1));
        (u64::from(bytes) * BAR as u64).div_ceil(most) as usize
    };
    for step in &memory.steps {
        let [first, last] = step.tensors.map(|tensor| source.tensor_name(tensor));
        let name = match first == last {
            true => first.to_owned(),
            false => format!("{first} to {last}"),
        };
        let (whole, all) = (width(step.whole_bytes), width(step.bytes()));
        let bar = "#".repeat(whole) + &"-".repeat(all.saturating_sub(whole));
        let numbers = [step.whole_bytes, step.band_bytes, step.bytes()];
        let numbers = numbers.iter().map(u32::to_string);
        let bar = format!("{bar:BAR$}");
        table.add_row([name].into_iter().chain(numbers).chain([bar]));
    }
    report::print_table(&table);
}

fn memory_json(source: &Source, memory: &Memory) -> Value {
    let steps = memory.steps.iter().map(|step| {
        let [first, last] = step.tensors;
        let tensors = (first..=last).map(|tensor| {
            let block = &memory.blocks[tensor];
            json!({
                "name": source.tensor_name(tensor),
                "offset": block.offset,
                "bytes": block.bytes,
                "band_rows": block.band_rows,
            })
        });
        json!({
            "tensors": tensors.collect::<Vec<_>>(),
            "whole_bytes": step.whole_bytes,
            "band_bytes": step.band_bytes,
        })
    });
    steps.collect()
}

/// The line about cascades.
fn by_rows(source: &Source, plan: &HostPlan) -> String {
    let cascades = plan.schedule.cascades().map(|[first, last]| {
        let name = |tensor: usize| source.tensor_name(tensor);
        format!("{} to {}", name(first), name(last))
    });
    let cascades = cascades.collect::<Vec<_>>().join(", ");
    report::printable(&format!(
        "by rows {cascades}, in {} turns: only the last of these is whole",
        plan.turns
    ))
}

/// The line about cycles.
fn cycles(source: &Source, plan: &HostPlan, limits: &Limits) -> String {
    let mut limit = match limits.cycles {
        Some(limit) => format!(" of a limit of {limit}"),
        None => String::new(),
    };
    if let Some(board) = &source.board {
        let ms = report::milliseconds(board.milliseconds(plan.cycles));
        limit.push_str(&format!(" = {ms} ms on {}", board.name));
    }
    let open = match plan.cycles - plan.cycles_bound {
        0 => String::new(),
        gap => format!("; other places may save {gap}"),
    };
    format!("cycles  {}{limit}{open}", plan.cycles)
}

/// `-0.000123, -5000 cycles: conv1 int4 -> int8, fc flash -> ram`.
fn difference(source: &Source, from: &HostPlan, to: &HostPlan) -> String {
    let mut text = report::change(source.loss(to.price - from.price));
    if source.has_cycles {
        let cycles = to.cycles.cast_signed() - from.cycles.cast_signed();
        text.push_str(&format!(", {cycles:+} cycles"));
    }
    let changes = explain::changes(from, to).into_iter().map(|change| {
        let [level, other] = change.levels;
        let [place, elsewhere] = change.places.map(place_name);
        let what = match (level == other, place == elsewhere) {
            (_, true) => format!("{level} -> {other}"),
            (true, false) => format!("{place} -> {elsewhere}"),
            (false, false) => format!("{level} {place} -> {other} {elsewhere}"),
        };
        format!("{} {what}", source.names[change.layer])
    });
    let changes = changes.collect::<Vec<_>>().join(", ");
    report::printable(&format!("{text}: {changes}"))
}

fn explain(
    source: &Source,
    (limits, measure): (Limits, Measure),
    plan: &HostPlan,
    neighbours: &Neighbours,
) {
    let limit = limits.get(measure).unwrap_or(u64::MAX);
    let more = match measure {
        Measure::Ram | Measure::Weights => "1 KiB more       ",
        Measure::Cycles => "1,024 cycles more",
    };
    let difference = |other: &HostPlan| difference(source, plan, other);
    match &neighbours.next_kib {
        Some(next) => say!("{more} buys {}", difference(next)),
        None => say!("{more} buys nothing"),
    }
    match &neighbours.better {
        Some(better) => say!(
            "next step up     from a budget of {} ({} more), {}",
            better.amount(measure),
            better.amount(measure).saturating_sub(limit),
            difference(better)
        ),
        None => say!("next step up     none: no layout has a lower price"),
    }
    let spare = limit.saturating_sub(plan.amount(measure));
    match &neighbours.smaller {
        Some(smaller) => say!(
            "next step down   below a budget of {} ({spare} to spare), {}",
            plan.amount(measure),
            difference(smaller)
        ),
        None => say!("next step down   none: this is the smallest layout"),
    }
}

fn explained_json(
    source: &Source,
    measure: Measure,
    plan: &HostPlan,
    neighbours: &Neighbours,
) -> Value {
    let step = |other: &Option<HostPlan>| {
        other.as_ref().map(|other| {
            let changes = explain::changes(plan, other).into_iter();
            let changes = changes.map(|change| {
                json!({
                    "name": source.names[change.layer],
                    "from": change.levels[0].name(),
                    "to": change.levels[1].name(),
                    "from_place": place_name(change.places[0]),
                    "to_place": place_name(change.places[1]),
                })
            });
            json!({
                "bytes": other.amount(measure),
                "price_change": source.loss(other.price - plan.price),
                "cycles": source.has_cycles.then_some(other.cycles),
                "changes": changes.collect::<Vec<_>>(),
            })
        })
    };
    json!({
        "next_kib": step(&neighbours.next_kib),
        "better": step(&neighbours.better),
        "smaller": step(&neighbours.smaller),
    })
}

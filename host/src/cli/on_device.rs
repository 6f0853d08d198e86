//! What `emulate` and `device` share: an image on a device at several budgets, and the report.

use std::io::{Read, Write};
use std::path::Path;

use bitbudget::budget::BudgetText;
use bitbudget::device::{Answer, Row, Session, Unit};
use bitbudget::evaluate::sample;
use bitbudget::file;
use bitbudget_core::plan::Limits;
use bitbudget_core::protocol::Stats;
use miette::miette;
use serde_json::{Map, Value, json};

use super::Outcome;
use super::data::{Data, dims};
use super::network_file::{Source, parse_image};
use super::report::{self, Table};
use super::target::Target;

/// What to run.
pub(crate) struct Job<'a> {
    pub(crate) image: &'a Path,
    pub(crate) data: Option<&'a Data>,
    pub(crate) budgets: &'a [BudgetText],
    pub(crate) target: Target,
    pub(crate) unit: Unit,
    pub(crate) json: bool,
}

/// What came of it.
struct Report {
    board: String,
    unit: Unit,
    names: Vec<String>,
    samples: usize,
    rows: Vec<(BudgetText, Limits, Answer)>,
    stats: Stats,
}

impl Job<'_> {
    /// Runs the job on the device at the end of the pipe that `connect` gives.
    pub(crate) fn run<P: Read + Write>(
        &self,
        connect: impl FnOnce() -> miette::Result<P>,
    ) -> Outcome {
        let bytes = file::read(self.image)?;
        let image = parse_image(self.image, &bytes)?;
        let shape = image.network().input;
        let data = self.data.map(|data| data.load(shape)).transpose()?;
        let sample_len = dims(shape).iter().product();
        let samples = data.iter().flat_map(|data| {
            let samples = 0..data.len;
            samples.map(move |i| sample(data, i, sample_len))
        });
        let samples: Vec<_> = samples.collect();
        let mut source = Source::of_image(&image, &self.target)?;
        let pipe = connect()?;
        let bar = report::progress("loading", bytes.len());
        let loaded = |sent: usize| bar.set_position(sent as u64);
        let mut session = Session::begin(pipe, self.unit, &image, &bytes, &loaded)?;
        bar.finish_and_clear();
        let mut rows = Vec::new();
        for text in self.budgets {
            let limits = source.resolve(text);
            let host = source.plan(limits);
            let answer = session.run(
                limits,
                source.places(),
                source.effort.node_limit,
                &host,
                &samples,
            )?;
            rows.push((text.clone(), limits, answer));
        }
        let report = Report {
            board: session.board().to_owned(),
            unit: self.unit,
            names: source.names,
            samples: samples.len(),
            rows,
            stats: session.stats()?,
        };
        if self.json {
            report::print_json(&report.json())?;
        } else {
            report.print();
        }
        if report.rows.iter().all(|(_, _, answer)| answer.matches()) {
            return Ok(());
        }
        let help = "host and device must run the same version, from the same sources: rebuild both";
        Err(miette!(help = help, "the device differs from the host"))
    }
}

impl Report {
    fn print(&self) {
        let mut table = report::table(&[
            "budget", "total", "nodes", "solve", "copy", "infer", "plan", "outputs", "levels",
        ]);
        for (text, _, answer) in &self.rows {
            match answer {
                Answer::Run(row) => add_row(&mut table, text, row),
                Answer::TooSmall { refused, .. } => {
                    let smallest = refused.smallest().map_or(0, |(_, bytes)| bytes);
                    let smallest = report::bytes(smallest);
                    table.add_row([text.to_string(), format!("too small: {smallest} would do")]);
                }
                Answer::DeviceTooSmall {
                    needed_bytes,
                    arena_bytes,
                } => {
                    table.add_row([
                        text.to_string(),
                        format!("takes {needed_bytes} B, the device has {arena_bytes} B"),
                    ]);
                }
            }
        }
        report::print_table(&table);
        let Stats {
            static_bytes,
            stack_used_bytes,
            ..
        } = self.stats;
        say!(
            "\n{}: solve, copy and infer in {}; plan and outputs of {} samples against the host's, bit for bit",
            self.board,
            self.unit.name(),
            self.samples,
        );
        say!(
            "RAM beside the plan: {} ({static_bytes} statics + {stack_used_bytes} stack)",
            report::bytes(u64::from(static_bytes) + u64::from(stack_used_bytes)),
        );
    }

    fn json(&self) -> Value {
        let bytes = |text: &BudgetText, limits: &Limits| limits.get(text.measure());
        let rows = self.rows.iter().map(|(text, limits, answer)| match answer {
            Answer::Run(row) => self.row_json(bytes(text, limits), row),
            Answer::TooSmall { refused, .. } => json!({
                "budget_bytes": bytes(text, limits),
                "error": "no layout fits",
                "smallest_bytes": refused.smallest().map(|(_, bytes)| bytes),
            }),
            Answer::DeviceTooSmall {
                needed_bytes,
                arena_bytes,
            } => json!({
                "budget_bytes": bytes(text, limits),
                "error": "the plan takes more bytes than the device has",
                "needed_bytes": needed_bytes,
                "device_bytes": arena_bytes,
            }),
        });
        json!({
            "board": self.board,
            "samples": self.samples,
            "static_bytes": self.stats.static_bytes,
            "stack_bytes": self.stats.stack_used_bytes,
            "budgets": rows.collect::<Vec<_>>(),
        })
    }

    fn row_json(&self, budget_bytes: Option<u64>, row: &Row) -> Value {
        let mut json = Map::new();
        json.insert("budget_bytes".into(), budget_bytes.into());
        json.insert("total_bytes".into(), row.plan.ram_bytes().into());
        let levels = report::levels_json(&self.names, &row.plan.levels);
        json.insert("levels".into(), levels);
        json.insert("nodes".into(), row.plan.nodes.into());
        let unit = self.unit.name();
        json.insert(format!("solve_{unit}"), row.solve.into());
        json.insert(format!("copy_{unit}"), row.copy.into());
        json.insert(format!("infer_{unit}"), row.infer.into());
        json.insert("plan_matches_host".into(), row.plan_matches.into());
        json.insert("outputs_match_host".into(), row.outputs_match.into());
        Value::Object(json)
    }
}

fn add_row(table: &mut Table, text: &BudgetText, row: &Row) {
    let equal = |same: bool| if same { "same" } else { "DIFFERENT" };
    table.add_row([
        text.to_string(),
        report::bytes(row.plan.ram_bytes()),
        row.plan.nodes.to_string(),
        row.solve.to_string(),
        row.copy.to_string(),
        row.infer
            .map_or_else(String::new, |count| count.to_string()),
        equal(row.plan_matches).to_owned(),
        row.infer
            .map_or_else(String::new, |_| equal(row.outputs_match).to_owned()),
        report::levels_short(&row.plan.levels),
    ]);
}

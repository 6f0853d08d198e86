//! The command line: one file and one `run(self)` for each command.

/// Prints a line, or several.
macro_rules! say {
    ($($arg:tt)*) => { $crate::cli::report::lines(format_args!($($arg)*)) };
}

mod accuracy;
mod analyze;
mod bench;
mod board;
mod boards;
mod chart;
mod compare;
mod data;
mod demo;
mod device;
mod emulate;
mod eval;
mod export;
mod inspect;
mod measure;
mod model;
mod network_file;
mod on_device;
mod operators;
mod pack;
mod pareto;
mod plan;
mod profile;
mod report;
mod run;
mod settings;
mod solve;
mod stored;
mod target;
mod warnings;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The result of a command: an error knows what failed, where, and what would help.
type Outcome = miette::Result<()>;

/// Decide at which precision each layer of a CNN is stored, so that it fits a memory budget with the
/// least loss.
///
/// A trained model goes this way: `analyze` it to see what it takes, `profile` it once on calibration data, look at the trade-off with
/// `plan` and `pareto`, `pack` one image for the device, and check it with `eval` and `run`, which use
/// the same kernels as the device. Without a command, the demo runs.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
#[command(after_help = "Start with:  bitbudget demo --keep demo\n\
                        Then try:    bitbudget plan demo/digits.image --budget 60%")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Analyze(analyze::Analyze),
    Profile(profile::Profile),
    Plan(plan::Plan),
    Pareto(pareto::Pareto),
    Solve(solve::Solve),
    Pack(pack::Pack),
    Eval(eval::Eval),
    Compare(compare::Compare),
    Run(run::Run),
    Export(export::Export),
    Inspect(inspect::Inspect),
    Operators(operators::Operators),
    Boards(boards::Boards),
    Emulate(emulate::Emulate),
    Device(device::Device),
    Bench(bench::Bench),
    Demo(demo::Demo),
}

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        // help and version, too
        Err(error) => {
            let printed = error.print();
            if !error.use_stderr() {
                report::written(printed.and_then(|()| io::stdout().flush()));
            }
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let outcome = match command.unwrap_or_else(|| Command::Demo(demo::Demo::default())) {
        Command::Analyze(command) => command.run(),
        Command::Profile(command) => command.run(),
        Command::Plan(command) => command.run(),
        Command::Pareto(command) => command.run(),
        Command::Solve(command) => command.run(),
        Command::Pack(command) => command.run(),
        Command::Eval(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Operators(command) => command.run(),
        Command::Boards(command) => command.run(),
        Command::Emulate(command) => command.run(),
        Command::Device(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Demo(command) => command.run(),
    };
    match outcome {
        Ok(()) => {
            report::written(io::stdout().flush());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let mut last = String::new();
            for (i, cause) in failure.chain().map(ToString::to_string).enumerate() {
                let label = if i == 0 { "error" } else { "  because" };
                if cause != last {
                    report::complain(label, &cause);
                }
                last = cause;
            }
            if let Some(help) = failure.help() {
                report::complain("help", &help.to_string());
            }
            ExitCode::FAILURE
        }
    }
}

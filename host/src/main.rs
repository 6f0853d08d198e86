//! The `bitbudget` command.
#![forbid(unsafe_code)]

mod cli;

use std::panic;
use std::process::ExitCode;
use std::thread;

/// Stack of the thread that runs a command. Networks, planners and engines of the host's capacities are
/// some hundred KiB each, and the main thread's stack is 1 MiB on Windows.
const STACK_BYTES: usize = 8 << 20;

fn main() -> ExitCode {
    let command = thread::Builder::new()
        .name("main".into())
        .stack_size(STACK_BYTES)
        .spawn(cli::main);
    let Ok(command) = command else {
        eprintln!("error: no thread with a stack of {STACK_BYTES} bytes can be started");
        return ExitCode::FAILURE;
    };
    command
        .join()
        .unwrap_or_else(|panic| panic::resume_unwind(panic))
}

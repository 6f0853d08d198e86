//! The `bitbudget` command.
#![deny(unsafe_code)]

mod cli;

use std::env;
use std::panic;
use std::process::ExitCode;
use std::thread;

/// Stack of the thread that runs a command. Networks, planners and engines of the host's capacities are
/// some hundred KiB each, and the main thread's stack is 1 MiB on Windows.
const STACK_BYTES: usize = 8 << 20;

/// Lets batches, and not the matrix products within them, run on several threads.
///
/// candle asks before every product how many threads it may take: it reads this variable, or without it
/// `/proc/cpuinfo`, which takes longer than many a product.
#[expect(unsafe_code)]
fn set_threads() {
    const VARIABLE: &str = "RAYON_NUM_THREADS";
    let asked = env::var(VARIABLE).ok().and_then(|count| count.parse().ok());
    let asked = asked.filter(|count| *count > 0);
    let count = asked.or_else(|| Some(thread::available_parallelism().ok()?.get()));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count.unwrap_or(1));
    // SAFETY: no other thread runs yet, this is the first thing that the program does.
    unsafe { env::set_var(VARIABLE, "1") };
    // the first in this process, so that there is none yet
    pool.build_global().ok();
}

fn main() -> ExitCode {
    set_threads();
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

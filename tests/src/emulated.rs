//! The firmware in QEMU, and the digits that it runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use bitbudget::capacity::{HostImage, HostPlanner, MAX_LAYERS};
use bitbudget::dataset::{self, Dataset, LoadOptions};
use bitbudget::device::{self, BOARDS, Client, Emulator, FirmwareError, Machine};
use bitbudget_core::plan::Limits;
use bitbudget_core::protocol::Planned;
use serde_json::Value;

/// Pixels of a digit.
pub const DIGIT_LEN: usize = 64;

/// A running firmware; `None`, and a word about it, where that cannot be.
///
/// # Panics
/// When the firmware does not build, or does not run.
#[must_use]
pub fn emulator(board: Machine) -> Option<Emulator> {
    static BUILT: LazyLock<Mutex<BTreeMap<&str, PathBuf>>> = LazyLock::new(Mutex::default);
    if let Err(error) = Emulator::check_installed(board) {
        eprintln!("SKIPPED: {error}; ./setup.sh installs it");
        return None;
    }
    let mut built = BUILT.lock().expect("no builder panics");
    let program = match built.get(board.name) {
        Some(program) => program.clone(),
        None => match device::build(board) {
            Ok(program) => program,
            Err(FirmwareError::NoTarget { target }) => {
                eprintln!("SKIPPED: {target} is not installed; ./setup.sh installs it");
                return None;
            }
            Err(error) => panic!("{error:?}"),
        },
    };
    built.insert(board.name, program.clone());
    Some(Emulator::start(&program, board, None).expect("QEMU runs the firmware"))
}

/// A client of the firmware on the first board.
#[must_use]
pub fn client() -> Option<Client<Emulator>> {
    emulator(BOARDS[0]).map(Client::new)
}

/// The root of the source tree.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What cargo builds with these arguments: a message for each artifact.
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn build(arguments: &[&str]) -> Vec<Value> {
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(root()).arg("build").args(arguments);
    build.arg("--message-format=json-render-diagnostics");
    let output = build.output().expect("cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages.lines().map(serde_json::from_str);
    messages.collect::<Result<_, _>>().expect("JSON")
}

/// Runs a program that prints by semihosting on an emulator, which is given with its machine.
#[must_use]
pub fn semihosted(emulator: &[&str], program: &Path) -> Command {
    let mut emulate = Command::new(emulator[0]);
    emulate.args(&emulator[1..]);
    emulate.args(["-display", "none", "-monitor", "none", "-serial", "none"]);
    emulate.args(["-semihosting-config", "enable=on,target=native", "-kernel"]);
    emulate.arg(program);
    emulate
}

/// The image that is linked into the firmware.
#[must_use]
pub fn digits_image() -> Vec<u8> {
    fs::read(root().join("firmware/digits.image")).expect("part of the source")
}

/// The demo's test images.
#[must_use]
pub fn digits() -> Dataset {
    let options = LoadOptions {
        format: None,
        labels: None,
        input: [8, 8, 1],
        limit: None,
        seed: 0,
    };
    dataset::load(&root().join("host/demo/test_images.npy"), &options).expect("part of the source")
}

/// The planner of an image.
#[must_use]
pub fn planner(image: &HostImage<'_>) -> Box<HostPlanner> {
    Box::new(HostPlanner::new(image.network()))
}

/// The smallest budget, and the bytes of the largest plan that is worth having.
#[must_use]
pub fn range(image: &HostImage<'_>) -> (u64, u64) {
    let mut planner = planner(image);
    let plan = |planner: &mut HostPlanner, bytes| {
        planner.plan(image.network(), Limits::ram(bytes), u64::MAX)
    };
    let smallest = plan(&mut planner, 0)
        .expect_err("nothing fits")
        .smallest()
        .expect("a limit")
        .1;
    let largest = plan(&mut planner, u64::MAX).expect("all fits").ram_bytes();
    (smallest, largest)
}

/// A plan without what changes from build to build.
#[must_use]
pub fn without_ticks(planned: Planned<MAX_LAYERS>) -> Planned<MAX_LAYERS> {
    Planned {
        solve_ticks: 0,
        copy_ticks: 0,
        ..planned
    }
}

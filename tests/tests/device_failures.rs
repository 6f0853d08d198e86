//! A device whose program fails says so and serves on.
//!
//! Without QEMU or the target these tests say so and pass; `./setup.sh` installs both.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use bitbudget::device::{BOARDS, Client, DeviceError, Emulator, Machine, has_target};
use bitbudget_core::place::Places;
use bitbudget_core::plan::Limits;
use bitbudget_core::protocol::{Cause, Refusal};
use bitbudget_tests::emulated::root;

/// The program that fails as it is asked to, for a board.
fn program(board: Machine) -> Option<PathBuf> {
    if !Emulator::is_installed(board) || !has_target(board.target) {
        eprintln!(
            "SKIPPED: no QEMU or no {}; ./setup.sh installs them",
            board.target
        );
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(board.name);
    let built = Command::new(env!("CARGO"))
        .current_dir(root())
        .args([
            "build",
            "--package",
            "bitbudget-firmware",
            "--example",
            "failing",
        ])
        .args(["--profile", "firmware", "--target", board.target])
        .args(["--no-default-features", "--features", board.name])
        .output()
        .expect("cargo runs");
    let output = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{output}");
    // all boards are built at the same place
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
    let program = target.join(board.target).join("firmware/examples/failing");
    std::fs::copy(program, &folder).expect("it was built");
    Some(folder)
}

/// Has the program fail; the cause that it reports.
fn cause(client: &mut Client<Emulator>, kind: u8) -> (Cause, u32) {
    client
        .pipe()
        .write_all(&[0, 0, 0, 0, kind])
        .expect("the pipe is open");
    let refusal = client.refusal().expect("a report");
    let Refusal::Restarted(failure) = refusal else {
        panic!("{refusal}");
    };
    (failure.cause, failure.address)
}

#[test]
fn every_failure_is_reported_and_the_device_serves_on() {
    for board in [BOARDS[0], BOARDS[3], BOARDS[4], BOARDS[5]] {
        let Some(program) = program(board) else {
            continue;
        };
        let emulator = Emulator::start(&program, board, None).expect("QEMU runs it");
        let mut client = Client::new(emulator);
        for (kind, expected) in [
            (b'p', Cause::Panic),
            (b'l', Cause::Panic),
            (b'f', Cause::HardFault),
            (b's', Cause::StackOverflow),
            (b'w', Cause::Watchdog),
            (b's', Cause::StackOverflow),
        ] {
            let (cause, address) = cause(&mut client, kind);
            assert_eq!(cause, expected, "{}", board.name);
            let has_address = matches!(cause, Cause::Panic | Cause::HardFault);
            assert_eq!(address != 0, has_address, "{}: {cause:?}", board.name);
            // without an image, which may be to blame
            client.info().expect("an answer");
            let replan = client.replan(Limits::ram(u64::MAX), Places::Ram, 1);
            assert!(matches!(
                replan,
                Err(DeviceError::Refused(Refusal::NoImage))
            ));
            client.load_linked().expect("still there");
            client
                .replan(Limits::ram(u64::MAX), Places::Ram, 1)
                .expect("a plan");
        }
    }
}

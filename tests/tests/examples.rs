//! The firmware's examples: each is built as it stands and run on the emulated board.

use std::path::PathBuf;

use bitbudget::device::{BOARDS, Emulator, has_target};
use bitbudget_tests::emulated::{build, root, semihosted};

const TARGET: &str = "thumbv7em-none-eabihf";

/// The names of all examples but the firmware that fails, and what they print.
const EXAMPLES: [(&str, &[&str]); 4] = [
    ("profiler", &["(input)", "fc"]),
    ("rows", &["8 rows, as the whole frame: true"]),
    ("slices", &["37020 bytes", "proven to be the best: true"]),
    ("storage", &["bytes of weights,"]),
];

/// Builds the examples, and returns the program of each.
fn programs() -> Vec<(String, PathBuf)> {
    let mut arguments = vec!["--package", "bitbudget-firmware", "--profile", "firmware"];
    arguments.extend(["--target", TARGET, "--features", "examples"]);
    for (name, _) in EXAMPLES {
        arguments.extend(["--example", name]);
    }
    let messages = build(&arguments);
    let programs = messages.iter().filter_map(|message| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    });
    programs.collect()
}

#[test]
fn examples_run_as_they_stand() {
    if !has_target(TARGET) || !Emulator::is_installed(BOARDS[0]) {
        return println!("skipped: the firmware's examples need {TARGET} and QEMU; ./setup.sh");
    }
    let programs = programs();
    for (name, expected) in EXAMPLES {
        let (_, program) = programs
            .iter()
            .find(|(it, _)| it == name)
            .expect("a program");
        let emulated = semihosted(&["qemu-system-arm", "-M", "mps2-an386"], program).output();
        let output = emulated.expect("an emulator");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {printed}");
        for part in expected {
            assert!(printed.contains(part), "{name}: {part}\n{printed}");
        }
        println!("{name}:\n{printed}");
    }
    // none is forgotten
    let files = std::fs::read_dir(root().join("firmware/examples")).expect("examples");
    assert_eq!(files.count(), EXAMPLES.len() + 1);
}

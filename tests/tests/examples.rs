//! The firmware's examples: each is built as it stands and run on the emulated board.

use std::path::{Path, PathBuf};
use std::process::Command;

use bitbudget::device::has_target;

const TARGET: &str = "thumbv7em-none-eabihf";

/// The names of all examples but the firmware that fails, and what they print.
const EXAMPLES: [(&str, &[&str]); 4] = [
    ("profiler", &["(input)", "fc"]),
    ("rows", &["8 rows, as the whole frame: true"]),
    ("slices", &["37020 bytes", "proven to be the best: true"]),
    ("storage", &["bytes of weights,"]),
];

/// Builds the examples, and returns the program of each.
fn build(root: &Path) -> Vec<(String, PathBuf)> {
    let mut build = Command::new(env!("CARGO"));
    build
        .current_dir(root)
        .args(["build", "--package", "bitbudget-firmware"]);
    build.args([
        "--profile",
        "firmware",
        "--target",
        TARGET,
        "--features",
        "examples",
    ]);
    for (name, _) in EXAMPLES {
        build.args(["--example", name]);
    }
    let output = build
        .arg("--message-format=json-render-diagnostics")
        .output()
        .expect("cargo");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let messages = String::from_utf8_lossy(&output.stdout);
    let programs = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    });
    programs.collect()
}

#[test]
fn examples_run_as_they_stand() {
    if !has_target(TARGET)
        || Command::new("qemu-system-arm")
            .arg("--version")
            .output()
            .is_err()
    {
        return println!("skipped: the firmware's examples need {TARGET} and QEMU; ./setup.sh");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let programs = build(&root);
    for (name, expected) in EXAMPLES {
        let (_, program) = programs
            .iter()
            .find(|(it, _)| it == name)
            .expect("a program");
        let mut emulate = Command::new("qemu-system-arm");
        emulate.args([
            "-M",
            "mps2-an386",
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            "none",
        ]);
        emulate.args(["-semihosting-config", "enable=on,target=native", "-kernel"]);
        let output = emulate.arg(program).output().expect("an emulator");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {printed}");
        for part in expected {
            assert!(printed.contains(part), "{name}: {part}\n{printed}");
        }
        println!("{name}:\n{printed}");
    }
    // none is forgotten
    let files = std::fs::read_dir(root.join("firmware/examples")).expect("examples");
    assert_eq!(files.count(), EXAMPLES.len() + 1);
}

//! The stand-alone program of the core's README: it builds as it is printed, in a folder of its own, and prints what it says.

use std::fs;
use std::process::Command;

use bitbudget::device::{BOARDS, Emulator, has_target};
use bitbudget_tests::emulated::root;

const README: &str = include_str!("../../core/README.md");
const TARGET: &str = "thumbv7em-none-eabihf";

/// The code blocks of a language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let starts = README.match_indices(&fence).map(|(at, _)| at + fence.len());
    let blocks = starts.map(|start| README[start..].split("```").next().expect("its end"));
    blocks.collect()
}

#[test]
fn the_program_of_the_readme_runs_as_printed() {
    if !has_target(TARGET) || !Emulator::is_installed(BOARDS[0]) {
        return println!("skipped: the README's program needs {TARGET} and QEMU; ./setup.sh");
    }
    let root = root().canonicalize().expect("the source");
    let [manifest, config] = blocks("toml")[..] else {
        panic!("the README has Cargo.toml and .cargo/config.toml");
    };
    let [memory, printed] = blocks("text")[..] else {
        panic!("the README has memory.x and what is printed");
    };
    let [main] = blocks("rust,ignore")[..] else {
        panic!("the README has a program");
    };
    let manifest = manifest.replace(
        "../bitbudget/core",
        &root.join("core").display().to_string(),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at(".cargo")).expect("a folder");
    fs::create_dir_all(at("src")).expect("a folder");
    for (path, content) in [
        ("Cargo.toml", manifest.as_str()),
        (".cargo/config.toml", config),
        ("memory.x", memory),
        ("src/main.rs", main),
    ] {
        fs::write(at(path), content).expect("a file");
    }
    // what is downloaded already
    fs::copy(root.join("Cargo.lock"), at("Cargo.lock")).expect("a file");
    fs::copy(root.join("firmware/digits.image"), at("src/digits.image")).expect("a file");
    let mut run = Command::new(env!("CARGO"));
    run.current_dir(&folder)
        .args(["run", "--quiet", "--release"]);
    let output = run.output().expect("cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{errors}");
}

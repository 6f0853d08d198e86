//! The core's own tests, among them those that every instruction set's kernels pass, on processors that this
//! machine has not: by an emulator of programs for Linux.
//!
//! Where an emulator, a linker or a target's library is missing these tests say so and pass; `./setup.sh`
//! installs them.

use std::env;
use std::process::Command;

use bitbudget::device::has_target;
use bitbudget_tests::emulated::root;

/// A processor, and what runs Rust's programs for it.
struct Processor {
    target: &'static str,
    linker: &'static str,
    emulator: &'static str,
    /// Kernels whose battery runs there.
    kernels: &'static [&'static str],
}

impl Processor {
    /// Whether all of that is there; if not, what is missing is told.
    fn is_there(&self) -> bool {
        let runs = |program| Command::new(program).arg("--version").output().is_ok();
        let mut missing = Vec::new();
        if !runs(self.emulator) {
            missing.push(self.emulator);
        }
        // Rust's own lies where only the compiler looks
        if self.linker != "rust-lld" && !runs(self.linker) {
            missing.push(self.linker);
        }
        if !has_target(self.target) {
            missing.push(self.target);
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            eprintln!("SKIPPED: {missing} not installed; ./setup.sh installs what can be had");
        }
        missing.is_empty()
    }

    fn passes(&self) {
        if !self.is_there() {
            return;
        }
        let option = |name| {
            let target = self.target.replace('-', "_").to_uppercase();
            format!("CARGO_TARGET_{target}_{name}")
        };
        let mut tests = cargo("test", self.target);
        tests.args(["--lib", "--", "--nocapture"]);
        tests.env(option("LINKER"), self.linker);
        tests.env(option("RUNNER"), self.emulator);
        // the battery panics on purpose, and an emulator takes long to tell where
        tests.env("RUST_BACKTRACE", "0");
        // the emulator has no libraries to load
        tests.env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
        let said = succeeds(tests);
        for kernels in self.kernels {
            let dots = format!("arch::{kernels}_battery::dots_");
            let ran = said
                .lines()
                .any(|line| line.contains(&dots) && line.ends_with("... ok"));
            assert!(ran, "{kernels}: {said}");
        }
        assert!(!said.contains("not tested"), "{said}");
    }
}

/// Cargo's `command` of the core for a target.
fn cargo(command: &str, target: &str) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut all = Command::new(cargo);
    all.current_dir(root());
    all.args([command, "--package", "bitbudget-core", "--target", target]);
    all
}

/// The output of a command that succeeds.
fn succeeds(mut command: Command) -> String {
    let output = command.output().expect("cargo runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// NEON and its dot products.
#[test]
fn aarch64() {
    let processor = Processor {
        target: "aarch64-unknown-linux-musl",
        linker: "rust-lld",
        emulator: "qemu-aarch64",
        kernels: &["simd::int", "simd::float", "kernels::int"],
    };
    processor.passes();
}

/// Cortex-M's instructions, with and without DSP and FPU, are part of Armv7-A.
#[test]
fn armv7() {
    let processor = Processor {
        target: "thumbv7neon-unknown-linux-gnueabihf",
        linker: "arm-linux-gnueabihf-gcc",
        emulator: "qemu-arm",
        kernels: &[
            "arm_v6m::int",
            "arm_mla::int",
            "arm_dsp::int",
            "arm_fpu::float",
        ],
    };
    processor.passes();
}

/// Without atomic instructions, as an ESP32-C3, which no emulator here runs.
#[test]
fn riscv32imc_is_built() {
    let target = "riscv32imc-unknown-none-elf";
    if has_target(target) {
        succeeds(cargo("build", target));
    } else {
        eprintln!("SKIPPED: {target} is not installed; ./setup.sh installs it");
    }
}

//! Chooses the board's memory layout and the image that is linked in.
//!
//! `digits.image` is what `bitbudget pack --all-levels --forbid fp32` makes of the model and the profile that
//! `bitbudget demo --keep FOLDER` writes: without FP32, it leaves boards of 512 KiB of flash room to grow.
//! `BITBUDGET_IMAGE=PATH` links another image, `BITBUDGET_IMAGE=none` links none.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The boards, and their memory layouts.
const BOARDS: [(&str, &str); 7] = [
    ("mps2-an386", "mps2"),
    ("mps2-an383", "mps2"),
    ("mps2-an385", "mps2"),
    ("mps2-an500", "mps2"),
    ("mps2-an505", "mps2-an505"),
    ("nucleo-f446re", "nucleo-f446re"),
    ("riscv32-virt", "riscv32-virt"),
];
const IMAGE: &str = "digits.image";

fn main() {
    println!("cargo:rerun-if-env-changed=BITBUDGET_IMAGE");
    println!("cargo:rerun-if-changed={IMAGE}");
    println!("cargo:rerun-if-changed=memory");
    if variable("CARGO_CFG_TARGET_OS") != "none" {
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    let memory = Path::new("memory").join(format!("{}.x", memory_of_board()));
    copy(&memory, &out.join("memory.x"));
    let image = out.join("model.image");
    match env::var("BITBUDGET_IMAGE").as_deref() {
        Err(_) => copy(Path::new(IMAGE), &image),
        Ok("none") => fs::write(&image, []).expect("the build folder can be written"),
        Ok(path) => {
            println!("cargo:rerun-if-changed={path}");
            copy(Path::new(path), &image);
        }
    }
    println!("cargo:rustc-link-search={}", out.display());
    for argument in ["--nmagic", "--icf=all", "-Tlink.x", "-Tdefmt.x"] {
        println!("cargo:rustc-link-arg-bins={argument}");
        println!("cargo:rustc-link-arg-examples={argument}");
    }
}

/// The memory layout of the one board that is chosen.
fn memory_of_board() -> &'static str {
    let feature = |board: &str| board.to_uppercase().replace('-', "_");
    let chosen =
        |(board, _): &(&str, _)| env::var_os(format!("CARGO_FEATURE_{}", feature(board))).is_some();
    let (boards, memories): (Vec<&str>, Vec<&str>) = BOARDS.into_iter().filter(chosen).unzip();
    match memories[..] {
        [memory] => memory,
        _ => panic!(
            "choose one board, as in --no-default-features --features {}; chosen: {boards:?}",
            BOARDS[0].0
        ),
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

fn copy(from: &Path, to: &Path) {
    if let Err(error) = fs::copy(from, to) {
        panic!(
            "cannot copy {} to {}: {error}",
            from.display(),
            to.display()
        );
    }
}

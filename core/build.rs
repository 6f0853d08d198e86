//! Tells the code which instruction set it is built for: stable Rust shows no `dsp`.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(arm_dsp)");
    let target = var("TARGET").unwrap_or_default();
    let flags = var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    // Armv7E-M always has it, Armv8-M where the processor says so
    let asked = [
        "cortex-m33",
        "cortex-m35p",
        "cortex-m55",
        "cortex-m85",
        "+dsp",
    ];
    let armv8m = target.starts_with("thumbv8m.main") && asked.iter().any(|it| flags.contains(it));
    if target.starts_with("thumbv7em") || armv8m {
        println!("cargo:rustc-cfg=arm_dsp");
    }
}

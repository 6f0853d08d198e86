//! Tells the code which instructions it is built for, as far as stable Rust does not show them.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(arm_dsp, armv8m_dsp, arm_fpu, arm_mla, arm_v6m, simd)");
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
    let armv8m = target.starts_with("thumbv8m.main");
    let dsp = armv8m && asked.iter().any(|it| flags.contains(it));
    if dsp {
        println!("cargo:rustc-cfg=armv8m_dsp");
    }
    // Armv7-A has all that Cortex-M has: the tests of both run there
    let armv7a = target.starts_with("thumbv7neon");
    let dsp = dsp || target.starts_with("thumbv7em");
    if dsp || armv7a {
        println!("cargo:rustc-cfg=arm_dsp");
    }
    if !dsp && (armv7a || armv8m || target.starts_with("thumbv7m")) {
        println!("cargo:rustc-cfg=arm_mla");
    }
    if armv7a || target.starts_with("thumbv6m") || target.starts_with("thumbv8m.base") {
        println!("cargo:rustc-cfg=arm_v6m");
    }
    if target.starts_with("thumb") && target.ends_with("eabihf") {
        println!("cargo:rustc-cfg=arm_fpu");
    }
    // with registers for vectors: targets for kernels do without
    let of_target = |what: &str| var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let has = |feature| of_target("FEATURE").split(',').any(|it| it == feature);
    let simd = match of_target("ARCH").as_str() {
        "x86_64" => has("sse2"),
        "aarch64" => has("neon") && of_target("ENDIAN") == "little",
        _ => false,
    };
    if simd {
        println!("cargo:rustc-cfg=simd");
    }
}

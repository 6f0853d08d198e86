//! The firmware's program file: found, or built where its source is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::{env, fs};

use bitbudget_core::image::ImageError;
use serde_json::Value;

use crate::capacity::HostNetwork;

/// A board that the firmware builds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The firmware's feature.
    pub name: &'static str,
    /// The Rust target.
    pub target: &'static str,
    /// The emulator, and its arguments for this machine; `None` for hardware.
    pub(super) emulator: Option<(&'static str, &'static [&'static str])>,
}

const ARM: &str = "qemu-system-arm";

/// The boards that can be emulated.
pub const BOARDS: [Machine; 6] = [
    Machine {
        name: "mps2-an386",
        target: "thumbv7em-none-eabihf",
        emulator: Some((ARM, &["-M", "mps2-an386"])),
    },
    Machine {
        name: "mps2-an500",
        target: "thumbv7em-none-eabihf",
        emulator: Some((ARM, &["-M", "mps2-an500"])),
    },
    Machine {
        name: "mps2-an385",
        target: "thumbv7m-none-eabi",
        emulator: Some((ARM, &["-M", "mps2-an385"])),
    },
    Machine {
        name: "mps2-an505",
        target: "thumbv8m.main-none-eabihf",
        emulator: Some((ARM, &["-M", "mps2-an505"])),
    },
    // QEMU has no such board; a Cortex-M3 runs every instruction of a Cortex-M0+
    Machine {
        name: "mps2-an383",
        target: "thumbv6m-none-eabi",
        emulator: Some((ARM, &["-M", "mps2-an385"])),
    },
    Machine {
        name: "riscv32-virt",
        target: "riscv32imac-unknown-none-elf",
        emulator: Some(("qemu-system-riscv32", &["-M", "virt", "-bios", "none"])),
    },
];

/// The most layers of an image that the firmware takes on the boards that can be emulated.
pub const LAYERS: usize = 64;
/// The most levels of a layer there.
pub const LEVELS: usize = 8;

/// Whether the firmware has room for a network.
///
/// # Errors
/// [`ImageError::Layers`] or [`ImageError::Levels`], with which the firmware refuses the image.
pub fn check_capacity(network: &HostNetwork) -> Result<(), ImageError> {
    let layers = network.layers.len();
    if layers > LAYERS {
        return Err(ImageError::Layers {
            found: layers as u32,
            limit: LAYERS as u32,
        });
    }
    let mut rows = network.prices.rows.iter().enumerate();
    match rows.find(|(_, row)| row.len() > LEVELS) {
        None => Ok(()),
        Some((layer, row)) => Err(ImageError::Levels {
            layer: layer as u32,
            found: row.len() as u32,
            limit: LEVELS as u32,
        }),
    }
}

/// A board that the firmware builds for and nothing emulates.
pub const HARDWARE: Machine = Machine {
    name: "nucleo-f446re",
    target: "thumbv7em-none-eabihf",
    emulator: None,
};

impl Machine {
    /// The board of this name that can be emulated.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        BOARDS.into_iter().find(|board| board.name == name)
    }
}

/// Why there is no firmware.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum FirmwareError {
    /// Its source is not here.
    #[error("there is no firmware here to build")]
    #[diagnostic(help(
        "run this inside bitbudget's source tree, or give the program file: --firmware FILE (`cargo firmware` builds it there)"
    ))]
    NoSource,
    /// The Rust target is not installed.
    #[error("the Rust target {target} is not installed")]
    #[diagnostic(help("install it: rustup target add {target} (or run ./setup.sh)"))]
    NoTarget {
        /// The target.
        target: &'static str,
    },
    /// Cargo could not be run.
    #[error("cannot run cargo")]
    #[diagnostic(help(
        "install Rust from https://rustup.rs, or give the program file: --firmware FILE"
    ))]
    NoCargo(#[source] std::io::Error),
    /// The built program could not be copied to a place of the board's own.
    #[error("cannot copy the firmware within the build folder")]
    Copy(#[source] std::io::Error),
    /// The build failed.
    #[error("the firmware does not build for {board}")]
    #[diagnostic(help("{output}"))]
    Build {
        /// The board.
        board: &'static str,
        /// The compiler's output.
        output: String,
    },
}

/// The program file of the firmware for a board, built by cargo from the source tree that the current
/// folder or this program lies in.
///
/// # Errors
/// [`FirmwareError`].
pub fn build(board: Machine) -> Result<PathBuf, FirmwareError> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let root = source_root().ok_or(FirmwareError::NoSource)?;
    if !has_target(board.target) {
        let target = board.target;
        return Err(FirmwareError::NoTarget { target });
    }
    // all boards are built at the same place
    let _building = BUILDING.lock();
    let output = Command::new(cargo())
        .current_dir(&root)
        .args(["build", "--package", "bitbudget-firmware"])
        .args(["--profile", "firmware", "--target", board.target])
        .args(["--no-default-features", "--features", board.name])
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .output()
        .map_err(FirmwareError::NoCargo)?;
    let executable = executable(&String::from_utf8_lossy(&output.stdout));
    match executable {
        Some(path) if output.status.success() => {
            let own = path.with_file_name(format!("bitbudget-{}.elf", board.name));
            fs::copy(&path, &own).map_err(FirmwareError::Copy)?;
            Ok(own)
        }
        _ => Err(FirmwareError::Build {
            board: board.name,
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

fn cargo() -> std::ffi::OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The folder above the current one, or above this program, that holds the firmware's source.
fn source_root() -> Option<PathBuf> {
    let places = [env::current_dir().ok(), env::current_exe().ok()];
    let is_root = |folder: &&Path| folder.join("firmware/memory").is_dir();
    places.into_iter().flatten().find_map(|place| {
        let root = place.ancestors().find(is_root)?;
        Some(root.to_owned())
    })
}

/// Whether the compiler has the library of a Rust target.
#[must_use]
pub fn has_target(target: &str) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut query = Command::new(rustc);
    if let Some(root) = source_root() {
        query.current_dir(root);
    }
    let output = query
        .args(["--print", "target-libdir", "--target", target])
        .output();
    output.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(folder.trim()).is_dir()
    })
}

/// The program file that cargo's messages name.
fn executable(messages: &str) -> Option<PathBuf> {
    let mut messages = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    messages.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","executable":null}
not json
{"reason":"compiler-artifact","executable":"/t/bitbudget-firmware"}
{"reason":"build-finished","success":true}"#;
        let program = Some(PathBuf::from("/t/bitbudget-firmware"));
        assert_eq!(executable(messages), program);
        assert_eq!(executable(""), None);
    }

    #[test]
    fn boards_are_found_by_name() {
        for board in BOARDS {
            assert_eq!(Machine::named(board.name), Some(board));
        }
        assert_eq!(Machine::named("abacus"), None);
    }
}

//! The C library: its header, what its functions answer, and the exported projects, compiled and run on this machine
//! and on the emulated board.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use bitbudget::board::Board;
use bitbudget::capacity;
use bitbudget::device::has_target;
use bitbudget::export::c::{Export, ExportError, HEADER, Layout};
use bitbudget::pack::pack;
use bitbudget::profile::Options;
use bitbudget::search::{self, Effort};
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Measure};
use bitbudget_core::state::{stack_bytes, state_bytes};
use bitbudget_tests::digits;
use bitbudget_tests::emulated::{build, root, semihosted};

/// The target of the emulated board.
const TARGET: &str = "thumbv7em-none-eabihf";
/// Warnings that a user's project may have on.
const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
/// The emulated board's core.
const CORE: [&str; 5] = [
    "-mcpu=cortex-m4",
    "-mthumb",
    "-mfloat-abi=hard",
    "-mfpu=fpv4-sp-d16",
    "-Os",
];

/// An image of the demo's digits with cycles and stored plans.
static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (graph, data, options) = digits::model();
    let options = Options {
        refine: 1,
        ..options
    };
    let mut profile = digits::profiled(graph.clone(), &data.first(16), &options);
    let board = Board::find("nucleo-f446re").expect("the board");
    board.give_cycles(&mut profile.network).expect("cycles");
    let mut planner = capacity::planner(Places::Ram, &profile.network);
    let all = (Limits::NONE, Measure::Ram);
    let stairs = search::staircase(&profile.network, &mut planner, all, &Effort::UNLIMITED);
    pack(&graph, &profile, &stairs.plans).expect("an image")
});

fn export(name: &str, image: &[u8], places: Places) -> Export<'static> {
    // for the length of a test
    Export {
        image: Box::leak(image.into()),
        name: Box::leak(name.into()),
        sample: None,
        places,
        limits: Limits::NONE,
    }
}

/// Writes an exported project to a folder.
fn write(export: &Export<'_>, layout: Layout, folder: &Path) {
    for file in export.files(layout).expect("a project") {
        let path = folder.join(file.path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, file.content).expect("a file");
    }
}

/// Whether a program is there; says what is not tested else.
fn is_there(program: &str, needed_for: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok();
    if !is_there {
        println!("skipped: {needed_for}: there is no {program}; ./setup.sh installs what it can");
    }
    is_there
}

/// Runs a command that has to succeed; what it printed, and what it said of that: emulators print there, too.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("a program that is there");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}");
    text
}

/// The library for a target, or for this machine.
fn library(target: Option<&str>) -> PathBuf {
    let mut arguments = vec!["--package", "bitbudget-c"];
    if let Some(target) = target {
        arguments.extend(["--profile", "firmware", "--target", target]);
    }
    let messages = build(&arguments);
    let mut files = messages.iter().filter_map(|message| {
        let files = message["filenames"].as_array()?.iter();
        let mut files = files.filter_map(|file| file.as_str().map(PathBuf::from));
        files.find(|file| file.extension() == Some(OsStr::new("a")))
    });
    files.next_back().expect("cargo names the library")
}

/// The header as cbindgen makes it of the library's source, without what Rust alone is promised.
fn made_header() -> String {
    let source = root().join("firmware/c");
    let config = cbindgen::Config::from_file(source.join("cbindgen.toml")).expect("a config");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for module in ["status", "info", "plan", "storage", "capacity", "net"] {
        builder = builder.with_src(source.join(format!("src/{module}.rs")));
    }
    let mut bytes = Vec::new();
    builder.generate().expect("a header").write(&mut bytes);
    let text = String::from_utf8(bytes).expect("text");
    let mut header = String::new();
    let mut is_promise = false;
    for line in text.lines() {
        is_promise = (is_promise || line.ends_with("* # Safety")) && !line.ends_with("*/");
        if !is_promise {
            header.push_str(line);
            header.push('\n');
        }
    }
    // an empty line before what was left out
    header.replace(" *\n */", " */")
}

#[test]
fn the_header_is_that_of_the_library() {
    let made = made_header();
    if std::env::var_os("BITBUDGET_UPDATE").is_some() {
        let path = root().join("host/src/export/c/bitbudget.h");
        fs::write(path, &made).expect("a file");
    } else {
        assert!(
            made == HEADER,
            "the header is another: BITBUDGET_UPDATE=1 writes it anew"
        );
    }
}

/// A program around the lines of C in the README.
fn readmes_snippet() -> String {
    let readme = fs::read_to_string(root().join("README.md")).expect("part of the source");
    let (_, from) = readme.split_once("```c\n").expect("lines of C");
    let (lines, _) = from.split_once("```").expect("their end");
    format!(
        r#"#include <stdio.h>
#include "bitbudget.h"
#include "model.h"
int main(void) {{
    const uint8_t *pixels = model_sample;
    {lines}
    puts(status == BB_STATUS_OK && class_ >= 0 ? "a class" : bb_strerror(status));
    return 0;
}}
"#
    )
}

#[test]
fn functions_answer_as_the_header_says() {
    if !is_there("cc", "the C library on this machine") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    write(
        &export("model", &IMAGE, Places::Ram),
        Layout::CMake,
        folder.path(),
    );
    let library = library(None);
    let api = root().join("tests/c/api.c");
    let snippet = folder.path().join("snippet.c");
    fs::write(&snippet, readmes_snippet()).expect("a file");
    for (program, expected) in [
        (api.as_path(), "all is as the header says"),
        (snippet.as_path(), "a class"),
        (Path::new("main.c"), "the host's bits"),
    ] {
        let mut compile = Command::new("cc");
        compile.current_dir(&folder).args(STRICT);
        compile
            .args(["-std=c11", "-I."])
            .arg(program)
            .arg("model.c");
        compile.arg(&library);
        run(compile.args(["-lm", "-lpthread", "-ldl", "-o", "program"]));
        let printed = run(&mut Command::new(folder.path().join("program")));
        assert!(printed.contains(expected), "{printed}");
    }
}

/// A processor in an emulator.
struct Machine {
    target: &'static str,
    compiler: &'static str,
    /// How C is compiled and linked for it.
    flags: &'static [&'static str],
    /// Whether the project needs the start-up file and the memories of `tests/c`.
    is_bare: bool,
    emulator: &'static [&'static str],
}

const MACHINES: [Machine; 3] = [
    // Cortex-M4F
    Machine {
        target: TARGET,
        compiler: "arm-none-eabi-gcc",
        flags: &CORE,
        is_bare: true,
        emulator: &["qemu-system-arm", "-M", "mps2-an386"],
    },
    // a Cortex-M0+'s instructions, on a Cortex-M3
    Machine {
        target: "thumbv6m-none-eabi",
        compiler: "arm-none-eabi-gcc",
        flags: &["-mcpu=cortex-m0plus", "-mthumb", "-Os"],
        is_bare: true,
        emulator: &["qemu-system-arm", "-M", "mps2-an385"],
    },
    // RV32IMAC
    Machine {
        target: "riscv32imac-unknown-none-elf",
        compiler: "riscv64-unknown-elf-gcc",
        flags: &[
            "-march=rv32imac",
            "-mabi=ilp32",
            "-Os",
            "--specs=picolibc.specs",
            "--oslib=semihost",
            "--crt0=semihost",
            "-Wl,--defsym=__flash=0x80000000,--defsym=__flash_size=8M",
            "-Wl,--defsym=__ram=0x80800000,--defsym=__ram_size=8M,--defsym=__stack_size=64K",
        ],
        is_bare: false,
        emulator: &["qemu-system-riscv32", "-M", "virt", "-bios", "none"],
    },
];

impl Machine {
    /// Whether all that it takes is there; says what is not tested else.
    fn is_there(&self) -> bool {
        let what = format!("the C library for {}", self.target);
        if !is_there(self.compiler, &what) || !is_there(self.emulator[0], &what) {
            return false;
        }
        if !has_target(self.target) {
            println!("skipped: {what}: there is no such Rust target; ./setup.sh");
            return false;
        }
        true
    }

    /// What a program of a folder prints.
    fn run(&self, library: &Path, folder: &Path, sources: &[&Path]) -> String {
        let c = root().join("tests/c");
        let mut compile = Command::new(self.compiler);
        compile.current_dir(folder).args(["-std=c11", "-I."]);
        compile.args(self.flags).args(sources);
        if self.is_bare {
            compile
                .arg(c.join("mps2.c"))
                .arg("-T")
                .arg(c.join("mps2.ld"));
            compile.args(["-nostartfiles", "--specs=rdimon.specs"]);
        }
        run(compile
            .arg(library)
            .args(["-Wl,--gc-sections", "-o", "x.elf"]));
        run(&mut semihosted(self.emulator, &folder.join("x.elf")))
    }
}

#[test]
fn emulated_processors_give_the_hosts_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let api = root().join("tests/c/api.c");
    write(
        &export("model", &IMAGE, Places::Ram),
        Layout::CMake,
        &at("api"),
    );
    let all = [Places::Ram, Places::Flash, Places::Best];
    for places in all {
        let export = export("digits", &IMAGE, places);
        write(&export, Layout::CMake, &at(&format!("{places:?}")));
    }
    for machine in MACHINES.iter().filter(|machine| machine.is_there()) {
        let library = library(Some(machine.target));
        let printed = machine.run(&library, &at("api"), &[&api, Path::new("model.c")]);
        assert!(printed.contains("all is as the header says"), "{printed}");
        for places in all {
            let sources = ["main.c", "digits.c"].map(Path::new);
            let printed = machine.run(&library, &at(&format!("{places:?}")), &sources);
            println!("{}, weights {places:?}\n{printed}", machine.target);
            assert_eq!(printed.matches(", the host's bits").count(), 3, "{printed}");
            // what is said of them, where the program tells them
            let [state, bound] = [0, 1].map(|at| number(&printed, "state", at));
            assert_eq!(bound, Some(state_bytes(64, 8)));
            assert!(state.is_some() && state <= bound);
            // the start-up file of `tests/c` tells it
            let stack = number(&printed, "stack", 0);
            assert_eq!(stack.is_some(), machine.is_bare);
            assert!(stack <= Some(stack_bytes(64)));
        }
    }
}

/// A number in the line that begins with a word.
fn number(printed: &str, word: &str, at: usize) -> Option<usize> {
    let line = printed.lines().find(|line| line.starts_with(word))?;
    let numbers = line
        .split(|c: char| !c.is_ascii_digit())
        .filter(|it| !it.is_empty());
    numbers.map(|it| it.parse().expect("digits")).nth(at)
}

/// Their own tools are large: the C of each project is compiled as they would.
#[test]
fn projects_of_other_build_systems_compile() {
    let what = "projects of Zephyr, ESP-IDF and Arduino";
    if !is_there("arm-none-eabi-gcc", what) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = |path: &str| folder.path().join(path);
    let compile = |compiler: &str, flags: &[&str], includes: &[&str], source: &str| {
        let mut compile = Command::new(compiler);
        compile.args(CORE).args(STRICT).args(flags);
        for include in includes {
            compile.arg("-I").arg(at(include));
        }
        run(compile
            .arg("-c")
            .arg(at(source))
            .arg("-o")
            .arg(at("object.o")));
    };
    let export = export("kws", &IMAGE, Places::Best);
    write(&export, Layout::Zephyr, &at("zephyr"));
    for source in ["main.c", "kws.c"] {
        let includes = ["zephyr/src", "zephyr/modules/bitbudget/include"];
        compile(
            "arm-none-eabi-gcc",
            &["-std=c11"],
            &includes,
            &format!("zephyr/src/{source}"),
        );
    }
    write(&export, Layout::EspIdf, &at("esp"));
    for source in ["main.c", "kws.c"] {
        let includes = ["esp/main", "esp/components/bitbudget/include"];
        let flags = ["-std=gnu17", "-DESP_PLATFORM", "-Wno-missing-prototypes"];
        compile(
            "arm-none-eabi-gcc",
            &flags,
            &includes,
            &format!("esp/main/{source}"),
        );
    }
    write(&export, Layout::Arduino, &at("arduino"));
    let includes = ["arduino/src"];
    compile(
        "arm-none-eabi-gcc",
        &["-std=gnu11"],
        &includes,
        "arduino/src/kws.c",
    );
    if is_there("arm-none-eabi-g++", "the Arduino sketch") {
        // what Arduino puts before a sketch
        let arduino = "#pragma once\n#include <stdint.h>\n#include <stddef.h>\n\
            struct Port { void begin(long); void print(const char *); void print(long); void println(const char *); };\n\
            extern Port Serial; void delay(unsigned long);\n";
        fs::write(at("Arduino.h"), arduino).expect("a file");
        let flags = ["-std=gnu++17", "-x", "c++", "-include", "Arduino.h"];
        compile(
            "arm-none-eabi-g++",
            &flags,
            &["", "arduino/src"],
            "arduino/examples/replan/replan.ino",
        );
    }
    // every name was put in
    for layout in [
        Layout::CMake,
        Layout::Zephyr,
        Layout::EspIdf,
        Layout::Arduino,
    ] {
        for file in export.files(layout).expect("a project") {
            let c = &file.content;
            assert!(!c.contains("@name") && !c.contains("@NAME") && !c.contains("_bytes@"));
        }
    }
}

#[test]
fn names_and_samples_that_do_not_fit_are_refused() {
    let named = |name: &str| export(name, &IMAGE, Places::Ram).files(Layout::CMake);
    for name in [
        "",
        "1st",
        "a b",
        "é",
        "a-b",
        "bitbudget",
        "main",
        &"x".repeat(33),
    ] {
        assert!(
            matches!(named(name), Err(ExportError::Name { .. })),
            "{name}"
        );
    }
    let short = Export {
        sample: Some(&[1; 63]),
        ..export("model", &IMAGE, Places::Ram)
    };
    let refused = short.files(Layout::CMake);
    assert!(matches!(
        refused,
        Err(ExportError::Sample {
            expected: 64,
            found: 63
        })
    ));
    let damaged = export("model", &IMAGE[1..], Places::Ram).files(Layout::CMake);
    assert!(matches!(damaged, Err(ExportError::Image(_))));
}

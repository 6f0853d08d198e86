//! The commands that the README shows run, and print what it shows, but for the numbers: those of losses are a
//! processor's own.
//!
//! Without QEMU or the firmware's target, the commands that need them are skipped with a message.

use std::fs;
use std::path::Path;
use std::process::Output;

/// A command of the README and what is printed below it.
struct Shown {
    arguments: Vec<String>,
    printed: Vec<String>,
}

/// The commands in blocks of output, in order.
fn commands(readme: &str) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    let mut is_block = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            is_block = !is_block && line == "```text";
            // what follows another block belongs to no command
            if is_block {
                commands.push(Shown {
                    arguments: Vec::new(),
                    printed: Vec::new(),
                });
            }
        } else if let (true, Some(command)) = (is_block, line.strip_prefix("$ bitbudget ")) {
            commands.push(Shown {
                arguments: command.split(' ').map(String::from).collect(),
                printed: Vec::new(),
            });
        } else if let (true, Some(shown)) = (is_block, commands.last_mut()) {
            shown.printed.push(line.to_owned());
        }
    }
    commands.retain(|shown| !shown.arguments.is_empty());
    commands
}

fn bitbudget(folder: &Path, arguments: &[String]) -> Output {
    let mut command = assert_cmd::Command::cargo_bin("bitbudget").expect("the program");
    let command = command.current_dir(folder).env("RUST_BACKTRACE", "0");
    command.args(arguments).output().expect("an exit")
}

/// The words of some lines, with a sign in place of each number and of each bar.
fn words(lines: &[&str]) -> Vec<Vec<String>> {
    let lines = lines.iter().filter(|line| !line.trim().is_empty());
    let masked = |word: &str| {
        let is_number = |c: char| c.is_ascii_digit() || "+-.#".contains(c);
        let mut masked = String::new();
        for c in word.chars() {
            if !is_number(c) {
                masked.push(c);
            } else if !masked.ends_with('#') {
                masked.push('#');
            }
        }
        masked
    };
    let words = lines.map(|line| line.split_whitespace().map(masked).collect());
    words.collect()
}

#[test]
fn commands_of_the_readme_print_what_it_shows() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).expect("part of the source");
    let folder = tempfile::tempdir().expect("a folder");
    let demo = ["demo", "--keep", "demo"].map(String::from);
    assert!(bitbudget(folder.path(), &demo).status.success());
    let commands = commands(&readme);
    assert!(commands.len() >= 10, "{}", commands.len());
    let mut is_emulated = true;
    for Shown { arguments, printed } in commands {
        let command = arguments.join(" ");
        if !is_emulated && command.contains("measured.image") {
            continue;
        }
        let output = bitbudget(folder.path(), &arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        let is_missing = error.contains("is not installed") || error.contains("no firmware here");
        if !output.status.success() && arguments[0] == "emulate" && is_missing {
            eprintln!("SKIPPED: {command}: {error}");
            is_emulated = false;
            continue;
        }
        assert!(output.status.success(), "{command}: {error}");
        let said = String::from_utf8(output.stdout).expect("text");
        let said: Vec<&str> = said.lines().collect();
        let printed: Vec<&str> = printed.iter().map(String::as_str).collect();
        // something may be left out before or behind; of some commands all is, and the next is what counts
        let left_out = printed.iter().rposition(|line| *line == "...");
        let printed = words(&printed[left_out.map_or(0, |at| at + 1)..]);
        let said = words(&said);
        let is_shown = |said: &[Vec<String>]| said == printed;
        let is_said = printed.is_empty() || said.windows(printed.len()).any(is_shown);
        assert!(is_said, "{command}: {said:#?}\nis not\n{printed:#?}");
    }
}

//! The packages that are published: whole, licensed and small.

use std::fs;
use std::process::Command;

use bitbudget_tests::emulated::root;

/// The most bytes of a package.
const MOST_BYTES: u64 = 1 << 20;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(arguments)
        .output();
    let output = output.expect("cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn packages_are_licensed_and_small() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().to_str().expect("a path");
    let common = ["--offline", "--allow-dirty", "--target-dir", target];
    for package in ["bitbudget-core", "bitbudget"] {
        let list = cargo(&[&["package", "--list", "-p", package], &common[..2]].concat());
        for file in ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "Cargo.toml"] {
            assert!(
                list.lines().any(|line| line == file),
                "{package}: {file}\n{list}"
            );
        }
    }
    // the host's needs the core's beside it, which is not published
    cargo(
        &[
            &[
                "package",
                "--no-verify",
                "-p",
                "bitbudget-core",
                "-p",
                "bitbudget",
            ],
            &common[..],
        ]
        .concat(),
    );
    let packages = fs::read_dir(folder.path().join("package")).expect("packages");
    let packages = packages.map(|entry| entry.expect("a file"));
    let packages: Vec<_> = packages
        .filter(|entry| entry.path().extension().is_some_and(|it| it == "crate"))
        .collect();
    assert_eq!(packages.len(), 2);
    for package in packages {
        let bytes = package.metadata().expect("a file").len();
        assert!(
            bytes < MOST_BYTES,
            "{:?}: {bytes} bytes",
            package.file_name()
        );
    }
}

/// What a file of the core includes lies within it, too: the package builds by itself.
#[test]
fn the_cores_package_builds() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().to_str().expect("a path");
    cargo(&[
        "package",
        "--offline",
        "--allow-dirty",
        "-p",
        "bitbudget-core",
        "--target-dir",
        target,
    ]);
}

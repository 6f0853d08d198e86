//! The checked-in corpus of the fuzz targets: findings that are fixed, and inputs that reach far.

use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bitbudget_tests::fuzz::TARGETS;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// The inputs of a target, by name.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let entries = fs::read_dir(folder.join(target)).expect("part of the source");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let read = |path: PathBuf| (fs::read(&path).expect("a file"), path);
    let inputs = paths
        .into_iter()
        .map(read)
        .map(|(bytes, path)| (path, bytes));
    inputs.collect()
}

#[test]
fn every_input_passes_its_target() {
    for target in TARGETS {
        let inputs = corpus(target.name).into_iter();
        let taken = inputs.filter(|(path, bytes)| {
            println!("{}", path.display());
            (target.run)(bytes)
        });
        // a corpus that a new version of its format refuses reaches nothing
        let taken_count = taken.count();
        println!("{}: {taken_count} taken", target.name);
        assert!(taken_count >= 10, "{}: {taken_count}", target.name);
    }
}

/// Short walks from every input, as a fuzzer takes them; `BITBUDGET_WALKS=N` takes N from each, elsewhere
/// every time. An input that fails is kept.
#[test]
fn inputs_near_the_corpus_pass_their_target() {
    let walks = std::env::var("BITBUDGET_WALKS").ok();
    let walks: Option<u64> = walks.map(|count| count.parse().expect("a number"));
    let mut rng = match walks {
        None => SmallRng::seed_from_u64(5),
        Some(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            SmallRng::seed_from_u64(now.map_or(0, |time| time.as_nanos() as u64))
        }
    };
    let mut run_count = 0_u64;
    for _ in 0..walks.unwrap_or(20) {
        for target in TARGETS {
            for (path, mut input) in corpus(target.name) {
                for _ in 0..rng.random_range(1..4) {
                    let (seed, change) = (rng.random(), rng.random());
                    target.vary(&mut input, seed, |input| bytewise(input, change));
                }
                run_count += 1;
                if let Err(panic) = catch_unwind(|| (target.run)(&input)) {
                    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(target.name);
                    fs::write(&kept, &input).expect("a file");
                    eprintln!("{}, from {}", kept.display(), path.display());
                    resume_unwind(panic);
                }
            }
        }
    }
    println!("{run_count} inputs");
}

/// Changes, removes or repeats some bytes.
fn bytewise(input: &mut Vec<u8>, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    if input.is_empty() {
        return;
    }
    let at = rng.random_range(0..input.len());
    match rng.random_range(0..5) {
        0 => input[at] ^= 1 << rng.random_range(0..8),
        1 => input[at] = [0, 0x7f, 0x80, 0xff][rng.random_range(0..4)],
        2 => input[at] = rng.random(),
        3 => {
            input.remove(at);
        }
        _ => input.insert(at, rng.random()),
    }
}

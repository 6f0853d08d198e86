//! `bitbudget demo`

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use bitbudget::board::Board;
use bitbudget::dataset::{self, Dataset, LoadOptions};
use bitbudget::file::{self, Content, FileError};
use bitbudget::graph::Graph;
use bitbudget::loss::{Head, Loss};
use bitbudget::profile::{self, Control, Options};
use bitbudget::{import, pack};
use bitbudget_core::network::Preprocess;
use bitbudget_core::shape::Shape;
use clap::Args;
use miette::{IntoDiagnostic, WrapErr};
use serde_json::json;

use super::data::dims;
use super::eval::{Baseline, Given, Report, Wanted};
use super::network_file::{IMAGE, parse_image};
use super::report::{self, Phases};
use super::target::Target;
use super::{Outcome, profile as profile_command};

/// Run the whole workflow on a built-in digits model
///
/// Model and images are part of the program: nothing else is needed.
#[derive(Args, Debug, Default)]
#[command(after_help = "Example:\n  bitbudget demo --keep demo")]
pub(crate) struct Demo {
    /// Keep model, images, profile and image in this folder, to go on with
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const FILES: [(&str, &[u8]); 5] = [
    (
        "digits.onnx",
        include_bytes!("../../demo/digits_resnet8.onnx"),
    ),
    (
        "calib_images.npy",
        include_bytes!("../../demo/calib_images.npy"),
    ),
    (
        "calib_labels.npy",
        include_bytes!("../../demo/calib_labels.npy"),
    ),
    (
        "test_images.npy",
        include_bytes!("../../demo/test_images.npy"),
    ),
    (
        "test_labels.npy",
        include_bytes!("../../demo/test_labels.npy"),
    ),
];

/// Only an empty file is replaced.
const EMPTY: Content = Content {
    name: "a file of this demo",
    starts: <[u8]>::is_empty,
};

/// What the demo plans for: shares of the all-FP32 layout's RAM, and of its weights.
const BUDGETS: [&str; 4] = ["100%", "32KiB", "27KiB", "weights=7%"];
/// The board that it plans for then.
const BOARD: &str = "nucleo-f446re";
/// Its limit of cycles, and its RAM.
const LIMITS: (u64, [&str; 3]) = (1_400_000, ["48KiB", "12KiB", "2KiB"]);

impl Demo {
    pub(crate) fn run(self) -> Outcome {
        let temporary = tempfile::tempdir().into_diagnostic()?;
        let folder = self.keep.as_deref().unwrap_or(temporary.path());
        fs::create_dir_all(folder)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot make the folder {}", folder.display()))?;
        make(folder)?;
        let tell = |text: &str| {
            if !self.json {
                say!("{text}");
            }
        };
        tell(
            "A ResNet8 for 8x8 handwritten digits, trained in FP32, and 450 calibration images.\n",
        );
        tell("1. profile: calibrate, then measure what each level of each layer costs in loss\n");
        let graph = import::load(&folder.join("digits.onnx"))?;
        let profile = profile_digits(folder, graph.clone())?;
        if !self.json {
            profile_command::print(&profile);
        }
        tell("\n2. pack: weights, quantizers and prices in one image for the device");
        let path = folder.join("digits.image");
        let image = pack::pack(&graph, &profile, &[])?;
        file::write(&path, &image)?;
        tell(&format!(
            "   digits.image, {}",
            report::bytes(image.len() as u64)
        ));
        tell("\n3. re-plan at several budgets and run 450 test images with the device's kernels\n");
        let image = parse_image(&path, &image)?;
        let data = load(folder, "test", image.network().input)?;
        let given = Given {
            data: &data,
            path: folder,
            loss: Loss::or_found(None, &data, Head::of(image.network()))?,
            target: &Target::RAM,
        };
        let report = Report::new(&image, given, Baseline::Own, &budgets(&BUDGETS)?)?;
        if !self.json {
            report.print();
        }
        let (cycles, ram) = LIMITS;
        tell(&format!(
            "\n4. within {cycles} cycles on a {BOARD} (modelled): RAM buys time, and time less loss\n"
        ));
        let target = Target {
            board: Some(Board::find(BOARD)?),
            cycles: Some(cycles),
            places: None,
        };
        let given = Given {
            target: &target,
            ..given
        };
        let on_board = Report::new(&image, given, Baseline::None, &budgets(&ram)?)?;
        if self.json {
            return report::print_json(&json!({
                "profile": profile_command::json(&profile),
                "eval": report.json(),
                "board": on_board.json(),
            }));
        }
        on_board.print();
        match &self.keep {
            Some(folder) => say!(
                "\nkept in {0}; next: bitbudget plan {0}/digits.image --budget 60%",
                folder.display()
            ),
            None => say!(
                "\nnext: `bitbudget demo --keep demo` keeps these files; `bitbudget --help` lists the commands"
            ),
        }
        Ok(())
    }
}

fn budgets(texts: &[&str]) -> miette::Result<Vec<Wanted>> {
    let budgets = texts.iter().map(|text| text.parse().map(Wanted::Within));
    budgets.collect::<Result<_, _>>().into_diagnostic()
}

/// Writes model and images, once it is clear that no other files are replaced.
fn make(folder: &Path) -> Result<(), FileError> {
    let path = |name| folder.join(name);
    let is_there = |name, bytes| fs::read(path(name)).is_ok_and(|found| found == bytes);
    let missing = || {
        FILES
            .iter()
            .filter(|(name, bytes)| !is_there(*name, *bytes))
    };
    for (name, _) in missing() {
        file::check_output(&path(name), EMPTY, &[])?;
    }
    profile::check_output(&path("digits.profile"), &[])?;
    file::check_output(&path("digits.image"), IMAGE, &[])?;
    for (name, bytes) in missing() {
        file::write(&path(name), bytes)?;
    }
    Ok(())
}

fn profile_digits(folder: &Path, graph: Graph) -> miette::Result<profile::Profile> {
    let data = load(folder, "calib", graph.input)?;
    let output = folder.join("digits.profile");
    let phases = Phases::new();
    let control = Control {
        progress: &|phase, done, total| profile_command::show(&phases, phase, done, total),
        stop: &AtomicBool::new(false),
        output: None,
    };
    let options = Options {
        // pixels are 0..=16
        preprocess: Preprocess {
            scale: 0.0625,
            ..Preprocess::default()
        },
        model_name: "digits.onnx".into(),
        data_name: "calib_images.npy".into(),
        ..Options::default()
    };
    let profile = profile::profile(graph, &data, &options, &control);
    phases.clear();
    let profile = profile?;
    profile.save(&output)?;
    Ok(profile)
}

fn load(folder: &Path, set: &str, input: Shape) -> miette::Result<Dataset> {
    let options = LoadOptions {
        format: None,
        labels: None,
        input: dims(input),
        limit: None,
        seed: 0,
    };
    Ok(dataset::load(
        &folder.join(format!("{set}_images.npy")),
        &options,
    )?)
}

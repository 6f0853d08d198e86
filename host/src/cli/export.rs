//! `bitbudget export`

use std::fs;
use std::path::PathBuf;

use bitbudget::export::c::{Export as CExport, ExportedFile, Layout};
use bitbudget::file::{self, Content};
use bitbudget::{dataset, evaluate};
use bitbudget_core::engine::Input;
use clap::{Args, Subcommand, ValueEnum};
use miette::{Context, IntoDiagnostic, miette};
use serde_json::json;

use super::data::dims;
use super::network_file::{Source, parse_image};
use super::target::TargetArgs;
use super::{Outcome, report};

/// Write an image in the form in which other tools take it
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  bitbudget export c demo/digits.image -o digits_c")]
pub(crate) struct Export {
    #[command(subcommand)]
    to: To,
}

#[derive(Debug, Subcommand)]
enum To {
    C(C),
}

/// Write an image as C source, with a program that plans, runs and checks itself
///
/// The folder gets the image as an array with its sizes, the header of the C library, and a program for a build
/// system. The program re-plans for three amounts of RAM and compares its outputs for a sample with those of this
/// machine, bit for bit. The library itself is built of bitbudget's source, once for each processor; the project's
/// build file says how.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  bitbudget export c demo/digits.image -o digits_c\n  \
    bitbudget export c kws.image --name kws --for zephyr --place flash -o kws_app"
)]
struct C {
    /// Image
    #[arg(value_name = "FILE.image")]
    image: PathBuf,
    /// What the array and the sizes are called in C
    #[arg(long, default_value = "model")]
    name: String,
    /// The build system that the project is for
    #[arg(long = "for", value_enum, value_name = "BUILD", default_value_t = For::Cmake)]
    layout: For,
    /// A sample for the program in place of one that is made up: raw bytes as the profile's data had them, .npy of
    /// one or several samples, PNG or JPEG
    #[arg(long, value_name = "X.npy")]
    input: Option<PathBuf>,
    /// Which sample, if the file has several
    #[arg(long, default_value_t = 0, requires = "input")]
    index: usize,
    #[command(flatten)]
    target: TargetArgs,
    /// The folder of the project: files that bitbudget wrote are written anew, others stay
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum For {
    /// CMake alone, or a makefile of one's own
    Cmake,
    /// A Zephyr application with a module
    Zephyr,
    /// An ESP-IDF project with a component
    EspIdf,
    /// An Arduino library with a sketch
    Arduino,
}

impl From<For> for Layout {
    fn from(layout: For) -> Self {
        match layout {
            For::Cmake => Self::CMake,
            For::Zephyr => Self::Zephyr,
            For::EspIdf => Self::EspIdf,
            For::Arduino => Self::Arduino,
        }
    }
}

impl Export {
    pub(crate) fn run(self) -> Outcome {
        match self.to {
            To::C(command) => command.run(),
        }
    }
}

/// C source of bitbudget's.
const SOURCE: Content = Content {
    name: "C source that bitbudget wrote",
    starts: |start| {
        start.starts_with(b"/* Written by bi") || start.starts_with(b"/* bitbudget: a ")
    },
};

impl C {
    fn run(self) -> Outcome {
        let bytes = file::read(&self.image)?;
        let image = parse_image(&self.image, &bytes)?;
        let source = Source::of_image(&image, &self.target.get())?;
        let sample = self.sample(&image)?;
        let export = CExport {
            image: &bytes,
            name: &self.name,
            sample: sample.as_deref(),
            places: source.places(),
            limits: source.limits(),
        };
        let files = export.files(self.layout.into())?;
        let written = self.write(&files)?;
        let kept = files.len() - written.len();
        if self.json {
            let names = |file: &&ExportedFile| file.path.display().to_string();
            return report::print_json(&json!({
                "folder": self.output.display().to_string(),
                "written": written.iter().map(names).collect::<Vec<_>>(),
                "kept": kept,
            }));
        }
        let folder = report::printable(&self.output.display().to_string());
        for file in &written {
            say!("{folder}/{}", file.path.display());
        }
        if kept > 0 {
            say!("({kept} files of the project were there and stay as they are)");
        }
        Ok(())
    }

    /// The sample of raw bytes.
    fn sample(
        &self,
        image: &bitbudget::capacity::HostImage<'_>,
    ) -> miette::Result<Option<Vec<u8>>> {
        let Some(path) = &self.input else {
            return Ok(None);
        };
        let input = dims(image.network().input);
        let data = dataset::load_input(path, input, self.index)?;
        match evaluate::sample(&data, 0, input.iter().product()) {
            Input::U8(bytes) => Ok(Some(bytes.to_vec())),
            Input::I8(_) | Input::F32(_) => Err(miette!(
                help = "give one of bytes (uint8), or none: then one is made up",
                "{} has samples that are no bytes",
                path.display()
            )),
        }
    }

    /// Writes the files, and returns those that were: what a user may have changed stays.
    fn write<'f>(&self, files: &'f [ExportedFile]) -> miette::Result<Vec<&'f ExportedFile>> {
        let mut written = Vec::new();
        for exported in files {
            let path = self.output.join(&exported.path);
            let is_ours = (SOURCE.starts)(exported.content.as_bytes());
            if is_ours {
                if path.exists() {
                    file::check_output(&path, SOURCE, &[&self.image])?;
                }
            } else if path.exists() {
                continue;
            }
            written.push((exported, path));
        }
        for (exported, path) in &written {
            if let Some(folder) = path.parent() {
                let made = fs::create_dir_all(folder).into_diagnostic();
                made.wrap_err_with(|| format!("cannot make the folder {}", folder.display()))?;
            }
            file::write(path, exported.content.as_bytes())?;
        }
        Ok(written.into_iter().map(|(exported, _)| exported).collect())
    }
}

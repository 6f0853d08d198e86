//! An image as C source: the bytes as an aligned array, its sizes, the C library's header, and a program that
//! plans, runs and compares its outputs with the host's, as a project of a build system.
//!
//! The library itself (`libbitbudget_c.a`) is built of `firmware/c`, once for each processor.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use bitbudget_core::engine::{EngineError, Input};
use bitbudget_core::image::{ImageError, Summary};
use bitbudget_core::level::Level;
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Measure};
use bitbudget_core::shape::Shape;

use crate::capacity::{self, HostEngine, HostImage, HostPlan};
use crate::evaluate::ArenaMemory;

/// The header of the C library: what cbindgen makes of `firmware/c`.
pub const HEADER: &str = include_str!("bitbudget.h");
const MAIN: &str = include_str!("main.c");
const MODEL: &str = include_str!("model.h");
const SKETCH: &str = include_str!("sketch.ino");

/// A build system that a project is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// CMake alone, or a makefile of one's own.
    CMake,
    /// A Zephyr application with a module.
    Zephyr,
    /// An ESP-IDF project with a component.
    EspIdf,
    /// An Arduino library with a sketch.
    Arduino,
}

/// The C library's default capacities.
const LAYERS: u32 = 64;
const LEVELS: u32 = 8;

/// The most nodes of a plan. The program has the same limit: its plans are the host's, proven or not.
const NODES: u64 = 10_000;

/// Why an image could not be exported.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum ExportError {
    /// The name is none that C allows.
    #[error("{name:?} is no name that C allows")]
    #[diagnostic(help("letters, digits and _, the first one a letter, at most 32"))]
    Name {
        /// The name.
        name: String,
    },
    /// The sample has another number of elements than the network's input.
    #[error("a sample of {found} elements, the network takes {expected}")]
    Sample {
        /// Elements of the network's input.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It has no plan, or none that runs.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A file of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedFile {
    /// Its path within the project.
    pub path: PathBuf,
    /// Its content.
    pub content: String,
}

/// What is exported.
#[derive(Clone, Copy, Debug)]
pub struct Export<'a> {
    /// The image's bytes.
    pub image: &'a [u8],
    /// What its array and the sizes are called in C.
    pub name: &'a str,
    /// A sample of raw bytes `[H, W, C]` on which the program compares its outputs with the host's; without one it
    /// is made up.
    pub sample: Option<&'a [u8]>,
    /// Where the weights may lie.
    pub places: Places,
    /// Limits of the plans beside those of RAM, none of which is on RAM.
    pub limits: Limits,
}

/// A plan of the program within some RAM, and what the network gives under it.
struct Case {
    ram_bytes: u64,
    plan: HostPlan,
    output: Vec<f32>,
}

impl Export<'_> {
    /// The files of the project.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn files(&self, layout: Layout) -> Result<Vec<ExportedFile>, ExportError> {
        if !is_name(self.name) {
            let name = self.name.to_owned();
            return Err(ExportError::Name { name });
        }
        let summary = Summary::of(self.image)?;
        let image = HostImage::parse(self.image)?;
        let made_up: Vec<u8> = (0..summary.input.len()).map(made_up).collect();
        let sample = self.sample.unwrap_or(&made_up);
        let cases = self.cases(&image, sample)?;
        let fill = |template: &str| self.filled(template, &summary, &cases);
        let source = self.source(sample, &cases);
        let header = fill(MODEL);
        let name = self.name;
        let (model_c, model_h) = (format!("{name}.c"), format!("{name}.h"));
        let mut files: Vec<(String, String)> = match layout {
            Layout::CMake => vec![
                ("CMakeLists.txt".into(), fill(include_str!("cmake.txt"))),
                ("bitbudget.h".into(), HEADER.into()),
                (model_c, source),
                (model_h, header),
                ("main.c".into(), fill(MAIN)),
            ],
            Layout::Zephyr => {
                let module = |file: &str| format!("modules/bitbudget/{file}");
                let text = include_str!("zephyr_module.txt");
                vec![
                    ("CMakeLists.txt".into(), fill(include_str!("zephyr.txt"))),
                    ("prj.conf".into(), fill(include_str!("prj.conf"))),
                    (
                        module("zephyr/module.yml"),
                        fill(include_str!("module.yml")),
                    ),
                    (module("CMakeLists.txt"), fill(text)),
                    (module("Kconfig"), fill(include_str!("Kconfig"))),
                    (module("include/bitbudget.h"), HEADER.into()),
                    (format!("src/{model_c}"), source),
                    (format!("src/{model_h}"), header),
                    ("src/main.c".into(), fill(MAIN)),
                ]
            }
            Layout::EspIdf => {
                let component = |file: &str| format!("components/bitbudget/{file}");
                let text = include_str!("esp_component.txt");
                vec![
                    ("CMakeLists.txt".into(), fill(include_str!("esp.txt"))),
                    (component("CMakeLists.txt"), fill(text)),
                    (component("include/bitbudget.h"), HEADER.into()),
                    (
                        "main/CMakeLists.txt".into(),
                        fill(include_str!("esp_main.txt")),
                    ),
                    (format!("main/{model_c}"), source),
                    (format!("main/{model_h}"), header),
                    ("main/main.c".into(), fill(MAIN)),
                ]
            }
            Layout::Arduino => vec![
                (
                    "library.properties".into(),
                    fill(include_str!("library.properties")),
                ),
                ("src/bitbudget.h".into(), HEADER.into()),
                (format!("src/{model_c}"), source),
                (format!("src/{model_h}"), header),
                ("examples/replan/replan.ino".into(), fill(SKETCH)),
            ],
        };
        files.sort();
        let file = |(path, content): (String, String)| ExportedFile {
            path: Path::new(&path).into(),
            content,
        };
        Ok(files.into_iter().map(file).collect())
    }

    /// The plans of the program: in all the RAM that is of use, in the least, and between.
    fn cases(&self, image: &HostImage<'_>, sample: &[u8]) -> Result<Vec<Case>, ExportError> {
        let network = image.network();
        let (expected, found) = (network.input.len(), sample.len());
        if expected != found {
            return Err(ExportError::Sample { expected, found });
        }
        let mut planner = capacity::planner(self.places, network);
        let smallest = planner.find_smallest(network).total;
        let mut plan = |limits: Limits| planner.plan(network, limits, NODES);
        let best = plan(self.limits).map_err(EngineError::from)?;
        let within = |bytes: u64| self.limits.with(Measure::Ram, bytes);
        // with other limits the least RAM of any layout may be too little
        let mut least = best.ram_bytes();
        let mut too_small = smallest.saturating_sub(1);
        while too_small + 1 < least {
            let between = match too_small < smallest {
                true => smallest,
                false => too_small + (least - too_small) / 2,
            };
            match plan(within(between)) {
                Ok(plan) => least = plan.ram_bytes().min(between),
                Err(_) => too_small = between,
            }
        }
        let middle = least + (best.ram_bytes() - least) / 2;
        let mut cases = Vec::new();
        for ram_bytes in [best.ram_bytes(), middle, least] {
            let plan = plan(within(ram_bytes)).map_err(EngineError::from)?;
            let mut memory = ArenaMemory::new(plan.ram_bytes() as usize);
            let mut engine = HostEngine::new(image, memory.lend())?;
            engine.load(plan.clone())?;
            let output = engine.infer(Input::U8(sample))?.to_vec();
            cases.push(Case {
                ram_bytes,
                plan,
                output,
            });
        }
        Ok(cases)
    }

    /// A template with its names and numbers.
    fn filled(&self, template: &str, summary: &Summary, cases: &[Case]) -> String {
        let ram = |case: usize| cases[case].ram_bytes.to_string();
        let places = match self.places {
            Places::Ram => "BB_PLACES_RAM",
            Places::Flash => "BB_PLACES_FLASH",
            Places::Best => "BB_PLACES_BEST",
        };
        let cycles = match self.limits.cycles {
            Some(cycles) => format!("{cycles}u"),
            None => "BB_NO_LIMIT".to_owned(),
        };
        let shape = |shape: Shape| format!("{} x {} x {}", shape.h, shape.w, shape.c);
        let values = [
            ("name", self.name.to_owned()),
            ("NAME", self.name.to_uppercase()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("image_bytes", self.image.len().to_string()),
            ("meta_bytes", summary.meta_bytes.to_string()),
            ("layers", summary.layers.to_string()),
            ("levels", summary.levels.to_string()),
            ("input", shape(summary.input)),
            ("output", shape(summary.output)),
            ("input_len", summary.input.len().to_string()),
            ("output_len", summary.output.len().to_string()),
            ("most_bytes", ram(0)),
            ("least_bytes", ram(cases.len() - 1)),
            ("cases", cases.len().to_string()),
            ("places", places.to_owned()),
            ("cycles", cycles),
            ("nodes", NODES.to_string()),
            ("build", build_variables(summary)),
        ];
        let mut text = template.to_owned();
        for (key, value) in values {
            text = text.replace(&format!("@{key}@"), &value);
        }
        text
    }

    /// The model's source: the image, the sample and what comes of it.
    fn source(&self, sample: &[u8], cases: &[Case]) -> String {
        let name = self.name;
        let mut text = format!("/* Written by bitbudget. */\n\n#include \"{name}.h\"\n\n");
        let _ = writeln!(
            text,
            "{}_ALIGNED const uint8_t {name}_image[{}_IMAGE_BYTES] = {{",
            name.to_uppercase(),
            name.to_uppercase()
        );
        put(&mut text, self.image.iter().map(|byte| format!("{byte},")));
        let _ = writeln!(text, "}};\n\nconst uint8_t {name}_sample[] = {{");
        put(&mut text, sample.iter().map(|byte| format!("{byte},")));
        let _ = writeln!(text, "}};\n\nconst struct {name}_case {name}_cases[] = {{");
        for case in cases {
            let levels = case.plan.levels.iter().flatten();
            let mut integers = levels.map(|level| matches!(level, Level::Int(..)));
            let is_exact = u8::from(integers.all(|it| it));
            let _ = writeln!(text, "{{{}u, {is_exact}, {{", case.ram_bytes);
            let bits = case.output.iter().map(|output| output.to_bits());
            put(&mut text, bits.map(|bits| format!("{bits:#010x}u,")));
            text.push_str("}},\n");
        }
        text.push_str("};\n");
        text
    }
}

/// Writes words in lines.
fn put(text: &mut String, words: impl Iterator<Item = String>) {
    const COLUMNS: usize = 96;
    let mut column = 0;
    for word in words {
        if column > 0 && column + word.len() > COLUMNS {
            text.push('\n');
            column = 0;
        }
        text.push_str(&word);
        column += word.len();
    }
    if column > 0 {
        text.push('\n');
    }
}

/// The library's capacities where the default ones do not do.
fn build_variables(summary: &Summary) -> String {
    let mut text = String::new();
    for (name, found, default) in [
        ("BITBUDGET_LAYERS", summary.layers, LAYERS),
        ("BITBUDGET_LEVELS", summary.levels, LEVELS),
    ] {
        if found > default {
            let _ = write!(text, "{name}={found} ");
        }
    }
    text
}

/// A byte of a sample that is made up: any will do, they shall differ.
fn made_up(index: usize) -> u8 {
    (index as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]
}

/// Whether C, and every layout, allows a name.
fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_uppercase();
    name.len() <= 32
        && name.starts_with(is_letter)
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !RESERVED.contains(&name.to_ascii_lowercase().as_str())
}

/// Names that the project has for something else.
const RESERVED: [&str; 4] = ["bb", "bitbudget", "main", "replan"];

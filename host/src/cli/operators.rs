//! `bitbudget operators`

use bitbudget::import::{onnx, tflite};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Outcome, report};

/// Show the operators of models that can be imported, with their limits
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  bitbudget operators --format tflite")]
pub(crate) struct Operators {
    /// Those of one format
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A format of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// ONNX, operator sets from 7 on
    Onnx,
    /// TensorFlow Lite
    Tflite,
}

impl Format {
    /// Its name, and its operators with their limits.
    fn operators(self) -> (&'static str, Vec<(&'static str, &'static str)>) {
        match self {
            Self::Onnx => ("onnx", onnx::operators().collect()),
            Self::Tflite => ("tflite", tflite::operators().collect()),
        }
    }
}

impl Operators {
    pub(crate) fn run(self) -> Outcome {
        let formats = Format::value_variants().iter().copied();
        let formats = formats.filter(|format| self.format.is_none_or(|only| only == *format));
        let formats: Vec<_> = formats.map(Format::operators).collect();
        if self.json {
            let operators = formats.iter().flat_map(|(format, operators)| {
                let of_one = move |(name, limits): &(&str, &str)| {
                    json!({ "format": format, "name": name, "limits": limits })
                };
                operators.iter().map(of_one)
            });
            let operators: Vec<_> = operators.collect();
            return report::print_json(&json!({ "operators": operators }));
        }
        for (i, (format, operators)) in formats.iter().enumerate() {
            if i > 0 {
                say!("");
            }
            say!("{format}");
            let longest = operators.iter().map(|(name, _)| name.len()).max();
            let width = longest.unwrap_or(0);
            for (name, limits) in operators {
                say!("{}", format!("  {name:width$}  {limits}").trim_end());
            }
        }
        Ok(())
    }
}

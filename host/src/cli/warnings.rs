//! Warnings: told on the error stream, or part of the JSON that was asked for.

use bitbudget::dataset::Dataset;
use bitbudget::doubt::{self, Doubt};
use bitbudget_core::network::Preprocess;
use serde_json::{Value, json};

use super::report;

/// Something that casts doubt on a result.
pub(crate) struct Warning {
    /// The name of its kind, for programs.
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

impl Warning {
    /// What results of these data raise, with what may help.
    pub(crate) fn of_doubts(
        doubts: &[Doubt],
        data: &Dataset,
        preprocess: &Preprocess,
    ) -> Vec<Self> {
        let warning = |doubt: &Doubt| {
            let help = match doubt {
                Doubt::OneClass { .. } => "are the samples shuffled?".to_owned(),
                Doubt::Renumbered { .. } => {
                    "class folders count in sorted order, or as their names say where these are numbers".to_owned()
                }
                Doubt::Guess { .. } => {
                    let [raw, real] = doubt::ranges(data, preprocess);
                    format!(
                        "the data go from {} to {}, and the model is given {} to {}: are --scale, --mean and --std those of its training?",
                        raw[0], raw[1], real[0], real[1]
                    )
                }
            };
            Self {
                kind: doubt.name(),
                text: format!("{doubt}; {help}"),
            }
        };
        doubts.iter().map(warning).collect()
    }
}

/// Tells warnings on the error stream.
pub(crate) fn tell(warnings: &[Warning]) {
    for warning in warnings {
        report::complain("warning", &warning.text);
    }
}

/// Warnings as JSON.
pub(crate) fn json(warnings: &[Warning]) -> Value {
    let warnings = warnings
        .iter()
        .map(|warning| json!({ "kind": warning.kind, "message": warning.text }));
    warnings.collect()
}

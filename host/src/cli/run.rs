//! `bitbudget run`

use std::path::PathBuf;

use bitbudget::budget::BudgetText;
use bitbudget::capacity::HostEngine;
use bitbudget::evaluate::{ArenaMemory, NOT_FINITE, sample};
use bitbudget::loss::argmax;
use bitbudget::{dataset, file};
use clap::Args;
use miette::{IntoDiagnostic, miette};
use serde_json::json;

use super::data::dims;
use super::network_file::{Source, parse_image};
use super::target::TargetArgs;
use super::{Outcome, report};

/// Run one inference under a memory budget
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  bitbudget run resnet8.image --input cat.npy --budget 64KiB\n  \
    bitbudget run digits.image --input test_images.npy --index 7 --budget 60%"
)]
pub(crate) struct Run {
    /// Image
    #[arg(value_name = "FILE.image")]
    image: PathBuf,
    /// Input with raw values as the profile's data had them: .npy of one or several samples, PNG or JPEG
    #[arg(long, value_name = "X.npy")]
    input: PathBuf,
    /// Which sample, if the file has several
    #[arg(long, default_value_t = 0)]
    index: usize,
    /// Budget, as for `bitbudget plan`
    #[arg(long = "ram", visible_alias = "budget", value_name = "BYTES")]
    budget: BudgetText,
    #[command(flatten)]
    target: TargetArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(crate) fn run(self) -> Outcome {
        let bytes = file::read(&self.image)?;
        let image = parse_image(&self.image, &bytes)?;
        let input = dims(image.network().input);
        let data = dataset::load_input(&self.input, input, self.index)?;
        let mut source = Source::of_image(&image, &self.target.get())?;
        let plan = source.plan_for(&self.budget)?;
        let mut memory = ArenaMemory::new(plan.ram_bytes() as usize);
        let mut engine = HostEngine::new(&image, memory.lend()).into_diagnostic()?;
        engine.load(plan.clone()).into_diagnostic()?;
        let sample = sample(&data, 0, input.iter().product());
        let outputs = engine.infer(sample).into_diagnostic()?;
        if !outputs.iter().all(|output| output.is_finite()) {
            return Err(miette!(
                help = NOT_FINITE,
                "the outputs are not finite numbers"
            ));
        }
        let class = argmax(outputs);
        if self.json {
            return report::print_json(&json!({
                "outputs": outputs,
                "class": class,
                "budget_bytes": source.resolve(&self.budget).get(self.budget.measure()),
                "total_bytes": plan.ram_bytes(),
                "levels": report::levels_json(&source.names, &plan.levels),
            }));
        }
        say!("class {class}");
        for (i, output) in outputs.iter().enumerate() {
            say!("{i:4}  {output:+.6}{}", if i == class { "  <" } else { "" });
        }
        let levels = report::levels_short(&plan.levels);
        say!("\nin {} bytes of RAM: {levels}", plan.ram_bytes());
        Ok(())
    }
}

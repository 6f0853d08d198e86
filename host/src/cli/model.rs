//! The model of a command that imports one for the first time.

use std::path::PathBuf;

use bitbudget::graph::Graph;
use bitbudget::import::{self, ImportError, InputShape, Sizes};
use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct Model {
    /// Trained model
    #[arg(value_name = "MODEL", id = "model")]
    pub(crate) path: PathBuf,
    /// Shape of its input where the model leaves sizes open, the batch first: 1x3x96x96, or
    /// input=1x3x96x96
    #[arg(long, value_name = "[NAME=]NxCxHxW")]
    input_shape: Option<InputShape>,
}

impl Model {
    pub(crate) fn load(&self) -> Result<Graph, ImportError> {
        import::load_sized(&self.path, &Sizes::from(self.input_shape.clone()))
    }
}

//! One run over the calibration set.

use bitbudget_core::level::Level;

use super::error::ProfileError;
use super::options::{Control, Options};
use super::partial::Partial;
use crate::batches::Batches;
use crate::capacity::HostNetwork;
use crate::metric::{Probe, Subject};

/// One run: the model on its data, and what the caller wants.
pub(super) struct Run<'a> {
    pub(super) batches: Batches<'a>,
    pub(super) options: &'a Options,
    pub(super) control: &'a Control<'a>,
}

impl Run<'_> {
    /// The layers with weights.
    pub(super) fn weighted_layers(&self) -> impl Iterator<Item = usize> + '_ {
        let layers = self.batches.model.graph.layers.iter().enumerate();
        let weighted = layers.filter(|(_, layer)| layer.weights.is_some());
        weighted.map(|(i, _)| i)
    }

    /// All levels of all layers with weights.
    pub(super) fn items(&self) -> impl Iterator<Item = (usize, Level)> + '_ {
        let levels = || self.options.levels.iter();
        self.weighted_layers()
            .flat_map(move |i| levels().map(move |level| (i, *level)))
    }

    /// The probes of all levels of all layers, each once.
    pub(super) fn probes(&self, subject: &Subject<'_>) -> Vec<Probe> {
        let mut probes = Vec::new();
        for (layer, level) in self.items() {
            for probe in self.options.metric.probes(subject, layer, level) {
                if !probes.contains(&probe) {
                    probes.push(probe);
                }
            }
        }
        probes
    }

    /// The INT8 step of every layer's (first) input.
    pub(super) fn input_steps(&self, network: &HostNetwork) -> Vec<f32> {
        let layers = self.batches.model.graph.layers.iter();
        layers
            .map(|layer| network.qparams(layer.inputs[0]).scale)
            .collect()
    }

    /// The error of a run that was interrupted with so many batches measured.
    pub(super) fn interrupted(&self, done: usize) -> ProfileError {
        ProfileError::Interrupted {
            done,
            total: self.batches.count(),
            partial: self.control.output.map(Partial::path).unwrap_or_default(),
        }
    }
}

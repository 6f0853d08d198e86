//! Names of layers: short, and the same whichever exporter wrote the model.

use std::collections::{HashMap, HashSet};

use bitbudget_core::op::Op;

use super::node::Node;
use crate::graph::GraphLayer;

/// Names are cut off after this many characters.
const MAX_CHARS: usize = 64;

/// The name for the layer of `node`, whose parameters are its inputs `parameters`; empty where
/// nothing in the file tells one.
///
/// A parameter's own name is the best: `layer1.0.conv1.weight` makes `layer1.0.conv1`. The next
/// best is the path in the node's name: `/layer1/layer1.0/conv1/Conv` makes the same.
pub(super) fn of_node(node: &Node<'_>, parameters: &[usize]) -> String {
    let parameter = parameters
        .iter()
        .filter_map(|index| of_parameter(node.input(*index)?));
    let mut names = parameter.chain(of_path(node.name()));
    names.next().unwrap_or_default()
}

/// The module that a parameter belongs to.
fn of_parameter(parameter: &str) -> Option<String> {
    let module = parameter
        .strip_suffix(".weight")
        .or_else(|| parameter.strip_suffix(".bias"))?;
    let name = clean(module);
    (!name.is_empty()).then_some(name)
}

/// The module that a node's path leads to. PyTorch repeats the path in members of containers:
/// `/features/features.0/features.0.1/Conv`.
fn of_path(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.pop();
    let mut modules: Vec<&str> = Vec::new();
    for part in parts {
        let continues = |last: &str| {
            part.strip_prefix(last)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        if modules.last().is_some_and(|last| continues(last)) {
            modules.pop();
        }
        modules.push(part);
    }
    let name = clean(&modules.join("."));
    (!name.is_empty()).then_some(name)
}

/// Without what would disturb a table in a terminal.
pub(super) fn clean(name: &str) -> String {
    let visible = |c: &char| !c.is_control() && !c.is_whitespace();
    name.chars().filter(visible).take(MAX_CHARS).collect()
}

/// Numbers the layers that have no name (`add1`, `avg-pool1`), and those of the same name.
pub(super) fn complete(layers: &mut [GraphLayer]) {
    let mut taken: HashSet<String> = HashSet::new();
    let mut last: HashMap<String, usize> = HashMap::new();
    for layer in layers.iter_mut().filter(|layer| !layer.name.is_empty()) {
        if taken.contains(&layer.name) {
            layer.name = free(&format!("{}-", layer.name), 1, &mut last, &taken);
        }
        taken.insert(layer.name.clone());
    }
    for layer in layers.iter_mut().filter(|layer| layer.name.is_empty()) {
        layer.name = free(stem(&layer.op), 0, &mut last, &taken);
        taken.insert(layer.name.clone());
    }
}

/// The prefix with the first number after `used` that makes a name that is not taken.
fn free(
    prefix: &str,
    used: usize,
    last: &mut HashMap<String, usize>,
    taken: &HashSet<String>,
) -> String {
    let last = last.entry(prefix.to_owned()).or_insert(used);
    loop {
        *last += 1;
        let name = format!("{prefix}{last}");
        if !taken.contains(&name) {
            return name;
        }
    }
}

const fn stem(op: &Op) -> &'static str {
    match op {
        Op::Conv2d { .. } => "conv",
        Op::Dense => "dense",
        Op::Add
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::Reshape
        | Op::Softmax { .. }
        | Op::Unary(_)
        | Op::Mul
        | Op::Concat
        | Op::Rearrange(_) => op.name(),
    }
}

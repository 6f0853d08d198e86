//! The nodes that the outputs need.

use std::collections::{HashMap, HashSet};

use super::node::Node;

/// The nodes, and which of them the outputs need.
pub(super) struct Live<'a> {
    /// Nodes that the outputs need, in the order of the file.
    pub(super) live: Vec<Node<'a>>,
    /// The other nodes.
    pub(super) dead: Vec<Node<'a>>,
    /// Times that each tensor is read as a tensor; its shape may be read besides.
    pub(super) reads: HashMap<&'a str, usize>,
}

impl<'a> Live<'a> {
    /// The nodes of a model with these outputs.
    pub(super) fn new(nodes: Vec<Node<'a>>, outputs: &[&'a str]) -> Self {
        let mut needed: HashSet<&str> = outputs.iter().copied().collect();
        let mut reads = HashMap::new();
        for output in outputs {
            *reads.entry(*output).or_default() += 1;
        }
        let mut live = Vec::new();
        let mut dead = Vec::new();
        for node in nodes.into_iter().rev() {
            let is_live = |name: &String| !name.is_empty() && needed.contains(name.as_str());
            if !node.outputs().iter().any(is_live) {
                dead.push(node);
                continue;
            }
            for name in node.inputs().iter().filter(|name| !name.is_empty()) {
                needed.insert(name);
                if node.op != "Shape" {
                    *reads.entry(name).or_default() += 1;
                }
            }
            live.push(node);
        }
        live.reverse();
        Self { live, dead, reads }
    }
}

//! Inputs of nodes that are really parameters: axes, shapes, sizes.

use std::rc::Rc;

use super::builder::Builder;
use super::error::{Fault, OnnxError, unsupported};
use super::node::Node;
use super::tensor::{Data, Int};

/// Parameters and shapes have no more numbers than this.
pub(super) const MAX_INTEGERS: usize = 64;

/// The position of an axis that may count from the end, of `rank` dimensions.
pub(super) fn axis(value: i64, rank: usize) -> Result<usize, Fault> {
    let rank = rank as i64;
    if value < -rank || value >= rank {
        return unsupported(format!("it has no dimension {value}"));
    }
    Ok(value.rem_euclid(rank) as usize)
}

/// A place among `len` that may count from the end; it may lie outside.
pub(super) const fn from_start(value: i64, len: i64) -> i64 {
    if value < 0 {
        value.saturating_add(len)
    } else {
        value
    }
}

/// Input `index` as integers, which must be there.
pub(super) fn integers<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    index: usize,
) -> Result<Rc<[Int]>, Fault> {
    let tensor = b.constant(node, index)?;
    match &tensor.data {
        Data::Int(values) => Ok(Rc::clone(values)),
        Data::Float(_) => Err(Fault::Broken(OnnxError::TensorType {
            node: node.label.clone(),
            tensor: node.expect_input(index)?.to_owned(),
            expected: "INT64",
            found: tensor.type_name().to_owned(),
        })),
    }
}

/// Input `index` as integers that do not depend on the batch, which must be there.
pub(super) fn known<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    index: usize,
) -> Result<Vec<i64>, Fault> {
    let values = integers(b, node, index)?;
    if values.len() > MAX_INTEGERS {
        return unsupported(format!("its input {index} has {} elements", values.len()));
    }
    let known = |value: &Int| match value {
        Int::Known(value) => Some(*value),
        Int::Batch => None,
    };
    match values.iter().map(known).collect() {
        Some(values) => Ok(values),
        None => unsupported(format!("its input {index} depends on the batch size")),
    }
}

/// The attribute `axes`, or the input `index` that took its place in later operator sets.
pub(super) fn axes<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    index: usize,
) -> Result<Option<Vec<i64>>, Fault> {
    ints_or_input(b, node, "axes", index)
}

/// An attribute, or the input that took its place in later operator sets.
pub(super) fn ints_or_input<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    name: &str,
    index: usize,
) -> Result<Option<Vec<i64>>, Fault> {
    match (node.ints(name)?, node.input(index)) {
        (Some(values), _) => Ok(Some(values.to_vec())),
        (None, Some(_)) => known(b, node, index).map(Some),
        (None, None) => Ok(None),
    }
}

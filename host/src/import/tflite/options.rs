//! The options of an operator.

use super::emit::Refusal;
use super::flat::{Number, Table};
use super::model::Operator;

/// The number of a field of the options, or its default.
pub(super) fn option<T: Number>(op: &Operator<'_>, field: usize, default: T) -> Result<T, Refusal> {
    let number = |table: &Table<'_>| table.number(field, default);
    Ok(op.options.as_ref().map_or(Ok(default), number)?)
}

/// A truth value or a choice among the options, a byte that is 0 where it is left out.
pub(super) fn choice(op: &Operator<'_>, field: usize) -> Result<i8, Refusal> {
    option(op, field, 0)
}

/// A real number among the options.
pub(super) fn real(op: &Operator<'_>, field: usize) -> Result<f32, Refusal> {
    option(op, field, 0.0)
}

/// Height and width from two fields of the options, the width first.
pub(super) fn pair(op: &Operator<'_>, width: usize, default: i32) -> Result<[i64; 2], Refusal> {
    let [w, h] = [option(op, width, default)?, option(op, width + 1, default)?];
    Ok([i64::from(h), i64::from(w)])
}

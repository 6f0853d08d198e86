//! Windows over a series, which TensorFlow Lite has as windows over an image of one row.
//!
//! The series gets its row by EXPAND_DIMS or RESHAPE before CONV_2D, DEPTHWISE_CONV_2D or a pool, and loses it again
//! behind. Where the window is dilated, its steps are spread over the batch before, by SPACE_TO_BATCH_ND, and gathered
//! behind. All of these together are one operator of ONNX over the series itself.

use std::collections::HashMap;

use super::emit::{Emit, Refusal};
use super::error::TfliteError;
use super::model::{Model, Operator};

/// The operators that read each tensor.
pub(super) struct Readers(HashMap<usize, Vec<usize>>);

impl Readers {
    pub(super) fn of(model: &Model<'_>) -> Self {
        let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
        for (i, op) in model.operators.iter().enumerate() {
            for tensor in op.inputs.iter().copied().flatten() {
                readers.entry(tensor).or_default().push(i);
            }
        }
        Self(readers)
    }

    /// The operator that alone reads what operator `of` gives, as its first input.
    fn next(&self, model: &Model<'_>, of: usize) -> Option<usize> {
        let &[output] = &model.operators[of].outputs[..] else {
            return None;
        };
        let &[reader] = &self.0.get(&output)?[..] else {
            return None;
        };
        let is_first = model.operators[reader].inputs.first() == Some(&Some(output));
        // sorted, as what is read is given before
        (is_first && reader > of && !model.outputs.contains(&output)).then_some(reader)
    }
}

/// A window over a series.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// The operators that it is made of, each of which reads what the one before gives.
    pub(super) operators: Vec<usize>,
    /// That with the window.
    pub(super) window: usize,
    /// Steps from one of the window's to the next, and the padding before and after where it is not the window's.
    pub(super) spread: Option<(i64, [i64; 2])>,
}

impl Series {
    /// The window that operator `first` begins, if it does.
    pub(super) fn at(
        e: &mut Emit<'_>,
        model: &Model<'_>,
        readers: &Readers,
        first: usize,
    ) -> Result<Option<Self>, TfliteError> {
        match Self::found(e, model, readers, first) {
            Ok(series) => Ok(series),
            Err(Refusal::Unsupported(_)) => Ok(None),
            Err(Refusal::Broken(error)) => Err(error),
        }
    }

    fn found(
        e: &mut Emit<'_>,
        model: &Model<'_>,
        readers: &Readers,
        first: usize,
    ) -> Result<Option<Self>, Refusal> {
        let op = |i: usize| &model.operators[i];
        let mut operators = vec![first];
        let spreads = op(first).op == "SPACE_TO_BATCH_ND";
        let adds = match spreads {
            true => readers.next(model, first),
            false => Some(first),
        };
        let Some(adds) = adds.filter(|i| has_row(model, op(*i), Row::Added)) else {
            return Ok(None);
        };
        let window = readers.next(model, adds);
        let Some(window) = window.filter(|i| is_flat(model, op(*i))) else {
            return Ok(None);
        };
        let removes = readers.next(model, window);
        let Some(removes) = removes.filter(|i| has_row(model, op(*i), Row::Removed)) else {
            return Ok(None);
        };
        operators.extend(spreads.then_some(adds));
        operators.extend([window, removes]);
        let mut spread = None;
        if spreads {
            let gathers = readers.next(model, removes);
            let Some(gathers) = gathers.filter(|i| op(*i).op == "BATCH_TO_SPACE_ND") else {
                return Ok(None);
            };
            let numbers = |e: &mut Emit<'_>, i: usize, input| e.integers(op(i).input(input)?);
            let block = numbers(e, first, 1)?;
            let pads = numbers(e, first, 2)?;
            let same = numbers(e, gathers, 1)?;
            let crops = numbers(e, gathers, 2)?;
            let (&[steps], &[before, after], &[start, end]) = (&block[..], &pads[..], &crops[..])
            else {
                return Ok(None);
            };
            if same != block {
                return Ok(None);
            }
            operators.push(gathers);
            spread = Some((steps, [before - start, after - end]));
        }
        Ok(Some(Self {
            operators,
            window,
            spread,
        }))
    }
}

/// Whether an operator has a window of one row.
fn is_flat(model: &Model<'_>, op: &Operator<'_>) -> bool {
    match op.op.as_str() {
        "CONV_2D" | "DEPTHWISE_CONV_2D" => {
            let weights = op.optional(1).map(|tensor| &model.tensors[tensor].dims[..]);
            matches!(weights, Some([_, 1, _, _]))
        }
        "AVERAGE_POOL_2D" | "MAX_POOL_2D" => {
            let height = op.options.as_ref().map(|options| options.number(4, 0_i32));
            matches!(height, Some(Ok(1)))
        }
        _ => false,
    }
}

/// The change of a series' dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Added,
    Removed,
}

/// Whether an operator adds a row to a series, or removes it, and does nothing else.
fn has_row(model: &Model<'_>, op: &Operator<'_>, row: Row) -> bool {
    let names: &[&str] = match row {
        Row::Added => &["EXPAND_DIMS", "RESHAPE"],
        Row::Removed => &["SQUEEZE", "RESHAPE"],
    };
    let (Ok(from), Ok(to)) = (op.input(0), op.output()) else {
        return false;
    };
    let dims = |tensor: usize| &model.tensors[tensor].dims[..];
    let (series, image) = match row {
        Row::Added => (dims(from), dims(to)),
        Row::Removed => (dims(to), dims(from)),
    };
    let (&[n, l, c], &[batch, 1, length, channels]) = (series, image) else {
        return false;
    };
    names.contains(&op.op.as_str()) && [n, l, c] == [batch, length, channels]
}

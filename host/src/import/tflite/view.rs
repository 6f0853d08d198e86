//! Operators that move elements, and reductions.

use super::activation::{activate, unary};
use super::emit::{Emit, Refusal, int, ints, refuse, text};
use super::model::Operator;
use super::options::{choice, option};

/// A dimension of `rank` that may count from the end.
const fn from_start(axis: i64, rank: usize) -> i64 {
    if axis < 0 { axis + rank as i64 } else { axis }
}

/// A mean or a maximum, over rows and columns with the channels first.
pub(super) fn reduce(e: &mut Emit<'_>, op: &Operator<'_>, name: &str) -> Result<(), Refusal> {
    let x = op.input(0)?;
    let rank = e.dims(x).len();
    let keeps = choice(op, 0)? != 0;
    let axes = e.integers(op.input(1)?)?.into_iter();
    let mut axes: Vec<i64> = axes.map(|axis| from_start(axis, rank)).collect();
    axes.sort_unstable();
    let over_image = (1..rank as i64 - 1).collect::<Vec<_>>() == axes;
    let keepdims = int("keepdims", i64::from(keeps));
    if !over_image || rank < 3 {
        let inputs = vec![e.name(x)?, e.integer_list(&axes)];
        return e.result(op, name, inputs, vec![keepdims]);
    }
    let axes: Vec<i64> = axes.iter().map(|axis| axis + 1).collect();
    let inputs = vec![e.channels_first(x)?, e.integer_list(&axes)];
    let reduced = e.node(name, inputs, vec![keepdims]);
    let reduced = if keeps {
        e.channels_last(reduced, rank)
    } else {
        reduced
    };
    e.give(op, reduced)
}

pub(super) fn pad(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let x = op.input(0)?;
    let rank = e.dims(x).len();
    let sizes = e.integers(op.input(1)?)?;
    if sizes.len() != 2 * rank || rank < 3 {
        return refuse(format!("it pads {rank} dimensions by {sizes:?}"));
    }
    // pairs in the order of the dimensions, to all sizes before and all after, the channels first
    let order = [0, rank - 1].into_iter().chain(1..rank - 1);
    let before = order.clone().map(|axis| sizes[2 * axis]);
    let after = order.map(|axis| sizes[2 * axis + 1]);
    let pads: Vec<i64> = before.chain(after).collect();
    let mut inputs = vec![e.channels_first(x)?, e.integer_list(&pads)];
    if let Some(value) = op.optional(2) {
        inputs.push(e.name(value)?);
    }
    let padded = e.node("Pad", inputs, vec![]);
    let padded = e.channels_last(padded, rank);
    e.give(op, padded)
}

pub(super) fn concatenation(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let rank = e.dims(op.output()?).len();
    let axis = from_start(option(op, 0, 0_i32)?.into(), rank);
    let is_channels = rank >= 3 && axis == rank as i64 - 1;
    let mut inputs = Vec::new();
    for x in op.inputs.iter().copied().flatten() {
        inputs.push(if is_channels {
            e.channels_first(x)?
        } else {
            e.name(x)?
        });
    }
    let axis = if is_channels { 1 } else { axis };
    let joined = e.node("Concat", inputs, vec![int("axis", axis)]);
    let joined = if is_channels {
        e.channels_last(joined, rank)
    } else {
        joined
    };
    activate(e, op, joined, choice(op, 1)?)
}

/// RESHAPE, SQUEEZE and EXPAND_DIMS: to the dimensions that the model gives the output.
pub(super) fn reshape(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let (x, y) = (op.input(0)?, op.output()?);
    let (from, mut to) = (e.dims(x), e.dims(y));
    if let ([batch, l, c], [first, 1, rows, channels]) = (&from[..], &to[..])
        && [batch, l, c] == [first, rows, channels]
    {
        // a series that a two-dimensional convolution reads
        let inputs = vec![e.name(x)?, e.integer_list(&[1])];
        return e.result(op, "Unsqueeze", inputs, vec![]);
    }
    if let Some(first) = to.first_mut()
        && !e.is_constant(x)?
        && from.first() == Some(first)
    {
        // the batch, as it is
        *first = 0;
    }
    // of the elements, one dimension can be told
    if to.iter().skip(1).filter(|dim| **dim < 0).count() > 1 {
        return refuse("its output has dimensions that the model leaves open");
    }
    let inputs = vec![e.name(x)?, e.integer_list(&to)];
    e.result(op, "Reshape", inputs, vec![])
}

pub(super) fn transpose(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let permutation = e.integers(op.input(1)?)?;
    unary(e, op, "Transpose", vec![ints("perm", &permutation)])
}

pub(super) fn depth_to_space(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let size = option(op, 0, 0_i32)?;
    let x = e.channels_first(op.input(0)?)?;
    let pixels = e.node("DepthToSpace", vec![x], vec![int("blocksize", size.into())]);
    let pixels = e.channels_last(pixels, 4);
    e.give(op, pixels)
}

pub(super) fn resize_nearest(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    if choice(op, 0)? != 0 {
        return refuse("it aligns corners, which is not supported");
    }
    let attributes = match choice(op, 1)? {
        0 => [
            text("coordinate_transformation_mode", "asymmetric"),
            text("nearest_mode", "floor"),
        ],
        _ => [
            text("coordinate_transformation_mode", "half_pixel"),
            text("nearest_mode", "round_prefer_ceil"),
        ],
    };
    let sizes = e.integers(op.input(1)?)?;
    let x = e.channels_first(op.input(0)?)?;
    let channels = e.channels(op.input(0)?).unwrap_or(0) as i64;
    let sizes = e.integer_list(&[&[-1, channels], &sizes[..]].concat());
    let inputs = vec![x, String::new(), String::new(), sizes];
    let pixels = e.node("Resize", inputs, attributes.to_vec());
    let pixels = e.channels_last(pixels, 4);
    e.give(op, pixels)
}

pub(super) fn tile(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let repeats = e.integers(op.input(1)?)?;
    let inputs = vec![e.name(op.input(0)?)?, e.integer_list(&repeats)];
    e.result(op, "Tile", inputs, vec![])
}

/// A Slice from `starts` to `ends` of all dimensions.
fn sliced(
    e: &mut Emit<'_>,
    op: &Operator<'_>,
    starts: &[i64],
    ends: &[i64],
    steps: &[i64],
) -> Result<(), Refusal> {
    let axes: Vec<i64> = (0..starts.len() as i64).collect();
    let x = e.name(op.input(0)?)?;
    let lists = [starts, ends, &axes, steps].map(|list| e.integer_list(list));
    e.result(op, "Slice", [vec![x], lists.to_vec()].concat(), vec![])
}

/// An end beyond every dimension.
const END: i64 = i64::MAX;

pub(super) fn slice(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let (starts, sizes) = (e.integers(op.input(1)?)?, e.integers(op.input(2)?)?);
    let ends = starts.iter().zip(&sizes).enumerate();
    let ends = ends.map(|(i, (start, size))| match (i, size) {
        // of the batch, all
        (0, _) | (_, -1) => END,
        (_, size) => start.saturating_add(*size),
    });
    let ends: Vec<i64> = ends.collect();
    sliced(e, op, &starts, &ends, &vec![1; starts.len()])
}

pub(super) fn strided_slice(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let [begin, end, ellipsis, added, removed] =
        [0, 1, 2, 3, 4].map(|field| option(op, field, 0_i32));
    if [ellipsis?, added?, removed?] != [0; 3] {
        return refuse("it adds or takes away dimensions, which is not supported");
    }
    let (begin, end) = (begin?, end?);
    let mut starts = e.integers(op.input(1)?)?;
    let mut ends = e.integers(op.input(2)?)?;
    let steps = e.integers(op.input(3)?)?;
    for (i, start) in starts.iter_mut().enumerate().take(32) {
        if begin >> i & 1 == 1 {
            *start = 0;
        }
    }
    for (i, last) in ends.iter_mut().enumerate().take(32) {
        // of the batch, all
        if end >> i & 1 == 1 || i == 0 {
            *last = END;
        }
    }
    sliced(e, op, &starts, &ends, &steps)
}

/// SPLIT: the dimension comes first.
pub(super) fn split(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let axis = e.integers(op.input(0)?)?;
    let axis = axis.first().copied().unwrap_or(0);
    let x = e.name(op.input(1)?)?;
    e.results(op, "Split", vec![x], vec![int("axis", axis)]);
    Ok(())
}

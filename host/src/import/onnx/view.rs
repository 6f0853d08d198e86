//! Operators that change how a tensor is seen, and activations.

use std::rc::Rc;

use bitbudget_core::op::{Op, Rearrangement};
use rten_onnx::onnx::DataType;

use super::arguments::{axes, axis, from_start, integers, known};
use super::builder::Builder;
use super::error::{Fault, unsupported};
use super::fold;
use super::layers::dimension;
use super::node::Node;
use super::tensor::{Data, Int};
use super::value::{Order, Value, View, dims_text};

/// Tensors have at most this many dimensions.
const MAX_RANK: usize = 8;

/// The tensor of `view`, seen as `dims`.
fn seen_as(view: &View, dims: Vec<usize>) -> Result<Value, Fault> {
    if dims.len() >= MAX_RANK {
        return unsupported(format!("{} has too many dimensions", dims_text(&dims)));
    }
    let order = view.order;
    Ok(Value::Activation(View {
        order,
        ..View::new(view.tensor, dims)
    }))
}

/// Identity.
pub(super) fn identity<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    b.value(node, 0)
}

/// Dropout, which does nothing in inference.
pub(super) fn dropout<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let trains = node.input(2).is_some() && known(b, node, 2)? != [0];
    if trains {
        return unsupported("it is in training mode: export the model in evaluation mode");
    }
    b.value(node, 0)
}

/// Cast of integers to integers and of floating point to FP32.
pub(super) fn cast<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let to = DataType(i32::try_from(node.int("to", 0)?).unwrap_or(0));
    let value = b.value(node, 0)?;
    let is_float = match &value {
        Value::Const(tensor) => matches!(tensor.data, Data::Float(_)),
        Value::Activation(_) | Value::Missing => true,
    };
    match to {
        DataType::FLOAT if is_float => Ok(value),
        DataType::INT64 | DataType::INT32 if !is_float => Ok(value),
        _ => unsupported(format!("it casts to {to}")),
    }
}

/// Flatten.
pub(super) fn flatten<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let given = node.int("axis", 1)?;
    let view = b.view_in_any_order(node, 0)?;
    if given != 1 && given != -(view.dims.len() as i64) {
        return unsupported(format!("its axis is {given}, only 1 is supported"));
    }
    seen_as(&view, vec![view.dims.iter().product()])
}

/// Reshape to constant dimensions, or to some that were computed from the shape.
pub(super) fn reshape<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let keeps_zeros = node.int("allowzero", 0)? != 0;
    let target = integers(b, node, 1)?;
    match b.value(node, 0)? {
        Value::Const(tensor) => fold::reshape(&tensor, &target),
        Value::Missing => Err(Fault::Upstream),
        Value::Activation(_) => {
            let view = b.view_in_any_order(node, 0)?;
            match reshaped(&view.dims, &target, b.batch, keeps_zeros) {
                Some(dims) => seen_as(&view, dims),
                None => unsupported(format!(
                    "it reshapes {} to {}: expected the batch first, and as many elements",
                    dims_text(&view.dims),
                    target_text(&target)
                )),
            }
        }
    }
}

fn target_text(target: &[Int]) -> String {
    let text = |int: &Int| match int {
        Int::Known(size) => size.to_string(),
        Int::Batch => "N".to_owned(),
    };
    let dims: Vec<String> = target.iter().map(text).collect();
    format!("[{}]", dims.join(", "))
}

/// The target without its batch; `None` where it mixes the samples or has more or less elements.
fn reshaped(
    dims: &[usize],
    target: &[Int],
    batch: Option<i64>,
    keeps_zeros: bool,
) -> Option<Vec<usize>> {
    let (first, rest) = target.split_first()?;
    let keeps_batch = match first {
        Int::Batch | Int::Known(-1) => true,
        Int::Known(0) => !keeps_zeros,
        Int::Known(size) => batch == Some(*size),
    };
    if !keeps_batch || rest.len() >= MAX_RANK {
        return None;
    }
    let total: usize = dims.iter().product();
    let mut inferred = None;
    let mut sizes = Vec::new();
    for (i, size) in rest.iter().enumerate() {
        sizes.push(match size {
            Int::Known(-1) if inferred.is_none() && *first != Int::Known(-1) => {
                inferred = Some(i);
                1
            }
            Int::Known(0) if !keeps_zeros => *dims.get(i)?,
            Int::Known(size) => usize::try_from(*size).ok()?,
            Int::Batch => return None,
        });
    }
    let product = sizes.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))?;
    if let Some(i) = inferred {
        sizes[i] = total.checked_div(product)?;
    }
    (sizes.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))? == total).then_some(sizes)
}

/// Squeeze.
pub(super) fn squeeze<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let given = axes(b, node, 1)?;
    let value = b.value(node, 0)?;
    if let Value::Const(tensor) = &value {
        return fold::squeeze(tensor, given.as_deref());
    }
    let view = b.view_in_any_order(node, 0)?;
    let Some(given) = given else {
        return unsupported("it has no axes: it would remove a batch of 1");
    };
    let rank = view.dims.len() + 1;
    let mut removed = [false; MAX_RANK + 1];
    for value in given {
        let axis = axis(value, rank)?;
        if axis == 0 || view.dims[axis - 1] != 1 {
            let dims = dims_text(&view.dims);
            return unsupported(format!("it removes dimension {axis} of {dims}"));
        }
        removed[axis] = true;
    }
    let kept = (1..rank).filter(|axis| !removed[*axis]);
    seen_as(&view, kept.map(|axis| view.dims[axis - 1]).collect())
}

/// Unsqueeze.
pub(super) fn unsqueeze<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let Some(given) = axes(b, node, 1)?.filter(|axes| axes.len() <= MAX_RANK) else {
        return Err(node.bad_attribute("axes", "present").into());
    };
    let value = b.value(node, 0)?;
    if let Value::Const(tensor) = &value {
        let dims = fold::unsqueezed(&tensor.dims, &given)?;
        return fold::with_dims(tensor, dims);
    }
    let view = b.view_in_any_order(node, 0)?;
    let mut with_batch = vec![usize::MAX];
    with_batch.extend(&view.dims);
    let dims = fold::unsqueezed(&with_batch, &given)?;
    match dims.split_first() {
        Some((&usize::MAX, dims)) => seen_as(&view, dims.to_vec()),
        Some(_) | None => unsupported("it adds a dimension before the batch"),
    }
}

/// Transpose of a constant, of an image from one order to the other, or one that moves only dimensions of 1.
pub(super) fn transpose<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let given = node.ints("perm")?;
    let value = b.value(node, 0)?;
    let rank = match &value {
        Value::Const(tensor) => tensor.dims.len(),
        Value::Activation(view) => view.dims.len() + 1,
        Value::Missing => return Err(Fault::Upstream),
    };
    let reversed: Vec<i64> = (0..rank as i64).rev().collect();
    let given = given.unwrap_or(&reversed);
    let mut sorted = given.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank as i64) {
        return Err(node
            .bad_attribute("perm", "a permutation of its dimensions")
            .into());
    }
    let permutation: Vec<usize> = given.iter().map(|axis| *axis as usize).collect();
    if let Value::Const(tensor) = &value {
        return fold::transpose(tensor, &permutation);
    }
    let view = b.view_in_any_order(node, 0)?;
    let shape = b.layers.shape(view.tensor);
    let rank = view.dims.len();
    let to_last = [0].into_iter().chain(2..=rank).chain([1]);
    let to_first = [0, rank].into_iter().chain(1..rank);
    let is_channels = |size: &usize| *size == usize::from(shape.c);
    match (view.order, &view.dims[..]) {
        (Order::ChannelsFirst, [c, pixels @ ..])
            if is_channels(c) && to_last.eq(permutation.iter().copied()) =>
        {
            let view = View::new(view.tensor, [pixels, &[*c]].concat());
            return Ok(Value::Activation(view.in_order(Order::ChannelsLast, shape)));
        }
        (Order::ChannelsLast, [pixels @ .., c])
            if is_channels(c) && to_first.eq(permutation.iter().copied()) =>
        {
            let view = View::new(view.tensor, [&[*c], pixels].concat());
            return Ok(Value::Activation(view));
        }
        (Order::ChannelsFirst | Order::ChannelsLast, _) => {}
    }
    if let Some(shuffled) = shuffled(b, &view, &permutation)? {
        return Ok(shuffled);
    }
    let moves_batch = permutation.first() != Some(&0);
    let moved = permutation
        .iter()
        .filter(|i| **i > 0 && view.dims[**i - 1] > 1);
    if moves_batch || !moved.is_sorted() {
        return unsupported(format!("it permutes {}", dims_text(&view.dims)));
    }
    let dims = permutation[1..].iter().map(|axis| view.dims[axis - 1]);
    seen_as(&view, dims.collect())
}

/// A view whose channels are two dimensions, with these exchanged: the shuffle of channels of Zhang et al. 2018
/// ("ShuffleNet"), in a layer of its own. `None` where the permutation is another one.
fn shuffled(
    b: &mut Builder<'_>,
    view: &View,
    permutation: &[usize],
) -> Result<Option<Value>, Fault> {
    let shape = b.layers.shape(view.tensor);
    let rank = view.dims.len();
    // the first of the two
    let first = match view.order {
        Order::ChannelsFirst => 0,
        Order::ChannelsLast => rank.saturating_sub(2),
    };
    let mut exchanged: Vec<usize> = (0..=rank).collect();
    let (Some([groups, channels]), true) = (view.dims.get(first..first + 2), rank > 2) else {
        return Ok(None);
    };
    exchanged.swap(first + 1, first + 2);
    let is_channels = groups * channels == usize::from(shape.c) && *groups > 1 && *channels > 1;
    if exchanged != permutation || !is_channels {
        return Ok(None);
    }
    let of = Rearrangement::shuffle(shape, dimension(*groups)?);
    let Some(of) = of.filter(|_| usize::from(shape.w) * groups * channels <= u16::MAX.into())
    else {
        return unsupported(format!("it permutes {}", dims_text(&view.dims)));
    };
    let op = Op::Rearrange(of);
    let tensor = b.layers.push_plain(op, vec![view.tensor], shape)?;
    let mut view = View {
        tensor,
        ..view.clone()
    };
    view.dims.swap(first, first + 1);
    Ok(Some(Value::Activation(view)))
}

/// Shape: the dimensions, with the batch as a symbol.
pub(super) fn shape<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let known = |d: &usize| Int::Known(*d as i64);
    let dims: Vec<Int> = match b.value(node, 0)? {
        Value::Const(tensor) => tensor.dims.iter().map(known).collect(),
        Value::Activation(view) => {
            let sample = view.dims.iter().map(known);
            std::iter::once(Int::Batch).chain(sample).collect()
        }
        Value::Missing => return Err(Fault::Upstream),
    };
    let rank = dims.len() as i64;
    let place = |value| from_start(value, rank).clamp(0, rank) as usize;
    let (start, end) = (node.int("start", 0)?, node.int("end", rank)?);
    let part = dims.get(place(start)..place(end)).unwrap_or_default();
    Ok(Value::Const(Rc::new(super::tensor::Tensor::ints(part))))
}

//! Pools, means over the image, and padding.

use bitbudget_core::op::Op;
use bitbudget_core::shape::{Shape, Window};

use super::arguments::{axes, axis, known};
use super::builder::Builder;
use super::error::{Fault, unsupported};
use super::node::Node;
use super::value::{Fill, Order, Value, View, dims_text};
use super::window::Sliding;

/// MaxPool.
pub(super) fn max_pool<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let sliding = Sliding::parse(node, None)?;
    let view = b.padded_view(node, 0, Some(Fill::Lowest))?;
    let placed = sliding.place(sliding.image(&view)?)?;
    // Padding never wins, so that the windows that hang over may hang over padding.
    let padding = extended(placed.padding, placed.overhang);
    let window = sliding.window([0, 1, 2, 3].map(|i| padding[i] + view.pad[i]))?;
    let tensor = if view.pad == [0; 4] {
        b.layers.materialize(&view)?
    } else {
        view.tensor
    };
    pool(b, tensor, Op::MaxPool { window }, (&sliding, window))
}

/// AveragePool.
pub(super) fn average_pool<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let sliding = Sliding::parse(node, None)?;
    let counts_own = node.int("count_include_pad", 0)? != 0;
    let view = b.padded_view(node, 0, Some(Fill::Zero))?;
    let placed = sliding.place(sliding.image(&view)?)?;
    let [own, outer] = [placed.padding, view.pad].map(|pad| pad != [0; 4]);
    let count_padding = outer || own && counts_own;
    if outer && own && !counts_own {
        return unsupported("it counts the zeros of Pad but not its own padding");
    }
    if count_padding && placed.overhang != [0; 2] {
        return unsupported("it counts its padding, and its last windows hang over (ceil_mode)");
    }
    let padding = extended(placed.padding, placed.overhang);
    let window = sliding.window([0, 1, 2, 3].map(|i| padding[i] + view.pad[i]))?;
    let tensor = if outer {
        view.tensor
    } else {
        b.layers.materialize(&view)?
    };
    let op = Op::AvgPool {
        window,
        count_padding,
    };
    pool(b, tensor, op, (&sliding, window))
}

fn extended([top, left, bottom, right]: [usize; 4], [y, x]: [usize; 2]) -> [usize; 4] {
    [top, left, bottom + y, right + x]
}

fn pool(
    b: &mut Builder<'_>,
    tensor: usize,
    op: Op,
    (sliding, window): (&Sliding, Window),
) -> Result<Value, Fault> {
    let shape = b.layers.shape(tensor);
    let Some([h, w]) = window.output(shape.h, shape.w) else {
        return unsupported(format!("its window does not fit an input of {shape}"));
    };
    let output = Shape { h, w, c: shape.c };
    let tensor = b.layers.push_plain(op, vec![tensor], output)?;
    Ok(Value::Activation(sliding.view(tensor, output)))
}

/// Reduction of the elements under a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduction {
    Mean,
    Max,
}

/// GlobalAveragePool and GlobalMaxPool.
pub(super) fn global_pool<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    reduction: Reduction,
) -> Result<Value, Fault> {
    let view = b.view(node, 0)?;
    global(b, &view, reduction, true)
}

/// ReduceMean and ReduceMax over the whole image.
pub(super) fn reduce<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    reduction: Reduction,
) -> Result<Value, Fault> {
    let keep = node.int("keepdims", 1)? != 0;
    let Some(given) = axes(b, node, 1)?.filter(|axes| !axes.is_empty()) else {
        return unsupported("it has no axes and so mixes the samples of a batch");
    };
    let view = b.view_in_any_order(node, 0)?;
    let rank = view.dims.len() + 1;
    let mut axes = given
        .iter()
        .map(|value| axis(*value, rank))
        .collect::<Result<Vec<usize>, Fault>>()?;
    axes.sort_unstable();
    axes.dedup();
    let (of_image, example) = match view.order {
        Order::ChannelsFirst => (2..rank, [2, 3]),
        Order::ChannelsLast => (1..rank - 1, [1, 2]),
    };
    if !axes.iter().copied().eq(of_image) {
        return unsupported(format!(
            "its axes are {given:?}, only all of the image's ({example:?}) are supported"
        ));
    }
    if view.order == Order::ChannelsFirst {
        return global(b, &view, reduction, keep);
    }
    let shape = b.layers.shape(view.tensor);
    if !view.is_own(shape) {
        return unsupported(format!("it reads {}", dims_text(&view.dims)));
    }
    let [h, w, c] = [shape.h, shape.w, shape.c].map(usize::from);
    let image = View::new(view.tensor, vec![c, h, w]);
    let reduced = global(b, &image, reduction, false)?;
    Ok(match reduced {
        Value::Activation(reduced) if keep => {
            let mut dims = vec![1; view.dims.len() - 1];
            dims.push(c);
            Value::Activation(View { dims, ..reduced })
        }
        Value::Activation(_) | Value::Const(_) | Value::Missing => reduced,
    })
}

fn global(
    b: &mut Builder<'_>,
    view: &View,
    reduction: Reduction,
    keep: bool,
) -> Result<Value, Fault> {
    let mut tensor = view.tensor;
    if view.dims.first() != Some(&usize::from(b.layers.shape(tensor).c)) {
        tensor = b.layers.materialize(view)?;
    }
    let shape = b.layers.shape(tensor);
    if shape.h != 1 || shape.w != 1 {
        let window = Window {
            kernel: [shape.h, shape.w],
            stride: [1; 2],
            padding: [0; 4],
        };
        let op = match reduction {
            Reduction::Max => Op::MaxPool { window },
            Reduction::Mean => Op::AvgPool {
                window,
                count_padding: false,
            },
        };
        tensor = b
            .layers
            .push_plain(op, vec![tensor], Shape::vector(shape.c))?;
    }
    let mut dims = vec![usize::from(shape.c)];
    if keep {
        dims.resize(view.dims.len(), 1);
    }
    Ok(Value::Activation(View::new(tensor, dims)))
}

/// Pad around the image; whoever reads it takes the padding into its own.
pub(super) fn pad<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let mode = node.string("mode", "constant")?;
    if mode != "constant" {
        return unsupported(format!("its mode is {mode}, only constant is supported"));
    }
    let value = match node.input(2) {
        Some(_) => b.number(node, 2)?,
        None => node.float("value", 0.0)?,
    };
    let Some(fill) = Fill::of(value) else {
        return unsupported(format!(
            "it pads with {value}, only 0 and, for MaxPool, -inf are supported"
        ));
    };
    let pads = match node.ints("pads")? {
        Some(pads) => pads.to_vec(),
        None => known(b, node, 1)?,
    };
    let axes = match node.input(3) {
        Some(_) => Some(known(b, node, 3)?),
        None => None,
    };
    let mut view = b.padded_view(node, 0, Some(fill))?;
    let rank = view.dims.len() + 1;
    let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
    if pads.len() != 2 * axes.len() {
        return Err(node
            .bad_attribute("pads", "two numbers for each axis")
            .into());
    }
    if pads.iter().all(|pad| *pad == 0) {
        return Ok(Value::Activation(view));
    }
    if !(2..=3).contains(&view.dims.len()) {
        let dims = dims_text(&view.dims);
        return unsupported(format!(
            "it reads {dims}, expected [N, C, H, W] or [N, C, L]"
        ));
    }
    let tensor = if view.pad == [0; 4] {
        b.layers.materialize(&view)?
    } else {
        view.tensor
    };
    (view.tensor, view.fill) = (tensor, fill);
    let (before, after) = pads.split_at(axes.len());
    for ((value, before), after) in axes.iter().zip(before).zip(after) {
        let axis = axis(*value, rank)?;
        for (pad, side) in [(before, 0), (after, 2)] {
            let size = u16::try_from(*pad).map(usize::from);
            match (axis, size) {
                (_, Ok(0)) => {}
                (2 | 3, Ok(size)) => view.pad[side + axis - 2] += size,
                (2 | 3, Err(_)) => return unsupported(format!("it pads by {pad}")),
                (_, _) => return unsupported("it pads other dimensions than rows and columns"),
            }
        }
    }
    let shape = b.layers.shape(view.tensor);
    let [top, left, bottom, right] = view.pad;
    let padded = [
        usize::from(shape.h) + top + bottom,
        usize::from(shape.w) + left + right,
    ];
    for (dim, padded) in view.dims[1..].iter_mut().zip(padded) {
        *dim = padded;
    }
    Ok(Value::Activation(view))
}

//! Operators that take elements of a tensor in another order: slices, blocks of channels that become pixels, repeated
//! pixels.

use bitbudget_core::op::{Op, Rearrangement};
use bitbudget_core::shape::Shape;

use super::arguments::{axis, from_start, ints_or_input, known};
use super::builder::Builder;
use super::error::{Fault, unsupported};
use super::fold;
use super::layers::dimension;
use super::node::Node;
use super::tensor::{Data, Int};
use super::value::{Order, Value, View, dims_text};

/// An image or a series, channels first, as a tensor of its own shape.
pub(super) fn image<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<(View, Shape), Fault> {
    let view = b.view(node, 0)?;
    if !(2..=3).contains(&view.dims.len()) {
        return unsupported(format!(
            "it reads {}, expected [N, C, H, W] or [N, C, L]",
            dims_text(&view.dims)
        ));
    }
    let tensor = b.layers.materialize(&view)?;
    let shape = b.layers.shape(tensor);
    Ok((View { tensor, ..view }, shape))
}

/// A layer that rearranges the tensor of a view of an image into a shape; the image that it gives.
pub(super) fn rearranged(
    b: &mut Builder<'_>,
    view: &View,
    of: Option<Rearrangement>,
    [h, w, c]: [usize; 3],
) -> Result<View, Fault> {
    let input = b.layers.shape(view.tensor);
    let output = Shape::new(dimension(h)?, dimension(w)?, dimension(c)?);
    let row = |shape: Shape| usize::from(shape.w) * usize::from(shape.c);
    let Some(of) = of.filter(|_| row(input).max(row(output)) <= usize::from(u16::MAX)) else {
        return unsupported(format!(
            "rows of {input} have more elements than {}",
            u16::MAX
        ));
    };
    let tensor = b
        .layers
        .push_plain(Op::Rearrange(of), vec![view.tensor], output)?;
    let mut dims = vec![c, h, w];
    dims.truncate(view.dims.len());
    Ok(View::new(tensor, dims))
}

/// DepthToSpace.
pub(super) fn depth_to_space<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let size = u8::try_from(node.int("blocksize", 0)?).unwrap_or(0);
    let by_channel = match node.string("mode", "DCR")? {
        "DCR" => false,
        "CRD" => true,
        _ => return Err(node.bad_attribute("mode", "`DCR` or `CRD`").into()),
    };
    let (view, shape) = image(b, node)?;
    let blocks = Rearrangement::depth_to_space(shape, [size, size], by_channel);
    if size == 0 || blocks.is_none() {
        return unsupported(format!(
            "its blocks of {size}x{size} do not divide {} channels",
            shape.c
        ));
    }
    let [h, w] = [shape.h, shape.w].map(|n| usize::from(n) * usize::from(size));
    let channels = usize::from(shape.c) / usize::from(size) / usize::from(size);
    let pixels = rearranged(b, &view, blocks, [h, w, channels])?;
    Ok(Value::Activation(pixels))
}

/// Resize and Upsample to the nearest pixel, by whole factors.
pub(super) fn resize<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let mode = node.string("mode", "nearest")?;
    if mode != "nearest" {
        return unsupported(format!("its mode is {mode}, only nearest is supported"));
    }
    let (view, shape) = image(b, node)?;
    let factors = factors(b, node, &view.dims)?;
    let [height, width] = [factors[0], factors.get(1).copied().unwrap_or(1)];
    // older operators take the pixel at floor(x / factor), which half_pixel's nearest is too
    let place = node.string("coordinate_transformation_mode", "half_pixel")?;
    let rounding = node.string("nearest_mode", "round_prefer_floor")?;
    let most = height.max(width);
    let is_floor = node.op == "Upsample"
        || match (place, rounding) {
            ("asymmetric", "floor") => true,
            ("asymmetric", "round_prefer_floor") => most <= 2,
            ("half_pixel" | "pytorch_half_pixel", "round_prefer_floor" | "round_prefer_ceil") => {
                true
            }
            _ => most == 1,
        };
    // before operator set 11, Resize had no modes
    if !is_floor && b.opset >= 11 {
        return unsupported(format!(
            "it takes the pixel by {place} and {rounding}; supported are asymmetric with floor and half_pixel"
        ));
    }
    let [h, w] =
        [(shape.h, height), (shape.w, width)].map(|(n, by)| usize::from(n) * usize::from(by));
    let of = Rearrangement::repeat(shape, [height, width]);
    let pixels = rearranged(b, &view, Some(of), [h, w, shape.c.into()])?;
    Ok(Value::Activation(pixels))
}

/// By how much a Resize repeats rows and, of an image, columns.
fn factors<'a>(b: &mut Builder<'a>, node: &Node<'a>, dims: &[usize]) -> Result<Vec<u8>, Fault> {
    let whole = "only whole factors for rows and columns are supported";
    let mut scales = node.floats("scales")?.map(<[f32]>::to_vec);
    // since operator set 11, a region of interest, which is for no whole factors, comes before them
    let has_region = node.op == "Resize" && b.opset >= 11;
    for index in 1 + usize::from(has_region)..=3 {
        if scales.is_some() || node.input(index).is_none() {
            continue;
        }
        let tensor = b.constant(node, index)?;
        if tensor.len() == 0 {
            continue;
        }
        scales = match &tensor.data {
            Data::Float(values) => Some(values.to_vec()),
            Data::Int(sizes) => {
                let sizes: Option<Vec<f32>> = sizes.iter().skip(1).zip(dims).map(ratio).collect();
                sizes.map(|sizes| [vec![1.0], sizes].concat())
            }
        };
    }
    let Some([batch, channels, rest @ ..]) = scales.as_deref() else {
        return unsupported("neither its scales nor its sizes are known");
    };
    let factor = |scale: &f32| {
        let is_whole = scale.fract() == 0.0 && (1.0..=255.0).contains(scale);
        is_whole.then_some(*scale as u8)
    };
    let factors: Option<Vec<u8>> = rest.iter().map(factor).collect();
    match factors {
        Some(factors) if [*batch, *channels] == [1.0; 2] && factors.len() + 1 == dims.len() => {
            Ok(factors)
        }
        Some(_) | None => unsupported(format!("its scales are {scales:?}: {whole}")),
    }
}

/// The size that is wanted of one that is there, as a factor.
fn ratio((wanted, size): (&Int, &usize)) -> Option<f32> {
    match wanted {
        Int::Known(wanted) => Some(*wanted as f32 / *size as f32),
        Int::Batch => None,
    }
}

/// Tile along a dimension of 1 behind the rows or the columns: every row or every pixel several times.
pub(super) fn tile<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let repeats = known(b, node, 1)?;
    let view = b.view_in_any_order(node, 0)?;
    let shape = b.layers.shape(view.tensor);
    let mut tiled = repeats
        .iter()
        .enumerate()
        .filter(|(_, repeats)| **repeats != 1);
    let (axis, count) = match (tiled.next(), tiled.next()) {
        (None, _) => return Ok(Value::Activation(view)),
        (Some((axis, count)), None) if axis > 0 && repeats.len() == view.dims.len() + 1 => {
            (axis - 1, u8::try_from(*count).unwrap_or(0))
        }
        (Some(_), _) => return unsupported(format!("it repeats {repeats:?} times")),
    };
    let before: usize = view.dims[..axis].iter().product();
    let channels = match view.order {
        Order::ChannelsFirst => usize::from(shape.c),
        Order::ChannelsLast => 1,
    };
    let [h, w] = [shape.h, shape.w].map(usize::from);
    let times = usize::from(count);
    let (block, sizes) = if before == channels * h * w {
        ([1, count], [h, w * times])
    } else if before == channels * h {
        ([count, 1], [h * times, w])
    } else {
        ([0; 2], [0; 2])
    };
    if view.dims[axis] != 1 || block.contains(&0) {
        let dims = dims_text(&view.dims);
        return unsupported(format!("it repeats dimension {} of {dims}", axis + 1));
    }
    let of = Rearrangement::repeat(shape, block);
    let [h, w] = sizes;
    let tensor = rearranged(b, &view, Some(of), [h, w, shape.c.into()])?.tensor;
    let mut view = View { tensor, ..view };
    view.dims[axis] = times;
    Ok(Value::Activation(view))
}

/// Slice of a constant, or forward of a tensor.
pub(super) fn slice<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    if matches!(b.value(node, 0)?, Value::Const(_)) {
        return fold::slice(b, node);
    }
    let list = |b: &mut Builder<'a>, name, index| ints_or_input(b, node, name, index);
    let starts = list(b, "starts", 1)?.unwrap_or_default();
    let ends = list(b, "ends", 2)?.unwrap_or_default();
    let all = || (0..starts.len() as i64).collect();
    let axes = list(b, "axes", 3)?.unwrap_or_else(all);
    let steps = list(b, "steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(node
            .bad_attribute("starts", "as long as ends, axes and steps")
            .into());
    }
    let view = b.view_in_any_order(node, 0)?;
    let mut parts: Vec<Part> = view.dims.iter().map(|len| Part::whole(*len)).collect();
    for (i, given) in axes.iter().enumerate() {
        let axis = axis(*given, view.dims.len() + 1)?;
        let part = match axis.checked_sub(1) {
            Some(axis) => Part::of(view.dims[axis], starts[i], ends[i], steps[i])?,
            None if starts[i] == 0 && steps[i] == 1 && ends[i] >= i64::from(i32::MAX) => continue,
            None => return unsupported("it slices the batch"),
        };
        parts[axis - 1] = part;
    }
    Ok(Value::Activation(sliced(b, &view, &parts)?))
}

/// Elements of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    start: usize,
    step: usize,
    len: usize,
}

impl Part {
    /// All of so many.
    const fn whole(len: usize) -> Self {
        Self {
            start: 0,
            step: 1,
            len,
        }
    }

    /// Those that a Slice takes of so many.
    fn of(size: usize, start: i64, end: i64, step: i64) -> Result<Self, Fault> {
        let Some(forward) = usize::try_from(step).ok().filter(|step| *step > 0) else {
            return unsupported(format!("its step is {step}, only forward is supported"));
        };
        let place = |value| from_start(value, size as i64).clamp(0, size as i64) as usize;
        let (start, end) = (place(start), place(end));
        match end.saturating_sub(start) {
            0 => unsupported("it takes no elements"),
            len => Ok(Self {
                start,
                step: forward,
                len: len.div_ceil(forward),
            }),
        }
    }
}

/// Parts of the dimensions of a view.
fn sliced(b: &mut Builder<'_>, view: &View, parts: &[Part]) -> Result<View, Fault> {
    let whole = view.dims.iter().map(|len| Part::whole(*len));
    if whole.eq(parts.iter().copied()) {
        return Ok(view.clone());
    }
    let shape = b.layers.shape(view.tensor);
    let is_last = view.order == Order::ChannelsLast;
    if is_last && !view.is_own(shape) {
        return unsupported(format!("it slices {}", dims_text(&view.dims)));
    }
    let view = match is_last {
        true => view.clone(),
        false => View {
            tensor: b.layers.materialize(view)?,
            ..view.clone()
        },
    };
    let shape = b.layers.shape(view.tensor);
    // of the rows, the columns and the channels
    let one = Part::whole(1);
    let [rows, columns, channels] = match (parts, is_last) {
        ([f], _) => [one, one, *f],
        ([c, l], false) | ([l, c], true) => [*l, one, *c],
        ([c, h, w], false) | ([h, w, c], true) => [*h, *w, *c],
        _ => return unsupported(format!("it slices {}", dims_text(&view.dims))),
    };
    let all = [rows, columns, channels];
    let number = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    let output = Shape::new(
        dimension(rows.len)?,
        dimension(columns.len)?,
        dimension(channels.len)?,
    );
    let starts = all.map(|part| number(part.start));
    // of one element there is no next one
    let steps = all.map(|part| if part.len == 1 { 1 } else { number(part.step) });
    let of = Rearrangement::slice(shape, starts, steps, output);
    let sizes = all.map(|part| part.len);
    let found = View {
        dims: parts.iter().map(|part| part.len).collect(),
        ..rearranged(b, &view, of, sizes)?
    };
    Ok(found.in_order(view.order, output))
}

/// The first columns of an image, channels first.
pub(super) fn cut(b: &mut Builder<'_>, view: &View, columns: usize) -> Result<View, Fault> {
    let mut parts: Vec<Part> = view.dims.iter().map(|len| Part::whole(*len)).collect();
    if let Some(last) = parts.last_mut() {
        last.len = columns;
    }
    sliced(b, view, &parts)
}

/// Split along one dimension.
pub(super) fn split<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let view = b.view_in_any_order(node, 0)?;
    let axis = axis(node.int("axis", 0)?, view.dims.len() + 1)?;
    let Some(axis) = axis.checked_sub(1) else {
        return unsupported("it splits the batch");
    };
    let size = view.dims[axis];
    let count = node.outputs().len();
    let lens = match ints_or_input(b, node, "split", 1)? {
        Some(lens) => lens
            .iter()
            .map(|len| usize::try_from(*len).unwrap_or(0))
            .collect(),
        None => {
            let most = size.div_ceil(count);
            let left = |i: usize| size.saturating_sub(i * most).min(most);
            (0..count).map(left).collect::<Vec<_>>()
        }
    };
    if lens.len() != count || lens.iter().sum::<usize>() != size || lens.contains(&0) {
        return unsupported(format!("it splits {size} elements into {lens:?}"));
    }
    let mut start = 0;
    let mut values = Vec::new();
    for len in lens {
        let mut parts: Vec<Part> = view.dims.iter().map(|len| Part::whole(*len)).collect();
        parts[axis] = Part {
            start,
            step: 1,
            len,
        };
        // what nothing reads is no layer
        values.push(match b.is_read(node, values.len()) {
            true => Value::Activation(sliced(b, &view, &parts)?),
            false => Value::Missing,
        });
        start += len;
    }
    b.give_further(values.split_off(1));
    Ok(values.remove(0))
}

//! Nodes that are computed from constants and shapes alone.

use std::rc::Rc;

use super::arguments::{MAX_INTEGERS, axis, from_start, ints_or_input, known};
use super::arithmetic::Arithmetic;
use super::builder::Builder;
use super::error::{Fault, unsupported};
use super::node::Node;
use super::tensor::{Data, Int, Tensor};
use super::value::Value;

fn constant_value(tensor: Tensor) -> Result<Value, Fault> {
    Ok(Value::Const(Rc::new(tensor)))
}

/// Constant.
pub(super) fn constant<'a>(_: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let floats = |dims, values: &[f32]| Tensor {
        dims,
        data: Data::Float(values.into()),
    };
    let int = |value: &i64| Int::Known(*value);
    let tensor = if let Some(proto) = node.tensor("value")? {
        let output = node.outputs().first().map_or("", String::as_str);
        Tensor::decode(&node.label, output, proto)?
    } else if node.has("value_float") {
        floats(vec![], &[node.float("value_float", 0.0)?])
    } else if let Some(values) = node.floats("value_floats")? {
        floats(vec![values.len()], values)
    } else if node.has("value_int") {
        Tensor {
            dims: vec![],
            data: Data::Int([Int::Known(node.int("value_int", 0)?)].into()),
        }
    } else if let Some(values) = node.ints("value_ints")? {
        Tensor::ints(values.iter().map(int).collect::<Vec<Int>>())
    } else {
        return unsupported("it is neither a tensor nor numbers");
    };
    constant_value(tensor)
}

/// The vector of integers that input `index` is.
fn shape_vector<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    index: usize,
) -> Result<Rc<[Int]>, Fault> {
    match b.value(node, index)? {
        Value::Const(tensor) => match &tensor.data {
            Data::Int(values) if tensor.dims.len() <= 1 => Ok(Rc::clone(values)),
            Data::Int(_) | Data::Float(_) => unsupported("it is supported for shapes only"),
        },
        Value::Activation(_) => unsupported("it is supported for shapes only"),
        Value::Missing => Err(Fault::Upstream),
    }
}

/// Gather from a shape.
pub(super) fn gather<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let values = shape_vector(b, node, 0)?;
    if axis(node.int("axis", 0)?, 1)? != 0 {
        return unsupported("it is supported for shapes only");
    }
    let is_scalar = b.constant(node, 1)?.dims.is_empty();
    let mut gathered = Vec::new();
    for index in known(b, node, 1)? {
        gathered.push(values[axis(index, values.len())?]);
    }
    let mut tensor = Tensor::ints(gathered);
    if is_scalar {
        tensor.dims.clear();
    }
    constant_value(tensor)
}

/// Concat of shapes.
pub(super) fn concat<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let mut values = Vec::new();
    for index in 0..node.inputs().len() {
        values.extend_from_slice(&shape_vector(b, node, index)?);
        if values.len() > MAX_INTEGERS {
            return unsupported("it makes a shape of too many dimensions");
        }
    }
    constant_value(Tensor::ints(values))
}

/// ConstantOfShape, of so few elements that they can be a shape or a padding.
pub(super) fn constant_of_shape<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let value = match node.tensor("value")? {
        Some(proto) => Tensor::decode(&node.label, "value", proto)?.data,
        None => Data::Float([0.0].into()),
    };
    let sizes = known(b, node, 0)?;
    let dims: Option<Vec<usize>> = sizes.iter().map(|d| usize::try_from(*d).ok()).collect();
    let len = |dims: &Vec<usize>| dims.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
    let small = dims.and_then(|dims| Some((len(&dims).filter(|len| *len <= MAX_INTEGERS)?, dims)));
    let Some((len, dims)) = small else {
        return unsupported("it is supported for shapes only");
    };
    let data = match value {
        Data::Int(values) if values.len() == 1 => Data::Int(vec![values[0]; len].into()),
        Data::Float(values) if values.len() == 1 => Data::Float(vec![values[0]; len].into()),
        Data::Int(_) | Data::Float(_) => {
            return Err(node.bad_attribute("value", "one number").into());
        }
    };
    constant_value(Tensor { dims, data })
}

/// Slice of a shape, or of the rows of constant integers: inputs since operator set 10, attributes before.
pub(super) fn slice<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let only = || unsupported("it is supported for shapes only");
    let tensor = match b.value(node, 0)? {
        Value::Const(tensor) => tensor,
        Value::Activation(_) => return only(),
        Value::Missing => return Err(Fault::Upstream),
    };
    let Data::Int(values) = &tensor.data else {
        return only();
    };
    let mut given = [None, None, None, None];
    for ((index, name), given) in (1..)
        .zip(["starts", "ends", "axes", "steps"])
        .zip(&mut given)
    {
        *given = ints_or_input(b, node, name, index)?;
    }
    let one = |list: &Option<Vec<i64>>, default: i64| match list.as_deref() {
        None => Some(default),
        Some([value]) => Some(*value),
        Some(_) => None,
    };
    let mut dims = if tensor.dims.is_empty() {
        vec![values.len()]
    } else {
        tensor.dims.clone()
    };
    let rows = dims[0];
    let len = rows as i64;
    let [starts, ends, axes, steps] = &given;
    let is_first = one(axes, 0).is_some_and(|axis| axis == 0 || axis == -(dims.len() as i64));
    let step = one(steps, 1).filter(|step| *step != 0 && is_first);
    let (Some(start), Some(end), Some(step)) = (one(starts, 0), one(ends, len), step) else {
        return unsupported("only slices of the first dimension are supported");
    };
    // backward, the first place may be the last one, and the end the one before the first
    let range = if step > 0 { 0..=len } else { -1..=len - 1 };
    let place = |value| from_start(value, len).clamp(*range.start(), *range.end());
    let (mut at, end) = (place(start), place(end));
    let width = values.len().checked_div(rows).unwrap_or(0);
    let mut part = Vec::new();
    dims[0] = 0;
    while if step > 0 { at < end } else { at > end } {
        part.extend_from_slice(&values[at as usize * width..][..width]);
        dims[0] += 1;
        at = at.saturating_add(step);
    }
    let data = Data::Int(part.into());
    constant_value(Tensor { dims, data })
}

/// The operation on integers, element by element; one operand may be a single number.
pub(super) fn arithmetic(
    operation: Arithmetic,
    left: &Tensor,
    right: &Tensor,
) -> Result<Value, Fault> {
    let (Data::Int(a), Data::Int(b)) = (&left.data, &right.data) else {
        return unsupported("both its inputs are constants: export with constant folding");
    };
    let (dims, len) = if a.len() == 1 && right.dims.len() >= left.dims.len() {
        (&right.dims, b.len())
    } else {
        (&left.dims, a.len())
    };
    let fits = |tensor: &Tensor| tensor.len() == 1 || &tensor.dims == dims;
    if !fits(left) || !fits(right) || len > MAX_INTEGERS {
        return unsupported("its inputs are constants of different shapes");
    }
    let at = |values: &[Int], i: usize| values[if values.len() == 1 { 0 } else { i }];
    let results: Option<Vec<Int>> = (0..len)
        .map(|i| compute(operation, at(a, i), at(b, i)))
        .collect();
    match results {
        Some(results) => constant_value(Tensor {
            dims: dims.clone(),
            data: Data::Int(results.into()),
        }),
        None => unsupported("it computes a shape that depends on the batch size, or overflows"),
    }
}

fn compute(operation: Arithmetic, left: Int, right: Int) -> Option<Int> {
    match (operation, left, right) {
        (Arithmetic::Add, Int::Known(a), Int::Known(b)) => a.checked_add(b).map(Int::Known),
        (Arithmetic::Sub, Int::Known(a), Int::Known(b)) => a.checked_sub(b).map(Int::Known),
        (Arithmetic::Mul, Int::Known(a), Int::Known(b)) => a.checked_mul(b).map(Int::Known),
        (Arithmetic::Div, Int::Known(a), Int::Known(b)) => a.checked_div(b).map(Int::Known),
        (Arithmetic::Add | Arithmetic::Sub, Int::Batch, Int::Known(0))
        | (Arithmetic::Mul | Arithmetic::Div, Int::Batch, Int::Known(1))
        | (Arithmetic::Add, Int::Known(0), Int::Batch)
        | (Arithmetic::Mul, Int::Known(1), Int::Batch) => Some(Int::Batch),
        (Arithmetic::Div, Int::Batch, Int::Batch) => Some(Int::Known(1)),
        (Arithmetic::Add | Arithmetic::Sub | Arithmetic::Mul | Arithmetic::Div, _, _) => None,
    }
}

/// The tensor with other dimensions of the same product.
pub(super) fn with_dims(tensor: &Tensor, dims: Vec<usize>) -> Result<Value, Fault> {
    let data = tensor.data.clone();
    constant_value(Tensor { dims, data })
}

/// Reshape of a constant.
pub(super) fn reshape(tensor: &Tensor, target: &[Int]) -> Result<Value, Fault> {
    let failed = || unsupported("it reshapes a constant to another number of elements");
    let mut dims = Vec::new();
    let mut inferred = None;
    for (i, size) in target.iter().take(MAX_INTEGERS).enumerate() {
        dims.push(match size {
            Int::Known(-1) if inferred.is_none() => {
                inferred = Some(i);
                1
            }
            Int::Known(0) => tensor.dims.get(i).copied().unwrap_or(0),
            Int::Known(size) => usize::try_from(*size).unwrap_or(0),
            Int::Batch => 0,
        });
    }
    let Some(product) = dims.iter().try_fold(1_usize, |n, d| n.checked_mul(*d)) else {
        return failed();
    };
    if let Some(i) = inferred {
        dims[i] = tensor.len().checked_div(product).unwrap_or(0);
    }
    let len = dims.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
    if len != Some(tensor.len()) || target.len() > MAX_INTEGERS {
        return failed();
    }
    with_dims(tensor, dims)
}

/// Squeeze of a constant; without axes, of all dimensions of 1.
pub(super) fn squeeze(tensor: &Tensor, axes: Option<&[i64]>) -> Result<Value, Fault> {
    let rank = tensor.dims.len();
    let mut removed: Vec<bool> = tensor.dims.iter().map(|d| *d == 1).collect();
    if let Some(axes) = axes {
        let ones = std::mem::replace(&mut removed, vec![false; rank]);
        for value in axes {
            let axis = axis(*value, rank)?;
            if !ones[axis] {
                return unsupported(format!("it removes a dimension of {}", tensor.dims[axis]));
            }
            removed[axis] = true;
        }
    }
    let kept = tensor
        .dims
        .iter()
        .zip(removed)
        .filter(|(_, removed)| !removed);
    with_dims(tensor, kept.map(|(d, _)| *d).collect())
}

/// The dimensions with a 1 at each of the axes, which count in the result.
pub(super) fn unsqueezed(dims: &[usize], axes: &[i64]) -> Result<Vec<usize>, Fault> {
    let rank = dims.len() + axes.len();
    if rank > MAX_INTEGERS {
        return unsupported(format!("it makes a tensor of {rank} dimensions"));
    }
    let mut is_new = vec![false; rank];
    for value in axes {
        is_new[axis(*value, rank)?] = true;
    }
    if is_new.iter().filter(|new| **new).count() != axes.len() {
        return unsupported("it adds a dimension twice");
    }
    let mut old = dims.iter().copied();
    let next = |new: bool| if new { Some(1) } else { old.next() };
    Ok(is_new.into_iter().filter_map(next).collect())
}

/// Transpose of a constant matrix.
pub(super) fn transpose(tensor: &Tensor, permutation: &[usize]) -> Result<Value, Fault> {
    match (&tensor.dims[..], permutation) {
        ([rows, columns], [1, 0]) if tensor.len() > 0 => constant_value(Tensor {
            dims: vec![*columns, *rows],
            data: match &tensor.data {
                Data::Float(values) => Data::Float(transposed(values, *columns).into()),
                Data::Int(values) => Data::Int(transposed(values, *columns).into()),
            },
        }),
        _ if permutation.is_sorted() => with_dims(tensor, tensor.dims.clone()),
        _ => unsupported("of constants, only matrices can be transposed"),
    }
}

/// A matrix of so many columns, column by column.
fn transposed<T: Copy>(values: &[T], columns: usize) -> Vec<T> {
    let column = |c: usize| values.iter().skip(c).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}

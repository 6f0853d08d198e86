//! Constants, as real numbers or integers.

use super::error::TfliteError;
use super::flat::{Number, Table};
use super::model::Model;
use super::names;
use crate::import::onnx::half;

/// The most channels that have scales of their own.
const MOST_SCALES: usize = 1 << 16;

/// The elements of a constant.
pub(super) enum Data {
    Real(Vec<f32>),
    Integer(Vec<i64>),
}

/// The elements of the constant `tensor`; quantized ones are dequantized: real = scale · (q − zero point).
pub(super) fn decode(model: &Model<'_>, tensor: usize) -> Result<Data, TfliteError> {
    let data = model.data(tensor)?;
    let tensor = &model.tensors[tensor];
    let kind = names::kind(tensor.kind);
    let len = tensor.len().unwrap_or(usize::MAX);
    let not = |expected| TfliteError::TensorType {
        tensor: tensor.name.clone(),
        found: kind.clone(),
        expected,
    };
    if tensor.is_sparse {
        return Err(not("one that stores all elements"));
    }
    let expected = match kind.as_str() {
        "INT4" => len.div_ceil(2),
        "BOOL" | "INT8" | "UINT8" => len,
        "BFLOAT16" | "FLOAT16" | "INT16" => len.saturating_mul(2),
        "FLOAT32" | "INT32" => len.saturating_mul(4),
        "FLOAT64" | "INT64" => len.saturating_mul(8),
        _ => return Err(not("floating point, BOOL, or integers of 4 to 64 bits")),
    };
    if data.len() != expected {
        return Err(TfliteError::TensorBytes {
            tensor: tensor.name.clone(),
            expected,
            found: data.len(),
        });
    }
    let integers: Vec<i64> = match kind.as_str() {
        "FLOAT32" => return Ok(Data::Real(numbers(data).collect())),
        "FLOAT64" => return Ok(Data::Real(numbers(data).map(|x: f64| x as f32).collect())),
        "FLOAT16" => return Ok(Data::Real(numbers(data).map(half).collect())),
        "BFLOAT16" => {
            let widen = |bits: u16| f32::from_bits(u32::from(bits) << 16);
            return Ok(Data::Real(numbers(data).map(widen).collect()));
        }
        "INT4" => nibbles(data, len),
        "INT8" => numbers::<i8>(data).map(i64::from).collect(),
        "BOOL" | "UINT8" => numbers::<u8>(data).map(i64::from).collect(),
        "INT16" => numbers::<i16>(data).map(i64::from).collect(),
        "INT32" => numbers::<i32>(data).map(i64::from).collect(),
        _ => numbers(data).collect(),
    };
    let affine = tensor.quantization.as_ref().map(Affine::read).transpose()?;
    let Some(affine) = affine.flatten() else {
        return Ok(Data::Integer(integers));
    };
    let values = affine.real(&tensor.dims, &integers);
    let values = values.map_err(|found| TfliteError::Quantization {
        tensor: tensor.name.clone(),
        found,
    })?;
    Ok(Data::Real(values))
}

/// All numbers of the data.
fn numbers<T: Number + 'static>(data: &[u8]) -> impl Iterator<Item = T> + '_ {
    data.chunks_exact(T::BYTES).filter_map(T::read)
}

/// Integers of 4 bits, two in a byte, the first one in the lower half.
fn nibbles(data: &[u8], len: usize) -> Vec<i64> {
    let halves = data.iter().flat_map(|byte| [byte << 4, *byte]);
    let signed = halves.map(|half| i64::from(half.cast_signed() >> 4));
    signed.take(len).collect()
}

/// Scales and zero points of a tensor, or of each of its slices along one dimension.
struct Affine {
    scales: Vec<f32>,
    zero_points: Vec<i64>,
    dimension: usize,
}

impl Affine {
    /// `None` where the table has no scale, as that of a tensor that is not quantized.
    fn read(table: &Table<'_>) -> Result<Option<Self>, TfliteError> {
        let scales: Vec<f32> = table.numbers(2, MOST_SCALES)?;
        let zero_points = table.numbers(3, MOST_SCALES)?;
        let dimension = usize::try_from(table.number(6, 0_i32)?).unwrap_or(usize::MAX);
        Ok((!scales.is_empty()).then_some(Self {
            scales,
            zero_points,
            dimension,
        }))
    }

    /// The real numbers that the integers of a tensor stand for.
    fn real(&self, dims: &[i64], integers: &[i64]) -> Result<Vec<f32>, &'static str> {
        let count = self.scales.len();
        let zero_point = match self.zero_points.len() {
            0 => |_: &[i64], _| 0,
            1 => |zero_points: &[i64], _| zero_points[0],
            len if len == count => |zero_points: &[i64], slice: usize| zero_points[slice],
            _ => return Err("another number of zero points than of scales"),
        };
        let usable = |scale: &f32| scale.is_finite() && *scale >= 0.0;
        if !self.scales.iter().all(usable) {
            return Err("a scale that is not finite or negative");
        }
        // elements in a row that have one scale
        let mut run = integers.len();
        if count > 1 {
            if dims.get(self.dimension) != Some(&(count as i64)) {
                return Err("another number of scales than the tensor has slices");
            }
            let inner = dims[self.dimension + 1..].iter().product::<i64>();
            run = usize::try_from(inner).unwrap_or(0);
        }
        let value = |(i, q): (usize, &i64)| {
            let slice = i.checked_div(run).unwrap_or(0) % count;
            let steps = q.saturating_sub(zero_point(&self.zero_points, slice));
            self.scales[slice] * steps as f32
        };
        Ok(integers.iter().enumerate().map(value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nibbles_are_signed_and_the_lower_one_comes_first() {
        assert_eq!(nibbles(&[0x71, 0x8f, 0x0e], 5), [1, 7, -1, -8, -2]);
    }

    #[test]
    fn slices_have_scales_and_zero_points_of_their_own() {
        let affine = |scales: &[f32], zero_points: &[i64], dimension| Affine {
            scales: scales.to_vec(),
            zero_points: zero_points.to_vec(),
            dimension,
        };
        let integers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
        let one = affine(&[0.5], &[2], 0).real(&[2, 3, 2], &integers);
        let expected: Vec<f32> = integers.iter().map(|q| 0.5 * (q - 2) as f32).collect();
        assert_eq!(one, Ok(expected));
        // scale · (q − zero point), of the slices 0, 1, 2 of the dimension in the middle
        let middle = affine(&[1.0, 2.0, 4.0], &[0, 1, 2], 1).real(&[2, 3, 2], &integers);
        let expected = [0, 1, 2, 4, 8, 12, 6, 7, 14, 16, 32, 36].map(|x| x as f32);
        assert_eq!(middle, Ok(expected.to_vec()));
        let without = affine(&[1.0, 2.0, 4.0], &[], 1).real(&[2, 3, 2], &integers);
        let expected = [0, 1, 4, 6, 16, 20, 6, 7, 16, 18, 40, 44].map(|x| x as f32);
        assert_eq!(without, Ok(expected.to_vec()));
        for wrong in [
            affine(&[1.0, 2.0], &[0, 0], 1),
            affine(&[1.0; 3], &[0, 0], 1),
            affine(&[1.0; 3], &[0; 3], 3),
            affine(&[f32::NAN], &[0], 0),
            affine(&[-1.0], &[0], 0),
        ] {
            assert!(wrong.real(&[2, 3, 2], &integers).is_err());
        }
    }
}

//! Constants: initializers and what is computed from them.

use std::rc::Rc;

use rten_onnx::onnx::{DataLocation, DataType, TensorProto};

use super::error::OnnxError;
use super::external;

/// A constant tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) dims: Vec<usize>,
    pub(super) data: Data,
}

/// The elements of a [`Tensor`], as many as its dimensions say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Float(Rc<[f32]>),
    Int(Rc<[Int]>),
}

/// An integer in a computation of shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Int {
    Known(i64),
    /// The batch size.
    Batch,
}

impl Tensor {
    /// A vector of integers.
    pub(super) fn ints(values: impl Into<Rc<[Int]>>) -> Self {
        let data: Rc<[Int]> = values.into();
        Self {
            dims: vec![data.len()],
            data: Data::Int(data),
        }
    }

    /// The tensor in the file; `reader` is the node that asks for it.
    pub(super) fn decode(reader: &str, name: &str, proto: &TensorProto) -> Result<Self, OnnxError> {
        if proto.data_location == Some(DataLocation::EXTERNAL) {
            return Err(OnnxError::ExternalData {
                tensor: name.to_owned(),
                location: external::location(proto),
            });
        }
        let (dims, len) = checked_dims(name, &proto.dims)?;
        let source = Source { name, proto, len };
        let data = match proto.data_type.unwrap_or(DataType(0)) {
            DataType::FLOAT => source.floats(&proto.float_data, |x| x, f32::from_le_bytes)?,
            DataType::DOUBLE => {
                let narrow = |x: f64| x as f32;
                source.floats(&proto.double_data, narrow, |b| {
                    narrow(f64::from_le_bytes(b))
                })?
            }
            DataType::FLOAT16 => {
                let widen = |x: i32| half(x as u16);
                source.floats(&proto.int32_data, widen, |b| half(u16::from_le_bytes(b)))?
            }
            DataType::BFLOAT16 => {
                let widen = |bits: u16| f32::from_bits(u32::from(bits) << 16);
                let from_le_bytes = |b| widen(u16::from_le_bytes(b));
                source.floats(&proto.int32_data, |x| widen(x as u16), from_le_bytes)?
            }
            DataType::INT64 => source.integers(&proto.int64_data, |x| x, i64::from_le_bytes)?,
            DataType::INT32 => {
                let from_le_bytes = |b| i64::from(i32::from_le_bytes(b));
                source.integers(&proto.int32_data, i64::from, from_le_bytes)?
            }
            DataType::BOOL => {
                source.integers(&proto.int32_data, i64::from, |b: [u8; 1]| i64::from(b[0]))?
            }
            other => {
                return Err(OnnxError::TensorType {
                    node: reader.to_owned(),
                    tensor: name.to_owned(),
                    expected: "floating point or INT64",
                    found: other.to_string(),
                });
            }
        };
        Ok(Self { dims, data })
    }

    /// The number of elements.
    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Float(values) => values.len(),
            Data::Int(values) => values.len(),
        }
    }

    /// The type of its elements, for messages.
    pub(super) const fn type_name(&self) -> &'static str {
        match self.data {
            Data::Float(_) => "floating point",
            Data::Int(_) => "integer",
        }
    }
}

/// The dimensions as sizes, and the number of elements.
fn checked_dims(name: &str, dims: &[i64]) -> Result<(Vec<usize>, usize), OnnxError> {
    let sizes: Option<Vec<usize>> = dims.iter().map(|d| usize::try_from(*d).ok()).collect();
    sizes
        .and_then(|sizes| {
            let len = sizes.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))?;
            Some((sizes, len))
        })
        .ok_or_else(|| OnnxError::TensorDims {
            tensor: name.to_owned(),
            dims: dims.to_vec(),
        })
}

/// The data of a tensor, in its raw or its typed field.
struct Source<'a> {
    name: &'a str,
    proto: &'a TensorProto,
    len: usize,
}

impl Source<'_> {
    fn floats<T: Copy, const N: usize>(
        &self,
        typed: &[T],
        convert: impl Fn(T) -> f32,
        from_le_bytes: impl Fn([u8; N]) -> f32,
    ) -> Result<Data, OnnxError> {
        let values = self.read(typed, convert, from_le_bytes)?;
        Ok(Data::Float(values.into()))
    }

    fn integers<T: Copy, const N: usize>(
        &self,
        typed: &[T],
        convert: impl Fn(T) -> i64,
        from_le_bytes: impl Fn([u8; N]) -> i64,
    ) -> Result<Data, OnnxError> {
        let convert = |x| Int::Known(convert(x));
        let values = self.read(typed, convert, |b| Int::Known(from_le_bytes(b)))?;
        Ok(Data::Int(values.into()))
    }

    fn read<T: Copy, U, const N: usize>(
        &self,
        typed: &[T],
        convert: impl Fn(T) -> U,
        from_le_bytes: impl Fn([u8; N]) -> U,
    ) -> Result<Vec<U>, OnnxError> {
        match &self.proto.raw_data {
            Some(raw) => {
                let raw = raw.borrow();
                let (elements, rest) = raw.as_chunks::<N>();
                self.expect(self.len.saturating_mul(N), elements.len() * N + rest.len())?;
                Ok(elements.iter().map(|b| from_le_bytes(*b)).collect())
            }
            None => {
                self.expect(self.len, typed.len())?;
                Ok(typed.iter().map(|x| convert(*x)).collect())
            }
        }
    }

    fn expect(&self, expected: usize, found: usize) -> Result<(), OnnxError> {
        if expected == found {
            return Ok(());
        }
        Err(OnnxError::TensorSize {
            tensor: self.name.to_owned(),
            expected,
            found,
        })
    }
}

/// The value of an IEEE 754 half-precision number.
pub(in crate::import) fn half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits) & 0x3ff;
    match exponent {
        0 => f32::from_bits(sign | 0x3f80_0000) * fraction as f32 / 16_777_216.0,
        31 => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
    }
}

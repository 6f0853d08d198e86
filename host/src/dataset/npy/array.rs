//! One array in NumPy's `.npy` form: its header, checked against the size of the file, and its
//! elements.

use std::io::{self, Cursor};
use std::path::Path;

use npyz::{DType, Deserialize, NpyHeader, Order, TypeRead};

use super::source::Source;
use crate::dataset::DataError;

const MAGIC: &[u8] = b"\x93NUMPY";

/// The longest header that is parsed; NumPy's own reader draws the line there too.
const MAX_HEADER_BYTES: usize = 10_000;

/// `true` if a file that starts so is a `.npy`.
pub(in crate::dataset) fn is_npy(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

/// The element types that are read.
#[derive(Clone, Copy)]
enum Element {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

/// Elements, widened without loss.
pub(super) enum Values {
    Bytes(Vec<u8>),
    Integers(Vec<i128>),
    Floats(Vec<f64>),
}

/// A header whose array fits the file that it came from: all sizes below are within the file's.
pub(super) struct Array {
    dtype: DType,
    element: Element,
    pub(super) shape: Vec<u64>,
    /// Elements from one index to the next, per axis.
    pub(super) strides: Vec<u64>,
    pub(super) is_fortran: bool,
    pub(super) len: usize,
    pub(super) item_bytes: usize,
}

impl Array {
    /// The header at the start of `source`, which is left at the first element. `expected` names
    /// the element types for the error.
    pub(super) fn open(source: &mut Source, expected: &'static str) -> Result<Self, DataError> {
        let (bytes, header) = read_header(source)?;
        let Some(element) = Element::of(&header.dtype()) else {
            let found = header.dtype().descr();
            return Err(DataError::UnsupportedDtype {
                path: source.path.clone(),
                found,
                expected,
            });
        };
        let item_bytes = element.bytes();
        let data_bytes = header.len().saturating_mul(item_bytes as u64);
        let expected_bytes = data_bytes.saturating_add(bytes as u64);
        source.expect_bytes(expected_bytes)?;
        Ok(Self {
            dtype: header.dtype(),
            element,
            shape: header.shape().to_vec(),
            strides: header.strides().to_vec(),
            is_fortran: header.order() == Order::Fortran,
            len: header.len() as usize,
            item_bytes,
        })
    }

    /// `true` if the elements are integers.
    pub(super) fn is_integer(&self) -> bool {
        !matches!(self.element, Element::F32 | Element::F64)
    }

    /// `true` if the elements are unsigned bytes.
    pub(super) fn is_bytes(&self) -> bool {
        matches!(self.element, Element::U8)
    }

    /// NumPy's description of the element type.
    pub(super) fn dtype_name(&self) -> String {
        self.dtype.descr()
    }

    /// The elements in `bytes`, in their order there.
    pub(super) fn decode(&self, bytes: Vec<u8>, path: &Path) -> Result<Values, DataError> {
        let dtype = &self.dtype;
        let values = match self.element {
            Element::U8 => Ok(Values::Bytes(bytes)),
            Element::U16 => elements::<u16, _>(dtype, &bytes).map(Values::Integers),
            Element::U32 => elements::<u32, _>(dtype, &bytes).map(Values::Integers),
            Element::U64 => elements::<u64, _>(dtype, &bytes).map(Values::Integers),
            Element::I8 => elements::<i8, _>(dtype, &bytes).map(Values::Integers),
            Element::I16 => elements::<i16, _>(dtype, &bytes).map(Values::Integers),
            Element::I32 => elements::<i32, _>(dtype, &bytes).map(Values::Integers),
            Element::I64 => elements::<i64, _>(dtype, &bytes).map(Values::Integers),
            Element::F32 => elements::<f32, _>(dtype, &bytes).map(Values::Floats),
            Element::F64 => elements::<f64, _>(dtype, &bytes).map(Values::Floats),
        };
        values.map_err(|source| DataError::Io {
            path: path.into(),
            source,
        })
    }
}

impl Element {
    fn of(dtype: &DType) -> Option<Self> {
        let DType::Plain(plain) = dtype else {
            return None;
        };
        match plain.to_string().trim_start_matches(['<', '>', '|']) {
            "u1" => Some(Self::U8),
            "u2" => Some(Self::U16),
            "u4" => Some(Self::U32),
            "u8" => Some(Self::U64),
            "i1" => Some(Self::I8),
            "i2" => Some(Self::I16),
            "i4" => Some(Self::I32),
            "i8" => Some(Self::I64),
            "f4" => Some(Self::F32),
            "f8" => Some(Self::F64),
            _ => None,
        }
    }

    const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

fn elements<T, V>(dtype: &DType, bytes: &[u8]) -> io::Result<Vec<V>>
where
    T: Deserialize + Into<V>,
{
    let reader = T::reader(dtype).map_err(io::Error::other)?;
    let mut rest = bytes;
    (0..bytes.len() / size_of::<T>())
        .map(|_| reader.read_one(&mut rest).map(Into::into))
        .collect()
}

/// The header and its length in bytes, magic number included.
fn read_header(source: &mut Source) -> Result<(usize, NpyHeader), DataError> {
    let path = source.path.clone();
    let bad = |reason: String| DataError::NpyHeader {
        path: path.clone(),
        reason,
    };

    let mut bytes = source.read_up_to(MAGIC.len() + 2)?;
    if !is_npy(&bytes) {
        return Err(DataError::NotNpy {
            path,
            found: bytes.escape_ascii().to_string(),
        });
    }
    let length_bytes = match bytes.get(MAGIC.len()..) {
        Some([1, 0]) => 2,
        Some([2 | 3, 0]) => 4,
        Some([major, minor]) => {
            return Err(bad(format!(
                "version {major}.{minor}, expected 1.0, 2.0 or 3.0"
            )));
        }
        Some(_) | None => return Err(bad("the file ends before the version".into())),
    };
    let length = source.read_up_to(length_bytes)?;
    if length.len() < length_bytes {
        return Err(bad("the file ends before the header's length".into()));
    }
    let text_bytes = length
        .iter()
        .rev()
        .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    bytes.extend(length);
    if text_bytes > MAX_HEADER_BYTES {
        return Err(bad(format!(
            "{text_bytes} bytes long, expected at most {MAX_HEADER_BYTES}"
        )));
    }
    let text = source.read_up_to(text_bytes)?;
    if text.len() < text_bytes {
        return Err(bad(format!(
            "the file ends after {} of the header's {text_bytes} bytes",
            text.len()
        )));
    }
    check_text(&text).map_err(|reason| bad(reason.into()))?;
    bytes.extend(text);
    let header =
        NpyHeader::from_reader(Cursor::new(&bytes)).map_err(|error| bad(error.to_string()))?;
    Ok((bytes.len(), header))
}

/// Rejects what no header needs and the parser could overflow on: deep nesting, computed numbers,
/// sizes whose product is not a `u64`.
fn check_text(text: &[u8]) -> Result<(), &'static str> {
    const MAX_DEPTH: usize = 6;
    let mut quote = None;
    let mut depth = 0_usize;
    let mut word = Vec::new();
    let mut product = 1_u64;
    for &byte in text.iter().chain(b"\n") {
        if quote.is_some() {
            quote = quote.filter(|&open| open != byte);
            continue;
        }
        if byte.is_ascii_alphanumeric() {
            word.push(byte);
            continue;
        }
        match std::mem::take(&mut word).as_slice() {
            b"" | b"True" | b"False" => {}
            digits if digits.iter().all(u8::is_ascii_digit) => {
                let size = str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| digits.parse::<u64>().ok());
                let larger = size.and_then(|size| product.checked_mul(size.max(1)));
                product = larger.ok_or("the shape has more elements than can be counted")?;
            }
            _ => return Err("there is a word in it that is neither a number nor a truth value"),
        }
        match byte {
            b'\'' | b'"' => quote = Some(byte),
            b'(' | b'[' | b'{' if depth == MAX_DEPTH => return Err("it is nested too deeply"),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' | b' ' | b'\n' => {}
            _ => return Err("there is a character in it that does not belong there"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::dataset::DataError;
    use crate::dataset::testing::{Folder, load_fault, npy, npy_with_header};

    fn header_fault(bytes: &[u8]) -> DataError {
        let folder = Folder::new();
        load_fault(&folder.write("x.npy", bytes), [1, 1, 1])
    }

    fn reason(bytes: &[u8]) -> String {
        let error = header_fault(bytes);
        let DataError::NpyHeader { reason, .. } = error else {
            panic!("{error}")
        };
        reason
    }

    #[test]
    fn other_files_are_recognised() {
        for (bytes, found) in [
            (&b"1,2,3\n4"[..], "1,2,3\\n4"),
            (b"", ""),
            (b"\x93NUM", "\\x93NUM"),
        ] {
            let error = header_fault(bytes);
            let DataError::NotNpy { found: start, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!(start, found);
        }
    }

    #[test]
    fn bad_headers_are_named() {
        assert!(reason(b"\x93NUMPY\x01").contains("before the version"));
        assert!(reason(b"\x93NUMPY\x09\x00\x10\x00").contains("version 9.0"));
        assert!(reason(b"\x93NUMPY\x01\x00\x10\x00{'de").contains("after 4 of the header's 16"));
        assert!(reason(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").contains("4294967295 bytes long"));
        assert!(reason(b"\x93NUMPY\x01\x00\x10").contains("before the header's length"));
        assert!(reason(b"\x93NUMPY\x01\x00\x00\x00").contains("parse"));
        for (header, expected) in [
            ("{'descr': '|u1', 'fortran_order': False}", "shape"),
            ("{'descr': '|u1', 'shape': (1,)}", "fortran_order"),
            (
                "{'descr': 7, 'fortran_order': False, 'shape': (1,)}",
                "string",
            ),
            (
                "{'descr': '<u3', 'fortran_order': False, 'shape': (1,)}",
                "size",
            ),
            (
                "{'descr': '|u1', 'fortran_order': False, 'shape': 1}",
                "shape",
            ),
            (
                "{'descr': '|u1', 'fortran_order': 1, 'shape': (1,)}",
                "bool",
            ),
            (
                "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
                "character",
            ),
            (
                "{'descr': '|u1', 'fortran_order': False, 'shape': (0x1,)}",
                "word",
            ),
            (
                "{'descr': '|u1', 'fortran_order': False, 'shape': (9+9,)}",
                "character",
            ),
            ("((((((((((((((((", "nested"),
            ("{'descr': '|u1", "parse"),
            ("\u{e4}", "character"),
            ("[1]", "dict"),
        ] {
            let reason = reason(&npy_with_header(header, &[7]));
            assert!(reason.contains(expected), "{header}: {reason}");
        }
    }

    #[test]
    fn sizes_are_not_believed() {
        let huge = u64::MAX.to_string();
        for shape in [
            "(4294967296, 4294967296)",
            "(18446744073709551616,)",
            "(0, 9999999999, 9999999999)",
        ] {
            assert!(
                reason(&npy("'|u1'", false, shape, &[])).contains("counted"),
                "{shape}"
            );
        }
        for descr in ["'|u1'", "'<f8'"] {
            let error = header_fault(&npy(descr, false, &format!("({huge}, 1, 1)"), &[]));
            assert!(matches!(error, DataError::FileSize { .. }));
        }
        let error = header_fault(&npy("'<f8'", false, "(3, 1, 1)", &[0; 20]));
        let DataError::FileSize {
            expected_bytes,
            found_bytes,
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!(expected_bytes - found_bytes, 4);
    }

    #[test]
    fn later_versions_are_read() {
        let folder = Folder::new();
        let first = npy("'|u1'", false, "(1, 1, 1)", &[7]);
        for version in [2, 3] {
            let mut bytes = first.clone();
            bytes[6] = version;
            bytes.splice(10..10, [0, 0]);
            let path = folder.write("x.npy", bytes);
            assert!(crate::dataset::load_input(&path, [1, 1, 1], 0).is_ok());
        }
    }

    #[test]
    fn other_element_types_are_named() {
        for (descr, found) in [
            ("'<f2'", "'<f2'"),
            ("'|b1'", "'|b1'"),
            ("'<c8'", "'<c8'"),
            ("'<U3'", "'<U3'"),
            ("'|O'", "'|O'"),
            ("[('a', '|u1')]", "[('a', '|u1'), ]"),
        ] {
            let error = header_fault(&npy(descr, false, "(1, 1, 1)", &[7]));
            let DataError::UnsupportedDtype { found: dtype, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!(dtype, found);
        }
    }
}

//! A bounds-checked reader of FlatBuffers (<https://flatbuffers.dev/internals/>): tables, vectors and texts of a file
//! that may be damaged or hostile.

/// The first fault in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlatFault {
    /// Position in the file.
    pub(super) offset: usize,
    /// The fault.
    pub(super) reason: &'static str,
}

/// A table: fields by their numbers, each of which may be left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    /// Position of the table.
    at: usize,
    /// The offsets of its fields.
    vtable: &'a [u8],
}

/// Texts are cut off after this many bytes.
const MOST_TEXT: usize = 256;

/// A number, as FlatBuffers store it: little-endian.
pub(super) trait Number: Copy + PartialEq {
    /// The number at the start of `bytes`, which has all of it.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// Bytes that it takes.
    const BYTES: usize = size_of::<Self>();
}

macro_rules! number {
    ($($number:ty),+) => {$(
        impl Number for $number {
            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.first_chunk().map(|bytes| Self::from_le_bytes(*bytes))
            }
        }
    )+};
}

number!(u8, i8, u16, i16, i32, u32, i64, u64, f32, f64);

impl<'a> Table<'a> {
    /// The table that the file begins with.
    pub(super) fn root(bytes: &'a [u8]) -> Result<Self, FlatFault> {
        Self::new(bytes, follow(bytes, 0)?)
    }

    fn new(bytes: &'a [u8], at: usize) -> Result<Self, FlatFault> {
        let fault = |reason| FlatFault { offset: at, reason };
        let back: i32 = number(bytes, at)?;
        let vtable = i64::try_from(at).ok().map(|at| at - i64::from(back));
        let vtable = vtable.and_then(|vtable| usize::try_from(vtable).ok());
        let vtable = vtable.ok_or_else(|| fault("a table's fields lie before the file"))?;
        let len = usize::from(number::<u16>(bytes, vtable)?);
        if len < 4 || !len.is_multiple_of(2) {
            return Err(fault("a table's list of fields has an impossible length"));
        }
        let vtable = slice(bytes, vtable, len)?;
        Ok(Self { bytes, at, vtable })
    }

    /// Position of a field, if the table has it.
    fn field(&self, field: usize) -> Option<usize> {
        let offset = self.vtable.get(4 + 2 * field..)?;
        match u16::read(offset)? {
            0 => None,
            offset => Some(self.at + usize::from(offset)),
        }
    }

    /// A number, or its default where it is left out.
    pub(super) fn number<T: Number>(&self, field: usize, default: T) -> Result<T, FlatFault> {
        match self.field(field) {
            Some(at) => number(self.bytes, at),
            None => Ok(default),
        }
    }

    /// A table of its own.
    pub(super) fn table(&self, field: usize) -> Result<Option<Self>, FlatFault> {
        let at = self.field(field).map(|at| follow(self.bytes, at));
        let table = at.transpose()?.map(|at| Self::new(self.bytes, at));
        table.transpose()
    }

    /// A vector's length, and the position of its elements of `size` bytes each.
    fn vector(&self, field: usize, size: usize) -> Result<Option<(usize, usize)>, FlatFault> {
        let Some(at) = self.field(field) else {
            return Ok(None);
        };
        let at = follow(self.bytes, at)?;
        let len = number::<u32>(self.bytes, at)? as usize;
        slice(self.bytes, at + 4, len.saturating_mul(size))?;
        Ok(Some((len, at + 4)))
    }

    /// A vector of at most `most` numbers; empty where it is left out.
    pub(super) fn numbers<T: Number>(
        &self,
        field: usize,
        most: usize,
    ) -> Result<Vec<T>, FlatFault> {
        let Some((len, at)) = self.vector(field, T::BYTES)? else {
            return Ok(Vec::new());
        };
        check_len(at, len, most)?;
        (0..len)
            .map(|i| number(self.bytes, at + i * T::BYTES))
            .collect()
    }

    /// A vector of bytes; empty where it is left out.
    pub(super) fn bytes(&self, field: usize) -> Result<&'a [u8], FlatFault> {
        match self.vector(field, 1)? {
            Some((len, at)) => slice(self.bytes, at, len),
            None => Ok(&[]),
        }
    }

    /// The beginning of a text, with replacements for what is not UTF-8; empty where it is left out.
    pub(super) fn text(&self, field: usize) -> Result<String, FlatFault> {
        let bytes = self.bytes(field)?;
        let bytes = &bytes[..bytes.len().min(MOST_TEXT)];
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A vector of at most `most` tables; empty where it is left out.
    pub(super) fn tables(&self, field: usize, most: usize) -> Result<Vec<Self>, FlatFault> {
        let Some((len, at)) = self.vector(field, 4)? else {
            return Ok(Vec::new());
        };
        check_len(at, len, most)?;
        let table = |i| Self::new(self.bytes, follow(self.bytes, at + 4 * i)?);
        (0..len).map(table).collect()
    }
}

/// Checks that a list at `at` has at most `most` entries.
fn check_len(at: usize, len: usize, most: usize) -> Result<(), FlatFault> {
    if len > most {
        let reason = "a list has more entries than any model has there";
        return Err(FlatFault { offset: at, reason });
    }
    Ok(())
}

/// The position that an offset at `at` leads to.
fn follow(bytes: &[u8], at: usize) -> Result<usize, FlatFault> {
    Ok(at.saturating_add(number::<u32>(bytes, at)? as usize))
}

fn number<T: Number>(bytes: &[u8], at: usize) -> Result<T, FlatFault> {
    let bytes = bytes.get(at..).and_then(T::read);
    bytes.ok_or(FlatFault {
        offset: at,
        reason: BEYOND,
    })
}

fn slice(bytes: &[u8], at: usize, len: usize) -> Result<&[u8], FlatFault> {
    let end = at.saturating_add(len);
    bytes.get(at..end).ok_or(FlatFault {
        offset: at,
        reason: BEYOND,
    })
}

const BEYOND: &str = "it leads beyond the end";

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of two fields, a number and a vector of two numbers, and one field that it leaves out.
    const BYTES: [u8; 42] = [
        14, 0, 0, 0, 0, 0, // the table's position, and padding
        8, 0, 16, 0, 4, 0, 8, 0, // its fields: 4 bytes of lengths, two positions
        8, 0, 0, 0, 9, 0, 0, 0, // the table: back to its fields, and field 0
        4, 0, 0, 0, // field 1: on to the vector
        2, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255, // which has a length and two numbers
        0, 0, 0, 0,
    ];

    #[test]
    fn fields_are_read_or_have_their_default() {
        let table = Table::root(&BYTES).expect("a table");
        assert_eq!(table.number(0, 1_u32), Ok(9));
        assert_eq!(table.number(2, 7_i8), Ok(7));
        assert_eq!(table.numbers::<i32>(1, 2), Ok(vec![1, -1]));
        assert_eq!(table.numbers::<i32>(2, 2), Ok(vec![]));
        assert_eq!(table.bytes(1), Ok(&[1, 0][..]));
    }

    #[test]
    fn all_that_leads_outside_is_a_fault() {
        let table = Table::root(&BYTES).expect("a table");
        assert!(table.numbers::<i32>(1, 1).is_err());
        assert!(table.table(1).is_err() && table.tables(1, 9).is_err());
        for len in 0..38 {
            let read = Table::root(&BYTES[..len]).and_then(|t| t.numbers::<i32>(1, 2));
            assert!(read.is_err(), "{len}");
        }
        for (position, byte) in [
            (0, 250),
            (6, 3),
            (6, 5),
            (14, 255),
            (17, 127),
            (22, 255),
            (25, 9),
        ] {
            let mut bytes = BYTES;
            bytes[position] = byte;
            let read = Table::root(&bytes).and_then(|t| t.numbers::<i32>(1, 2));
            assert!(read.is_err(), "{position}");
        }
    }
}

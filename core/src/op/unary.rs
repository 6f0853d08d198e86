//! A function of every element: of INT8 by way of a table that the image holds.
//!
//! A table has 256 entries of two bytes, little-endian, one for each byte of an element. An entry tells how the
//! function's result rounds in every direction, in quarters of a step of the output: four times the integer that it
//! is rounded down to, and, where it is between two integers, 1 if the lower is the nearest and 3 if the upper is.

use crate::op::table::Table;
use crate::op::{Activation, Function};
use crate::quant::{QParams, Rounding};
use crate::tensor::{View, ViewMut};

/// Bytes of a table.
pub(crate) const TABLE_BYTES: usize = 2 * Table::<i8>::LEN;

/// The table of a function behind an activation, from a tensor with the parameters `from` to one with `to`.
#[must_use]
pub fn table(
    function: Function,
    activation: Activation,
    from: QParams,
    to: QParams,
) -> [u8; TABLE_BYTES] {
    let mut table = [0; TABLE_BYTES];
    for (byte, entry) in (0..=u8::MAX).zip(table.as_chunks_mut().0) {
        let real = function.apply(from.dequantize(byte.cast_signed()));
        let real = activation.apply(real);
        let [floor, nearest, ceil] = [Rounding::Floor, Rounding::Nearest, Rounding::Ceil]
            .map(|rounding| i16::from(to.quantize(real, rounding)));
        let between = match (floor == ceil, nearest == floor) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 3,
        };
        *entry = (4 * floor + between).to_le_bytes();
    }
    table
}

/// Whether some tables have no entry that [`table`] cannot give.
#[must_use]
pub(crate) fn are_sound(tables: &[u8]) -> bool {
    let entries = tables.as_chunks().0.iter();
    let mut entries = entries.map(|entry| i16::from_le_bytes(*entry));
    entries.all(|entry| (4 * i16::from(i8::MIN)..=4 * i16::from(i8::MAX)).contains(&entry))
}

/// A table as it is looked up for one rounding.
#[derive(Clone, Copy)]
struct Lookup<'a> {
    table: &'a [[u8; 2]; Table::<i8>::LEN],
    offset: i16,
}

impl<'a> Lookup<'a> {
    fn new(table: &'a [u8], rounding: Rounding) -> Option<Self> {
        let offset = match rounding {
            Rounding::Floor => 0,
            Rounding::Nearest => 2,
            Rounding::Ceil => 3,
        };
        let table = table.as_chunks().0.first_chunk()?;
        Some(Self { table, offset })
    }

    #[inline(always)]
    fn get(self, element: i8) -> i8 {
        let entry = i16::from_le_bytes(self.table[usize::from(element.cast_unsigned())]);
        ((entry + self.offset) >> 2) as i8
    }
}

/// The function of every element of `input`; `table` begins with the layer's.
#[inline(never)]
pub(crate) fn run(
    function: Function,
    input: View<'_>,
    activation: Activation,
    table: &[u8],
    output: &mut ViewMut<'_>,
) {
    match (input, &mut *output) {
        (View::I8(input, _), ViewMut::I8(data, ..)) => {
            data.copy_from_slice(input);
            run_in_place(function, activation, table, output);
        }
        (input, output) => {
            let result = |i: usize| function.apply(input.real(i));
            output.put_indexed(0, output.len(), activation, &result);
        }
    }
}

/// As [`run`], in place of a tensor whose elements are where the output's are to be.
#[inline(never)]
pub(crate) fn run_in_place(
    function: Function,
    activation: Activation,
    table: &[u8],
    output: &mut ViewMut<'_>,
) {
    match output {
        ViewMut::I8(data, _, rounding) => {
            if let Some(lookup) = Lookup::new(table, *rounding) {
                data.iter_mut().for_each(|x| *x = lookup.get(*x));
            }
        }
        ViewMut::F32(data) => data
            .iter_mut()
            .for_each(|x| *x = activation.apply(function.apply(*x))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_round_as_the_quantizer_does() {
        let from = QParams {
            scale: 0.07,
            zero_point: 20,
        };
        let to = QParams {
            scale: 0.01,
            zero_point: -100,
        };
        for function in [Function::Silu, Function::Tanh, Function::Abs, Function::Log] {
            for activation in [Activation::None, Activation::Relu] {
                let table = table(function, activation, from, to);
                assert!(are_sound(&table));
                for rounding in Rounding::ALL {
                    let lookup = Lookup::new(&table, rounding).expect("a whole table");
                    for x in i8::MIN..=i8::MAX {
                        let real = activation.apply(function.apply(from.dequantize(x)));
                        assert_eq!(
                            lookup.get(x),
                            to.quantize(real, rounding),
                            "{function:?} {x}"
                        );
                    }
                }
            }
        }
        let mut table = [0; TABLE_BYTES];
        table[3] = 2;
        assert!(!are_sound(&table), "512 quarters of a step");
    }
}

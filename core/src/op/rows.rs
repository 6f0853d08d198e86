//! Rows: how a layer makes its output in turns, and what each turn reads.

use core::ops::Range;

use crate::op::Op;
use crate::shape::Shape;

impl Op {
    /// Whether a row of the output needs one row or a window of rows of each input, and not all of them.
    #[must_use]
    pub(crate) fn is_by_rows(&self, input: Shape, output: Shape) -> bool {
        match self {
            Self::Conv2d { .. }
            | Self::MaxPool { .. }
            | Self::AvgPool { .. }
            | Self::Add
            | Self::Unary(_)
            | Self::Mul
            | Self::Softmax { .. }
            | Self::Concat
            | Self::Rearrange(_) => true,
            Self::Reshape => input.h == output.h,
            Self::Dense => false,
        }
    }

    /// The rows of its inputs that row `y` of the output needs; all of one that has fewer.
    #[must_use]
    pub(crate) fn rows_of_input(&self, y: u16, input: Shape, output: Shape) -> Range<u16> {
        match self {
            Self::Conv2d { window, .. }
            | Self::MaxPool { window }
            | Self::AvgPool { window, .. } => {
                let rows = window.rows(y.into(), input.h);
                rows.start as u16..(rows.start + rows.len) as u16
            }
            Self::Rearrange(of) => of.row(y)..of.row(y) + 1,
            Self::Add
            | Self::Reshape
            | Self::Dense
            | Self::Softmax { .. }
            | Self::Unary(_)
            | Self::Mul
            | Self::Concat => {
                if self.is_by_rows(input, output) {
                    y..y + 1
                } else {
                    0..input.h
                }
            }
        }
    }

    /// The operator that makes these rows of its output of the rows `reads` of its input: its padding is that beside
    /// these. All rows, or one where [`Self::is_by_rows`].
    #[must_use]
    pub(crate) fn of_rows(&self, makes: &Range<u16>, reads: &Range<u16>, input: Shape) -> Self {
        let mut op = *self;
        match &mut op {
            Self::Conv2d { window, .. }
            | Self::MaxPool { window }
            | Self::AvgPool { window, .. }
                if makes.len() == 1 =>
            {
                let rows = window.rows(makes.start.into(), input.h);
                window.padding[0] = rows.tap as u16;
                window.padding[2] = window.kernel[0] - (rows.tap + rows.len) as u16;
            }
            Self::Rearrange(of) => *of = of.of_rows(makes.start, reads.start, makes.len() == 1),
            Self::Conv2d { .. }
            | Self::MaxPool { .. }
            | Self::AvgPool { .. }
            | Self::Dense
            | Self::Add
            | Self::Reshape
            | Self::Softmax { .. }
            | Self::Unary(_)
            | Self::Mul
            | Self::Concat => {}
        }
        op
    }

    /// Whether all of its output is one row of means, which can be summed up while the rows of the input
    /// come and go.
    #[must_use]
    pub(crate) const fn can_sum_rows(&self, input: Shape, output: Shape) -> bool {
        match self {
            Self::AvgPool { .. } => output.h == 1 && input.h > 1,
            Self::Conv2d { .. }
            | Self::Dense
            | Self::Add
            | Self::MaxPool { .. }
            | Self::Reshape
            | Self::Softmax { .. }
            | Self::Unary(_)
            | Self::Mul
            | Self::Concat
            | Self::Rearrange(_) => false,
        }
    }
}

/// The turns in which a layer makes its output: one for each row, one in all, or, where it sums rows up, one for
/// each row of the input under the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns<'a> {
    pub(crate) op: &'a Op,
    /// The shape of each input.
    pub(crate) input: Shape,
    pub(crate) output: Shape,
    /// Whether rows are summed up.
    pub(crate) sums: bool,
}

impl Turns<'_> {
    /// The number of turns.
    pub(crate) fn count(&self) -> u16 {
        if self.sums {
            self.summed().len() as u16
        } else if self.op.is_by_rows(self.input, self.output) {
            self.output.h
        } else {
            1
        }
    }

    /// The rows of each input that a turn reads; all of one that has fewer ([`rows_of`]).
    pub(crate) fn reads(&self, turn: u16) -> Range<u16> {
        if self.sums {
            let row = self.summed().start + turn;
            row..row + 1
        } else {
            self.op.rows_of_input(turn, self.input, self.output)
        }
    }

    /// The rows of the output that are there after so many turns.
    pub(crate) fn made(&self, turns: u16) -> u16 {
        if !self.sums && self.op.is_by_rows(self.input, self.output) {
            turns
        } else if turns == self.count() {
            self.output.h
        } else {
            0
        }
    }

    fn summed(&self) -> Range<u16> {
        self.op.rows_of_input(0, self.input, self.output)
    }
}

/// The rows that are read of an input, where the operator reads these of its first one: all of one that is repeated.
pub(crate) const fn rows_of(of: Shape, reads: &Range<u16>) -> Range<u16> {
    if reads.end > of.h {
        0..of.h
    } else {
        reads.start..reads.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Window;

    #[test]
    fn every_row_is_made_once_and_reads_what_its_window_covers() {
        let (input, output) = (Shape::new(9, 4, 2), Shape::new(5, 2, 2));
        let conv = Op::Conv2d {
            window: Window::square(3, 2, 1),
            groups: 1,
        };
        let turns = |op, input, output, sums| Turns {
            op,
            input,
            output,
            sums,
        };
        let of_conv = turns(&conv, input, output, false);
        assert_eq!(of_conv.count(), 5);
        let reads: Vec<_> = (0..5).map(|turn| of_conv.reads(turn)).collect();
        assert_eq!(reads, [0..2, 1..4, 3..6, 5..8, 7..9]);
        assert_eq!([0, 3, 5].map(|t| of_conv.made(t)), [0, 3, 5]);

        let of_dense = turns(&Op::Dense, input, Shape::vector(3), false);
        assert_eq!((of_dense.count(), of_dense.reads(0)), (1, 0..9));
        assert_eq!([0, 1].map(|t| of_dense.made(t)), [0, 1]);

        let pool = Op::AvgPool {
            window: Window::square(9, 1, 0),
            count_padding: false,
        };
        let pooled = Shape::new(1, 1, 2);
        assert!(pool.can_sum_rows(input, pooled));
        let summed = turns(&pool, input, pooled, true);
        assert_eq!((summed.count(), summed.reads(4)), (9, 4..5));
        assert_eq!([8, 9].map(|t| summed.made(t)), [0, 1]);

        let same = turns(&Op::Reshape, input, Shape::new(9, 8, 1), false);
        assert_eq!((same.count(), same.reads(6)), (9, 6..7));
        let flat = turns(&Op::Reshape, input, Shape::vector(72), false);
        assert_eq!((flat.count(), flat.reads(0), flat.made(1)), (1, 0..9, 1));
    }
}

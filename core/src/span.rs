//! Where tensors lie.

use core::ops::Range;

use bytemuck::{cast_slice, cast_slice_mut};

use crate::form::Form;
use crate::quant::QParams;
use crate::tensor::{View, ViewMut};

/// Where a tensor, or some rows of it, lies in the arena in one of its forms.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The first byte; of a whole tensor, and of floats, a multiple of four.
    pub start: usize,
    /// Elements.
    pub len: usize,
    /// How they are stored.
    pub form: Form,
    /// The tensor's INT8 map.
    pub q: QParams,
}

impl Span {
    /// Some of its elements.
    pub(crate) const fn part(&self, first: usize, len: usize) -> Self {
        Self {
            start: self.start + first * self.form.element_bytes() as usize,
            len,
            ..*self
        }
    }

    /// Its bytes.
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        self.start..self.start + self.len * self.form.element_bytes() as usize
    }

    /// The tensor in these bytes.
    ///
    /// # Panics
    /// When they are not as many as its range, or not aligned to its elements.
    #[must_use]
    pub fn view<'b>(&self, bytes: &'b [u8]) -> View<'b> {
        match self.form {
            Form::F32 => View::F32(cast_slice(bytes)),
            Form::I8(_) => View::I8(cast_slice(bytes), self.q),
        }
    }

    /// As [`Self::view`], to be written.
    ///
    /// # Panics
    /// As [`Self::view`].
    #[must_use]
    pub(crate) fn view_mut<'b>(&self, bytes: &'b mut [u8]) -> ViewMut<'b> {
        match self.form {
            Form::F32 => ViewMut::F32(cast_slice_mut(bytes)),
            Form::I8(rounding) => ViewMut::I8(cast_slice_mut(bytes), self.q, rounding),
        }
    }
}

//! The forms in which a tensor lies in memory.

use crate::quant::Rounding;

/// The format of a tensor in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Form {
    /// `f32`, 4 bytes an element.
    F32,
    /// `i8` with the tensor's own scale and zero point, rounded in the given direction.
    I8(Rounding),
}

impl Form {
    /// All forms, widest first.
    pub const ALL: [Self; 4] = [
        Self::F32,
        Self::I8(Rounding::Nearest),
        Self::I8(Rounding::Floor),
        Self::I8(Rounding::Ceil),
    ];

    /// Bytes that `len` elements take in this form, padded to a multiple of four.
    #[must_use]
    pub const fn bytes(self, len: u32) -> u32 {
        match self {
            Self::F32 => 4 * len,
            Self::I8(_) => len.next_multiple_of(4),
        }
    }

    /// Bytes of an element.
    #[must_use]
    pub const fn element_bytes(self) -> u32 {
        match self {
            Self::F32 => 4,
            Self::I8(_) => 1,
        }
    }

    /// The place in [`Form::ALL`].
    #[must_use]
    pub const fn index(self) -> u8 {
        match self {
            Self::F32 => 0,
            Self::I8(Rounding::Nearest) => 1,
            Self::I8(Rounding::Floor) => 2,
            Self::I8(Rounding::Ceil) => 3,
        }
    }

    const fn bit(self) -> u8 {
        1 << self.index()
    }
}

/// A set of forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms(u8);

impl Forms {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Adds one form.
    pub const fn insert(&mut self, form: Form) {
        self.0 |= form.bit();
    }

    /// The union of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the form is in the set.
    #[must_use]
    pub const fn contains(self, form: Form) -> bool {
        self.0 & form.bit() != 0
    }

    /// Whether there is one form in the set, and no more.
    #[must_use]
    pub(crate) const fn is_single(self) -> bool {
        self.0.is_power_of_two()
    }

    /// The forms of the set that are before `form` in [`Form::ALL`].
    #[must_use]
    pub const fn before(self, form: Form) -> Self {
        Self(self.0 & (form.bit() - 1))
    }

    /// The forms in the set, widest first.
    pub fn iter(self) -> impl Iterator<Item = Form> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let form = Form::ALL.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(*form)
        })
    }

    /// Bytes that a tensor of `len` elements takes in all forms of the set.
    #[must_use]
    pub const fn bytes(self, len: u32) -> u32 {
        let floats = match self.contains(Form::F32) {
            true => Form::F32.bytes(len),
            false => 0,
        };
        let integers = self.0 & !Form::F32.bit();
        floats + integers.count_ones() * Form::I8(Rounding::Nearest).bytes(len)
    }

    /// The first of [`Forms::iter`]: what an operator without weights reads.
    #[must_use]
    pub fn widest(self) -> Option<Form> {
        self.iter().next()
    }

    /// The last of [`Forms::iter`].
    #[must_use]
    pub fn narrowest(self) -> Option<Form> {
        Form::ALL.get(self.0.checked_ilog2()? as usize).copied()
    }
}

impl From<Form> for Forms {
    fn from(form: Form) -> Self {
        Self(form.bit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_a_set_in_order() {
        let mut forms = Forms::NONE;
        assert_eq!(forms.widest(), None);
        for form in Form::ALL.into_iter().rev() {
            forms.insert(form);
            assert_eq!(forms.widest(), Some(form));
        }
        assert!(forms.iter().eq(Form::ALL));
        for bits in 0..16 {
            let forms = Forms(bits);
            let each: u32 = forms.iter().map(|form| form.bytes(7)).sum();
            assert_eq!(forms.bytes(7), each);
        }
        assert_eq!(Form::F32.bytes(5), 20);
        assert_eq!(Form::I8(Rounding::Floor).bytes(5), 8);
    }
}

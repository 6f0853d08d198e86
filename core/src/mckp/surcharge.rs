//! Costs that are no sum over the groups.

/// A class that is not decided yet.
pub const OPEN: u8 = u8::MAX;

/// What a layout costs beyond the sum of its items' first costs; it depends on the classes of the
/// items alone.
///
/// `N` is the solver's: classes stand by group, and those of groups that are not there are [`OPEN`].
pub trait Surcharge<const N: usize> {
    /// Whether a layout's surcharge depends on its classes; if not, choices of all classes are as good as
    /// each other.
    fn tells_classes_apart(&self) -> bool {
        true
    }

    /// The least surcharge of any layout in which `group` has an item of `class`.
    fn of_class(&self, group: usize, class: u8) -> u32;

    /// Whether a group of this class can have a higher [`Self::at_least`] than an open one.
    fn can_raise(&self, group: usize, class: u8) -> bool;

    /// Whether what the class of `group` adds is known to stay within `most`: whatever becomes of the groups that
    /// are open, [`Self::at_least`] is at most the larger of `most` and of what it would be then with `group`
    /// open, or with any class there.
    fn keeps_within(&self, most: u32, group: usize, classes: &[u8; N]) -> bool;

    /// At most the surcharge of every layout that has these classes; at least [`Self::of_class`] of
    /// each, and never less for one more class that is decided.
    fn at_least(&self, classes: &[u8; N]) -> u32;

    /// The surcharge of the layout of these classes; [`Self::at_least`] at least.
    fn of(&self, classes: &[u8; N]) -> u32;
}

/// No surcharge.
impl<const N: usize> Surcharge<N> for () {
    fn tells_classes_apart(&self) -> bool {
        false
    }

    fn of_class(&self, _: usize, _: u8) -> u32 {
        0
    }

    fn can_raise(&self, _: usize, _: u8) -> bool {
        false
    }

    fn keeps_within(&self, _: u32, _: usize, _: &[u8; N]) -> bool {
        true
    }

    fn at_least(&self, _: &[u8; N]) -> u32 {
        0
    }

    fn of(&self, _: &[u8; N]) -> u32 {
        0
    }
}

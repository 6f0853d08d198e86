//! Names in commands.

/// Lets an enum be written and read by its names: `named!(Loss, "loss")` implements [`Display`](std::fmt::Display)
/// and [`FromStr`](std::str::FromStr) by its `ALL` and `name`; the second argument is that of [`find`].
macro_rules! named {
    ($type:ty, $what:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::name::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::name::find($what, text, Self::ALL, Self::name)
            }
        }
    };
}
pub(crate) use named;

/// The one of `all` that is called `name`; `what` says in an error what was to be named.
pub(crate) fn find<T: Copy, const N: usize>(
    what: &'static str,
    name: &str,
    all: [T; N],
    name_of: fn(T) -> &'static str,
) -> Result<T, UnknownName> {
    let found = all.into_iter().find(|one| name_of(*one) == name);
    found.ok_or_else(|| UnknownName {
        what,
        known: all.map(name_of).join(", "),
    })
}

/// A name that is none of a closed set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what}; there are: {known}")]
pub struct UnknownName {
    /// The kind of thing that was to be named.
    pub what: &'static str,
    /// The names that there are.
    pub known: String,
}

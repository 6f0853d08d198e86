//! Names in commands.

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

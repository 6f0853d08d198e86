//! Names in commands.

/// A name that is none of a closed set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what}; there are: {known}")]
pub struct UnknownName {
    /// What was to be named.
    pub what: &'static str,
    /// The names that there are.
    pub known: String,
}

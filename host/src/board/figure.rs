//! Figures and their sources.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A number, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Figure<T> {
    /// The number.
    pub value: T,
    /// Document and section, and how it was derived; may be empty.
    pub source: String,
}

/// A clock.
pub(super) fn hertz<'de, D: Deserializer<'de>>(from: D) -> Result<Figure<u64>, D::Error> {
    whole(from, "a clock from 1e3 to 1e10 Hz", 1e3..=1e10)
}

/// A size.
pub(super) fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Figure<u64>, D::Error> {
    whole(
        from,
        "a size from 1 to 4294967296 bytes",
        1.0..=4_294_967_296.0,
    )
}

/// Cycles of a word.
pub(super) fn cycles<'de, D: Deserializer<'de>>(from: D) -> Result<Figure<f64>, D::Error> {
    number(from, "a number of cycles from 0 to 10000", 0.0..=1e4)
}

/// A name, not empty.
pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    if name.trim().is_empty() {
        return Err(D::Error::custom("expected a name, found none"));
    }
    Ok(name)
}

/// A whole number within a range of such that are exact.
fn whole<'de, D: Deserializer<'de>>(
    from: D,
    what: &'static str,
    range: RangeInclusive<f64>,
) -> Result<Figure<u64>, D::Error> {
    let Figure { value, source } = number(from, what, range)?;
    if value.fract() != 0.0 {
        return Err(unexpected(what, value));
    }
    let value = value as u64;
    Ok(Figure { value, source })
}

fn number<'de, D: Deserializer<'de>>(
    from: D,
    what: &'static str,
    range: RangeInclusive<f64>,
) -> Result<Figure<f64>, D::Error> {
    from.deserialize_any(Within { what, range })
}

fn unexpected<E: Error>(what: &str, value: f64) -> E {
    E::custom(format!("expected {what}, found {value}"))
}

/// Takes a number within a range, or a table of such a number and its source.
struct Within {
    what: &'static str,
    range: RangeInclusive<f64>,
}

/// A figure as a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sourced {
    value: f64,
    #[serde(default)]
    source: String,
}

impl<'de> Visitor<'de> for Within {
    type Value = Figure<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a table of its value and source", self.what)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        if !self.range.contains(&value) {
            return Err(unexpected(self.what, value));
        }
        let source = String::new();
        Ok(Figure { value, source })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let Sourced { value, source } = Sourced::deserialize(MapAccessDeserializer::new(map))?;
        let figure = self.visit_f64(value)?;
        Ok(Figure { source, ..figure })
    }
}

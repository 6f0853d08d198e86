//! Finds the line of a field in a JSON text.

use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A step on the way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Key(String),
    Index(usize),
}

/// The way as people write it: `layers[2].items[0].price`.
pub(super) fn path(fields: &[Field]) -> String {
    let mut path = String::new();
    for field in fields {
        match field {
            Field::Key(name) if path.is_empty() => path.push_str(name),
            Field::Key(name) => {
                path.push('.');
                path.push_str(name);
            }
            Field::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// The line of a value, from 1 on; the last line where there is no such value.
pub(super) fn locate(text: &str, fields: &[Field]) -> usize {
    let mut json = serde_json::Deserializer::from_str(text);
    match Find(fields).deserialize(&mut json) {
        Ok(()) => text.lines().count(),
        Err(error) => error.line(),
    }
}

/// Reads a JSON value and fails where the way ends: the error knows the line.
#[derive(Clone, Copy)]
struct Find<'a>(&'a [Field]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Field::Key(wanted), rest)) = self.0.split_first() else {
            return Err(A::Error::custom("found"));
        };
        while let Some(key) = map.next_key::<String>()? {
            if key == *wanted {
                map.next_value_seed(Find(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((Field::Index(wanted), rest)) = self.0.split_first() else {
            return Err(A::Error::custom("found"));
        };
        for _ in 0..*wanted {
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        seq.next_element_seed(Find(rest))?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

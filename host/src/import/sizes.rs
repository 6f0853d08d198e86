//! The sizes of a model's input that the model leaves open.

use std::str::FromStr;

use bitbudget_core::shape::Shape;

/// Where the sizes come from that a model leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// From nowhere: the model must have all of them.
    None,
    /// From whoever knows the model.
    Given(InputShape),
    /// From the network that was made of it before.
    Of(Shape),
}

impl From<Option<InputShape>> for Sizes {
    fn from(given: Option<InputShape>) -> Self {
        given.map_or(Self::None, Self::Given)
    }
}

/// A shape in the order of the model's own dimensions, the batch first, written `1x3x96x96` or `input=1x3x96x96`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputShape {
    /// The input, where it is named.
    pub name: Option<String>,
    /// Its dimensions; the batch, which comes first, may be any.
    pub dims: Vec<u16>,
}

/// A text that is no [`InputShape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected numbers from 1 to 65535 with an x between them, the batch first: 1x3x96x96, or \
     input=1x3x96x96"
)]
pub struct NoInputShape;

impl FromStr for InputShape {
    type Err = NoInputShape;

    fn from_str(text: &str) -> Result<Self, NoInputShape> {
        // names may have all but the shape's own characters at the end
        let (name, dims) = match text.rsplit_once('=') {
            Some((name, dims)) if !name.is_empty() => (Some(name.to_owned()), dims),
            Some(_) => return Err(NoInputShape),
            None => (None, text),
        };
        let size = |text: &str| text.trim().parse().ok().filter(|size| *size > 0);
        let dims: Option<Vec<u16>> = dims.split('x').map(size).collect();
        let dims = dims.filter(|dims| dims.len() > 1).ok_or(NoInputShape)?;
        Ok(Self { name, dims })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read() {
        let read = |text: &str| text.parse::<InputShape>();
        let of = |name: Option<&str>, dims: &[u16]| {
            Ok(InputShape {
                name: name.map(str::to_owned),
                dims: dims.to_vec(),
            })
        };
        assert_eq!(read("1x3x96x96"), of(None, &[1, 3, 96, 96]));
        assert_eq!(read("in:0=1x9x128"), of(Some("in:0"), &[1, 9, 128]));
        assert_eq!(read("a=b=1x2"), of(Some("a=b"), &[1, 2]));
        for wrong in [
            "", "3", "1x0", "1x-3", "=1x3", "1x3x", "1,3", "1x70000", "x=", "1X3",
        ] {
            assert_eq!(read(wrong), Err(NoInputShape), "{wrong}");
        }
    }
}

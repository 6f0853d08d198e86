//! Kernels, strides and padding of convolutions and pools.

use bitbudget_core::shape::Window;

use super::error::{Fault, unsupported};
use super::node::Node;

/// The attributes of a sliding window.
pub(super) struct Sliding {
    /// Height and width.
    pub(super) kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    ceil: bool,
}

/// Padding, as an operator gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    /// Top, left, bottom, right.
    Explicit([usize; 4]),
    /// Enough for an output of ceil(input / stride); the odd one at the bottom and right.
    SameUpper,
    /// As `SameUpper`, with the odd one at the top and left.
    SameLower,
}

/// A window over an input of known size.
pub(super) struct Placed {
    /// Top, left, bottom, right.
    pub(super) padding: [usize; 4],
    /// Further rows and columns that the last windows need beyond the padding (`ceil_mode`).
    pub(super) overhang: [usize; 2],
}

impl Sliding {
    /// The window that the node's attributes tell; the kernel is that of `weights` where it has
    /// some.
    pub(super) fn parse(node: &Node<'_>, weights: Option<[usize; 2]>) -> Result<Self, Fault> {
        let given = pair(node, "kernel_shape")?;
        let kernel = match (given, weights) {
            (Some(given), Some(weights)) if given != weights => {
                let expected = "the kernel of its weights";
                return Err(node.bad_attribute("kernel_shape", expected).into());
            }
            (Some(kernel), _) | (None, Some(kernel)) => kernel,
            (None, None) => return Err(node.bad_attribute("kernel_shape", "present").into()),
        };
        if let Some([y, x]) = pair(node, "dilations")?.filter(|dilation| *dilation != [1, 1]) {
            return unsupported(format!("its dilation is {y}x{x}, only 1x1 is supported"));
        }
        Ok(Self {
            kernel,
            stride: pair(node, "strides")?.unwrap_or([1, 1]),
            padding: Padding::parse(node)?,
            ceil: node.int("ceil_mode", 0)? != 0,
        })
    }

    /// The padding over an input of `input` rows and columns.
    pub(super) fn place(&self, input: [usize; 2]) -> Result<Placed, Fault> {
        let [top, left, bottom, right] = match self.padding {
            Padding::Explicit(padding) => padding,
            Padding::SameUpper => self.same(input, |total| total / 2),
            Padding::SameLower => self.same(input, |total| total.div_ceil(2)),
        };
        let mut overhang = [0; 2];
        for (axis, (before, after)) in [(top, bottom), (left, right)].into_iter().enumerate() {
            let (kernel, stride) = (self.kernel[axis], self.stride[axis]);
            let padded = input[axis] + before + after;
            // by how much the windows that fit would have to be longer, for one more to fit
            let missing = match padded.checked_sub(kernel) {
                Some(room) => room.next_multiple_of(stride) - room,
                None => kernel - padded,
            };
            let has_none = padded < kernel;
            if has_none && (!self.ceil || missing >= stride) {
                return unsupported(format!(
                    "its window of {}x{} does not fit an input of {}x{}",
                    self.kernel[0], self.kernel[1], input[0], input[1]
                ));
            }
            // A window that would start in the padding after the input is left out.
            let start = padded + missing - kernel;
            if self.ceil && start < input[axis] + before {
                overhang[axis] = missing;
            }
        }
        Ok(Placed {
            padding: [top, left, bottom, right],
            overhang,
        })
    }

    fn same(&self, input: [usize; 2], before: impl Fn(usize) -> usize) -> [usize; 4] {
        let [(top, bottom), (left, right)] = [0, 1].map(|axis| {
            let steps = input[axis].div_ceil(self.stride[axis]).saturating_sub(1);
            let total = (steps * self.stride[axis] + self.kernel[axis]).saturating_sub(input[axis]);
            (before(total), total - before(total))
        });
        [top, left, bottom, right]
    }

    /// The window in the core's form, with that padding.
    pub(super) fn window(&self, padding: [usize; 4]) -> Result<Window, Fault> {
        for (pad, kernel) in padding.into_iter().zip(self.kernel.into_iter().cycle()) {
            if pad >= kernel {
                return unsupported(format!(
                    "its padding of {pad} is not smaller than its kernel of {kernel}"
                ));
            }
        }
        // Sizes are at most `u16::MAX`, and a padding is smaller than a kernel.
        Ok(Window {
            kernel: self.kernel.map(|size| size as u16),
            stride: self.stride.map(|size| size as u16),
            padding: padding.map(|size| size as u16),
        })
    }
}

impl Padding {
    fn parse(node: &Node<'_>) -> Result<Self, Fault> {
        let explicit = match node.ints("pads")? {
            None => [0; 4],
            Some(pads) => match pads[..] {
                [top, left, bottom, right] => sizes(node, "pads", [top, left, bottom, right], 0)?,
                _ => return not_planar("pads", pads.len() / 2),
            },
        };
        match node.string("auto_pad", "NOTSET")? {
            "NOTSET" | "" => Ok(Self::Explicit(explicit)),
            "VALID" => Ok(Self::Explicit([0; 4])),
            "SAME_UPPER" => Ok(Self::SameUpper),
            "SAME_LOWER" => Ok(Self::SameLower),
            _ => {
                let expected = "NOTSET, VALID, SAME_UPPER or SAME_LOWER";
                Err(node.bad_attribute("auto_pad", expected).into())
            }
        }
    }
}

/// An attribute with one positive size per dimension of the image.
fn pair(node: &Node<'_>, name: &str) -> Result<Option<[usize; 2]>, Fault> {
    match node.ints(name)? {
        None => Ok(None),
        Some(values) => match values[..] {
            [y, x] => Ok(Some(sizes(node, name, [y, x], 1)?)),
            _ => not_planar(name, values.len()),
        },
    }
}

fn not_planar<T>(name: &str, rank: usize) -> Result<T, Fault> {
    unsupported(format!(
        "its {name} are for {rank} dimensions, only 2 are supported"
    ))
}

fn sizes<const N: usize>(
    node: &Node<'_>,
    name: &str,
    values: [i64; N],
    smallest: u16,
) -> Result<[usize; N], Fault> {
    let valid = |value: i64| u16::try_from(value).is_ok_and(|value| value >= smallest);
    if values.iter().all(|value| valid(*value)) {
        return Ok(values.map(|value| value as usize));
    }
    if name == "pads" && values.iter().any(|value| *value < 0) {
        return unsupported("its padding is negative");
    }
    let expected = match smallest {
        0 => "numbers from 0 to 65535",
        _ => "numbers from 1 to 65535",
    };
    Err(node.bad_attribute(name, expected).into())
}

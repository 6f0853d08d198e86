//! Kernels, strides and padding of convolutions and pools.

use bitbudget_core::shape::{Shape, Window};

use super::error::{Fault, unsupported};
use super::node::Node;
use super::value::{View, dims_text};

/// The attributes of a sliding window. Over a series it is one over an image of one column.
pub(super) struct Sliding {
    /// Dimensions that it slides over: 2 for an image, 1 for a series.
    rank: usize,
    /// Height and width.
    pub(super) kernel: [usize; 2],
    stride: [usize; 2],
    /// Rows from one of the kernel's to the next: 1, but of a convolution over a series.
    dilation: usize,
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
    pub(super) fn parse(node: &Node<'_>, weights: Option<&[usize]>) -> Result<Self, Fault> {
        let given = node.ints("kernel_shape")?;
        let rank = weights.map(<[_]>::len).or(given.map(<[_]>::len));
        let rank = rank.unwrap_or(2);
        let is_series = rank == 1 && weights.is_some();
        let weights = weights.and_then(planar);
        let pair = |name: &str| pair(node, name, rank);
        let kernel = match (pair("kernel_shape")?, weights) {
            (Some(given), Some(weights)) if given != weights => {
                let expected = "the kernel of its weights";
                return Err(node.bad_attribute("kernel_shape", expected).into());
            }
            (Some(kernel), _) | (None, Some(kernel)) => kernel,
            (None, None) => return Err(node.bad_attribute("kernel_shape", "present").into()),
        };
        let dilation = match pair("dilations")? {
            None | Some([1, 1]) => 1,
            Some([steps, _]) if is_series => steps,
            Some([y, x]) => {
                return unsupported(format!(
                    "its dilation is {y}x{x}, which is supported for convolutions over a series only"
                ));
            }
        };
        Ok(Self {
            rank,
            kernel,
            stride: pair("strides")?.unwrap_or([1, 1]),
            dilation,
            padding: Padding::parse(node, rank)?,
            ceil: node.int("ceil_mode", 0)? != 0,
        })
    }

    /// Rows and columns of the view that it slides over.
    pub(super) fn image(&self, view: &View) -> Result<[usize; 2], Fault> {
        match (self.rank, &view.dims[..]) {
            (2, [_, height, width]) => Ok([*height, *width]),
            (1, [_, length]) => Ok([*length, 1]),
            (rank, dims) => {
                let expected = if rank == 1 {
                    "[N, C, L]"
                } else {
                    "[N, C, H, W]"
                };
                unsupported(format!("it reads {}, expected {expected}", dims_text(dims)))
            }
        }
    }

    /// A tensor of the shape that it gives, as the model sees it.
    pub(super) fn view(&self, tensor: usize, shape: Shape) -> View {
        let mut dims = [shape.c, shape.h, shape.w].map(usize::from).to_vec();
        dims.truncate(self.rank + 1);
        View::new(tensor, dims)
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

    /// The rows that are taken one after another in place of those that a dilated kernel skips between, and the padding in
    /// such rows: row `i` of column `j` is row `i · dilation + j` of the series, so that every column is a series by itself
    /// under a kernel that is not dilated. `None` where it is not dilated.
    pub(super) fn folded(
        &self,
        rows: usize,
        pad: [usize; 4],
    ) -> Result<Option<(usize, [usize; 4])>, Fault> {
        let dilation = self.dilation;
        if dilation == 1 {
            return Ok(None);
        }
        let reach = Self {
            kernel: [(self.kernel[0] - 1) * dilation + 1, 1],
            dilation: 1,
            ..*self
        };
        let own = reach.place([rows + pad[0] + pad[2], 1])?.padding;
        let padding = [0, 1, 2, 3].map(|i| own[i] + pad[i]);
        let steps = [rows, padding[0], padding[2]];
        if self.stride != [1, 1] || steps.iter().any(|steps| !steps.is_multiple_of(dilation)) {
            return unsupported(format!(
                "its dilation is {dilation}, which is supported at stride 1 where it divides the length of {rows} and the \
                 padding of {} and {}",
                padding[0], padding[2]
            ));
        }
        Ok(Some((dilation, padding.map(|pad| pad / dilation))))
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
    fn parse(node: &Node<'_>, rank: usize) -> Result<Self, Fault> {
        let explicit = match node.ints("pads")? {
            None => [0; 4],
            Some(pads) => match (rank, pads) {
                (2, &[top, left, bottom, right]) => {
                    sizes(node, "pads", [top, left, bottom, right], 0)?
                }
                (1, &[before, after]) => sizes(node, "pads", [before, 0, after, 0], 0)?,
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

/// An attribute with one positive size per dimension of the image or the series.
pub(super) fn pair(node: &Node<'_>, name: &str, rank: usize) -> Result<Option<[usize; 2]>, Fault> {
    let Some(values) = node.ints(name)? else {
        return Ok(None);
    };
    match planar(values).filter(|_| values.len() == rank) {
        Some(values) => Ok(Some(sizes(node, name, values, 1)?)),
        None => not_planar(name, values.len()),
    }
}

/// Sizes for rows and columns; a series has one column.
fn planar<T: Copy + From<u8>>(sizes: &[T]) -> Option<[T; 2]> {
    match sizes {
        [y, x] => Some([*y, *x]),
        [y] => Some([*y, 1.into()]),
        _ => None,
    }
}

fn not_planar<T>(name: &str, rank: usize) -> Result<T, Fault> {
    unsupported(format!(
        "its {name} are for {rank} dimensions, only 1 or 2, as its input has, are supported"
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

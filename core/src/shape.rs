//! Shapes of tensors and of sliding windows.

use core::fmt;
use core::ops::Range;

use serde::{Deserialize, Serialize};

/// The shape of one sample's tensor, stored `[H, W, C]`: channels lie side by side.
///
/// A vector of features is `[1, 1, C]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shape {
    /// Rows.
    pub h: u16,
    /// Columns.
    pub w: u16,
    /// Channels.
    pub c: u16,
}

impl Shape {
    /// The most elements that a tensor may have: its bytes as FP32 fit 32 bits with room to add up.
    pub const MAX_LEN: u64 = 1 << 26;

    /// The shape `[h, w, c]`.
    #[must_use]
    pub const fn new(h: u16, w: u16, c: u16) -> Self {
        Self { h, w, c }
    }

    /// A vector of `c` features.
    #[must_use]
    pub const fn vector(c: u16) -> Self {
        Self { h: 1, w: 1, c }
    }

    /// The shape of some of its rows.
    #[must_use]
    pub(crate) fn with_rows(self, rows: &Range<u16>) -> Self {
        Self {
            h: rows.len() as u16,
            ..self
        }
    }

    /// The number of elements, H·W·C.
    #[must_use]
    pub const fn len(self) -> usize {
        self.h as usize * self.w as usize * self.c as usize
    }

    /// Whether a dimension is zero.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether a dimension is zero, or the elements are more than [`Shape::MAX_LEN`].
    #[must_use]
    pub const fn is_unusable(self) -> bool {
        let len = self.h as u64 * self.w as u64 * self.c as u64;
        len == 0 || len > Self::MAX_LEN
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.h, self.w, self.c)
    }
}

/// A window that slides over rows and columns: kernel, stride and padding of a convolution or pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Window {
    /// Kernel height and width, at least 1.
    pub kernel: [u16; 2],
    /// Vertical and horizontal step, at least 1.
    pub stride: [u16; 2],
    /// Padding at the top, left, bottom and right.
    pub padding: [u16; 4],
}

impl Window {
    /// A square kernel with the same stride and padding on all sides.
    #[must_use]
    pub const fn square(kernel: u16, stride: u16, padding: u16) -> Self {
        Self {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 4],
        }
    }

    /// The kernel's number of taps.
    #[must_use]
    pub const fn taps(&self) -> usize {
        self.kernel[0] as usize * self.kernel[1] as usize
    }

    /// The `[rows, columns]` of the output over an input of `h` x `w`; `None` where the window does
    /// not fit, a kernel or stride is zero, or a padding is not smaller than its kernel.
    #[must_use]
    pub fn output(&self, h: u16, w: u16) -> Option<[u16; 2]> {
        let [top, left, bottom, right] = self.padding;
        Some([
            steps(h, top, bottom, self.kernel[0], self.stride[0])?,
            steps(w, left, right, self.kernel[1], self.stride[1])?,
        ])
    }

    /// The rows of the input under output row `y`, as (first kernel row inside, input rows).
    #[must_use]
    pub fn rows(&self, y: usize, h: u16) -> Span {
        Span::new(y, self.stride[0], self.padding[0], self.kernel[0], h)
    }

    /// The columns of the input under output column `x`.
    #[must_use]
    pub fn columns(&self, x: usize, w: u16) -> Span {
        Span::new(x, self.stride[1], self.padding[1], self.kernel[1], w)
    }
}

fn steps(len: u16, before: u16, after: u16, kernel: u16, stride: u16) -> Option<u16> {
    if kernel == 0 || stride == 0 || before >= kernel || after >= kernel {
        return None;
    }
    let padded = u32::from(len) + u32::from(before) + u32::from(after);
    let room = padded.checked_sub(u32::from(kernel))?;
    u16::try_from(room / u32::from(stride) + 1).ok()
}

/// The part of a window that lies inside the input, along one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First kernel tap that lies inside.
    pub tap: usize,
    /// Input position of that tap.
    pub start: usize,
    /// Number of taps inside.
    pub len: usize,
}

impl Span {
    fn new(step: usize, stride: u16, before: u16, kernel: u16, len: u16) -> Self {
        let first = step * usize::from(stride);
        let before = usize::from(before);
        let tap = before.saturating_sub(first);
        let start = (first + tap) - before;
        let end = (first + usize::from(kernel)).saturating_sub(before);
        Self {
            tap,
            start,
            len: end.min(usize::from(len)).saturating_sub(start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_the_taps_inside() {
        for kernel in 1..=5_u16 {
            for stride in 1..=3_u16 {
                for before in 0..kernel {
                    for after in 0..kernel {
                        for len in 1..=9_u16 {
                            let window = Window {
                                kernel: [kernel; 2],
                                stride: [stride; 2],
                                padding: [before, before, after, after],
                            };
                            let Some([rows, _]) = window.output(len, len) else {
                                assert!(len + before + after < kernel);
                                continue;
                            };
                            for y in 0..usize::from(rows) {
                                let inside: Vec<(usize, i32)> = (0..usize::from(kernel))
                                    .map(|k| {
                                        let at = (y * usize::from(stride) + k) as i32;
                                        (k, at - i32::from(before))
                                    })
                                    .filter(|(_, at)| (0..i32::from(len)).contains(at))
                                    .collect();
                                let span = window.rows(y, len);
                                assert_eq!(span.len, inside.len());
                                if let Some(first) = inside.first() {
                                    assert_eq!((span.tap, span.start as i32), *first);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn windows_that_do_not_fit_have_no_output() {
        assert_eq!(Window::square(3, 1, 1).output(8, 8), Some([8, 8]));
        assert_eq!(Window::square(3, 2, 1).output(8, 8), Some([4, 4]));
        assert_eq!(Window::square(3, 0, 0).output(8, 8), None);
        assert_eq!(Window::square(0, 1, 0).output(8, 8), None);
        assert_eq!(Window::square(3, 1, 3).output(8, 8), None);
        assert_eq!(Window::square(9, 1, 0).output(8, 8), None);
    }
}

//! Geometry of a convolution: the positions of its taps.

use crate::shape::{Shape, Span, Window};

/// A convolution's shapes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Kernel, stride and padding.
    pub(crate) window: Window,
    /// Divides both channel counts.
    pub(crate) groups: u16,
    /// Shape of the input.
    pub(crate) input: Shape,
    /// Shape of the output.
    pub(crate) output: Shape,
}

impl Geometry {
    /// One group.
    pub(crate) const fn whole(window: Window, input: Shape, output: Shape) -> Self {
        Self {
            window,
            groups: 1,
            input,
            output,
        }
    }

    /// Whether every channel has weights of its own.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups == self.input.c && self.groups == self.output.c
    }

    /// Calls `each(pixel, rows, columns)` for every output pixel in order.
    #[inline]
    pub(super) fn for_each(&self, mut each: impl FnMut(usize, Span, Span)) {
        let mut pixel = 0;
        for y in 0..usize::from(self.output.h) {
            let rows = self.window.rows(y, self.input.h);
            for x in 0..usize::from(self.output.w) {
                each(pixel, rows, self.window.columns(x, self.input.w));
                pixel += 1;
            }
        }
    }

    /// Calls `each(first input element, first weight, length)` for every contiguous run of taps of
    /// one output element in a group; the weight index counts from the channel's first weight.
    pub(super) fn for_each_run(
        &self,
        group: usize,
        rows: Span,
        columns: Span,
        mut each: impl FnMut(usize, usize, usize),
    ) {
        let (width, depth) = (usize::from(self.input.w), usize::from(self.input.c));
        let group_depth = depth / usize::from(self.groups);
        let first = group * group_depth;
        let kernel_width = usize::from(self.window.kernel[1]);
        for row in 0..rows.len {
            let pixel = (rows.start + row) * width + columns.start;
            let tap = (rows.tap + row) * kernel_width + columns.tap;
            if group_depth == depth {
                each(pixel * depth, tap * depth, columns.len * depth);
            } else {
                for column in 0..columns.len {
                    let input = (pixel + column) * depth + first;
                    each(input, (tap + column) * group_depth, group_depth);
                }
            }
        }
    }
}

//! Max and average pooling over `[H, W, C]`.

use crate::op::Activation;
use crate::quant::Requant;
use crate::shape::{Shape, Span, Window};
use crate::tensor::{Int8Sink, View, ViewMut};

/// A pool's shapes.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Kernel, stride and padding.
    pub window: Window,
    /// Shape of the input.
    pub input: Shape,
    /// Shape of the output, with the input's channels.
    pub output: Shape,
}

impl Geometry {
    /// Calls `each(output element, first input element's channel, rows, columns)` in order.
    fn for_each(&self, mut each: impl FnMut(usize, usize, Span, Span)) {
        let mut element = 0;
        for y in 0..usize::from(self.output.h) {
            let rows = self.window.rows(y, self.input.h);
            for x in 0..usize::from(self.output.w) {
                let columns = self.window.columns(x, self.input.w);
                for channel in 0..usize::from(self.output.c) {
                    each(element, channel, rows, columns);
                    element += 1;
                }
            }
        }
    }

    /// The indices of the input elements of one channel under a window.
    fn elements(
        &self,
        channel: usize,
        rows: Span,
        columns: Span,
    ) -> impl Iterator<Item = usize> + use<> {
        let (width, depth) = (usize::from(self.input.w), usize::from(self.input.c));
        let pixels = (rows.start..rows.start + rows.len).flat_map(move |y| {
            (columns.start..columns.start + columns.len).map(move |x| y * width + x)
        });
        pixels.map(move |pixel| pixel * depth + channel)
    }
}

/// The largest element under each window; an element of padding never wins.
pub fn max(geometry: &Geometry, input: View<'_>, activation: Activation, output: &mut ViewMut<'_>) {
    if let (View::I8(input, qi), ViewMut::I8(data, q, rounding)) = (input, &mut *output) {
        let sink = Int8Sink::new(*q, *rounding, activation);
        let factor = Requant::from_real(qi.scale / q.scale);
        geometry.for_each(|element, channel, rows, columns| {
            let under = geometry.elements(channel, rows, columns);
            let largest = under.map(|i| input[i]).max().unwrap_or(qi.zero_point);
            let steps = i32::from(largest) - i32::from(qi.zero_point);
            data[element] = sink.requantize(steps, factor);
        });
    } else {
        geometry.for_each(|element, channel, rows, columns| {
            let under = geometry.elements(channel, rows, columns);
            let largest = under
                .map(|i| input.real(i))
                .fold(f32::NEG_INFINITY, f32::max);
            output.put_real(element, largest, activation);
        });
    }
}

/// The mean under each window, over the elements inside or, with `count_padding`, over all taps.
pub fn average(
    geometry: &Geometry,
    count_padding: bool,
    input: View<'_>,
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    let count = |rows: Span, columns: Span| {
        if count_padding {
            geometry.window.taps()
        } else {
            rows.len * columns.len
        }
    };
    if let (View::I8(input, qi), ViewMut::I8(data, q, rounding)) = (input, &mut *output) {
        let sink = Int8Sink::new(*q, *rounding, activation);
        let mut factor = (0, Requant::from_real(1.0));
        geometry.for_each(|element, channel, rows, columns| {
            let count = count(rows, columns);
            if factor.0 != count {
                factor = (
                    count,
                    Requant::from_real(qi.scale / (q.scale * count as f32)),
                );
            }
            let steps = |i: usize| i32::from(input[i]) - i32::from(qi.zero_point);
            let sum = geometry.elements(channel, rows, columns).map(steps).sum();
            data[element] = sink.requantize(sum, factor.1);
        });
    } else {
        geometry.for_each(|element, channel, rows, columns| {
            let under = geometry.elements(channel, rows, columns);
            let sum: f32 = under.map(|i| input.real(i)).sum();
            output.put_real(element, sum / count(rows, columns) as f32, activation);
        });
    }
}

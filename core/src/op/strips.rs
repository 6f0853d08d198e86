//! Convolution in strips of pixels, for processors with vectors.

use crate::arch::{Segments, Strip, Strips};
use crate::op::conv2d::Geometry;
use crate::op::weights::{IntOutput, IntWeights};

/// Convolves INT8 with integers in 32 bits; padding is the input's zero point. Gives whether it did: there
/// may be no room for the layer, or more than one group.
#[inline(never)]
pub fn int(
    geometry: &Geometry,
    input: &[i8],
    zero_point: i8,
    weights: &IntWeights<'_>,
    output: &mut IntOutput<'_, '_>,
) -> bool {
    let Geometry {
        window,
        groups,
        input: from,
        output: to,
    } = *geometry;
    let [top, left, bottom, right] = window.padding.map(usize::from);
    let [kernel_height, kernel_width] = window.kernel.map(usize::from);
    let [step_y, step_x] = window.stride.map(usize::from);
    let depth = usize::from(from.c);
    let row = usize::from(from.w) * depth;
    let pitch = row + (left + right) * depth;
    let len = (top + usize::from(from.h) + bottom) * pitch;
    let shape = Segments {
        count: kernel_height,
        len: kernel_width * depth,
    };
    let mut strips = Strips::new();
    let room = strips.room(shape);
    if groups != 1 || room == 0 || len > strips.capacity() {
        return false;
    }
    strips.begin();
    strips.fill(top * pitch, zero_point);
    for inputs in input.chunks_exact(row) {
        strips.fill(left * depth, zero_point);
        strips.put(inputs);
        strips.fill(right * depth, zero_point);
    }
    strips.fill(bottom * pitch, zero_point);
    strips.seal();
    let channels = weights.bias.len();
    let width = usize::from(to.w);
    for first in (0..channels).step_by(room) {
        let block = first..channels.min(first + room);
        strips.weigh(&weights.rows, block.clone(), shape, weights.bias);
        for y in 0..usize::from(to.h) {
            for x in (0..width).step_by(Strips::PIXELS) {
                let pixels = Strips::PIXELS.min(width - x);
                let strip = Strip {
                    at: y * step_y * pitch + x * step_x * depth,
                    pitch,
                    step: step_x * depth,
                    pixels,
                };
                let apart = strips.pitch();
                let sums = strips.sums(strip);
                output.put_pixels(y * width + x, block.clone(), sums, apart);
            }
        }
    }
    true
}

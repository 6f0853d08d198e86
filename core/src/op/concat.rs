//! Concatenation: the channels of two tensors, one behind the other in every pixel.

use crate::op::Activation;
use crate::op::table::Table;
use crate::tensor::{View, ViewMut};

/// Writes the channels of `a` and those of `b` behind them, `channels` of each.
#[inline(never)]
pub(crate) fn run(
    [a, b]: [View<'_>; 2],
    channels: [usize; 2],
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    let all = channels[0] + channels[1];
    put(a, channels[0], (0, all), activation, output);
    put(b, channels[1], (channels[0], all), activation, output);
}

/// Writes an input of so many channels from channel `first` on of `all`.
fn put(
    input: View<'_>,
    channels: usize,
    (first, all): (usize, usize),
    activation: Activation,
    output: &mut ViewMut<'_>,
) {
    match (input, &mut *output) {
        (View::I8(input, from), ViewMut::I8(data, to, rounding)) => {
            let pixels = data.chunks_exact_mut(all).map(|pixel| &mut pixel[first..]);
            let pixels = pixels.zip(input.chunks_exact(channels));
            if from == *to && activation == Activation::None {
                pixels.for_each(|(to, from)| to[..channels].copy_from_slice(from));
                return;
            }
            let table = Table::requantized(from, (*to, *rounding), activation);
            for (to, from) in pixels {
                to.iter_mut()
                    .zip(from)
                    .for_each(|(to, x)| *to = table.get(*x));
            }
        }
        (input, output) => {
            for pixel in 0..input.len() / channels {
                let real = |channel: usize| input.real(pixel * channels + channel);
                output.put_indexed(pixel * all + first, channels, activation, &real);
            }
        }
    }
}

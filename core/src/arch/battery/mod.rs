//! The tests that every instruction set passes: every kernel against a naive computation, and every guard
//! against numbers near the largest. An instruction set takes part with a line in its file, `battery!`.

mod float;
mod guards;
mod im2col;
mod int;
mod strips;
mod strips_f32;
mod weights;

pub(crate) use float::*;
pub(crate) use guards::*;
pub(crate) use im2col::*;
pub(crate) use int::*;
pub(crate) use strips::*;
pub(crate) use strips_f32::*;

/// The tests of a type's `int` or `float` kernels.
macro_rules! battery {
    (int, $kernels:ident) => {
        battery! { int_battery, $kernels,
            im2col_of_every_length im2col_of_extremes im2col_in_any_pieces im2col_of_rows
            im2col_in_blocks im2col_refuses_huge_lengths
            dots_i8 dots_i8_refuses_huge_pitches
            depthwise depthwise_refuses_huge_offsets
            requantize requantize_refuses_huge_pitches
            add_i8 max_i8
            strips_of_every_length strips_of_every_number_of_pixels strips_of_a_grid
            strips_that_fill_the_room strips_requantize strips_refuse_huge_steps
        }
    };
    (float, $kernels:ident) => {
        battery! { float_battery, $kernels,
            dots_f32 dots_f16 dots_of_floats_refuse_huge_pitches
            depthwise_f32 depthwise_f32_refuses_huge_steps
            quantize
            strips_f32 strips_f32_refuse_huge_steps
        }
    };
    ($battery:ident, $kernels:ident, $($test:ident)*) => {
        mod $battery {
            $(
                #[test]
                fn $test() {
                    crate::arch::battery::$test::<super::$kernels>();
                }
            )*
        }
    };
}

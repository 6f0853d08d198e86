//! A camera without a frame buffer: the network asks for each row of pixels when it comes to need it.
#![no_std]
#![no_main]

use bitbudget_core::{Aligned, Engine, Image, Input, Limits, Places, Planner, include_image};
use cortex_m_rt::entry;
use semihosting::{println, process};

/// What stands for a camera: a row of a gradient.
fn read_row(y: u16, row: &mut [u8]) {
    for (x, pixel) in row.iter_mut().enumerate() {
        *pixel = x as u8 + y as u8;
    }
}

#[entry]
fn main() -> ! {
    static mut ARENA: Aligned<[u8; 2 * 1024]> = Aligned([0; _]);

    let image = Image::<9, 5>::parse(include_image!("../digits.image")).expect("an image");
    let mut planner = Planner::<9, 5>::with_places(Places::Flash, image.network());
    let mut engine = Engine::new(&image, &mut ARENA.0).expect("an aligned arena");
    // the least that does: tensors exist as bands of rows
    let least = planner.find_smallest(image.network()).total;
    let plan = engine.replan(&mut planner, Limits::ram(least));
    println!(
        "{} bytes",
        plan.expect("a plan within the limits").ram_bytes()
    );

    let mut rows = 0;
    let logits = engine.infer_rows(|y, row| {
        rows += 1;
        read_row(y, row);
    });
    let mut by_row = [0.0; 10];
    by_row.copy_from_slice(logits.expect("a plan"));

    // the same frame as a whole
    let mut frame = [0; 64];
    for (y, row) in (0..).zip(frame.chunks_exact_mut(8)) {
        read_row(y, row);
    }
    let logits = engine
        .infer(Input::U8(&frame))
        .expect("a plan and a frame that fits");
    println!("{rows} rows, as the whole frame: {}", logits == by_row);
    process::exit(0)
}

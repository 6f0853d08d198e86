//! How long each layer takes, counted by the processor's timer.
#![no_std]
#![no_main]

use bitbudget_core::{Aligned, Engine, Image, Input, Limits, Places, Planner, include_image};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::entry;
use semihosting::{println, process};

/// What stands for a frame of the camera.
static FRAME: [u8; 64] = [8; 64];

#[entry]
fn main() -> ! {
    static mut ARENA: Aligned<[u8; 4 * 1024]> = Aligned([0; _]);

    let peripherals = cortex_m::Peripherals::take().expect("once");
    let mut timer = peripherals.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(0x00ff_ffff);
    timer.clear_current();
    timer.enable_counter();

    let image = Image::<9, 5>::parse(include_image!("../digits.image")).expect("an image");
    let mut planner = Planner::<9, 5>::with_places(Places::Flash, image.network());
    let mut engine = Engine::new(&image, &mut ARENA.0).expect("an aligned arena");
    let plan = engine.replan(&mut planner, Limits::ram(4 * 1024));
    plan.expect("a plan within the limits");

    // tensor 0 is the input, tensor i + 1 the output of layer i
    let mut ticks = [0; 10];
    let output = engine.infer_watched(Input::U8(&FRAME), |tensor, step| {
        let begin = SYST::get_current();
        step();
        ticks[tensor] += begin.wrapping_sub(SYST::get_current()) & 0x00ff_ffff;
    });
    output.expect("a plan and a frame that fits");
    println!("{:>12} {:>8}", "layer", "ticks");
    println!("{:>12} {:>8}", "(input)", ticks[0]);
    for (layer, ticks) in ticks[1..].iter().enumerate() {
        println!("{:>12} {ticks:>8}", image.name(layer));
    }
    process::exit(0)
}

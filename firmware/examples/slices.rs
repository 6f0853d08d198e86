//! A plan in slices of time: the main loop goes on with its work while the search takes a few steps a turn.
#![no_std]
#![no_main]

use bitbudget_core::{Aligned, Engine, Image, Input, Limits, Planner, include_image};
use cortex_m_rt::entry;
use semihosting::{println, process};

/// Steps of the search in one turn of the main loop: about 20,000 instructions each.
const STEPS: u64 = 2;
/// What stands for a frame of the camera.
static FRAME: [u8; 64] = [8; 64];

#[entry]
fn main() -> ! {
    static mut ARENA: Aligned<[u8; 40 * 1024]> = Aligned([0; _]);

    let image = Image::<9, 5>::parse(include_image!("../digits.image")).expect("an image");
    let network = image.network();
    let mut planner = Planner::<9, 5>::new(network);
    let mut engine = Engine::new(&image, &mut ARENA.0).expect("an aligned arena");
    let plan = engine.replan(&mut planner, Limits::ram(40 * 1024));
    println!(
        "{} bytes",
        plan.expect("a plan within the limits").ram_bytes()
    );

    // less memory soon: until the search has ended, the network runs under the plan of before
    planner.start(network, Limits::ram(28 * 1024));
    let plan = loop {
        let found = planner.plan_for(network, STEPS);
        engine
            .infer(Input::U8(&FRAME))
            .expect("a plan and a frame that fits");
        if planner.is_done() {
            break found.expect("a plan within the limits");
        }
    };
    println!(
        "{} steps, proven to be the best: {}",
        plan.nodes,
        plan.is_optimal()
    );
    let plan = engine.load(plan).expect("a plan of this network");
    println!("{} bytes", plan.ram_bytes());
    process::exit(0)
}

//! Runs a mixed-precision CNN in a memory budget and re-plans it when the budget changes.
//!
//! The program serves the protocol of [`bitbudget_core::protocol`] on the board's serial port:
//! `bitbudget emulate` and `bitbudget device` are the other end. Logs go out by defmt.
#![cfg_attr(target_os = "none", no_std, no_main)]

// links its critical section, which the logger needs
#[cfg(target_os = "none")]
use cortex_m as _;

#[cfg(target_os = "none")]
mod board;
#[cfg(target_os = "none")]
mod fault;
#[cfg(target_os = "none")]
mod link;
#[cfg(target_os = "none")]
mod log;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
mod server;
#[cfg(target_os = "none")]
mod upload;

#[cfg(target_os = "none")]
#[cortex_m_rt::entry]
fn main() -> ! {
    static mut ARENA: bitbudget_core::Aligned<[u8; board::ARENA_BYTES]> =
        bitbudget_core::Aligned([0; _]);
    static mut IMAGE: bitbudget_core::Aligned<[u8; board::IMAGE_BYTES]> =
        bitbudget_core::Aligned([0; _]);
    static mut INPUT: bitbudget_core::Aligned<[u8; board::INPUT_BYTES]> =
        bitbudget_core::Aligned([0; _]);
    static mut LINK: link::Buffers = link::Buffers::new();

    let (pipe, clock) = board::start();
    defmt::info!("bitbudget on {=str}", board::NAME);
    let lent = server::Memory {
        linked: memory::linked_image(),
        arena: &mut ARENA.0,
        image: &mut IMAGE.0,
        input: &mut INPUT.0,
    };
    let failure = fault::last_failure();
    server::Server::new(link::Link::new(pipe, LINK), clock).serve(lent, failure)
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program is for a Cortex-M: build it with `cargo firmware`");
}

//! Runs a mixed-precision CNN in a memory budget and re-plans it when the budget changes.
//!
//! The program serves the protocol of [`bitbudget_core::protocol`] on the board's serial port:
//! `bitbudget emulate` and `bitbudget device` are the other end. Logs go out by defmt.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod board;
#[cfg(target_os = "none")]
mod cpu;
#[cfg(target_os = "none")]
mod fault;
#[cfg(target_os = "none")]
mod lend;
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
#[cpu::entry]
fn main() -> ! {
    cpu::start();
    let (pipe, clock) = board::start();
    defmt::info!("bitbudget on {=str}", board::NAME);
    let (lent, buffers) = lend::lend();
    let failure = fault::last_failure();
    server::Server::new(link::Link::new(pipe, buffers), clock).serve(lent, failure)
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program is for a microcontroller: build it with `cargo firmware`");
}

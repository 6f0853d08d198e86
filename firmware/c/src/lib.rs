//! The C library: an image's planner and engine behind the functions of `bitbudget.h`, which `bitbudget export c` writes.
//!
//! ```sh
//! cargo c-library   # for a Cortex-M4F: target/thumbv7em-none-eabihf/firmware/libbitbudget_c.a
//! ```
//!
//! There is no heap and no global state: everything lies in memory that the caller lends. How many layers and
//! levels there is room for is decided when the library is built, by `BITBUDGET_LAYERS` and
//! `BITBUDGET_LEVELS` ([`capacity`]). Every fault of a caller's that can be told is a [`status::Status`]; should these
//! functions panic nevertheless, they end the program as `abort()` does.
#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_op_in_unsafe_fn)]

pub mod capacity;
pub mod info;
pub mod net;
pub mod plan;
pub mod status;
pub mod storage;

/// Without an operating system a panic ends the program as C's `abort` does.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn abort() -> !;
    }
    // SAFETY: C's function, which needs nothing and does not return
    unsafe { abort() }
}

//! The processors, one file each, chosen by the target.
//!
//! A processor has `entry`, the attribute of the program's main function; `start()`, which it calls first;
//! `reset()`; `stack_pointer()`; and `return_addresses()`, those of a function that panics. Its exceptions
//! end in [`fault::fail`](crate::fault::fail).

#[cfg(target_arch = "arm")]
mod cortex_m;
#[cfg(target_arch = "arm")]
pub(crate) use cortex_m::*;

#[cfg(target_arch = "riscv32")]
mod riscv;
#[cfg(target_arch = "riscv32")]
pub(crate) use riscv::*;

//! The boards, one file each, chosen by a feature of the same name.
//!
//! A board has a `NAME`; `LAYERS` and `LEVELS`, the capacities of its networks, and `ITEMS`, that of its planner
//! (five levels of a layer in flash and in RAM); `IMAGE_BYTES`,
//! `ARENA_BYTES` and `INPUT_BYTES`, the RAM that they are lent; `TICKS_HZ` of its `Clock`; `start()`,
//! which gives the serial port and the clock and starts the watchdog; `feed()`, which starts that anew; and
//! `is_reset_by_watchdog()`, where a watchdog resets the board by itself. Where the processor cannot, as a RISC-V
//! cannot, a board has a `reset()`.
//!
//! The serial port feeds it while it waits for a byte, the server at every step of an inference: whatever
//! else takes longer than the watchdog waits ends in a reset.

#[cfg(not(feature = "nucleo-f446re"))]
mod emulated;

#[cfg(any(
    feature = "mps2-an383",
    feature = "mps2-an385",
    feature = "mps2-an386",
    feature = "mps2-an500",
    feature = "mps2-an505"
))]
mod mps2;

#[cfg(feature = "mps2-an383")]
mod mps2_an383;
#[cfg(feature = "mps2-an383")]
pub(crate) use mps2_an383::*;

#[cfg(feature = "mps2-an385")]
mod mps2_an385;
#[cfg(feature = "mps2-an385")]
pub(crate) use mps2_an385::*;

#[cfg(feature = "mps2-an386")]
mod mps2_an386;
#[cfg(feature = "mps2-an386")]
pub(crate) use mps2_an386::*;

#[cfg(feature = "mps2-an500")]
mod mps2_an500;
#[cfg(feature = "mps2-an500")]
pub(crate) use mps2_an500::*;

#[cfg(feature = "mps2-an505")]
mod mps2_an505;
#[cfg(feature = "mps2-an505")]
pub(crate) use mps2_an505::*;

#[cfg(feature = "nucleo-f446re")]
mod nucleo_f446re;
#[cfg(feature = "nucleo-f446re")]
pub(crate) use nucleo_f446re::*;

#[cfg(feature = "riscv32-virt")]
mod riscv32_virt;
#[cfg(feature = "riscv32-virt")]
pub(crate) use riscv32_virt::*;

/// A hardware register.
#[derive(Clone, Copy)]
struct Register(*mut u32);

impl Register {
    /// The register at this address.
    ///
    /// # Safety
    /// It is one of this board's peripherals, and writing it breaks no rule of Rust: it moves no
    /// memory and starts no transfer.
    const unsafe fn at(address: usize) -> Self {
        Self(core::ptr::without_provenance_mut(address))
    }

    #[inline(always)]
    fn read(self) -> u32 {
        // SAFETY: see `at`.
        unsafe { self.0.read_volatile() }
    }

    #[inline(always)]
    fn write(self, value: u32) {
        // SAFETY: see `at`.
        unsafe { self.0.write_volatile(value) }
    }
}

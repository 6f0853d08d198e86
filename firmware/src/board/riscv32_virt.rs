//! QEMU's machine `virt` with a processor of RV32IMAC: SiFive's CLINT, a 16550 UART, and plenty of RAM.

use core::convert::Infallible;

use defmt_semihosting as _;
use embedded_io::{ErrorType, Read, Write};
use riscv::register::{mie, mstatus};

use super::Register;
pub(crate) use super::emulated::*;

pub(crate) const NAME: &str = "riscv32-virt";
pub(crate) const TICKS_HZ: u32 = 10_000_000;

const UART: usize = 0x1000_0000;
/// `mtime` and the `mtimecmp` of the one processor, which count and wait in ticks.
const MTIME: usize = 0x0200_bff8;
const MTIMECMP: usize = 0x0200_4000;
/// SiFive's test finisher.
const FINISHER: usize = 0x0010_0000;

/// Timeout of the watchdog, which is the timer's interrupt.
const WATCHDOG_S: u32 = 150;

/// The serial port and the clock; the watchdog runs from now on.
pub(crate) fn start() -> (Uart, Clock) {
    feed();
    // SAFETY: the interrupt ends the program: it breaks into nothing that goes on.
    unsafe {
        mie::set_mtimer();
        mstatus::set_mie();
    }
    (Uart::start(), Clock)
}

/// Has the watchdog wait so many seconds from now on.
pub(crate) fn watch(seconds: u32) {
    let due = Clock::now() + u64::from(seconds) * u64::from(TICKS_HZ);
    // SAFETY: the two words of mtimecmp.
    let [low, high] = unsafe { [0, 4].map(|offset| Register::at(MTIMECMP + offset)) };
    // never an earlier time than both
    high.write(u32::MAX);
    low.write(due as u32);
    high.write((due >> 32) as u32);
}

/// Starts the watchdog's time anew.
pub(crate) fn feed() {
    watch(WATCHDOG_S);
}

/// Starts the program anew.
pub(crate) fn reset() -> ! {
    const RESET: u32 = 0x7777;
    // SAFETY: the finisher's one register.
    unsafe { Register::at(FINISHER) }.write(RESET);
    loop {
        core::hint::spin_loop();
    }
}

/// 16550 UART, whose registers are bytes.
pub(crate) struct Uart {
    data: *mut u8,
    line_status: *mut u8,
}

impl Uart {
    const RX_READY: u8 = 1;
    const TX_EMPTY: u8 = 1 << 5;

    const fn start() -> Self {
        Self {
            data: core::ptr::without_provenance_mut(UART),
            line_status: core::ptr::without_provenance_mut(UART + 5),
        }
    }

    fn has(&self, status: u8) -> bool {
        // SAFETY: a register of the UART; reading it moves no memory.
        unsafe { self.line_status.read_volatile() & status != 0 }
    }
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl Read for Uart {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let Some(byte) = buffer.first_mut() else {
            return Ok(0);
        };
        while !self.has(Self::RX_READY) {
            feed();
        }
        // SAFETY: a register of the UART.
        *byte = unsafe { self.data.read_volatile() };
        Ok(1)
    }
}

impl Write for Uart {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, Infallible> {
        for byte in buffer {
            while !self.has(Self::TX_EMPTY) {}
            // SAFETY: a register of the UART.
            unsafe { self.data.write_volatile(*byte) };
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The processor's timer.
pub(crate) struct Clock;

impl Clock {
    #[inline(never)]
    fn now() -> u64 {
        // SAFETY: the two words of mtime.
        let [low, high] = unsafe { [0, 4].map(|offset| Register::at(MTIME + offset)) };
        loop {
            let before = high.read();
            let ticks = low.read();
            if high.read() == before {
                return u64::from(before) << 32 | u64::from(ticks);
            }
        }
    }

    /// The result of `work`, and its ticks.
    #[inline(always)]
    pub(crate) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> (T, u64) {
        let start = Self::now();
        let result = work();
        (result, Self::now() - start)
    }
}

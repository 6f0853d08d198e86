//! Common parts of the MPS2 boards: CMSDK peripherals (Arm DDI 0479) and plenty of RAM.

use core::convert::Infallible;

use defmt_semihosting as _;
use embedded_io::{ErrorType, Read, Write};

use super::Register;
pub(crate) use super::emulated::*;

pub(crate) const TICKS_HZ: u32 = if ARMV8M { 20_000_000 } else { 25_000_000 };

/// Whether the program runs in the secure state, which has addresses of its own.
const ARMV8M: bool = cfg!(feature = "mps2-an505");
const UART: usize = if ARMV8M { 0x5020_0000 } else { 0x4000_4000 };
const TIMER: usize = if ARMV8M { 0x5000_0000 } else { 0x4000_0000 };

/// CMSDK watchdog, whose interrupt is the one that cannot be masked.
const WATCHDOG: usize = if ARMV8M { 0x5008_1000 } else { 0x4000_8000 };
/// Timeout of the watchdog.
const WATCHDOG_S: u32 = 150;

/// The serial port and the clock; the watchdog runs from now on.
pub(crate) fn start() -> (Uart, Clock) {
    watch(WATCHDOG_S);
    (Uart::start(), Clock::start())
}

/// Has the watchdog wait so many seconds, at most 171.
pub(crate) fn watch(seconds: u32) {
    // SAFETY: WDOGLOAD and WDOGCONTROL of the watchdog.
    let [load, control] = unsafe { [0x0, 0x8].map(|offset| Register::at(WATCHDOG + offset)) };
    load.write(seconds * TICKS_HZ);
    // with interrupt and, when nobody handles that, reset
    control.write(3);
}

/// Starts the watchdog's time anew.
pub(crate) fn feed() {
    // SAFETY: WDOGINTCLR of the watchdog.
    unsafe { Register::at(WATCHDOG + 0xC) }.write(1);
}

/// CMSDK UART 0.
pub(crate) struct Uart {
    data: Register,
    state: Register,
}

impl Uart {
    const TX_FULL: u32 = 1;
    const RX_FULL: u32 = 2;

    fn start() -> Self {
        // SAFETY: DATA, STATE, CTRL and BAUDDIV of UART 0.
        let [data, state, control, divider] =
            unsafe { [0x0, 0x4, 0x8, 0x10].map(|offset| Register::at(UART + offset)) };
        // the smallest divider, both directions enabled
        divider.write(16);
        control.write(3);
        Self { data, state }
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
        while self.state.read() & Self::RX_FULL == 0 {
            feed();
        }
        *byte = self.data.read() as u8;
        Ok(1)
    }
}

impl Write for Uart {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, Infallible> {
        for byte in buffer {
            while self.state.read() & Self::TX_FULL != 0 {}
            self.data.write(u32::from(*byte));
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// CMSDK TIMER 0, which counts down from the largest value.
pub(crate) struct Clock {
    control: Register,
    value: Register,
    interrupt: Register,
}

impl Clock {
    /// Counting, with its interrupt flagged, which nobody takes.
    const ON: u32 = 1 | 1 << 3;

    fn start() -> Self {
        // SAFETY: CTRL, VALUE, RELOAD and INTSTATUS of TIMER 0.
        let [control, value, reload, interrupt] =
            unsafe { [0x0, 0x4, 0x8, 0xC].map(|offset| Register::at(TIMER + offset)) };
        reload.write(u32::MAX);
        Self {
            control,
            value,
            interrupt,
        }
    }

    /// The result of `work`, and its ticks, fewer than 2^33.
    #[inline(always)]
    pub(crate) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> (T, u64) {
        self.restart();
        let result = work();
        (result, self.ticks())
    }

    /// Begins at 0 again.
    #[inline(never)]
    fn restart(&mut self) {
        self.control.write(0);
        self.interrupt.write(1);
        self.value.write(u32::MAX);
        self.control.write(Self::ON);
    }

    #[inline(never)]
    fn ticks(&self) -> u64 {
        let ticks = u32::MAX - self.value.read();
        let wrapped = u64::from(self.interrupt.read() & 1);
        u64::from(ticks) + (wrapped << 32)
    }
}

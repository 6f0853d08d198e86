//! NUCLEO-F446RE: STM32F446RE (Cortex-M4F, RM0390), with the serial port of its ST-LINK and logs
//! over RTT.

use core::convert::Infallible;

use cortex_m::peripheral::{DCB, DWT};
use defmt_rtt as _;
use embedded_io::{ErrorType, Read, Write};

use super::Register;

pub(crate) const NAME: &str = "nucleo-f446re";
pub(crate) const LAYERS: usize = 32;
pub(crate) const LEVELS: usize = 8;
pub(crate) const ITEMS: usize = 10;
/// The image is in flash only.
pub(crate) const IMAGE_BYTES: usize = 0;
pub(crate) const ARENA_BYTES: usize = 48 << 10;
pub(crate) const INPUT_BYTES: usize = 4 << 10;
/// The internal oscillator, which runs after reset.
pub(crate) const TICKS_HZ: u32 = 16_000_000;

const BAUD: u32 = 115_200;

const RCC: usize = 0x4002_3800;
const IWDG: usize = 0x4000_3000;

/// The serial port and the clock; the independent watchdog runs from now on: it resets after the 32 s of
/// 4,096 of its own clock's ticks (about 32 kHz, divided by 256).
pub(crate) fn start() -> (Uart, Clock) {
    // SAFETY: KR, PR and RLR of IWDG.
    let [key, divider, reload] =
        unsafe { [0x0, 0x4, 0x8].map(|offset| Register::at(IWDG + offset)) };
    // started, then open for writing
    key.write(0xCCCC);
    key.write(0x5555);
    divider.write(6);
    reload.write(0xFFF);
    feed();
    (Uart::start(), Clock::start())
}

/// Starts the watchdog's time anew.
pub(crate) fn feed() {
    // SAFETY: KR of IWDG.
    unsafe { Register::at(IWDG) }.write(0xAAAA);
}

/// Whether the watchdog ended the run before; told once.
pub(crate) fn is_reset_by_watchdog() -> bool {
    // SAFETY: CSR of RCC.
    let state = unsafe { Register::at(RCC + 0x74) };
    let flags = state.read();
    // forget it
    state.write(flags | 1 << 24);
    flags & 1 << 29 != 0
}

/// USART 2 on PA2 and PA3, polled.
pub(crate) struct Uart {
    status: Register,
    data: Register,
}

impl Uart {
    const RX_FULL: u32 = 1 << 5;
    const TX_DONE: u32 = 1 << 6;
    const TX_EMPTY: u32 = 1 << 7;

    fn start() -> Self {
        const GPIOA: usize = 0x4002_0000;
        const USART2: usize = 0x4000_4400;
        // SAFETY: AHB1ENR and APB1ENR of RCC, MODER and AFRL of GPIOA, SR, DR, BRR and CR1 of USART2.
        let [ahb1, apb1, mode, function, status, data, divider, control] = unsafe {
            [
                RCC + 0x30,
                RCC + 0x40,
                GPIOA,
                GPIOA + 0x20,
                USART2,
                USART2 + 0x4,
                USART2 + 0x8,
                USART2 + 0xC,
            ]
            .map(|address| Register::at(address))
        };
        ahb1.write(ahb1.read() | 1);
        apb1.write(apb1.read() | 1 << 17);
        // a clock is on two cycles after it was enabled
        let _ = apb1.read();
        // PA2 and PA3: alternate function 7
        mode.write(mode.read() & !(0xF << 4) | 0xA << 4);
        function.write(function.read() & !(0xFF << 8) | 0x77 << 8);
        divider.write(TICKS_HZ.div_ceil(BAUD));
        // enabled, with transmitter and receiver
        control.write(1 << 13 | 1 << 3 | 1 << 2);
        Self { status, data }
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
        while self.status.read() & Self::RX_FULL == 0 {
            feed();
        }
        *byte = self.data.read() as u8;
        Ok(1)
    }
}

impl Write for Uart {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, Infallible> {
        for byte in buffer {
            while self.status.read() & Self::TX_EMPTY == 0 {}
            self.data.write(u32::from(*byte));
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        while self.status.read() & Self::TX_DONE == 0 {}
        Ok(())
    }
}

/// The core's cycle counter.
pub(crate) struct Clock;

impl Clock {
    fn start() -> Self {
        // SAFETY: called once, at the start of the program, before anyone else has these peripherals.
        let mut core = unsafe { cortex_m::Peripherals::steal() };
        DCB::enable_trace(&mut core.DCB);
        DWT::unlock();
        core.DWT.enable_cycle_counter();
        Self
    }

    /// The result of `work`, and its cycles, fewer than 2^32.
    #[inline(always)]
    pub(crate) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> (T, u64) {
        let start = DWT::cycle_count();
        let result = work();
        (result, u64::from(DWT::cycle_count().wrapping_sub(start)))
    }
}

//! What happens when the program cannot go on: it says where it is and stops.
//!
//! Nothing of the message of a panic is linked, nor its place in the source: they would take more room
//! than the solver. The return addresses tell as much: `addr2line -f -i -e PROGRAM ADDRESS`.

use core::arch::asm;
use core::panic::PanicInfo;

use cortex_m_rt::{ExceptionFrame, exception};

use crate::{board, memory};

/// How many callers a report names.
const CALLERS: usize = 8;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    let frame: *const u32;
    // SAFETY: reads a register, which on this target holds the address of the current frame.
    unsafe { asm!("mov {}, r7", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    let mut callers = [0; CALLERS];
    let len = memory::return_addresses(frame, &mut callers);
    defmt::error!("panic in {=[?]:#010x}", callers[..len]);
    board::stop()
}

// SAFETY: the handler touches no data of the program that it interrupted, and never returns to it.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    defmt::error!("hard fault at {=u32:#010x}", frame.pc());
    board::stop()
}

//! Panics and faults: the program records why and where it stopped, and restarts; the server then reports it
//! to whoever waits for an answer.
//!
//! Nothing of the message of a panic is linked, nor its place in the source: they would take more room
//! than the solver. The return addresses tell as much: `addr2line -f -i -e PROGRAM ADDRESS`.
//!
//! Frames, images and samples are checked before they are used, so no input should reach a panic. The
//! branches to one that are linked are of two kinds. Most guard, or assert, indices and lengths of slices:
//! those of kernels, operators and the engine, which `Image::parse` has checked every shape and block for;
//! those of the solver, whose indices count what it was given; and those of the server, which follow a
//! comparison. `tests/fuzz` looks for inputs that reach one, in this server on the host. The others are the
//! logger's, which panics when it is entered a second time: a failure within a line of the log does so, and
//! ends as any other does, with its own cause on record.
//!
//! A stack that overflows leaves the RAM at its lower end, where nothing is mapped (and meets the limit
//! register of an Armv8-M core before).

use core::arch::{asm, naked_asm};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bitbudget_core::protocol::{Cause, Failure};
use cortex_m::peripheral::SCB;
use cortex_m_rt::exception;

use crate::{board, memory};

/// The most callers that a report names.
const CALLERS: usize = 8;

/// A failure that outlives a reset: its cause's number, its address, and what both and [`KEPT`] give
/// when combined, so that nothing is read from memory that was only switched on.
#[unsafe(link_section = ".uninit.failure")]
static RECORD: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
const KEPT: u32 = 0xb17b_4d6e;

/// The failure that ended the run before, told once.
pub(crate) fn last_failure() -> Option<Failure> {
    let [cause, address, check] = RECORD
        .each_ref()
        .map(|word| word.swap(0, Ordering::Relaxed));
    if cause ^ address ^ KEPT == check {
        let cause = *Cause::ALL.get(cause as usize)?;
        return Some(Failure { cause, address });
    }
    board::is_reset_by_watchdog().then_some(Failure {
        cause: Cause::Watchdog,
        address: 0,
    })
}

/// Starts anew, and says why then; `log` tells the log before. A failure within `log`, which panics where
/// it interrupts the log, changes nothing of the record.
fn fail(cause: Cause, address: u32, log: impl FnOnce()) -> ! {
    static HAS_FAILED: AtomicBool = AtomicBool::new(false);
    if !HAS_FAILED.swap(true, Ordering::Relaxed) {
        let number = cause as u32;
        let record = [number, address, number ^ address ^ KEPT];
        for (word, value) in RECORD.iter().zip(record) {
            word.store(value, Ordering::Relaxed);
        }
        log();
    }
    SCB::sys_reset()
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    let frame: *const u32;
    // SAFETY: reads a register, which on this target holds the address of the current frame.
    unsafe { asm!("mov {}, r7", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    let mut callers = [0; CALLERS];
    let len = memory::return_addresses(frame, &mut callers);
    fail(Cause::Panic, callers[0], || {
        defmt::error!("panic in {=[?]:#010x}", callers[..len]);
    })
}

/// Enters [`hard_fault`] on an empty stack with the address that faulted; 0 for a stack that has left its
/// memory, where the processor could not keep the address.
///
/// # Safety
/// For the vector table alone: it gives up the stack of whoever calls it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn HardFault() -> ! {
    naked_asm!(
        // the exception's frame: the program has one stack
        "mrs r0, msp",
        "ldr r1, =_stack_end",
        "cmp r0, r1",
        "blo 1f",
        // CFSR: MSTKERR, STKERR and, from Armv8-M on, STKOF
        "ldr r1, =0xE000ED28",
        "ldr r1, [r1]",
        "ldr r2, =0x00101010",
        "tst r1, r2",
        "bne 1f",
        "ldr r0, [r0, #24]",
        "b 2f",
        "1: movs r0, #0",
        "2:",
        "ldr r1, =_stack_start",
        "msr msp, r1",
        "b {report}",
        report = sym hard_fault,
    )
}

extern "C" fn hard_fault(address: u32) -> ! {
    if address == 0 {
        fail(Cause::StackOverflow, address, || {
            defmt::error!("the stack has overflowed");
        })
    }
    fail(Cause::HardFault, address, || {
        defmt::error!("hard fault at {=u32:#010x}", address);
    })
}

// SAFETY: the handler touches no data of the program that it interrupted, and never returns to it.
#[exception]
unsafe fn DefaultHandler(_: i16) -> ! {
    fail(Cause::Exception, 0, || {
        defmt::error!("an exception that nobody handles");
    })
}

// SAFETY: as above.
#[exception]
unsafe fn NonMaskableInt() -> ! {
    fail(Cause::Watchdog, 0, || {
        defmt::error!("the watchdog has run out");
    })
}

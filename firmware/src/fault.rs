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

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bitbudget_core::protocol::{Cause, Failure};

use crate::{board, cpu};

/// The most callers that a report names.
const CALLERS: usize = 8;

/// A failure that outlives a reset: its cause's number, its address, and what both and [`KEPT`] give
/// when combined, so that nothing is read from memory that was only switched on.
#[unsafe(link_section = ".uninit.failure")]
static RECORD: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
const KEPT: u32 = 0xb17b_4d6e;

/// The failure that ended the run before, told once.
pub(crate) fn last_failure() -> Option<Failure> {
    let [cause, address, check] = RECORD.each_ref().map(|word| {
        let kept = word.load(Ordering::Relaxed);
        word.store(0, Ordering::Relaxed);
        kept
    });
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
pub(crate) fn fail(cause: Cause, address: u32, log: impl FnOnce()) -> ! {
    static HAS_FAILED: AtomicBool = AtomicBool::new(false);
    if !HAS_FAILED.load(Ordering::Relaxed) {
        HAS_FAILED.store(true, Ordering::Relaxed);
        let number = cause as u32;
        let record = [number, address, number ^ address ^ KEPT];
        for (word, value) in RECORD.iter().zip(record) {
            word.store(value, Ordering::Relaxed);
        }
        log();
    }
    cpu::reset()
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    let mut callers = [0; CALLERS];
    let len = cpu::return_addresses(&mut callers);
    fail(Cause::Panic, callers[0], || {
        defmt::error!("panic in {=[?]:#010x}", callers[..len]);
    })
}

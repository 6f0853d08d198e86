//! RISC-V, 32 bits, in machine mode.
//!
//! A stack that overflows meets a part of the RAM that its physical memory protection keeps from everybody.

use core::arch::{asm, global_asm};
use core::ptr;

use bitbudget_core::protocol::Cause;
use riscv::register::{Permission, Range, pmpaddr0, pmpcfg0};

use crate::fault::fail;
use crate::{board, memory};

pub(crate) use board::reset;
pub(crate) use riscv_rt::entry;

// Placed by the linker scripts; only their addresses mean anything.
unsafe extern "C" {
    static __stext: u32;
    static __etext: u32;
    static _guard_start: u32;
    static _stack_end: u32;
}

/// The memory below the stack, in bytes.
fn guard() -> core::ops::Range<usize> {
    (&raw const _guard_start).addr()..(&raw const _stack_end).addr()
}

/// Keeps everybody from the memory below the stack.
pub(crate) fn start() {
    let guard = guard();
    // a naturally aligned power of two: The RISC-V Instruction Set Manual II, 3.7.1
    let range = guard.start >> 2 | (guard.len() >> 3).wrapping_sub(1);
    // SAFETY: nothing lies in the guard, so that no access that is right becomes a fault.
    unsafe {
        pmpaddr0::write(range);
        pmpcfg0::set_pmp(0, Range::NAPOT, Permission::NONE, true);
    }
}

/// The address that the stack has grown down to.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let address: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mv {}, sp", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

/// Finds the words of the stack that are addresses behind a call, from the innermost outwards, as many as there
/// is room for; their number. Code keeps no frames here, so some may be left over from calls that have returned.
pub(crate) fn return_addresses(addresses: &mut [u32]) -> usize {
    let mut at: *const u32 = ptr::with_exposed_provenance(stack_pointer());
    let end = memory::stack().end;
    let mut len = 0;
    while at < end && len < addresses.len() {
        // SAFETY: an aligned word of the stack, which is RAM.
        let word = unsafe { at.read_volatile() };
        if is_behind_call(word) {
            addresses[len] = word;
            len += 1;
        }
        at = at.wrapping_add(1);
    }
    len
}

/// Whether a call ends before this address of the program.
fn is_behind_call(address: u32) -> bool {
    let program = (&raw const __stext).addr() + 4..(&raw const __etext).addr();
    if !program.contains(&(address as usize)) || !address.is_multiple_of(2) {
        return false;
    }
    let half = |before: usize| {
        let at: *const u16 = ptr::with_exposed_provenance(address as usize - before);
        // SAFETY: an aligned half word of the program, which is mapped.
        unsafe { at.read_volatile() }
    };
    let (first, last) = (half(4), half(2));
    // JAL and JALR with the link in ra; C.JAL, C.JALR
    matches!(first & 0xfff, 0x0ef | 0x0e7) || last & 0xe003 == 0x2001 || last & 0xf07f == 0x9002
}

// Enters `trap` on an empty stack. The program takes no interrupt that it would return from.
global_asm!(
    ".section .trap.start, \"ax\"",
    ".balign 4",
    ".global _start_trap",
    "_start_trap:",
    "csrr a0, mcause",
    "csrr a1, mepc",
    "csrr a2, mtval",
    "la sp, _stack_start",
    "j {trap}",
    trap = sym trap,
);

extern "C" fn trap(cause: u32, address: u32, touched: u32) -> ! {
    const INTERRUPT: u32 = 1 << 31;
    const TIMER: u32 = INTERRUPT | 7;
    const LOAD_FAULT: u32 = 5;
    const STORE_FAULT: u32 = 7;
    match cause {
        TIMER => fail(Cause::Watchdog, 0, || {
            defmt::error!("the watchdog has run out");
        }),
        INTERRUPT.. => fail(Cause::Exception, 0, || {
            defmt::error!("an interrupt that nobody handles");
        }),
        LOAD_FAULT | STORE_FAULT if guard().contains(&(touched as usize)) => {
            fail(Cause::StackOverflow, 0, || {
                defmt::error!("the stack has overflowed");
            })
        }
        _ => fail(Cause::HardFault, address, || {
            defmt::error!("fault {=u32} at {=u32:#010x}", cause, address);
        }),
    }
}

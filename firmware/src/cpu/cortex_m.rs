//! Cortex-M.
//!
//! A stack that overflows leaves the RAM at its lower end, where nothing is mapped (and meets the limit
//! register of an Armv8-M core before).

use core::arch::{asm, naked_asm};
use core::ptr;

use bitbudget_core::protocol::Cause;
use cortex_m::peripheral::SCB;
use cortex_m::register::msp;
use cortex_m_rt::exception;

use crate::fault::fail;
use crate::memory;

pub(crate) use cortex_m_rt::entry;

/// Does nothing: the start-up code has done all there is to do.
pub(crate) const fn start() {}

/// Starts the program anew.
pub(crate) fn reset() -> ! {
    SCB::sys_reset()
}

/// The address that the stack has grown down to.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    msp::read() as usize
}

/// Finds the return addresses on the stack from this frame outwards, as many as there is room for; their
/// number.
#[inline(always)]
pub(crate) fn return_addresses(addresses: &mut [u32]) -> usize {
    let frame: *const u32;
    // SAFETY: reads a register, which on this target holds the address of the current frame.
    unsafe { asm!("mov {}, r7", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    follow(frame, addresses)
}

fn follow(mut frame: *const u32, addresses: &mut [u32]) -> usize {
    let stack = memory::stack();
    let mut len = 0;
    for address in addresses {
        if !frame.is_aligned() || !stack.contains(&frame) || !stack.contains(&frame.wrapping_add(1))
        {
            break;
        }
        // SAFETY: two aligned words of the stack, which is RAM: a frame begins with the address of
        // the caller's frame and the return address (AAPCS32, frame chain). Where code keeps
        // none, they are some other words.
        let (outer, caller) = unsafe { (frame.read_volatile(), frame.add(1).read_volatile()) };
        *address = caller;
        len += 1;
        let outer = ptr::with_exposed_provenance(outer as usize);
        if outer <= frame {
            break;
        }
        frame = outer;
    }
    len
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
        // CFSR: MSTKERR, STKERR and, from Armv8-M on, STKOF; zero on Armv6-M
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
        "ldr r1, ={report}",
        "bx r1",
        ".ltorg",
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

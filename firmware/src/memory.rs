//! The memory map, and the bytes of it that are used.

use core::ptr;

use bitbudget_core::Aligned;
use bitbudget_core::protocol::Stats;
use cortex_m_rt::STACK_PAINT_VALUE;

use crate::board;

const MODEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/model.image"));

/// A section of its own, so that `size -A` shows the program without the model.
#[unsafe(link_section = ".model")]
static LINKED: Aligned<[u8; MODEL.len()]> = {
    let mut bytes = [0; MODEL.len()];
    bytes.copy_from_slice(MODEL);
    Aligned(bytes)
};

/// The image that is linked into the program; empty where there is none.
pub(crate) fn linked_image() -> &'static [u8] {
    &LINKED.0
}

// Placed by the linker script of cortex-m-rt; only their addresses mean anything.
unsafe extern "C" {
    static __sdata: u32;
    static __edata: u32;
    static __sbss: u32;
    static __ebss: u32;
    static _stack_start: u32;
    static _stack_end: u32;
}

fn between(from: *const u32, to: *const u32) -> u32 {
    (to.addr() - from.addr()) as u32
}

/// The statistics that memory tells; the others are 0.
pub(crate) fn stats(stack: &Stack) -> Stats {
    let statics = between(&raw const __sdata, &raw const __edata)
        + between(&raw const __sbss, &raw const __ebss);
    let lent = (board::ARENA_BYTES + board::IMAGE_BYTES) as u32;
    Stats {
        arena_used_bytes: 0,
        static_bytes: statics - lent,
        stack_used_bytes: stack.deepest(),
        stack_bytes: between(&raw const _stack_end, &raw const _stack_start),
        accepted_count: 0,
        rejected_count: 0,
    }
}

/// High-water mark of the stack, in bytes: the part that has lost its paint.
pub(crate) struct Stack {
    /// The deepest before it was painted anew.
    deepest: u32,
}

impl Stack {
    pub(crate) const fn new() -> Self {
        Self { deepest: 0 }
    }

    fn deepest(&self) -> u32 {
        self.deepest.max(used_stack_bytes())
    }

    /// The result of `work`, and the bytes of stack that it wrote below this call.
    #[inline(always)]
    pub(crate) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> (T, u32) {
        self.deepest = self.deepest();
        let before = paint_stack();
        let result = work();
        (result, used_stack_bytes().saturating_sub(before))
    }
}

/// Bytes of the stack that have lost their paint.
#[inline(never)]
fn used_stack_bytes() -> u32 {
    let (mut at, end) = (&raw const _stack_end, &raw const _stack_start);
    while at < end {
        // SAFETY: `at` lies between the two ends of the stack, which are RAM and multiples of four;
        // the part below the stack pointer, where this loop ends, is written by nobody meanwhile.
        if unsafe { ptr::read_volatile(at) } != STACK_PAINT_VALUE {
            break;
        }
        at = at.wrapping_add(1);
    }
    between(at, end)
}

/// Paints the stack below this call anew; the bytes above, which are in use.
#[inline(never)]
fn paint_stack() -> u32 {
    let top = cortex_m::register::msp::read() as usize;
    let mut at = (&raw const _stack_end).addr();
    while at < top {
        let word: *mut u32 = ptr::with_exposed_provenance_mut(at);
        // SAFETY: `word` is aligned and lies between the lower end of the stack and the stack pointer,
        // where nothing lives: no interrupt is taken, and what this function calls has returned.
        unsafe { word.write_volatile(STACK_PAINT_VALUE) };
        at += size_of::<u32>();
    }
    (&raw const _stack_start).addr().saturating_sub(top) as u32
}

/// The return addresses on the stack from this frame outwards, as many as there is room for; their
/// number.
pub(crate) fn return_addresses(mut frame: *const u32, addresses: &mut [u32]) -> usize {
    let stack = (&raw const _stack_end)..(&raw const _stack_start);
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

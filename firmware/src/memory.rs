//! The memory map, and the bytes of it that are used.

use core::ops::Range;
use core::ptr;

use bitbudget_core::Aligned;
use bitbudget_core::protocol::Stats;

use crate::{board, cpu};

const MODEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/model.image"));

/// In a section of its own, so that `size -A` shows the program without the model.
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

// Placed by the linker scripts; only their addresses mean anything.
unsafe extern "C" {
    static __sdata: u32;
    static __edata: u32;
    static __sbss: u32;
    static __ebss: u32;
    static _stack_start: u32;
    static _stack_end: u32;
}

/// Fill word of the stack where nothing was written.
const STACK_PAINT: u32 = 0xcccc_cccc;

/// The words of the stack, from its lower end.
pub(crate) fn stack() -> Range<*const u32> {
    &raw const _stack_end..&raw const _stack_start
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
    /// The stack as deep as it is now.
    pub(crate) fn new() -> Self {
        let deepest = paint_stack();
        Self { deepest }
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
        if unsafe { ptr::read_volatile(at) } != STACK_PAINT {
            break;
        }
        at = at.wrapping_add(1);
    }
    between(at, end)
}

/// Paints the stack below this call anew; the bytes above, which are in use.
#[inline(never)]
fn paint_stack() -> u32 {
    let top = cpu::stack_pointer();
    let mut at = (&raw const _stack_end).addr();
    while at < top {
        let word: *mut u32 = ptr::with_exposed_provenance_mut(at);
        // SAFETY: `word` is aligned and lies between the lower end of the stack and the stack pointer,
        // where nothing lives: no interrupt is taken, and what this function calls has returned.
        unsafe { word.write_volatile(STACK_PAINT) };
        at += size_of::<u32>();
    }
    (&raw const _stack_start).addr().saturating_sub(top) as u32
}

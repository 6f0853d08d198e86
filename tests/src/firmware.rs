//! The firmware's server on the host: all of the firmware that knows no hardware, on a board that is
//! none.

use bitbudget_core::protocol::Stats;
use embedded_io::{Read, Write};

#[path = "../../firmware/src/link.rs"]
mod link;
#[path = "../../firmware/src/server.rs"]
mod server;
#[path = "../../firmware/src/upload.rs"]
mod upload;

pub(crate) use board::LAYERS;

/// A board without hardware.
mod board {
    pub(crate) const NAME: &str = "host";
    pub(crate) const LAYERS: usize = 16;
    pub(crate) const LEVELS: usize = 8;
    pub(crate) const ITEMS: usize = 2 * LEVELS;
    pub(crate) const IMAGE_BYTES: usize = 1 << 15;
    pub(crate) const ARENA_BYTES: usize = 1 << 16;
    pub(crate) const INPUT_BYTES: usize = 1 << 10;
    pub(crate) const TICKS_HZ: u32 = 1;

    pub(crate) const fn feed() {}

    /// A clock that stands still.
    pub(crate) struct Clock;

    impl Clock {
        pub(crate) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> (T, u64) {
            (work(), 0)
        }
    }
}

/// A stack that nobody measures.
mod memory {
    use super::Stats;

    pub(crate) struct Stack;

    impl Stack {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> (T, u32) {
            (work(), 0)
        }
    }

    pub(crate) const fn stats(_: &Stack) -> Stats {
        Stats {
            arena_used_bytes: 0,
            static_bytes: 0,
            stack_used_bytes: 0,
            stack_bytes: 0,
            accepted_count: 0,
            rejected_count: 0,
        }
    }
}

/// A log that nobody reads.
mod log {
    macro_rules! unread {
        ($format:literal $(, $value:expr)* $(,)?) => {{ $(let _ = &$value;)* }};
    }
    pub(crate) use {unread as info, unread as warn};
}

/// Serves a pipe, for ever or until it unwinds, with an image that is linked in.
pub(crate) fn serve<P: Read + Write>(pipe: P, linked: &[u8]) -> ! {
    let mut buffers = link::Buffers::new();
    let mut image = vec![0; board::IMAGE_BYTES];
    let mut arena = crate::arena::Arena::new(board::ARENA_BYTES);
    let mut input = crate::arena::Arena::new(board::INPUT_BYTES);
    let lent = server::Memory {
        linked,
        image: &mut image,
        arena: arena.lend(),
        input: input.lend(),
    };
    server::Server::new(link::Link::new(pipe, &mut buffers), board::Clock).serve(lent, None)
}

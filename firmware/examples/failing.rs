//! The firmware with a way to fail, for the tests: four zero bytes on the wire and a letter, `p` to panic,
//! `l` to do so in the midst of a line of the log, `f` for a fault, `s` to overflow the stack, `w` to do nothing
//! until the watchdog runs out.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "../src/board/mod.rs"]
mod board;
#[cfg(target_os = "none")]
#[path = "../src/cpu/mod.rs"]
mod cpu;
#[cfg(target_os = "none")]
#[path = "../src/fault.rs"]
mod fault;
#[cfg(target_os = "none")]
#[path = "../src/lend.rs"]
mod lend;
#[cfg(target_os = "none")]
#[path = "../src/link.rs"]
mod link;
#[cfg(target_os = "none")]
#[path = "../src/log.rs"]
mod log;
#[cfg(target_os = "none")]
#[path = "../src/memory.rs"]
mod memory;
#[cfg(target_os = "none")]
#[path = "../src/server.rs"]
mod server;
#[cfg(target_os = "none")]
#[path = "../src/upload.rs"]
mod upload;

#[cfg(target_os = "none")]
mod failing {
    use core::hint::black_box;
    use core::sync::atomic::{AtomicU32, Ordering};

    use bitbudget_core::protocol::{Cause, Failure};
    use embedded_io::{ErrorType, Read, Write};

    /// Words that a stack would overwrite that grew onto statics, and that a reset keeps.
    #[unsafe(link_section = ".uninit.witness")]
    static WITNESS: [AtomicU32; 1024] = [const { AtomicU32::new(0) }; 1024];
    const UNTOUCHED: u32 = 0x600d_600d;

    /// A serial port that fails when it is told to.
    pub(crate) struct Failing<P> {
        pub(crate) port: P,
        pub(crate) zeros: u32,
    }

    impl<P: ErrorType> ErrorType for Failing<P> {
        type Error = P::Error;
    }

    impl<P: Read> Read for Failing<P> {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, P::Error> {
            let count = self.port.read(buffer)?;
            match buffer[..count] {
                [0] => self.zeros += 1,
                [kind] if self.zeros >= 4 => fail(kind),
                _ => self.zeros = 0,
            }
            Ok(count)
        }
    }

    impl<P: Write> Write for Failing<P> {
        fn write(&mut self, buffer: &[u8]) -> Result<usize, P::Error> {
            self.port.write(buffer)
        }

        fn flush(&mut self) -> Result<(), P::Error> {
            self.port.flush()
        }
    }

    fn fail(kind: u8) {
        match kind {
            b'p' => panic_as_asked(),
            b'l' => defmt::error!("{}", Unspeakable),
            b'f' => undefined(),
            b's' => {
                WITNESS
                    .iter()
                    .for_each(|word| word.store(UNTOUCHED, Ordering::Relaxed));
                deeper(0);
            }
            _ => {
                crate::board::watch(1);
                loop {
                    core::hint::spin_loop();
                }
            }
        }
    }

    /// An instruction that there is not.
    fn undefined() {
        cfg_select! {
            target_arch = "arm" => { cortex_m::asm::udf() }
            // SAFETY: ends the program.
            _ => { unsafe { core::arch::asm!("unimp") } }
        }
    }

    fn panic_as_asked() {
        let nothing: Option<u32> = black_box(None);
        nothing.expect("a panic that was asked for");
    }

    /// Panics when the log asks what it is.
    struct Unspeakable;

    impl defmt::Format for Unspeakable {
        fn format(&self, _: defmt::Formatter<'_>) {
            panic_as_asked();
        }
    }

    #[inline(never)]
    fn deeper(depth: u32) -> u32 {
        let block = black_box([depth; 32]);
        if block[0] == u32::MAX {
            return 0;
        }
        deeper(depth + 1) ^ black_box(block)[1]
    }

    /// A failure, as another one if it has overwritten what it should not.
    pub(crate) fn witnessed(failure: Failure) -> Failure {
        let untouched = |word: &AtomicU32| word.load(Ordering::Relaxed) == UNTOUCHED;
        if failure.cause == Cause::StackOverflow && !WITNESS.iter().all(untouched) {
            let cause = Cause::Exception;
            return Failure { cause, ..failure };
        }
        failure
    }
}

#[cfg(target_os = "none")]
#[cpu::entry]
fn main() -> ! {
    cpu::start();
    let (port, clock) = board::start();
    let pipe = failing::Failing { port, zeros: 0 };
    let (lent, buffers) = lend::lend();
    let failure = fault::last_failure().map(failing::witnessed);
    server::Server::new(link::Link::new(pipe, buffers), clock).serve(lent, failure)
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program is for a microcontroller");
}

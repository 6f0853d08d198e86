//! QEMU with the firmware in it.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::firmware::Machine;

/// Every instruction takes 2^7 ns of the emulated time.
const INSTRUCTION_NS_LOG2: u32 = 7;
/// Time limit for the start of QEMU.
const START: Duration = Duration::from_secs(20);
/// Time limit for an answer of the firmware: the longest inference that the emulator is good for.
const ANSWER: Duration = Duration::from_secs(600);

/// Why the emulator does not run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum EmulatorError {
    /// QEMU is not installed.
    #[error("{program} is not installed")]
    #[diagnostic(help(
        "install it: apt-get install qemu-system-arm qemu-system-misc, dnf install {program}, brew install qemu (or run ./setup.sh)"
    ))]
    NotInstalled {
        /// The emulator's name.
        program: &'static str,
    },
    /// Nothing emulates the board.
    #[error("{board} is hardware: nothing emulates it")]
    Hardware {
        /// The board.
        board: &'static str,
    },
    /// The firmware's program file cannot be read.
    #[error("cannot read the firmware {}", path.display())]
    Firmware {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The firmware's file is no program for the board.
    #[error("{} is not a program in ELF format", path.display())]
    #[diagnostic(help(
        "`cargo firmware` builds target/thumbv7em-none-eabihf/firmware/bitbudget-firmware; without --firmware it is built and used"
    ))]
    NotElf {
        /// The file.
        path: PathBuf,
    },
    /// The log cannot be written.
    #[error("cannot write the log {}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something about its process or its socket failed.
    #[error("cannot start QEMU")]
    Start(#[from] io::Error),
    /// QEMU ended instead of connecting.
    #[error("QEMU ended at once: {output}")]
    Ended {
        /// Its output.
        output: String,
    },
    /// QEMU did not connect.
    #[error("QEMU does not connect")]
    Silent,
}

fn check_program(path: &Path) -> Result<(), EmulatorError> {
    let mut magic = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut magic));
    read.map_err(|source| EmulatorError::Firmware {
        path: path.into(),
        source,
    })?;
    if magic == *b"\x7fELF" {
        Ok(())
    } else {
        Err(EmulatorError::NotElf { path: path.into() })
    }
}

impl Machine {
    /// The emulator's program and its arguments for this board.
    fn emulator(self) -> Result<(&'static str, &'static [&'static str]), EmulatorError> {
        let board = self.name;
        self.emulator.ok_or(EmulatorError::Hardware { board })
    }
}

/// A running emulator: a byte pipe to the firmware's serial port. Dropping it ends the emulation.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    pipe: TcpStream,
}

impl Emulator {
    /// Starts the firmware in a program file on a board; its log goes to the file `log`, in the form
    /// that `defmt-print` reads.
    ///
    /// # Errors
    /// [`EmulatorError`].
    pub fn start(
        firmware: &Path,
        board: Machine,
        log: Option<&Path>,
    ) -> Result<Self, EmulatorError> {
        let (program, machine) = board.emulator()?;
        check_program(firmware)?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let log = match log {
            None => Stdio::null(),
            Some(path) => File::create(path)
                .map_err(|source| EmulatorError::Log {
                    path: path.into(),
                    source,
                })?
                .into(),
        };
        let child = Command::new(program)
            .args(machine)
            .args(["-display", "none", "-monitor", "none"])
            .args(["-icount", &format!("shift={INSTRUCTION_NS_LOG2}")])
            .args(["-semihosting-config", "enable=on,target=native"])
            .arg("-chardev")
            .arg(format!(
                "socket,id=uart,host=127.0.0.1,port={port},nodelay=on"
            ))
            .args(["-serial", "chardev:uart", "-kernel"])
            .arg(firmware)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                EmulatorError::NotInstalled { program }
            } else {
                EmulatorError::Start(error)
            }
        })?;
        match accept(&listener, &mut child) {
            Ok(pipe) => Ok(Self { child, pipe }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// Whether the emulator of a board is installed.
    #[must_use]
    pub fn is_installed(board: Machine) -> bool {
        Self::check_installed(board).is_ok()
    }

    /// Checks that QEMU has been installed for a board.
    ///
    /// # Errors
    /// [`EmulatorError::NotInstalled`], [`EmulatorError::Hardware`].
    pub fn check_installed(board: Machine) -> Result<(), EmulatorError> {
        let (program, _) = board.emulator()?;
        let version = Command::new(program).arg("--version").output();
        match version {
            Ok(output) if output.status.success() => Ok(()),
            _ => Err(EmulatorError::NotInstalled { program }),
        }
    }

    /// The number of instructions in this many ticks of a timer of `ticks_hz`.
    #[must_use]
    pub fn instructions(ticks: u64, ticks_hz: u32) -> u64 {
        let second = u128::from(1_000_000_000_u32);
        let each = u128::from(ticks_hz) << INSTRUCTION_NS_LOG2;
        ((u128::from(ticks) * second + each / 2) / each.max(1)) as u64
    }
}

impl Read for Emulator {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(buffer)
    }
}

impl Write for Emulator {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.pipe.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pipe.flush()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // it may have ended already
    let _ = child.kill();
    let _ = child.wait();
}

/// The connection that the emulator makes.
fn accept(listener: &TcpListener, child: &mut Child) -> Result<TcpStream, EmulatorError> {
    let start = Instant::now();
    while start.elapsed() < START {
        match listener.accept() {
            Ok((pipe, _)) => {
                pipe.set_nonblocking(false)?;
                pipe.set_nodelay(true)?;
                pipe.set_read_timeout(Some(ANSWER))?;
                pipe.set_write_timeout(Some(ANSWER))?;
                return Ok(pipe);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if child.try_wait()?.is_some() {
            let mut output = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut output)?;
            }
            let output = output.trim().to_owned();
            return Err(EmulatorError::Ended { output });
        }
        sleep(Duration::from_millis(5));
    }
    Err(EmulatorError::Silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_instructions() {
        let hz = 25_000_000;
        for count in [0_u64, 1, 2, 3, 1_000_003, 1 << 30] {
            let exact = count * 32;
            for ticks in [exact / 10, exact.div_ceil(10)] {
                assert_eq!(Emulator::instructions(ticks, hz), count);
            }
        }
    }
}

//! The other end of the wire: a device that runs bitbudget's firmware, emulated or real.

mod client;
mod emulator;
mod firmware;
mod port;
mod session;

pub use client::{Client, DeviceError, Planned, Sample};
pub use emulator::{Emulator, EmulatorError};
pub use firmware::{
    BOARDS, FirmwareError, HARDWARE, LAYERS, LEVELS, Machine, build, check_capacity, has_target,
};
pub use port::{PortError, open_port};
pub use session::{Answer, Row, Session, Unit};

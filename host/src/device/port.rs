//! A serial port.

use std::io::{Read, Write};
use std::time::Duration;

/// Why a serial port is not there.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot open the serial port {path}")]
#[diagnostic(help(
    "is the board connected, and may you use the port? On Linux: sudo usermod -aG dialout $USER, and log in again"
))]
pub struct PortError {
    path: String,
    source: serialport::Error,
}

/// A byte pipe over a serial port, whose reads give up after `timeout`.
///
/// # Errors
/// [`PortError`].
pub fn open_port(
    path: &str,
    baud: u32,
    timeout: Duration,
) -> Result<impl Read + Write + use<>, PortError> {
    let port = serialport::new(path, baud).timeout(timeout).open();
    port.map_err(|source| PortError {
        path: path.into(),
        source,
    })
}

//! An image that is not in memory: weights are read from a flash behind SPI, as any driver of `embedded-storage`
//! offers it, when a plan wants them in RAM.
#![no_std]
#![no_main]

use bitbudget_core::storage::OutOfBounds;
use bitbudget_core::{Aligned, Engine, Image, Input, Limits, Planner};
use cortex_m_rt::entry;
use embedded_storage::nor_flash::{ErrorType, ReadNorFlash};
use semihosting::{println, process};

/// What stands for the flash.
static FLASH: &[u8] = include_bytes!("../digits.image");
/// What stands for a frame of the camera.
static FRAME: [u8; 64] = [8; 64];

/// The driver of a flash that counts what is read.
struct Driver<'c> {
    bytes_read: &'c core::cell::Cell<usize>,
}

impl ErrorType for Driver<'_> {
    type Error = OutOfBounds;
}

impl ReadNorFlash for Driver<'_> {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let from = FLASH.get(offset as usize..).ok_or(OutOfBounds)?;
        bytes.copy_from_slice(from.get(..bytes.len()).ok_or(OutOfBounds)?);
        self.bytes_read.set(self.bytes_read.get() + bytes.len());
        Ok(())
    }

    fn capacity(&self) -> usize {
        FLASH.len()
    }
}

#[entry]
fn main() -> ! {
    static mut ARENA: Aligned<[u8; 40 * 1024]> = Aligned([0; _]);

    let bytes_read = core::cell::Cell::new(0);
    let mut flash = Driver {
        bytes_read: &bytes_read,
    };
    // network, prices and names stay in RAM; of the blocks nothing but their checksum is looked at yet
    let mut meta = [0; 1024];
    let image = Image::<9, 5>::open(&mut flash, &mut meta).expect("an image");
    let mut planner = Planner::<9, 5>::new(image.network());
    let mut engine = Engine::with_storage(&image, flash, &mut ARENA.0).expect("an aligned arena");
    for bytes in [40 * 1024, 24 * 1024] {
        bytes_read.set(0);
        let plan = engine.replan(&mut planner, Limits::ram(bytes));
        let weights = plan.expect("a plan within the limits").ram_weight_bytes;
        println!(
            "{weights} bytes of weights, {} of them read",
            bytes_read.get()
        );
        engine
            .infer(Input::U8(&FRAME))
            .expect("a plan and a frame that fits");
    }
    process::exit(0)
}

//! The size of the firmware without its image.

use std::fs;

use bitbudget::device::{BOARDS, FirmwareError, build};

/// Code, and constants: a value that is not all zeros stands among them whole.
const MOST_BYTES: [(&str, u32); 2] = [(".text", 115 * 1024), (".rodata", 3 * 1024)];

/// The bytes of a section of a little-endian ELF of 32 bits.
fn section_bytes(elf: &[u8], name: &str) -> Option<u32> {
    let half = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?));
    let (headers, names) = (word(32)? as usize, half(50)?);
    let header = |index: u16| headers + 40 * usize::from(index);
    let names = word(header(names) + 16)? as usize;
    let is_it = |index: &u16| {
        let at = word(header(*index)).map(|offset| names + offset as usize);
        let text = at.and_then(|at| elf.get(at..at + name.len() + 1));
        text.is_some_and(|text| text == [name.as_bytes(), &[0]].concat())
    };
    let index = (0..half(48)?).find(is_it)?;
    word(header(index) + 20)
}

#[test]
fn the_program_does_not_grow_unnoticed() {
    let program = match build(BOARDS[0]) {
        Ok(program) => program,
        Err(FirmwareError::NoTarget { target }) => {
            eprintln!("SKIPPED: {target} is not installed; ./setup.sh installs it");
            return;
        }
        Err(error) => panic!("{error:?}"),
    };
    let elf = fs::read(program).expect("the program");
    for (name, most) in MOST_BYTES {
        let bytes = section_bytes(&elf, name).expect("a section");
        assert!(bytes <= most, "{name}: {bytes} bytes, {most} at most");
    }
}

use std::fs;

use super::*;
use crate::capacity::HostImage;
use crate::device::{BOARDS, HARDWARE};

const SHORT: &str = r#"
name = "my-board"
core = "Cortex-M4F"
cycle_model = "cortex-m4"
clock_hz = 84_000_000
flash = { bytes = 524_288, cycles_per_word = 0.75 }
ram = { bytes = 98_304, cycles_per_word = 0 }
"#;

fn parse(text: &str) -> Result<Board, BoardError> {
    Board::parse(Path::new("my.toml"), text)
}

#[test]
fn every_known_board_has_its_name_and_its_sources() {
    let boards = Board::all().unwrap();
    let names: Vec<&str> = Board::names().collect();
    assert_eq!(boards.len(), names.len());
    for (board, name) in boards.iter().zip(names) {
        assert_eq!(board.name, name);
        assert!(!board.title.is_empty(), "{name}");
        let Memory {
            bytes,
            cycles_per_word,
        } = &board.flash;
        let flash = [&bytes.source, &cycles_per_word.source];
        let ram = [&board.ram.bytes.source, &board.ram.cycles_per_word.source];
        for source in [flash, ram].concat() {
            assert!(source.len() > 10, "{name}");
            assert!(!source.contains('\n'), "{name}: {source}");
        }
        assert!(board.clock_hz.source.len() > 10, "{name}");
        assert!(cycles_per_word.value >= board.ram.cycles_per_word.value);
        assert_eq!(Board::named(name).unwrap(), *board);
        assert_eq!(Board::find(name).unwrap(), *board);
    }
}

#[test]
fn what_the_firmware_builds_for_is_known() {
    for board in BOARDS.into_iter().chain([HARDWARE]) {
        Board::named(board.name).unwrap();
    }
}

#[test]
fn emulated_memories_do_not_wait() {
    for board in BOARDS {
        let board = Board::named(board.name).unwrap();
        for place in [Place::Ram, Place::Flash] {
            assert_eq!(board.memory(place).cycles_per_word.value, 0.0);
        }
    }
}

#[test]
fn a_short_file_is_a_board() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    fs::write(&path, SHORT).unwrap();
    let board = Board::find(path.to_str().unwrap()).unwrap();
    assert_eq!(board, parse(SHORT).unwrap());
    assert_eq!(board.cycle_model, Some(Core::CortexM4));
    assert_eq!(board.clock_hz.value, 84_000_000);
    assert_eq!(board.flash.cycles_per_word.value, 0.75);
    assert_eq!(board.ram.bytes.value, 98_304);
    assert_eq!(board.milliseconds(84_000), 1.0);

    fs::write(&path, [0x80, 0xff]).unwrap();
    let message = Board::load(&path).unwrap_err().to_string();
    assert!(message.contains("it is not a text"), "{message}");
}

#[test]
fn faults_are_told_with_their_place() {
    let change = |from: &str, to: &str| {
        let text = SHORT.replacen(from, to, 1);
        assert_ne!(text, SHORT);
        parse(&text).unwrap_err().to_string()
    };
    let model = change("\"cortex-m4\"", "\"cortex-m9\"");
    assert_eq!(
        model,
        "my.toml, line 4: cycle_model: unknown cycle model; there are: cortex-m4, emulated"
    );
    for (from, to, expected) in [
        (
            "84_000_000",
            "0",
            "line 5: clock_hz: expected a clock from 1e3 to 1e10 Hz, found 0",
        ),
        ("84_000_000", "1000.5", "line 5: clock_hz: expected a clock"),
        (
            "84_000_000",
            "\"fast\"",
            "line 5: clock_hz: invalid type: string \"fast\", expected a clock",
        ),
        (
            "84_000_000",
            "{ source = \"\" }",
            "line 5: clock_hz: missing field `value`",
        ),
        (
            "524_288",
            "-1",
            "line 6: flash.bytes: expected a size from 1 to 4294967296 bytes, found -1",
        ),
        (
            "524_288",
            "{ value = 5_000_000_000 }",
            "line 6: flash.bytes: expected a size",
        ),
        (
            "0.75",
            "nan",
            "line 6: flash.cycles_per_word: expected a number of cycles",
        ),
        (
            "0.75",
            "inf",
            "line 6: flash.cycles_per_word: expected a number of cycles",
        ),
        (
            "0.75",
            "-0.1",
            "line 6: flash.cycles_per_word: expected a number of cycles from 0 to 10000, found -0.1",
        ),
        ("core", "cores", "unknown field `cores`"),
        ("name = \"my-board\"", "", "missing field `name`"),
        ("my-board", " ", "line 2: name: expected a name"),
        ("ram = {", "ram = ", "line 7: "),
        ("= 98_304", "", "line 7: "),
    ] {
        let found = change(from, to);
        assert!(found.contains(expected), "{to}: {found}");
    }
}

#[test]
fn unknown_names_are_told_the_known_ones() {
    let message = Board::find("nucleo").unwrap_err().to_string();
    assert!(message.contains("`nucleo`"), "{message}");
    for name in Board::names() {
        assert!(message.contains(name), "{message}");
    }
    for path in ["absent.toml", "boards/absent"] {
        let error = Board::find(path).unwrap_err();
        assert!(matches!(error, BoardError::File(_)), "{path}: {error}");
    }
}

#[test]
fn cycles_are_those_of_the_core_and_of_its_waiting() {
    let bytes = include_bytes!("../../../firmware/digits.image");
    let image = HostImage::parse(bytes).unwrap();
    let network = image.network();
    for board in Board::all().unwrap() {
        for (layer, row) in network.prices.rows.iter().enumerate() {
            for item in row {
                let cycles = |place| board.cycles(network, layer, item.level, place);
                let Some(core) = board.cycle_model else {
                    let message = cycles(Place::Flash).unwrap_err().to_string();
                    assert!(message.contains(&board.name), "{message}");
                    assert!(message.contains("nucleo-f446re"), "{message}");
                    continue;
                };
                let (flash, ram) = (cycles(Place::Flash).unwrap(), cycles(Place::Ram).unwrap());
                let alone = latency::cycles(network, layer, item.level, core);
                assert!(alone <= ram && ram <= flash, "{alone} {ram} {flash}");
                let Layer { op, output, .. } = &network.layers[layer];
                let words = weight_words(op, network.input_shape(layer), *output, item.level);
                let waiting = words * board.flash.cycles_per_word.value;
                assert!((flash as f64 - alone as f64 - waiting).abs() <= 1.0);
            }
        }
    }
}

//! Images that are read back, and every fault of theirs that has a name.

use bitbudget_core::engine::{Engine, EngineError, Input};
use bitbudget_core::image::{EmitError, Image, ImageError, Summary, VERSION, emit};
use bitbudget_core::level::{Level, WeightFormat};
use bitbudget_core::network::NetworkError;
use bitbudget_core::op::Function;
use bitbudget_core::place::Cycles;
use bitbudget_core::plan::Limits;
use bitbudget_core::quant::Width;
use bitbudget_core::shape::Shape;
use bitbudget_core::storage::Mapped;
use bitbudget_tests::builder::{Builder, Style};
use bitbudget_tests::generate::{self, small};
use bitbudget_tests::model::{TestImage, TestPlanner, seal};

fn error_of(bytes: &[u8]) -> ImageError {
    TestImage::parse(bytes).expect_err("a faulty image")
}

/// An image of these sections, with the header and checksum that belong to them.
fn assemble(sections: [&[u8]; 4]) -> Vec<u8> {
    let lengths = sections.map(|section| (section.len() as u32).to_le_bytes());
    let header = [*b"bitb", *b"udgt", VERSION.to_le_bytes()];
    let mut bytes = [
        header.concat(),
        lengths.concat(),
        sections.concat(),
        vec![0; 4],
    ]
    .concat();
    seal(&mut bytes);
    bytes
}

/// The sections of a sound image: network, names, plans, blocks.
fn sections(bytes: &[u8]) -> [&[u8]; 4] {
    let length = |i: usize| {
        let word = bytes[12 + 4 * i..][..4].try_into().expect("four bytes");
        u32::from_le_bytes(word) as usize
    };
    let (network, rest) = bytes[28..].split_at(length(0));
    let (names, rest) = rest.split_at(length(1));
    let (plans, rest) = rest.split_at(length(2));
    [network, names, plans, &rest[..length(3)]]
}

/// In one place images come and go: each is as if it were the first one, and what is no image leaves none.
#[test]
fn a_place_for_images_keeps_nothing_of_the_one_before() {
    let emitted = |seed: u64| generate::model(seed, Style::Real, 1 + seed as usize % 18).emit();
    let all: Vec<Vec<u8>> = (0..60).map(emitted).collect();
    let mut damaged = all[0].clone();
    damaged[30] ^= 1;
    let mut metas: Vec<Vec<u8>> = all.clone();
    let mut place = Box::new(TestImage::empty());
    for (at, (bytes, meta)) in all.iter().zip(&mut metas).enumerate() {
        let fresh = Box::new(TestImage::parse(bytes).expect("a sound image"));
        if at % 3 == 2 {
            let mut storage = Mapped(bytes);
            place
                .set_storage(&mut storage, meta)
                .expect("a sound image");
            assert!(place.blocks().is_empty());
        } else {
            place.set_bytes(bytes).expect("a sound image");
            assert_eq!(place.blocks(), fresh.blocks());
        }
        assert_eq!(place.network(), fresh.network());
        assert_eq!(place.blocks_at(), fresh.blocks_at());
        let layers = fresh.network().layers.len();
        for layer in 0..=layers {
            assert_eq!(place.name(layer), fresh.name(layer));
        }
        for (layer, format) in (0..layers).flat_map(|i| WeightFormat::ALL.map(|of| (i, of))) {
            assert_eq!(
                place.block_range(layer, format),
                fresh.block_range(layer, format)
            );
        }
        if at % 7 == 6 {
            let fault = place.set_bytes(&damaged).expect_err("a damaged image");
            assert_eq!(Err(fault), TestImage::parse(&damaged).map(|_| ()));
            assert_eq!(place.network(), TestImage::empty().network());
            assert!(place.blocks().is_empty() && place.name(0).is_empty());
            assert!(place.stored_plans().is_none());
        }
    }
}

/// A network without layers gives what it is given: nothing.
#[test]
fn an_empty_image_can_be_used() {
    let image = Box::new(TestImage::empty());
    let mut planner = Box::new(TestPlanner::new(image.network()));
    let mut arena = [0_u64; 8];
    let mut engine = Engine::new(&image, bytemuck::cast_slice_mut(&mut arena)).expect("an engine");
    assert_eq!(engine.infer(Input::U8(&[])), Err(EngineError::NoPlan));
    let limits = Limits::ram(64);
    let plan = engine.replan(&mut planner, limits);
    assert_eq!(plan.expect("a plan").ram_bytes(), 0);
    assert_eq!(engine.infer(Input::U8(&[])), Ok(&[][..]));
}

#[test]
fn images_are_read_back_as_they_were_written() {
    for seed in 0..300 {
        let style = [Style::Real, Style::Dyadic][seed as usize % 2];
        let model = generate::model(seed, style, 1 + seed as usize % 18);
        let bytes = model.emit();
        let image = TestImage::parse(&bytes).expect("a sound image");
        assert_eq!(image.network(), &model.network);
        for (layer, name) in model.names.iter().enumerate() {
            assert_eq!(image.name(layer), name);
        }
        assert_eq!(image.name(model.names.len()), "");
        assert_eq!(image.name(usize::MAX), "");
        assert_eq!(image.blocks(), model.section());
        let mut end = 0;
        for layer in 0..model.names.len() {
            for format in WeightFormat::ALL {
                let row = &model.network.prices.rows[layer];
                let mut items = row
                    .iter()
                    .filter(|item| item.level.weight_format() == format);
                let block = image.block_range(layer, format);
                assert_eq!(block.is_some(), items.clone().count() > 0);
                if let Some(block) = block {
                    assert_eq!(block.start, end);
                    end = block.end;
                    assert!(items.all(|item| item.bytes as usize == block.len()));
                }
            }
        }
        assert_eq!(end, image.blocks().len());
    }
}

#[test]
fn images_are_as_their_documentation_says() {
    let model = small();
    let bytes = model.emit();
    let parts = sections(&bytes);
    assert_eq!(parts[3], model.section());
    let padding = parts[2].len();
    assert_eq!((parts[0].len() + parts[1].len() + padding) % 4, 0);
    assert_eq!(parts[2], &[0; 3][..padding]);
    let mut names = Vec::new();
    for name in &model.names {
        names.push(name.len() as u8);
        names.extend(name.as_bytes());
    }
    assert_eq!(parts[1], names);
    assert_eq!(assemble(parts), bytes);
    assert_eq!(bytes.len(), 28 + parts.concat().len() + 4);
}

#[test]
fn faults_of_the_header() {
    let mut bytes = small().emit();
    let found = bytes.len();
    assert_eq!(error_of(b""), ImageError::Magic);
    assert_eq!(error_of(b"bitbudgf0000"), ImageError::Magic);
    let short = ImageError::Length {
        expected: Some(32),
        found: 8,
    };
    assert_eq!(error_of(b"bitbudgt"), short);
    let length = |expected| ImageError::Length {
        expected: Some(expected),
        found,
    };
    for (at, expected) in [
        (12, length(found + 1)),
        (16, length(found + 1)),
        (20, length(found + 1)),
        (24, length(found + 1)),
    ] {
        bytes[at] += 1;
        seal(&mut bytes);
        assert_eq!(error_of(&bytes), expected);
        bytes[at] -= 1;
    }
    let last = bytes.len() - 1;
    seal(&mut bytes);
    bytes[last] ^= 1;
    assert!(
        matches!(error_of(&bytes), ImageError::Crc { expected, found } if expected ^ found == 1 << 24)
    );
    bytes[8] = 2;
    seal(&mut bytes);
    assert_eq!(error_of(&bytes), ImageError::Version(2));
    let lengths = [[0xff; 4]; 4].concat();
    bytes[8] = VERSION as u8;
    bytes[12..28].copy_from_slice(&lengths);
    assert!(matches!(error_of(&bytes), ImageError::Length { .. }));
}

#[test]
fn faults_of_the_sections() {
    let model = small();
    let bytes = model.emit();
    let [network, names, plans, blocks] = sections(&bytes);
    let longer = [network, &[0; 4]].concat();
    let [more_names, more_plans] = [names, plans].map(|part| [part, &[0; 4]].concat());
    for (parts, expected) in [
        ([&[], names, plans, blocks], ImageError::Network),
        (
            [&network[..network.len() - 1], names, plans, blocks],
            ImageError::Network,
        ),
        ([&longer, names, plans, blocks], ImageError::Network),
        ([network, &[], plans, blocks], ImageError::Names),
        ([network, &more_names, plans, blocks], ImageError::Names),
        ([network, names, &more_plans, blocks], ImageError::Plans),
        (
            [network, &names[..names.len() - 8], plans, blocks],
            ImageError::Names,
        ),
    ] {
        assert_eq!(error_of(&assemble(parts)), expected);
    }
    let more = [blocks, &[0; 4]].concat();
    for parts in [&blocks[4..], &[], &more] {
        let (expected, found) = (blocks.len() as u64, parts.len());
        let error = ImageError::BlockBytes { expected, found };
        assert_eq!(error_of(&assemble([network, names, plans, parts])), error);
    }
    let mut unreadable = names.to_vec();
    unreadable[1] = 0xff;
    assert_eq!(
        error_of(&assemble([network, &unreadable, plans, blocks])),
        ImageError::Names
    );
}

/// Names of any length leave sections of a multiple of four bytes, padded with zeros.
#[test]
fn cycles_stand_behind_the_network() {
    let mut model = generate::model(3, Style::Real, 7);
    let without = model.emit();
    for (at, item) in (1..).zip(model.network.prices.rows.iter_mut().flatten()) {
        item.cycles = Cycles {
            flash: 1_000 * at,
            ram: at,
        };
    }
    let bytes = model.emit();
    let image = TestImage::parse(&bytes).expect("an image");
    assert_eq!(*image.network(), model.network);
    let ([plain, ..], [network, names, tables, blocks]) = (sections(&without), sections(&bytes));
    let tables = &tables[..image.tables().len()];
    let (same, cycles) = network.split_at(plain.len());
    assert_eq!(same, plain);
    let items: usize = model.network.prices.rows.iter().map(|row| row.len()).sum();
    // each takes a byte or two in RAM, two or three in flash
    assert!((3 * items..=5 * items).contains(&cycles.len()));
    let with = |network: &[u8]| {
        let end = network.len() + names.len() + tables.len();
        let zeros = vec![0; end.next_multiple_of(4) - end];
        assemble([network, names, &[tables, &zeros].concat(), blocks])
    };
    assert!(TestImage::parse(&with(network)).is_ok());
    for len in plain.len() + 1..network.len() {
        assert_eq!(error_of(&with(&network[..len])), ImageError::Network);
    }
    let longer = [network, &[0]].concat();
    assert_eq!(error_of(&with(&longer)), ImageError::Network);
    // more in all than 32 bits count
    for item in model.network.prices.rows.iter_mut().flatten() {
        item.cycles.flash = u32::MAX / 2 + 1;
    }
    let error = ImageError::Check(NetworkError::Cycles);
    assert_eq!(error_of(&model.emit()), error);
}

#[test]
fn faults_of_the_padding() {
    let mut tried = [0; 4];
    for len in 0..8 {
        let mut model = small();
        model.names[0] = "n".repeat(len);
        let bytes = model.emit();
        let [network, names, plans, blocks] = sections(&bytes);
        let padding = plans.len();
        tried[padding] += 1;
        for other in (0..4).filter(|other| *other != padding) {
            let odd = vec![0; other];
            assert_eq!(
                error_of(&assemble([network, names, &odd, blocks])),
                ImageError::Plans
            );
        }
        if padding > 0 {
            let mut dirty = plans.to_vec();
            dirty[0] = 1;
            assert_eq!(
                error_of(&assemble([network, names, &dirty, blocks])),
                ImageError::Plans
            );
        }
    }
    assert_eq!(tried, [2; 4]);
}

/// A table that is cut off, or has an entry that no function gives.
#[test]
fn faults_of_the_tables() {
    let mut builder = Builder::new(3, Style::Real, Shape::new(2, 2, 1));
    let gate = builder.unary(0, Function::Silu);
    let other = builder.unary(gate, Function::Tanh);
    builder.dense(other, 2);
    let bytes = builder.finish().emit();
    let [network, names, tables, blocks] = sections(&bytes);
    assert!(
        (1024..1028).contains(&tables.len()),
        "two tables and padding"
    );
    assert_eq!(
        TestImage::parse(&bytes).expect("sound").tables().len(),
        1024
    );
    let error = |tables: &[u8]| error_of(&assemble([network, names, tables, blocks]));
    for len in [0, 4, 512, 1020] {
        assert_eq!(error(&tables[..len]), ImageError::Tables);
    }
    for entry in [0, 255, 256, 511] {
        for quarters in [i16::MIN, 4 * -128 - 1, 4 * 127 + 1, i16::MAX] {
            let mut tables = tables.to_vec();
            tables[2 * entry..][..2].copy_from_slice(&quarters.to_le_bytes());
            assert_eq!(error(&tables), ImageError::Tables);
        }
    }
}

/// What no kernel can run is found wherever it stands in a block.
#[test]
fn faults_of_the_blocks() {
    let mut found = 0;
    for seed in 0..20 {
        let model = generate::model_at(seed, Style::Real, 3, &Level::ALL);
        let bytes = model.emit();
        let image = TestImage::parse(&bytes).expect("a sound image");
        let begin = bytes.len() - 4 - image.blocks().len();
        for layer in 0..model.names.len() {
            let Some(first) = image.block_range(layer, WeightFormat::F32) else {
                continue;
            };
            let weights = &model.weights[layer];
            let (channels, count) = (weights.bias.len(), weights.weight.len());
            for format in WeightFormat::ALL {
                let block = image.block_range(layer, format).expect("all levels");
                let mut refuses = |at: usize, part: &[u8], word: usize| {
                    let mut faulty = bytes.clone();
                    faulty[begin + block.start + at..][..part.len()].copy_from_slice(part);
                    seal(&mut faulty);
                    let offset = (block.start - first.start + word) as u32;
                    assert_eq!(error_of(&faulty), ImageError::Block { layer, offset });
                    found += 1;
                };
                let last = channels - 1;
                match format {
                    WeightFormat::F32 => {
                        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                            for at in [0, last, channels, channels + count - 1] {
                                refuses(4 * at, &bad.to_le_bytes(), 4 * at);
                            }
                        }
                    }
                    WeightFormat::F16 => {
                        refuses(4 * last, &f32::NAN.to_le_bytes(), 4 * last);
                        for bad in [0x7c00_u16, 0xfc00, 0x7e00] {
                            let at = 4 * channels + 2 * (count - 1);
                            refuses(at, &bad.to_le_bytes(), at & !3);
                        }
                        if count % 2 == 1 {
                            let at = 4 * channels + 2 * count;
                            refuses(at, &[1], at & !3);
                        }
                    }
                    WeightFormat::Int(width) => {
                        for bad in [i32::MAX, i32::MIN] {
                            refuses(4 * last, &bad.to_le_bytes(), 4 * last);
                        }
                        let shifts = 8 * channels + (last & !3);
                        for bad in [-1, i32::MIN] {
                            refuses(4 * (channels + last), &bad.to_le_bytes(), shifts);
                        }
                        refuses(8 * channels + last, &[63], shifts);
                        if channels % 4 != 0 {
                            refuses(8 * channels + channels, &[1], shifts);
                        }
                        let rows = 8 * channels + channels.next_multiple_of(4);
                        let row = width.row_bytes(count / channels);
                        let at = rows + row * last;
                        match width {
                            Width::Int8 => refuses(at, &[0x80], at & !3),
                            Width::Int4 => refuses(at, &[0x08], at & !3),
                            Width::Int2 => {}
                        }
                        let per_byte = 8 / width.bits() as usize;
                        if (count / channels) % per_byte != 0 {
                            refuses(at + row - 1, &[0x70], (at + row - 1) & !3);
                        }
                    }
                }
            }
        }
    }
    assert!(found > 500, "{found}");
}

/// What an image says of itself before any memory is lent to it, of each of its beginnings.
#[test]
fn summaries_tell_what_an_image_needs() {
    let bytes = small().emit();
    let image = TestImage::parse(&bytes).expect("a sound image");
    let network = image.network();
    let summary = Summary {
        image_bytes: bytes.len() as u32,
        meta_bytes: image.blocks_at() - 28,
        layers: 4,
        levels: 4,
        input: network.input,
        output: network.output_shape(),
        has_cycles: false,
        has_plans: false,
    };
    let known = 28 + sections(&bytes)[0].len();
    for end in 0..=bytes.len() {
        match Summary::of(&bytes[..end]) {
            Ok(found) => assert_eq!((found, end >= known), (summary, true)),
            Err(ImageError::Magic) => assert!(end < 8),
            Err(ImageError::Length { found, .. }) => assert!(end < known && found == end),
            Err(error) => panic!("{error}"),
        }
    }
    for at in 28..known {
        let mut cut = bytes[..at].to_vec();
        cut[12..16].copy_from_slice(&(at as u32 - 28).to_le_bytes());
        assert_eq!(Summary::of(&cut), Err(ImageError::Network), "{at}");
    }
}

#[test]
fn more_than_the_capacities_hold() {
    let bytes = small().emit();
    assert!(Image::<4, 4>::parse(&bytes).is_ok());
    let too_many = Image::<3, 4>::parse(&bytes);
    assert_eq!(
        too_many.err(),
        Some(ImageError::Layers { found: 4, limit: 3 })
    );
    let too_wide = Image::<4, 3>::parse(&bytes);
    let (layer, found, limit) = (0, 4, 3);
    assert_eq!(
        too_wide.err(),
        Some(ImageError::Levels {
            layer,
            found,
            limit
        })
    );
}

#[test]
fn images_that_cannot_be_written() {
    let model = small();
    let section = model.section();
    let names: Vec<&str> = model.names.iter().map(String::as_str).collect();
    let len = model.emit().len();
    let mut buffer = vec![0; len];
    let written = emit(
        &model.network,
        names.iter().copied(),
        &[],
        &section,
        &mut buffer,
    );
    assert_eq!(written, Ok(len));
    for short in 0..len {
        let written = emit(
            &model.network,
            names.iter().copied(),
            &[],
            &section,
            &mut buffer[..short],
        );
        assert_eq!(written, Err(EmitError::BufferFull));
    }
    for names in [&names[1..], &[names.as_slice(), &["more"]].concat()] {
        let mut buffer = vec![0; 2 * len];
        let written = emit(
            &model.network,
            names.iter().copied(),
            &[],
            &section,
            &mut buffer,
        );
        assert_eq!(written, Err(EmitError::Names));
    }
}

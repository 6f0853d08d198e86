//! Images that are read back, and every fault of theirs that has a name.

use bitbudget_core::image::{EmitError, Image, ImageError, VERSION, emit};
use bitbudget_tests::builder::Style;
use bitbudget_tests::generate::{self, small};
use bitbudget_tests::model::{Model, TestImage, seal};

fn error_of(bytes: &[u8]) -> ImageError {
    TestImage::parse(bytes).expect_err("a faulty image")
}

/// The error of a model that `fault` was put into.
fn fault(fault: impl FnOnce(&mut Model)) -> ImageError {
    let mut model = small();
    fault(&mut model);
    error_of(&model.emit())
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

/// The sections of a sound image: network, names, plans, weights.
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
        let mut section = Vec::<u8>::new();
        for (layer, weights) in model.weights.iter().enumerate() {
            let master = image.master(layer);
            assert_eq!(master.is_none(), weights.weight.is_empty());
            section.extend(master.unwrap_or_default());
        }
        assert_eq!(section, model.section());
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
    bytes[8] = 3;
    bytes[12..28].copy_from_slice(&lengths);
    assert!(matches!(error_of(&bytes), ImageError::Length { .. }));
}

#[test]
fn faults_of_the_sections() {
    let model = small();
    let bytes = model.emit();
    let [network, names, plans, weights] = sections(&bytes);
    let longer = [network, &[0; 4]].concat();
    let [more_names, more_plans] = [names, plans].map(|part| [part, &[0; 4]].concat());
    for (parts, expected) in [
        ([&[], names, plans, weights], ImageError::Network),
        (
            [&network[..network.len() - 1], names, plans, weights],
            ImageError::Network,
        ),
        ([&longer, names, plans, weights], ImageError::Network),
        ([network, &[], plans, weights], ImageError::Names),
        ([network, &more_names, plans, weights], ImageError::Names),
        ([network, names, &more_plans, weights], ImageError::Plans),
        (
            [network, &names[..names.len() - 8], plans, weights],
            ImageError::Names,
        ),
    ] {
        assert_eq!(error_of(&assemble(parts)), expected);
    }
    let more = [weights, &[0; 4]].concat();
    for parts in [&weights[4..], &[], &more] {
        let (expected, found) = (weights.len() as u64, parts.len());
        let error = ImageError::WeightBytes { expected, found };
        assert_eq!(error_of(&assemble([network, names, plans, parts])), error);
    }
    let mut unreadable = names.to_vec();
    unreadable[1] = 0xff;
    assert_eq!(
        error_of(&assemble([network, &unreadable, plans, weights])),
        ImageError::Names
    );
}

/// Names of any length leave sections of a multiple of four bytes, padded with zeros.
#[test]
fn faults_of_the_padding() {
    let mut tried = [0; 4];
    for len in 0..8 {
        let mut model = small();
        model.names[0] = "n".repeat(len);
        let bytes = model.emit();
        let [network, names, plans, weights] = sections(&bytes);
        let padding = plans.len();
        tried[padding] += 1;
        for other in (0..4).filter(|other| *other != padding) {
            let odd = vec![0; other];
            assert_eq!(
                error_of(&assemble([network, names, &odd, weights])),
                ImageError::Plans
            );
        }
        if padding > 0 {
            let mut dirty = plans.to_vec();
            dirty[0] = 1;
            assert_eq!(
                error_of(&assemble([network, names, &dirty, weights])),
                ImageError::Plans
            );
        }
    }
    assert_eq!(tried, [2; 4]);
}

#[test]
fn faults_of_the_weights() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let weight = ImageError::Weight { layer: 0, index: 1 };
        assert_eq!(fault(|m| m.weights[0].weight[1] = bad), weight);
        let bias = ImageError::Weight {
            layer: 3,
            index: 13,
        };
        assert_eq!(fault(|m| m.weights[3].bias[1] = bad), bias);
    }
    for bad in [f32::NAN, f32::INFINITY, 0.0, -1.0, 1e-40, 1e30] {
        let scale = ImageError::Weight {
            layer: 3,
            index: 17,
        };
        assert_eq!(fault(|m| m.weights[3].scale[0][2] = bad), scale);
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

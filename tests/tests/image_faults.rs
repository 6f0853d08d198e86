//! Damaged and hostile images never panic: not in parsing, and where they parse, not in planning or
//! inference.

use bitbudget_core::image::ImageError;
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::arena::Arena;
use bitbudget_tests::builder::{Builder, Style};
use bitbudget_tests::fuzz::image::exercise;
use bitbudget_tests::generate;
use bitbudget_tests::model::{LAYERS, LEVELS, TestImage, seal};
use bitbudget_tests::tamper::{repair, tamper};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// An image of some hundred bytes.
fn small() -> Vec<u8> {
    let mut builder = Builder::new(1, Style::Real, Shape::new(2, 2, 1));
    let a = builder.conv(0, Window::square(1, 1, 0), 1, 1);
    let b = builder.add(a, 0);
    builder.dense(b, 2);
    builder.finish().emit()
}

/// Does everything that one does with an image; whether it ran.
fn run(bytes: &[u8], arena: &mut Arena) -> Result<bool, ImageError> {
    exercise::<LAYERS, LEVELS>(bytes, arena)
}

#[test]
fn every_truncation_and_extension_is_an_error() {
    let mut bytes = small();
    for len in 0..bytes.len() {
        assert!(TestImage::parse(&bytes[..len]).is_err(), "{len}");
    }
    for more in 1..16 {
        bytes.push(0);
        assert!(TestImage::parse(&bytes).is_err(), "{more}");
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    let mut bytes = small();
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(TestImage::parse(&bytes).is_err(), "{bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(TestImage::parse(&bytes).is_ok());
}

/// Every value of every byte outside the weights, with a checksum that belongs to it.
#[test]
fn every_byte_can_be_anything() {
    let sound = small();
    let mut arena = Arena::new(1 << 16);
    let mut ran = 0;
    for at in 0..sound.len() - 4 {
        for value in 0..=255 {
            let mut bytes = sound.clone();
            bytes[at] = value;
            seal(&mut bytes);
            ran += usize::from(run(&bytes, &mut arena) == Ok(true));
        }
    }
    assert!(ran > 1000, "{ran}");
}

/// Several bytes of larger images changed, removed or inserted.
#[test]
fn bytes_at_random() {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut arena = Arena::new(1 << 17);
    let mut ran = 0;
    for seed in 0..100 {
        let sound = generate::model(seed, Style::Real, rng.random_range(1..10)).emit();
        let network_len = usize::from(sound[12]) + 256 * usize::from(sound[13]);
        for _ in 0..300 {
            let mut bytes = sound.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(28..28 + network_len);
                match rng.random_range(0..6) {
                    0 => bytes[at] = [0, 0x7f, 0x80, 0xff][rng.random_range(0..4)],
                    1 => bytes[at] ^= 1 << rng.random_range(0..8),
                    2 => bytes[at] = bytes[at].wrapping_add(1),
                    3 => bytes[at] = bytes[at].wrapping_sub(1),
                    4 => bytes[at] = bytes[rng.random_range(28..28 + network_len)],
                    // the lengths stay the same
                    _ => bytes[28..28 + network_len].rotate_left(1),
                }
            }
            seal(&mut bytes);
            ran += usize::from(run(&bytes, &mut arena) == Ok(true));
        }
    }
    assert!(ran > 1000, "{ran}");
}

#[test]
fn networks_that_were_tampered_with() {
    let mut rng = SmallRng::seed_from_u64(2);
    let mut arena = Arena::new(1 << 18);
    let (mut ran, mut refused) = (0, 0);
    for seed in 0..300 {
        let sound = generate::model(seed, Style::Real, rng.random_range(1..10));
        for _ in 0..80 {
            let mut model = sound.clone();
            for _ in 0..rng.random_range(1..4) {
                tamper(&mut rng, &mut model);
            }
            if rng.random_bool(0.8) {
                repair(&mut model);
            }
            match run(&model.emit(), &mut arena) {
                Ok(true) => ran += 1,
                Ok(false) => {}
                Err(_) => refused += 1,
            }
        }
    }
    assert!(ran > 3000 && refused > 3000, "{ran} {refused}");
}

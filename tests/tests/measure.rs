//! Images with the cycles that a board takes: what `bench` counts, and nothing else is changed.
//!
//! Without QEMU or the target the tests on the board say so and pass; `./setup.sh` installs both.

use bitbudget::bench::{Bench, BenchError, Measured, Unmeasured};
use bitbudget::capacity::{self, HostImage, HostNetwork, HostPlanner};
use bitbudget::device::{BOARDS, Client, DeviceError, Unit};
use bitbudget::evaluate::sample;
use bitbudget::pack::{self, PackError};
use bitbudget::search::{Effort, staircase};
use bitbudget_core::engine::EngineError;
use bitbudget_core::image::{ImageError, emit};
use bitbudget_core::level::Level;
use bitbudget_core::network::NetworkError;
use bitbudget_core::place::{Cycles, Place, Places};
use bitbudget_core::plan::{Limits, Measure};
use bitbudget_core::protocol::Refusal;
use bitbudget_core::quant::{Rounding, Width};
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::builder::{Builder, Style};
use bitbudget_tests::emulated::{DIGIT_LEN, digits, digits_image, emulator};

const INT8: Level = Level::Int(Width::Int8, Rounding::Nearest);
const INT4: Level = Level::Int(Width::Int4, Rounding::Nearest);

#[test]
fn a_measured_image_has_benchs_counts_and_plans_alike_on_host_and_device() {
    let Some(board) = emulator(BOARDS[0]) else {
        return;
    };
    let bytes = digits_image();
    let image = HostImage::parse(&bytes).expect("an image");
    let mut bench = Bench::begin(board, Unit::Instructions).expect("a session");
    let (rows, _) = bench.image(&image, &bytes, &|_| {}).expect("counts");
    let measured = bench.measure(&image, &bytes, None, &|_| {});
    let measured = measured.expect("counts");
    assert!(measured.linked);
    assert_eq!(measured.unmeasured, []);
    for (layer, items) in measured.network.prices.rows.iter().enumerate() {
        for item in items {
            let name = image.name(layer);
            let mut rows = rows.iter();
            let row = rows.find(|row| row.name == name && row.level == item.level.name());
            let Cycles { flash, ram } = item.cycles;
            let counted = row.expect("a row").instructions;
            assert_eq!(u64::from(ram), counted, "{name} at {}", item.level);
            assert!(flash.abs_diff(ram) * 100 <= ram, "{name}: {flash} {ram}");
        }
    }
    let digits = digits();
    let of_digit = bench.measure(&image, &bytes, Some(sample(&digits, 0, DIGIT_LEN)), &|_| {});
    let of_digit = of_digit.expect("counts");
    assert_eq!(at(&of_digit, INT8), at(&measured, INT8));

    let written = pack::with_cycles(&image, &measured.network).expect("an image");
    let written_image = HostImage::parse(&written).expect("an image");
    assert_eq!(written_image.network(), &*measured.network);
    assert_eq!(written_image.blocks(), image.blocks());
    drop(bench);
    let Some(board) = emulator(BOARDS[0]) else {
        return;
    };
    check_plans(&mut Client::new(board), &written, &written_image);
}

/// The cycles of all layers at a level.
fn at(measured: &Measured, level: Level) -> Vec<Cycles> {
    let items = measured.network.prices.rows.iter().flatten();
    let items = items.filter(|item| item.level == level);
    items.map(|item| item.cycles).collect()
}

/// Plans from too few cycles to as many as the best plan takes.
fn check_plans<P: std::io::Read + std::io::Write>(
    client: &mut Client<P>,
    bytes: &[u8],
    image: &HostImage<'_>,
) {
    client.info().expect("an answer");
    client.load(bytes, &|_| {}).expect("room for it");
    let network = image.network();
    let mut planner = Box::new(HostPlanner::with_places(Places::Best, network));
    let best = planner.plan(network, Limits::NONE, u64::MAX);
    let best = best.expect("it fits").cycles;
    let mut planned_count = 0;
    for part in 20..=25 {
        let limits = Limits::ram(12 << 10).with(Measure::Cycles, best * part / 25);
        let host = planner.plan(network, limits, u64::MAX);
        match (client.replan(limits, Places::Best, u64::MAX), host) {
            (Ok(device), Ok(host)) => {
                assert_eq!(device.plan, host, "{limits}");
                assert!(host.cycles > 0 && host.is_within(&limits));
                planned_count += 1;
            }
            (
                Err(DeviceError::Refused(Refusal::Engine(EngineError::Limits(device)))),
                Err(host),
            ) => assert_eq!(device, host),
            (device, host) => panic!("{limits}: device {device:?}, host {host:?}"),
        }
    }
    assert!((1..6).contains(&planned_count), "{planned_count}");
}

/// A tensor that leaves 60 KB of the board's RAM, and a layer whose weights take 93 KB at INT8.
fn crowded(levels: &[Level]) -> Vec<u8> {
    let mut builder = Builder::new(5, Style::Real, Shape::new(80, 80, 3));
    builder.levels = levels.to_vec();
    let wide = builder.conv(0, Window::square(1, 1, 0), 1, 232);
    builder.conv(wide, Window::square(10, 40, 0), 1, 4);
    builder.finish().emit()
}

#[test]
fn what_the_board_has_no_room_for_is_measured_in_flash_or_told() {
    let Some(board) = emulator(BOARDS[0]) else {
        return;
    };
    let mut bench = Bench::begin(board, Unit::Instructions).expect("a session");
    let mut measure = |levels: &[Level]| {
        let bytes = crowded(levels);
        let image = HostImage::parse(&bytes).expect("an image");
        bench.measure(&image, &bytes, None, &|_| {})
    };
    let measured = measure(&[INT8, INT4]).expect("counts");
    assert!(!measured.linked);
    let too_large = Unmeasured {
        layer: 1,
        level: INT8,
        place: Place::Ram,
    };
    assert_eq!(measured.unmeasured, [too_large]);
    for item in measured.network.prices.rows.iter().flatten() {
        let Cycles { flash, ram } = item.cycles;
        assert!(ram > 100_000 && flash.abs_diff(ram) * 100 <= ram);
    }
    let item = measured.network.item_at(1, Some(INT8)).expect("a level");
    assert_eq!(item.cycles.flash, item.cycles.ram);

    // at FP32 the second layer reads 5.9 MB
    let refused = measure(&[Level::Fp32, INT8]).expect_err("no room");
    let BenchError::NoRoom {
        layer,
        level: Level::Fp32,
        needed_bytes: 5_900_000..,
        arena_bytes: 1_572_864,
        ..
    } = &refused
    else {
        panic!("{refused:?}");
    };
    assert!(refused.to_string().contains(layer.as_str()));
}

/// The linked image as `pack --store-plans` would have it.
fn with_plans() -> Vec<u8> {
    let bytes = digits_image();
    let image = HostImage::parse(&bytes).expect("an image");
    let network = image.network();
    let mut planner = capacity::planner(Places::Ram, network);
    let all = (Limits::NONE, Measure::Ram);
    let plans = staircase(network, &mut planner, all, &Effort::UNLIMITED).plans;
    assert!(plans.len() > 10, "{}", plans.len());
    let names = (0..network.layers.len()).map(|layer| image.name(layer));
    let mut buffer = vec![0; bytes.len() + 16_384];
    let len = emit(network, names, &plans, image.blocks(), &mut buffer).expect("room enough");
    buffer.truncate(len);
    buffer
}

#[test]
fn an_image_changes_in_nothing_but_its_cycles() {
    for bytes in [digits_image(), with_plans()] {
        let image = HostImage::parse(&bytes).expect("an image");
        let same = pack::with_cycles(&image, image.network()).expect("an image");
        assert!(same == bytes);
        let other = pack::with_cycles(&image, &cycles_of(&image, 7)).expect("an image");
        let other = HostImage::parse(&other).expect("an image");
        assert_eq!(*other.network(), *cycles_of(&image, 7));
        assert_eq!(other.blocks(), image.blocks());
        let plans = [&image, &other].map(|image| image.stored_plans().map(|plans| plans.count()));
        assert_eq!(plans[0], plans[1]);
        let refused = pack::with_cycles(&image, &cycles_of(&image, u32::MAX / 2));
        assert!(matches!(
            refused,
            Err(PackError::Check(ImageError::Check(NetworkError::Cycles)))
        ));
    }
}

/// An image's network with the same cycles everywhere.
fn cycles_of(image: &HostImage<'_>, count: u32) -> Box<HostNetwork> {
    let mut network = Box::new(image.network().clone());
    for item in network.prices.rows.iter_mut().flatten() {
        item.cycles = Cycles {
            flash: count,
            ram: count,
        };
    }
    network
}

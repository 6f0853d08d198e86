//! Instructions of layers on the emulated board: never more than the baseline, equal for every sample.
//!
//! Without QEMU or the target these tests say so and pass; `./setup.sh` installs both.

use bitbudget::bench::{Baseline, Bench, BenchError};
use bitbudget::capacity::HostImage;
use bitbudget::device::{BOARDS, Client, Emulator, Machine, Sample, Unit};
use bitbudget_core::engine::Input;
use bitbudget_core::level::Level;
use bitbudget_core::network::Network;
use bitbudget_core::place::Place;
use bitbudget_core::quant::{Rounding, Width};
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::builder::{Builder, FEW, Style};
use bitbudget_tests::emulated::{client, digits_image, emulator, root};
use bitbudget_tests::generate;
use bitbudget_tests::model::Model;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

const INT8: Level = Level::Int(Width::Int8, Rounding::Nearest);

#[test]
fn no_layer_takes_more_instructions_than_were_kept() {
    // a Cortex-M4F, a Cortex-M0+ and a RISC-V
    for board in [BOARDS[0], BOARDS[4], BOARDS[5]] {
        check_kept(board);
    }
}

fn check_kept(board: Machine) {
    let Some(emulator) = emulator(board) else {
        return;
    };
    let file = format!("tests/kernels/{}.json", board.name);
    let mut bench = Bench::begin(emulator, Unit::Instructions).expect("a session");
    let rows = bench.table(&|_, _| {}).expect("counts");
    let network = rows.iter().find(|row| row.name == "network");
    assert_eq!(network.expect("a row").macs, 12_239_488);
    let path = root().join(&file);
    if std::env::var_os("BITBUDGET_UPDATE").is_some() {
        let kept = Baseline::new(bench.board(), &rows);
        kept.save(&path).expect("the source can be written");
    }
    let kept = Baseline::open(&path, bench.board()).expect("counts that were kept");
    let changes = kept.changes(&rows);
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert!(
        changes.is_empty(),
        "{file} (BITBUDGET_UPDATE=1 writes it anew):\n{}",
        changes.join("\n")
    );
}

#[test]
fn an_images_layers_are_counted_at_each_of_their_levels() {
    let Some(emulator) = emulator(BOARDS[0]) else {
        return;
    };
    let bytes = digits_image();
    let image = HostImage::parse(&bytes).expect("an image");
    let mut bench = Bench::begin(emulator, Unit::Instructions).expect("a session");
    let (rows, skipped) = bench.image(&image, &bytes, &|_| {}).expect("counts");
    assert_eq!(skipped, []);
    let network = image.network();
    for (layer, items) in network.prices.rows.iter().enumerate() {
        for item in items {
            let counted = rows
                .iter()
                .filter(|row| row.name == image.name(layer) && row.level == item.level.name());
            assert_eq!(
                counted.count(),
                1,
                "{} at {}",
                image.name(layer),
                item.level
            );
        }
    }
    for row in rows.iter().filter(|row| row.name == "network") {
        assert!(row.per_mac() > Some(0.5), "{row:?}");
    }
}

#[test]
fn what_the_board_has_no_room_for_is_told() {
    let Some(emulator) = emulator(BOARDS[0]) else {
        return;
    };
    let mut bench = Bench::begin(emulator, Unit::Instructions).expect("a session");
    let mut count = |builder: Builder| {
        let bytes = builder.finish().emit();
        let image = HostImage::parse(&bytes).expect("an image");
        bench.image(&image, &bytes, &|_| {})
    };
    let point = Window::square(1, 1, 0);
    let draft = |side, levels: &[Level]| {
        let mut builder = Builder::new(3, Style::Real, Shape::new(side, side, 3));
        builder.levels = levels.to_vec();
        builder
    };
    let mut wide = draft(80, &FEW);
    let first = wide.conv(0, point, 1, 64);
    wide.conv(first, Window::square(1, 40, 0), 1, 2);
    let (rows, skipped) = count(wide).expect("counts");
    let skipped: Vec<Level> = skipped.iter().map(|skipped| skipped.level).collect();
    assert_eq!(skipped, [Level::Fp32]);
    let networks = rows.iter().filter(|row| row.name == "network");
    assert_eq!(networks.count(), FEW.len() - 1);

    let mut heavy = draft(96, &FEW);
    heavy.dense(0, 20);
    assert!(matches!(
        count(heavy),
        Err(BenchError::ImageTooLarge {
            bytes: 2_200_000..,
            ..
        })
    ));
    let mut large = draft(110, &FEW);
    large.conv(0, point, 1, 2);
    assert!(matches!(
        count(large),
        Err(BenchError::SampleTooLarge { bytes: 36_300, .. })
    ));
    let mut varied = draft(4, &Level::ALL);
    varied.conv(0, point, 1, 2);
    assert!(matches!(
        count(varied),
        Err(BenchError::Capacity { levels: 11, .. })
    ));
}

/// No branch depends on data: what an inference takes tells nothing of its sample, and one count is as
/// good as any.
#[test]
fn an_int8_inference_takes_the_same_instructions_for_every_sample() {
    let Some(mut client) = client() else {
        return;
    };
    client.info().expect("an answer");
    let mut rng = SmallRng::seed_from_u64(41);
    let bytes = digits_image();
    let image = HostImage::parse(&bytes).expect("an image");
    client.load_linked().expect("an image");
    check_constant(&mut client, image.network(), &mut rng);
    for seed in 0..8 {
        let model = every_operator(seed);
        client.load(&model.emit(), &|_| {}).expect("room for it");
        check_constant(&mut client, &model.network, &mut rng);
    }
}

/// Every operator that works in integers, with random activations.
fn every_operator(seed: u64) -> Model {
    let mut builder = Builder::new(seed, Style::Real, Shape::new(9, 8, 3));
    builder.levels = vec![INT8];
    let same = Window::square(3, 1, 1);
    let wide = builder.conv(0, same, 1, 8);
    let depthwise = builder.conv(wide, same, 8, 8);
    let sum = builder.add(wide, depthwise);
    let pooled = builder.max_pool(sum, Window::square(3, 2, 1));
    let strided = builder.conv(pooled, Window::square(3, 2, 1), 1, 13);
    let point = builder.conv(strided, Window::square(1, 1, 0), 1, 10);
    let mean = builder.avg_pool(point, Window::square(2, 1, 1), seed.is_multiple_of(2));
    let shape = builder.shape(mean);
    let turned = builder.reshape(mean, Shape::new(shape.c, shape.h, shape.w));
    let global = builder.avg_pool(turned, generate::global(builder.shape(turned)), false);
    builder.dense(global, 5);
    builder.finish()
}

/// Runs the network in use with all layers at INT8 and samples at random and of the extremes.
fn check_constant<const N: usize, const K: usize>(
    client: &mut Client<Emulator>,
    network: &Network<N, K>,
    rng: &mut SmallRng,
) {
    let items = network.prices.rows.iter().map(|row| {
        let place = row.iter().position(|item| item.level == INT8);
        place.unwrap_or(0) as u8
    });
    client
        .choose(Place::Ram, &items.collect::<Vec<_>>())
        .expect("a plan");
    let len = network.input.len();
    let mut random = || {
        let mut sample = vec![0; len];
        rng.fill_bytes(&mut sample);
        sample
    };
    let extreme = |of: fn(usize) -> bool| (0..len).map(|i| u8::from(of(i)) * 255).collect();
    let samples: [Vec<u8>; 8] = [
        random(),
        extreme(|_| false),
        extreme(|_| true),
        extreme(|i| i % 2 == 0),
        extreme(|i| i / 3 % 2 == 0),
        random(),
        random().into_iter().map(|x| x / 128 * 255).collect(),
        random().into_iter().map(|x| 124 + x / 32).collect(),
    ];
    let mut first = Vec::new();
    for raw in samples {
        let sample = Sample::from(Input::U8(&raw));
        let steps = client.infer_measured(&sample, network.layers.len());
        let ticks = steps
            .expect("an inference")
            .into_iter()
            .map(|step| step.ticks);
        let ticks: Vec<u64> = ticks.collect();
        if first.is_empty() {
            first.clone_from(&ticks);
        }
        for (tensor, (first, ticks)) in first.iter().zip(&ticks).enumerate() {
            let step = tensor.checked_sub(1).map(|layer| &network.layers[layer]);
            let name = step.map_or("the sample", |layer| layer.op.name());
            assert_eq!(first, ticks, "{name} {step:?} for {raw:?}");
        }
    }
}

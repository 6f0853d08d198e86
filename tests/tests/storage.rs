//! Images in a NOR flash: the same plans and outputs as in memory, and recovery from failed reads.

use bitbudget_core::engine::{Engine, EngineError, Input};
use bitbudget_core::image::{Image, ImageError};
use bitbudget_core::plan::Limits;
use bitbudget_tests::arena::Arena;
use bitbudget_tests::builder::Style;
use bitbudget_tests::generate;
use bitbudget_tests::model::{LAYERS, LEVELS, TestPlanner};
use embedded_storage::nor_flash::{ErrorType, NorFlashErrorKind, ReadNorFlash};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

type TestImage<'a> = Image<'a, LAYERS, LEVELS>;

/// A flash of words that checks the alignment of every read, and fails every `fails`-th.
struct Flash {
    bytes: Vec<u8>,
    reads: usize,
    read_bytes: usize,
    fails: usize,
}

impl Flash {
    /// A flash that holds `image` and some erased bytes after it.
    fn new(image: &[u8]) -> Self {
        let mut bytes = image.to_vec();
        bytes.resize(image.len().next_multiple_of(4096), 0xff);
        Self {
            bytes,
            reads: 0,
            read_bytes: 0,
            fails: usize::MAX,
        }
    }
}

impl ErrorType for &mut Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for &mut Flash {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        let aligned = offset.is_multiple_of(4) && bytes.len().is_multiple_of(4);
        assert!(aligned, "a read of {} bytes at {offset}", bytes.len());
        self.reads += 1;
        self.read_bytes += bytes.len();
        if self.reads.is_multiple_of(self.fails) {
            bytes.fill(0xa5);
            return Err(NorFlashErrorKind::Other);
        }
        let from = self.bytes.get(offset as usize..);
        let from = from.and_then(|from| from.get(..bytes.len()));
        bytes.copy_from_slice(from.ok_or(NorFlashErrorKind::OutOfBounds)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

#[test]
fn plans_and_outputs_are_those_of_an_image_in_memory() {
    let mut rng = SmallRng::seed_from_u64(21);
    for seed in 0..150 {
        let model = generate::model(seed, Style::Real, 6);
        let bytes = model.emit();
        let mapped = TestImage::parse(&bytes).expect("an image");
        let mut flash = Flash::new(&bytes);
        let mut meta = vec![0; mapped.blocks_at() as usize - 28];
        let opened = TestImage::open(&mut &mut flash, &mut meta).expect("an image");
        // header, checksum; all once; description and weights a second time
        let most = 28 + 4 + 2 * bytes.len();
        assert!(flash.read_bytes <= most, "{} {most}", flash.read_bytes);
        assert_eq!(opened.network(), mapped.network());
        for layer in 0..mapped.network().layers.len() {
            assert_eq!(opened.name(layer), mapped.name(layer));
        }
        let (mut a, mut b) = (Arena::new(1 << 20), Arena::new(1 << 20));
        let mut planner = Box::new(TestPlanner::new(mapped.network()));
        let mut in_memory = Engine::new(&mapped, a.lend()).expect("an engine");
        let mut in_flash = Engine::with_storage(&opened, &mut flash, b.lend()).expect("an engine");
        for _ in 0..6 {
            let limits = Limits::weights(rng.random_range(0..20_000));
            let plan = in_memory.replan(&mut planner, limits).cloned();
            let same = in_flash.replan(&mut planner, limits).cloned();
            assert_eq!(same, plan);
            let sample = generate::sample(&mut rng, &model);
            let outputs = in_memory.infer(Input::U8(&sample)).map(<[f32]>::to_vec);
            let bits = |outputs: &[f32]| outputs.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            match (outputs, in_flash.infer(Input::U8(&sample))) {
                (Ok(a), Ok(b)) => assert_eq!(bits(&a), bits(b)),
                (a, b) => assert_eq!(a.err(), b.err()),
            }
        }
    }
}

#[test]
fn a_failed_read_is_told_and_the_next_replan_recovers() {
    let mut rng = SmallRng::seed_from_u64(22);
    let (mut failed, mut recovered) = (0, 0);
    for seed in 0..60 {
        let model = generate::model(seed, Style::Real, 6);
        let bytes = model.emit();
        let mapped = TestImage::parse(&bytes).expect("an image");
        let sample = generate::sample(&mut rng, &model);
        for fails in [1, 2, 3, 5, 8, 13, 40] {
            let mut flash = Flash::new(&bytes);
            let mut meta = vec![0; 1 << 14];
            let opened = TestImage::open(&mut &mut flash, &mut meta).expect("an image");
            flash.fails = fails;
            let mut planner = Box::new(TestPlanner::new(opened.network()));
            let mut arena = Arena::new(1 << 20);
            let mut engine =
                Engine::with_storage(&opened, &mut flash, arena.lend()).expect("an engine");
            for _ in 0..12 {
                let limits = Limits::weights(rng.random_range(0..20_000));
                match engine.replan(&mut planner, limits).cloned() {
                    Ok(plan) => {
                        recovered += 1;
                        let mut fresh = Arena::new(1 << 20);
                        let mut fresh = Engine::new(&mapped, fresh.lend()).expect("an engine");
                        fresh.load(plan).expect("room");
                        let want = fresh.infer(Input::U8(&sample)).expect("outputs").to_vec();
                        let got = engine.infer(Input::U8(&sample)).expect("outputs");
                        assert!(
                            want.iter()
                                .zip(got)
                                .all(|(a, b)| a.to_bits() == b.to_bits())
                        );
                    }
                    Err(EngineError::Storage { layer }) => {
                        failed += 1;
                        assert!(mapped.network().layers[layer].op.has_weights());
                        assert_eq!(engine.plan(), None);
                        assert_eq!(
                            engine.infer(Input::U8(&sample)).err(),
                            Some(EngineError::NoPlan)
                        );
                    }
                    Err(EngineError::Limits(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
    assert!(failed > 300 && recovered > 300, "{failed} {recovered}");
}

#[test]
fn faults_of_a_stored_image_are_named() {
    let bytes = generate::small().emit();
    let meta_bytes = TestImage::parse(&bytes).expect("an image").blocks_at() as usize - 28;
    let open = |bytes: &[u8], meta: usize, fails: usize| {
        let mut flash = Flash::new(bytes);
        flash.fails = fails;
        let mut meta = vec![0; meta];
        TestImage::open(&mut &mut flash, &mut meta)
            .map(|_| ())
            .err()
    };
    assert_eq!(open(&bytes, meta_bytes, usize::MAX), None);
    let too_small = ImageError::MetaBytes {
        expected: meta_bytes,
        found: meta_bytes - 1,
    };
    assert_eq!(open(&bytes, meta_bytes - 1, usize::MAX), Some(too_small));
    for fails in 1..8 {
        assert_eq!(open(&bytes, meta_bytes, fails), Some(ImageError::Storage));
    }
    assert_eq!(open(b"erased", 0, usize::MAX), Some(ImageError::Magic));
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(
            open(&damaged, meta_bytes, usize::MAX).is_some(),
            "byte {at}"
        );
    }
}

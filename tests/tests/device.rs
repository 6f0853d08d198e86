//! The firmware in QEMU: the same plans and outputs as the host, in the RAM that the plan says.
//!
//! Without QEMU or the target these tests say so and pass; `./setup.sh` installs both.

use bitbudget::device::{
    self, Answer, BOARDS, DeviceError, FirmwareError, HARDWARE, Sample, Session, Unit,
};
use bitbudget::evaluate::{HostPlan, sample};
use bitbudget::pack::HostImage;
use bitbudget::profile::MAX_LAYERS;
use bitbudget_core::plan::Budget;
use bitbudget_core::protocol::{Planned, Refusal};
use bitbudget_tests::emulated::{
    DIGIT_LEN, client, digits, digits_image, emulator, planner, range, without_ticks,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// The RAM that the firmware takes beside the plan, whatever the plan: statics, and stack at its
/// deepest.
const RAM_BESIDE_PLAN: u32 = 96 * 1024;

#[test]
fn outputs_for_64_digits_at_five_budgets_are_the_hosts() {
    let Some(emulator) = emulator(BOARDS[0]) else {
        return;
    };
    let (bytes, data) = (digits_image(), digits());
    let image = HostImage::parse(&bytes).expect("an image");
    let samples: Vec<_> = (0..64).map(|i| sample(&data, i, DIGIT_LEN)).collect();
    let (smallest, largest) = range(&image);
    let mut planner = planner(&image);
    let mut session =
        Session::begin(emulator, Unit::Instructions, &image, &bytes, &|_| {}).expect("a session");
    // down and up again
    for part in [4, 0, 3, 1, 2] {
        let budget = Budget::Total(smallest + (largest - smallest) * part / 4);
        let host = planner.plan(image.network(), budget, u64::MAX);
        let answer = session.run(budget, &host, &samples).expect("an answer");
        assert!(answer.matches(), "{budget:?}: {answer:?}");
        let Answer::Run(row) = answer else {
            panic!("{budget:?}: {answer:?}");
        };
        assert!(row.infer > Some(1_000) && row.encode > 1_000);
    }
}

#[test]
fn plans_for_200_random_budgets_are_the_hosts() {
    let Some(mut client) = client() else {
        return;
    };
    let bytes = digits_image();
    let image = HostImage::parse(&bytes).expect("an image");
    let (smallest, largest) = range(&image);
    let mut planner = planner(&image);
    let mut rng = SmallRng::seed_from_u64(17);
    client.info().expect("an answer");
    let mut planned_count = 0;
    for _ in 0..200 {
        let bytes = rng.random_range(smallest - smallest / 20..=largest + 100);
        let budget = if rng.random() {
            Budget::Total(bytes)
        } else {
            Budget::Weights(bytes - smallest / 20)
        };
        let node_limit = if rng.random() { u64::MAX } else { 1 };
        let host = planner.plan(image.network(), budget, node_limit);
        match (client.replan(budget, node_limit), host) {
            (Ok(device), Ok(host)) => {
                assert_eq!(without_ticks(device), on_wire(&host), "{budget:?}");
                planned_count += 1;
            }
            (Err(DeviceError::Refused(Refusal::BudgetTooSmall { smallest_bytes })), Err(host)) => {
                assert_eq!(smallest_bytes, host.smallest_bytes, "{budget:?}");
            }
            (device, host) => panic!("{budget:?}: device {device:?}, host {host:?}"),
        }
    }
    assert!(planned_count > 100);
}

fn on_wire(plan: &HostPlan) -> Planned<MAX_LAYERS> {
    Planned::new(plan, 0, 0)
}

#[test]
fn ram_is_the_plan_and_a_constant() {
    let Some(mut client) = client() else {
        return;
    };
    let bytes = digits_image();
    let image = HostImage::parse(&bytes).expect("an image");
    let (smallest, largest) = range(&image);
    let input = Sample::from(sample(&digits(), 0, DIGIT_LEN));
    client.info().expect("an answer");
    for part in 0..=4 {
        // the arena is painted when an image is loaded
        client.load_linked().expect("an image");
        let budget = Budget::Total(smallest + (largest - smallest) * part / 4);
        let plan = client.replan(budget, u64::MAX).expect("a plan");
        client.infer(&input).expect("an output");
        let stats = client.stats().expect("statistics");
        let used = u64::from(stats.arena_used_bytes);
        assert!(used <= plan.total_bytes(), "{stats:?}");
        assert!(used > u64::from(plan.weight_bytes), "{stats:?}");
        let beside = stats.static_bytes + stats.stack_used_bytes;
        assert!(beside <= RAM_BESIDE_PLAN, "{stats:?}");
    }
}

#[test]
fn the_other_boards_run_or_build() {
    let (bytes, data) = (digits_image(), digits());
    let image = HostImage::parse(&bytes).expect("an image");
    let samples = [sample(&data, 5, DIGIT_LEN)];
    for board in &BOARDS[1..] {
        let Some(emulator) = emulator(*board) else {
            continue;
        };
        let unit = Unit::Instructions;
        let mut session = Session::begin(emulator, unit, &image, &bytes, &|_| {}).expect("begun");
        assert_eq!(session.board(), board.name);
        for budget in [u64::MAX, range(&image).0].map(Budget::Total) {
            let host = planner(&image).plan(image.network(), budget, u64::MAX);
            let answer = session.run(budget, &host, &samples).expect("an answer");
            assert!(answer.matches(), "{}: {answer:?}", board.name);
        }
    }
    match device::build(HARDWARE) {
        Ok(_) | Err(FirmwareError::NoTarget { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
}

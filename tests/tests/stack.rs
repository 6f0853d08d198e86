//! The library on a small stack: networks, planners and engines of the host's capacities are large values.

use std::path::Path;
use std::thread;

use bitbudget::capacity::{self, HostImage};
use bitbudget::evaluate::{Against, evaluate};
use bitbudget::loss::Loss;
use bitbudget::pack::{fp32, pack};
use bitbudget::profile::{Options, Profile};
use bitbudget::search::{self, Effort};
use bitbudget_core::place::Places;
use bitbudget_core::plan::{Limits, Measure};
use bitbudget_tests::digits;

/// The main thread's stack on Windows.
const STACK_BYTES: usize = 1 << 20;

fn whole_path() {
    let (graph, data, options) = digits::model();
    let data = data.first(8);
    let options = Options {
        refine: 1,
        ..options
    };
    let profile = digits::profiled(graph.clone(), &data, &options);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("digits.profile");
    profile.save(&path).expect("a file");
    let bytes = std::fs::read(&path).expect("a file");
    let profile = Profile::decode(&path, &bytes).expect("the profile");
    let mut planner = capacity::planner(Places::Ram, &profile.network);
    let all = (Limits::NONE, Measure::Ram);
    let stairs = search::staircase(&profile.network, &mut planner, all, &Effort::UNLIMITED);
    let image = pack(&graph, &profile, &stairs.plans).expect("an image");
    let image = HostImage::parse(&image).expect("the image");
    let reference = fp32(image.network(), &graph).expect("an image");
    assert!(HostImage::parse(&reference).is_ok());
    let budget = Limits::weights(profile.network.fp32_weight_bytes() / 2);
    let plan = planner.plan(image.network(), budget, u64::MAX);
    let plan = plan.expect("a plan");
    let against = Against {
        loss: Loss::Labels,
        fp32: None,
        data_path: Path::new("the digits"),
    };
    let evaluation = evaluate(&image, &plan, &data, against, &|_| ());
    assert!(evaluation.expect("an evaluation").loss.is_finite());
}

#[test]
fn a_stack_of_1_mib_is_enough() {
    let thread = thread::Builder::new().stack_size(STACK_BYTES);
    let thread = thread.spawn(whole_path).expect("a thread");
    assert!(thread.join().is_ok());
}

//! Profiles through their check and a plan.

use std::path::Path;

use bitbudget::capacity::HostPlanner;
use bitbudget::profile::Profile;
use bitbudget_core::plan::Budget;

use crate::model::seal;

const MAGIC: &[u8] = b"bitbprof\x03\0\0\0";
const MOST_NODES: u64 = 1000;

pub(super) fn run(bytes: &[u8]) {
    let profile = match Profile::decode(Path::new("a.profile"), bytes) {
        Ok(profile) => profile,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let network = &profile.network;
    let mut planner = Box::new(HostPlanner::new(network));
    for bytes in [u64::MAX, 0, 1 << 14] {
        for budget in [Budget::Total(bytes), Budget::Weights(bytes)] {
            if let Ok(plan) = planner.plan(network, budget, MOST_NODES) {
                assert!(plan.bytes(budget) <= bytes && plan.bound <= plan.price);
            }
        }
    }
}

/// Makes magic, version and checksum what they should be.
pub(super) fn mend(profile: &mut Vec<u8>) {
    if profile.len() < MAGIC.len() + 4 {
        profile.resize(MAGIC.len() + 4, 0);
    }
    profile[..MAGIC.len()].copy_from_slice(MAGIC);
    seal(profile);
}

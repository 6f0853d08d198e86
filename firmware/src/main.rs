//! The device program. On a workstation it only says where it belongs.
#![cfg_attr(target_os = "none", no_std)]

fn main() {
    println!("bitbudget-firmware runs on a Cortex-M");
}

#!/bin/sh
# Makes this machine ready for all of bitbudget's tests: the compiler's bare-metal targets and QEMU.
# Says what it did and what is left to do by hand; does nothing where everything is there; run it again at any time.
set -u

TARGETS="thumbv7em-none-eabihf thumbv7m-none-eabi"
EMULATOR=qemu-system-arm
missing=0

say() { printf 'setup: %s\n' "$*"; }

by_hand() {
    missing=1
    say "TO DO BY HAND: $*"
}

# Runs a command as root, if that goes without asking.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo "$@"
    else
        return 1
    fi
}

install_targets() {
    if ! command -v rustc >/dev/null; then
        by_hand "install Rust: https://rustup.rs"
        return
    fi
    for target in $TARGETS; do
        if [ -d "$(rustc --print target-libdir --target "$target" 2>/dev/null)" ]; then
            say "Rust target $target: there"
        elif ! command -v rustup >/dev/null; then
            by_hand "this Rust is not rustup's; install its library for $target (https://rustup.rs)"
        elif rustup target add "$target" >/dev/null 2>&1; then
            say "Rust target $target: installed by rustup"
        else
            by_hand "rustup target add $target"
        fi
    done
}

# The command that installs QEMU here.
install_emulator() {
    if command -v apt-get >/dev/null; then
        as_root apt-get update -qq || true
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends qemu-system-arm
    elif command -v dnf >/dev/null; then
        as_root dnf install -y -q qemu-system-arm
    elif command -v pacman >/dev/null; then
        as_root pacman -S --noconfirm --needed qemu-system-arm
    elif command -v apk >/dev/null; then
        as_root apk add --quiet qemu-system-arm
    elif command -v zypper >/dev/null; then
        as_root zypper --non-interactive --quiet install qemu-arm
    elif command -v brew >/dev/null; then
        brew install --quiet qemu
    else
        return 1
    fi
}

setup_emulator() {
    if command -v "$EMULATOR" >/dev/null; then
        say "QEMU: there ($EMULATOR)"
        return
    fi
    if install_emulator >/dev/null 2>&1 && command -v "$EMULATOR" >/dev/null; then
        say "QEMU: installed ($EMULATOR)"
    else
        by_hand "install QEMU with the system's package manager, such as: sudo apt-get install qemu-system-arm"
    fi
}

install_targets
setup_emulator
if [ "$missing" -ne 0 ]; then
    say "not everything is there: the tests of the firmware are skipped until it is"
else
    say "ready"
fi

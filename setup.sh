#!/bin/sh
# Makes this machine ready for all of bitbudget's tests: the compiler's libraries for other processors, and
# QEMU, for boards and for programs.
# Says what it did and what is left to do by hand; does nothing where everything is there; run it again at any time.
set -u

missing=0
# whether the lists of packages were brought up to date
updated=

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

# The compiler's library for a target.
target() {
    if ! command -v rustc >/dev/null; then
        by_hand "install Rust: https://rustup.rs"
    elif [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ]; then
        say "Rust target $1: there"
    elif ! command -v rustup >/dev/null; then
        by_hand "this Rust is not rustup's; install its library for $1 (https://rustup.rs)"
    elif rustup target add "$1" >/dev/null 2>&1; then
        say "Rust target $1: installed by rustup"
    else
        by_hand "rustup target add $1"
    fi
}

# Installs the package that the system's package manager is known to have.
install() {
    if command -v apt-get >/dev/null; then
        [ -n "$apt" ] || return 1
        [ -n "$updated" ] || as_root apt-get update -qq || true
        updated=yes
        # shellcheck disable=SC2086 # several packages
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends $apt
    elif command -v dnf >/dev/null; then
        [ -n "$dnf" ] && as_root dnf install -y -q "$dnf"
    elif command -v pacman >/dev/null; then
        [ -n "$pacman" ] && as_root pacman -S --noconfirm --needed "$pacman"
    elif command -v apk >/dev/null; then
        # shellcheck disable=SC2086 # several packages
        [ -n "$apk" ] && as_root apk add --quiet $apk
    elif command -v zypper >/dev/null; then
        [ -n "$zypper" ] && as_root zypper --non-interactive --quiet install "$zypper"
    elif command -v brew >/dev/null; then
        [ -n "$brew" ] && brew install --quiet "$brew"
    else
        return 1
    fi
}

# A program, by its name in each package manager.
program() {
    name=$1 apt=$2 dnf=$3 pacman=$4 apk=$5 zypper=$6 brew=$7
    if command -v "$name" >/dev/null; then
        say "$name: there"
    elif install >/dev/null 2>&1 && command -v "$name" >/dev/null; then
        say "$name: installed"
    else
        by_hand "install $name with the system's package manager, such as: sudo apt-get install $apt"
    fi
}

# boards
target thumbv7em-none-eabihf
target thumbv7m-none-eabi
target thumbv8m.main-none-eabihf
program qemu-system-arm qemu-system-arm qemu-system-arm qemu-system-arm qemu-system-arm qemu-arm qemu
# C programs for them
program arm-none-eabi-gcc "gcc-arm-none-eabi libnewlib-arm-none-eabi" "" "" "gcc-arm-none-eabi newlib-arm-none-eabi" "" ""
# processors that the C library is built for
target thumbv6m-none-eabi
target riscv32imac-unknown-none-elf
target riscv32imc-unknown-none-elf
program qemu-system-riscv32 qemu-system-misc qemu-system-riscv qemu-system-riscv qemu-system-riscv32 qemu-extra qemu
program riscv64-unknown-elf-gcc "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf" "" "" "" "" ""
# programs for other processors
target aarch64-unknown-linux-musl
target thumbv7neon-unknown-linux-gnueabihf
program qemu-aarch64 qemu-user qemu-user qemu-user qemu-aarch64 qemu-linux-user ""
program qemu-arm qemu-user qemu-user qemu-user qemu-arm qemu-linux-user ""
program arm-linux-gnueabihf-gcc "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross" "" "" "" "" ""

if [ "$missing" -ne 0 ]; then
    say "not everything is there: the tests that need the rest are skipped"
else
    say "ready"
fi

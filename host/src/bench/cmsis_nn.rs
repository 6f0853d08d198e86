//! Instruction counts of CMSIS-NN, to compare with.

/// Executed instructions of CMSIS-NN (C, on Arm by `arm-none-eabi-gcc` 12.2 `-O3`, im2col included) on the same
/// emulated board: board, row, level, instructions. The boards' networks other than `mps2-an386`'s first are
/// rounded to three or four digits.
const CMSIS_NN: [(&str, &str, &str, u64); 20] = [
    ("mps2-an386", "network", "int8", 26_543_081),
    ("mps2-an500", "network", "int8", 26_610_000),
    ("mps2-an385", "network", "int8", 38_130_000),
    ("mps2-an505", "network", "int8", 26_550_000),
    ("mps2-an383", "network", "int8", 87_800_000),
    ("riscv32-virt", "network", "int8", 61_500_000),
    ("mps2-an386", "keyword spotting", "int8", 7_840_000),
    ("mps2-an383", "keyword spotting", "int8", 29_000_000),
    ("riscv32-virt", "keyword spotting", "int8", 16_200_000),
    ("mps2-an386", "conv 32x32x3->16 s1", "int8", 2_134_137),
    ("mps2-an386", "conv 32x32x16->16 s1", "int8", 5_487_498),
    ("mps2-an386", "conv 32x32x16->32 s2", "int8", 2_519_227),
    ("mps2-an386", "conv 16x16x32->32 s1", "int8", 4_542_342),
    ("mps2-an386", "conv 16x16x32->32 s1", "int4", 8_686_656),
    ("mps2-an386", "conv 16x16x32->64 s2", "int8", 2_188_598),
    ("mps2-an386", "conv 8x8x64->64 s1", "int8", 4_155_294),
    ("mps2-an386", "depthwise 3x3 24x24x64 s1", "int8", 2_886_131),
    ("mps2-an386", "conv 1x1 24x24x64->64", "int8", 4_862_367),
    ("mps2-an386", "FC 64->10", "int8", 1_835),
    ("mps2-an386", "elementwise add 32x32x16", "int8", 1_325_114),
];

/// CMSIS-NN's instructions for a row of the table, where they are known.
#[must_use]
pub fn instructions(board: &str, name: &str, level: &str) -> Option<u64> {
    let mut rows = CMSIS_NN.iter();
    let row = rows.find(|row| (row.0, row.1, row.2) == (board, name, level));
    row.map(|row| row.3)
}

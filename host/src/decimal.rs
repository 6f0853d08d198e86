//! Numbers as decimals. One that rounds to zero has no sign.

/// `value` with so many decimals: `0.25`, `-0.25`.
#[must_use]
pub fn fixed(value: f64, decimals: usize) -> String {
    unsigned_zero(format!("{value:.decimals$}"))
}

/// As [`fixed`], with a sign before positive values too: `+0.25`.
#[must_use]
pub fn signed(value: f64, decimals: usize) -> String {
    unsigned_zero(format!("{value:+.decimals$}"))
}

/// `value` with at most nine decimals: `64`, `0.25`.
#[must_use]
pub fn amount(value: f64) -> String {
    let text = fixed(value, 9);
    let text = text.trim_end_matches('0');
    text.trim_end_matches('.').to_owned()
}

fn unsigned_zero(text: String) -> String {
    let digits = text.trim_start_matches(['+', '-']);
    if digits.bytes().all(|byte| matches!(byte, b'0' | b'.')) {
        return digits.to_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_no_sign() {
        for zero in [0.0, -0.0, 4e-7, -4e-7] {
            assert_eq!(fixed(zero, 6), "0.000000");
            assert_eq!(signed(zero, 6), "0.000000");
            assert_eq!(signed(zero, 0), "0");
            assert_eq!(amount(zero * 1e-4), "0");
        }
    }

    #[test]
    fn all_else_keeps_it() {
        assert_eq!(
            [6e-7, 10.0, -0.25, -6e-7].map(|value| signed(value, 6)),
            ["+0.000001", "+10.000000", "-0.250000", "-0.000001"]
        );
        assert_eq!(fixed(-6e-7, 6), "-0.000001");
        assert_eq!(fixed(10.0, 0), "10");
        assert_eq!(
            [100.0, -0.25, 2e-9].map(amount),
            ["100", "-0.25", "0.000000002"]
        );
        assert_eq!(signed(f64::INFINITY, 6), "+inf");
        assert_eq!(signed(f64::NAN, 6), "NaN");
    }
}

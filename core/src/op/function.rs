//! Functions of one number, which an operator applies element by element.

use serde::{Deserialize, Serialize};

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Function {
    /// |x|.
    Abs,
    /// min(max(x, low), high).
    Clip {
        /// Finite, as `high` is, and not above it.
        low: f32,
        /// The upper end.
        high: f32,
    },
    /// x above 0, else alpha · (exp(x) − 1): Clevert et al. 2015, equation 15.
    Elu {
        /// Finite.
        alpha: f32,
    },
    /// exp(x).
    Exp,
    /// x · Φ(x), with Φ the distribution of the normal law: Hendrycks and Gimpel 2016, section 2.
    Gelu,
    /// The same approximated: x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))).
    GeluTanh,
    /// min(max(alpha · x + beta, 0), 1).
    HardSigmoid {
        /// Finite.
        alpha: f32,
        /// Finite.
        beta: f32,
    },
    /// x · min(max(x + 3, 0), 6) / 6: Howard et al. 2019, "Searching for MobileNetV3", section 5.2.
    HardSwish,
    /// x above 0, else alpha · x.
    LeakyRelu {
        /// Finite.
        alpha: f32,
    },
    /// The natural logarithm.
    Log,
    /// x · tanh(ln(1 + exp(x))): Misra 2019, equation 1.
    Mish,
    /// 1 / (1 + exp(−x)).
    Sigmoid,
    /// x / (1 + exp(−x)), also known as Swish: Ramachandran et al. 2017.
    Silu,
    /// ln(1 + exp(x)).
    Softplus,
    /// √x.
    Sqrt,
    /// The hyperbolic tangent.
    Tanh,
}

impl Function {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Abs => "abs",
            Self::Clip { .. } => "clip",
            Self::Elu { .. } => "elu",
            Self::Exp => "exp",
            Self::Gelu | Self::GeluTanh => "gelu",
            Self::HardSigmoid { .. } => "hard-sigmoid",
            Self::HardSwish => "hard-swish",
            Self::LeakyRelu { .. } => "leaky-relu",
            Self::Log => "log",
            Self::Mish => "mish",
            Self::Sigmoid => "sigmoid",
            Self::Silu => "silu",
            Self::Softplus => "softplus",
            Self::Sqrt => "sqrt",
            Self::Tanh => "tanh",
        }
    }

    /// Whether its parameters are finite and in order.
    #[must_use]
    pub const fn is_usable(self) -> bool {
        match self {
            Self::Clip { low, high } => low.is_finite() && high.is_finite() && low <= high,
            Self::Elu { alpha } | Self::LeakyRelu { alpha } => alpha.is_finite(),
            Self::HardSigmoid { alpha, beta } => alpha.is_finite() && beta.is_finite(),
            Self::Abs
            | Self::Exp
            | Self::Gelu
            | Self::GeluTanh
            | Self::HardSwish
            | Self::Log
            | Self::Mish
            | Self::Sigmoid
            | Self::Silu
            | Self::Softplus
            | Self::Sqrt
            | Self::Tanh => true,
        }
    }

    /// The function of a number: not a number where it is not defined, and the same bits on every processor, for it
    /// is made of operations that round correctly.
    #[must_use]
    #[inline(never)]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::Abs => x.abs(),
            Self::Clip { low, high } => x.max(low).min(high),
            Self::Elu { alpha } if x <= 0.0 => alpha * (libm::expf(x) - 1.0),
            Self::LeakyRelu { alpha } if x <= 0.0 => alpha * x,
            Self::Elu { .. } | Self::LeakyRelu { .. } => x,
            Self::Exp => libm::expf(x),
            Self::Gelu => x * normal(x),
            // (1 + tanh(z)) / 2 is the sigmoid of 2 z
            Self::GeluTanh => x * sigmoid(1.595_769 * (x + 0.044_715 * x * x * x)),
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::HardSwish => x * ((x + 3.0) / 6.0).clamp(0.0, 1.0),
            Self::Log => libm::logf(x),
            // with e = exp(x), the tangent is e (e + 2) / (e (e + 2) + 2)
            Self::Mish if x < 20.0 => {
                let e = libm::expf(x);
                let product = e * (e + 2.0);
                x * (product / (product + 2.0))
            }
            Self::Mish => x,
            Self::Sigmoid => sigmoid(x),
            Self::Silu => x * sigmoid(x),
            Self::Softplus => softplus(x),
            Self::Sqrt => libm::sqrtf(x),
            Self::Tanh => 2.0 * sigmoid(2.0 * x) - 1.0,
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

fn softplus(x: f32) -> f32 {
    x.max(0.0) + libm::logf(1.0 + libm::expf(-x.abs()))
}

/// The distribution of the normal law, within 10⁻⁷: Abramowitz and Stegun 1964, equation 7.1.26.
fn normal(x: f32) -> f32 {
    let z = x.abs() * core::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let terms = [
        1.061_405_4,
        -1.453_152,
        1.421_413_7,
        -0.284_496_74,
        0.254_829_6,
    ];
    let sum = terms.into_iter().fold(0.0, |sum, term| sum * t + term);
    let tail = 0.5 * t * sum * libm::expf(-z * z);
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The function by its definition, in `f64`.
    fn defined(function: Function, x: f64) -> f64 {
        let softplus = |x: f64| if x > 30.0 { x } else { x.exp().ln_1p() };
        match function {
            Function::Abs => x.abs(),
            Function::Clip { low, high } => x.max(low.into()).min(high.into()),
            Function::Elu { alpha } => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(alpha) * (x.exp() - 1.0)
                }
            }
            Function::Exp => x.exp(),
            Function::Gelu => x * normal(x),
            Function::GeluTanh => {
                let z = (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                x / 2.0 * (1.0 + z.tanh())
            }
            Function::HardSigmoid { alpha, beta } => {
                let y = f64::from(alpha) * x + f64::from(beta);
                y.clamp(0.0, 1.0)
            }
            Function::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Function::LeakyRelu { alpha } => x.max(0.0) + f64::from(alpha) * x.min(0.0),
            Function::Log => x.ln(),
            Function::Mish => x * softplus(x).tanh(),
            Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Function::Silu => x / (1.0 + (-x).exp()),
            Function::Softplus => softplus(x),
            Function::Sqrt => x.sqrt(),
            Function::Tanh => x.tanh(),
        }
    }

    /// The distribution of the normal law: its density, summed by Simpson's rule from 0 on.
    fn normal(x: f64) -> f64 {
        const STEPS: i32 = 2000;
        let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * core::f64::consts::PI).sqrt();
        let end = x.clamp(-12.0, 12.0);
        let width = end / f64::from(STEPS);
        let term = |i: i32| {
            let weight = match i {
                0 | STEPS => 1.0,
                _ if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            weight * density(width * f64::from(i))
        };
        0.5 + width / 3.0 * (0..=STEPS).map(term).sum::<f64>()
    }

    #[test]
    fn functions_are_their_definitions() {
        let functions = [
            Function::Abs,
            Function::Clip {
                low: -1.5,
                high: 0.25,
            },
            Function::Elu { alpha: 1.25 },
            Function::Exp,
            Function::Gelu,
            Function::GeluTanh,
            Function::HardSigmoid {
                alpha: 0.2,
                beta: 0.5,
            },
            Function::HardSwish,
            Function::LeakyRelu { alpha: 0.1 },
            Function::Log,
            Function::Mish,
            Function::Sigmoid,
            Function::Silu,
            Function::Softplus,
            Function::Sqrt,
            Function::Tanh,
        ];
        for function in functions {
            assert!(function.is_usable());
            for step in -400..=400 {
                let x = step as f32 * 0.05;
                let (found, expected) = (f64::from(function.apply(x)), defined(function, x.into()));
                let error = (found - expected).abs();
                let is_alike = error <= 1e-6 * (1.0 + expected.abs());
                assert!(
                    is_alike || found.is_nan() && expected.is_nan() || found == expected,
                    "{function:?} of {x}: {found}, expected {expected}"
                );
            }
        }
        for x in [-3e38, 3e38] {
            for function in [
                Function::Gelu,
                Function::GeluTanh,
                Function::Mish,
                Function::Silu,
            ] {
                assert_eq!(function.apply(x), x.max(0.0), "{function:?}");
            }
        }
        let bad = Function::Clip {
            low: 1.0,
            high: 0.0,
        };
        assert!(!bad.is_usable() && !Function::Elu { alpha: f32::NAN }.is_usable());
    }
}

//! The paper's estimator: secant slopes along a common shift of one step, times the mean noise.

use bitbudget_core::level::WeightFormat;
use bitbudget_core::price::{SignedMeans, secant_price, secant_slope, weights_matter};
use bitbudget_core::quant::{Rounding, Width};

use super::{Estimate, Losses, Probe, Subject};
use crate::loss::mean_and_error;

/// The directions of a shift that a rounding's noise has.
fn directions(rounding: Rounding) -> &'static [f32] {
    match rounding {
        Rounding::Nearest => &[-1.0, 1.0],
        Rounding::Floor => &[-1.0],
        Rounding::Ceil => &[1.0],
    }
}

pub(super) fn probes(
    subject: &Subject<'_>,
    layer: usize,
    width: Width,
    rounding: Rounding,
) -> Vec<Probe> {
    let input = directions(rounding).iter().map(|direction| {
        let shift = direction * subject.input_steps[layer];
        Probe::InputShift { layer, shift }
    });
    // weights are rounded to nearest whatever the input's rounding
    let weights = directions(Rounding::Nearest).iter();
    let weights = weights.map(|steps| Probe::WeightShift {
        layer,
        width,
        steps: *steps,
    });
    input.chain(weights).collect()
}

pub(super) fn estimate(
    subject: &Subject<'_>,
    losses: &Losses<'_>,
    layer: usize,
    width: Width,
    rounding: Rounding,
) -> Estimate {
    let step = subject.input_steps[layer];
    let noise = subject.input_noise[layer][rounding as usize];
    let mut prices = along(losses, rounding, f64::from(step), noise, |direction| {
        let shift = direction * step;
        Probe::InputShift { layer, shift }
    });
    let weight_shift = |steps: f32| Probe::WeightShift {
        layer,
        width,
        steps,
    };
    let means = [-1.0, 1.0].map(|steps| mean_and_error(losses.of(&weight_shift(steps))).0);
    let (base, _) = mean_and_error(losses.base);
    if weights_matter(&means, base, subject.error_max) {
        let noise = subject.noise(layer, WeightFormat::Int(width)).means;
        let terms = along(losses, Rounding::Nearest, 1.0, noise, weight_shift);
        for (price, term) in prices.iter_mut().zip(terms) {
            *price += term;
        }
    }
    Estimate::of(&prices)
}

/// The layers that no shift moves: next to the largest effect of any shift on the loss, all of theirs are
/// nothing. Their price says nothing about them.
pub(super) fn unseen(losses: &Losses<'_>) -> Vec<usize> {
    /// An effect is nothing below this part of the largest.
    const NOTHING: f64 = 1e-3;
    let mut effects: Vec<(usize, f64)> = Vec::new();
    for (probe, perturbed) in losses.probes.iter().zip(losses.perturbed) {
        let (Probe::InputShift { layer, .. } | Probe::WeightShift { layer, .. }) = probe else {
            continue;
        };
        let pairs = perturbed.iter().zip(losses.base);
        let effect: f64 = pairs.map(|(a, b)| (a - b).abs()).sum();
        match effects.iter_mut().find(|(known, _)| known == layer) {
            Some((_, largest)) => *largest = largest.max(effect),
            None => effects.push((*layer, effect)),
        }
    }
    let largest = effects.iter().map(|(_, effect)| *effect);
    let nothing = NOTHING * largest.fold(0.0, f64::max);
    let unseen = effects.iter().filter(|(_, effect)| *effect <= nothing);
    unseen.map(|(layer, _)| *layer).collect()
}

/// Every sample's price of `noise` along the shifts that `probe` names.
fn along(
    losses: &Losses<'_>,
    rounding: Rounding,
    step: f64,
    noise: SignedMeans,
    probe: impl Fn(f32) -> Probe,
) -> Vec<f64> {
    let slopes = |direction: f32| {
        if !directions(rounding).contains(&direction) {
            return vec![0.0; losses.base.len()];
        }
        let pairs = losses.of(&probe(direction)).iter().zip(losses.base);
        let shift = f64::from(direction) * step;
        pairs
            .map(|(shifted, base)| secant_slope(*shifted, *base, shift))
            .collect()
    };
    let (down, up) = (slopes(-1.0), slopes(1.0));
    let pairs = down.iter().zip(&up);
    pairs
        .map(|(down, up)| secant_price(rounding, *down, *up, noise))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::WeightNoise;
    use super::*;
    use bitbudget_core::level::Level;

    #[test]
    fn a_quadratic_loss_has_the_secants_price() {
        // two samples with losses (x + 1)² and (x + 2)² around x = 0, step ½
        let step = 0.5_f32;
        let noise = SignedMeans {
            positive: 0.1,
            negative: -0.2,
        };
        let loss = |sample: f64, x: f64| (sample + x) * (sample + x);
        let subject = Subject {
            input_steps: &[step],
            input_noise: &[[noise; 3]],
            weight_noise: &[vec![WeightNoise {
                stored: WeightFormat::Int(Width::Int4),
                means: SignedMeans {
                    positive: 0.25,
                    negative: 0.0,
                },
                squared: 0.0,
            }]],
            mean_traces: &[],
            error_max: 0.1,
        };
        let metric = super::super::Metric::Secant;
        let mut probes = Vec::new();
        for rounding in Rounding::ALL {
            probes.extend(metric.probes(&subject, 0, Level::Int(Width::Int4, rounding)));
        }
        for weight_effect in [0.0, 1.0] {
            let perturbed: Vec<Vec<f64>> = probes
                .iter()
                .map(|probe| {
                    let of = |sample: f64| match probe {
                        Probe::InputShift { shift, .. } => loss(sample, f64::from(*shift)),
                        Probe::WeightShift { steps, .. } => {
                            loss(sample, 0.0) + weight_effect * f64::from(*steps)
                        }
                        Probe::Levels(_) | Probe::Tangent { .. } => {
                            unreachable!("the secant shifts")
                        }
                    };
                    vec![of(1.0), of(2.0)]
                })
                .collect();
            let losses = Losses {
                base: &[loss(1.0, 0.0), loss(2.0, 0.0)],
                probes: &probes,
                perturbed: &perturbed,
            };
            let price =
                |rounding| metric.estimate(&subject, &losses, 0, Level::Int(Width::Int4, rounding));
            let slope = |x: f64| (loss(1.5, x) - loss(1.5, 0.0)) / x;
            let weights = weight_effect * 0.25;
            let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
            close(price(Rounding::Floor).price, slope(-0.5) * -0.1 + weights);
            close(price(Rounding::Ceil).price, slope(0.5) * -0.1 + weights);
            let both = slope(0.5) * 0.1 + slope(-0.5) * -0.2 + weights;
            close(price(Rounding::Nearest).price, both);
            assert!(price(Rounding::Nearest).standard_error > 0.0);
        }
    }
}

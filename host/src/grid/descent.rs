//! Codes of least output error: coordinate descent from the nearest ones.
//!
//! A channel of weights w has the codes q at the scale s. With the error d = s q − w and the metric C, the
//! squared error of its output is dᵀ C d, and moving the code k by one place on the grid, d by h, changes
//! it by 2 h g_k + h² C_kk, where g = C d. The move of the steepest fall is made as long as there is one;
//! of equal ones the first. Then moves are made in pairs: inputs that go together leave many codes from
//! which no single move leads on. For given codes the best scale is qᵀ C w / qᵀ C q. Rounding up or down by
//! the output's error is due to Nagel et al. 2020 ("Up or Down? Adaptive Rounding for Post-Training
//! Quantization", eq. 8, solved there by gradients); the codes here may move further than to the two
//! neighbours of a weight.

use bitbudget_core::quant::{Width, is_usable_scale};

use super::nearest;

/// The scales that are tried, as parts of the one that is best for the nearest codes.
const SCALES: [f32; 5] = [1.0, 0.9, 1.1, 0.8, 1.2];
/// How often a scale is replaced with the one that is best for the codes that it led to.
const REFITS: usize = 2;
/// The pairs of weights that are looked at in turn, at least: short channels are tried from several of the
/// scales, long ones from the best.
const PAIRS: usize = 1 << 16;
/// The variance that every input has besides its own, as a part of all inputs' mean: no code is spent on
/// what the data does not say.
const DAMPING: f64 = 1e-3;
/// The part of the inputs' squares that may be rounding, in sums of 32-bit floats.
const ROUNDING: f64 = 1e-6;
/// A fall of the error below this part of it is not worth a move.
const LEAST_FALL: f64 = 1e-5;
/// The most moves of a descent, as a multiple of the weights: in practice there are fewer moves than weights.
const MOST_MOVES: usize = 32;

/// The metric of a layer's output error, damped.
#[derive(Clone, Debug)]
pub(super) struct Metric {
    /// `[K, K]`, symmetric.
    values: Vec<f64>,
    /// `[K]`.
    diagonal: Vec<f64>,
}

impl Metric {
    /// The metric of these values, `[K, K]`, and mean inputs, `[K]`.
    pub(super) fn new(mut values: Vec<f64>, means: &[f64]) -> Self {
        let len = means.len();
        let trace: f64 = values.iter().step_by(len + 1).sum();
        let squares: f64 = means.iter().map(|mean| mean * mean).sum();
        let more = (DAMPING * trace.max(0.0) + ROUNDING * squares) / len.max(1) as f64;
        values.iter_mut().step_by(len + 1).for_each(|x| *x += more);
        Self {
            diagonal: values.iter().step_by(len + 1).copied().collect(),
            values,
        }
    }

    fn row(&self, k: usize) -> &[f64] {
        let len = self.diagonal.len();
        &self.values[k * len..][..len]
    }

    /// C x.
    fn product(&self, x: impl Iterator<Item = f64>) -> Vec<f64> {
        let x: Vec<f64> = x.collect();
        let rows = self.values.chunks_exact(self.diagonal.len().max(1));
        rows.map(|row| dot(row, x.iter().copied())).collect()
    }
}

/// Codes of a channel's weights.
#[derive(Debug)]
struct Codes {
    codes: Vec<i8>,
    /// C q.
    products: Vec<f64>,
    moves_left: usize,
}

/// Codes at a scale, and the squared error of the output with them.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    pub(super) scale: f32,
    pub(super) codes: Vec<i8>,
    error: f64,
}

/// The moves that a descent makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moves {
    Single,
    Pairs,
}

/// A channel of weights whose codes are sought.
#[derive(Debug)]
pub(super) struct Channel<'a> {
    metric: &'a Metric,
    weights: &'a [f32],
    width: Width,
    /// C w.
    wanted: Vec<f64>,
}

impl<'a> Channel<'a> {
    /// The channel of these weights, `[K]`.
    pub(super) fn new(metric: &'a Metric, weights: &'a [f32], width: Width) -> Self {
        Self {
            metric,
            weights,
            width,
            wanted: metric.product(weights.iter().map(|w| f64::from(*w))),
        }
    }

    /// The codes at a scale.
    pub(super) fn at(&self, scale: f32) -> Fit {
        let mut codes = self.nearest(scale);
        self.descend(&mut codes, scale, Moves::Pairs)
    }

    /// The codes, and the scale that goes with them: around `scale`.
    pub(super) fn around(&self, scale: f32) -> Fit {
        let usable = SCALES.map(|part| scale * part).into_iter();
        let usable = usable.filter(|scale| is_usable_scale(*scale));
        let starts = usable.map(|scale| self.refit(self.nearest(scale), scale, Moves::Single));
        let mut starts: Vec<Fit> = starts.collect();
        starts.sort_by(|a, b| a.error.total_cmp(&b.error));
        let pairs = self.weights.len().pow(2).max(1);
        starts.truncate((PAIRS / pairs).max(1));
        let fits = starts.into_iter().map(|start| {
            let codes = self.codes(start.codes);
            self.refit(codes, start.scale, Moves::Pairs)
        });
        let best = fits.min_by(|a, b| a.error.total_cmp(&b.error));
        best.unwrap_or_else(|| self.at(scale))
    }

    /// The best codes of a descent at this scale and then at those that are best for what it led to.
    fn refit(&self, mut codes: Codes, scale: f32, moves: Moves) -> Fit {
        let mut best = self.descend(&mut codes, scale, moves);
        for _ in 0..REFITS {
            let squares = dot(&codes.products, reals(&codes.codes));
            let scale = (dot(&self.wanted, reals(&codes.codes)) / squares) as f32;
            if !is_usable_scale(scale) {
                break;
            }
            let fit = self.descend(&mut codes, scale, moves);
            if fit.error < best.error {
                best = fit;
            }
        }
        best
    }

    fn nearest(&self, scale: f32) -> Codes {
        self.codes(nearest(self.weights, self.width, scale).collect())
    }

    fn codes(&self, codes: Vec<i8>) -> Codes {
        Codes {
            products: self.metric.product(reals(&codes)),
            codes,
            moves_left: 0,
        }
    }

    /// Moves codes as long as the error falls.
    fn descend(&self, codes: &mut Codes, scale: f32, moves: Moves) -> Fit {
        codes.moves_left = MOST_MOVES * self.weights.len();
        let least = LEAST_FALL * self.error(scale, codes).max(0.0);
        self.move_one(codes, scale, least);
        if moves == Moves::Pairs {
            let len = self.weights.len();
            // how many weights in a row were the first of a pair in vain
            let (mut vain, mut first) = (0, 0);
            while vain < len && codes.moves_left > 0 {
                vain += 1;
                if self.move_two(codes, scale, first, least) {
                    self.move_one(codes, scale, least);
                    vain = 0;
                }
                first = (first + 1) % len;
            }
        }
        Fit {
            scale,
            error: self.error(scale, codes),
            codes: codes.codes.clone(),
        }
    }

    /// Makes the moves of the steepest fall, as long as there is one of more than `least`.
    fn move_one(&self, codes: &mut Codes, scale: f32, least: f64) {
        let scale = f64::from(scale);
        while codes.moves_left > 0 {
            let gradient = |k: usize| scale * codes.products[k] - self.wanted[k];
            let Some((k, by)) = self.steepest(codes, scale, least, gradient) else {
                break;
            };
            self.make(codes, k, by);
        }
    }

    /// Moves the code of `first` and another one together, if the error then falls by more than `least`.
    fn move_two(&self, codes: &mut Codes, scale: f32, first: usize, least: f64) -> bool {
        let scale = f64::from(scale);
        let row = self.metric.row(first);
        let step = self.width.step().cast_signed();
        for by in [-step, step] {
            if !self.has_room(codes.codes[first], by) {
                continue;
            }
            let h = scale * f64::from(by);
            let own = scale * codes.products[first] - self.wanted[first];
            let rise = h * (2.0 * own + h * row[first]);
            let gradient = |k: usize| match k == first {
                // not the same one again
                true => 0.0,
                false => scale * codes.products[k] - self.wanted[k] + h * row[k],
            };
            let least = least + rise.max(0.0);
            if let Some((k, other)) = self.steepest(codes, scale, least, gradient) {
                self.make(codes, first, by);
                self.make(codes, k, other);
                return true;
            }
        }
        false
    }

    /// The move of one code that makes the error fall most, by more than `least`, where it has these
    /// gradients. Of equal ones the first.
    fn steepest(
        &self,
        codes: &Codes,
        scale: f64,
        least: f64,
        gradient: impl Fn(usize) -> f64,
    ) -> Option<(usize, i8)> {
        let step = self.width.step().cast_signed();
        let h = scale * f64::from(step);
        let (mut steepest, mut most) = (None, least);
        for k in 0..self.weights.len() {
            let gradient = gradient(k);
            // down where the error grows with the weight, else up
            let by = if gradient > 0.0 { -step } else { step };
            let fall = h * (2.0 * gradient.abs() - h * self.metric.diagonal[k]);
            if fall > most && self.has_room(codes.codes[k], by) {
                (steepest, most) = (Some((k, by)), fall);
            }
        }
        steepest
    }

    fn has_room(&self, code: i8, by: i8) -> bool {
        let max = i16::from(self.width.max());
        (-max..=max).contains(&(i16::from(code) + i16::from(by)))
    }

    /// Makes a move.
    fn make(&self, codes: &mut Codes, k: usize, by: i8) {
        codes.moves_left = codes.moves_left.saturating_sub(1);
        codes.codes[k] += by;
        let pairs = codes.products.iter_mut().zip(self.metric.row(k));
        pairs.for_each(|(product, c)| *product += f64::from(by) * c);
    }

    /// The squared error dᵀ C d.
    fn error(&self, scale: f32, codes: &Codes) -> f64 {
        let scale = f64::from(scale);
        let each = self.weights.iter().zip(&codes.codes).enumerate();
        let each = each.map(|(k, (w, code))| {
            let d = scale * f64::from(*code) - f64::from(*w);
            d * (scale * codes.products[k] - self.wanted[k])
        });
        each.sum()
    }
}

fn reals(codes: &[i8]) -> impl Iterator<Item = f64> {
    codes.iter().map(|code| f64::from(*code))
}

fn dot(a: &[f64], b: impl Iterator<Item = f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The metric of inputs that go together, and a channel's weights.
    fn problem(seed: u64, len: usize) -> (Vec<f64>, Vec<f32>) {
        let mut random = Random::new(seed);
        let mut inputs: Vec<f64> = (0..8 * len * len)
            .map(|_| f64::from(random.signed()))
            .collect();
        for row in inputs.chunks_exact_mut(len) {
            (1..len).for_each(|k| row[k] += row[k - 1]);
        }
        let mut values = vec![0.0; len * len];
        for row in inputs.chunks_exact(len) {
            for (at, value) in values.iter_mut().enumerate() {
                *value += row[at / len] * row[at % len];
            }
        }
        (values, (0..len).map(|_| random.signed()).collect())
    }

    /// The squared error of codes at a scale, as it is written.
    fn error(metric: &Metric, weights: &[f32], codes: &[i8], scale: f32) -> f64 {
        let d = |k: usize| f64::from(scale) * f64::from(codes[k]) - f64::from(weights[k]);
        let len = weights.len();
        let pairs = (0..len * len).map(|at| d(at / len) * metric.values[at] * d(at % len));
        pairs.sum()
    }

    #[test]
    fn no_move_and_no_pair_of_moves_makes_the_error_smaller() {
        for seed in 0..20 {
            let (values, weights) = problem(seed, 9);
            let metric = Metric::new(values, &[0.0; 9]);
            for width in Width::ALL {
                let channel = Channel::new(&metric, &weights, width);
                let scale = 0.8 / f32::from(width.max());
                let near: Vec<i8> = nearest(&weights, width, scale).collect();
                let fit = channel.at(scale);
                let found = error(&metric, &weights, &fit.codes, scale);
                assert!((found - fit.error).abs() <= 1e-9 * found);
                let first = error(&metric, &weights, &near, scale);
                assert!(found <= first);
                let worth = 1.01 * LEAST_FALL * first;
                let step = width.step().cast_signed();
                for (k, l) in (0..81).map(|at| (at / 9, at % 9)) {
                    for by in [
                        [-step, 0],
                        [step, 0],
                        [-step, step],
                        [-step, -step],
                        [step, step],
                    ] {
                        let mut moved = fit.codes.clone();
                        moved[k] = moved[k].saturating_add(by[0]);
                        moved[l] = moved[l].saturating_add(by[1]);
                        let mut codes = moved.iter();
                        let are_codes = codes.all(|code| code.unsigned_abs() <= width.max() as u8);
                        let other = error(&metric, &weights, &moved, scale);
                        assert!(k == l || !are_codes || other >= found - worth);
                    }
                }
                assert!(channel.around(scale).error <= fit.error);
            }
        }
    }

    /// All codes of INT2 for five weights, each at the scale that is best for it.
    #[test]
    fn codes_are_near_the_best_that_there_are() {
        let grid = [-3, -1, 1, 3_i8];
        let (mut sum, mut sum_near) = (0.0, 0.0);
        for seed in 0..30 {
            let (values, weights) = problem(seed, 5);
            let metric = Metric::new(values, &[0.0; 5]);
            let channel = Channel::new(&metric, &weights, Width::Int2);
            let all = (0..1024).map(|at| {
                let codes: [i8; 5] = core::array::from_fn(|k| grid[at >> (2 * k) & 3]);
                let products = metric.product(reals(&codes));
                let best = dot(&channel.wanted, reals(&codes)) / dot(&products, reals(&codes));
                match best > 0.0 {
                    true => error(&metric, &weights, &codes, best as f32),
                    false => f64::INFINITY,
                }
            });
            let best = all.fold(f64::INFINITY, f64::min);
            let scales = (1..=100_u8).map(|part| {
                let scale = f32::from(part) / 100.0;
                let codes: Vec<i8> = nearest(&weights, Width::Int2, scale).collect();
                (scale, error(&metric, &weights, &codes, scale))
            });
            let near = scales.min_by(|a, b| a.1.total_cmp(&b.1));
            let (scale, near) = near.expect("a hundred scales");
            let found = channel.around(scale).error;
            assert!(found >= best * (1.0 - 1e-6));
            sum += found / best;
            sum_near += near / best;
        }
        assert!(sum < 1.1 * 30.0 && sum < 0.8 * sum_near, "{sum} {sum_near}");
    }

    #[test]
    fn inputs_without_variance_take_no_codes() {
        let (mut values, weights) = problem(1, 6);
        for k in 0..6 {
            (values[2 * 6 + k], values[k * 6 + 2]) = (0.0, 0.0);
        }
        let metric = Metric::new(values, &[0.0; 6]);
        let fit = Channel::new(&metric, &weights, Width::Int4).at(0.15);
        let near: Vec<i8> = nearest(&weights, Width::Int4, 0.15).collect();
        assert_eq!(fit.codes[2], near[2]);
        assert_ne!(fit.codes, near);
        // and nothing is moved where nothing is known, or nothing but rounding
        let rounding = |at: usize| if at.is_multiple_of(7) { -1e-7 } else { 1e-7 };
        for (values, mean) in [(vec![0.0; 36], 0.0), ((0..36).map(rounding).collect(), 1.0)] {
            let metric = Metric::new(values, &[mean; 6]);
            let channel = Channel::new(&metric, &weights, Width::Int4);
            assert_eq!(channel.at(0.15).codes, near);
            assert!(channel.around(0.15).error.is_finite());
        }
    }
}

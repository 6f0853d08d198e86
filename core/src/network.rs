//! The network that host and device share: the graph of layers, its calibrated parameters and its
//! prices.

use core::fmt;

use heapless::{Vec, VecView};
use serde::{Deserialize, Serialize};

use crate::form::{Form, Forms};
use crate::level::{Level, WeightFormat};
use crate::op::{Activation, Op, OpError, unary};
use crate::price::{PriceItem, PriceMatrix};
use crate::quant::QParams;
use crate::shape::Shape;

/// How raw values (pixels) become the network's real input: (raw · scale − mean) / std.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Applied first; positive and finite.
    pub scale: f32,
    /// Per channel, or one for all, or none for 0.
    pub mean: Vec<f32, MAX_STATS>,
    /// Per channel, or one for all, or none for 1; positive.
    pub std: Vec<f32, MAX_STATS>,
}

/// The most channels with statistics of their own.
pub const MAX_STATS: usize = 16;

impl Default for Preprocess {
    fn default() -> Self {
        Self {
            scale: 1.0,
            mean: Vec::new(),
            std: Vec::new(),
        }
    }
}

impl Preprocess {
    /// The real input that `raw` stands for in `channel`.
    #[must_use]
    pub fn real(&self, raw: f32, channel: usize) -> f32 {
        self.reals(channel)(raw)
    }

    /// [`real`](Self::real) in one channel.
    pub fn reals(&self, channel: usize) -> impl Fn(f32) -> f32 + Copy + use<> {
        let of = |stats: &[f32], default| match stats {
            [] => default,
            [all] => *all,
            each => each[channel],
        };
        let (scale, mean, std) = (self.scale, of(&self.mean, 0.0), of(&self.std, 1.0));
        move |raw| (raw * scale - mean) / std
    }

    /// [`real`](Self::real) of every byte, in one channel.
    #[inline(never)]
    pub(crate) fn reals_of_bytes(&self, channel: usize) -> [f32; 256] {
        let real = self.reals(channel);
        let mut reals = [0.0; 256];
        for (raw, to) in reals.iter_mut().enumerate() {
            *to = real(raw as f32);
        }
        reals
    }

    /// Whether scale and std are positive, all is finite, and mean and std are one value, one per
    /// channel, or none.
    #[must_use]
    pub fn is_usable(&self, channels: u16) -> bool {
        let fits = |stats: &[f32]| stats.len() <= 1 || stats.len() == usize::from(channels);
        let positive = |x: &f32| x.is_finite() && *x > 0.0;
        fits(&self.mean)
            && fits(&self.std)
            && positive(&self.scale)
            && self.std.iter().all(positive)
            && self.mean.iter().all(|x| x.is_finite())
    }
}

/// Identifies a tensor: 0 is the network's input, `i + 1` the output of layer `i`.
pub(crate) type TensorId = u16;

/// An operator, its inputs and its calibrated parameters. A layer with weights is also one group of
/// the layout problem, under the same index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The operator.
    pub op: Op,
    /// The tensors that it reads, each computed before it.
    pub inputs: Vec<TensorId, 2>,
    /// The activation behind it.
    pub activation: Activation,
    /// Shape of its output.
    pub output: Shape,
    /// The INT8 map of its output.
    pub output_q: QParams,
}

/// Bytes of the [tables](unary::table) of these layers, one for each that applies a function: the table of the layer
/// behind them begins there.
#[must_use]
pub fn tables_bytes(layers: &[Layer]) -> usize {
    let applies = |layer: &&Layer| matches!(layer.op, Op::Unary(_));
    unary::TABLE_BYTES * layers.iter().filter(applies).count()
}

/// The graph of layers with calibrated parameters and prices: at most `N` layers, `K` levels each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network<const N: usize, const K: usize> {
    /// Shape of the input.
    pub input: Shape,
    /// The INT8 map of the input.
    pub input_q: QParams,
    /// From raw values to the input.
    pub preprocess: Preprocess,
    /// In the order in which they run; the last one's output is the network's.
    pub layers: Vec<Layer, N>,
    /// Levels of every layer, with bytes and price.
    pub prices: PriceMatrix<N, K>,
}

/// One value for the network's input tensor and one for each layer's output.
#[derive(Clone, Debug, PartialEq)]
pub struct PerTensor<T, const N: usize> {
    input: T,
    layers: Vec<T, N>,
}

impl<T: Clone, const N: usize> PerTensor<T, N> {
    /// `value` for the input, and no layers.
    pub(crate) const fn empty(value: T) -> Self {
        Self {
            input: value,
            layers: Vec::new(),
        }
    }

    /// `value` for the input and for `layers` outputs, at most `N`.
    #[must_use]
    pub fn new(value: T, layers: usize) -> Self {
        Self {
            input: value.clone(),
            layers: core::iter::repeat_n(value, layers.min(N)).collect(),
        }
    }
}

impl<T, const N: usize> PerTensor<T, N> {
    /// A view that does not depend on the capacity.
    #[must_use]
    pub fn as_view(&self) -> PerTensorView<'_, T>
    where
        T: Copy,
    {
        PerTensorView {
            input: self.input,
            layers: &self.layers,
        }
    }
}

impl<T, const N: usize> PerTensor<T, N> {
    /// As [`Self::as_view`], to be written.
    pub(crate) fn as_view_mut(&mut self) -> PerTensorViewMut<'_, T> {
        PerTensorViewMut {
            input: &mut self.input,
            layers: &mut self.layers,
        }
    }
}

/// A borrowed [`PerTensor`] of any capacity.
#[derive(Clone, Copy, Debug)]
pub struct PerTensorView<'a, T> {
    /// The value of the network's input.
    pub input: T,
    /// The value of each layer's output.
    pub layers: &'a [T],
}

impl<T> core::ops::Index<usize> for PerTensorView<'_, T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, tensor: usize) -> &T {
        match tensor.checked_sub(1) {
            None => &self.input,
            Some(layer) => &self.layers[layer],
        }
    }
}

/// A [`PerTensor`] of any capacity, borrowed to be written.
#[derive(Debug)]
pub(crate) struct PerTensorViewMut<'a, T> {
    input: &'a mut T,
    layers: &'a mut VecView<T>,
}

impl<T: Copy> PerTensorViewMut<'_, T> {
    /// Makes all of it `value`, for the input and for `layers` outputs, no more than there is room for.
    pub(crate) fn fill(&mut self, value: T, layers: usize) {
        *self.input = value;
        self.layers.clear();
        let fits = self.layers.resize(layers, value);
        debug_assert!(
            fits.is_ok(),
            "a network has no more layers than its capacity"
        );
    }
}

impl<T> core::ops::Index<usize> for PerTensorViewMut<'_, T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, tensor: usize) -> &T {
        match tensor.checked_sub(1) {
            None => self.input,
            Some(layer) => &self.layers[layer],
        }
    }
}

impl<T> core::ops::IndexMut<usize> for PerTensorViewMut<'_, T> {
    #[inline(always)]
    fn index_mut(&mut self, tensor: usize) -> &mut T {
        match tensor.checked_sub(1) {
            None => self.input,
            Some(layer) => &mut self.layers[layer],
        }
    }
}

impl<T, const N: usize> core::ops::Index<usize> for PerTensor<T, N> {
    type Output = T;

    #[inline(always)]
    fn index(&self, tensor: usize) -> &T {
        match tensor.checked_sub(1) {
            None => &self.input,
            Some(layer) => &self.layers[layer],
        }
    }
}

impl<T, const N: usize> core::ops::IndexMut<usize> for PerTensor<T, N> {
    #[inline(always)]
    fn index_mut(&mut self, tensor: usize) -> &mut T {
        match tensor.checked_sub(1) {
            None => &mut self.input,
            Some(layer) => &mut self.layers[layer],
        }
    }
}

/// Why a network cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum NetworkError {
    /// There is no layer.
    NoLayers,
    /// A tensor has no element, or more than [`Shape::MAX_LEN`].
    Size {
        /// The tensor.
        tensor: usize,
        /// Its shape.
        shape: Shape,
    },
    /// A layer reads a tensor that is not computed before it: a cycle, or no such tensor.
    InputNotBefore {
        /// The layer.
        layer: usize,
        /// The tensor that it reads.
        tensor: TensorId,
    },
    /// Nothing reads a layer's output, and it is not the network's.
    Unused {
        /// The layer.
        layer: usize,
    },
    /// An operator does not fit its inputs or output.
    Op {
        /// The layer.
        layer: usize,
        /// The operator's objection.
        error: OpError,
    },
    /// A tensor's scale is not positive and finite, or out of range.
    Scale {
        /// The tensor.
        tensor: usize,
    },
    /// Scale, mean or std of the preprocessing is unusable or not one per channel.
    Preprocess,
    /// The price matrix has another number of rows than the network has layers.
    PriceRows {
        /// Layers.
        layers: usize,
        /// Rows.
        rows: usize,
    },
    /// A layer with weights has no level, one without has some, or a level stands twice.
    Levels {
        /// The layer.
        layer: usize,
    },
    /// Tied layers do not offer the same levels in the same order, or not one of them leads all, or
    /// their prices together are out of range.
    Tie {
        /// The layers, as the price matrix has them.
        layers: [u16; 2],
    },
    /// An item's bytes are not what the layer occupies at that level.
    Bytes {
        /// The layer.
        layer: usize,
        /// The level.
        level: Level,
        /// The bytes that the layer occupies.
        expected: u32,
        /// The bytes that the item says.
        found: u32,
    },
    /// The loss per unit of price is not positive and finite.
    Unit,
    /// All weights and tensors together exceed what 32 bits can count.
    TooLarge,
    /// The cycles of all layers together exceed 32 bits.
    Cycles,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLayers => f.write_str("the network has no layers"),
            Self::Size { tensor, shape } => {
                write!(f, "tensor {tensor} of shape {shape} is empty or too large")
            }
            Self::InputNotBefore { layer, tensor } => {
                write!(
                    f,
                    "layer {layer} reads tensor {tensor}, which is not computed before it"
                )
            }
            Self::Unused { layer } => write!(f, "nothing reads the output of layer {layer}"),
            Self::Op { layer, error } => write!(f, "layer {layer}: {error}"),
            Self::Scale { tensor } => write!(f, "the INT8 scale of tensor {tensor} is unusable"),
            Self::Preprocess => f.write_str(
                "scale, mean or std of the preprocessing is unusable, or not one per channel",
            ),
            Self::PriceRows { layers, rows } => {
                write!(f, "{rows} rows of prices for {layers} layers")
            }
            Self::Levels { layer } => {
                write!(f, "layer {layer} has no usable list of levels")
            }
            Self::Tie { layers: [a, b] } => {
                write!(f, "layers {a} and {b} cannot be tied as the prices say")
            }
            Self::Bytes {
                layer,
                level,
                expected,
                found,
            } => write!(
                f,
                "layer {layer} takes {expected} bytes at {level}, its price item says {found}"
            ),
            Self::Unit => f.write_str("the unit of the prices is not positive and finite"),
            Self::TooLarge => f.write_str("weights and activations exceed 4 GiB"),
            Self::Cycles => f.write_str("the cycles of all layers exceed 32 bits"),
        }
    }
}

impl core::error::Error for NetworkError {}

impl<const N: usize, const K: usize> Network<N, K> {
    /// No network: no layers.
    pub(crate) const fn empty() -> Self {
        Self {
            input: Shape::new(0, 0, 0),
            input_q: QParams {
                scale: 0.0,
                zero_point: 0,
            },
            preprocess: Preprocess {
                scale: 0.0,
                mean: Vec::new(),
                std: Vec::new(),
            },
            layers: Vec::new(),
            prices: PriceMatrix {
                unit: 0.0,
                rows: Vec::new(),
                ties: Vec::new(),
            },
        }
    }

    /// The number of tensors: the input and every layer's output.
    #[must_use]
    pub fn tensor_count(&self) -> usize {
        self.layers.len() + 1
    }

    /// The shape of a tensor.
    #[must_use]
    pub fn shape(&self, tensor: usize) -> Shape {
        match tensor.checked_sub(1) {
            None => self.input,
            Some(layer) => self.layers[layer].output,
        }
    }

    /// The INT8 map of a tensor.
    #[must_use]
    pub fn qparams(&self, tensor: usize) -> QParams {
        match tensor.checked_sub(1) {
            None => self.input_q,
            Some(layer) => self.layers[layer].output_q,
        }
    }

    /// The shape of a layer's first input.
    #[must_use]
    pub fn input_shape(&self, layer: usize) -> Shape {
        self.shape(usize::from(self.layers[layer].inputs[0]))
    }

    /// The shape of the network's output.
    #[must_use]
    pub fn output_shape(&self) -> Shape {
        self.shape(self.layers.len())
    }

    /// The number of weights of a layer, without biases.
    #[must_use]
    pub fn weight_count(&self, layer: usize) -> usize {
        let Layer { op, output, .. } = &self.layers[layer];
        op.weight_count(self.input_shape(layer), *output)
    }

    /// The level of every layer by its place in the layer's row of the price matrix; `None` where there is
    /// no such place, as for layers without weights.
    #[must_use]
    pub fn levels_at(&self, items: &[u8]) -> Vec<Option<Level>, N> {
        let rows = self.prices.rows.iter().enumerate();
        let level = rows.map(|(layer, row)| {
            let item = row.get(usize::from(*items.get(layer)?));
            item.map(|item| item.level)
        });
        level.collect()
    }

    /// Checks everything that running, planning and encoding rely on.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<(), NetworkError> {
        if self.layers.is_empty() {
            return Err(NetworkError::NoLayers);
        }
        for tensor in 0..self.tensor_count() {
            let shape = self.shape(tensor);
            if shape.is_unusable() {
                return Err(NetworkError::Size { tensor, shape });
            }
            if !self.qparams(tensor).is_usable() {
                return Err(NetworkError::Scale { tensor });
            }
        }
        if !self.preprocess.is_usable(self.input.c) {
            return Err(NetworkError::Preprocess);
        }
        self.check_graph()?;
        self.check_prices()
    }

    fn check_graph(&self) -> Result<(), NetworkError> {
        for (i, layer) in self.layers.iter().enumerate() {
            let before = |tensor: &&TensorId| usize::from(**tensor) > i;
            if let Some(tensor) = layer.inputs.iter().find(before) {
                let tensor = *tensor;
                return Err(NetworkError::InputNotBefore { layer: i, tensor });
            }
            let shapes: Vec<Shape, 2> = layer
                .inputs
                .iter()
                .map(|t| self.shape(usize::from(*t)))
                .collect();
            let check = layer.op.check(&shapes, layer.output);
            check.map_err(|error| NetworkError::Op { layer: i, error })?;
            let reads = |later: &Layer| later.inputs.iter().any(|t| usize::from(*t) == i + 1);
            if i + 1 < self.layers.len() && !self.layers[i + 1..].iter().any(reads) {
                return Err(NetworkError::Unused { layer: i });
            }
        }
        Ok(())
    }

    fn check_prices(&self) -> Result<(), NetworkError> {
        let (layers, rows) = (self.layers.len(), self.prices.rows.len());
        if layers != rows {
            return Err(NetworkError::PriceRows { layers, rows });
        }
        if !(self.prices.unit.is_finite() && self.prices.unit > 0.0) {
            return Err(NetworkError::Unit);
        }
        self.check_cycles()?;
        self.check_ties()?;
        let mut total = 0_u64;
        for (layer, row) in self.prices.rows.iter().enumerate() {
            let twice = |i: usize| row[..i].iter().any(|item| item.level == row[i].level);
            if row.is_empty() == self.layers[layer].op.has_weights() || (0..row.len()).any(twice) {
                return Err(NetworkError::Levels { layer });
            }
            for item in row {
                let expected = self
                    .block_bytes(layer, item.level)
                    .ok_or(NetworkError::TooLarge)?;
                if expected != item.bytes {
                    return Err(NetworkError::Bytes {
                        layer,
                        level: item.level,
                        expected,
                        found: item.bytes,
                    });
                }
            }
            total += row
                .iter()
                .map(|item| u64::from(item.bytes))
                .max()
                .unwrap_or(0);
        }
        for tensor in 0..self.tensor_count() {
            let len = self.shape(tensor).len() as u32;
            let forms = Form::ALL.iter();
            total += forms.map(|form| u64::from(form.bytes(len))).sum::<u64>();
        }
        // sums of rows
        for (i, layer) in self.layers.iter().enumerate() {
            if layer.op.can_sum_rows(self.input_shape(i), layer.output) {
                total += 4 * layer.output.len() as u64;
            }
        }
        if total > u64::from(u32::MAX) {
            return Err(NetworkError::TooLarge);
        }
        Ok(())
    }

    fn check_cycles(&self) -> Result<(), NetworkError> {
        let most = |row: &Vec<PriceItem, K>| {
            let items = row.iter().map(|item| item.cycles);
            let most = items.map(|cycles| cycles.flash.max(cycles.ram)).max();
            u64::from(most.unwrap_or(0))
        };
        let total = self.prices.rows.iter().map(most).sum::<u64>();
        match u32::try_from(total) {
            Ok(_) => Ok(()),
            Err(_) => Err(NetworkError::Cycles),
        }
    }

    fn check_ties(&self) -> Result<(), NetworkError> {
        let prices = &self.prices;
        let rows = &prices.rows;
        for (at, &layers) in prices.ties.iter().enumerate() {
            let [leader, layer] = layers.map(usize::from);
            let in_order = leader < layer && layer < rows.len();
            let once = !prices.ties[..at].iter().any(|tie| tie[1] == layers[1]);
            let leads = prices.leader(leader) == leader;
            let usable = in_order && once && leads && {
                let levels = |layer: usize| rows[layer].iter().map(|item| item.level);
                let in_range = |at| i32::try_from(prices.tied_item(leader, at).price).is_ok();
                !rows[layer].is_empty()
                    && levels(leader).eq(levels(layer))
                    && (0..rows[leader].len()).all(in_range)
            };
            if !usable {
                return Err(NetworkError::Tie { layers });
            }
        }
        Ok(())
    }

    /// The bytes of a layer's [block](crate::block) at `level`; `None` above 4 GiB.
    #[must_use]
    pub fn block_bytes(&self, layer: usize, level: Level) -> Option<u32> {
        self.format_bytes(layer, level.weight_format())
    }

    pub(crate) fn format_bytes(&self, layer: usize, format: WeightFormat) -> Option<u32> {
        let weights = self.weight_count(layer) as u64;
        let bytes = crate::block::bytes(format, weights, self.layers[layer].output.c);
        u32::try_from(bytes).ok()
    }

    /// The formats of the weights at a layer's levels, widest first.
    pub fn weight_formats(&self, layer: usize) -> impl Iterator<Item = WeightFormat> + '_ {
        let row = &self.prices.rows[layer];
        let offers =
            |format: &WeightFormat| row.iter().any(|item| item.level.weight_format() == *format);
        WeightFormat::ALL.into_iter().filter(offers)
    }

    /// The forms in which every tensor is stored when the layers have these levels (those of layers
    /// without weights are ignored).
    ///
    /// A tensor is stored in each form that a reader with weights needs, and the output as FP32. A
    /// tensor that only operators without weights read follows the widest form of what they give.
    #[must_use]
    pub fn forms(&self, levels: &[Level]) -> PerTensor<Forms, N> {
        self.propagate(&|layer| (levels[layer].input_form().into(), Forms::NONE))
    }

    /// Forms that are needed in every layout in which layer `i` reads its input as `input_form(i)`:
    /// `None` for a layer with weights that may have any of its levels. Where only such layers read a
    /// tensor, it has the narrowest form that they offer.
    #[must_use]
    pub fn least_forms(&self, input_form: impl Fn(usize) -> Option<Form>) -> PerTensor<Forms, N> {
        self.propagate(&|layer| match input_form(layer) {
            Some(form) => (form.into(), Forms::NONE),
            None => (Forms::NONE, self.offered_forms(layer)),
        })
    }

    /// The forms in which the levels of a layer read their input.
    fn offered_forms(&self, layer: usize) -> Forms {
        let row = self.prices.rows[layer].iter();
        row.fold(Forms::NONE, |forms, item| {
            forms.union(item.level.input_form().into())
        })
    }

    /// The tensors whose forms the levels of some layers may decide: what they read, and what operators
    /// without weights make it from.
    pub(crate) fn decided_by(&self, layers: impl Fn(usize) -> bool) -> PerTensor<bool, N> {
        let mut decided = PerTensor::new(false, self.layers.len());
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let decides = if layer.op.has_weights() {
                layers(i)
            } else {
                decided[i + 1]
            };
            for input in &layer.inputs {
                decided[usize::from(*input)] |= decides;
            }
        }
        decided
    }

    /// `weighted(layer)` says in which forms a layer with weights reads its inputs, or else which ones
    /// it could choose from.
    fn propagate(&self, weighted: &dyn Fn(usize) -> (Forms, Forms)) -> PerTensor<Forms, N> {
        let mut needed = PerTensor::empty(Forms::NONE);
        let mut wanted = PerTensor::<Wanted, N>::empty(Wanted::NOTHING);
        let views = (&mut needed.as_view_mut(), &mut wanted.as_view_mut());
        propagate(&self.layers, weighted, views);
        needed
    }
}

/// The forms of a tensor that would do, where no reader needs one.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// Those from which readers with weights could choose.
    offered: Forms,
    /// Those of what operators without weights make of it.
    followed: Forms,
}

impl Wanted {
    const NOTHING: Self = Self {
        offered: Forms::NONE,
        followed: Forms::NONE,
    };

    /// What is needed; if that is nothing, the narrowest form that is offered, or else the widest of those that
    /// follow.
    fn settle(self, needed: &mut Forms) {
        if needed.is_empty() {
            let form = match self.offered.is_empty() {
                true => self.followed.widest(),
                false => self.offered.narrowest(),
            };
            *needed = form.map_or(Forms::NONE, Forms::from);
        }
    }
}

/// As [`Network::propagate`], in the memory of what it is given.
fn propagate(
    layers: &[Layer],
    weighted: &dyn Fn(usize) -> (Forms, Forms),
    (needed, wanted): (
        &mut PerTensorViewMut<'_, Forms>,
        &mut PerTensorViewMut<'_, Wanted>,
    ),
) {
    needed.fill(Forms::NONE, layers.len());
    wanted.fill(Wanted::NOTHING, layers.len());
    needed[layers.len()].insert(Form::F32);
    for (i, layer) in layers.iter().enumerate().rev() {
        wanted[i + 1].settle(&mut needed[i + 1]);
        for input in layer.inputs.iter().map(|t| usize::from(*t)) {
            if layer.op.has_weights() {
                let (forms, choice) = weighted(i);
                needed[input] = needed[input].union(forms);
                wanted[input].offered = wanted[input].offered.union(choice);
            } else if let Some(form) = layer.op.input_need(Level::Fp32) {
                needed[input].insert(form);
            } else {
                wanted[input].followed = wanted[input].followed.union(needed[i + 1]);
            }
        }
    }
    wanted[0].settle(&mut needed[0]);
}

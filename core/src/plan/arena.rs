//! The activation arena as the solver sees it: a surcharge of the forms in which layers read.

use core::cell::Cell;

use crate::arena::{Lifetimes, Span};
use crate::form::{Form, Forms};
use crate::level::Level;
use crate::mckp::{OPEN, Surcharge};
use crate::network::{Network, PerTensor};
use crate::quant::Rounding;

/// How a layer and those tied to it read their inputs, as far as the arena is concerned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reader {
    /// The layer whose level this one has: itself unless it is tied to an earlier one.
    pub(super) leader: u16,
    /// By form of the input: the least arena of any layout with it; nothing for layers that follow.
    least: [u32; Form::ALL.len()],
    /// Whether other layers that ask for a form read the same tensor. Only then the rounding counts.
    is_shared: bool,
    /// The tensors whose forms the level may decide.
    decides: Span,
    /// That of this layer's output among [`Lifetimes::cut_limits`].
    cut_limit: u32,
}

impl Reader {
    pub(super) fn new<const N: usize, const K: usize>(
        network: &Network<N, K>,
        lifetimes: &Lifetimes<N>,
        cut_limits: &PerTensor<u32, N>,
        layer: usize,
    ) -> Self {
        let leader = network.prices.leader(layer);
        let reader = Self {
            leader: leader as u16,
            cut_limit: cut_limits[layer + 1],
            ..Self::default()
        };
        if leader != layer || !network.layers[layer].op.has_weights() {
            return reader;
        }
        let follows = |other: usize| network.prices.leader(other) == layer;
        let least = |form: Form| {
            let forms = network.least_forms(|other| follows(other).then_some(form));
            lifetimes.live_bytes(&forms)
        };
        let is_shared = |layer: usize| {
            let inputs = &network.layers[layer].inputs;
            let mut others = network.layers.iter().enumerate();
            others.any(|(other, reader)| {
                let reads = reader.inputs.iter().any(|tensor| inputs.contains(tensor));
                other != layer && reader.op.input_need(Level::Fp32).is_some() && reads
            })
        };
        Self {
            least: Form::ALL.map(least),
            is_shared: network.prices.followers(layer).any(is_shared),
            decides: lifetimes.span_of(&network.decided_by(follows)),
            ..reader
        }
    }

    /// The class of a level: the place in [`Form::ALL`] of a form that takes as much.
    pub(super) fn class(&self, level: Level) -> u8 {
        match level.input_form() {
            Form::I8(_) if !self.is_shared => Form::I8(Rounding::Nearest).index(),
            form @ (Form::F32 | Form::I8(_)) => form.index(),
        }
    }
}

/// The activation arena as the solver sees it: a surcharge of the forms in which the layers read
/// their inputs.
pub(super) struct Arena<'a, const N: usize, const K: usize> {
    network: &'a Network<N, K>,
    lifetimes: &'a Lifetimes<N>,
    pub(super) readers: &'a [Reader],
    last: &'a Cell<Placed<N>>,
}

/// Classes and the bytes of their arena: those that were placed last, for most layouts that are tried one after
/// the other read their inputs in the same forms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<const N: usize> {
    classes: [u8; N],
    /// 0 for none.
    bytes: u32,
}

impl<const N: usize> Placed<N> {
    pub(super) const NONE: Self = Self {
        classes: [0; N],
        bytes: 0,
    };
}

impl<'a, const N: usize, const K: usize> Arena<'a, N, K> {
    pub(super) const fn new(
        network: &'a Network<N, K>,
        lifetimes: &'a Lifetimes<N>,
        readers: &'a [Reader],
        last: &'a Cell<Placed<N>>,
    ) -> Self {
        Self {
            network,
            lifetimes,
            readers,
            last,
        }
    }

    pub(super) fn classes(&self, levels: &[Option<Level>]) -> [u8; N] {
        let mut classes = [OPEN; N];
        for (class, (level, reader)) in classes.iter_mut().zip(levels.iter().zip(self.readers)) {
            *class = level.map_or(0, |level| reader.class(level));
        }
        classes
    }

    /// The form in which a layer reads its input; `None` where that is open.
    fn form(&self, classes: &[u8; N], layer: usize) -> Option<Form> {
        let class = classes[usize::from(self.readers[layer].leader)];
        Form::ALL.get(usize::from(class)).copied()
    }
}

impl<const N: usize, const K: usize> Arena<'_, N, K> {
    /// The forms of tensors where the layers' levels are of these classes.
    pub(super) fn forms(&self, classes: &[u8; N]) -> PerTensor<Forms, N> {
        self.network.least_forms(|layer| self.form(classes, layer))
    }
}

impl<const N: usize, const K: usize> Surcharge<N> for Arena<'_, N, K> {
    fn of_class(&self, group: usize, class: u8) -> u32 {
        self.readers[group].least[usize::from(class)]
    }

    fn can_raise(&self, group: usize, class: u8) -> bool {
        // an open layer counts as the narrowest form that it offers, whatever the rounding
        self.readers[group].is_shared || class == Form::F32.index()
    }

    fn keeps_within(&self, most: u32, group: usize, classes: &[u8; N]) -> bool {
        let decides = self.readers[group].decides;
        let forms = self.forms(classes);
        let cuts = (1..self.readers.len()).filter(|tensor| {
            let bytes = self.lifetimes.whole_bytes(*tensor, forms[*tensor]);
            bytes <= self.readers[*tensor - 1].cut_limit
        });
        // between the nearest cuts around what the level decides
        let before = cuts
            .clone()
            .take_while(|t| *t < decides.first.into())
            .last();
        let behind = cuts
            .clone()
            .find(|tensor| *tensor >= decides.last_read.into());
        let first = before.map_or(0, |cut| cut + 1);
        let last = behind.unwrap_or(self.readers.len());
        let is_open = |(other, class): (&Reader, &u8)| {
            let decides = other.decides;
            let from = before.unwrap_or(0);
            *class == OPEN && usize::from(decides.first) <= last && from <= decides.last.into()
        };
        !self.readers.iter().zip(classes).any(is_open)
            && self.lifetimes.live_bytes_of(&forms, [first, last]) <= most
    }

    fn at_least(&self, classes: &[u8; N]) -> u32 {
        let forms = self.forms(classes);
        self.lifetimes.live_bytes(&forms)
    }

    fn of(&self, classes: &[u8; N]) -> u32 {
        let last = self.last.get();
        if last.bytes > 0 && last.classes == *classes {
            return last.bytes;
        }
        let forms = self.forms(classes);
        let bytes = self.lifetimes.smallest(&forms).1.bytes();
        self.last.set(Placed {
            classes: *classes,
            bytes,
        });
        bytes
    }
}

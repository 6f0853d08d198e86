//! An engine's inference held against the reference.

use bitbudget_core::arena::Lifetimes;
use bitbudget_core::cascade::Schedule;
use bitbudget_core::engine::{Engine, Input};
use bitbudget_core::form::Form;
use bitbudget_core::level::Level;
use bitbudget_core::tensor::View;

use crate::arena::Arena;
use crate::model::{Model, TestImage, plan_of};
use crate::oracle::{self, Values};

/// Numbers of tensors by how well they could be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Bit for bit.
    pub exact: usize,
    /// Within the FP32 tolerance.
    pub close: usize,
    /// Not at all: a difference within the tolerance may have been rounded either way before.
    pub unknown: usize,
}

impl Compared {
    /// The part of the tensors that was compared bit for bit.
    #[must_use]
    pub fn exact_part(&self) -> f64 {
        self.exact as f64 / (self.exact + self.close + self.unknown) as f64
    }
}

/// Runs the model at these levels in an arena of exactly the plan's bytes, and compares its output
/// and all tensors that the last layer read, but for one in place of which it made the output; adds to
/// `compared`.
///
/// # Panics
/// When the engine fails or anything differs.
pub fn check(model: &Model, levels: &[Option<Level>], input: Input<'_>, compared: &mut Compared) {
    let bytes = model.emit();
    let image = TestImage::parse(&bytes).expect("a sound image");
    let mut arena = Arena::new(model.whole_bytes(levels) as usize);
    let mut engine = Engine::new(&image, arena.lend()).expect("an engine");
    engine.load(plan_of(levels)).expect("room enough");
    let output = engine.infer(input).expect("an input that fits").to_vec();

    let raw: Vec<f32> = match input {
        Input::U8(raw) => raw.iter().map(|x| f32::from(*x)).collect(),
        Input::I8(raw) => raw.iter().map(|x| f32::from(*x)).collect(),
        Input::F32(raw) => raw.to_vec(),
    };
    let expected = oracle::infer(model, levels, &raw);
    let last = model.network.layers.len();
    let blocks = Lifetimes::new(&model.network).blocks(&model.forms(levels), &Schedule::WHOLE);
    let read = model.network.layers[last - 1].inputs.iter();
    let read = read.map(|t| usize::from(*t));
    let left = read.filter(|tensor| blocks[*tensor].of != blocks[last].of);
    for tensor in left.chain([last]) {
        let view = engine.tensor(tensor).expect("resident");
        let (form, values) = &expected[tensor][0];
        let context = || format!("tensor {tensor} as {form:?} at {levels:?} of {model:#?}");
        count(compare(view, *form, values, context), compared);
    }
    let bits = |x: &f32| x.to_bits();
    let seen = match engine.tensor(last) {
        Some(View::F32(seen)) => seen.iter().map(bits).collect::<Vec<_>>(),
        Some(View::I8(..)) | None => panic!("the output is FP32"),
    };
    assert_eq!(seen, output.iter().map(bits).collect::<Vec<_>>());
}

fn count(certain: Certainty, compared: &mut Compared) {
    match certain {
        Certainty::Exact => compared.exact += 1,
        Certainty::Close => compared.close += 1,
        Certainty::Unknown => compared.unknown += 1,
    }
}

#[derive(Clone, Copy)]
enum Certainty {
    Exact,
    Close,
    Unknown,
}

fn compare(view: View<'_>, form: Form, values: &Values, context: impl Fn() -> String) -> Certainty {
    match (view, form, values) {
        (View::I8(got, _), Form::I8(_), Values::Int8(expected)) => {
            let at = got.iter().zip(expected).position(|(a, b)| a != b);
            assert_eq!(got, expected, "element {at:?} of {}", context());
            Certainty::Exact
        }
        (View::F32(got), Form::F32, Values::Real(expected)) => {
            assert_eq!(got.len(), expected.len(), "{}", context());
            for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                assert!(
                    expected.admits(*got),
                    "{got} is not {expected:?}: element {i} of {}",
                    context()
                );
            }
            if expected.iter().all(|x| x.slack == 0.0) {
                Certainty::Exact
            } else {
                Certainty::Close
            }
        }
        (View::I8(..), Form::I8(_), Values::Unknown)
        | (View::F32(_), Form::F32, Values::Unknown) => Certainty::Unknown,
        (View::I8(..) | View::F32(_), ..) => panic!("not in that form: {}", context()),
    }
}

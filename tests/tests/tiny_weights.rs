//! Channels whose weights are tiny beside their bias: a batch norm with a small gamma leaves such ones.
//! Their biases are far out of the range of 32-bit multiples of input scale · weight scale unless the
//! weight scale is chosen for them.

use bitbudget::capacity::{HostEngine, HostImage, HostPlanner};
use bitbudget::dataset::{Dataset, Pixels};
use bitbudget::evaluate::{ArenaMemory, sample};
use bitbudget::graph::{Graph, GraphLayer, Weights};
use bitbudget::grid::Rule;
use bitbudget::loss::Loss;
use bitbudget::metric::Metric;
use bitbudget::pack::pack;
use bitbudget::profile::Options;
use bitbudget_core::level::Level;
use bitbudget_core::network::Preprocess;
use bitbudget_core::op::{Activation, Op};
use bitbudget_core::plan::Limits;
use bitbudget_core::shape::{Shape, Window};
use bitbudget_tests::digits;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const CHANNELS: u16 = 4;
const SAMPLES: usize = 40;

/// One layer that looks at one pixel of four channels, its samples, and the size of its inputs.
struct Case {
    name: &'static str,
    op: Op,
    /// Inputs that an output reads.
    taps: usize,
    /// Largest magnitude of the inputs.
    input: f32,
    /// Largest magnitude of each channel's weights.
    weight: [f32; CHANNELS as usize],
    bias: [f32; CHANNELS as usize],
}

fn cases() -> Vec<Case> {
    let all = usize::from(CHANNELS);
    let bias = [0.5, -0.75, 0.25, 2.0];
    let some_tiny = [1.0, 1e-8, 0.5, 1e-20];
    let conv = |groups| Op::Conv2d {
        window: Window::square(1, 1, 0),
        groups,
    };
    let case = |name, op, taps, input, weight| Case {
        name,
        op,
        taps,
        input,
        weight,
        bias,
    };
    vec![
        case("dense", Op::Dense, all, 1.0, some_tiny),
        case("conv", conv(1), all, 1.0, some_tiny),
        case("depthwise", conv(CHANNELS), 1, 1.0, some_tiny),
        case("tiny input", Op::Dense, all, 1e-5, [1.0; 4]),
        case("tiny both", conv(1), all, 1e-6, [1e-9, 1e-9, 1e-9, 10.0]),
    ]
}

impl Case {
    fn graph_and_data(&self) -> (Graph, Dataset) {
        let mut rng = SmallRng::seed_from_u64(17);
        let shape = Shape::vector(CHANNELS);
        let mut draw = |most: f32| most * rng.random_range(-1.0_f32..=1.0);
        let rows = self.weight.map(|most| [(); 4].map(|()| draw(most)));
        let layer = GraphLayer {
            name: "layer".into(),
            op: self.op,
            inputs: vec![0],
            activation: Activation::None,
            output: shape,
            weights: Some(Weights {
                weight: rows
                    .iter()
                    .flat_map(|row| &row[..self.taps])
                    .copied()
                    .collect(),
                bias: self.bias.to_vec(),
            }),
        };
        let elements = SAMPLES * usize::from(CHANNELS);
        let data = Dataset {
            height: 1,
            width: 1,
            channels: usize::from(CHANNELS),
            len: SAMPLES,
            pixels: Pixels::F32((0..elements).map(|_| draw(self.input)).collect()),
            labels: None,
            class_names: Vec::new(),
        };
        let graph = Graph {
            input: shape,
            layers: vec![layer],
            outputs: Vec::new(),
        };
        (graph, data)
    }

    /// The outputs of sample `x` in 64-bit floats.
    fn outputs(&self, weights: &Weights, x: &[f32]) -> Vec<f64> {
        let rows = weights.weight.chunks_exact(self.taps).enumerate();
        let output = |(channel, row): (usize, &[f32])| {
            let first = if self.taps == 1 { channel } else { 0 };
            let pairs = row.iter().zip(&x[first..]);
            let products = pairs.map(|(w, x)| f64::from(*w) * f64::from(*x));
            f64::from(weights.bias[channel]) + products.sum::<f64>()
        };
        rows.map(output).collect()
    }
}

#[test]
fn a_channel_of_tiny_weights_gives_its_bias_at_every_level() {
    for case in cases() {
        let (graph, data) = case.graph_and_data();
        let weights = graph.layers[0].weights.as_ref().expect("weights");
        for (level, per_tensor) in Level::ALL
            .map(|level| [(level, false), (level, true)])
            .concat()
        {
            let options = Options {
                metric: Metric::Measured,
                levels: vec![level],
                loss: Some(Loss::Mse),
                refine: 0,
                preprocess: Preprocess::default(),
                rule: Rule {
                    per_tensor,
                    ..Rule::default()
                },
                ..Options::default()
            };
            let profile = digits::profiled(graph.clone(), &data, &options);
            let bytes = pack(&graph, &profile, &[]).expect("an image");
            let image = HostImage::parse(&bytes).expect("a sound image");
            let mut planner = Box::new(HostPlanner::new(image.network()));
            let plan = planner.plan(image.network(), Limits::ram(u64::MAX), u64::MAX);
            let plan = plan.expect("it fits");
            let mut memory = ArenaMemory::new(plan.ram_bytes() as usize);
            let mut engine = Box::new(HostEngine::new(&image, memory.lend()).expect("an engine"));
            engine.load(plan.clone()).expect("it fits");
            let Pixels::F32(pixels) = &data.pixels else {
                unreachable!("samples are floats");
            };
            let (mut squares, mut compared) = (0.0, 0.0);
            for (i, x) in pixels.chunks_exact(usize::from(CHANNELS)).enumerate() {
                let outputs = engine.infer(sample(&data, i, x.len())).expect("outputs");
                let expected = case.outputs(weights, x);
                for (channel, (got, want)) in outputs.iter().zip(&expected).enumerate() {
                    squares += (f64::from(*got) - want).powi(2);
                    compared += 1.0;
                    if !per_tensor && case.weight[channel] * case.input < 2e-5 {
                        let error = (f64::from(*got) - want).abs();
                        assert!(
                            error < 1e-4 * want.abs(),
                            "{} {level}: {got} {want}",
                            case.name
                        );
                    }
                }
            }
            // predicted is measured, both are the true error
            let measured = squares / compared;
            let predicted = profile.estimates[0][0].price;
            assert!(
                (predicted - measured).abs() < 1e-3 * measured + 1e-12,
                "{} {level} per tensor {per_tensor}: predicted {predicted}, measured {measured}",
                case.name
            );
        }
    }
}

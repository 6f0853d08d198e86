//! `bitbudget analyze`

use bitbudget::analyze::{Analysis, Uniform};
use bitbudget::board::Board;
use bitbudget::graph::Output;
use bitbudget::latency::Core;
use bitbudget_core::level::Level;
use bitbudget_core::op::Op;
use clap::Args;
use serde_json::{Value, json};

use super::model::Model;
use super::stored::byte_count;
use super::{Outcome, report};

/// Tell what a model takes of a device at every level, before there is any data
///
/// Flash is the image: the weights at that level for the most part. RAM is the activations, with every tensor
/// whole, and computed by rows where that takes less; weights are read from flash. The program, its state and its
/// stack come on top. Cycles are modelled, of the layers with weights. What a level costs in loss only `bitbudget
/// profile` can tell, and only then a plan mixes levels.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  bitbudget analyze resnet8.onnx --board nucleo-f446re\n  \
    bitbudget analyze model.tflite --flash 256KiB --ram 64KiB --json"
)]
pub(crate) struct Analyze {
    #[command(flatten)]
    model: Model,
    /// The board that it shall run on (see `bitbudget boards`)
    #[arg(long, value_name = "NAME|FILE")]
    board: Option<String>,
    /// The flash that there is for the image; without it, the board's
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    flash: Option<u64>,
    /// The RAM that there is for activations; without it, the board's
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    ram: Option<u64>,
    /// At most so many milliseconds for an inference, at the board's clock
    #[arg(long, value_name = "MS", requires = "board", value_parser = milliseconds)]
    ms: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let ms = text
        .parse()
        .ok()
        .filter(|ms: &f64| ms.is_finite() && *ms > 0.0);
    ms.ok_or_else(|| "no time for an inference; examples: 40, 2.5".into())
}

/// What the device has.
struct Device {
    board: Option<Board>,
    flash: Option<u64>,
    ram: Option<u64>,
    ms: Option<f64>,
}

impl Device {
    fn ms_of(&self, level: &Uniform) -> Option<f64> {
        let board = self.board.as_ref()?;
        level.cycles.map(|cycles| board.milliseconds(cycles))
    }

    /// The limits that a level is beyond, and its amounts.
    fn beyond(&self, level: &Uniform) -> Vec<String> {
        let least = u64::from(level.least_bytes);
        let bytes = [
            ("flash", level.image_bytes, self.flash),
            ("RAM", least, self.ram),
        ];
        let mut beyond = Vec::new();
        for (name, amount, limit) in bytes {
            if limit.is_some_and(|limit| amount > limit) {
                beyond.push(name.to_owned());
            }
        }
        if let (Some(ms), Some(limit)) = (self.ms_of(level), self.ms)
            && ms > limit
        {
            beyond.push("time".to_owned());
        }
        beyond
    }

    /// Whether anything limits the network.
    const fn is_limited(&self) -> bool {
        self.flash.is_some() || self.ram.is_some() || self.ms.is_some()
    }

    /// The limits, for people.
    fn text(&self) -> String {
        let bytes = |bytes: Option<u64>, of: &str| {
            bytes.map(|bytes| format!("{} of {of}", report::bytes(bytes)))
        };
        let ms = self.ms.map(|ms| format!("{} ms", report::milliseconds(ms)));
        let limits = [bytes(self.flash, "flash"), bytes(self.ram, "RAM"), ms];
        limits.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Analyze {
    pub(crate) fn run(self) -> Outcome {
        let board = self.board.as_deref().map(Board::find).transpose()?;
        let of_board = |of: fn(&Board) -> u64| board.as_ref().map(of);
        let device = Device {
            flash: self.flash.or(of_board(|board| board.flash.bytes.value)),
            ram: self.ram.or(of_board(|board| board.ram.bytes.value)),
            ms: self.ms,
            board,
        };
        let graph = self.model.load()?;
        let analysis = Analysis::of(&graph, device.board.as_ref())?;
        if self.json {
            return report::print_json(&analysis_json(&analysis, &device));
        }
        print_layers(&analysis);
        say!("");
        print_levels(&analysis, &device);
        if device.is_limited() {
            say!("");
            say!("{}", verdict(&analysis, &device));
        }
        Ok(())
    }
}

/// The operator's name, more closely.
const fn operator(op: &Op) -> &'static str {
    if let Op::Conv2d { groups: 2.., .. } = op {
        "conv2d, grouped"
    } else {
        op.name()
    }
}

fn print_layers(analysis: &Analysis) {
    let network = &analysis.network;
    let mut table = report::table(&["layer", "operator", "output", "MACs", "parameters"]);
    for (i, layer) in network.layers.iter().enumerate() {
        table.add_row([
            analysis.names[i].clone(),
            operator(&layer.op).to_owned(),
            layer.output.to_string(),
            analysis.layer_macs(i).to_string(),
            analysis.parameters[i].to_string(),
        ]);
    }
    table.add_row([
        "total".to_owned(),
        format!("{} layers", network.layers.len()),
        format!("of {}", network.input),
        analysis.macs().to_string(),
        analysis.parameters.iter().sum::<u64>().to_string(),
    ]);
    report::print_table(&table);
    for (output, first) in placed(analysis) {
        let elements = match analysis.outputs.len() {
            1 => String::new(),
            _ => format!(", elements {first} to {}", first + output.shape.len() - 1),
        };
        say!("output {}: {}{elements}", output.name, output.shape);
    }
}

/// The outputs, each with its first element in the network's output.
fn placed(analysis: &Analysis) -> impl Iterator<Item = (&Output, usize)> {
    let mut end = 0;
    analysis.outputs.iter().map(move |output| {
        let first = end;
        end += output.shape.len();
        (output, first)
    })
}

fn print_levels(analysis: &Analysis, device: &Device) {
    let core = match &device.board {
        Some(board) => format!("cycles on {}", board.name),
        None => format!("cycles on {}", Core::default().name()),
    };
    let mut heads = vec![
        "all layers at",
        "flash",
        "RAM, whole",
        "RAM, by rows",
        &core,
    ];
    heads.extend(device.board.is_some().then_some("ms"));
    heads.extend(device.is_limited().then_some("fits"));
    let mut table = report::table(&heads);
    for level in &analysis.uniform {
        let mut cells = vec![
            level.level.to_string(),
            report::bytes(level.image_bytes),
            report::bytes(level.whole_bytes.into()),
            report::bytes(level.least_bytes.into()),
            level
                .cycles
                .map_or("-".to_owned(), |cycles| cycles.to_string()),
        ];
        if device.board.is_some() {
            let ms = device.ms_of(level).map(report::milliseconds);
            cells.push(ms.unwrap_or_else(|| "-".to_owned()));
        }
        if device.is_limited() {
            let beyond = device.beyond(level);
            cells.push(match beyond[..] {
                [] => "yes".to_owned(),
                _ => format!("no: {}", beyond.join(", ")),
            });
        }
        table.add_row(cells);
    }
    report::print_table(&table);
}

/// Whether it fits, and what would.
fn verdict(analysis: &Analysis, device: &Device) -> String {
    let fitting = analysis
        .uniform
        .iter()
        .filter(|level| device.beyond(level).is_empty());
    let fitting: Vec<String> = fitting.map(|level| level.level.to_string()).collect();
    let within = device.text();
    if fitting.is_empty() {
        let flash = analysis.uniform.iter().map(|level| level.image_bytes).min();
        let ram = analysis.uniform.iter().map(|level| level.least_bytes).min();
        return format!(
            "within {within}: does not fit at any level; it takes {} of flash and {} of RAM at least",
            report::bytes(flash.unwrap_or(0)),
            report::bytes(ram.unwrap_or(0).into()),
        );
    }
    let mixed = match fitting.len() == analysis.uniform.len() {
        true => "",
        false => ", and mixtures with the others where there is room",
    };
    format!(
        "within {within}: fits at {}{mixed}; `bitbudget profile` tells what each layer loses there",
        fitting.join(", ")
    )
}

fn analysis_json(analysis: &Analysis, device: &Device) -> Value {
    let network = &analysis.network;
    let layers = network.layers.iter().enumerate().map(|(i, layer)| {
        json!({
            "name": analysis.names[i],
            "operator": layer.op.name(),
            "inputs": layer.inputs.as_slice(),
            "output": layer.output.to_string(),
            "macs": analysis.layer_macs(i),
            "parameters": analysis.parameters[i],
        })
    });
    let levels = analysis.uniform.iter().map(|level| {
        let beyond = device.beyond(level);
        json!({
            "level": Level::name(level.level),
            "flash_bytes": level.image_bytes,
            "whole_ram_bytes": level.whole_bytes,
            "ram_bytes": level.least_bytes,
            "cycles": level.cycles,
            "ms": device.ms_of(level),
            "fits": device.is_limited().then_some(beyond.is_empty()),
        })
    });
    let outputs = placed(analysis).map(|(output, first)| {
        json!({
            "name": output.name,
            "shape": output.shape.to_string(),
            "first": first,
            "elements": output.shape.len(),
        })
    });
    json!({
        "kind": "analysis",
        "input": network.input.to_string(),
        "output": network.output_shape().to_string(),
        "outputs": outputs.collect::<Vec<_>>(),
        "macs": analysis.macs(),
        "parameters": analysis.parameters.iter().sum::<u64>(),
        "board": device.board.as_ref().map(|board| &board.name),
        "layers": layers.collect::<Vec<_>>(),
        "levels": levels.collect::<Vec<_>>(),
    })
}

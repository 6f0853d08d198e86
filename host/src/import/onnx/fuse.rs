//! Functions that exporters write as several nodes.

use std::collections::HashMap;

use rten_onnx::onnx::{DataType, GraphProto, NodeProto, TensorProto};

/// Makes one Gelu of each `x / 2 · (1 + erf(x / √2))`, as operator sets before 20 have to write it. Nodes of it that
/// something else reads stay beside.
pub(super) fn gelus(graph: &mut GraphProto) {
    let found = Nodes::of(graph).gelus();
    for (last, x) in found {
        let node = &mut graph.node[last];
        node.op_type = Some("Gelu".to_owned());
        node.input = vec![x];
        node.attribute.clear();
    }
}

/// The nodes of a graph, by what they read and give.
struct Nodes<'g> {
    nodes: &'g [NodeProto],
    numbers: HashMap<&'g str, f32>,
    /// The node that gives a tensor.
    producers: HashMap<&'g str, usize>,
    /// The nodes that read a tensor.
    readers: HashMap<&'g str, Vec<usize>>,
}

impl<'g> Nodes<'g> {
    fn of(graph: &'g GraphProto) -> Self {
        let mut numbers = HashMap::new();
        for tensor in &graph.initializer {
            if let (Some(name), Some(value)) = (&tensor.name, number(tensor)) {
                numbers.insert(name.as_str(), value);
            }
        }
        let (mut producers, mut readers) = (HashMap::new(), HashMap::<_, Vec<usize>>::new());
        for (i, node) in graph.node.iter().enumerate() {
            for output in &node.output {
                producers.insert(output.as_str(), i);
            }
            for input in &node.input {
                readers.entry(input.as_str()).or_default().push(i);
            }
            let tensor = node.attribute.iter().find_map(|it| it.t.as_ref());
            let value = tensor.and_then(number);
            if let (Some("Constant"), Some(output), Some(value)) =
                (node.op_type.as_deref(), node.output.first(), value)
            {
                numbers.insert(output, value);
            }
        }
        Self {
            nodes: &graph.node,
            numbers,
            producers,
            readers,
        }
    }

    /// The last node of each Gelu, and the tensor that it is of.
    fn gelus(&self) -> Vec<(usize, String)> {
        let nodes = self.nodes.iter().enumerate();
        let erfs = nodes.filter(|(_, node)| node.op_type.as_deref() == Some("Erf"));
        erfs.filter_map(|(i, _)| self.gelu(i)).collect()
    }

    fn gelu(&self, erf: usize) -> Option<(usize, String)> {
        let scaled = self.nodes[erf].input.first()?;
        let scale = *self.producers.get(scaled.as_str())?;
        let x = match self.nodes[scale].op_type.as_deref()? {
            "Div" => self.by(scale, std::f32::consts::SQRT_2)?,
            "Mul" => self.by(scale, std::f32::consts::FRAC_1_SQRT_2)?,
            _ => return None,
        };
        let sum = self.reader(erf, "Add")?;
        self.by(sum, 1.0)?;
        let product = self.reader(sum, "Mul")?;
        let sum = self.nodes[sum].output.first()?;
        let other = self.nodes[product].input.iter().find(|name| *name != sum)?;
        // of x and a half, one is a factor here and the other one in the next or in the one before
        let last = if other == x {
            let last = self.reader(product, "Mul")?;
            self.by(last, 0.5)?;
            last
        } else if self.numbers.get(other.as_str()) == Some(&0.5) {
            let last = self.reader(product, "Mul")?;
            self.nodes[last].input.contains(x).then_some(last)?
        } else {
            let half = *self.producers.get(other.as_str())?;
            let is_half = self.nodes[half].op_type.as_deref() == Some("Mul");
            (is_half && self.by(half, 0.5)? == x).then_some(product)?
        };
        Some((last, x.clone()))
    }

    /// The first input of a node, or of a sum or product either one, where the other one is this number.
    fn by(&self, node: usize, expected: f32) -> Option<&'g String> {
        let node = &self.nodes[node];
        let is_it = |name: &String| {
            let number = self.numbers.get(name.as_str());
            number.is_some_and(|number| (number - expected).abs() < 1e-4 * expected)
        };
        match &node.input[..] {
            [x, number] if is_it(number) => Some(x),
            [number, x] if is_it(number) && node.op_type.as_deref() != Some("Div") => Some(x),
            _ => None,
        }
    }

    /// The one node that reads what a node gives, if it is of this kind.
    fn reader(&self, of: usize, op: &str) -> Option<usize> {
        let output = self.nodes[of].output.first()?;
        match self.readers.get(output.as_str())?[..] {
            [reader] if self.nodes[reader].op_type.as_deref() == Some(op) => Some(reader),
            _ => None,
        }
    }
}

/// The number that a tensor of one element is.
fn number(tensor: &TensorProto) -> Option<f32> {
    if tensor.dims.iter().any(|dim| *dim != 1) || tensor.data_type != Some(DataType::FLOAT) {
        return None;
    }
    match &tensor.raw_data {
        Some(raw) => raw
            .borrow()
            .first_chunk()
            .map(|bytes| f32::from_le_bytes(*bytes)),
        None => tensor.float_data.first().copied(),
    }
}

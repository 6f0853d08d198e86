//! The tables of a TensorFlow Lite file, by the numbers of the fields in its `schema.fbs`.

use super::error::{SCHEMA_VERSION, TfliteError};
use super::flat::Table;
use super::names;

/// The most operators, tensors or buffers that a model has.
const MOST: usize = 1 << 16;

/// The most dimensions of a tensor.
const MOST_DIMS: usize = 8;

/// The most tensors that one operator reads or gives.
const MOST_ARGUMENTS: usize = 1 << 10;

/// A model's main graph.
pub(super) struct Model<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) tensors: Vec<Tensor<'a>>,
    pub(super) operators: Vec<Operator<'a>>,
    /// The tensors that are its inputs.
    pub(super) inputs: Vec<usize>,
    /// The tensors that are its outputs.
    pub(super) outputs: Vec<usize>,
    buffers: Vec<Table<'a>>,
}

/// A tensor: a constant where its buffer has data.
pub(super) struct Tensor<'a> {
    /// Unique in the model.
    pub(super) name: String,
    /// All dimensions, the batch among them; −1 where the model leaves one open.
    pub(super) dims: Vec<i64>,
    /// The type of its elements, by its number.
    pub(super) kind: i8,
    /// How its elements stand for real numbers, where they do.
    pub(super) quantization: Option<Table<'a>>,
    /// Whether only some of its elements are stored.
    pub(super) is_sparse: bool,
    buffer: usize,
}

/// An operator.
pub(super) struct Operator<'a> {
    /// Its kind: `CONV_2D`, or the name of a custom one.
    pub(super) op: String,
    /// Its tensors; `None` where one is left out.
    pub(super) inputs: Vec<Option<usize>>,
    pub(super) outputs: Vec<usize>,
    /// Its options, of the type that its kind has.
    pub(super) options: Option<Table<'a>>,
}

impl Tensor<'_> {
    /// The number of its elements, where all dimensions are known and it can be counted.
    pub(super) fn len(&self) -> Option<usize> {
        let mut sizes = self.dims.iter().map(|dim| usize::try_from(*dim).ok());
        sizes.try_fold(1_usize, |len, dim| len.checked_mul(dim?))
    }
}

impl<'a> Model<'a> {
    /// The tables of a file.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, TfliteError> {
        let root = Table::root(bytes)?;
        let version = root.number(0, 0)?;
        if version != SCHEMA_VERSION {
            return Err(TfliteError::Version { found: version });
        }
        let codes = root.tables(1, MOST)?;
        let codes: Vec<String> = codes.iter().map(code).collect::<Result<_, _>>()?;
        let graphs = root.tables(2, MOST)?;
        let graph = *graphs.first().ok_or(TfliteError::NoGraph)?;
        let buffers = root.tables(4, MOST)?;
        let tensors = tensors(&graph, buffers.len())?;
        let listed = |field| -> Result<Vec<usize>, TfliteError> {
            let listed: Vec<i32> = graph.numbers(field, MOST_ARGUMENTS)?;
            let index = |index| checked(|| "the graph".to_owned(), "tensor", index, tensors.len());
            listed.into_iter().map(index).collect()
        };
        let (inputs, outputs) = (listed(1)?, listed(2)?);
        let operators = graph.tables(3, MOST)?;
        let operators = (0..).zip(&operators);
        let operators = operators.map(|(i, table)| operator(i, table, &codes, tensors.len()));
        Ok(Self {
            bytes,
            operators: operators.collect::<Result<_, _>>()?,
            tensors,
            inputs,
            outputs,
            buffers,
        })
    }

    /// The data of a constant; empty where the tensor is none.
    pub(super) fn data(&self, tensor: usize) -> Result<&'a [u8], TfliteError> {
        let buffer = &self.buffers[self.tensors[tensor].buffer];
        // models of more than 2 GiB have their data behind the tables
        let (offset, size) = (buffer.number(1, 0_u64)?, buffer.number(2, 0_u64)?);
        if offset <= 1 {
            return Ok(buffer.bytes(0)?);
        }
        let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
        let range = range.and_then(|(at, len)| Some(at..at.checked_add(len)?));
        let data = range.and_then(|range| self.bytes.get(range));
        data.ok_or(TfliteError::Damaged {
            offset: offset as usize,
            reason: "a buffer lies beyond the end",
        })
    }
}

/// The kind of operator that an operator code tells.
fn code(table: &Table<'_>) -> Result<String, TfliteError> {
    // the byte is full: later kinds have their number in a field of their own
    let builtin = i32::from(table.number(0, 0_i8)?).max(table.number(3, 0)?);
    Ok(match names::operator(builtin) {
        Some("CUSTOM") => table.text(1)?,
        Some(name) => name.to_owned(),
        None => format!("operator {builtin}"),
    })
}

fn tensors<'a>(graph: &Table<'a>, buffers: usize) -> Result<Vec<Tensor<'a>>, TfliteError> {
    let mut taken = std::collections::HashSet::new();
    let mut tensors = Vec::new();
    for (i, table) in graph.tables(0, MOST)?.into_iter().enumerate() {
        // where operators were fused, the converter joins their names
        let mut name = table.text(3)?;
        name.truncate(name.find(';').unwrap_or(name.len()));
        while name.is_empty() || !taken.insert(name.clone()) {
            name = format!("{name}#{i}");
        }
        let shape: Vec<i32> = table.numbers(0, MOST_DIMS)?;
        let signature: Vec<i32> = table.numbers(7, MOST_DIMS)?;
        let dims = if signature.len() == shape.len() {
            signature
        } else {
            shape
        };
        let buffer = i64::from(table.number(2, 0_u32)?);
        let index = |list, index, len| checked(|| format!("the tensor `{name}`"), list, index, len);
        tensors.push(Tensor {
            dims: dims.into_iter().map(i64::from).collect(),
            kind: table.number(1, 0)?,
            quantization: table.table(4)?,
            is_sparse: table.table(6)?.is_some(),
            buffer: index("buffer", buffer, buffers)?,
            name,
        });
    }
    Ok(tensors)
}

fn operator<'a>(
    i: usize,
    table: &Table<'a>,
    codes: &[String],
    tensors: usize,
) -> Result<Operator<'a>, TfliteError> {
    let index = |list, index, len| checked(|| format!("operator {i}"), list, index, len);
    let kind = index(
        "operator code",
        i64::from(table.number(0, 0_u32)?),
        codes.len(),
    )?;
    let inputs: Vec<i32> = table.numbers(1, MOST_ARGUMENTS)?;
    let outputs: Vec<i32> = table.numbers(2, MOST_ARGUMENTS)?;
    let input = |input| match input {
        -1 => Ok(None),
        input => index("tensor", i64::from(input), tensors).map(Some),
    };
    let output = |output| index("tensor", i64::from(output), tensors);
    Ok(Operator {
        op: codes[kind].clone(),
        inputs: inputs.into_iter().map(input).collect::<Result<_, _>>()?,
        outputs: outputs.into_iter().map(output).collect::<Result<_, _>>()?,
        options: table.table(4)?,
    })
}

/// The position in a list of `len` entries that a table names.
fn checked(
    what: impl Fn() -> String,
    list: &'static str,
    index: impl Into<i64>,
    len: usize,
) -> Result<usize, TfliteError> {
    let index = index.into();
    let position = usize::try_from(index).ok();
    let position = position.filter(|position| *position < len);
    position.ok_or_else(|| TfliteError::Index {
        what: what(),
        list,
        index,
        len,
    })
}

//! A node's name, inputs and attributes.

use rten_onnx::onnx::{AttributeProto, AttributeType, NodeProto, TensorProto};

use super::error::OnnxError;

/// One node of the model.
pub(super) struct Node<'a> {
    proto: &'a NodeProto,
    /// Its name in messages: its own, or its number where it has none.
    pub(super) label: String,
    /// Its operator; with its domain where that is not ONNX's own.
    pub(super) op: String,
}

impl<'a> Node<'a> {
    /// A node of the graph, with its place in it.
    pub(super) fn numbered((index, proto): (usize, &'a NodeProto)) -> Self {
        let op = proto.op_type.as_deref().unwrap_or("?");
        let op = match proto.domain.as_deref() {
            None | Some("" | "ai.onnx") => op.to_owned(),
            Some(domain) => format!("{domain}.{op}"),
        };
        let label = match proto.name.as_deref() {
            None | Some("") => format!("node {index}"),
            Some(name) => name.to_owned(),
        };
        Self { proto, label, op }
    }

    /// Its name in the file, perhaps empty.
    pub(super) fn name(&self) -> &'a str {
        self.proto.name.as_deref().unwrap_or_default()
    }

    /// The names of all inputs, those left out among them as empty.
    pub(super) fn inputs(&self) -> &'a [String] {
        &self.proto.input
    }

    /// The names of all outputs, those left out among them as empty.
    pub(super) fn outputs(&self) -> &'a [String] {
        &self.proto.output
    }

    /// The name of input `index`, unless it is left out.
    pub(super) fn input(&self, index: usize) -> Option<&'a str> {
        let name = self.proto.input.get(index)?;
        (!name.is_empty()).then_some(name)
    }

    /// The name of input `index`, which must be there.
    pub(super) fn expect_input(&self, index: usize) -> Result<&'a str, OnnxError> {
        self.input(index).ok_or_else(|| OnnxError::MissingInput {
            node: self.label.clone(),
            op: self.op.clone(),
            index,
        })
    }

    /// Whether it has that attribute.
    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// An integer attribute, or its default.
    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, OnnxError> {
        match self.typed(name, AttributeType::INT, "an integer")? {
            Some(attribute) => Ok(attribute.i.unwrap_or(0)),
            None => Ok(default),
        }
    }

    /// A floating point attribute, or its default.
    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, OnnxError> {
        match self.typed(name, AttributeType::FLOAT, "a finite number")? {
            Some(attribute) => Ok(attribute.f.unwrap_or(0.0)),
            None => Ok(default),
        }
    }

    /// A list of integers.
    pub(super) fn ints(&self, name: &str) -> Result<Option<&'a [i64]>, OnnxError> {
        let attribute = self.typed(name, AttributeType::INTS, "a list of integers")?;
        Ok(attribute.map(|attribute| attribute.ints.as_slice()))
    }

    /// A list of floating point numbers.
    pub(super) fn floats(&self, name: &str) -> Result<Option<&'a [f32]>, OnnxError> {
        let attribute = self.typed(name, AttributeType::FLOATS, "a list of numbers")?;
        Ok(attribute.map(|attribute| attribute.floats.as_slice()))
    }

    /// A text, or its default.
    pub(super) fn string(&self, name: &str, default: &'a str) -> Result<&'a str, OnnxError> {
        match self.typed(name, AttributeType::STRING, "a text")? {
            Some(attribute) => Ok(attribute.s.as_deref().unwrap_or_default()),
            None => Ok(default),
        }
    }

    /// A tensor.
    pub(super) fn tensor(&self, name: &str) -> Result<Option<&'a TensorProto>, OnnxError> {
        let attribute = self.typed(name, AttributeType::TENSOR, "a tensor")?;
        Ok(attribute.and_then(|attribute| attribute.t.as_ref()))
    }

    /// The error for an attribute that is not as it should be.
    pub(super) fn bad_attribute(&self, name: &str, expected: &'static str) -> OnnxError {
        OnnxError::Attribute {
            node: self.label.clone(),
            attribute: name.to_owned(),
            expected,
        }
    }

    fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        let mut attributes = self.proto.attribute.iter();
        attributes.find(|attribute| attribute.name.as_deref() == Some(name))
    }

    fn typed(
        &self,
        name: &str,
        expected: AttributeType,
        description: &'static str,
    ) -> Result<Option<&'a AttributeProto>, OnnxError> {
        let attribute = self.attribute(name);
        match attribute.and_then(|attribute| attribute.r#type) {
            Some(found) if found != expected && found != AttributeType::UNDEFINED => {
                Err(self.bad_attribute(name, description))
            }
            Some(_) | None => Ok(attribute),
        }
    }
}

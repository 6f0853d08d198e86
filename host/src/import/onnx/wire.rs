//! A check of the bytes before they are decoded.
//!
//! The decoder trusts lengths and nesting; this pass makes sure that it may. It walks the messages
//! that the decoder reads, after the encoding of Protocol Buffers
//! (<https://protobuf.dev/programming-guides/encoding/>), and allocates nothing.

/// Messages may nest this deep.
const MAX_DEPTH: usize = 24;

/// A model may have this many messages: nodes, attributes, tensors, dimensions ….
const MAX_MESSAGES: usize = 1 << 20;

/// The first fault in the bytes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WireFault {
    /// Position in the file.
    pub(super) offset: usize,
    /// The message that the fault is in.
    pub(super) message: &'static str,
    /// The fault.
    pub(super) reason: &'static str,
}

/// The messages of `onnx.proto` that the decoder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    SequenceType,
    Shape,
    /// A message without messages or packed numbers inside.
    Plain,
}

/// Content of a length-delimited field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Message(Message),
    Varints,
    Fixed(usize),
    Bytes,
}

impl Message {
    const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Graph => "graph",
            Self::Node => "node",
            Self::Attribute => "attribute",
            Self::Tensor => "tensor",
            Self::ValueInfo => "value info",
            Self::Type => "type",
            Self::TensorType => "tensor type",
            Self::SequenceType => "sequence type",
            Self::Shape => "shape",
            Self::Plain => "key-value pair",
        }
    }

    /// The content of the field `number`, by the numbers of `onnx.proto`.
    const fn content(self, number: u64) -> Content {
        match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6) => Content::Message(Self::Graph),
            (Self::Graph, 1) => Content::Message(Self::Node),
            (Self::Graph, 5) | (Self::Attribute, 5) => Content::Message(Self::Tensor),
            (Self::Graph, 11..=13) => Content::Message(Self::ValueInfo),
            (Self::Node, 5) => Content::Message(Self::Attribute),
            (Self::ValueInfo, 2) | (Self::SequenceType, 1) => Content::Message(Self::Type),
            (Self::Type, 1) => Content::Message(Self::TensorType),
            (Self::Type, 4) => Content::Message(Self::SequenceType),
            (Self::TensorType, 2) => Content::Message(Self::Shape),
            (Self::Model, 8 | 14) | (Self::Tensor, 13) | (Self::Shape, 1) => {
                Content::Message(Self::Plain)
            }
            (Self::Tensor, 5 | 7) => Content::Varints,
            (Self::Tensor, 4) => Content::Fixed(4),
            (Self::Tensor, 10) => Content::Fixed(8),
            _ => Content::Bytes,
        }
    }
}

/// Checks that `bytes` are one well-formed model message.
pub(super) fn check(bytes: &[u8]) -> Result<(), WireFault> {
    let mut walk = Walk {
        bytes,
        at: 0,
        messages: 0,
    };
    walk.message(Message::Model, bytes.len(), 0)
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    messages: usize,
}

impl Walk<'_> {
    /// Walks over the fields of a message that ends at `end`.
    fn message(&mut self, message: Message, end: usize, depth: usize) -> Result<(), WireFault> {
        self.messages += 1;
        if depth > MAX_DEPTH {
            return Err(self.fault(message, "messages nest too deeply"));
        }
        if self.messages > MAX_MESSAGES {
            return Err(self.fault(message, "there are more than a million messages"));
        }
        while self.at < end {
            let tag = self.varint(message, end)?;
            if tag >> 3 == 0 {
                return Err(self.fault(message, "a field has the number 0"));
            }
            match tag & 7 {
                0 => drop(self.varint(message, end)?),
                1 => self.skip(message, end, 8)?,
                2 => {
                    let len = self.varint(message, end)?;
                    self.content(message, tag >> 3, len, end, depth)?;
                }
                5 => self.skip(message, end, 4)?,
                _ => return Err(self.fault(message, "a field has an unknown wire type")),
            }
        }
        Ok(())
    }

    /// Walks over the `len` bytes of field `number`.
    fn content(
        &mut self,
        message: Message,
        number: u64,
        len: u64,
        end: usize,
        depth: usize,
    ) -> Result<(), WireFault> {
        let start = self.at;
        self.skip(message, end, len)?;
        let field_end = self.at;
        match message.content(number) {
            Content::Message(inner) => {
                self.at = start;
                self.message(inner, field_end, depth + 1)
            }
            Content::Varints => {
                self.at = start;
                while self.at < field_end {
                    self.varint(message, field_end)?;
                }
                Ok(())
            }
            Content::Fixed(size) if !(field_end - start).is_multiple_of(size) => {
                Err(self.fault(message, "packed numbers have a fraction of a number"))
            }
            Content::Fixed(_) | Content::Bytes => Ok(()),
        }
    }

    fn skip(&mut self, message: Message, end: usize, len: u64) -> Result<(), WireFault> {
        match usize::try_from(len) {
            Ok(len) if len <= end - self.at => {
                self.at += len;
                Ok(())
            }
            Ok(_) | Err(_) => Err(self.fault(message, "a field goes beyond the end")),
        }
    }

    fn varint(&mut self, message: Message, end: usize) -> Result<u64, WireFault> {
        let mut value = 0;
        for (i, byte) in self.bytes[self.at..end].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if *byte < 0x80 {
                if i == 9 && *byte > 1 {
                    break;
                }
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(self.fault(message, "a number has no end"))
    }

    fn fault(&self, message: Message, reason: &'static str) -> WireFault {
        WireFault {
            offset: self.at,
            message: message.name(),
            reason,
        }
    }
}

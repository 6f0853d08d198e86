//! Bytes of a wire through the receiver, and every message that they are.

use bitbudget_core::protocol::frame::{MAX_FRAME, MAX_MESSAGE, Receiver, encode};
use bitbudget_core::protocol::{Request, Response};
use serde::ser::{Serialize, SerializeTuple, Serializer};

type Reply<'a> = Response<'a, 64>;

/// A message of any bytes.
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = serializer.serialize_tuple(self.0.len())?;
        for byte in self.0 {
            bytes.serialize_element(byte)?;
        }
        bytes.end()
    }
}

/// The bytes as they come, and as the message of a good frame.
pub(super) fn run(bytes: &[u8]) -> bool {
    let mut receiver = Receiver::new();
    let mut is_message = false;
    for byte in bytes {
        if let Some(Ok(_)) = receiver.push(*byte) {
            is_message |= understand(&receiver);
        }
    }
    receiver.push(0);
    let mut buffer = [0; MAX_FRAME];
    let message = &bytes[..bytes.len().min(MAX_MESSAGE)];
    let frame = encode(7, &Raw(message), &mut buffer).expect("it fits");
    let (last, before) = frame.split_last().expect("not empty");
    assert!(before.iter().all(|byte| receiver.push(*byte).is_none()));
    assert_eq!(receiver.push(*last), Some(Ok(7)));
    understand(&receiver) || is_message
}

/// Whether there is a message: one that is understood is understood when it is sent again.
fn understand(receiver: &Receiver) -> bool {
    let mut is_message = false;
    let mut buffer = [0; MAX_FRAME];
    if let Ok(request) = receiver.message::<Request<'_>>() {
        is_message = true;
        let frame = encode(1, &request, &mut buffer).expect("it came in a frame");
        let mut again = Receiver::new();
        let whole = frame.iter().find_map(|byte| again.push(*byte));
        assert_eq!(whole, Some(Ok(1)));
        assert_eq!(again.message::<Request<'_>>(), Ok(request));
    }
    if let Ok(reply) = receiver.message::<Reply<'_>>() {
        is_message = true;
        let frame = encode(1, &reply, &mut buffer).expect("it came in a frame");
        assert!(!frame.is_empty());
        assert!(!format!("{reply:?}").is_empty());
        if let Response::Refused(refusal) = reply {
            assert!(!refusal.to_string().is_empty());
        }
    }
    is_message
}

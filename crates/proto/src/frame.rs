//! Frames: a header of 12 bytes and a payload.
//!
//! ```text
//! 0      1         4        8        12
//! │ kind │ 0, 0, 0 │ stream │ length │ payload …      little-endian; stream is 0 for control frames
//! ```

/// Bytes before a payload.
const HEADER: usize = 12;
/// The largest control message: an OCI specification with a seccomp profile is some 60 KiB.
pub const MAX_CONTROL: usize = 2 << 20;
/// The largest data frame.
pub const MAX_DATA: usize = 64 << 10;

const KIND_CONTROL: u8 = 1;
const KIND_DATA: u8 = 2;
const KIND_CREDIT: u8 = 3;
const KIND_END: u8 = 4;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A [`crate::Message`] in JSON.
    Control(Vec<u8>),
    /// Bytes of a stream.
    Data {
        /// Which stream.
        stream: u32,
        /// 1 to [`MAX_DATA`] bytes.
        bytes: Vec<u8>,
    },
    /// The receiver of a stream has taken so many more bytes.
    Credit {
        /// Which stream.
        stream: u32,
        /// How many.
        bytes: u32,
    },
    /// No more data on this stream; from a receiver: no more data is wanted.
    End {
        /// Which stream.
        stream: u32,
    },
}

/// The peer broke the protocol.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// An unknown kind or a header that is not zero where it must be.
    #[error("not a frame header")]
    Header,
    /// A payload longer than its kind allows, or empty where it must not be.
    #[error("frame of kind {kind} with {length} bytes")]
    Length {
        /// The frame's kind.
        kind: u8,
        /// The length it names.
        length: u32,
    },
    /// A control message that cannot be read.
    #[error("control message: {0}")]
    Message(String),
    /// More data than the receiver allowed.
    #[error("stream data beyond its window")]
    Window,
}

impl Frame {
    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Control(payload) => put(out, KIND_CONTROL, 0, payload),
            Self::Data { stream, bytes } => put(out, KIND_DATA, *stream, bytes),
            Self::Credit { stream, bytes } => put(out, KIND_CREDIT, *stream, &bytes.to_le_bytes()),
            Self::End { stream } => put(out, KIND_END, *stream, &[]),
        }
    }
}

fn put(out: &mut Vec<u8>, kind: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(&stream.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(payload);
}

/// Cuts a byte stream into frames. Never holds more than one frame beyond what was pushed last.
#[derive(Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    read: usize,
}

impl Decoder {
    /// Adds what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ProtocolError> {
        let bytes = &self.buffer[self.read..];
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let [kind, zero @ .., s0, s1, s2, s3, l0, l1, l2, l3] = *header;
        if zero != [0, 0, 0] || !(KIND_CONTROL..=KIND_END).contains(&kind) {
            return Err(ProtocolError::Header);
        }
        let stream = u32::from_le_bytes([s0, s1, s2, s3]);
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let wrong = || ProtocolError::Length { kind, length };
        let size = usize::try_from(length).map_err(|_too_large| wrong())?;
        let fits = match kind {
            KIND_CONTROL => stream == 0 && (1..=MAX_CONTROL).contains(&size),
            KIND_DATA => (1..=MAX_DATA).contains(&size),
            KIND_CREDIT => size == 4,
            _ => size == 0,
        };
        if !fits {
            return Err(wrong());
        }
        let Some(payload) = bytes.get(HEADER..HEADER + size) else { return Ok(None) };
        let frame = match kind {
            KIND_CONTROL => Frame::Control(payload.to_vec()),
            KIND_DATA => Frame::Data { stream, bytes: payload.to_vec() },
            KIND_CREDIT => {
                let amount = payload.first_chunk::<4>().ok_or_else(wrong)?;
                Frame::Credit { stream, bytes: u32::from_le_bytes(*amount) }
            }
            _ => Frame::End { stream },
        };
        self.read += HEADER + size;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 1..300).prop_map(Frame::Control),
            (any::<u32>(), prop::collection::vec(any::<u8>(), 1..300))
                .prop_map(|(stream, bytes)| Frame::Data { stream, bytes }),
            (any::<u32>(), any::<u32>()).prop_map(|(stream, bytes)| Frame::Credit { stream, bytes }),
            any::<u32>().prop_map(|stream| Frame::End { stream }),
        ]
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_frames_back(
            sent in prop::collection::vec(frames(), 0..8),
            cut in 1_usize..40,
        ) {
            let mut bytes = Vec::new();
            sent.iter().for_each(|frame| frame.encode(&mut bytes));
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    got.push(frame);
                }
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn no_input_panics(data in prop::collection::vec(any::<u8>(), 0..2000)) {
            crate::fuzz(&data);
        }

        #[test]
        fn nearly_valid_input_does_not_panic(
            sent in prop::collection::vec(frames(), 1..8),
            at in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            let mut bytes = Vec::new();
            sent.iter().for_each(|frame| frame.encode(&mut bytes));
            let at = at.index(bytes.len());
            bytes[at] = value;
            crate::fuzz(&bytes);
        }
    }

    #[test]
    fn lengths_are_checked_before_the_payload_arrives() {
        for (kind, stream, length) in
            [(1, 0, 0), (1, 0, 3 << 20), (1, 7, 4), (2, 1, 0), (2, 1, 70_000), (3, 1, 5), (4, 1, 1)]
        {
            let mut header = vec![kind, 0, 0, 0];
            header.extend(u32::to_le_bytes(stream));
            header.extend(u32::to_le_bytes(length));
            let mut decoder = Decoder::default();
            decoder.push(&header);
            assert_eq!(decoder.next_frame(), Err(ProtocolError::Length { kind, length }));
        }
        let mut decoder = Decoder::default();
        decoder.push(b"GET / HTTP/1.1\r\n");
        assert_eq!(decoder.next_frame(), Err(ProtocolError::Header));
    }
}

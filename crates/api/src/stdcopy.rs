//! The framing of attached output without a TTY (Docker Engine API, "attach"): each frame is the stream's number,
//! three zero bytes, the payload's length as big-endian `u32`, and the payload.

/// A frame's header in bytes.
pub const HEADER: usize = 8;

/// The longest payload that a decoder accepts: far above what any engine sends, and a bound for hostile peers.
pub const LONGEST: usize = 16 << 20;

/// Which stream a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard input, when it is echoed; engines write it never.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// An error of the engine, after which nothing follows.
    System,
}

/// A payload of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its stream.
    pub stream: Stream,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// What arrives is not framed output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenFrame {
    /// A stream number that does not exist.
    #[error("unknown stream {0} in attached output")]
    Stream(u8),
    /// A payload longer than [`LONGEST`].
    #[error("frame of {0} bytes in attached output is too long")]
    Length(usize),
}

impl Stream {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Stdin => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::System => 3,
        }
    }

    fn from_number(number: u8) -> Result<Self, BrokenFrame> {
        match number {
            0 => Ok(Self::Stdin),
            1 => Ok(Self::Stdout),
            2 => Ok(Self::Stderr),
            3 => Ok(Self::System),
            _ => Err(BrokenFrame::Stream(number)),
        }
    }
}

/// The header of a payload of `length` bytes.
#[must_use]
pub fn header(stream: Stream, length: u32) -> [u8; HEADER] {
    let [a, b, c, d] = length.to_be_bytes();
    [stream.number(), 0, 0, 0, a, b, c, d]
}

/// One frame, or several when the payload is longer than a header can say.
#[must_use]
pub fn encode(stream: Stream, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + payload.len());
    for piece in payload.chunks(LONGEST) {
        out.extend_from_slice(&header(
            stream,
            u32::try_from(piece.len()).expect("a piece is at most 16 MiB"),
        ));
        out.extend_from_slice(piece);
    }
    out
}

/// Takes frames out of bytes that arrive in arbitrary pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where the next frame begins in `buffer`; consumed bytes are dropped when more arrive.
    start: usize,
}

impl Decoder {
    /// Adds what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if it has arrived.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, BrokenFrame> {
        let pending = &self.buffer[self.start..];
        let Some((header, rest)) = pending.split_at_checked(HEADER) else { return Ok(None) };
        let stream = Stream::from_number(header[0])?;
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(BrokenFrame::Length(length));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let payload = payload.to_vec();
        self.start += HEADER + length;
        Ok(Some(Frame { stream, payload }))
    }

    /// Whether bytes of an unfinished frame remain.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.start < self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let mut wire = encode(Stream::Stdout, b"out");
        wire.extend(encode(Stream::Stderr, b"e"));
        for cut in 0..=wire.len() {
            let mut decoder = Decoder::default();
            let mut frames = Vec::new();
            for piece in [&wire[..cut], &wire[cut..]] {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames.len(), 2, "cut at {cut}");
            assert_eq!(frames[0], Frame { stream: Stream::Stdout, payload: b"out".to_vec() });
            assert_eq!(frames[1], Frame { stream: Stream::Stderr, payload: b"e".to_vec() });
            assert!(!decoder.is_mid_frame());
        }
    }

    #[test]
    fn broken_frames_are_refused() {
        let mut decoder = Decoder::default();
        decoder.push(b"HTTP/1.1");
        assert_eq!(decoder.next_frame(), Err(BrokenFrame::Stream(b'H')));
        let mut decoder = Decoder::default();
        decoder.push(&header(Stream::Stdout, u32::MAX));
        assert!(matches!(decoder.next_frame(), Err(BrokenFrame::Length(_))));
    }
}

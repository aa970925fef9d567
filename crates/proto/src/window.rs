//! Flow control: a sender may have at most [`WINDOW`] bytes of a stream on their way that the receiver has not yet
//! taken. The receiver grants [`crate::Frame::Credit`] as it hands bytes on.

use crate::ProtocolError;

/// The most bytes of one stream between sender and the receiver's consumer.
pub const WINDOW: usize = 256 << 10;

/// The most bytes that one data frame should carry, so that streams take turns.
pub const CHUNK: usize = 16 << 10;

/// The receiving side's account of one stream.
#[derive(Debug, Default)]
pub struct Receiver {
    outstanding: usize,
    taken: usize,
}

impl Receiver {
    /// So many bytes have arrived.
    pub fn received(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        self.outstanding = self.outstanding.saturating_add(bytes);
        if self.outstanding > WINDOW { Err(ProtocolError::Window) } else { Ok(()) }
    }

    /// So many bytes were handed on. Returns the credit to grant now; small amounts are saved up, so that credit
    /// frames stay rare.
    pub fn handed_on(&mut self, bytes: usize) -> Option<u32> {
        self.taken = self.taken.saturating_add(bytes).min(self.outstanding);
        if self.taken < WINDOW / 4 {
            return None;
        }
        let credit = u32::try_from(self.taken).ok()?;
        self.outstanding -= self.taken;
        self.taken = 0;
        Some(credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_that_ignores_the_window_is_found_out() {
        let mut receiver = Receiver::default();
        receiver.received(WINDOW).unwrap();
        assert_eq!(receiver.received(1), Err(ProtocolError::Window));
    }

    #[test]
    fn credit_is_saved_up_and_never_lost() {
        let mut receiver = Receiver::default();
        let mut granted = 0;
        for _ in 0..64 {
            receiver.received(CHUNK).unwrap();
            granted += receiver.handed_on(CHUNK).unwrap_or(0);
        }
        assert_eq!(usize::try_from(granted).unwrap(), 64 * CHUNK);
    }
}

//! The terminal on our standard streams.

use std::io;

use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// Whether standard input is a terminal.
#[must_use]
pub fn input_is_terminal() -> bool {
    isatty(stdin())
}

/// Rows and columns of whichever standard stream is a terminal.
#[must_use]
pub fn window_size() -> Option<(u16, u16)> {
    let size = [stdout(), stdin(), stderr()].into_iter().find_map(|stream| tcgetwinsize(stream).ok())?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Standard input passes every key on while this exists; what it was before comes back with its end, on every path.
pub struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Enters raw mode, when standard input is a terminal.
    pub fn enter() -> io::Result<Option<Self>> {
        if !input_is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone, and then there is nothing to restore.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

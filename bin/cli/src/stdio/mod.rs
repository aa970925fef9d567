//! The user's terminal and the container's stdio: raw mode, size, signals, detaching, and the pump between them.

mod detach;
mod pump;
mod signals;
mod terminal;

pub use detach::DetachKeys;
pub use pump::{Ended, Wanted, pump};
pub use signals::{Target, follow_size, forward_signals};
pub use terminal::{RawMode, input_is_terminal, window_size};

//! `cofferdam pwsh`: the console's screen, its sessions in containers, jobs, and how lines are read.

mod host;
mod lines;
mod session;

pub use host::Here;
pub use lines::{read_lines, streamed};

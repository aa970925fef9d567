//! Dockerfiles: their text as instructions, variables in them, and which files a build sees.
//!
//! ```text
//! text ─► lines (directives, continuations, here-documents) ─► instruction ─► Dockerfile { args, stages }
//!                                          later, with values: Lex::expand
//! ```
//!
//! Nothing here does I/O or knows what an instruction is good for. The text is a stranger's: every length is bounded, and
//! every error names its line.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod duration;
mod error;
mod file;
mod flags;
mod fuzz;
mod glob;
mod heredoc;
mod ignore;
mod instruction;
mod lex;
mod lines;
mod pairs;

pub use error::Error;
pub use file::{Dockerfile, Stage, Step, parse, parse_instruction};
pub use fuzz::fuzz;
pub use glob::Glob;
pub use heredoc::Heredoc;
pub use ignore::{BadPattern, IgnoreList};
pub use instruction::{ArgDefault, Command, Copying, From, Healthcheck, Instruction, Run, Source};
pub use lex::Lex;

/// The longest Dockerfile.
pub const MAX_LENGTH: usize = 4 << 20;

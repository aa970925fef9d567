//! How things look: aligned tables, `--format`, sizes and times for people, indented JSON. Pure: text comes out, and
//! [`print`] alone writes it.

mod ellipsis;
mod format;
mod indent;
mod table;
mod time;
mod units;

use std::io::{self, Write as _};

pub use ellipsis::ellipsis;
pub use format::{Listing, Row};
pub use indent::indent;
pub use table::align;
pub use time::{ago, clock, local, point_in_time};
pub use units::{human_size, memory_size};

/// Writes text to standard output. A reader that went away is an error, which `main` ends quietly on.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// [`print`] with a line's end.
pub fn line(text: impl AsRef<str>) -> io::Result<()> {
    print(&format!("{}\n", text.as_ref()))
}

//! Values of flags, as Docker writes them: sizes, `KEY=VALUE` lists and files, mounts, ulimits, ports. Pure, but for
//! reading the files that a value names.

mod duration;
mod mount;
mod pairs;
mod port;
mod size;
mod ulimit;

pub use duration::duration;
pub use mount::{bind, mount, tmpfs};
pub use pairs::{Filter, environment, filters, labels, map};
pub use port::{Published, publish};
pub use size::{bytes, cpus, swap};
pub use ulimit::ulimit;

//! Values of flags, as Docker writes them: sizes, disks, `KEY=VALUE` lists and files, mounts, ulimits, ports. Pure, but for
//! reading the files that a value names.

mod disk;
mod duration;
mod mount;
mod pairs;
mod port;
mod size;

pub use cofferdam_client::api::ulimit;
pub use disk::{accesses_of_disk, bytes_of_disk, weight_of_disk};
pub use duration::duration;
pub use mount::{bind, mount, tmpfs};
pub use pairs::{Filter, environment, filters, labels, map};
pub use port::{Published, publish};
pub use size::{bytes, cpus, swap};

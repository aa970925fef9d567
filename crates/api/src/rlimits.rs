//! Names of resource limits.

/// What `--ulimit` and `HostConfig.Ulimits` may name: those of Docker's `go-units`, which leaves `as` out, since a
/// container cannot be started under it.
pub const RLIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

//! Resource limits: their names, and how a flag writes them.

use crate::models::ResourcesUlimits;

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

/// `nofile=1024:2048`, or one value for both.
pub fn ulimit(text: &str) -> Result<ResourcesUlimits, String> {
    let invalid = |why: &str| format!("invalid ulimit {text:?}: {why}");
    let (name, limits) = text.split_once('=').ok_or_else(|| invalid("want name=soft[:hard]"))?;
    if !RLIMITS.contains(&name) {
        return Err(invalid(&format!("unknown name, want one of {}", RLIMITS.join(", "))));
    }
    let number = |value: &str| match value {
        "unlimited" => Ok(-1),
        value => value.parse::<i64>().map_err(|_not_a_number| invalid("want a number, -1 or unlimited")),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(invalid("the soft limit is above the hard one"));
    }
    Ok(ResourcesUlimits { name: Some(name.to_owned()), soft: Some(soft), hard: Some(hard) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked() {
        let got = ulimit("nofile=1024:2048").unwrap();
        assert_eq!((got.soft, got.hard), (Some(1024), Some(2048)));
        assert_eq!(ulimit("core=-1").unwrap().hard, Some(-1));
        for bad in ["nofile", "nofile=", "nofile=2:1", "files=1", "nofile=a", "nofile=-1:5"] {
            assert!(ulimit(bad).is_err(), "{bad}");
        }
    }
}

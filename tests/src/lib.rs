//! What the end-to-end table (`e2e/`) stands on.
//!
//! [`Host`] knows the machine, the binaries under test and the daemons that were started; a [`Daemon`] is one
//! `cofferdamd` on roots of its own; a [`Case`] is one row of the table at one isolation level and cleans up after
//! itself. Everything that waits is bounded. Nothing here knows how the engine works inside: it is driven from
//! outside only, by the stock `docker` CLI, by `cofferdam` and by plain HTTP.

pub mod archive;
mod case;
mod command;
mod daemon;
pub mod groups;
mod host;
mod http;
mod leftovers;
mod outside;
mod patience;
mod pty;
mod registry;
mod schema;

pub use case::{Case, Level, Skip, Test};
pub use command::{Background, Invocation, Output, eventually};
pub use daemon::{Daemon, Programs};
pub use host::Host;
pub use http::{Response, raw, request, request_as, tcp};
pub use leftovers::leftovers;
pub use outside::Outside;
pub use patience::patient;
pub use pty::Pty;
pub use registry::Registry;
pub use schema::{Operation, Schema};

/// Fails the case unless the condition holds, saying what was seen instead.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            anyhow::bail!("{} (wanted: {})", format!($($message)+), stringify!($condition));
        }
    };
}

/// Fails the case unless both sides are equal, showing both.
#[macro_export]
macro_rules! check_eq {
    ($seen:expr, $wanted:expr) => {
        $crate::check_eq!($seen, $wanted, "{}", stringify!($seen))
    };
    ($seen:expr, $wanted:expr, $($message:tt)+) => {
        // A match, because temporaries live to its end.
        match (&$seen, &$wanted) {
            (seen, wanted) => {
                if seen != wanted {
                    anyhow::bail!("{}: saw {seen:?}, wanted {wanted:?}", format!($($message)+));
                }
            }
        }
    };
}

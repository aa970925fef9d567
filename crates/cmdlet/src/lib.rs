//! The cmdlets of the Containers module as a library with two fronts: the console `cofferdam pwsh`, and the module for
//! PowerShell, whose functions call `cofferdam cmdlet`. It owns the one [`table`] of cmdlets, binding ([`bind`]), what
//! they do by calls to the daemon ([`Engine`]), how objects look ([`format`]), and help. It has no language.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bind;
mod failure;
pub mod format;
pub mod help;
mod run;
pub mod table;
mod value;
pub mod wildcard;

pub use bind::{Argument, Bound, bind, size};
pub use failure::{Category, Failure};
pub use run::{Engine, Output, Services, Ui, choose_processes, processes};
pub use value::{Object, Value};

//! A console for the cmdlets of the Containers module, in PowerShell's language as far as it is needed for them: it is no
//! PowerShell. The grammar is tree-sitter's; what is not supported is refused by its name. What it needs of the program
//! around it is a [`Host`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod commands;
mod console;
mod eval;
mod language;
mod operators;
mod syntax;

use cofferdam_cmdlet::{Category, Failure};

pub use commands::{ALIASES, LANGUAGE};
pub use console::{Console, Container, Host};

/// The type of text that `Format-Table` and `Format-List` have made.
pub(crate) const FORMATTED: &str = "FormattedText";

/// Refuses a part of the language, and says where it is to be had.
pub(crate) fn not_supported(what: &str) -> Failure {
    Failure {
        terminating: true,
        ..Failure::of(
            Category::NotImplemented,
            "NotSupported",
            what,
            format!(
                "This console does not support {what}: it is for the cmdlets of the Containers module. PowerShell 7 with \
                 the module Cofferdam has all of the language."
            ),
        )
    }
}

/// Whether a text is PowerShell by the grammar, and if not, where.
pub fn check_syntax(text: &str) -> Result<(), String> {
    match syntax::Source::parse(text) {
        Ok(_) => Ok(()),
        Err(syntax::Refused::Incomplete) => Err("it is not complete".into()),
        Err(syntax::Refused::Wrong(failure)) => Err(failure.message),
    }
}

/// Entry points for the fuzzer: no script upsets the console, or keeps it for ever.
pub mod fuzz {
    use cofferdam_cmdlet::{Bound, Failure, Output, Value};

    use crate::{Console, Container, Host};

    /// Runs a script where every cmdlet gives an object.
    pub fn fuzz_script(data: &[u8]) {
        if let Ok(text) = std::str::from_utf8(data) {
            Console::new(Nothing).with_steps(2000).run(text);
        }
    }

    struct Nothing;

    impl Host for Nothing {
        fn write(&mut self, _text: &str) {}
        fn write_error(&mut self, _text: &str) {}
        fn width(&self) -> usize {
            80
        }
        fn execute(&mut self, bound: &Bound, _only_says: bool) -> Output {
            let object = cofferdam_cmdlet::Object::new("Container")
                .with("Name", bound.cmdlet.name)
                .with("ContainerId", "ab12");
            Output { objects: vec![object.into()], ..Output::default() }
        }
        fn start_job(&mut self, _bound: &Bound) -> Value {
            Value::Null
        }
        fn jobs(&mut self) -> Vec<Value> {
            Vec::new()
        }
        fn receive_job(&mut self, _id: i64) -> Option<Output> {
            None
        }
        fn remove_job(&mut self, _id: i64) -> bool {
            false
        }
        fn enter(&mut self, _container: &Container) -> Result<(), Failure> {
            Ok(())
        }
        fn leave(&mut self) {}
        fn session(&self) -> Option<(String, String)> {
            None
        }
        fn shell(&mut self, _line: &str, _keep: bool) -> Result<(i64, String), Failure> {
            Ok((0, String::new()))
        }
        fn session_processes(&mut self) -> Result<Vec<Value>, Failure> {
            Ok(Vec::new())
        }
        fn sleep(&mut self, _seconds: f64) {}
    }
}

#[cfg(test)]
mod tests;

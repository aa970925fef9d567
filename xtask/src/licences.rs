//! What the licences of all dependencies allow: deny.toml has the list, which `cargo deny` reads, too.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::project::{capture, cargo, root, run, which};

#[derive(Deserialize)]
struct Policy {
    licenses: Licences,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    clarify: Vec<Clarification>,
}

#[derive(Deserialize)]
struct Clarification {
    #[serde(rename = "crate")]
    name: String,
    expression: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// Every dependency must offer a licence of the list.
pub fn check() -> Result<()> {
    let policy = std::fs::read_to_string(root().join("deny.toml"))?;
    let Licences { allow, clarify } = toml::from_str::<Policy>(&policy).context("deny.toml")?.licenses;
    let clarified: HashMap<_, _> = clarify.into_iter().map(|entry| (entry.name, entry.expression)).collect();
    let text = capture(&mut cargo(&["metadata", "--format-version=1", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata")?;
    let mut bad = Vec::new();
    for package in &metadata.packages {
        let clarified = clarified.get(&package.name).map(String::as_str);
        let expression = clarified.or(package.license.as_deref()).unwrap_or_default();
        if !allows(&allow, expression) {
            bad.push(format!("{} {}: {expression:?}", package.name, package.version));
        }
        let registry = package.source.as_deref().is_none_or(|source| source.starts_with("registry+"));
        if !registry {
            bad.push(format!("{} {} does not come from a registry", package.name, package.version));
        }
    }
    if !bad.is_empty() {
        bail!("dependencies that cannot be taken in:\n  {}", bad.join("\n  "));
    }
    println!("{} packages, every licence is on the list", metadata.packages.len());
    if which("cargo-deny").is_some() {
        run(&mut cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]))?;
    }
    Ok(())
}

/// Whether an SPDX expression can be satisfied from the list: one side of an OR, both of an AND.
fn allows(list: &[String], expression: &str) -> bool {
    // Older crates write a slash for OR.
    let expression = expression.replace('/', " OR ");
    let tokens = expression.replace('(', " ( ").replace(')', " ) ");
    let mut tokens = Tokens { list, words: tokens.split_whitespace().peekable() };
    tokens.any() && tokens.words.next().is_none()
}

/// What is left of an expression.
struct Tokens<'a> {
    list: &'a [String],
    words: std::iter::Peekable<std::str::SplitWhitespace<'a>>,
}

impl Tokens<'_> {
    fn any(&mut self) -> bool {
        let mut good = self.all();
        while self.words.next_if_eq(&"OR").is_some() {
            good |= self.all();
        }
        good
    }

    fn all(&mut self) -> bool {
        let mut good = self.one();
        while self.words.next_if_eq(&"AND").is_some() {
            good &= self.one();
        }
        good
    }

    fn one(&mut self) -> bool {
        match self.words.next() {
            Some("(") => self.any() & (self.words.next() == Some(")")),
            Some(name) => {
                let exception = self.words.next_if_eq(&"WITH").and_then(|_| self.words.next());
                let full = exception.map_or(name.to_owned(), |exception| format!("{name} WITH {exception}"));
                self.list.contains(&full)
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::allows;

    #[test]
    fn expressions_are_read_as_spdx_means_them() {
        let list = ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for good in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(allows(&list, good), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-2.0", "(MIT", "MIT)", "LGPL-2.1 OR GPL-2.0"] {
            assert!(!allows(&list, bad), "{bad}");
        }
    }
}

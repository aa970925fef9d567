//! Built-in images, made of what the host's distribution provides: nothing is downloaded from a registry of images.

mod archive;
mod elf;
mod nanoserver;
mod windowsservercore;

use std::fs::File;

/// A built-in image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// A static BusyBox: a shell and the usual small tools.
    NanoServer,
    /// A Debian base system.
    WindowsServerCore,
}

impl BuiltIn {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::NanoServer, Self::WindowsServerCore];

    /// The image of that name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.strip_suffix(":latest").unwrap_or(name);
        Self::ALL.into_iter().find(|image| image.name().eq_ignore_ascii_case(name))
    }

    /// The image's name, as its tag has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NanoServer => "nanoserver",
            Self::WindowsServerCore => "windowsservercore",
        }
    }

    /// What it is made of.
    pub fn description(self) -> &'static str {
        match self {
            Self::NanoServer => "this host's static BusyBox",
            Self::WindowsServerCore => "a Debian base of this host's release",
        }
    }

    /// The Debian package that it is made with.
    pub fn package(self) -> &'static str {
        match self {
            Self::NanoServer => "busybox-static",
            Self::WindowsServerCore => "mmdebstrap",
        }
    }
}

/// Makes an image as an archive for `load`, at its beginning. `say` is told what happens.
pub fn make(image: BuiltIn, say: &dyn Fn(&str)) -> anyhow::Result<File> {
    match image {
        BuiltIn::NanoServer => nanoserver::make(say),
        BuiltIn::WindowsServerCore => windowsservercore::make(say),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_in_any_case() {
        assert_eq!(BuiltIn::named("NanoServer"), Some(BuiltIn::NanoServer));
        assert_eq!(BuiltIn::named("WindowsServerCore:latest"), Some(BuiltIn::WindowsServerCore));
        assert_eq!(BuiltIn::named("nano"), None);
    }
}

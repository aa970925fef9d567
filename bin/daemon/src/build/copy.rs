//! COPY and ADD: what they read decides the cache's key, and a layer is written without a container.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_dockerfile::{Glob, Heredoc, Source};
use cofferdam_model::user;
use rustix::fs::FileType;

use super::context::Context;
use super::layer::{Dress, LayerWriter};
use super::tree::{Content, Kind, Node, Tree, clean};
use crate::containers::Layers;

const LONGEST_ACCOUNTS: u64 = 1 << 20;

/// One of them, with its variables' values.
pub struct Order {
    /// Whether archives are unpacked.
    pub add: bool,
    pub sources: Vec<Source>,
    /// Absolute, with a slash at its end when it is written so.
    pub destination: String,
    pub chown: Option<String>,
    pub chmod: Option<String>,
    /// The layers that it copies from; else the context.
    pub from: Option<Vec<PathBuf>>,
    /// The layers that it is put on.
    pub base: Vec<PathBuf>,
}

impl Order {
    /// What it reads, for the cache's key.
    pub fn content(&self, context: &Context) -> Result<Vec<u8>, String> {
        let mut key = Vec::new();
        for source in &self.sources {
            match source {
                Source::Text(text) => {
                    key.extend_from_slice(format!("{}\0{}\0", text.name, text.content).as_bytes())
                }
                Source::Path(path) if self.from.is_some() => {
                    key.extend_from_slice(format!("{path}\0").as_bytes())
                }
                Source::Path(path) => {
                    let found = Tree::Context(context).glob(path)?;
                    if found.is_empty() {
                        return Err(missing(self.add, path));
                    }
                    for (name, node) in found {
                        key.extend_from_slice(name.as_bytes());
                        if let Content::Context { path, .. } = &node.content {
                            context.digest(path, &mut key);
                        }
                    }
                }
            }
        }
        Ok(key)
    }

    /// Writes the layer.
    pub fn write(&self, context: &Arc<Context>, out: File) -> Result<(), String> {
        let failed = |error: io::Error| format!("{} failed: {error}", self.name());
        let base = Layers::open(self.base.iter().map(PathBuf::as_path)).map_err(failed)?;
        let dress = Dress { owner: self.owner(&base)?, mode: self.mode()? };
        let tree = match &self.from {
            Some(layers) => Tree::Image(Layers::open(layers.iter().map(PathBuf::as_path)).map_err(failed)?),
            None => Tree::Context(context),
        };
        let mut found: Vec<(String, Node)> = Vec::new();
        let mut texts: Vec<&Heredoc> = Vec::new();
        for source in &self.sources {
            match source {
                Source::Text(text) => texts.push(text),
                Source::Path(path) => {
                    let nodes = tree.glob(path)?;
                    if nodes.is_empty() {
                        return Err(missing(self.add, path));
                    }
                    found.extend(nodes);
                }
            }
        }
        let (place, kind) = base.resolve(Path::new(&self.destination)).map_err(failed)?;
        let into = self.destination.ends_with('/') || kind == Some(FileType::Directory);
        if found.len() + texts.len() > 1 && !into {
            return Err(format!(
                "When using {} with more than one source file, the destination must be a directory and end with a /",
                self.name()
            ));
        }
        let mut layer = LayerWriter::new(out, &base, dress);
        for text in texts {
            let path = if into { place.join(&text.name) } else { place.clone() };
            layer.directories(path.parent().unwrap_or(&place)).map_err(failed)?;
            layer.text(&path, &text.content).map_err(failed)?;
        }
        for (name, node) in found {
            self.copy(&mut layer, &tree, context, &place, into, &name, node).map_err(failed)?;
        }
        layer.finish().map_err(failed)
    }

    #[allow(clippy::too_many_arguments)] // All of one step, in the one place that uses it.
    fn copy(
        &self,
        layer: &mut LayerWriter<'_>,
        tree: &Tree<'_>,
        context: &Context,
        place: &Path,
        into: bool,
        name: &str,
        node: Node,
    ) -> io::Result<()> {
        if node.kind == Kind::Directory {
            layer.directories(place)?;
            for (name, child) in tree.children(&node)? {
                let root = [place.as_os_str().as_encoded_bytes(), b"/", &name].concat();
                tree.walk(
                    &root,
                    child,
                    &mut |path, node| layer.node(super::tree::os(path), node, Some(context)),
                    0,
                )?;
            }
            return Ok(());
        }
        if self.add
            && self.from.is_none()
            && let (Kind::File(length), Content::Context { offset, .. }) = (&node.kind, &node.content)
        {
            let mut start = [0; 512];
            let mut reader = context.reader(*offset, (*length).min(512));
            let count = read_some(&mut reader, &mut start)?;
            let whole = context.reader(*offset, *length);
            match &start[..count] {
                [0x1f, 0x8b, ..]
                    if is_tar(flate2::read::MultiGzDecoder::new(context.reader(*offset, *length)))? =>
                {
                    layer.directories(place)?;
                    return layer.archive(place, flate2::read::MultiGzDecoder::new(whole));
                }
                [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => {
                    return Err(io::Error::other(format!(
                        "{name} is compressed with bzip2 or xz, which ADD does not unpack here: use gzip, or COPY and RUN"
                    )));
                }
                block if block.len() == 512 && &block[257..262] == b"ustar" => {
                    layer.directories(place)?;
                    return layer.archive(place, whole);
                }
                _ => {}
            }
        }
        let path = if into { place.join(name) } else { place.to_owned() };
        layer.directories(path.parent().unwrap_or(place))?;
        layer.node(&path, &node, Some(context))
    }

    fn name(&self) -> &'static str {
        if self.add { "ADD" } else { "COPY" }
    }

    fn mode(&self) -> Result<Option<u32>, String> {
        self.chmod
            .as_ref()
            .map(|text| match u32::from_str_radix(text, 8) {
                Ok(mode) if mode <= 0o7777 => Ok(mode),
                _ => Err(format!("invalid --chmod {text:?}: an octal number is expected, such as 0755")),
            })
            .transpose()
    }

    /// Named owners are those of the image that is built.
    fn owner(&self, base: &Layers) -> Result<Option<(u32, u32)>, String> {
        let Some(text) = &self.chown else { return Ok(None) };
        let read = |path: &str| -> Result<String, String> {
            let content = base.read(Path::new(path), LONGEST_ACCOUNTS);
            let content = content.map_err(|error| format!("cannot read {path} of the image: {error}"))?;
            Ok(String::from_utf8_lossy(&content.unwrap_or_default()).into_owned())
        };
        let found = user::resolve(&read("/etc/passwd")?, &read("/etc/group")?, text, &[]);
        let found = found
            .map_err(|error| format!("unable to convert uid/gid chown string to host mapping: {error}"))?;
        Ok(Some((found.uid, if text.contains(':') { found.gid } else { found.uid })))
    }
}

fn read_some(reader: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match reader.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(read) => count += read,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

fn is_tar(stream: impl io::Read) -> io::Result<bool> {
    let mut start = Vec::new();
    // What is no gzip after all is a file like any other.
    let read = stream.take(512).read_to_end(&mut start);
    Ok(read.is_ok() && start.len() == 512 && &start[257..262] == b"ustar")
}

fn missing(add: bool, path: &str) -> String {
    format!(
        "{} failed: file not found in build context or excluded by .dockerignore: stat {}: file does not exist",
        if add { "ADD" } else { "COPY" },
        clean(path)
    )
}

/// Whether an argument is for fetching.
pub fn is_url(text: &str) -> bool {
    ["http://", "https://", "git://", "git@"].iter().any(|scheme| text.starts_with(scheme))
}

/// Whether a path has wildcards that mean nothing.
pub fn check_pattern(text: &str) -> Result<(), String> {
    if Glob::is_wild(text) { Glob::path(text).map(drop).map_err(|error| error.to_string()) } else { Ok(()) }
}

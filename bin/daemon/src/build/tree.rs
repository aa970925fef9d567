//! Files that are copied from: a build's context, or an image's.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cofferdam_dockerfile::Glob;
use rustix::fs::FileType;

use super::context::Context;
use crate::containers::{LayerEntry, Layers};

/// How deep directories go.
const DEEPEST: usize = 200;

/// One of them.
pub enum Tree<'a> {
    Context(&'a Context),
    Image(Layers),
}

/// What is there under a path.
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: u64,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File(u64),
    Link(Vec<u8>),
    Other,
}

/// The way to what it holds.
pub enum Content {
    /// A path in the context, and where its bytes are.
    Context {
        path: String,
        offset: u64,
    },
    Image(LayerEntry),
}

impl Tree<'_> {
    /// What a path leads to, through links inside only.
    pub fn find(&self, path: &str) -> io::Result<Option<Node>> {
        match self {
            Self::Context(context) => Ok(context.find(path)),
            Self::Image(layers) => layers.find(&Path::new("/").join(path))?.map(node).transpose(),
        }
    }

    /// What is in a directory.
    pub fn children(&self, node: &Node) -> io::Result<Vec<(Vec<u8>, Node)>> {
        match (self, &node.content) {
            (Self::Context(context), Content::Context { path, .. }) => Ok(context.children(path)),
            (_, Content::Image(entry)) => {
                let children = entry.children()?.into_iter();
                children.map(|(name, entry)| Ok((name.as_bytes().to_owned(), node_of(entry)?))).collect()
            }
            (Self::Image(_), Content::Context { .. }) => Ok(Vec::new()),
        }
    }

    /// Everything that a pattern fits, with its name.
    pub fn glob(&self, pattern: &str) -> Result<Vec<(String, Node)>, String> {
        let failed = |error: io::Error| error.to_string();
        let clean = clean(pattern);
        if !Glob::is_wild(pattern) {
            let name = clean.rsplit('/').next().unwrap_or_default().to_owned();
            return Ok(self.find(&clean).map_err(failed)?.map(|node| (name, node)).into_iter().collect());
        }
        let mut found = vec![String::new()];
        for part in clean.split('/') {
            let glob = Glob::path(part).map_err(|error| error.to_string())?;
            let mut next = Vec::new();
            for directory in found {
                let Some(node) = self.find(&directory).map_err(failed)? else { continue };
                if node.kind != Kind::Directory {
                    continue;
                }
                for (name, _) in self.children(&node).map_err(failed)? {
                    let Ok(name) = String::from_utf8(name) else { continue };
                    if glob.matches(&name) {
                        next.push(if directory.is_empty() { name } else { format!("{directory}/{name}") });
                    }
                }
            }
            found = next;
        }
        let mut nodes = Vec::new();
        for path in found {
            if let Some(node) = self.find(&path).map_err(failed)? {
                nodes.push((path.rsplit('/').next().unwrap_or_default().to_owned(), node));
            }
        }
        Ok(nodes)
    }

    /// A node and everything below it, directories first; names are below `name`.
    pub fn walk(
        &self,
        name: &[u8],
        node: Node,
        visit: &mut dyn FnMut(&[u8], &Node) -> io::Result<()>,
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(io::Error::other("directories are nested too deep"));
        }
        visit(name, &node)?;
        if node.kind == Kind::Directory {
            for (child, node) in self.children(&node)? {
                self.walk(&[name, b"/", &child].concat(), node, visit, depth + 1)?;
            }
        }
        Ok(())
    }
}

fn node(entry: LayerEntry) -> io::Result<Node> {
    node_of(entry)
}

fn node_of(entry: LayerEntry) -> io::Result<Node> {
    let stat = entry.stat;
    let kind = match entry.kind() {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File(u64::try_from(stat.st_size).unwrap_or(0)),
        FileType::Symlink => Kind::Link(entry.link()?.as_os_str().as_bytes().to_owned()),
        _ => Kind::Other,
    };
    Ok(Node {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: u64::try_from(stat.st_mtime).unwrap_or(0),
        content: Content::Image(entry),
    })
}

/// A path without empty parts, `.` and `..`.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Bytes as a path.
pub fn os(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

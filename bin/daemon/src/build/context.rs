//! A build's context: the client's archive, never unpacked. Contents lie in one file one after the other, and what there is
//! is known in memory: no name of the archive's is ever one of the host's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use cofferdam_dockerfile::IgnoreList;
use cofferdam_image::Digest;
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use super::tree::{Content, Kind, Node, clean};

/// What a context may be.
const MOST_ENTRIES: usize = 500_000;
const MOST_NAME_BYTES: usize = 128 << 20;
const MOST_LINKS: u32 = 40;
/// Disk space left for everybody else, looked at each [`CHECK_EVERY`] bytes.
const RESERVE: u64 = 64 << 20;
const CHECK_EVERY: u64 = 64 << 20;

struct Entry {
    kind: Kind,
    mode: u32,
    mtime: u64,
    offset: u64,
    digest: Vec<u8>,
}

/// It.
pub struct Context {
    entries: BTreeMap<String, Entry>,
    data: File,
}

impl Context {
    /// Reads an archive, compressed by gzip or not.
    pub fn read(archive: impl Read, directory: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot read the build context: {error}");
        let path = directory.join("context");
        let options = File::options().read(true).write(true).create_new(true).open(&path);
        let data = options.map_err(failed)?;
        let mut archive = BufReader::with_capacity(64 << 10, archive);
        let start = io::BufRead::fill_buf(&mut archive).map_err(failed)?;
        let stream: Box<dyn Read> = match start {
            [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(archive)),
            [b'B', b'Z', b'h', ..] => return Err(compressed("bzip2")),
            [0xfd, b'7', b'z', ..] => return Err(compressed("xz")),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => return Err(compressed("zstd")),
            _ => Box::new(archive),
        };
        let mut context = Self { entries: BTreeMap::new(), data };
        context.fill(stream, directory)?;
        Ok(context)
    }

    fn fill(&mut self, stream: impl Read, directory: &Path) -> Result<(), String> {
        let failed = |error: io::Error| format!("cannot read the build context: {error}");
        let mut out = BufWriter::with_capacity(256 << 10, self.data.try_clone().map_err(failed)?);
        let (mut offset, mut unchecked, mut names) = (0_u64, CHECK_EVERY, 0);
        let mut archive = tar::Archive::new(stream);
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            let bytes = entry.path_bytes().into_owned();
            let name = String::from_utf8(bytes)
                .map_err(|_bytes| "a name in the build context is not UTF-8".to_owned())?;
            if name.split('/').any(|part| part == "..") {
                return Err(format!("a name in the build context leads out of it: {name}"));
            }
            let name = clean(&name);
            names += name.len();
            if self.entries.len() >= MOST_ENTRIES || names > MOST_NAME_BYTES {
                return Err("the build context has too many files".to_owned());
            }
            let header = entry.header();
            let mode = header.mode().map_err(failed)? & 0o7777;
            let mtime = header.mtime().unwrap_or(0);
            let at = offset;
            let mut digest = Vec::new();
            let kind = match header.entry_type() {
                EntryType::Directory => Kind::Directory,
                EntryType::Symlink => {
                    Kind::Link(entry.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default())
                }
                EntryType::Link => {
                    let target = entry.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default();
                    let target = clean(&String::from_utf8_lossy(&target));
                    let Some(known) = self.entries.get(&target) else {
                        return Err(format!("a hard link in the build context leads nowhere: {name}"));
                    };
                    let copy = Entry {
                        kind: known.kind.clone(),
                        mode: known.mode,
                        mtime: known.mtime,
                        offset: known.offset,
                        digest: known.digest.clone(),
                    };
                    self.insert(name, copy);
                    continue;
                }
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    let mut hasher = Sha256::new();
                    let mut buffer = vec![0; 64 << 10];
                    loop {
                        let count = entry.read(&mut buffer).map_err(failed)?;
                        if count == 0 {
                            break;
                        }
                        unchecked += count as u64;
                        if unchecked >= CHECK_EVERY {
                            unchecked = 0;
                            enough_room(directory)?;
                        }
                        hasher.update(&buffer[..count]);
                        out.write_all(&buffer[..count]).map_err(failed)?;
                        offset += count as u64;
                    }
                    digest = hasher.finalize().to_vec();
                    Kind::File(offset - at)
                }
                // Devices and pipes are nobody's to copy.
                _ => continue,
            };
            self.insert(name, Entry { kind, mode, mtime, offset: at, digest });
        }
        out.flush().map_err(failed)
    }

    fn insert(&mut self, name: String, entry: Entry) {
        // Archives need not list the directories that they use.
        let ends: Vec<usize> = name.match_indices('/').map(|(at, _)| at).collect();
        for end in ends {
            self.entries.entry(name[..end].to_owned()).or_insert(Entry {
                kind: Kind::Directory,
                mode: 0o755,
                mtime: entry.mtime,
                offset: 0,
                digest: Vec::new(),
            });
        }
        self.entries.insert(name, entry);
    }

    /// Leaves files out that only the builder was to see.
    pub fn drop_ignored(&mut self, names: &[&str]) -> Result<(), String> {
        let Some(text) = self.text(".dockerignore")? else { return Ok(()) };
        let list = IgnoreList::parse(&text).map_err(|error| error.to_string())?;
        for name in names {
            if list.ignores(name) {
                self.entries.remove(*name);
            }
        }
        Ok(())
    }

    /// A file's text.
    pub fn text(&self, path: &str) -> Result<Option<String>, String> {
        let Some(node) = self.find(path) else { return Ok(None) };
        let (Kind::File(length), Content::Context { offset, .. }) = (&node.kind, &node.content) else {
            return Ok(None);
        };
        if *length > cofferdam_dockerfile::MAX_LENGTH as u64 {
            return Err(format!("{path} is longer than {} bytes", cofferdam_dockerfile::MAX_LENGTH));
        }
        let mut text = Vec::new();
        let read = self.reader(*offset, *length).read_to_end(&mut text);
        read.map_err(|error| format!("cannot read {path}: {error}"))?;
        String::from_utf8(text).map(Some).map_err(|_bytes| format!("{path} is not UTF-8"))
    }

    /// The bytes of a file.
    pub fn reader(&self, offset: u64, length: u64) -> impl Read + use<'_> {
        Range { file: &self.data, at: offset, end: offset + length }
    }

    /// What a path leads to.
    pub fn find(&self, path: &str) -> Option<Node> {
        let mut path = clean(path);
        for _ in 0..MOST_LINKS {
            if path.is_empty() {
                return Some(root());
            }
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            let link = ends.filter_map(|end| match &self.entries.get(&path[..end])?.kind {
                Kind::Link(target) => Some((end, target.clone())),
                _ => None,
            });
            let Some((end, target)) = link.into_iter().next() else {
                return self.entries.get(&path).map(|entry| node(&path, entry));
            };
            let target = String::from_utf8(target).ok()?;
            let parent = path[..end].rsplit_once('/').map_or("", |(parent, _)| parent);
            let base = if target.starts_with('/') { "" } else { parent };
            path = clean(&format!("{base}/{target}{}", &path[end..]));
        }
        None
    }

    /// What is in a directory.
    pub fn children(&self, path: &str) -> Vec<(Vec<u8>, Node)> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = self.entries.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
        let direct =
            below.filter(|(name, _)| name.len() > prefix.len() && !name[prefix.len()..].contains('/'));
        direct.map(|(name, entry)| (name.as_bytes()[prefix.len()..].to_owned(), node(name, entry))).collect()
    }

    /// The digest of what a path holds: names, kinds, modes and contents, and no times.
    pub fn digest(&self, path: &str, into: &mut Vec<u8>) {
        let path = clean(path);
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut hasher = Sha256::new();
        for (name, entry) in &self.entries {
            if *name != path && !name.starts_with(&prefix) {
                continue;
            }
            let special: &[u8] = match &entry.kind {
                Kind::Link(target) => target,
                Kind::File(_) => &entry.digest,
                _ => b"",
            };
            let kind = match &entry.kind {
                Kind::Directory => 'd',
                Kind::File(_) => 'f',
                Kind::Link(_) => 'l',
                Kind::Other => 'o',
            };
            hasher.update(format!("{kind} {:o} {} ", entry.mode, name.len()));
            hasher.update(name);
            hasher.update(special);
        }
        into.extend_from_slice(Digest::of(&hasher.finalize()).to_string().as_bytes());
    }
}

fn compressed(how: &str) -> String {
    format!("the build context is compressed with {how}, which is not supported: send it plain or with gzip")
}

fn root() -> Node {
    let content = Content::Context { path: String::new(), offset: 0 };
    Node { kind: Kind::Directory, mode: 0o755, uid: 0, gid: 0, mtime: 0, content }
}

fn node(path: &str, entry: &Entry) -> Node {
    Node {
        kind: entry.kind.clone(),
        mode: entry.mode,
        uid: 0,
        gid: 0,
        mtime: entry.mtime,
        content: Content::Context { path: path.to_owned(), offset: entry.offset },
    }
}

fn enough_room(directory: &Path) -> Result<(), String> {
    match rustix::fs::statvfs(directory) {
        Ok(stat) if stat.f_bavail.saturating_mul(stat.f_frsize) < RESERVE => {
            Err("no space is left for the build context".to_owned())
        }
        _ => Ok(()),
    }
}

/// A part of a file.
struct Range<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..room], self.at)?;
        if count == 0 && room > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            if let Some(target) = text.strip_prefix("-> ") {
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, name, target).unwrap();
            } else {
                header.set_size(text.len() as u64);
                builder.append_data(&mut header, name, text.as_bytes()).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn files_links_and_digests() {
        let directory = tempfile::tempdir().unwrap();
        let bytes =
            archive(&[("a/b.txt", "text"), ("link", "-> a"), ("out", "-> ../../etc"), ("loop", "-> loop")]);
        let context = Context::read(bytes.as_slice(), directory.path()).unwrap();
        assert_eq!(context.text("link/b.txt").unwrap().as_deref(), Some("text"));
        assert_eq!(context.text("./x/../a/b.txt").unwrap().as_deref(), Some("text"));
        assert!(context.find("out/passwd").is_none() && context.find("loop").is_none());
        assert_eq!(context.children("a").len(), 1);
        let digest = |context: &Context| {
            let mut digest = Vec::new();
            context.digest("a", &mut digest);
            digest
        };
        let other = tempfile::tempdir().unwrap();
        let changed = Context::read(archive(&[("a/b.txt", "Text")]).as_slice(), other.path()).unwrap();
        assert_ne!(digest(&context), digest(&changed));
        let third = tempfile::tempdir().unwrap();
        let same =
            Context::read(archive(&[("z", ""), ("a/b.txt", "text")]).as_slice(), third.path()).unwrap();
        assert_eq!(digest(&context), digest(&same));
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Context::read(&b"FROM x, but no archive at all".repeat(40)[..], directory.path()).is_err());
    }
}

//! A layer as it is written: tar, with directories above what is new only where the image has none.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use tar::{Builder, EntryType, Header};

use super::context::Context;
use super::tree::{Content, Kind, Node, os};
use crate::containers::Layers;

/// What files become.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dress {
    pub owner: Option<(u32, u32)>,
    pub mode: Option<u32>,
}

/// It.
pub struct LayerWriter<'a> {
    tar: Builder<BufWriter<File>>,
    base: &'a Layers,
    made: BTreeSet<PathBuf>,
    dress: Dress,
    now: u64,
}

impl<'a> LayerWriter<'a> {
    pub fn new(file: File, base: &'a Layers, dress: Dress) -> Self {
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
        let tar = Builder::new(BufWriter::with_capacity(256 << 10, file));
        Self { tar, base, made: BTreeSet::new(), dress, now }
    }

    /// Directories down to this one, where there are none.
    pub fn directories(&mut self, path: &Path) -> io::Result<()> {
        let mut above: Vec<&Path> = path.ancestors().filter(|path| path.parent().is_some()).collect();
        above.reverse();
        for directory in above {
            if self.made.contains(directory) || self.base.resolve(directory)?.1 == Some(FileType::Directory) {
                continue;
            }
            self.made.insert(directory.to_owned());
            let mut header = self.header(EntryType::Directory, 0, 0o755, (0, 0), self.now);
            self.tar.append_data(&mut header, relative(directory), io::empty())?;
        }
        Ok(())
    }

    /// A node under this absolute name.
    pub fn node(&mut self, path: &Path, node: &Node, context: Option<&Context>) -> io::Result<()> {
        let owner = (node.uid, node.gid);
        match &node.kind {
            Kind::Directory => {
                self.made.insert(path.to_owned());
                let mut header = self.header(EntryType::Directory, 0, node.mode, owner, node.mtime);
                self.tar.append_data(&mut header, relative(path), io::empty())
            }
            Kind::Link(target) => {
                let mut header = self.header(EntryType::Symlink, 0, 0o777, owner, node.mtime);
                self.tar.append_link(&mut header, relative(path), os(target))
            }
            Kind::File(length) => {
                let mut header = self.header(EntryType::Regular, *length, node.mode, owner, node.mtime);
                let reader: Box<dyn Read + '_> = match (&node.content, context) {
                    (Content::Context { offset, .. }, Some(context)) => {
                        Box::new(context.reader(*offset, *length))
                    }
                    (Content::Image(entry), _) => Box::new(entry.open()?),
                    _ => return Err(io::ErrorKind::NotFound.into()),
                };
                // Exactly as many bytes as the header says.
                self.tar.append_data(&mut header, relative(path), reader.chain(io::repeat(0)).take(*length))
            }
            Kind::Other => Ok(()),
        }
    }

    /// A file of the Dockerfile's own.
    pub fn text(&mut self, path: &Path, text: &str) -> io::Result<()> {
        let mut header = self.header(EntryType::Regular, text.len() as u64, 0o644, (0, 0), self.now);
        self.tar.append_data(&mut header, relative(path), text.as_bytes())
    }

    /// An archive's entries below a directory.
    pub fn archive(&mut self, directory: &Path, archive: impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = entry.path()?.into_owned();
            let Some(path) = below(directory, &name)? else { continue };
            let old = entry.header().clone();
            let kind = old.entry_type();
            let size = if kind == EntryType::GNUSparse { entry.size() } else { old.size()? };
            let owner = (u32_of(old.uid()?)?, u32_of(old.gid()?)?);
            if let Some(parent) = path.parent() {
                self.directories(parent)?;
            }
            let mtime = old.mtime().unwrap_or(0);
            match kind {
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name()?.map(std::borrow::Cow::into_owned).unwrap_or_default();
                    let target = match kind {
                        EntryType::Link => match below(directory, &target)? {
                            Some(target) => relative(&target).to_owned(),
                            None => return Err(io::Error::other("a hard link to nothing in an archive")),
                        },
                        _ => target,
                    };
                    let mut header = self.header(kind, 0, 0o777, owner, mtime);
                    self.tar.append_link(&mut header, relative(&path), target)?;
                }
                EntryType::Directory => {
                    self.made.insert(path.clone());
                    let mut header = self.header(kind, 0, old.mode()? & 0o7777, owner, mtime);
                    self.tar.append_data(&mut header, relative(&path), io::empty())?;
                }
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    let mut header =
                        self.header(EntryType::Regular, size, old.mode()? & 0o7777, owner, mtime);
                    self.tar.append_data(&mut header, relative(&path), &mut entry)?;
                }
                EntryType::Fifo => {
                    let mut header = self.header(kind, 0, old.mode()? & 0o7777, owner, mtime);
                    self.tar.append_data(&mut header, relative(&path), io::empty())?;
                }
                // Devices come from base images, not from archives of a context.
                _ => {}
            }
        }
        Ok(())
    }

    pub fn finish(self) -> io::Result<()> {
        self.tar.into_inner()?.flush()
    }

    fn header(&self, kind: EntryType, size: u64, mode: u32, owner: (u32, u32), mtime: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        let chosen = matches!(kind, EntryType::Regular | EntryType::Directory);
        header.set_mode(self.dress.mode.filter(|_| chosen).unwrap_or(mode));
        let (uid, gid) = self.dress.owner.unwrap_or(owner);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mtime(mtime);
        header
    }
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn u32_of(number: u64) -> io::Result<u32> {
    u32::try_from(number).map_err(|_long| io::Error::other("an owner in an archive is out of range"))
}

/// An archive's name below a directory; none for the directory itself.
fn below(directory: &Path, name: &Path) -> io::Result<Option<PathBuf>> {
    let mut path = directory.to_owned();
    for part in name.components() {
        match part {
            std::path::Component::Normal(part) => path.push(part),
            std::path::Component::ParentDir => {
                return Err(io::Error::other(format!("an archive's name leads out: {}", name.display())));
            }
            _ => {}
        }
    }
    Ok((path != directory).then_some(path))
}

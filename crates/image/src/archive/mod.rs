//! Reading tar archives that nobody vouches for.
//!
//! Header fields are decoded by the `tar` crate; the walk over the archive is ours, because that crate reads extension
//! headers of any size into memory, splits PAX records at line feeds (which binary xattrs contain), and does not know
//! PAX sparse files. Here everything that is kept in memory has a limit, and what is left out is said in an error.
//!
//! * [`Reader`] yields one [`Entry`] after the other, with GNU and PAX extensions applied;
//! * [`sparse`] knows the four ways in which sparse files are written;
//! * [`compress`] finds out how a stream is compressed and undoes it.

pub(crate) mod compress;
mod pax;
mod reader;
mod sparse;

pub(crate) use reader::{Entry, Kind, Reader};
pub(crate) use sparse::Extent;

/// Longest path or link target, as the kernel's `PATH_MAX`.
pub(crate) const MAX_PATH: usize = 4096;
/// Largest extension header (long names, PAX records) that is read into memory.
const MAX_EXTENSION: u64 = 1 << 20;
/// Most extents of one sparse file.
const MAX_EXTENTS: usize = 1 << 16;
/// Size of a header block.
const BLOCK: u64 = 512;

/// Cleans a name lexically into its components, without leading `./`. `None` when it climbs out at the top.
pub(crate) fn clean(name: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn names_are_cleaned_lexically() {
        assert_eq!(clean(b"./a//b/./c/").unwrap(), [b"a", b"b", b"c"]);
        assert_eq!(clean(b"a/../b").unwrap(), [b"b"]);
        assert_eq!(clean(b".").unwrap(), [] as [&[u8]; 0]);
        assert!(clean(b"../a").is_none());
        assert!(clean(b"a/../../b").is_none());
    }
}

//! Work on the files of a directory, each kind by itself: what it leaves is what the next one works on.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Instant;

/// Directories, and small files in each: 2,000 files together.
const DIRECTORIES: u32 = 20;
const FILES: u32 = 100;

/// The large file, and the piece that is written or read at a time.
const LARGE: usize = 64 << 20;
const PIECE: usize = 256 << 10;

/// Does one kind of work in `directory`; its time in milliseconds.
pub fn work(kind: &str, directory: &Path) -> f64 {
    let (tree, large) = (directory.join("tree"), directory.join("large"));
    let start = Instant::now();
    let done = match kind {
        "create" => create(&tree),
        "find" => find(&tree).map(|count| assert_eq!(count, DIRECTORIES * (FILES + 1), "files are missing")),
        "remove" => fs::remove_dir_all(&tree),
        "write" => write(&large),
        "read" => read(&large).map(|bytes| assert_eq!(bytes, LARGE, "the file is shorter")),
        other => panic!("no work is called {other}"),
    };
    done.unwrap_or_else(|error| panic!("{kind} in {}: {error}", directory.display()));
    start.elapsed().as_secs_f64() * 1e3
}

fn create(tree: &Path) -> std::io::Result<()> {
    for directory in 0..DIRECTORIES {
        let directory = tree.join(format!("directory-{directory}"));
        fs::create_dir_all(&directory)?;
        for file in 0..FILES {
            fs::write(directory.join(format!("file-{file}")), b"a line of text, as in many small files\n")?;
        }
    }
    Ok(())
}

/// Looks at everything below a directory, as `find -ls` does; how much that is.
fn find(tree: &Path) -> std::io::Result<u32> {
    let mut count = 0;
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        count += 1;
        if entry.metadata()?.is_dir() {
            count += find(&entry.path())?;
        }
    }
    Ok(count)
}

fn write(large: &Path) -> std::io::Result<()> {
    let mut file = File::create(large)?;
    let piece = vec![0x5a; PIECE];
    for _ in 0..LARGE / PIECE {
        file.write_all(&piece)?;
    }
    Ok(())
}

fn read(large: &Path) -> std::io::Result<usize> {
    let mut file = File::open(large)?;
    let mut piece = vec![0; PIECE];
    let mut bytes = 0;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(bytes),
            count => bytes += count,
        }
    }
}

//! Finding the last lines of a file from its end.

use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

const BLOCK: u64 = 32 << 10;

/// Where the last `lines` lines begin. A last line without its newline is being written and does not count yet.
pub(super) async fn start_of_last(file: &mut File, lines: usize) -> std::io::Result<u64> {
    let mut end = file.seek(std::io::SeekFrom::End(0)).await?;
    let mut newlines = 0;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(std::io::SeekFrom::Start(start)).await?;
        block.resize(usize::try_from(end - start).unwrap_or(0), 0);
        file.read_exact(&mut block).await?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The newline that ends the line before the wanted ones.
            if newlines == lines {
                return Ok(start + u64::try_from(index).unwrap_or(0) + 1);
            }
            newlines += 1;
        }
        end = start;
    }
    Ok(0)
}

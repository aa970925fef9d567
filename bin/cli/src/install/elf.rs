//! Whether a program is linked statically (elf(5)).

/// Whether an ELF file asks for no interpreter; `None` when it is not an ELF file for 64 bits.
pub fn is_static(file: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    const LITTLE_ENDIAN_64: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
    if !file.starts_with(&LITTLE_ENDIAN_64) {
        return None;
    }
    let bytes = |at: usize, length: usize| file.get(at..at.checked_add(length)?);
    let number =
        |at: usize| bytes(at, 2).and_then(|b| b.try_into().ok()).map(|b| usize::from(u16::from_le_bytes(b)));
    let offset = bytes(0x20, 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes)?;
    let offset = usize::try_from(offset).ok()?;
    let (size, count) = (number(0x36)?, number(0x38)?);
    for at in 0..count {
        let start = offset.checked_add(at.checked_mul(size)?)?;
        let kind = bytes(start, 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes)?;
        if kind == PT_INTERP {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_other_files() {
        assert_eq!(is_static(b"#!/bin/sh\n"), None);
        assert_eq!(is_static(b"\x7fELF\x02\x01"), None);
        // This test itself is linked dynamically on every glibc host.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        if cfg!(target_env = "gnu") {
            assert_eq!(is_static(&own), Some(false));
        }
    }
}

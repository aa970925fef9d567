//! A container's tree as a guest sends it, which is made again on the host.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let scratch = tempfile::TempDir::new().expect("the temporary directory is writable");
    let bounds = cofferdam_archive::Bounds { bytes: 1 << 20, entries: 1000 };
    let _ = cofferdam_archive::restore(scratch.path(), data, bounds);
});

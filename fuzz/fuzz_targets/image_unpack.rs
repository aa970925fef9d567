//! One layer, unpacked into a scratch directory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let scratch = tempfile::TempDir::new().expect("the temporary directory is writable");
    cofferdam_image::fuzz_unpack(data, scratch.path());
});

//! Archives of docker save and OCI image layouts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let scratch = tempfile::TempDir::new().expect("the temporary directory is writable");
    cofferdam_image::fuzz_load(data, scratch.path());
});

//! Image names.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_image::fuzz_reference(data));

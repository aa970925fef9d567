//! Image configurations, manifests and indexes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_image::fuzz_documents(data));

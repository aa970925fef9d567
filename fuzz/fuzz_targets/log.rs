//! A container's log file, in either format.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_log::fuzz::fuzz_log(data));

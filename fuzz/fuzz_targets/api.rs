//! Parsers of the API: filters, versions, stdcopy frames.
#![no_main]

use cofferdam_api::fuzz::{fuzz_filters, fuzz_stdcopy, fuzz_version};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz_filters(data);
    fuzz_stdcopy(data);
    fuzz_version(data);
});

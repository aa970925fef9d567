//! Parsers of the API: filters, versions, stdcopy frames, limits.
#![no_main]

use cofferdam_api::fuzz::{fuzz_filters, fuzz_stdcopy, fuzz_version};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz_filters(data);
    fuzz_stdcopy(data);
    fuzz_version(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = cofferdam_model::resources::number_list(text);
        let _ = cofferdam_api::ulimit(text);
    }
});

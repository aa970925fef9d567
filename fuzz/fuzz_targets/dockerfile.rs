//! Dockerfiles, `.dockerignore` and patterns of names.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (&str, &str)| cofferdam_dockerfile::fuzz(input.0, input.1));

//! Scripts for the console: grammar, evaluator, binder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_pwsh::fuzz::fuzz_script(data));

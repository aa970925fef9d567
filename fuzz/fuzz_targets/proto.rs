//! The protocol between shim and guest agent.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_proto::fuzz(data));

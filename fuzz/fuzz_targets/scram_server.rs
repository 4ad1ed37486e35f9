//! libFuzzer's entry to `fuzz::scram::server`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::scram::server(data));
